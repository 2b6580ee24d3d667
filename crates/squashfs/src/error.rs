//! What can go wrong in this crate.

use std::io;

/// A foreign cause, boxed so that no caller can depend on a compression crate's error type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What can go wrong while reading or writing squashfs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source could not be read. A file cut short is `UnexpectedEof`.
    #[error("reading {what} at byte {offset}")]
    Read {
        /// What was being read, for instance "a data block".
        what: &'static str,
        /// Where, in bytes from the start of the file system.
        offset: u64,
        /// The source's error.
        #[source]
        cause: io::Error,
    },
    /// The first four bytes are not `hsqs`.
    #[error("no squashfs: the magic is missing")]
    Magic,
    /// Only 4.0 is read.
    #[error("squashfs version {major}.{minor} is not supported")]
    Version {
        /// As in the superblock.
        major: u16,
        /// As in the superblock.
        minor: u16,
    },
    /// The superblock names a compressor that does not exist.
    #[error("unknown squashfs compression {id}")]
    UnknownCompressor {
        /// As in the superblock.
        id: u16,
    },
    /// The compressor exists but is not supported: lzma alone, which the kernel refuses too.
    #[error("squashfs compression lzma is not supported")]
    Lzma,
    /// The bytes contradict themselves or the format.
    #[error("damaged squashfs: {fault}")]
    Malformed {
        /// What does not fit, in lower case, without a full stop.
        fault: &'static str,
    },
    /// A compressed block does not decompress to what the format allows.
    #[error("damaged squashfs: the block at byte {offset} does not decompress")]
    Decompress {
        /// Where the block lies, in bytes from the start of the file system.
        offset: u64,
        /// The compression library's error.
        #[source]
        cause: BoxError,
    },
    /// The caller asked for what another kind of inode has.
    #[error("not a {wanted}")]
    WrongKind {
        /// `directory` or `regular file`.
        wanted: &'static str,
    },
    /// What was to be written does not fit into the format, or is not what the format allows.
    #[error("squashfs cannot hold {what}")]
    Unrepresentable {
        /// What does not fit, for instance "more than 65535 owners and groups".
        what: &'static str,
    },
    /// Metadata could not be compressed.
    #[error("compressing squashfs metadata")]
    Compress {
        /// The compression library's error.
        #[source]
        cause: BoxError,
    },
}

impl Error {
    pub(crate) fn malformed(fault: &'static str) -> Self {
        Self::Malformed { fault }
    }
}
