//! What can be wrong with an archive or a layout.
//!
//! One enum for the crate, facts only. Names that come from an archive are escaped.

use std::io;
use std::path::PathBuf;

use orlop_oci::{Digest, ManifestError, SelectionError};

/// Why an image in a local file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file or directory cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// The path leads to something that cannot hold an image.
    #[error("{} is {found}, {wanted} is needed", path.display())]
    Kind {
        /// Which.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What it has to be.
        wanted: &'static str,
    },
    /// The file is no archive that Orlop reads.
    #[error("{} is not {wanted}: {what}", path.display())]
    NotAnArchive {
        /// Which file.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The tar is broken.
    #[error("{} is not a whole tar archive", path.display())]
    Tar {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        #[source]
        cause: orlop_image::Error,
    },
    /// Something that the image needs is not there.
    #[error("{}: {name} is missing", path.display())]
    Missing {
        /// Which archive or layout.
        path: PathBuf,
        /// The name in it, escaped.
        name: String,
    },
    /// A name in the archive leads to something that cannot be used.
    #[error("{}: {name} {what}", path.display())]
    Entry {
        /// Which archive or layout.
        path: PathBuf,
        /// The name in it, escaped.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A document in the archive is not what it has to be.
    #[error("{}: {name} cannot be used", path.display())]
    Document {
        /// Which archive or layout.
        path: PathBuf,
        /// The document's name.
        name: String,
        /// Why.
        #[source]
        cause: ManifestError,
    },
    /// Bytes have another digest than the one they are named by.
    #[error("{}: {name} has the digest {actual}", path.display())]
    Digest {
        /// Which archive or layout.
        path: PathBuf,
        /// The name in it.
        name: String,
        /// Digest of the bytes that are there.
        actual: Digest,
    },
    /// Bytes have another length than their descriptor says.
    #[error("{}: {name} has {actual} bytes instead of {expected}", path.display())]
    Size {
        /// Which archive or layout.
        path: PathBuf,
        /// The name in it.
        name: String,
        /// The descriptor's size.
        expected: u64,
        /// Bytes that are there.
        actual: u64,
    },
    /// There is no such image in it.
    #[error("{} holds no image {wanted:?}; {}", path.display(), listed(offered))]
    NoImage {
        /// Which archive or layout.
        path: PathBuf,
        /// What was asked for.
        wanted: String,
        /// What it holds.
        offered: Vec<String>,
    },
    /// There are several images, and none was named.
    #[error("{} holds several images, name one of them; {}", path.display(), listed(offered))]
    Several {
        /// Which layout.
        path: PathBuf,
        /// What it holds.
        offered: Vec<String>,
    },
    /// There is none for the platform.
    #[error(transparent)]
    Platform(#[from] SelectionError),
    /// One of the limits was reached.
    #[error("{}: {name}: limits.{key} is {limit}", path.display())]
    Limit {
        /// Which archive or layout.
        path: PathBuf,
        /// The name in it.
        name: String,
        /// The limit's key.
        key: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The file was written to while it was read.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// The archive could not be unpacked beside the cache.
    #[error("cannot unpack {} into {}", path.display(), directory.display())]
    Spool {
        /// Which archive.
        path: PathBuf,
        /// Where to.
        directory: PathBuf,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// Whoever asked is gone.
    #[error("stopped")]
    Stopped,
}

/// Names that a message lists.
const LISTED: usize = 20;

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "it names none".to_owned();
    }
    let mut text = String::from("it holds ");
    for (place, name) in names.iter().take(LISTED).enumerate() {
        text.push_str(if place == 0 { "" } else { ", " });
        text.extend(name.escape_debug());
    }
    let more = names.len().saturating_sub(LISTED);
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
