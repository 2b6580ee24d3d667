//! The blocks of a segment in their order, where a run of holes takes no more memory than one.
//!
//! A file of a tebibyte that is all hole has four million blocks. Positions count blocks, as the
//! inodes of squashfs do. Not here: the list as a file ([`super`]).

use std::ops::Range;

/// One stored block of the data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Offset in the data file. Bytes.
    pub(crate) offset: u64,
    /// As in a squashfs block list: bytes, bit 24 set when stored uncompressed, 0 for a hole.
    pub(crate) size: u32,
    /// xxh3-64 of the stored bytes; 0 for a hole.
    pub(crate) checksum: u64,
}

impl Block {
    /// Bytes in the data file.
    pub(crate) fn stored(&self) -> u32 {
        self.size & 0x00ff_ffff
    }
}

/// Blocks, by position and by run. A run is one stored block, or holes that follow each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockList {
    runs: Vec<Block>,
    /// By run: the position behind its last block.
    ends: Vec<u32>,
}

impl BlockList {
    /// Blocks, holes included: the position of the next one.
    pub(crate) fn len(&self) -> u32 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Adds a block, or a hole if its size is 0.
    pub(crate) fn push(&mut self, block: Block) {
        if block.size == 0 {
            return self.push_holes(block.offset, 1);
        }
        self.ends.push(self.len().saturating_add(1));
        self.runs.push(block);
    }

    /// Adds holes where the data file has come to `offset`.
    pub(crate) fn push_holes(&mut self, offset: u64, count: u32) {
        if count == 0 {
            return;
        }
        let end = self.len().saturating_add(count);
        match (self.runs.last(), self.ends.last_mut()) {
            (Some(Block { size: 0, .. }), Some(last)) => *last = end,
            _ => {
                self.ends.push(end);
                self.runs.push(Block { offset, size: 0, checksum: 0 });
            }
        }
    }

    /// The runs in order.
    pub(crate) fn runs(&self) -> &[Block] {
        &self.runs
    }

    /// The number of the run that a position lies in: that of [`Self::runs`], or their number.
    pub(crate) fn run_of(&self, position: u32) -> usize {
        self.ends.partition_point(|&end| end <= position)
    }

    /// The runs that positions lie in, by number.
    pub(crate) fn runs_of(&self, positions: Range<u32>) -> Range<usize> {
        if positions.is_empty() {
            return 0..0;
        }
        let last = self.run_of(positions.end.saturating_sub(1)).saturating_add(1);
        self.run_of(positions.start)..last.min(self.runs.len())
    }

    /// How many blocks of a run lie in `positions`.
    pub(crate) fn blocks_in(&self, run: usize, positions: &Range<u32>) -> u32 {
        let end = self.ends.get(run).copied().unwrap_or(0);
        let before = run.checked_sub(1).and_then(|before| self.ends.get(before));
        let start = before.copied().unwrap_or(0);
        end.min(positions.end).saturating_sub(start.max(positions.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(offset: u64) -> Block {
        Block { offset, size: 10, checksum: 1 }
    }

    #[test]
    fn positions_count_every_hole_and_runs_hold_them_together() {
        let mut list = BlockList::default();
        list.push_holes(0, 2);
        list.push(Block { offset: 0, size: 0, checksum: 0 });
        list.push(stored(0));
        list.push(stored(10));
        list.push_holes(20, u32::MAX - 5);
        assert_eq!(list.len(), u32::MAX);
        assert_eq!(list.runs().len(), 4);
        assert_eq!([0, 2, 3, 4, 5].map(|position| list.run_of(position)), [0, 0, 1, 2, 3]);
        assert_eq!(list.run_of(u32::MAX), 4);
        assert_eq!(list.runs_of(1..4), 0..2);
        assert_eq!(list.runs_of(4..4), 0..0);
        assert_eq!(list.blocks_in(0, &(1..4)), 2);
        assert_eq!(list.blocks_in(1, &(1..4)), 1);
        assert_eq!(list.blocks_in(2, &(1..4)), 0);
    }
}
