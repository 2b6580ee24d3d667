//! What the daemon does to itself before it serves: reliability rules "Hardening", point 1.
//!
//! Not here: landlock and seccomp.

use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Refuses to run with rights that the caller does not have, and gives up what is not needed.
///
/// # Errors
/// One sentence, when the program is set-uid or set-gid.
pub(crate) fn protect() -> Result<(), String> {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    if getuid() != geteuid() || getgid() != getegid() {
        return Err("orlopd does not run with the rights of another user".to_owned());
    }
    let _ = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // Memory holds secrets: no ptrace by the same user, no core file.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ =
        rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = rustix::thread::set_no_new_privs(true);
    // Its starter's terminal and job control are not its own. Refused to the leader of a group:
    // one that a shell started by hand.
    let _ = rustix::process::setsid();
    drop(std::env::set_current_dir("/"));
    Ok(())
}

/// A panic is logged by its place alone: its text may hold a value.
pub(crate) fn hide_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a task panicked");
    }));
}
