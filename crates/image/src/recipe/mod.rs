//! Everything of a SIF that is no segment data, and what to take from which segment.
//!
//! A recipe is pieces in the order of the SIF: bytes, or a run of blocks of one segment, each
//! block with its checksum. What no piece covers is zero. The file:
//!
//! ```text
//! "ORLOPREC"  u32 version  varint size of the SIF  varint offset, length of the partition
//! segments:   varint n, n x 64 bytes
//! pieces:     varint n, each: varint distance from the end of the piece before, then
//!             varint 0, varint length, bytes, or
//!             varint number of the segment + 1, varint offset in it,
//!             varint n, n x (varint stored bytes, u64 xxh3)
//! u64 xxh3 of all before
//! ```
//!
//! Spec: design, "Formats and keys". Not here: how it comes about ([`build`]); using it
//! ([`crate::assemble`], [`crate::virtual_sif`]).

mod build;
mod extents;
mod own;
mod tables;
#[cfg(test)]
mod tests;

use crate::error::Error;
use crate::key::SegmentKey;
use crate::wire::{In, Malformed, Out};

pub use build::{ImageInputs, build_recipe};

const MAGIC: &[u8; 8] = b"ORLOPREC";
const VERSION: u32 = 1;

/// A block that lies in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Offset in the segment's data. Bytes.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) length: u32,
    /// xxh3-64 of these bytes.
    pub(crate) checksum: u64,
}

/// Where a piece's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    Here(Vec<u8>),
    /// Blocks one behind the other, at least one.
    Segment {
        number: u32,
        blocks: Vec<Stored>,
    },
}

/// A run of bytes of the SIF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Offset in the SIF.
    pub(crate) offset: u64,
    /// Bytes; more than 0.
    pub(crate) length: u64,
    pub(crate) bytes: Bytes,
}

/// How to make a SIF of segments.
#[derive(Clone, Debug)]
pub struct Recipe {
    segments: Vec<SegmentKey>,
    sif_size: u64,
    partition: (u64, u64),
    pieces: Vec<Piece>,
    warnings: Vec<String>,
}

impl Recipe {
    /// Bytes of the SIF.
    #[must_use]
    pub fn sif_size(&self) -> u64 {
        self.sif_size
    }

    /// The segments data are taken from, in the order in which their files are to be handed in.
    /// Layers of which nothing is left are not among them.
    #[must_use]
    pub fn segments(&self) -> &[SegmentKey] {
        &self.segments
    }

    /// Offset and length of the squashfs partition in the SIF, in bytes.
    #[must_use]
    pub fn partition(&self) -> (u64, u64) {
        self.partition
    }

    /// The first bytes of the SIF, its header among them.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        match self.pieces.first() {
            Some(Piece { offset: 0, bytes: Bytes::Here(bytes), .. }) => bytes,
            _ => &[],
        }
    }

    /// What a user may want to know of the merge, one line each, escaped. Not part of the bytes:
    /// a recipe that was read has none.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// In ascending order, without overlap, within the SIF.
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The recipe as a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Out::default();
        out.raw(MAGIC);
        out.u32(VERSION);
        for number in [self.sif_size, self.partition.0, self.partition.1] {
            out.varint(number);
        }
        out.varint(self.segments.len() as u64);
        for key in &self.segments {
            out.raw(key.as_str().as_bytes());
        }
        out.varint(self.pieces.len() as u64);
        let mut end = 0;
        for piece in &self.pieces {
            out.varint(piece.offset.saturating_sub(end));
            end = piece.offset.saturating_add(piece.length);
            match &piece.bytes {
                Bytes::Here(bytes) => {
                    out.varint(0);
                    out.bytes(bytes);
                }
                Bytes::Segment { number, blocks } => {
                    out.varint(u64::from(*number).saturating_add(1));
                    out.varint(blocks.first().map_or(0, |block| block.offset));
                    out.varint(blocks.len() as u64);
                    for block in blocks {
                        out.varint(block.length.into());
                        out.u64(block.checksum);
                    }
                }
            }
        }
        out.sealed()
    }

    /// Reads a recipe.
    ///
    /// # Errors
    /// [`Error::Damaged`]: the bytes are not what [`Self::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let damaged = |fault: &str| Error::Damaged { what: "recipe", fault: fault.to_owned() };
        let input = In::unsealed(bytes).map_err(|Malformed| damaged("its checksum is wrong"))?;
        Self::read(input).map_err(|Malformed| damaged("it is malformed"))
    }

    fn read(mut input: In<'_>) -> Result<Self, Malformed> {
        if input.raw(MAGIC.len())? != MAGIC || input.u32()? != VERSION {
            return Err(Malformed);
        }
        let sif_size = input.varint()?;
        let partition = (input.varint()?, input.varint()?);
        let count = input.count(64)?;
        let mut segments = Vec::with_capacity(count);
        for _ in 0..count {
            let text = std::str::from_utf8(input.raw(64)?).map_err(|_| Malformed)?;
            segments.push(text.parse().map_err(|_| Malformed)?);
        }
        let count = input.count(3)?;
        let mut pieces = Vec::with_capacity(count);
        let mut end = 0_u64;
        for _ in 0..count {
            let offset = end.checked_add(input.varint()?).ok_or(Malformed)?;
            let (bytes, length) = read_bytes(&mut input, segments.len())?;
            end = offset.checked_add(length).ok_or(Malformed)?;
            pieces.push(Piece { offset, length, bytes });
        }
        let partition_end = partition.0.checked_add(partition.1).ok_or(Malformed)?;
        if !input.is_empty() || end > sif_size || partition_end > sif_size {
            return Err(Malformed);
        }
        Ok(Self { segments, sif_size, partition, pieces, warnings: Vec::new() })
    }
}

/// Reads a piece's bytes; also gives how many they are.
fn read_bytes(input: &mut In<'_>, segments: usize) -> Result<(Bytes, u64), Malformed> {
    let Some(number) = input.varint()?.checked_sub(1) else {
        let bytes = input.bytes()?.to_vec();
        let length = bytes.len() as u64;
        return if length > 0 { Ok((Bytes::Here(bytes), length)) } else { Err(Malformed) };
    };
    let number = u32::try_from(number).map_err(|_| Malformed)?;
    let start = input.varint()?;
    let count = input.count(9)?;
    if number as usize >= segments || count == 0 {
        return Err(Malformed);
    }
    let mut blocks = Vec::with_capacity(count);
    let mut offset = start;
    for _ in 0..count {
        let length = input.varint_u32()?;
        // What a squashfs block takes at most.
        if length == 0 || length > 1 << 20 {
            return Err(Malformed);
        }
        blocks.push(Stored { offset, length, checksum: input.u64()? });
        offset = offset.checked_add(length.into()).ok_or(Malformed)?;
    }
    Ok((Bytes::Segment { number, blocks }, offset.checked_sub(start).ok_or(Malformed)?))
}
