//! Decompressed blocks: each is made once, however many requests want a part of it.
//!
//! The kernel asks for pages, a block is many pages, and a fragment block holds the ends of many
//! files. What was asked for is in the kernel's page cache; what is kept here is what it has not
//! asked for yet.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use orlop_squashfs::{Block, Error, Reader};

use super::generations::Generations;

type Bytes = Box<[u8]>;
type Slot = Arc<OnceLock<Option<Bytes>>>;

/// The blocks that are kept, by their offset in the squashfs.
#[derive(Debug)]
pub(crate) struct Blocks {
    block_size: usize,
    slots: Mutex<Generations<u64, Slot>>,
}

impl Blocks {
    /// Keeps at most `limit` bytes of blocks of `block_size` bytes.
    pub(crate) fn new(block_size: usize, limit: usize) -> Self {
        Self { block_size, slots: Mutex::new(Generations::new(limit)) }
    }

    /// Calls `use_it` with the block's bytes, made now, by someone else just now, or before.
    ///
    /// # Errors
    /// The reader's. An error is not kept: the next request tries again.
    pub(crate) fn with<T>(
        &self,
        reader: &Reader,
        block: &Block,
        use_it: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Error> {
        let slot = self.slot(block.offset);
        let mut failure = None;
        let bytes = slot.get_or_init(|| match self.make(reader, block) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                failure = Some(error);
                None
            }
        });
        if let Some(bytes) = bytes {
            return Ok(use_it(bytes));
        }
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&block.offset);
        match failure {
            Some(error) => Err(error),
            // Another request failed at it: find out why.
            None => self.make(reader, block).map(|bytes| use_it(&bytes)),
        }
    }

    fn slot(&self, offset: u64) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get(offset).unwrap_or_else(|| {
            let slot = Slot::default();
            slots.insert(offset, Arc::clone(&slot), self.block_size);
            slot
        })
    }

    fn make(&self, reader: &Reader, block: &Block) -> Result<Bytes, Error> {
        let mut bytes = vec![0; self.block_size];
        let made = reader.read_block(block, &mut bytes)?;
        bytes.truncate(made);
        Ok(bytes.into())
    }
}
