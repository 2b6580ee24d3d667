//! The bytes of a layer: blob in, tar out, both hashed and counted on the way.
//!
//! Reads at most one byte more than the descriptor's size says. Limits on the tar's bytes and on
//! their ratio to the blob's are kept here. Not here: retries (the reader that is handed in).

use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use orlop_oci::media_type::Compression;

use crate::decode::{Decoder, HEAD};
use crate::error::Error;
use crate::limits::Limits;
use crate::pipeline::LayerSource;
use crate::tar::{Bytes, Fault};
use crate::workers::{Hashing, Of, Pace};

/// Bytes read from the blob at a time.
const BLOB_PIECE: usize = 128 << 10;
/// Bytes of tar made at a time: what fits a core's second-level cache beside the rest.
const TAR_PIECE: usize = 256 << 10;

/// A layer's bytes.
pub(crate) struct Source<'a, 'scope> {
    layer: &'a LayerSource,
    limits: Limits,
    stop: &'a AtomicBool,
    blob: &'a mut dyn Read,
    hashing: Hashing<'scope>,
    pace: Pace,
    decoder: Option<Decoder>,
    input: Arc<Vec<u8>>,
    input_position: usize,
    /// Bytes of the blob so far, and whether it ended.
    blob_bytes: u64,
    blob_ended: bool,
    output: Arc<Vec<u8>>,
    output_position: usize,
    tar_bytes: u64,
}

impl std::fmt::Debug for Source<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("blob_bytes", &self.blob_bytes).finish_non_exhaustive()
    }
}

impl<'a, 'scope> Source<'a, 'scope> {
    pub(crate) fn new(
        layer: &'a LayerSource,
        blob: &'a mut dyn Read,
        limits: Limits,
        (hashing, pace): (Hashing<'scope>, Pace),
        stop: &'a AtomicBool,
    ) -> Self {
        Self {
            layer,
            limits,
            stop,
            blob,
            hashing,
            pace,
            decoder: None,
            input: Arc::default(),
            input_position: 0,
            blob_bytes: 0,
            blob_ended: false,
            output: Arc::default(),
            output_position: 0,
            tar_bytes: 0,
        }
    }

    /// Bytes of tar so far.
    pub(crate) fn tar_bytes(&self) -> u64 {
        self.tar_bytes
    }

    /// What the blob's bytes say its compression is, once any came.
    pub(crate) fn compression(&self) -> Option<Compression> {
        self.decoder.as_ref().map(Decoder::compression)
    }

    /// Reads the rest of the tar; says whether any of it is not zero.
    pub(crate) fn finish_tar(&mut self) -> Result<bool, Fault> {
        let mut any = false;
        loop {
            let piece = self.fill()?;
            if piece.is_empty() {
                return Ok(any);
            }
            any |= piece.iter().any(|&byte| byte != 0);
            let count = piece.len();
            self.consume(count);
        }
    }

    /// Reads the rest of the blob without decompressing, then gives the digests of blob and tar.
    pub(crate) fn finish(mut self) -> Result<(orlop_oci::Digest, orlop_oci::Digest), Error> {
        while !self.blob_ended {
            self.read_blob()?;
        }
        if self.blob_bytes != self.layer.size {
            return Err(self.wrong_size());
        }
        let is_plain = self.compression().is_none_or(|found| found == Compression::None);
        let (blob, tar) = self
            .hashing
            .finish()
            .map_err(|cause| Error::Disk { what: "hashing a layer", cause })?;
        let same = is_plain && blob.algorithm() == tar.algorithm();
        let tar = if same { blob.clone() } else { tar };
        Ok((blob, tar))
    }

    fn wrong_size(&self) -> Error {
        Error::BlobSize {
            digest: self.layer.digest.clone(),
            expected: self.layer.size,
            actual: self.blob_bytes,
        }
    }

    /// Reads the next piece of the blob into `input`.
    fn read_blob(&mut self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        self.input = Arc::default();
        self.input_position = 0;
        let mut piece = self.hashing.buffer(BLOB_PIECE);
        let mut filled = 0;
        while let Some(room) = piece.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.pace.reading(|| self.blob.read(room)) {
                Ok(0) => {
                    self.blob_ended = true;
                    break;
                }
                Ok(count) => filled = filled.saturating_add(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(cause) => {
                    return Err(Error::Source { layer: self.layer.digest.clone(), cause });
                }
            }
        }
        piece.truncate(filled);
        self.pace.read(filled as u64);
        self.blob_bytes = self.blob_bytes.saturating_add(filled as u64);
        if self.blob_bytes > self.layer.size {
            return Err(self.wrong_size());
        }
        self.input = Arc::new(piece);
        self.hashing.hash(Of::Blob, &self.input);
        Ok(())
    }

    /// Makes the next piece of the tar, empty at its end.
    fn refill(&mut self) -> Result<(), Fault> {
        if self.decoder.is_none() {
            self.read_blob()?;
            let head = self.input.get(..HEAD.min(self.input.len())).unwrap_or_default();
            self.decoder = Some(Decoder::new(head, self.limits.zstd_window_log)?);
        }
        self.output = Arc::default();
        self.output_position = 0;
        self.pace.piece();
        let mut piece = self.hashing.buffer(TAR_PIECE);
        let mut filled = 0;
        while filled < TAR_PIECE {
            if self.input_position >= self.input.len() && !self.blob_ended {
                self.read_blob()?;
            }
            let Some(decoder) = &mut self.decoder else { break };
            let before = self.input.get(self.input_position..).unwrap_or_default();
            let mut rest = before;
            let made = decoder.run(&mut rest, piece.get_mut(filled..).unwrap_or_default())?;
            let taken = before.len().saturating_sub(rest.len());
            self.input_position = self.input_position.saturating_add(taken);
            filled = filled.saturating_add(made);
            if made == 0 && self.blob_ended && self.input_position >= self.input.len() {
                decoder.finish()?;
                break;
            }
            if made == 0 && taken == 0 && self.input_position < self.input.len() {
                return Err(Fault::invalid("the compressed data do not go on"));
            }
        }
        piece.truncate(filled);
        self.tar_bytes = self.tar_bytes.saturating_add(filled as u64);
        self.check_limits()?;
        self.output = Arc::new(piece);
        if self.compression() != Some(Compression::None) {
            self.hashing.hash(Of::Tar, &self.output);
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), Fault> {
        let seen = self.tar_bytes;
        if seen > self.limits.layer_bytes {
            return Err(Fault::Limit { key: "layer-bytes", limit: self.limits.layer_bytes, seen });
        }
        let most = self.blob_bytes.saturating_mul(self.limits.ratio);
        if seen > Limits::RATIO_FROM && seen > most {
            let seen = seen.checked_div(self.blob_bytes).unwrap_or(u64::MAX);
            return Err(Fault::Limit { key: "ratio", limit: self.limits.ratio, seen });
        }
        Ok(())
    }
}

impl Bytes for Source<'_, '_> {
    fn fill(&mut self) -> Result<&[u8], Fault> {
        if self.output_position >= self.output.len() {
            self.refill()?;
        }
        Ok(self.output.get(self.output_position..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.output_position = self.output_position.saturating_add(count);
    }
}
