//! An image as its holder gets it: open files, and what tells it from other images.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{FlockOperation, flock};

use super::{Error, Names};

/// An opened image.
#[derive(Debug)]
pub struct Image {
    pub(crate) source: Source,
    /// What tells images apart; part of a holder's key.
    pub(crate) identity: String,
    /// The cache it lies in, and its names there.
    pub(crate) stay: Option<(File, Names)>,
}

/// Where the squashfs is.
#[derive(Debug)]
pub(crate) enum Source {
    /// A part of a file, in bytes.
    File { file: File, offset: u64, length: u64 },
    /// A recipe and the segments it names, in its order.
    Recipe { recipe: File, segments: Vec<File> },
}

impl Image {
    /// The squashfs in `length` bytes of a file from `offset` on: the partition of a SIF, or all of
    /// a squashfs file. Told apart by device, inode, size and ctime.
    ///
    /// # Errors
    /// [`Error::Image`] when the file cannot be looked at.
    pub fn of_file(file: File, offset: u64, length: u64) -> Result<Self, Error> {
        let status = file.metadata().map_err(|cause| Error::Image { cause })?;
        let identity = format!(
            "file {} {} {} {}.{} {offset} {length}",
            status.dev(),
            status.ino(),
            status.size(),
            status.ctime(),
            status.ctime_nsec()
        );
        Ok(Self { source: Source::File { file, offset, length }, identity, stay: None })
    }

    /// The image that a recipe of the cache describes: its key, its file and its segments' data
    /// files in the recipe's order. All are leased (`flock`) for as long as anyone has them open.
    ///
    /// # Errors
    /// [`Error::Image`], `WouldBlock` when the cache is about to remove one of them.
    pub fn of_recipe(key: &str, recipe: File, segments: Vec<File>) -> Result<Self, Error> {
        for file in std::iter::once(&recipe).chain(&segments) {
            flock(file, FlockOperation::NonBlockingLockShared)
                .map_err(|errno| Error::Image { cause: errno.into() })?;
        }
        let (source, identity) = (Source::Recipe { recipe, segments }, format!("recipe {key}"));
        Ok(Self { source, identity, stay: None })
    }

    /// Has the holder keep the image in the cache of this directory, under these names.
    #[must_use]
    pub fn kept_in(self, cache: File, names: Names) -> Self {
        let stay = names.fit().then_some((cache, names));
        Self { stay, ..self }
    }
}
