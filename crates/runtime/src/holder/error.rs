//! What can go wrong with a holder.

use std::io;

/// Why there is no holder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image's file could not be looked at, or another process is about to remove it.
    #[error("opening the image for its holder")]
    Image {
        /// The system's error; `WouldBlock` when it is being removed.
        #[source]
        cause: io::Error,
    },
    /// The directory of sockets, the lock or the socket in it failed.
    #[error("{what}")]
    Socket {
        /// What was being done.
        what: &'static str,
        /// The system's error.
        #[source]
        cause: io::Error,
    },
    /// The holder's process could not be started, or ended before it said anything.
    #[error("starting the mount holder")]
    Start {
        /// The system's error.
        #[source]
        cause: io::Error,
    },
    /// No user namespace could be made: EPERM, ENOSPC, EUSERS. The caller names the sysctl.
    #[error("making a user namespace")]
    UserNamespace {
        /// The system's error.
        #[source]
        cause: io::Error,
    },
    /// FUSE cannot be used, and unpacking was not allowed.
    #[error("/dev/fuse cannot be used")]
    NoFuse {
        /// The system's error.
        #[source]
        cause: io::Error,
    },
    /// A file of the image was removed from the cache before it was leased: it has to be brought
    /// there again.
    #[error("the image was removed from the cache by another node")]
    Gone,
    /// The holder failed at something else.
    #[error("the mount holder failed: {message}")]
    Holder {
        /// What it said, causes included.
        message: String,
    },
    /// A holder that does not answer could not be replaced.
    #[error("the mount holder does not answer")]
    Silent,
}
