//! Metadata blocks being written: 8 KiB at a time, compressed, or stored where that is no longer.

use crate::compressor::Compression;
use crate::error::Error;
use crate::metadata::{BLOCK_BYTES, STORED};

/// A compression context.
pub(super) enum Encoder {
    Zstd(zstd::bulk::Compressor<'static>),
    Gzip(libdeflater::Compressor),
}

impl Encoder {
    fn new(compression: Compression) -> Result<Self, Error> {
        Ok(match compression {
            Compression::Zstd { level } => {
                let context = zstd::bulk::Compressor::new(level.into());
                Self::Zstd(context.map_err(|cause| Error::Compress { cause: cause.into() })?)
            }
            Compression::Gzip { level } => {
                // The foreign error says less than this: levels are its only one.
                let level = libdeflater::CompressionLvl::new(level.into())
                    .map_err(|_| Error::Unrepresentable { what: "a deflate level beyond 12" })?;
                Self::Gzip(libdeflater::Compressor::new(level))
            }
        })
    }

    /// Compresses `input`; nothing where that takes as much room or more.
    fn encode<'o>(&mut self, input: &[u8], output: &'o mut Vec<u8>) -> Option<&'o [u8]> {
        output.clear();
        output.resize(input.len().saturating_sub(1), 0);
        // Both fail when the output does not fit, which is no fault here.
        let length = match self {
            Self::Zstd(context) => context.compress_to_buffer(input, output.as_mut_slice()).ok(),
            Self::Gzip(context) => context.zlib_compress(input, output).ok(),
        };
        length.and_then(|length| output.get(..length))
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Zstd(_) => "Zstd",
            Self::Gzip(_) => "Gzip",
        })
    }
}

/// A table under way.
#[derive(Debug)]
pub(super) struct MetadataWriter {
    encoder: Encoder,
    done: Vec<u8>,
    /// Starts of the blocks, in `done`.
    starts: Vec<u64>,
    block: Vec<u8>,
    scratch: Vec<u8>,
}

impl MetadataWriter {
    pub(super) fn new(compression: Compression) -> Result<Self, Error> {
        Ok(Self {
            encoder: Encoder::new(compression)?,
            done: Vec::new(),
            starts: Vec::new(),
            block: Vec::with_capacity(BLOCK_BYTES),
            scratch: Vec::with_capacity(BLOCK_BYTES),
        })
    }

    /// Where the next byte will lie: its block's offset from the start of the table, and the
    /// offset in the block, below 8192.
    pub(super) fn position(&self) -> (u64, u16) {
        (self.done.len() as u64, u16::try_from(self.block.len()).unwrap_or(0))
    }

    /// [`Self::position`] as an inode reference is written.
    pub(super) fn reference(&self) -> u64 {
        let (block, offset) = self.position();
        (block << 16) | u64::from(offset)
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BLOCK_BYTES.saturating_sub(self.block.len());
            let (part, rest) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(part);
            bytes = rest;
            if self.block.len() == BLOCK_BYTES {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        self.starts.push(self.done.len() as u64);
        let compressed = self.encoder.encode(&self.block, &mut self.scratch);
        let (bytes, flag) = compressed.map_or((self.block.as_slice(), STORED), |bytes| (bytes, 0));
        let size = u16::try_from(bytes.len()).unwrap_or(0);
        self.done.extend_from_slice(&(size | flag).to_le_bytes());
        self.done.extend_from_slice(bytes);
        self.block.clear();
    }

    /// The table's bytes, and where its blocks start in them.
    pub(super) fn finish(mut self) -> (Vec<u8>, Vec<u64>) {
        if !self.block.is_empty() {
            self.flush();
        }
        (self.done, self.starts)
    }
}
