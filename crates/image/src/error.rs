//! What can go wrong between a layer's bytes and a SIF.
//!
//! One enum for the crate, facts only: words for users and the decision what to try next are the
//! callers'. Names that come from a layer are escaped before they enter a text.
//! Not here: errors of the formats themselves (`orlop-squashfs`, `orlop-sif`), which are causes.

use std::fmt;
use std::io;

use orlop_oci::digest::{DiffId, Digest};

/// A foreign cause, boxed so that no caller can depend on a format crate's error type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Where in a layer a fault was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The layer's blob digest.
    pub layer: Digest,
    /// The entry's name, escaped; empty where the fault is not within an entry.
    pub entry: String,
    /// Offset of the entry's header, in bytes of the tar.
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layer {}", self.layer)?;
        if !self.entry.is_empty() {
            write!(f, ", entry \"{}\"", self.entry)?;
        }
        write!(f, ", at byte {} of the tar", self.offset)
    }
}

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The layer is not what a layer may be (`LAYER_INVALID`). No other source has a better one.
    #[error("{place}: {fault}")]
    LayerInvalid {
        /// Where.
        place: Place,
        /// What is wrong, in lower case, without a full stop.
        fault: String,
    },
    /// A limit was reached (`LIMIT_EXCEEDED`).
    #[error("{place}: limits.{key} is {limit}, seen: {seen}")]
    Limit {
        /// Where.
        place: Place,
        /// The limit's key, as in the settings.
        key: &'static str,
        /// The limit, in the key's unit.
        limit: u64,
        /// What was seen, in the same unit; at least this much where counting stopped.
        seen: u64,
    },
    /// The limits of the whole image were reached (`LIMIT_EXCEEDED`).
    #[error("the image: limits.{key} is {limit}, seen: {seen}")]
    ImageLimit {
        /// The limit's key, as in the settings.
        key: &'static str,
        /// The limit, in the key's unit.
        limit: u64,
        /// What was seen, in the same unit.
        seen: u64,
    },
    /// The blob's bytes are not those of its digest (`SOURCE_LIED`): fetch it again.
    #[error("the source sent {actual} for {expected}")]
    BlobDigest {
        /// The descriptor's digest.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// The blob has another size than its descriptor says (`SOURCE_LIED`): fetch it again.
    #[error("the source sent {actual} bytes for {digest}, whose size is {expected}")]
    BlobSize {
        /// The descriptor's digest.
        digest: Digest,
        /// The descriptor's size in bytes.
        expected: u64,
        /// Bytes that came; reading stops one past `expected`.
        actual: u64,
    },
    /// The layer's tar has not the digest that the image config promises (`LAYER_INVALID`).
    #[error("layer {layer}: diff_id is {actual}, the image config says {expected}")]
    DiffId {
        /// The layer's blob digest.
        layer: Digest,
        /// From the image config.
        expected: DiffId,
        /// Of the bytes.
        actual: DiffId,
    },
    /// The blob could not be read to its end; the cause is the reader's own error.
    #[error("reading the blob of layer {layer}")]
    Source {
        /// The layer's blob digest.
        layer: Digest,
        /// The reader's error.
        #[source]
        cause: io::Error,
    },
    /// A tar that holds images is not what a tar may be.
    #[error("entry \"{entry}\", at byte {offset}: {fault}")]
    Archive {
        /// The entry's name, escaped; empty where the fault is not within an entry.
        entry: String,
        /// Offset of the entry's header, in bytes of the tar.
        offset: u64,
        /// What is wrong, in lower case, without a full stop.
        fault: String,
    },
    /// A local file could not be read or written.
    #[error("{what}")]
    Disk {
        /// What was being done, for instance "writing segment data".
        what: &'static str,
        /// The system's error.
        #[source]
        cause: io::Error,
    },
    /// Stored bytes (index, recipe or segment data) are damaged: to be moved aside and made again.
    #[error("{what} is damaged: {fault}")]
    Damaged {
        /// Which file, for instance "segment data".
        what: &'static str,
        /// What does not fit.
        fault: String,
    },
    /// The image cannot be written as a SIF or squashfs.
    #[error("building {what}")]
    Build {
        /// Which part.
        what: &'static str,
        /// The format crate's error.
        #[source]
        cause: BoxError,
    },
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
}

/// Shows bytes from a layer as one line of text: control characters, backslash, quote and what is
/// no UTF-8 are escaped; at most 256 bytes of the name are shown.
#[must_use]
pub fn escaped(name: &[u8]) -> String {
    const SHOWN: usize = 256;
    let shown = name.get(..SHOWN.min(name.len())).unwrap_or(name);
    let mut text = String::with_capacity(shown.len());
    for chunk in shown.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' | '"' => text.extend(['\\', character]),
                c if c.is_control() => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    if shown.len() < name.len() {
        text.push_str("...");
    }
    text
}
