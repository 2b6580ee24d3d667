//! The index of a segment: what a layer holds, in tar order, and where its data lie.
//!
//! Entries stay encoded in memory, as on disk: a layer may have ten million. Paths are front-coded
//! against the entry before; an entry of a common layer takes 20 to 40 bytes.
//!
//! ```text
//! "ORLOPSEG"  u32 version  options id  layer digest  diff_id      (texts: varint length, bytes)
//! varint block size, tar size, data size, number of entries
//! blocks:     varint n, n x (u32 size as squashfs encodes it, u64 xxh3 of the stored bytes);
//!             size 0: a hole, followed by a varint run length instead of a checksum
//! fragments:  varint n, n x varint (difference of positions in blocks)
//! xattr sets: varint n, n x bytes (each: pairs of name and value)
//! entries:    varint length, the entries
//! u64 xxh3 of all before
//! ```
//!
//! Blocks lie in the data file one behind the other, from 0. Spec: design, "Formats and keys".
//! Not here: how it comes about ([`crate::pipeline`]); what layers make together ([`crate::merge`]).

mod builder;
mod check;
mod list;
#[cfg(test)]
mod tests;

use orlop_oci::digest::{DiffId, Digest};

use crate::error::Error;
use crate::options::Options;
use crate::wire::{In, Malformed, Out};

pub(crate) use builder::Builder;
pub(crate) use list::{Block, BlockList};

const MAGIC: &[u8; 8] = b"ORLOPSEG";
const VERSION: u32 = 1;

/// Names and values of extended attributes.
pub(crate) type Pairs<'a> = Vec<(&'a [u8], &'a [u8])>;

/// Where a file's content lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileData {
    /// Apparent bytes.
    pub(crate) size: u64,
    /// Position of its first block in the segment's list.
    pub(crate) first: u32,
    /// Blocks of its own, holes included.
    pub(crate) blocks: u32,
    /// For a file smaller than a block: number of the segment's fragment, and offset in it.
    pub(crate) fragment: Option<(u32, u32)>,
}

/// Attributes of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Permission bits, at most 07777.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Unix seconds.
    pub(crate) mtime: u32,
    /// Number of the segment's xattr set + 1; 0: none.
    pub(crate) xattrs: u32,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    Directory,
    File(FileData),
    /// The target as it came.
    Symlink(&'a [u8]),
    /// The cleaned path of the target.
    HardLink(&'a [u8]),
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
    /// The path is that of the name that goes.
    Whiteout,
    /// The path is that of the directory.
    Opaque,
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// Cleaned; symbolic links in it are not resolved.
    pub(crate) path: &'a [u8],
    /// Where its header began, in bytes of the tar.
    pub(crate) offset: u64,
    pub(crate) attributes: Attributes,
    pub(crate) kind: Kind<'a>,
}

/// The index of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentIndex {
    options: String,
    layer: Digest,
    diff_id: DiffId,
    block_size: u32,
    tar_size: u64,
    data_size: u64,
    entry_count: u64,
    blocks: BlockList,
    fragments: Vec<u32>,
    xattrs: Vec<Box<[u8]>>,
    entries: Vec<u8>,
}

impl SegmentIndex {
    /// The digest of the layer's tar.
    #[must_use]
    pub fn diff_id(&self) -> &DiffId {
        &self.diff_id
    }

    /// The digest of the layer's blob.
    #[must_use]
    pub fn layer(&self) -> &Digest {
        &self.layer
    }

    /// The options it was made under, as [`Options::id`].
    #[must_use]
    pub fn options_id(&self) -> &str {
        &self.options
    }

    /// Bytes of the data file.
    #[must_use]
    pub fn data_size(&self) -> u64 {
        self.data_size
    }

    /// Bytes of the layer's tar.
    #[must_use]
    pub fn tar_size(&self) -> u64 {
        self.tar_size
    }

