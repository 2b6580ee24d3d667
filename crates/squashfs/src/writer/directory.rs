//! One directory's listing being written, with its index.

use super::metadata::MetadataWriter;
use super::{Node, number_u32};
use crate::directory::{HEADER_BYTES, HEADER_ENTRIES, is_name};
use crate::error::Error;

/// A listing that is written.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) block: u64,
    pub(super) offset: u16,
    /// Bytes of the listing.
    pub(super) bytes: u32,
    /// The index as it is written behind the inode, and the number of its entries.
    pub(super) index: Vec<u8>,
    pub(super) indexes: u16,
    /// The metadata block of the last header that the index, or the inode, points to.
    last_block: u64,
}

/// Entries that share a header.
#[derive(Debug, Default)]
struct Run {
    block: u64,
    number: u32,
    count: u32,
    first: Vec<u8>,
    bytes: Vec<u8>,
}

impl Run {
    /// The entry's difference from the run's number, when it may join the run.
    fn takes(&self, node: &Node) -> Option<i16> {
        let difference = i64::from(node.number).checked_sub(self.number.into())?;
        let fits = (1..HEADER_ENTRIES).contains(&self.count) && self.block == node.block();
        i16::try_from(difference).ok().filter(|_| fits)
    }
}

/// Writes the listing of entries whose names ascend.
pub(super) fn write(
    table: &mut MetadataWriter,
    entries: &mut dyn Iterator<Item = (&[u8], Node)>,
) -> Result<Listing, Error> {
    let (block, offset) = table.position();
    let mut listing =
        Listing { block, offset, bytes: 0, index: Vec::new(), indexes: 0, last_block: block };
    let mut run = Run::default();
    let mut last: &[u8] = b"";
    for (name, node) in entries {
        if !is_name(name) {
            return Err(Error::Unrepresentable { what: "a file of this name" });
        }
        if name <= last {
            return Err(Error::Unrepresentable { what: "names that do not ascend" });
        }
        last = name;
        let difference = match run.takes(&node) {
            Some(difference) => difference,
            None => {
                listing.close(&mut run, table)?;
                run.block = node.block();
                run.number = node.number;
                run.first.extend_from_slice(name);
                0
            }
        };
        run.count = run.count.saturating_add(1);
        run.bytes.extend_from_slice(&node.offset().to_le_bytes());
        run.bytes.extend_from_slice(&difference.to_le_bytes());
        run.bytes.extend_from_slice(&(node.file_type as u16).to_le_bytes());
        let length = u16::try_from(name.len()).unwrap_or(0).saturating_sub(1);
        run.bytes.extend_from_slice(&length.to_le_bytes());
        run.bytes.extend_from_slice(name);
    }
    listing.close(&mut run, table)?;
    Ok(listing)
}

impl Listing {
    /// Writes a run, which is empty afterwards.
    fn close(&mut self, run: &mut Run, table: &mut MetadataWriter) -> Result<(), Error> {
        let Some(count) = run.count.checked_sub(1) else { return Ok(()) };
        let (block, _) = table.position();
        if block != self.last_block && self.indexes < u16::MAX {
            self.index.extend_from_slice(&self.bytes.to_le_bytes());
            self.index.extend_from_slice(&number_u32(block)?.to_le_bytes());
            let length = number_u32(run.first.len())?.saturating_sub(1);
            self.index.extend_from_slice(&length.to_le_bytes());
            self.index.extend_from_slice(&run.first);
            self.indexes = self.indexes.saturating_add(1);
            self.last_block = block;
        }
        for field in [count, number_u32(run.block)?, run.number] {
            table.write(&field.to_le_bytes());
        }
        table.write(&run.bytes);
        let bytes = number_u32(run.bytes.len())?.checked_add(HEADER_BYTES);
        let bytes = bytes.and_then(|bytes| self.bytes.checked_add(bytes));
        self.bytes = bytes.ok_or(Error::Unrepresentable { what: "a directory beyond 4 GiB" })?;
        run.count = 0;
        run.first.clear();
        run.bytes.clear();
        Ok(())
    }
}
