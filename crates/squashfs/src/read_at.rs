//! Where a file system's bytes come from: [`ReadAt`], and [`Window`], a part of a file.
//!
//! No memory maps: a file cut short while in use must be an error, not a signal.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

/// Bytes that many threads read at once.
pub trait ReadAt: Send + Sync + Debug {
    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` when they are not all there; else the system's error. `buf` then holds
    /// anything.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Number of bytes.
    fn size(&self) -> u64;
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_at(buf, offset)
    }

    fn size(&self) -> u64 {
        (**self).size()
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(buf.len());
        buf.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn size(&self) -> u64 {
        self.len() as u64
    }
}

/// A part of a file, read with `pread`.
#[derive(Debug)]
pub struct Window {
    file: File,
    offset: u64,
    length: u64,
}

impl Window {
    /// The `length` bytes of `file` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file is not as long as that; else the system's error.
    pub fn new(file: File, offset: u64, length: u64) -> io::Result<Self> {
        let end = offset.checked_add(length).ok_or(io::ErrorKind::UnexpectedEof)?;
        if end > file.metadata()?.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self { file, offset, length })
    }

    /// All of `file`, as long as it is now.
    ///
    /// # Errors
    /// The system's error.
    pub fn whole(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, offset: 0, length })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl ReadAt for Window {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // `end` is at most `length`, and `offset + length` fits.
        self.file.read_exact_at(buf, self.offset.saturating_add(offset))
    }

    fn size(&self) -> u64 {
        self.length
    }
}
