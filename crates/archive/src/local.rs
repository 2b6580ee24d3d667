//! A path of the caller's: opened, if it is a regular file or a directory, and watched for change.
//!
//! A FIFO, a device or a socket is never opened: that alone may hang or do something. Not here:
//! what is in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::error::Error;

/// What a file was like when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// An open regular file or directory.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    pub(crate) is_directory: bool,
    seen: Seen,
}

impl Local {
    /// Opens what the path leads to, through links.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |cause| Error::Open { path: path.to_owned(), cause };
        check(path, &std::fs::metadata(path).map_err(failed)?)?;
        // It may be another thing by now: it must not block, nor become this process's terminal.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from);
        Self::of(File::from(opened.map_err(failed)?), path)
    }

    /// Takes an open file, which messages call `path`.
    pub(crate) fn of(file: File, path: &Path) -> Result<Self, Error> {
        let failed = |cause| Error::Open { path: path.to_owned(), cause };
        let metadata = file.metadata().map_err(failed)?;
        check(path, &metadata)?;
        let is_directory = metadata.is_dir();
        Ok(Self { file, path: path.to_owned(), is_directory, seen: Seen::of(&metadata) })
    }

    /// Says whether the file is as it was when it was opened. What a directory holds is not
    /// looked at: its files are told by their digests.
    pub(crate) fn unchanged(&self) -> Result<(), Error> {
        let failed = |cause| Error::Read { path: self.path.clone(), cause };
        if self.is_directory || Seen::of(&self.file.metadata().map_err(failed)?) == self.seen {
            Ok(())
        } else {
            Err(Error::Changed { path: self.path.clone() })
        }
    }
}

impl Seen {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self { size: metadata.len(), seconds: metadata.mtime(), nanoseconds: metadata.mtime_nsec() }
    }
}

fn check(path: &Path, metadata: &std::fs::Metadata) -> Result<(), Error> {
    let kind = metadata.file_type();
    let found = match () {
        () if kind.is_file() || kind.is_dir() => return Ok(()),
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(Error::Kind { path: path.to_owned(), found, wanted: "a regular file or a directory" })
}
