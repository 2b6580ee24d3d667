//! The xattr table being written: each different set once.

use std::collections::BTreeMap;

use super::metadata::MetadataWriter;
use super::number_u32;
use crate::compressor::Compression;
use crate::error::Error;
use crate::inode::NO_NUMBER;
use crate::xattr::{is_storable_xattr, split};

/// Linux's bound on a value.
const VALUE_BYTES: usize = 64 << 10;

/// Sets so far.
#[derive(Debug)]
pub(super) struct XattrWriter {
    pairs: MetadataWriter,
    known: BTreeMap<Vec<u8>, u32>,
    /// The sets as they are written: reference, number of pairs, bytes.
    sets: Vec<u8>,
}

impl XattrWriter {
    pub(super) fn new(compression: Compression) -> Result<Self, Error> {
        let pairs = MetadataWriter::new(compression)?;
        Ok(Self { pairs, known: BTreeMap::new(), sets: Vec::new() })
    }

    /// The number of this set, [`NO_NUMBER`] for an empty one.
    pub(super) fn add(&mut self, xattrs: &[(&[u8], &[u8])]) -> Result<u32, Error> {
        if xattrs.is_empty() {
            return Ok(NO_NUMBER);
        }
        let mut bytes = Vec::new();
        let mut size = 0_usize;
        for (name, value) in xattrs {
            let (number, rest) = split(name)
                .filter(|_| is_storable_xattr(name))
                .ok_or(Error::Unrepresentable { what: "an xattr of this name" })?;
            if value.len() > VALUE_BYTES {
                return Err(Error::Unrepresentable { what: "an xattr beyond 64 KiB" });
            }
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(&u16::try_from(rest.len()).unwrap_or(0).to_le_bytes());
            bytes.extend_from_slice(rest);
            bytes.extend_from_slice(&number_u32(value.len())?.to_le_bytes());
            bytes.extend_from_slice(value);
            // Each name with its NUL, each value (squashfs-tools: xattr.c).
            size = size.saturating_add(name.len()).saturating_add(1).saturating_add(value.len());
        }
        if let Some(&number) = self.known.get(&bytes) {
            return Ok(number);
        }
        let number = number_u32(self.known.len())?;
        self.sets.extend_from_slice(&self.pairs.reference().to_le_bytes());
        self.sets.extend_from_slice(&number_u32(xattrs.len())?.to_le_bytes());
        self.sets.extend_from_slice(&number_u32(size)?.to_le_bytes());
        self.pairs.write(&bytes);
        self.known.insert(bytes, number);
        Ok(number)
    }

    /// The pairs' metadata and the sets, or nothing.
    pub(super) fn finish(self) -> Option<(Vec<u8>, Vec<u8>)> {
        if self.sets.is_empty() { None } else { Some((self.pairs.finish().0, self.sets)) }
    }
}
