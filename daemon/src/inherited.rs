//! Descriptors that the starter handed over by number.

use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

/// Takes a descriptor that the command line named.
///
/// # Errors
/// The operating system's answer when no such descriptor is open, or it is one of 0 to 2.
pub(crate) fn take(number: RawFd) -> std::io::Result<OwnedFd> {
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
pub(crate) fn close_others(kept: &[RawFd]) {
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
