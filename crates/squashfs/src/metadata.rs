//! Metadata blocks: 8 KiB pieces that tables are cut into, each compressed alone and cached.
//!
//! ```text
//! u16 stored size, bit 15 set when stored as it is | stored bytes      next block directly behind
//! ```
//!
//! A place in a table is the block's offset and an offset within its 8192 bytes. A block is read
//! and decompressed once while it stays in the cache, which holds 2048 of them.
//! Not here: what the bytes mean.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::buffers::Buffers;
use crate::decompress::Decompressors;
use crate::error::Error;
use crate::read_at::ReadAt;
use crate::superblock::Superblock;

/// Bytes of a metadata block before compression.
pub(crate) const BLOCK_BYTES: usize = 8192;
/// The same, for offsets.
pub(crate) const BLOCK_BYTES_U64: u64 = 8192;
/// Set in a block's header when it is stored as it is.
pub(crate) const STORED: u16 = 0x8000;
const HEADER_BYTES: usize = 2;
/// The cache: 16 times 128 blocks, 16 MiB.
const SHARDS: usize = 16;
const SHARDS_U64: u64 = 16;
const SHARD_BLOCKS: usize = 128;

/// A source, its superblock, and the means to decompress its blocks.
#[derive(Debug)]
pub(crate) struct Volume {
    source: Arc<dyn ReadAt>,
    /// Where the superblock lies in the source. Bytes.
    offset: u64,
    pub(crate) superblock: Superblock,
    pub(crate) decompressors: Decompressors,
    pub(crate) buffers: Buffers,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    blocks: BTreeMap<u64, (Arc<MetadataBlock>, u64)>,
    clock: u64,
}

#[derive(Debug)]
struct MetadataBlock {
    bytes: Box<[u8]>,
    /// Offset of the block behind it.
    next: u64,
}

impl Volume {
    pub(crate) fn new(source: Arc<dyn ReadAt>, offset: u64, superblock: Superblock) -> Self {
        let decompressors = Decompressors::new(superblock.compressor);
        let buffers = Buffers::default();
        Self { source, offset, superblock, decompressors, buffers, shards: Default::default() }
    }

    /// Fills `buf` from `offset` on, which counts from the superblock.
    pub(crate) fn read(
        &self,
        buf: &mut [u8],
        offset: u64,
        what: &'static str,
    ) -> Result<(), Error> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.superblock.bytes_used) {
            return Err(Error::malformed("it points past its own end"));
        }
        self.source.read_at(buf, self.offset.saturating_add(offset)).map_err(|cause| Error::Read {
            what,
            offset,
            cause,
        })
    }

    fn block(&self, at: u64) -> Result<Arc<MetadataBlock>, Error> {
        // Blocks lie some hundred to some thousand bytes apart: the low bits spread them.
        let number = usize::try_from(at % SHARDS_U64).unwrap_or(0);
        let shard = self.shards.get(number).ok_or_else(|| Error::malformed("no shard"))?;
        if let Some(block) = shard.lock().unwrap_or_else(PoisonError::into_inner).get(at) {
            return Ok(block);
        }
        let block = Arc::new(self.load(at)?);
        shard.lock().unwrap_or_else(PoisonError::into_inner).put(at, Arc::clone(&block));
        Ok(block)
    }

    fn load(&self, at: u64) -> Result<MetadataBlock, Error> {
        let left = self.superblock.bytes_used.saturating_sub(at);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(HEADER_BYTES + BLOCK_BYTES);
        let mut buffer = [0; HEADER_BYTES + BLOCK_BYTES];
        let buffer = buffer.get_mut(..length).unwrap_or_default();
        self.read(buffer, at, "metadata")?;
        let Some((header, rest)) = buffer.split_first_chunk::<HEADER_BYTES>() else {
            return Err(Error::malformed("a metadata block is out of place"));
        };
        let header = u16::from_le_bytes(*header);
        let size = header & !STORED;
        let stored = match rest.get(..size.into()) {
            Some(stored) if size > 0 => stored,
            _ => return Err(Error::malformed("a metadata block has an impossible size")),
        };
        let next = at.saturating_add(HEADER_BYTES as u64).saturating_add(size.into());
        if header & STORED != 0 {
            return Ok(MetadataBlock { bytes: stored.into(), next });
        }
        let mut bytes = vec![0; BLOCK_BYTES];
        let length = self
            .decompressors
            .decompress(stored, &mut bytes)
            .map_err(|cause| Error::Decompress { offset: at, cause })?;
        if length == 0 {
            return Err(Error::malformed("a metadata block is empty"));
        }
        bytes.truncate(length);
        Ok(MetadataBlock { bytes: bytes.into(), next })
    }
}

impl Shard {
    fn get(&mut self, at: u64) -> Option<Arc<MetadataBlock>> {
        self.clock = self.clock.wrapping_add(1);
        let (block, used) = self.blocks.get_mut(&at)?;
        *used = self.clock;
        Some(Arc::clone(block))
    }

    fn put(&mut self, at: u64, block: Arc<MetadataBlock>) {
        if self.blocks.len() >= SHARD_BLOCKS {
            let oldest = self.blocks.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(&at, _)| at) {
                self.blocks.remove(&oldest);
            }
        }
        self.blocks.insert(at, (block, self.clock));
    }
}

/// A place within a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Offset of the metadata block. Bytes from the superblock.
    pub(crate) block: u64,
    /// Offset within its bytes.
    pub(crate) offset: u16,
}

/// Reads on from a place, from block to block.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'v> {
    volume: &'v Volume,
    block: Arc<MetadataBlock>,
    at: u64,
    position: usize,
}

impl<'v> Cursor<'v> {
    pub(crate) fn new(volume: &'v Volume, place: Place) -> Result<Self, Error> {
        let block = volume.block(place.block)?;
        let position = usize::from(place.offset);
        if position > block.bytes.len() {
            return Err(Error::malformed("a reference points past its metadata block"));
        }
        Ok(Self { volume, block, at: place.block, position })
    }

    pub(crate) fn place(&self) -> Place {
        Place { block: self.at, offset: u16::try_from(self.position).unwrap_or(u16::MAX) }
    }

    /// What is left of the block at hand, which is not empty.
    fn rest(&mut self) -> Result<&[u8], Error> {
        if self.position >= self.block.bytes.len() {
            self.at = self.block.next;
            self.block = self.volume.block(self.at)?;
            self.position = 0;
        }
        Ok(self.block.bytes.get(self.position..).unwrap_or_default())
    }

    pub(crate) fn read(&mut self, mut buf: &mut [u8]) -> Result<(), Error> {
        while !buf.is_empty() {
            let rest = self.rest()?;
            let length = rest.len().min(buf.len());
            let (part, later) = buf.split_at_mut(length);
            part.copy_from_slice(rest.get(..length).unwrap_or_default());
            buf = later;
            self.position = self.position.saturating_add(length);
        }
        Ok(())
    }

    pub(crate) fn skip(&mut self, mut bytes: u64) -> Result<(), Error> {
        while bytes > 0 {
            let length = bytes.min(self.rest()?.len() as u64);
            bytes = bytes.saturating_sub(length);
            self.position =
                self.position.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        }
        Ok(())
    }

    /// The next `length` bytes; the caller has bounded `length`.
    pub(crate) fn bytes(&mut self, length: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; length];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }
}
