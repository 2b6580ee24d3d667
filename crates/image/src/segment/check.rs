//! Whether a segment's data are what its index says: every block is read and summed.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use xxhash_rust::xxh3::xxh3_64;

use super::SegmentIndex;
use crate::error::Error;

impl SegmentIndex {
    /// Reads all blocks of the data file and compares their checksums, until `stop` is raised.
    ///
    /// # Errors
    /// [`Error::Damaged`]: the file has another size or a block has other bytes; [`Error::Stopped`],
    /// [`Error::Disk`].
    pub fn check_data(&self, data: &File, stop: &AtomicBool) -> Result<(), Error> {
        let what = "segment data";
        let failed = |cause| Error::Disk { what: "reading segment data", cause };
        let damaged = |fault: String| Error::Damaged { what, fault };
        let size = data.metadata().map_err(failed)?.len();
        if size != self.data_size() {
            return Err(damaged(format!("{size} bytes instead of {}", self.data_size())));
        }
        let mut bytes = Vec::new();
        for block in self.blocks().runs().iter().filter(|block| block.size != 0) {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            bytes.resize(usize::try_from(block.stored()).unwrap_or(usize::MAX), 0);
            data.read_exact_at(&mut bytes, block.offset).map_err(failed)?;
            if xxh3_64(&bytes) != block.checksum {
                return Err(damaged(format!("the block at byte {} has changed", block.offset)));
            }
        }
        Ok(())
    }
}
