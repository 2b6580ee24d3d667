//! Sparse files: the map of where a file's data lie, in four encodings.
//!
//! GNU tar manual, "Storing Sparse Files": the old GNU format (type `S`), pax 0.0 and 0.1 (map in
//! the extended header), pax 1.0 (map before the data). Read and checked as Go's archive/tar does.
//! Not here: reading the stream ([`super`] hands in blocks).

use super::Fault;
use super::header::{Block, Format, Header, field};
use super::number::{decimal, numeric};
use super::pax::SparseRecords;

/// One run of data in a sparse file. Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// The extents of a file, in order, without overlap, within its size.
pub(super) type Map = Vec<Extent>;

/// What pax records say about sparseness.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pax {
    /// Not a sparse file.
    Dense,
    /// Format 0.0 or 0.1: the pairs of the header.
    InHeader(Vec<(i64, i64)>),
    /// Format 1.0: the map is at the start of the data.
    InData,
}

/// Tells the pax format (Go: `readGNUSparsePAXHeaders`).
pub(super) fn pax_format(records: &SparseRecords, limit: u64) -> Result<Pax, Fault> {
    if !records.is_sparse() {
        return Ok(Pax::Dense);
    }
    if records.major == b"1" {
        return Ok(Pax::InData);
    }
    let bad = || Fault::invalid("the map of a sparse file is malformed");
    let count = decimal(&records.blocks).and_then(|count| u64::try_from(count).ok());
    let count = count.ok_or_else(bad)?;
    bounded(count, limit)?;
    let mut numbers = records.map.split(|&byte| byte == b',').map(decimal);
    if records.map.is_empty() {
        return if count == 0 { Ok(Pax::InHeader(Vec::new())) } else { Err(bad()) };
    }
    let mut pairs = Vec::new();
    while let Some(offset) = numbers.next() {
        let length = numbers.next().ok_or_else(bad)?;
        pairs.push((offset.ok_or_else(bad)?, length.ok_or_else(bad)?));
    }
    if pairs.len() as u64 == count { Ok(Pax::InHeader(pairs)) } else { Err(bad()) }
}

/// Gathers the old GNU map: the first block is the header, further ones are extensions.
#[derive(Debug)]
pub(super) struct OldGnu {
    pub(super) pairs: Vec<(i64, i64)>,
    /// Whether one more block of the map follows.
    pub(super) more: bool,
}

impl OldGnu {
    /// Reads the header's part; also gives the file's real size.
    pub(super) fn start(header: &Header, block: &Block) -> Result<(Self, i64), Fault> {
        if header.format != Format::Gnu {
            return Err(Fault::invalid("a sparse entry (type S) is not in GNU format"));
        }
        let mut map = Self { pairs: Vec::new(), more: false };
        map.read(block, 386, 4, 482)?;
        Ok((map, numeric(field(block, 483, 12))?))
    }

    /// Reads one extension block.
    pub(super) fn extend(&mut self, block: &Block, limit: u64) -> Result<(), Fault> {
        self.read(block, 0, 21, 504)?;
        bounded(self.pairs.len() as u64, limit)
    }

    fn read(&mut self, block: &Block, at: usize, slots: usize, more: usize) -> Result<(), Fault> {
        for slot in 0..slots {
            let start = slot.saturating_mul(24).saturating_add(at);
            let offset = field(block, start, 12);
            if offset.first() == Some(&0) {
                break;
            }
            let length = numeric(field(block, start.saturating_add(12), 12))?;
            self.pairs.push((numeric(offset)?, length));
        }
        self.more = field(block, more, 1).first().is_some_and(|&flag| flag > 0);
        Ok(())
    }
}

/// Gathers the map of format 1.0 from the first blocks of the data: decimal lines, the first of
/// which says how many pairs follow.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Vec<u8>,
    wanted: Option<u64>,
    numbers: Vec<i64>,
}

impl Lines {
    /// Takes one block; true when the map is whole (the rest of that block is padding).
    pub(super) fn take(&mut self, block: &Block, limit: u64) -> Result<bool, Fault> {
        let bad = || Fault::invalid("the map of a sparse file is malformed");
        for &byte in block {
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() > 32 {
                    return Err(bad());
                }
                continue;
            }
            let number = decimal(&self.line).ok_or_else(bad)?;
            self.line.clear();
            if self.wanted.is_none() {
                let pairs = u64::try_from(number).map_err(|_| bad())?;
                bounded(pairs, limit)?;
                self.wanted = Some(pairs.saturating_mul(2));
            } else {
                self.numbers.push(number);
            }
            if self.wanted == Some(self.numbers.len() as u64) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn pairs(self) -> Vec<(i64, i64)> {
        let (pairs, _) = self.numbers.as_chunks::<2>();
        pairs.iter().map(|&[offset, length]| (offset, length)).collect()
    }
}

/// Checks a map against the file's real size (Go: `validateSparseEntries`).
pub(super) fn checked(pairs: &[(i64, i64)], size: u64) -> Result<Map, Fault> {
    let bad = || Fault::invalid("the map of a sparse file leaves the file or overlaps itself");
    let mut end = 0_u64;
    let mut map = Map::with_capacity(pairs.len());
    for &(offset, length) in pairs {
        let offset = u64::try_from(offset).map_err(|_| bad())?;
        let length = u64::try_from(length).map_err(|_| bad())?;
        let after = offset.checked_add(length).ok_or_else(bad)?;
        if offset < end || after > size {
            return Err(bad());
        }
        end = after;
        map.push(Extent { offset, length });
    }
    Ok(map)
}

fn bounded(count: u64, limit: u64) -> Result<(), Fault> {
    if count > limit { Err(Fault::Limit { key: "sparse-map", limit, seen: count }) } else { Ok(()) }
}
