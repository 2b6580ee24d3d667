//! File contents cut into blocks, in the order of the tar.
//!
//! A file smaller than a block goes into the fragment under way; a larger one gets blocks of its
//! own, the last of them short, one behind the other. A fragment block is handed in when the next
//! small file does not fit, which is never within a larger file. So a file's blocks are one
//! contiguous run, and which blocks there are depends on the tar and the block size alone.
//! Not here: compression and order of writing ([`crate::workers`], [`crate::sink`]).

use std::io;
use std::sync::Arc;

use crate::error::Error;
use crate::segment::{BlockList, FileData};
use crate::sink::{Made, Sink};
use crate::tar::{Content, Fault};
use crate::workers::{BlockKind, Workers};

/// Cuts files into blocks and hands them in.
#[derive(Debug)]
pub(crate) struct Blocks<'w> {
    workers: &'w Workers,
    sink: Arc<Sink>,
    block_size: usize,
    /// The larger file's block under way.
    block: Vec<u8>,
    /// Small files that wait for a fragment block to fill.
    fragment: Vec<u8>,
    is_small: bool,
    /// Numbers of the next hand-in, the next block of the list, the next fragment.
    next: u64,
    next_block: u32,
    next_fragment: u32,
}

impl<'w> Blocks<'w> {
    pub(crate) fn new(workers: &'w Workers, sink: Arc<Sink>) -> Self {
        let block_size = sink.block_size();
        Self {
            workers,
            sink,
            block_size,
            block: Vec::new(),
            fragment: Vec::new(),
            is_small: true,
            next: 0,
            next_block: 0,
            next_fragment: 0,
        }
    }

    /// Says where the file of `size` bytes, whose content comes next, will lie.
    pub(crate) fn begin(&mut self, size: u64) -> Result<FileData, Fault> {
        let block_size = self.block_size as u64;
        let mut file = FileData { size, ..FileData::default() };
        self.is_small = size < block_size;
        if size == 0 {
            return Ok(file);
        }
        if self.is_small {
            let length = usize::try_from(size).unwrap_or(usize::MAX);
            if self.fragment.len().saturating_add(length) > self.block_size {
                self.flush_fragment()?;
            }
            if self.fragment.capacity() == 0 {
                self.fragment = self.workers.buffer(self.block_size);
            }
            let offset = u32::try_from(self.fragment.len()).unwrap_or(u32::MAX);
            file.fragment = Some((self.next_fragment, offset));
        } else {
            file.first = self.next_block;
            file.blocks = u32::try_from(size.div_ceil(block_size)).unwrap_or(u32::MAX);
        }
        Ok(file)
    }

    /// Ends the file.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        if self.block.is_empty() { Ok(()) } else { self.flush_block() }
    }

    /// Hands in what is left and waits until all is written.
    ///
    /// The outcome of writing comes last and counts, whatever went wrong before.
    pub(crate) fn finish(mut self) -> io::Result<(BlockList, Vec<u32>)> {
        if !self.fragment.is_empty() && !self.sink.has_failed() {
            self.submit_fragment();
        }
        self.sink.finish(self.next)
    }

    fn flush_fragment(&mut self) -> Result<(), Fault> {
        self.submit_fragment();
        self.check()
    }

    fn submit_fragment(&mut self) {
        let fragment = std::mem::take(&mut self.fragment);
        self.next_fragment = self.next_fragment.saturating_add(1);
        self.submit(fragment, BlockKind::Fragment);
    }

    fn flush_block(&mut self) -> Result<(), Fault> {
        let block = std::mem::take(&mut self.block);
        self.submit(block, BlockKind::Data);
        self.check()
    }

    fn submit(&mut self, bytes: Vec<u8>, kind: BlockKind) {
        self.workers.submit(bytes, kind, self.next, &self.sink);
        self.next = self.next.saturating_add(1);
        self.next_block = self.next_block.saturating_add(1);
    }

    /// Whether going on is of any use; the cause is given by [`Self::finish`].
    fn check(&self) -> Result<(), Fault> {
        if self.sink.has_failed() { Err(Fault::Other(Error::Stopped)) } else { Ok(()) }
    }

    fn zeros(&mut self, length: u64) -> Result<(), Fault> {
        const ZEROS: &[u8] = &[0; 4096];
        let mut left = length;
        while left > 0 {
            let part = ZEROS.get(..usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len()));
            let part = part.unwrap_or_default();
            self.data(part)?;
            left = left.saturating_sub(part.len() as u64);
        }
        Ok(())
    }
}

impl Content for Blocks<'_> {
    fn data(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        if self.is_small {
            self.fragment.extend_from_slice(bytes);
            return Ok(());
        }
        while !bytes.is_empty() {
            if self.block.capacity() == 0 {
                self.block = self.workers.buffer(self.block_size);
            }
            let room = self.block_size.saturating_sub(self.block.len());
            let (part, rest) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(part);
            bytes = rest;
            if self.block.len() == self.block_size {
                self.flush_block()?;
            }
        }
        Ok(())
    }

    fn hole(&mut self, length: u64) -> Result<(), Fault> {
        if self.is_small {
            return self.zeros(length);
        }
        let block_size = self.block_size as u64;
        let to_boundary = match self.block.len() {
            0 => 0,
            filled => self.block_size.saturating_sub(filled) as u64,
        };
        let head = length.min(to_boundary);
        self.zeros(head)?;
        let left = length.saturating_sub(head);
        let whole = left.checked_div(block_size).unwrap_or(0);
        if whole > 0 {
            // What a segment's positions hold: 1 PiB of holes at 256 KiB a block.
            let most = u32::MAX.saturating_sub(self.next_block);
            let count = u32::try_from(whole).ok().filter(|count| *count <= most);
            let count = count.ok_or_else(|| Fault::invalid("its files have too many holes"))?;
            self.sink.put(self.next, Made::Holes(count), &mut |_| {});
            self.next = self.next.saturating_add(1);
            self.next_block = self.next_block.saturating_add(count);
        }
        self.zeros(left.checked_rem(block_size).unwrap_or(0))
    }
}
