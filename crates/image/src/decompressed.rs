//! A reader of what another reader's bytes are when they are decompressed: gzip, zstd, or as they
//! are.
//!
//! For archives that hold whole images. Layers are decompressed where they are converted
//! ([`crate::source`]), with their digests.

use std::io::{self, Read};

use crate::decode::{Decoder, HEAD};
use crate::limits::Limits;
use crate::tar::Fault;

/// Bytes read at a time.
const PIECE: usize = 128 << 10;

/// Reads decompressed bytes.
#[derive(Debug)]
pub struct Decompressed<R> {
    reader: R,
    limits: Limits,
    decoder: Option<Decoder>,
    input: Vec<u8>,
    used: usize,
    bytes_in: u64,
    bytes_out: u64,
    is_ended: bool,
}

impl<R: Read> Decompressed<R> {
    /// Reads from `reader` under these limits on bytes, ratio and window.
    pub fn new(reader: R, limits: Limits) -> Self {
        Self {
            reader,
            limits,
            decoder: None,
            input: Vec::new(),
            used: 0,
            bytes_in: 0,
            bytes_out: 0,
            is_ended: false,
        }
    }

    /// Reads more, until there are `least` bytes at hand or no more.
    fn fill(&mut self, least: usize) -> io::Result<()> {
        self.input.drain(..self.used.min(self.input.len()));
        self.used = 0;
        while !self.is_ended && self.input.len() < least {
            let had = self.input.len();
            self.input.resize(had.saturating_add(PIECE), 0);
            let got = self.reader.read(self.input.get_mut(had..).unwrap_or_default());
            self.input.truncate(had.saturating_add(*got.as_ref().unwrap_or(&0)));
            match got {
                Ok(0) => self.is_ended = true,
                Ok(count) => self.bytes_in = self.bytes_in.saturating_add(count as u64),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Fault> {
        let most = self.bytes_in.saturating_mul(self.limits.ratio);
        if self.bytes_out > self.limits.layer_bytes {
            let (limit, seen) = (self.limits.layer_bytes, self.bytes_out);
            return Err(Fault::Limit { key: "layer-bytes", limit, seen });
        }
        if self.bytes_out > Limits::RATIO_FROM && self.bytes_out > most {
            let limit = self.limits.ratio;
            let seen = self.bytes_out.checked_div(self.bytes_in).unwrap_or(u64::MAX);
            return Err(Fault::Limit { key: "ratio", limit, seen });
        }
        Ok(())
    }
}

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.decoder.is_none() {
            self.fill(HEAD)?;
            let window = self.limits.zstd_window_log;
            self.decoder = Some(Decoder::new(&self.input, window).map_err(wrong)?);
        }
        loop {
            if self.used >= self.input.len() {
                self.fill(1)?;
            }
            let Some(decoder) = &mut self.decoder else { return Ok(0) };
            let mut input = self.input.get(self.used..).unwrap_or_default();
            let made = decoder.run(&mut input, buffer).map_err(wrong)?;
            self.used = self.input.len().saturating_sub(input.len());
            self.bytes_out = self.bytes_out.saturating_add(made as u64);
            self.check().map_err(wrong)?;
            if made > 0 {
                return Ok(made);
            }
            if self.is_ended && self.used >= self.input.len() {
                decoder_end(self.decoder.as_ref())?;
                return Ok(0);
            }
        }
    }
}

fn decoder_end(decoder: Option<&Decoder>) -> io::Result<()> {
    decoder.map_or(Ok(()), |decoder| decoder.finish().map_err(wrong))
}

fn wrong(fault: Fault) -> io::Error {
    let text = match fault {
        Fault::Invalid(text) => text,
        Fault::Limit { key, limit, seen } => format!("limits.{key} is {limit}, seen: {seen}"),
        Fault::Other(error) => return io::Error::other(error),
    };
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{gzip, noise};

    fn all(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Decompressed::new(bytes, Limits::default()).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn every_form_gives_the_same_bytes() {
        let plain = noise(3 * PIECE + 17, 3);
        let mut members = gzip(&plain[..1000]);
        members.extend(gzip(&plain[1000..]));
        members.extend([0; 512]);
        let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
        for form in [&plain, &gzip(&plain), &members, &zstd] {
            assert!(all(form).unwrap() == plain);
        }
        assert!(all(b"").unwrap().is_empty());
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let plain = noise(PIECE, 3);
        for form in [gzip(&plain), zstd::encode_all(plain.as_slice(), 1).unwrap()] {
            let error = all(&form[..form.len() - 9]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
    }
}
