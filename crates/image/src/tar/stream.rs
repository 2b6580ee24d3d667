//! The stream below the entries: whole blocks, skipping, position.
//!
//! Not here: what a block says ([`super::header`]).

use super::header::{BLOCK, Block};
use super::{Bytes, Fault};

/// A stream and how far it was read.
#[derive(Debug)]
pub(super) struct Stream<B> {
    pub(super) bytes: B,
    /// Bytes taken from the stream.
    pub(super) position: u64,
}

impl<B: Bytes> Stream<B> {
    /// Reads a block; `None` at the end of the stream.
    pub(super) fn block(&mut self) -> Result<Option<Block>, Fault> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let at_hand = self.bytes.fill()?;
            if at_hand.is_empty() {
                if filled == 0 {
                    return Ok(None);
                }
                return Err(Fault::invalid("the tar is cut off in a header"));
            }
            let rest = block.get_mut(filled..).unwrap_or_default();
            let count = rest.len().min(at_hand.len());
            for (to, from) in rest.iter_mut().zip(at_hand) {
                *to = *from;
            }
            self.consumed(count);
            filled = filled.saturating_add(count);
        }
        Ok(Some(block))
    }

    /// Appends `count` bytes to `to`; false if the stream ends before.
    pub(super) fn append(&mut self, to: &mut Vec<u8>, mut count: u64) -> Result<bool, Fault> {
        while count > 0 {
            let at_hand = self.bytes.fill()?;
            if at_hand.is_empty() {
                return Ok(false);
            }
            let part = at_hand.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            to.extend_from_slice(at_hand.get(..part).unwrap_or_default());
            self.consumed(part);
            count = count.saturating_sub(part as u64);
        }
        Ok(true)
    }

    /// Skips `count` bytes; false if the stream ends before.
    pub(super) fn skip(&mut self, mut count: u64) -> Result<bool, Fault> {
        while count > 0 {
            let passed = self.bytes.pass(count);
            self.position = self.position.saturating_add(passed);
            count = count.saturating_sub(passed);
            if count == 0 {
                break;
            }
            let at_hand = self.bytes.fill()?.len();
            if at_hand == 0 {
                return Ok(false);
            }
            let part = at_hand.min(usize::try_from(count).unwrap_or(usize::MAX));
            self.consumed(part);
            count = count.saturating_sub(part as u64);
        }
        Ok(true)
    }

    /// Marks bytes that `bytes.fill` gave as read.
    pub(super) fn consumed(&mut self, count: usize) {
        self.bytes.consume(count);
        self.position = self.position.saturating_add(count as u64);
    }
}
