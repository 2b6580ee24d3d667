//! The superblock: 96 bytes at the start of a file system.
//!
//! ```text
//!  0 u32 magic "hsqs"   4 u32 inodes        8 u32 time          12 u32 block size
//! 16 u32 fragments     20 u16 compressor   22 u16 log2 of block size   24 u16 flags
//! 26 u16 ids           28 u16 major (4)    30 u16 minor (0)    32 u64 root inode
//! 40 u64 bytes used    48 u64 id table     56 u64 xattr table  64 u64 inode table
//! 72 u64 directories   80 u64 fragments    88 u64 export table
//! ```
//!
//! Tables are given by their offsets from the superblock; all ones: there is none.
//! Holding a [`Superblock`] means that its fields fit each other and the source's length.

use crate::bytes::Fields;
use crate::compressor::Compressor;
use crate::error::Error;

/// The first four bytes of a squashfs.
pub const MAGIC: &[u8; 4] = b"hsqs";
/// Bytes of the superblock.
pub const SUPERBLOCK_BYTES: usize = 96;

/// A table that is not there.
pub(crate) const NONE: u64 = u64::MAX;
pub(crate) const FLAG_NO_FRAGMENTS: u16 = 0x10;
pub(crate) const FLAG_EXPORTABLE: u16 = 0x80;
pub(crate) const FLAG_NO_XATTRS: u16 = 0x200;

/// A superblock whose fields fit each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Number of inodes.
    pub inodes: u32,
    /// When it was made. Unix seconds.
    pub time: u32,
    /// Bytes of a data block before compression: a power of two from 4 KiB to 1 MiB.
    pub block_size: u32,
    /// How all blocks are compressed.
    pub compressor: Compressor,
    /// Bytes from the superblock to the end of the last table.
    pub bytes_used: u64,
    pub(crate) flags: u16,
    pub(crate) fragments: u32,
    pub(crate) ids: u16,
    pub(crate) root: u64,
    pub(crate) id_table: u64,
    pub(crate) xattr_table: u64,
    pub(crate) inode_table: u64,
    pub(crate) directory_table: u64,
    pub(crate) fragment_table: u64,
    pub(crate) export_table: u64,
}

impl Superblock {
    /// Reads the superblock of a file system of which `length` bytes are there.
    ///
    /// # Errors
    /// [`Error::Magic`], [`Error::Version`], [`Error::Lzma`], [`Error::UnknownCompressor`];
    /// [`Error::Malformed`] for a field that cannot be.
    pub fn parse(bytes: &[u8], length: u64) -> Result<Self, Error> {
        let mut fields = Fields(bytes);
        if fields.take(MAGIC.len())? != MAGIC {
            return Err(Error::Magic);
        }
        let inodes = fields.u32()?;
        let time = fields.u32()?;
        let block_size = fields.u32()?;
        let fragments = fields.u32()?;
        let compressor = fields.u16()?;
        let block_log = fields.u16()?;
        let flags = fields.u16()?;
        let ids = fields.u16()?;
        let (major, minor) = (fields.u16()?, fields.u16()?);
        if (major, minor) != (4, 0) {
            return Err(Error::Version { major, minor });
        }
        let superblock = Self {
            inodes,
            time,
            block_size,
            compressor: Compressor::from_id(compressor)?,
            flags,
            fragments,
            ids,
            root: fields.u64()?,
            bytes_used: fields.u64()?,
            id_table: fields.u64()?,
            xattr_table: fields.u64()?,
            inode_table: fields.u64()?,
            directory_table: fields.u64()?,
            fragment_table: fields.u64()?,
            export_table: fields.u64()?,
        };
        if !(12..=20).contains(&block_log) || block_size.checked_shr(block_log.into()) != Some(1) {
            return Err(Error::malformed("its block size cannot be"));
        }
        superblock.check(length)?;
        Ok(superblock)
    }

    fn check(&self, length: u64) -> Result<(), Error> {
        let fault = if !self.block_size.is_power_of_two() {
            "its block size cannot be"
        } else if self.bytes_used > length {
            "it is cut short"
        } else if self.inodes == 0 || self.ids == 0 {
            "it has no inodes or no owners"
        } else if self.inode_table < SUPERBLOCK_BYTES as u64
            || self.inode_table >= self.directory_table
            || self.directory_table > self.bytes_used
            || self.id_table >= self.bytes_used
            || self.id_table <= self.directory_table
        {
            "its tables are out of place"
        } else if [self.xattr_table, self.fragment_table, self.export_table].iter().any(|&table| {
            table != NONE && !(self.directory_table..self.bytes_used).contains(&table)
        }) {
            "a table is out of place"
        } else if self.fragments > 0 && self.fragment_table == NONE {
            "it has fragments without their table"
        } else {
            return Ok(());
        };
        Err(Error::malformed(fault))
    }

    pub(crate) fn to_bytes(&self) -> [u8; SUPERBLOCK_BYTES] {
        let block_log = u16::try_from(self.block_size.trailing_zeros()).unwrap_or(0);
        let mut out = Vec::with_capacity(SUPERBLOCK_BYTES);
        out.extend_from_slice(MAGIC);
        for field in [self.inodes, self.time, self.block_size, self.fragments] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for field in [self.compressor.id(), block_log, self.flags, self.ids, 4, 0] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        let tables = [self.inode_table, self.directory_table, self.fragment_table];
        let offsets = [self.root, self.bytes_used, self.id_table, self.xattr_table];
        for field in offsets.into_iter().chain(tables).chain([self.export_table]) {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.try_into().unwrap_or([0; SUPERBLOCK_BYTES])
    }

    /// Bytes of the partition when padded to `alignment` (0: not padded).
    #[must_use]
    pub fn padded(&self, alignment: u64) -> u64 {
        self.bytes_used.checked_next_multiple_of(alignment).unwrap_or(self.bytes_used)
    }
}
