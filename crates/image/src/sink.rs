//! Where a conversion's blocks go: to the data file, in the order they were handed in.
//!
//! Whoever finishes the block that is next writes it and all that wait behind it, so there is no
//! writer thread, and the reader never writes. After an error nothing more is written, but blocks
//! are still taken, so nobody waits for ever.
//! Not here: compressing ([`crate::workers`]).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::options::Method;
use crate::segment::{Block, BlockList};
use crate::workers::{BlockKind, Task, Written};

/// A block as it came from a worker, or holes.
#[derive(Debug)]
pub(crate) enum Made {
    Block { bytes: Vec<u8>, size: u32, checksum: u64, kind: BlockKind },
    Holes(u32),
    Failed(io::Error),
}

/// The data file and what was written to it.
#[derive(Debug)]
pub(crate) struct Sink {
    file: File,
    method: Method,
    block_size: usize,
    written: Written,
    task: Task,
    state: Mutex<State>,
    progressed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<u64, Made>,
    /// Number of the block that is written next.
    next: u64,
    writing: bool,
    offset: u64,
    blocks: BlockList,
    fragments: Vec<u32>,
    error: Option<io::Error>,
}

impl Sink {
    pub(crate) fn new(
        (file, written): (File, Written),
        method: Method,
        block_size: usize,
        task: Task,
    ) -> Self {
        let (state, progressed) = (Mutex::default(), Condvar::new());
        Self { file, method, block_size, written, task, state, progressed }
    }

    /// What is done for the layer.
    pub(crate) fn task(&self) -> &Task {
        &self.task
    }

    pub(crate) fn method(&self) -> Method {
        self.method
    }

    /// Bytes of a whole block before compression.
    pub(crate) fn block_size(&self) -> usize {
        self.block_size
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes block `number`, and writes what can be written; `written` gets each written buffer.
    pub(crate) fn put(&self, number: u64, made: Made, written: &mut dyn FnMut(Vec<u8>)) {
        let mut state = self.lock();
        state.waiting.insert(number, made);
        if state.writing {
            return;
        }
        state.writing = true;
        loop {
            let next = state.next;
            let Some(made) = state.waiting.remove(&next) else { break };
            state.next = next.saturating_add(1);
            state = match made {
                Made::Holes(count) => {
                    let offset = state.offset;
                    state.blocks.push_holes(offset, count);
                    state
                }
                Made::Failed(cause) => {
                    state.error.get_or_insert(cause);
                    drop(state);
                    written(Vec::new());
                    self.lock()
                }
                Made::Block { bytes, size, checksum, kind } => {
                    let offset = state.offset;
                    let is_failed = state.error.is_some();
                    drop(state);
                    let block = Block { offset, size, checksum };
                    let outcome = if is_failed || size == 0 {
                        Ok(())
                    } else {
                        self.file.write_all_at(&bytes, offset)
                    };
                    self.written.add(block.stored().into());
                    written(bytes);
                    let mut state = self.lock();
                    if let Err(cause) = outcome {
                        state.error.get_or_insert(cause);
                    }
                    state.record(block, kind);
                    state
                }
            };
        }
        state.writing = false;
        drop(state);
        self.progressed.notify_all();
    }

    /// Whether a write failed: no use going on.
    pub(crate) fn has_failed(&self) -> bool {
        self.lock().error.is_some()
    }

    /// Waits until `count` blocks are written, and gives the blocks and the fragments among them.
    pub(crate) fn finish(&self, count: u64) -> io::Result<(BlockList, Vec<u32>)> {
        let mut state = self.lock();
        while state.next < count || state.writing {
            state = self.progressed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match state.error.take() {
            Some(cause) => Err(cause),
            None => Ok((std::mem::take(&mut state.blocks), std::mem::take(&mut state.fragments))),
        }
    }
}

impl State {
    fn record(&mut self, block: Block, kind: BlockKind) {
        if kind == BlockKind::Fragment {
            self.fragments.push(self.blocks.len());
        }
        self.offset = self.offset.saturating_add(block.stored().into());
        self.blocks.push(block);
    }
}
