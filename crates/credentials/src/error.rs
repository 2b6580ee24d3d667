//! What can go wrong with credential files and helpers.

use std::io;
use std::path::PathBuf;

use orlop_publish::PublishError;

/// Why credentials could not be read or changed. Nothing was written unless the variant says so.
/// No text holds a byte of a file's content.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file does not parse, or does not say what it must.
    #[error("{file}:{line}:{column}: {what}")]
    Invalid {
        /// The file, as the user knows it.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// The fault.
        what: String,
    },
    /// A file is larger than its limit.
    #[error("{file} has more than {limit} bytes (credential-file-bytes)")]
    TooLarge {
        /// The file.
        file: String,
        /// Bytes allowed.
        limit: u64,
    },
    /// The name leads to something that is no regular file.
    #[error("{file} is {what}, not a regular file")]
    NotAFile {
        /// The file.
        file: String,
        /// What it is instead.
        what: &'static str,
    },
    /// The file belongs to somebody else, so it must not be changed.
    #[error("{file} belongs to user {owner}")]
    NotOurs {
        /// The file.
        file: String,
        /// Its owner.
        owner: u32,
    },
    /// The operating system refused.
    #[error("cannot {doing} {}", path.display())]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The answer.
        #[source]
        cause: io::Error,
    },
    /// The new file could not be made visible.
    #[error("cannot store {file}")]
    Publish {
        /// The file.
        file: String,
        /// Why.
        #[source]
        cause: PublishError,
    },
    /// Another process holds the lock for longer than the limit.
    #[error("{} is locked by {}", lock.display(), holder.map_or("another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// The lock file.
        lock: PathBuf,
        /// The process that holds it, where the kernel tells.
        holder: Option<u32>,
    },
    /// A user name or host that cannot be stored.
    #[error("{what}")]
    Unusable {
        /// What is wrong with it.
        what: String,
    },
    /// A credential helper failed or cannot be started.
    #[error("credential helper {program} {what}")]
    Helper {
        /// Name of the program.
        program: String,
        /// What happened; foreign text is escaped and cut.
        what: String,
        /// True when the program could not be started at all.
        missing: bool,
    },
}
