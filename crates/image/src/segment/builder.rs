//! Putting a segment's index together, entry by entry.
//!
//! Not here: reading it back ([`super`]).

use std::collections::BTreeMap;

use orlop_oci::digest::{DiffId, Digest};

use super::{Attributes, Block, BlockList, Entry, Kind, SegmentIndex};
use crate::options::Options;
use crate::wire::Out;

pub(super) const DIRECTORY: u8 = 0;
pub(super) const FILE: u8 = 1;
pub(super) const SYMLINK: u8 = 2;
pub(super) const HARD_LINK: u8 = 3;
pub(super) const CHAR: u8 = 4;
pub(super) const BLOCK: u8 = 5;
pub(super) const FIFO: u8 = 6;
pub(super) const WHITEOUT: u8 = 7;
pub(super) const OPAQUE: u8 = 8;

/// Entries so far.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    entries: Out,
    count: u64,
    path: Vec<u8>,
    offset: u64,
    xattrs: Vec<Box<[u8]>>,
    known: BTreeMap<Box<[u8]>, u32>,
}

impl Builder {
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The number to use in [`Attributes::xattrs`] for these pairs; 0 for none.
    pub(crate) fn xattr_set(&mut self, pairs: &[(Vec<u8>, Vec<u8>)]) -> u32 {
        if pairs.is_empty() {
            return 0;
        }
        let mut sorted: Vec<_> = pairs.iter().collect();
        sorted.sort();
        let mut out = Out::default();
        for (name, value) in sorted {
            out.bytes(name);
            out.bytes(value);
        }
        let set: Box<[u8]> = out.0.into();
        if let Some(&number) = self.known.get(&set) {
            return number;
        }
        self.xattrs.push(set.clone());
        let number = u32::try_from(self.xattrs.len()).unwrap_or(u32::MAX);
        self.known.insert(set, number);
        number
    }

    /// Adds an entry.
    pub(crate) fn push(&mut self, entry: &Entry<'_>) {
        let out = &mut self.entries;
        let tag = match entry.kind {
            Kind::Directory => DIRECTORY,
            Kind::File(_) => FILE,
            Kind::Symlink(_) => SYMLINK,
            Kind::HardLink(_) => HARD_LINK,
            Kind::Char(..) => CHAR,
            Kind::Block(..) => BLOCK,
            Kind::Fifo => FIFO,
            Kind::Whiteout => WHITEOUT,
            Kind::Opaque => OPAQUE,
        };
        out.u8(tag);
        let shared = entry.path.iter().zip(&self.path).take_while(|(one, other)| one == other);
        let shared = shared.count();
        out.varint(shared as u64);
        out.bytes(entry.path.get(shared..).unwrap_or_default());
        // Headers lie at multiples of 512.
        out.varint(entry.offset.saturating_sub(self.offset) / 512);
        self.offset = entry.offset;
        self.path.clear();
        self.path.extend_from_slice(entry.path);
        if !matches!(entry.kind, Kind::HardLink(_) | Kind::Whiteout | Kind::Opaque) {
            let Attributes { mode, uid, gid, mtime, xattrs } = entry.attributes;
            for number in [mode.into(), uid, gid, mtime, xattrs] {
                out.varint(number.into());
            }
        }
        match entry.kind {
            Kind::File(file) => {
                out.varint(file.size);
                if let Some((number, offset)) = file.fragment {
                    out.varint(number.into());
                    out.varint(offset.into());
                } else if file.size > 0 {
                    out.varint(file.first.into());
                }
            }
            Kind::Symlink(target) | Kind::HardLink(target) => out.bytes(target),
            Kind::Char(major, minor) | Kind::Block(major, minor) => {
                out.varint(major.into());
                out.varint(minor.into());
            }
            Kind::Directory | Kind::Fifo | Kind::Whiteout | Kind::Opaque => {}
        }
        self.count = self.count.saturating_add(1);
    }

    /// The index, once all data are written.
    pub(crate) fn finish(
        self,
        layer: Digest,
        diff_id: DiffId,
        tar_size: u64,
        (blocks, fragments): (BlockList, Vec<u32>),
        options: &Options,
    ) -> SegmentIndex {
        let end = |block: &Block| block.offset.saturating_add(block.stored().into());
        SegmentIndex {
            options: options.id(),
            layer,
            diff_id,
            block_size: options.block_size,
            tar_size,
            data_size: blocks.runs().last().map_or(0, end),
            entry_count: self.count,
            blocks,
            fragments,
            xattrs: self.xattrs,
            entries: self.entries.0,
        }
    }
}
