//! What can keep a file from becoming visible.

use std::io;
use std::path::{Path, PathBuf};

use orlop_oci::Digest;
use rustix::io::Errno;

/// Why a draft was not published. The draft is gone in every case, and the target is as it was.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The bytes written do not have the digest that was promised for them.
    #[error("{actual} was written for {expected}")]
    NotTheBytes {
        /// Digest the bytes were expected to have.
        expected: Digest,
        /// Digest the bytes have.
        actual: Digest,
    },
    /// A file of that name is there and must not be replaced.
    #[error("{} already exists", target.display())]
    Exists {
        /// The name asked for.
        target: PathBuf,
    },
    /// The disk or the file system refused a step.
    #[error("cannot {doing} {}", target.display())]
    Disk {
        /// The name that was to become visible.
        target: PathBuf,
        /// The step: `create`, `write`, `read`, `sync`, `rename`, `open`, `move`.
        doing: &'static str,
        /// The operating system's answer.
        #[source]
        cause: io::Error,
    },
}

impl PublishError {
    pub(crate) fn disk(target: &Path, doing: &'static str, cause: Errno) -> Self {
        Self::Disk { target: target.to_owned(), doing, cause: cause.into() }
    }

    /// True when no space, no quota or a file size limit is the reason.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Disk { cause, .. } if is_disk_full(cause))
    }
}

/// True when no space, no quota or a file size limit is what the operating system answered.
#[must_use]
pub fn is_disk_full(cause: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(cause.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
