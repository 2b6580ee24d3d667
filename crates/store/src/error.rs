//! What can go wrong with the cache.

use std::io;
use std::path::{Path, PathBuf};

use orlop_oci::Digest;
use orlop_publish::{PublishError, is_disk_full};
use rustix::io::Errno;

/// Why the cache could not do something. What was visible before still is, unchanged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory cannot be a cache: callers go on without one.
    #[error("cache location {} {what}", path.display())]
    Unusable {
        /// The cache's directory.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// The operating system's answer, where there was one.
        #[source]
        cause: Option<io::Error>,
    },
    /// The cache was made by another format; nothing in it was touched.
    #[error("{} is a cache of format {found}, this program knows format {known}", path.display())]
    Format {
        /// The cache's directory.
        path: PathBuf,
        /// What its version file says, escaped and cut.
        found: String,
        /// The format of this program.
        known: u32,
    },
    /// No space, no quota, or a file size limit.
    #[error("no space left in {}{}", directory.display(), needed(*bytes))]
    DiskFull {
        /// Directory that had no room.
        directory: PathBuf,
        /// Bytes that were still to be written; 0 where that is not known.
        bytes: u64,
        /// The operating system's answer, where there was one.
        #[source]
        cause: Option<io::Error>,
    },
    /// Bytes that were to be published do not have their digest.
    #[error("{actual} arrived for {expected}")]
    NotTheBytes {
        /// Digest that was asked for.
        expected: Digest,
        /// Digest of what came.
        actual: Digest,
    },
    /// Another process of this user writes the same download.
    #[error("{digest} is being downloaded by another process")]
    Busy {
        /// The download.
        digest: Digest,
    },
    /// The work was called off; what was done before stays done.
    #[error("called off")]
    Stopped,
    /// The operating system refused.
    #[error("cannot {doing} {}", path.display())]
    Disk {
        /// The step.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The answer.
        #[source]
        cause: io::Error,
    },
}

/// The end of a sentence on a full disk.
fn needed(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { format!(", {bytes} bytes are needed") }
}

impl Error {
    /// True when the file was removed on its server while it was open here: another node's
    /// collector was at it, and what it held can be made again.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        let stale = io::ErrorKind::StaleNetworkFileHandle;
        matches!(self, Self::Disk { cause, .. } if cause.kind() == stale)
    }

    /// Makes an error of an operating system's answer; a full disk is told apart.
    pub(crate) fn disk(doing: &'static str, path: &Path, bytes: u64, cause: io::Error) -> Self {
        if is_disk_full(&cause) {
            let directory = path.parent().unwrap_or(path).to_owned();
            return Self::DiskFull { directory, bytes, cause: Some(cause) };
        }
        Self::Disk { doing, path: path.to_owned(), cause }
    }

    pub(crate) fn errno(doing: &'static str, path: &Path, cause: Errno) -> Self {
        Self::disk(doing, path, 0, cause.into())
    }

    /// `bytes` is what was to be published.
    pub(crate) fn publish(bytes: u64, error: PublishError) -> Self {
        match error {
            PublishError::NotTheBytes { expected, actual } => {
                Self::NotTheBytes { expected, actual }
            }
            PublishError::Disk { target, doing, cause } => Self::disk(doing, &target, bytes, cause),
            PublishError::Exists { target } => {
                Self::Disk { doing: "publish", path: target, cause: Errno::EXIST.into() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_with_the_bytes_where_they_are_known() {
        let full =
            |bytes| Error::DiskFull { directory: "/c".into(), bytes, cause: None }.to_string();
        assert_eq!(full(7), "no space left in /c, 7 bytes are needed");
        assert_eq!(full(0), "no space left in /c");
    }
}