    /// Number of entries, whiteouts included.
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        self.entry_count
    }

    pub(crate) fn block_size(&self) -> u32 {
        self.block_size
    }

    pub(crate) fn blocks(&self) -> &BlockList {
        &self.blocks
    }

    /// Positions of the fragment blocks in [`Self::blocks`].
    pub(crate) fn fragments(&self) -> &[u32] {
        &self.fragments
    }

    /// The pairs of an entry's xattr set.
    pub(crate) fn xattrs(&self, set: u32) -> Result<Pairs<'_>, Error> {
        let Some(number) = set.checked_sub(1) else { return Ok(Vec::new()) };
        let bytes = self.xattrs.get(usize::try_from(number).unwrap_or(usize::MAX));
        let mut input = In(bytes.ok_or_else(|| damaged("an xattr set is missing"))?);
        let mut pairs = Vec::new();
        while !input.is_empty() {
            let mut pair = || Ok((input.bytes()?, input.bytes()?));
            pairs.push(pair().map_err(|Malformed| damaged("an xattr set is malformed"))?);
        }
        Ok(pairs)
    }

    pub(crate) fn entries(&self) -> Entries<'_> {
        Entries { rest: In(&self.entries), path: Vec::new(), offset: 0, index: self }
    }

    /// The index as a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let size = self.entries.len().saturating_add(self.blocks.runs().len().saturating_mul(12));
        let mut out = Out(Vec::with_capacity(size.saturating_add(4096)));
        out.raw(MAGIC);
        out.u32(VERSION);
        out.bytes(self.options.as_bytes());
        out.bytes(self.layer.to_string().as_bytes());
        out.bytes(self.diff_id.0.to_string().as_bytes());
        out.varint(self.block_size.into());
        out.varint(self.tar_size);
        out.varint(self.data_size);
        out.varint(self.entry_count);
        write_blocks(&mut out, &self.blocks);
        out.varint(self.fragments.len() as u64);
        let mut before = 0;
        for &fragment in &self.fragments {
            out.varint(u64::from(fragment.saturating_sub(before)));
            before = fragment;
        }
        out.varint(self.xattrs.len() as u64);
        for set in &self.xattrs {
            out.bytes(set);
        }
        out.bytes(&self.entries);
        out.sealed()
    }

    /// Reads an index, all of it checked but the entries, which are checked as they are read.
    ///
    /// # Errors
    /// [`Error::Damaged`]: the bytes are not what [`Self::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let input = In::unsealed(bytes).map_err(|Malformed| damaged("its checksum is wrong"))?;
        Self::read(input).map_err(|Malformed| damaged("it is malformed"))
    }

    /// Says whether this index may be used for a layer under these options.
    #[must_use]
    pub fn is_for(&self, layer: &Digest, options: &Options) -> bool {
        self.layer == *layer && self.options == options.id()
    }

    fn read(mut input: In<'_>) -> Result<Self, Malformed> {
        if input.raw(MAGIC.len())? != MAGIC || input.u32()? != VERSION {
            return Err(Malformed);
        }
        let options = text(&mut input)?.to_owned();
        let layer = text(&mut input)?.parse().map_err(|_| Malformed)?;
        let diff_id = DiffId(text(&mut input)?.parse().map_err(|_| Malformed)?);
        let block_size = input.varint_u32()?;
        let tar_size = input.varint()?;
        let data_size = input.varint()?;
        let entry_count = input.varint()?;
        let (blocks, end) = read_blocks(&mut input)?;
        let count = input.count(1)?;
        let mut fragments = Vec::with_capacity(count);
        let mut position = 0_u32;
        for _ in 0..count {
            position = position.checked_add(input.varint_u32()?).ok_or(Malformed)?;
            fragments.push(position);
        }
        let count = input.count(1)?;
        let mut xattrs = Vec::with_capacity(count);
        for _ in 0..count {
            xattrs.push(input.bytes()?.into());
        }
        let entries = input.bytes()?.to_vec();
        let known = |&position: &u32| position < blocks.len();
        if !input.is_empty()
            || end != data_size
            || !block_size.is_power_of_two()
            || !fragments.iter().all(known)
        {
            return Err(Malformed);
        }
        let index = Self {
            options,
            layer,
            diff_id,
            block_size,
            tar_size,
            data_size,
            entry_count,
            blocks,
            fragments,
            xattrs,
            entries,
        };
        Ok(index)
    }
}

fn damaged(fault: &str) -> Error {
    Error::Damaged { what: "segment index", fault: fault.to_owned() }
}

fn text<'a>(input: &mut In<'a>) -> Result<&'a str, Malformed> {
    std::str::from_utf8(input.bytes()?).map_err(|_| Malformed)
}

