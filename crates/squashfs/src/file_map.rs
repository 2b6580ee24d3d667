//! Where a file's content lies: blocks of its own, one behind the other, then part of a fragment.
//!
//! A block list is one u32 LE a block: bits 0 to 23 the stored size, bit 24 set when stored as it
//! is, 0 for a hole. A fragment block holds the ends of many files. Fragment table: u64 start,
//! u32 size as in a block list, u32 unused.

use crate::error::Error;
use crate::metadata::Volume;

/// Set in a block list when the block is stored as it is.
pub(crate) const STORED: u32 = 1 << 24;
const SIZE_BITS: u32 = STORED - 1;
/// Blocks between two marks.
const MARK: usize = 64;
/// Blocks of one file: 64 MiB of list, 2 TiB of file at 128 KiB.
pub(crate) const MAX_BLOCKS: u64 = 1 << 24;

/// One stored block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// Where it lies: bytes from the superblock. Tells blocks apart, holes aside.
    pub offset: u64,
    /// Bytes stored; 0: a hole.
    pub stored: u32,
    /// Whether it is compressed.
    pub is_compressed: bool,
}

impl Block {
    pub(crate) fn new(offset: u64, size: u32, volume: &Volume) -> Result<Self, Error> {
        let stored = size & SIZE_BITS;
        let end = offset.checked_add(stored.into());
        if size > (STORED | SIZE_BITS)
            || stored > volume.superblock.block_size
            || end.is_none_or(|end| end > volume.superblock.bytes_used)
        {
            return Err(Error::malformed("a block has an impossible size or place"));
        }
        Ok(Self { offset, stored, is_compressed: size & STORED == 0 })
    }

    /// Whether it is all zeros and stored nowhere.
    #[must_use]
    pub fn is_hole(&self) -> bool {
        self.stored == 0
    }
}

/// A part of a file's content, all of it within one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Offset of the part in the file. Bytes.
    pub start: u64,
    /// Bytes of the part.
    pub length: u32,
    /// The block.
    pub block: Block,
    /// Bytes of the block's content that come before the part.
    pub skip: u32,
}

/// Where the content of one file lies. Takes 4.1 bytes a block.
#[derive(Clone, Debug)]
pub struct FileMap {
    size: u64,
    block_size: u32,
    sizes: Box<[u32]>,
    /// Offsets of blocks 0, 64, 128, ...
    marks: Box<[u64]>,
    /// The fragment block, and the offset of the file's end in its content.
    fragment: Option<(Block, u32)>,
}

impl FileMap {
    pub(crate) fn new(
        volume: &Volume,
        size: u64,
        start: u64,
        sizes: Box<[u32]>,
        fragment: Option<(Block, u32)>,
    ) -> Result<Self, Error> {
        let mut marks = Vec::with_capacity(sizes.len().div_ceil(MARK));
        let mut offset = start;
        for (number, &block) in sizes.iter().enumerate() {
            if number.checked_rem(MARK) == Some(0) {
                marks.push(offset);
            }
            if block != 0 {
                let stored = Block::new(offset, block, volume)?.stored;
                offset = offset.saturating_add(stored.into());
            }
        }
        let block_size = volume.superblock.block_size;
        Ok(Self { size, block_size, sizes, marks: marks.into(), fragment })
    }

    /// Bytes of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Number of pieces: the file's size over the block size, rounded up.
    #[must_use]
    pub fn pieces(&self) -> u64 {
        (self.sizes.len() as u64).saturating_add(self.fragment.is_some().into())
    }

    /// The piece that holds byte `number` times block size; nothing at and behind the end.
    #[must_use]
    pub fn piece(&self, number: u64) -> Option<Piece> {
        let start = number.checked_mul(self.block_size.into())?;
        let left = self.size.checked_sub(start).filter(|&left| left > 0)?;
        let length = u32::try_from(left).unwrap_or(u32::MAX).min(self.block_size);
        let position = usize::try_from(number).ok()?;
        let Some(&size) = self.sizes.get(position) else {
            let (block, skip) = self.fragment?;
            return Some(Piece { start, length, block, skip });
        };
        let mark = position.checked_div(MARK)?;
        let before = self.sizes.get(mark.checked_mul(MARK)?..position)?;
        let before: u64 = before.iter().map(|size| u64::from(size & SIZE_BITS)).sum();
        let offset = self.marks.get(mark)?.saturating_add(before);
        let block = Block { offset, stored: size & SIZE_BITS, is_compressed: size & STORED == 0 };
        Some(Piece { start, length, block, skip: 0 })
    }
}
