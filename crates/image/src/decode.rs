//! Decompression of a layer's blob: gzip, zstd or none, told by its first bytes.
//!
//! RFC 1952 with several members and NULs behind the last one; RFC 8878 with several and skippable
//! frames. Checksums and lengths inside are checked. Not here: digests ([`crate::source`]).

use flate2::{Decompress, FlushDecompress, Status};
use orlop_oci::media_type::Compression;
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd::zstd_safe::{self, DCtx, DParameter, InBuffer, OutBuffer};

use crate::tar::Fault;

/// A blob's bytes that tell its compression: so many are looked at, fewer if there are fewer.
pub(crate) const HEAD: usize = 6;

/// Decompresses a stream.
pub(crate) struct Decoder {
    state: State,
    window_log: u32,
}

enum State {
    Plain,
    /// Within a gzip member.
    Member(Decompress),
    /// Behind a gzip member.
    Between,
    /// NULs behind the last gzip member.
    Padding,
    Zstd {
        context: DCtx<'static>,
        is_whole: bool,
    },
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Decoder({:?})", self.compression())
    }
}

impl Decoder {
    /// Chooses by the blob's first bytes; [`Fault::Invalid`] for formats no layer may have.
    pub(crate) fn new(head: &[u8], window_log: u32) -> Result<Self, Fault> {
        let state = match head {
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => return Err(foreign("xz")),
            [b'B', b'Z', b'h', ..] => return Err(foreign("bzip2")),
            [0x04, 0x22, 0x4d, 0x18, ..] => return Err(foreign("lz4")),
            _ => match Compression::of_first_bytes(head) {
                Compression::Gzip => State::Between,
                Compression::Zstd => zstd_state(window_log)?,
                Compression::None => State::Plain,
            },
        };
        Ok(Self { state, window_log })
    }

    pub(crate) fn compression(&self) -> Compression {
        match self.state {
            State::Plain => Compression::None,
            State::Member(_) | State::Between | State::Padding => Compression::Gzip,
            State::Zstd { .. } => Compression::Zstd,
        }
    }

    /// Decompresses from `input`, which is advanced, to `output`; gives the bytes written. None
    /// written means that more input is needed.
    pub(crate) fn run(&mut self, input: &mut &[u8], output: &mut [u8]) -> Result<usize, Fault> {
        loop {
            match &mut self.state {
                State::Plain => {
                    let count = input.len().min(output.len());
                    let (taken, rest) = input.split_at(count);
                    if let Some(to) = output.get_mut(..count) {
                        to.copy_from_slice(taken);
                    }
                    *input = rest;
                    return Ok(count);
                }
                State::Zstd { context, is_whole } => {
                    return run_zstd(context, is_whole, self.window_log, input, output);
                }
                State::Between => match input.first() {
                    None => return Ok(0),
                    Some(0) => self.state = State::Padding,
                    Some(0x1f) => self.state = State::Member(Decompress::new_gzip(15)),
                    Some(_) => {
                        return Err(Fault::invalid("other bytes follow the gzip data"));
                    }
                },
                State::Padding => {
                    if input.iter().any(|&byte| byte != 0) {
                        return Err(Fault::invalid("other bytes follow the gzip data"));
                    }
                    *input = &[];
                    return Ok(0);
                }
                State::Member(member) => {
                    let (before_in, before_out) = (member.total_in(), member.total_out());
                    let status = member.decompress(input, output, FlushDecompress::None).map_err(
                        |error| Fault::invalid(format!("the gzip data are corrupt: {error}")),
                    )?;
                    let taken = member.total_in().saturating_sub(before_in);
                    let made = member.total_out().saturating_sub(before_out);
                    let taken = usize::try_from(taken).unwrap_or(usize::MAX);
                    *input = input.get(taken..).unwrap_or_default();
                    if status == Status::StreamEnd {
                        self.state = State::Between;
                    }
                    if made > 0 || input.is_empty() || (taken == 0 && status != Status::StreamEnd) {
                        return Ok(usize::try_from(made).unwrap_or(usize::MAX));
                    }
                }
            }
        }
    }

    /// Checks, when there is no more input and [`Self::run`] gives nothing, that nothing is missing.
    pub(crate) fn finish(&self) -> Result<(), Fault> {
        match self.state {
            State::Member(_) => Err(Fault::invalid("the gzip data are cut off")),
            State::Zstd { is_whole: false, .. } => Err(Fault::invalid("the zstd data are cut off")),
            _ => Ok(()),
        }
    }
}

fn foreign(name: &str) -> Fault {
    Fault::invalid(format!("the layer is {name}; layers are gzip, zstd or plain tar"))
}

fn zstd_state(window_log: u32) -> Result<State, Fault> {
    let mut context = DCtx::create();
    context
        .set_parameter(DParameter::WindowLogMax(window_log))
        .map_err(|_| Fault::invalid("zstd takes no such window limit"))?;
    Ok(State::Zstd { context, is_whole: true })
}

fn run_zstd(
    context: &mut DCtx<'static>,
    is_whole: &mut bool,
    window_log: u32,
    input: &mut &[u8],
    output: &mut [u8],
) -> Result<usize, Fault> {
    let mut from = InBuffer::around(input);
    let mut to = OutBuffer::around(output);
    if from.src.is_empty() && *is_whole {
        return Ok(0);
    }
    let hint = context.decompress_stream(&mut to, &mut from).map_err(|code| {
        // zstd's convention: an error is the negative of its number.
        let number = 0_usize.wrapping_sub(code);
        if number == ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge as usize {
            let limit = 1_u64.checked_shl(window_log).unwrap_or(u64::MAX);
            return Fault::Limit { key: "zstd-window", limit, seen: limit.saturating_add(1) };
        }
        let text = zstd_safe::get_error_name(code);
        Fault::invalid(format!("the zstd data are corrupt: {text}"))
    })?;
    *is_whole = hint == 0;
    let (taken, made) = (from.pos, to.pos());
    *input = input.get(taken..).unwrap_or_default();
    Ok(made)
}
