//! One layer to one segment, in one pass: order of work.
//!
//! ```text
//! blob -> [reader: gunzip, tar, cut into blocks] -> [workers: compress, sum] -> data file, in order
//!    \-> [helper: digest of the blob]  \-> [helper: diff_id]
//! ```
//!
//! What is wrong with a layer counts only once the blob's digest is right: a source that sends
//! other bytes has lied, whatever the bytes look like. Rules for entries: reliability, section 4.
//! Not here: fetching, publishing; what several layers make together ([`crate::merge`]).

mod entries;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use orlop_oci::digest::{Algorithm, DiffId, Digest};
use orlop_oci::media_type::Compression;

use crate::blocks::Blocks;
use crate::error::{Error, Place, escaped};
use crate::options::Options;
use crate::segment::{Builder, SegmentIndex};
use crate::sink::Sink;
use crate::source::Source;
use crate::tar::{Fault, Reader};
use crate::workers::{Hashing, Syncing, Workers};
use entries::{Entries, Notes};

/// What is known of a layer before its bytes come.
#[derive(Clone, Debug)]
pub struct LayerSource {
    /// The blob's digest, from the manifest.
    pub digest: Digest,
    /// The blob's size in bytes, from the manifest.
    pub size: u64,
    /// What the media type says the compression is; `None` where it says nothing. The first bytes
    /// decide, a difference is a warning.
    pub compression: Option<Compression>,
    /// The digest of the tar that the image config promises, where it is known already.
    pub diff_id: Option<DiffId>,
}

/// A finished conversion: the data file is written (not synced), the index goes beside it.
#[derive(Debug)]
pub struct Conversion {
    /// What lies where in the data file.
    pub index: SegmentIndex,
    /// Facts a user may want to know, one line each, escaped.
    pub warnings: Vec<String>,
}

/// Converts one layer: reads its blob from `blob`, writes the segment's data to `data` (an empty
/// file, written from offset 0, not synced).
///
/// Blocks until done; starts one helper thread beside the shared `workers`, and for a large layer
/// another one, which has the disk take bytes while more come. `stop` is looked at
/// between pieces of the blob. Blob digest, size and `diff_id` have been checked when it returns.
///
/// # Errors
/// [`Error::BlobDigest`], [`Error::BlobSize`]: the source lied, whatever else was wrong;
/// [`Error::LayerInvalid`], [`Error::Limit`], [`Error::DiffId`]: no source has a better layer;
/// [`Error::Source`]: `blob` gave an error; [`Error::Disk`]; [`Error::Stopped`]. The data file is
/// then worthless.
pub fn convert(
    layer: &LayerSource,
    blob: &mut dyn Read,
    data: &mut File,
    options: &Options,
    workers: &Workers,
    stop: &AtomicBool,
) -> Result<Conversion, Error> {
    let file =
        data.try_clone().map_err(|cause| Error::Disk { what: "writing segment data", cause })?;
    let block_size = usize::try_from(options.block_size).unwrap_or(usize::MAX);
    let diff_id = layer.diff_id.as_ref();
    let tar_algorithm = diff_id.map_or(Algorithm::Sha256, |diff_id| diff_id.0.algorithm());
    let one = workers.begin();
    std::thread::scope(|scope| {
        let hashing = Hashing::start(scope, one.count, layer.digest.algorithm(), tar_algorithm)
            .map_err(|cause| Error::Disk { what: "starting a thread", cause })?;
        let pace = workers.pace(&layer.digest, layer.size);
        let task = pace.task().clone();
        let source = Source::new(layer, blob, options.limits, (hashing, pace), stop);
        let (written, syncing) = Syncing::start(scope, &file, layer.size);
        let sink = Arc::new(Sink::new((file, written), options.compression, block_size, task));
        let mut blocks = Blocks::new(workers, sink);
        let mut entries = Entries::new(options.limits);
        let mut reader = Reader::new(source, options.limits);
        let walked = entries.read(&mut reader, &mut blocks);
        let place = |reader: &Reader<_>| Place {
            layer: layer.digest.clone(),
            entry: escaped(reader.entry_name()),
            offset: reader.entry_offset(),
        };
        let place = place(&reader);
        let ended_in_padding = reader.ended_in_padding();
        let global_ignored = reader.global_ignored();
        let mut source = reader.into_bytes();
        let walked = walked.and_then(|()| source.finish_tar());
        let tar_bytes = source.tar_bytes();
        let found = source.compression();
        // Whatever was found: all blocks are written before the caller may touch the file again.
        let written = blocks.finish();
        let synced = syncing.finish();
        let written = written.and_then(|lists| synced.map(|()| lists));
        let written = written.map_err(|cause| Error::Disk { what: "writing segment data", cause });
        let (trailing, lists, actual) = judged(layer, source, walked, place, written)?;
        let (builder, mut notes): (Builder, Notes) = entries.finish();
        notes.stream(trailing, ended_in_padding, global_ignored);
        notes.compression(layer.compression, found);
        let digest = layer.digest.clone();
        let index = builder.finish(digest, actual, tar_bytes, lists, options);
        Ok(Conversion { index, warnings: notes.lines(&layer.digest) })
    })
}

/// What came of it once all was read and written, the gravest fault first: what went wrong here,
/// what the source sent, what the layer is. Gives whether something lay behind the tar, the lists of
/// blocks, and the tar's digest.
fn judged<L>(
    layer: &LayerSource,
    source: Source<'_, '_>,
    walked: Result<bool, Fault>,
    place: Place,
    written: Result<L, Error>,
) -> Result<(bool, L, DiffId), Error> {
    if let Err(Fault::Other(error)) = walked {
        return Err(written.err().unwrap_or(error));
    }
    let (digest, tar_digest) = source.finish()?;
    if digest != layer.digest {
        return Err(Error::BlobDigest { expected: layer.digest.clone(), actual: digest });
    }
    let trailing = walked.map_err(|fault| error_of(fault, place))?;
    let lists = written?;
    let actual = DiffId(tar_digest);
    match layer.diff_id.as_ref().filter(|expected| **expected != actual) {
        None => Ok((trailing, lists, actual)),
        Some(expected) => {
            let (layer, expected) = (layer.digest.clone(), expected.clone());
            Err(Error::DiffId { layer, expected, actual })
        }
    }
}

fn error_of(fault: Fault, place: Place) -> Error {
    match fault {
        Fault::Invalid(fault) => Error::LayerInvalid { place, fault },
        Fault::Limit { key, limit, seen } => Error::Limit { place, key, limit, seen },
        Fault::Other(error) => error,
    }
}