fn write_blocks(out: &mut Out, blocks: &BlockList) {
    out.varint(blocks.len().into());
    for (number, block) in blocks.runs().iter().enumerate() {
        out.u32(block.size);
        if block.size == 0 {
            out.varint(blocks.blocks_in(number, &(0..blocks.len())).into());
        } else {
            out.u64(block.checksum);
        }
    }
}

/// Reads the blocks; also gives the end of the last one. Bytes.
fn read_blocks(input: &mut In<'_>) -> Result<(BlockList, u64), Malformed> {
    let count = input.varint_u32()?;
    let mut blocks = BlockList::default();
    let mut offset = 0_u64;
    while blocks.len() < count {
        let size = input.u32()?;
        if size == 0 {
            let run = input.varint_u32()?;
            if run == 0 || run > count.saturating_sub(blocks.len()) {
                return Err(Malformed);
            }
            blocks.push_holes(offset, run);
            continue;
        }
        let block = Block { offset, size, checksum: input.u64()? };
        offset = offset.checked_add(block.stored().into()).ok_or(Malformed)?;
        blocks.push(block);
    }
    Ok((blocks, offset))
}

/// Reads the entries in tar order.
#[derive(Debug)]
pub(crate) struct Entries<'a> {
    rest: In<'a>,
    path: Vec<u8>,
    offset: u64,
    index: &'a SegmentIndex,
}

impl Entries<'_> {
    /// The next entry, valid until the one after is asked for.
    pub(crate) fn next(&mut self) -> Result<Option<Entry<'_>>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.read().map(Some).map_err(|Malformed| damaged("an entry is malformed"))
    }

    fn read(&mut self) -> Result<Entry<'_>, Malformed> {
        let input = &mut self.rest;
        let tag = input.u8()?;
        let shared = usize::try_from(input.varint()?).map_err(|_| Malformed)?;
        if shared > self.path.len() {
            return Err(Malformed);
        }
        self.path.truncate(shared);
        self.path.extend_from_slice(input.bytes()?);
        let distance = input.varint()?.checked_mul(512).ok_or(Malformed)?;
        self.offset = self.offset.checked_add(distance).ok_or(Malformed)?;
        let attributes = if matches!(tag, builder::HARD_LINK | builder::WHITEOUT | builder::OPAQUE)
        {
            Attributes::default()
        } else {
            Attributes {
                mode: u16::try_from(input.varint()?).map_err(|_| Malformed)? & 0o7777,
                uid: input.varint_u32()?,
                gid: input.varint_u32()?,
                mtime: input.varint_u32()?,
                xattrs: input.varint_u32()?,
            }
        };
        let kind = match tag {
            builder::DIRECTORY => Kind::Directory,
            builder::FILE => Kind::File(read_file(input, self.index)?),
            builder::SYMLINK => Kind::Symlink(input.bytes()?),
            builder::HARD_LINK => Kind::HardLink(input.bytes()?),
            builder::CHAR => Kind::Char(input.varint_u32()?, input.varint_u32()?),
            builder::BLOCK => Kind::Block(input.varint_u32()?, input.varint_u32()?),
            builder::FIFO => Kind::Fifo,
            builder::WHITEOUT => Kind::Whiteout,
            builder::OPAQUE => Kind::Opaque,
            _ => return Err(Malformed),
        };
        Ok(Entry { path: &self.path, offset: self.offset, attributes, kind })
    }
}

/// Reads a file's place, and that it lies within the segment.
fn read_file(input: &mut In<'_>, index: &SegmentIndex) -> Result<FileData, Malformed> {
    let size = input.varint()?;
    let mut file = FileData { size, ..FileData::default() };
    if size == 0 {
        return Ok(file);
    }
    let block_size = u64::from(index.block_size);
    if size < block_size {
        let number = input.varint_u32()?;
        let offset = input.varint_u32()?;
        let end = size.checked_add(offset.into()).ok_or(Malformed)?;
        if number as usize >= index.fragments.len() || end > block_size {
            return Err(Malformed);
        }
        file.fragment = Some((number, offset));
    } else {
        file.first = input.varint_u32()?;
        file.blocks = u32::try_from(size.div_ceil(block_size)).map_err(|_| Malformed)?;
        let end = file.first.checked_add(file.blocks).ok_or(Malformed)?;
        if end > index.blocks.len() {
            return Err(Malformed);
        }
    }
    Ok(file)
}
