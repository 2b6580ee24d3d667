//! The caller's signal dispositions, given to the payload as they were.
//!
//! The standard library ignores SIGPIPE before `main`, so what the caller had is looked at before
//! that. Handlers of the client end with execve by themselves.
//!
//! Not here: passing signals on ([`crate::supervise`]).
#![expect(unsafe_code, reason = "sigaction, and a look before the standard library's own")]

use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static PIPE_IGNORED: AtomicBool = AtomicBool::new(false);

// SAFETY: the section holds pointers to functions of this type, which the loader calls once.
#[used]
#[unsafe(link_section = ".init_array.00101")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    // SAFETY: all-zero is a valid sigaction, which the kernel fills.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: asks only; the pointer is to a live value.
    let result = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut now) };
    PIPE_IGNORED.store(result == 0 && now.sa_sigaction == libc::SIG_IGN, Ordering::Relaxed);
}

/// Gives SIGPIPE back the disposition that the caller left.
pub(crate) fn restore() {
    let handler =
        if PIPE_IGNORED.load(Ordering::Relaxed) { SigHandler::SigIgn } else { SigHandler::SigDfl };
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is installed.
    let _ = unsafe { sigaction(Signal::SIGPIPE, &action) };
}
