//! Tables of equal entries: ids, fragments, the export table, xattr ids.
//!
//! Entries lie in metadata blocks anywhere; the table's own offset holds u64 LE pointers to them.

use crate::error::Error;
use crate::metadata::{BLOCK_BYTES_U64, Cursor, Place, Volume};

/// A table of entries of `N` bytes; `N` divides 8192.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    pointers: Box<[u64]>,
    count: u32,
}

impl<const N: usize> Table<N> {
    pub(crate) const EMPTY: fn() -> Self = || Self { pointers: Box::default(), count: 0 };

    /// Reads the pointers of a table of `count` entries.
    pub(crate) fn open(volume: &Volume, at: u64, count: u32) -> Result<Self, Error> {
        let blocks = u64::from(count).saturating_mul(N as u64).div_ceil(BLOCK_BYTES_U64);
        let bytes = blocks.saturating_mul(8);
        // Before the buffer is made: the pointers are in the file, so the file bounds them.
        if at.checked_add(bytes).is_none_or(|end| end > volume.superblock.bytes_used) {
            return Err(Error::malformed("a table is longer than the file system"));
        }
        let mut bytes = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        volume.read(&mut bytes, at, "a table")?;
        let (chunks, _) = bytes.as_chunks();
        let pointers: Box<[u64]> = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
        if pointers.iter().any(|&pointer| pointer >= at) {
            return Err(Error::malformed("a table points behind itself"));
        }
        Ok(Self { pointers, count })
    }

    /// The entry of this number, from 0.
    pub(crate) fn get(&self, volume: &Volume, number: u32) -> Result<[u8; N], Error> {
        if number >= self.count {
            return Err(Error::malformed("a number is not in its table"));
        }
        let offset = u64::from(number).saturating_mul(N as u64);
        let block = usize::try_from(offset / BLOCK_BYTES_U64).unwrap_or(usize::MAX);
        let block = self.pointers.get(block).copied();
        let block = block.ok_or_else(|| Error::malformed("a number is not in its table"))?;
        let offset = u16::try_from(offset % BLOCK_BYTES_U64).unwrap_or(0);
        Cursor::new(volume, Place { block, offset })?.array()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }
}
