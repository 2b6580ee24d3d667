//! Descriptors that the starter handed over by number.

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

use crate::arguments::Arguments;
use crate::systemd;

/// The descriptors that this process was started with for its use. All others are closed.
pub(crate) struct Handed {
    /// A socket of the service manager's.
    pub(crate) activated: Option<UnixListener>,
    /// Where it is told that a daemon listens.
    pub(crate) ready: Option<OwnedFd>,
    /// The one connection to serve.
    pub(crate) private: Option<OwnedFd>,
}

impl Handed {
    /// Takes what the command line and the service manager name.
    ///
    /// # Errors
    /// A sentence: a descriptor that the command line names is not open.
    pub(crate) fn take(arguments: &Arguments) -> Result<Self, String> {
        let activated = systemd::listener();
        let ready = arguments.ready_fd.map(take_fd).transpose()?;
        let private = arguments.private_fd.map(take_fd).transpose()?;
        let kept = [
            activated.as_ref().map(|fd| fd.as_raw_fd()),
            ready.as_ref().map(|fd| fd.as_raw_fd()),
            private.as_ref().map(|fd| fd.as_raw_fd()),
        ];
        close_others(&kept.into_iter().flatten().collect::<Vec<_>>());
        Ok(Self { activated, ready, private })
    }
}

fn take_fd(number: i32) -> Result<OwnedFd, String> {
    take(number).map_err(|cause| format!("descriptor {number}: {cause}"))
}

/// Takes a descriptor that the command line named.
///
/// # Errors
/// The operating system's answer when no such descriptor is open, or it is one of 0 to 2.
fn take(number: RawFd) -> std::io::Result<OwnedFd> {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    if number <= 2 {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    #[expect(unsafe_code, reason = "whether a number is open has no safe way to be asked")]
    // SAFETY: only asked whether it is open, while nothing else runs; where it is not, the answer
    // is EBADF and it is used for nothing.
    let asked = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(asked)?;
    #[expect(
        unsafe_code,
        reason = "a number from the command line has no safe way to a descriptor"
    )]
    // SAFETY: the descriptor is open, as just seen, and the starter gave it to this process alone:
    // nothing else in the process knows its number, and main calls this once for each number.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(fd)
}

/// Closes every descriptor above 2 that is not in `kept`, so that nothing of the starter's stays
/// open: a pipe whose end its reader waits for, a lock.
fn close_others(kept: &[RawFd]) {
    let Ok(listing) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<RawFd> = listing
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2 && !kept.contains(number))
        .collect();
    for number in numbers {
        // The listing's own descriptor is among them and closed already.
        let _ = nix::unistd::close(number);
    }
}
