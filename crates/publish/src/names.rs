//! Names and descriptors that drafts of both kinds need: temporary names, directories, the lock
//! that says a draft is alive.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// What temporary names begin with; 16 hex digits follow.
const PREFIX: &str = ".orlop-";

/// Short whatever the target's name is: a target of 255 bytes leaves no room for a suffix.
pub(crate) fn random_name() -> Result<OsString, Errno> {
    Ok(format!("{PREFIX}{:016x}", u64::from_ne_bytes(random()?)).into())
}

/// A temporary name that says who made it.
pub(crate) fn name_of(maker: u32) -> Result<OsString, Errno> {
    Ok(format!("{PREFIX}{maker:08x}{:08x}", u32::from_ne_bytes(random()?)).into())
}

/// Whether a name may be that of a [`crate::DirectoryDraft`] of this maker.
#[must_use]
pub fn is_made_by(name: &OsStr, maker: u32) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    is_temporary(name) && digits.is_some_and(|digits| digits.starts_with(&format!("{maker:08x}")))
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], Errno> {
    let mut bytes = [0; BYTES];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

/// True for the names that drafts have until they are published.
#[must_use]
pub fn is_temporary(name: &OsStr) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    digits.is_some_and(|digits| {
        digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

pub(crate) fn directory_of(target: &Path) -> &Path {
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or_else(|| Path::new("."))
}

pub(crate) fn file_name_of(target: &Path) -> Result<OsString, Errno> {
    target.file_name().map(OsStr::to_owned).ok_or(Errno::ISDIR)
}

pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}

/// Says to sweepers that somebody is at it; false where one was faster, and removes it. Where locks
/// do not work, nobody sweeps.
pub(crate) fn hold(fd: impl AsFd) -> bool {
    rustix::fs::flock(fd, FlockOperation::NonBlockingLockShared) != Err(Errno::WOULDBLOCK)
}

/// True when the last name of an open file was removed.
pub(crate) fn is_gone(fd: impl AsFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| stat.st_nlink == 0)
}

/// Syncs a directory; some network file systems cannot, and the rename is then all there is.
pub(crate) fn sync_directory(fd: impl AsFd) -> Result<(), Errno> {
    match rustix::fs::fsync(fd) {
        Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
        Err(cause) => Err(cause),
    }
}
