//! Decompressing one block, whatever the compressor.
//!
//! Contexts are kept and shared: a thread takes one, uses it, puts it back.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::compressor::Compressor;
use crate::error::BoxError;
use crate::lzo;

/// Memory an xz decoder may ask for. mksquashfs's dictionaries are no larger than a block.
const XZ_MEMORY: u64 = 32 << 20;

/// Decompressors of one file system.
pub(crate) struct Decompressors {
    compressor: Compressor,
    idle: Mutex<Vec<Context>>,
}

enum Context {
    Gzip(libdeflater::Decompressor),
    Zstd(zstd::bulk::Decompressor<'static>),
    /// Lzo, xz, lz4: nothing is kept.
    None(Compressor),
}

impl Decompressors {
    pub(crate) fn new(compressor: Compressor) -> Self {
        Self { compressor, idle: Mutex::default() }
    }

    /// Decompresses `input` into the start of `output` and returns the number of bytes made.
    ///
    /// More than fits into `output` is an error.
    pub(crate) fn decompress(&self, input: &[u8], output: &mut [u8]) -> Result<usize, BoxError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut context = match idle {
            Some(context) => context,
            None => Context::new(self.compressor)?,
        };
        let made = context.decompress(input, output);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(context);
        made
    }
}

impl Context {
    fn new(compressor: Compressor) -> Result<Self, BoxError> {
        Ok(match compressor {
            Compressor::Gzip => Self::Gzip(libdeflater::Decompressor::new()),
            Compressor::Zstd => Self::Zstd(zstd::bulk::Decompressor::new()?),
            other => Self::None(other),
        })
    }

    fn decompress(&mut self, input: &[u8], output: &mut [u8]) -> Result<usize, BoxError> {
        match self {
            Self::Gzip(context) => Ok(context.zlib_decompress(input, output)?),
            Self::Zstd(context) => Ok(context.decompress_to_buffer(input, output)?),
            Self::None(Compressor::Lz4) => Ok(lz4_flex::block::decompress_into(input, output)?),
            Self::None(Compressor::Lzo) => Ok(lzo::decompress(input, output)?),
            Self::None(_) => decompress_xz(input, output),
        }
    }
}

fn decompress_xz(input: &[u8], output: &mut [u8]) -> Result<usize, BoxError> {
    use liblzma::stream::{Action, Status, Stream};
    let mut stream = Stream::new_stream_decoder(XZ_MEMORY, 0)?;
    match stream.process(input, output, Action::Finish)? {
        Status::StreamEnd => Ok(usize::try_from(stream.total_out())?),
        _ => Err("the xz stream does not end with the block".into()),
    }
}

impl fmt::Debug for Decompressors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Decompressors").field(&self.compressor).finish()
    }
}
