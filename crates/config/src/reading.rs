//! Reading a small file that a user or a site wrote: never blocks, never reads without end.
//!
//! Rules: (a) of `reliability.md` §5. Not here: parsing.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Place};

/// Reads a regular file whole; a missing one is [`Error::Unreadable`] with `NotFound`.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let unreadable = |cause: io::Error| Error::Unreadable { path: path.to_owned(), cause };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let not_a_file = |what| Error::NotAFile { path: path.to_owned(), what };
    let fd = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NXIO) => return Err(not_a_file("a socket")),
        Err(cause) => return Err(unreadable(cause.into())),
    };
    let stat = rustix::fs::fstat(&fd).map_err(|cause| unreadable(cause.into()))?;
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some("a directory"),
        FileType::Fifo => Some("a FIFO"),
        _ => Some("a device"),
    };
    if let Some(what) = what {
        return Err(not_a_file(what));
    }
    let mut bytes = Vec::new();
    // One byte more than the limit tells a file of exactly that size from a larger one.
    let read = File::from(fd).take(limit.saturating_add(1)).read_to_end(&mut bytes);
    if u64::try_from(read.map_err(unreadable)?).is_ok_and(|read| read <= limit) {
        Ok(bytes)
    } else {
        Err(Error::TooLarge { path: path.to_owned(), limit })
    }
}

/// Reads a text file; a byte order mark at its start is dropped.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, Error> {
    let text = String::from_utf8(read(path, limit)?).map_err(|cause| {
        let valid = cause.utf8_error().valid_up_to();
        let before = cause.as_bytes().get(..valid).unwrap_or_default();
        let before = String::from_utf8_lossy(before);
        Error::Utf8 { at: Place::of(path, &before, valid) }
    })?;
    Ok(text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned))
}

/// Says whether an error is that there is no such file, be it that a directory above it is none.
pub(crate) fn is_nothing(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Says whether an error is that there is no such file.
pub(crate) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Unreadable { cause, .. } if is_nothing(cause))
}
