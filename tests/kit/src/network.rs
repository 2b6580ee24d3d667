//! A network of its own for a test: addresses that look as if they were on the internet.
//!
//! The product treats public and private addresses differently, and a test has loopback alone. In
//! a network namespace whose loopback device has any addresses that the test likes, nothing
//! leaves the machine. Not here: what listens there ([`crate::registry`]).

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::io::Write as _;
use std::process::Command;

/// Runs a test on a thread whose network, and that of all it starts, is its own: these addresses
/// and loopback, and these lines in `/etc/hosts`. Says whether it ran: only root can do that.
///
/// # Panics
/// With what the test panics with, and when the network cannot be made though root asks.
pub fn own_network(addresses: &[&str], hosts: &str, test: impl FnOnce() + Send) -> bool {
    if !rustix::process::geteuid().is_root() {
        crate::tools::note("not run: a network of its own needs root");
        return false;
    }
    let outcome = std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("root may");
            ip(&["link", "set", "lo", "up"]);
            for address in addresses {
                ip(&["address", "add", address, "dev", "lo"]);
            }
            let _bound = bind_hosts(hosts);
            test();
        });
        inside.join()
    });
    match outcome {
        Ok(()) => true,
        Err(panicked) => std::panic::resume_unwind(panicked),
    }
}

/// Puts a file of these lines over `/etc/hosts` in the thread's own mount namespace.
fn bind_hosts(lines: &str) -> tempfile::NamedTempFile {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("root may");
    let mut file = tempfile::NamedTempFile::new().expect("a file can be made");
    writeln!(file, "127.0.0.1 localhost\n::1 localhost\n{lines}").expect("it can be written");
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(everybody).expect("it is ours");
    mount(Some(file.path()), "/etc/hosts", none, MsFlags::MS_BIND, none).expect("root may");
    file
}

fn ip(words: &[&str]) {
    let done = Command::new("ip").args(words).status().expect("ip is there");
    assert!(done.success(), "ip {}", words.join(" "));
}
