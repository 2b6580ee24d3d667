//! One block: compressed, or stored as it is where that is no longer.
//!
//! Contexts are kept from block to block; both libraries give the same bytes whatever was
//! compressed before. Not here: who calls ([`super`]).

use std::io;

use xxhash_rust::xxh3::xxh3_64;
use zstd::zstd_safe::{CParameter, Strategy};

use crate::options::Method;

/// Set in a squashfs block size when the block is stored as it is.
const RAW: u32 = 1 << 24;

/// The level of zstd whose parameters are chosen here, for blocks of 256 KiB: nearly the size of
/// zstd's own level 2, which looks for matches in two tables, at a sixth less time.
const OWN_LEVEL: u8 = 2;
const OWN_PARAMETERS: [CParameter; 3] =
    [CParameter::Strategy(Strategy::ZSTD_fast), CParameter::HashLog(16), CParameter::MinMatch(5)];

/// What a block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// A block of one file; all zeros become a hole.
    Data,
    /// Small files and tails.
    Fragment,
}

/// How a block is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoded {
    /// As in a squashfs block list; 0 for a hole.
    pub(crate) size: u32,
    /// xxh3-64 of the stored bytes; 0 for a hole.
    pub(crate) checksum: u64,
    /// Whether the input is what is stored.
    pub(crate) is_raw: bool,
}

/// A thread's compression contexts.
#[derive(Default)]
pub(crate) struct Encoder {
    context: Option<(Method, Context)>,
}

enum Context {
    Zstd(zstd::bulk::Compressor<'static>),
    Gzip(libdeflater::Compressor),
}

impl Encoder {
    /// Compresses `input` into `output`, which is cleared first.
    pub(crate) fn encode(
        &mut self,
        input: &[u8],
        kind: BlockKind,
        method: Method,
        output: &mut Vec<u8>,
    ) -> io::Result<Encoded> {
        output.clear();
        if kind == BlockKind::Data && is_zero(input) {
            return Ok(Encoded { size: 0, checksum: 0, is_raw: false });
        }
        self.compress(input, method, output)?;
        let is_raw = output.len() >= input.len();
        let stored = if is_raw { input } else { output };
        let size = u32::try_from(stored.len()).unwrap_or(RAW);
        Ok(Encoded {
            size: if is_raw { size | RAW } else { size },
            checksum: xxh3_64(stored),
            is_raw,
        })
    }

    fn compress(&mut self, input: &[u8], method: Method, output: &mut Vec<u8>) -> io::Result<()> {
        if self.context.as_ref().is_none_or(|(of, _)| *of != method) {
            self.context = Some((method, Context::new(method)?));
        }
        match &mut self.context {
            Some((_, Context::Zstd(context))) => {
                output.reserve(zstd::zstd_safe::compress_bound(input.len()));
                context.compress_to_buffer(input, output)?;
            }
            Some((_, Context::Gzip(context))) => {
                output.resize(context.zlib_compress_bound(input.len()), 0);
                let size = context.zlib_compress(input, output).map_err(io::Error::other)?;
                output.truncate(size);
            }
            None => {}
        }
        Ok(())
    }
}

impl Context {
    fn new(method: Method) -> io::Result<Self> {
        Ok(match method {
            Method::Zstd { level } => {
                let mut context = zstd::bulk::Compressor::new(level.into())?;
                if level == OWN_LEVEL {
                    for parameter in OWN_PARAMETERS {
                        context.set_parameter(parameter)?;
                    }
                }
                Self::Zstd(context)
            }
            Method::Gzip { level } => {
                let level = libdeflater::CompressionLvl::new(level.into())
                    .map_err(|_| io::Error::other("deflate has levels 1 to 12"))?;
                Self::Gzip(libdeflater::Compressor::new(level))
            }
        })
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    words.iter().all(|word| *word == [0; 64]) && rest.iter().all(|&byte| byte == 0)
}
