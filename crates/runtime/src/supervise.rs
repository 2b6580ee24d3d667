//! A parent that waits: for containers with process numbers of their own.
//!
//! The parent stays in the caller's process group, passes on signals that were sent to it alone,
//! and ends with the payload's status. The child dies with it. Within the container a first process
//! reaps for the payload, unless it is not wanted.
//!
//! Not here: payloads in place, which need none of this.

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};

use crate::error::Error;

/// Forks into the new pid namespace.
///
/// In the parent: the status, once the child has ended. In the process that is to become the
/// payload: nothing.
#[expect(unsafe_code, reason = "ends without unwinding")]
pub(crate) fn split(no_init: bool) -> Result<Option<u8>, Error> {
    let parent = getpid();
    let old = block_all()?;
    match fork_once()? {
        ForkResult::Parent { child } => {
            let status = wait_for(child);
            restore_mask(&old);
            return Ok(Some(status));
        }
        ForkResult::Child => die_with(Some(parent))?,
    }
    if !no_init {
        match fork_once()? {
            ForkResult::Parent { child } => {
                let status = wait_for(child);
                // SAFETY: ends this process at once; nothing of the parent's is to be run twice.
                unsafe { libc::_exit(i32::from(status)) }
            }
            ForkResult::Child => die_with(None)?,
        }
    }
    restore_mask(&old);
    Ok(None)
}

#[expect(unsafe_code, reason = "fork")]
fn fork_once() -> Result<ForkResult, Error> {
    // SAFETY: the process has one thread (documented at `enter::run`), so the child may do anything.
    unsafe { fork() }.map_err(|errno| Error::setup("cannot start a process", errno))
}

/// Dies when the parent does. Number 1 sees no parent outside, so the check asks only whether the
/// parent that is known is gone already.
fn die_with(parent: Option<Pid>) -> Result<(), Error> {
    set_pdeathsig(Signal::SIGKILL)
        .map_err(|errno| Error::setup("cannot bind a process to its parent", errno))?;
    let now = getppid().as_raw();
    // From a new pid namespace the parent is number 0 while it lives as well as after.
    if parent.is_some_and(|parent| now != 0 && now != parent.as_raw()) {
        return Err(Error::setup("the parent is gone", Errno::ESRCH));
    }
    Ok(())
}

fn block_all() -> Result<SigSet, Error> {
    let old = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    old.map_err(|errno| Error::setup("cannot block signals", errno))
}

fn restore_mask(old: &SigSet) {
    // The set came from the kernel: it takes it back.
    let _ = old.thread_set_mask();
}

/// Reaps every child and passes on signals until `payload` has ended.
fn wait_for(payload: Pid) -> u8 {
    loop {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, status)) if pid == payload => {
                    return u8::try_from(status & 0xff).unwrap_or(255);
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == payload => {
                    return u8::try_from(128 + signal as i32).unwrap_or(255);
                }
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return 255,
            }
        }
        pass_on(payload);
    }
}

/// Waits for one signal and passes it on when a process sent it. Those of the terminal reach the
/// payload by themselves, because it is in the same process group.
#[expect(unsafe_code, reason = "sigwaitinfo tells who sent a signal")]
fn pass_on(payload: Pid) {
    // SAFETY: all-zero is a valid siginfo_t, which the kernel fills.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let all = SigSet::all();
    // SAFETY: both pointers are to live values of the right types.
    let number = unsafe { libc::sigwaitinfo(all.as_ref(), &raw mut info) };
    let sent = info.si_code <= 0;
    match Signal::try_from(number) {
        Ok(Signal::SIGCHLD | Signal::SIGURG) | Err(_) => {}
        Ok(Signal::SIGTSTP) => {
            // The job's shell waits for this process to stop; the payload got the signal too.
            let _ = nix::sys::signal::raise(Signal::SIGSTOP);
        }
        Ok(signal) if sent => {
            let _ = nix::sys::signal::kill(payload, signal);
        }
        Ok(_) => {}
    }
}
