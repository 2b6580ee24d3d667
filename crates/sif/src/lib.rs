//! SIF, the container file of Apptainer: reading, laying out, listing.
//!
//! [`Sif::read`] takes header and descriptors of a file and refuses what contradicts itself;
//! [`recognise`] and [`root_file_system`] say what a file is and where its root file system lies;
//! [`Layout`] gives the bytes of a new file's head and where its objects go. [`list`], [`header`]
//! and [`info`] are what the `sif` commands print.
//!
//! ```text
//!     0  global header, 128 bytes
//!  4096  48 descriptors of 585 bytes
//! 32176  the objects, the partition at a multiple of 4096      all integers little-endian
//! ```
//!
//! Not here: what is in the objects (`orlop-image`), the file system (`orlop-squashfs`), printing
//! to a terminal, signatures: none is made, none is checked.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod architecture;
mod codes;
mod descriptor;
mod error;
mod header;
mod image;
mod layout;
mod listing;
mod reader;
#[cfg(test)]
mod tests;
mod time;

pub use architecture::{Architecture, PROGRAM_HEAD_BYTES};
pub use codes::{DataType, FileSystem, PartitionKind};
pub use descriptor::{Descriptor, Link, Partition};
pub use error::Error;
pub use header::{Header, LAUNCH_SCRIPT};
pub use image::{ImageKind, RootFileSystem, recognise, root_file_system};
pub use layout::{DATA_OFFSET, Layout, NewObject, Stamp, uuid_v8};
pub use listing::{header, info, list};
pub use reader::Sif;
