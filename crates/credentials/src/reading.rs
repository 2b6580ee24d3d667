//! Reading a file that somebody else may have prepared: never blocking, never without a limit.
//!
//! Regular files only, opened without blocking, so that a FIFO or a device stops nobody; a size
//! limit; owner and mode looked at by descriptor. Rule: reliability.md S03 to S13 of the design
//! notes, in short: what is odd is named, nothing is guessed.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use zeroize::Zeroizing;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::Error;

/// A file's bytes and what its owner and mode say.
pub struct Content {
    /// The bytes. They may hold secrets.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Permission bits, type bits cut off.
    pub mode: u32,
    /// Owner's uid.
    pub owner: u32,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Content({} bytes, mode {:o})", self.bytes.len(), self.mode)
    }
}

impl Content {
    /// True when the file belongs to the user or to root.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.owner == 0 || self.owner == rustix::process::geteuid().as_raw()
    }

    /// True when somebody other than the owner may read or write the file.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.mode & 0o066 != 0
    }
}

/// Reads a whole file of at most `limit` bytes; `None` when there is no such file.
///
/// # Errors
/// [`Error::NotAFile`], [`Error::TooLarge`], [`Error::Disk`].
pub fn read(path: &Path, limit: u64) -> Result<Option<Content>, Error> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let disk =
        |cause: Errno| Error::Disk { doing: "read", path: path.to_owned(), cause: cause.into() };
    let fd = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        // A file in place of a directory above it: nothing of that name is there either.
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(Errno::NXIO) => return Err(not_a_file(path, "a socket or FIFO")),
        Err(cause) => return Err(disk(cause)),
    };
    let stat = rustix::fs::fstat(&fd).map_err(disk)?;
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some("a directory"),
        FileType::Fifo => Some("a FIFO"),
        FileType::Socket => Some("a socket"),
        _ => Some("a device"),
    };
    if let Some(what) = what {
        return Err(not_a_file(path, what));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let mut file = File::from(fd).take(limit.saturating_add(1));
    file.read_to_end(&mut bytes).map_err(|cause| Error::Disk {
        doing: "read",
        path: path.to_owned(),
        cause,
    })?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge { file: path.display().to_string(), limit });
    }
    Ok(Some(Content { bytes, mode: stat.st_mode & 0o7777, owner: stat.st_uid }))
}

fn not_a_file(path: &Path, what: &'static str) -> Error {
    Error::NotAFile { file: path.display().to_string(), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_files_are_named_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .unwrap();
        let text =
            |result: Result<_, Error>| result.map(|_: Option<Content>| ()).unwrap_err().to_string();
        assert!(text(read(&fifo, 10)).ends_with("is a FIFO, not a regular file"));
        assert!(text(read(directory.path(), 10)).ends_with("is a directory, not a regular file"));
        assert!(
            text(read(Path::new("/dev/zero"), 10)).ends_with("is a device, not a regular file")
        );
        assert!(read(&directory.path().join("none"), 10).unwrap().is_none());
        let file = directory.path().join("file");
        std::fs::write(&file, b"12345678901").unwrap();
        assert!(text(read(&file, 10)).contains("credential-file-bytes"));
        assert_eq!(read(&file, 11).unwrap().unwrap().bytes.len(), 11);
    }
}
