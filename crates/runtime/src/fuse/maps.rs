//! Block lists of the files that are being read.

use std::sync::{Arc, Mutex, PoisonError};

use orlop_squashfs::{Error, FileMap, InodeRef, Reader};

use super::generations::Generations;

/// Bytes of block lists to keep.
const LIMIT: usize = 8 << 20;

/// Bytes a list takes, and a block in it.
const LIST_BYTES: usize = 128;
const BLOCK_BYTES: usize = 5;

#[derive(Debug)]
pub(super) struct Maps(Mutex<Generations<u64, Arc<FileMap>>>);

impl Maps {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Generations::new(LIMIT)))
    }

    /// Where the content of the file lies.
    ///
    /// # Errors
    /// The reader's.
    pub(super) fn get(&self, reader: &Reader, file: InodeRef) -> Result<Arc<FileMap>, Error> {
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(map) = kept().get(file.to_raw()) {
            return Ok(map);
        }
        let map = Arc::new(reader.file_map(&reader.inode(file)?)?);
        let blocks = usize::try_from(map.pieces()).unwrap_or(usize::MAX);
        let weight = blocks.saturating_mul(BLOCK_BYTES).saturating_add(LIST_BYTES);
        kept().insert(file.to_raw(), Arc::clone(&map), weight);
        Ok(map)
    }
}
