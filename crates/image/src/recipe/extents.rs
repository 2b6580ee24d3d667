//! Which blocks of which segment go into the SIF, and where.
//!
//! Layers one behind the other, the blocks of each in the order of its segment, those of no file
//! that is left out. What lay together stays together; behind a gap a run begins at the offset it
//! has in its segment modulo 4096, so that a file system can share the pages. The bytes do not
//! depend on whether it does. Not here: which files are left ([`super::tables`]).

use super::{Bytes, Piece, Stored};
use crate::segment::{BlockList, FileData};

/// Bytes of a page, to which runs keep their alignment.
const PAGE: u64 = 4096;

/// Where nothing was placed.
const NOWHERE: u64 = u64::MAX;

/// The blocks of one segment (or of Orlop's own files) in the partition.
#[derive(Clone, Debug)]
pub(super) struct Placed<'a> {
    blocks: &'a BlockList,
    fragments: &'a [u32],
    /// By run: the offset of its block in the partition, or [`NOWHERE`].
    offsets: Vec<u64>,
    /// By fragment: its number in the image.
    numbers: Vec<u32>,
}

impl<'a> Placed<'a> {
    pub(super) fn new(blocks: &'a BlockList, fragments: &'a [u32]) -> Self {
        let offsets = vec![NOWHERE; blocks.runs().len()];
        Self { blocks, fragments, offsets, numbers: vec![u32::MAX; fragments.len()] }
    }

    /// Says that a file is left.
    pub(super) fn want(&mut self, file: &FileData) {
        let positions = if let Some((number, _)) = file.fragment {
            let position = self.fragments.get(number as usize).copied().unwrap_or(u32::MAX);
            position..position.saturating_add(1)
        } else {
            file.first..file.first.saturating_add(file.blocks)
        };
        let wanted = self.offsets.get_mut(self.blocks.runs_of(positions));
        wanted.unwrap_or_default().fill(0);
    }

    /// Gives each wanted block its place from `cursor` on, which is moved to the end of the last.
    pub(super) fn place(&mut self, cursor: &mut u64) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut end = NOWHERE;
        for (block, offset) in self.blocks.runs().iter().zip(&mut self.offsets) {
            if *offset == NOWHERE || block.size == 0 {
                continue;
            }
            if block.offset != end {
                let ahead = block.offset.wrapping_sub(*cursor) & PAGE.wrapping_sub(1);
                *cursor = cursor.saturating_add(ahead);
                runs.push(Run { offset: *cursor, blocks: Vec::new() });
            }
            *offset = *cursor;
            let (length, checksum) = (block.stored(), block.checksum);
            *cursor = cursor.saturating_add(length.into());
            end = block.offset.saturating_add(length.into());
            if let Some(run) = runs.last_mut() {
                run.blocks.push(Stored { offset: block.offset, length, checksum });
            }
        }
        runs
    }

    /// Numbers the fragments that are wanted, from `next` on; gives offset and size of each.
    pub(super) fn number_fragments(&mut self, next: &mut u32) -> Vec<(u64, u32)> {
        let mut numbered = Vec::new();
        for (position, number) in self.fragments.iter().zip(&mut self.numbers) {
            let run = self.blocks.run_of(*position);
            let place = self.offsets.get(run).zip(self.blocks.runs().get(run));
            if let Some((&offset, block)) = place.filter(|(offset, _)| **offset != NOWHERE) {
                *number = *next;
                *next = next.saturating_add(1);
                numbered.push((offset, block.size));
            }
        }
        numbered
    }

    /// Sizes of a file's blocks, and the offset of the first that is stored.
    pub(super) fn blocks_of(&self, file: &FileData) -> (Vec<u32>, u64) {
        let positions = file.first..file.first.saturating_add(file.blocks);
        let runs = self.blocks.runs_of(positions.clone());
        let mut sizes = Vec::with_capacity(file.blocks as usize);
        let mut first = None;
        for run in runs {
            let size = self.blocks.runs().get(run).map_or(0, |block| block.size);
            let count = self.blocks.blocks_in(run, &positions) as usize;
            sizes.extend(std::iter::repeat_n(size, count));
            if size != 0 && first.is_none() {
                first = self.offsets.get(run).copied();
            }
        }
        (sizes, first.unwrap_or(0))
    }

    /// A fragment's number in the image.
    pub(super) fn fragment(&self, number: u32) -> u32 {
        self.numbers.get(number as usize).copied().unwrap_or(u32::MAX)
    }
}

/// Blocks that lie together in segment and SIF.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// Offset in the partition.
    pub(super) offset: u64,
    pub(super) blocks: Vec<Stored>,
}

impl Run {
    /// The run as a piece of a SIF whose partition begins at `base`.
    pub(super) fn into_piece(self, base: u64, number: u32) -> Piece {
        let lengths = self.blocks.iter().map(|block| u64::from(block.length));
        let length = lengths.fold(0, u64::saturating_add);
        let offset = base.saturating_add(self.offset);
        Piece { offset, length, bytes: Bytes::Segment { number, blocks: self.blocks } }
    }
}
