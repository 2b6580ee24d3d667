//! The filter that a command is started under, and how its listener comes to the kit.
#![expect(
    unsafe_code,
    reason = "a filter is installed between fork and exec, by a call of its own"
)]

use super::Call;
use super::calls::BEGINNING;
use nix::libc;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Starts a command under a filter whose listener is sent over `control`.
pub(super) fn install(command: &mut Command, calls: &[Call], control: OwnedFd) {
    let program = program(calls, control.as_raw_fd());
    let begin = move || {
        let listener = filter(&program)?;
        let own = [listener.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        if !message.push(SendAncillaryMessage::ScmRights(&own)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        sendmsg(&control, &[IoSlice::new(b"l")], &mut message, SendFlags::empty())?;
        Ok(())
    };
    // SAFETY: between fork and exec `begin` makes system calls alone: it allocates nothing and
    // takes no lock.
    unsafe { command.pre_exec(begin) };
}

/// Whether a filter with a listener can be installed: tried in a process of its own.
pub(super) fn is_possible() -> bool {
    let program = program(&[Call::named("getcwd")], -1);
    let mut command = Command::new("true");
    let begin = move || filter(&program).map(drop);
    // SAFETY: as in `install`.
    unsafe { command.pre_exec(begin) };
    // Without a listener `execve` itself is refused: what matters is that it came so far.
    match command.status() {
        Ok(_) => true,
        Err(cause) => cause.raw_os_error() == Some(libc::ENOSYS),
    }
}

/// Installs the filter for this process and all that it starts, and returns its listener.
fn filter(program: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    rustix::thread::set_no_new_privs(true)?;
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let whole = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let flags =
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let set = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the program is read by the kernel during the call and outlives it.
    let listener = unsafe { libc::syscall(libc::SYS_seccomp, set, flags, &raw const whole) };
    let listener = i32::try_from(listener).map_err(|_| io::ErrorKind::InvalidInput)?;
    if listener < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(listener) })
}

/// Hands over the calls that are watched, and those by which a program's beginning is seen; a
/// message on the control socket is let through, because nobody listens before it has come.
fn program(calls: &[Call], control: i32) -> Vec<libc::sock_filter> {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    let line = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let number = |call: i64| u32::try_from(call).unwrap_or(u32::MAX);
    let mut lines = vec![
        line(LOAD, 0, 0, 0),
        line(EQUAL, 0, 4, number(libc::SYS_sendmsg)),
        // The low half of the first argument: both architectures are little-endian.
        line(LOAD, 0, 0, 16),
        line(EQUAL, 0, 1, control.cast_unsigned()),
        line(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        line(LOAD, 0, 0, 0),
    ];
    let needed = [libc::SYS_execve, BEGINNING];
    for call in calls.iter().map(|call| call.number).chain(needed) {
        lines.push(line(EQUAL, 0, 1, number(call)));
        lines.push(line(RETURN, 0, 0, libc::SECCOMP_RET_USER_NOTIF));
    }
    lines.push(line(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    lines
}
