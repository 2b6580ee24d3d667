//! What can go wrong in this crate.

use std::io;

/// What can go wrong while reading or laying out a SIF. The first words are Apptainer's where it
/// has words for the fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is neither a SIF nor a squashfs nor an ext3 image.
    #[error("image format not recognized")]
    Unrecognised,
    /// The file could not be read.
    #[error("{what}")]
    Read {
        /// What was being done, for instance `reading global header`.
        what: &'static str,
        /// The system's error.
        #[source]
        cause: io::Error,
    },
    /// The file ends within the header or the descriptors.
    #[error("{what}: unexpected EOF")]
    Short {
        /// `reading global header` or `reading descriptors`.
        what: &'static str,
    },
    /// The header's magic is wrong.
    #[error("invalid SIF magic")]
    Magic,
    /// The header's version is not 01.
    #[error("incompatible SIF version")]
    Version,
    /// The header's table of descriptors cannot be.
    #[error("invalid SIF header: {fault}")]
    Header {
        /// What does not fit.
        fault: &'static str,
    },
    /// An object's descriptor cannot be.
    #[error("invalid SIF object {id}: {fault}")]
    Object {
        /// Its ID.
        id: u32,
        /// What does not fit.
        fault: &'static str,
    },
    /// There is no object of this ID.
    #[error("object not found: {id}")]
    NotFound {
        /// The ID asked for.
        id: u32,
    },
    /// There is no primary system partition.
    #[error("no root filesystem found")]
    NoRoot,
    /// There is more than one primary system partition.
    #[error("SIF objects {first} and {second} are both primary system partitions")]
    TwoRoots {
        /// ID of one.
        first: u32,
        /// ID of the other.
        second: u32,
    },
    /// The root file system is encrypted.
    #[error("encrypted images are not supported")]
    Encrypted,
    /// The root file system is of another kind than squashfs.
    #[error("{name} images are not supported")]
    FileSystem {
        /// Name of the file system.
        name: &'static str,
    },
    /// The root file system is no squashfs that can be read.
    #[error("while checking system partition header")]
    PartitionHeader {
        /// What is wrong with it.
        #[source]
        cause: orlop_squashfs::Error,
    },
    /// A new file cannot be laid out.
    #[error("a SIF cannot hold {what}")]
    Unrepresentable {
        /// What does not fit, for instance `more than 48 objects`.
        what: &'static str,
    },
}
