//! Buffers for stored blocks, kept from read to read.

use std::sync::{Mutex, PoisonError};

/// Buffers kept: as many threads as read at once, with some to spare.
const KEPT: usize = 64;

/// Idle buffers.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// A buffer of this length with anything in it.
    pub(crate) fn take(&self, length: usize) -> Vec<u8> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = idle.unwrap_or_default();
        buffer.resize(length, 0);
        buffer
    }

    pub(crate) fn put(&self, buffer: Vec<u8>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(buffer);
        }
    }
}
