//! Squashfs 4.0: reading what any writer made, and writing the tables of images.
//!
//! [`Reader`] serves many threads and never panics, whatever the bytes; [`TableWriter`] makes all
//! of an image but its data blocks, which its caller has already: inode, directory, fragment,
//! export, id and xattr tables and the superblock. The same calls give the same bytes.
//!
//! ```text
//! superblock (96) | data blocks and fragments | inode table | directory table
//! | fragment table | export table | id table | xattr table           all little-endian
//! ```
//!
//! Format: the kernel's `fs/squashfs/squashfs_fs.h`, squashfs-tools.
//! Not here: cutting and compressing files (`orlop-image`), FUSE (`orlop-runtime`).

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod buffers;
mod bytes;
mod compressor;
mod decompress;
mod directory;
mod error;
mod file_map;
mod inode;
mod lzo;
mod metadata;
mod read_at;
mod reader;
mod superblock;
mod table;
mod writer;
mod xattr;

pub use compressor::{Compression, Compressor};
pub use directory::{DirectoryEntries, DirectoryEntry, Position};
pub use error::{BoxError, Error};
pub use file_map::{Block, FileMap, Piece};
pub use inode::{Directory, FileData, FileType, Inode, InodeRef, Kind};
pub use read_at::{ReadAt, Window};
pub use reader::Reader;
pub use superblock::{MAGIC, SUPERBLOCK_BYTES, Superblock};
pub use writer::{
    Attributes, FileContent, Fragment, Node, Special, TableOptions, TableWriter, Tables,
};
pub use xattr::{Xattr, is_storable_xattr};
