//! A layer becomes a segment of the cache.
//!
//! Work of a flight: whoever waits for the same layer waits for this. Not here: which layers
//! ([`super::pull`]), the bytes' way ([`super::spool`]), blobs that stay blobs ([`super::blob`]).

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use orlop_image::{Conversion, LayerSource, Options, Workers};
use orlop_oci::{Descriptor, DiffId};
use orlop_proto::v1::Kind;
use orlop_registry::{Position, Sources};
use orlop_store::{Entry, Key, Partial, Segment, Store};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::claims::{self, Turn};
use super::kept;
use super::pull::absent;
use super::spool::{self, Shared};
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::flights::Facts;
use crate::tasks::Stop;

/// How often a blob whose bytes were wrong is fetched: the sources count their own, two each; this
/// ends what no source is to blame for.
const TRIES: u32 = 8;

/// A converted layer.
#[derive(Debug)]
pub(crate) struct Converted {
    /// Its files, leased.
    pub(crate) segment: Segment,
    /// What the conversion noticed.
    pub(crate) warnings: Vec<String>,
}

/// A layer to be converted.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// From the manifest.
    pub(crate) descriptor: Descriptor,
    /// From the config.
    pub(crate) diff_id: Option<DiffId>,
    /// Of the segment.
    pub(crate) key: Key,
    /// How it is converted.
    pub(crate) options: Options,
    /// When another node's claim on it is dead.
    pub(crate) times: claims::Times,
    /// Whether it is kept as it came, too.
    pub(crate) is_kept: bool,
    /// Turns of this image's layers to be converted.
    pub(crate) turns: Arc<Semaphore>,
}

impl Layer {
    /// Waits for a turn to be converted: among the layers of its image, then among all.
    pub(super) async fn turn<'a>(&'a self, daemon: &'a Daemon) -> [Option<SemaphorePermit<'a>>; 2] {
        // Neither is ever closed.
        let own = self.turns.acquire().await.ok();
        [own, daemon.conversions.acquire().await.ok()]
    }

    /// What the converter has to know.
    pub(super) fn source(&self) -> LayerSource {
        LayerSource {
            digest: self.descriptor.digest.clone(),
            size: self.descriptor.size,
            compression: self.descriptor.media_type.layer_compression(),
            diff_id: self.diff_id.clone(),
        }
    }
}

/// Converts a layer and publishes its segment: one that is kept, else what the sources give.
///
/// # Errors
/// What the sources, the layer or the disk did. What came of the download stays for the next time
/// unless it was wrong. IMAGE_NOT_FOUND without sources where it is not kept.
pub(crate) async fn segment(
    daemon: Daemon,
    sources: Option<Sources>,
    layer: Layer,
    workers: Workers,
    facts: Arc<Facts>,
) -> Result<Arc<Converted>, Failure> {
    let entry = Entry::Segment(layer.key.clone());
    let key = layer.key.clone();
    let found = move |store: &Store| store.segment(&key);
    let _claim = match claims::turn(&daemon, &entry, layer.times, &facts, found).await? {
        Turn::Made(segment) => {
            facts.set_bytes(layer.descriptor.size);
            return Ok(Arc::new(Converted { segment, warnings: Vec::new() }));
        }
        Turn::Ours(held) => held,
    };
    if let Some(converted) = kept::segment(&daemon, (&layer, &workers), &facts).await? {
        return Ok(Arc::new(converted));
    }
    let sources = sources.ok_or_else(|| absent(&layer.descriptor.digest))?;
    let attempt = || try_segment(&daemon, &sources, &layer, &workers, &facts);
    let converted = until_true(&sources, &layer.descriptor, attempt).await?;
    daemon.counts.layers_converted.add(1);
    Ok(converted)
}

/// Says whether a download is gone on with after a failure: not where all of it came, or where
/// nobody has it.
fn is_worth_keeping(failure: &Failure) -> bool {
    !matches!(
        failure.kind(),
        Kind::LayerInvalid | Kind::LimitExceeded | Kind::ImageNotFound | Kind::ImageUnsupported
    )
}

/// Tries again while bytes were wrong and a source is left that may have right ones. A try leaves
/// nothing behind that was wrong.
pub(super) async fn until_true<T, F: Future<Output = Result<T, Ended>>>(
    sources: &Sources,
    descriptor: &Descriptor,
    attempt: impl Fn() -> F,
) -> Result<Arc<T>, Failure> {
    let mut tries = 1;
    loop {
        match attempt().await {
            Ok(done) => return Ok(Arc::new(done)),
            Err(Ended::Lied(failure)) => {
                if tries >= TRIES || !sources.may_refetch(descriptor) {
                    return Err(failure);
                }
                tries += 1;
            }
            Err(Ended::Failed(failure)) => return Err(failure),
        }
    }
}

/// Why one try ended.
pub(super) enum Ended {
    /// The bytes were not those of the digest: worth another try.
    Lied(Failure),
    /// Anything else.
    Failed(Failure),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Goes on with what came before, and keeps what may be gone on with.
async fn try_segment(
    daemon: &Daemon,
    sources: &Sources,
    layer: &Layer,
    workers: &Workers,
    facts: &Facts,
) -> Result<Converted, Ended> {
    let partial = open_partial(daemon, &layer.descriptor).await?;
    let outcome = convert(daemon, sources, (layer, workers), facts, &partial).await;
    match &outcome {
        Err(Ended::Failed(failure)) if is_worth_keeping(failure) => keep(daemon, partial).await,
        Ok(_) if layer.is_kept => kept::keep(daemon, &partial),
        // It is not needed any more, or what is kept may be what is wrong.
        _ => discard(daemon, &partial),
    }
    outcome
}

async fn convert(
    daemon: &Daemon,
    sources: &Sources,
    (layer, workers): (&Layer, &Workers),
    facts: &Facts,
    partial: &Shared,
) -> Result<Converted, Ended> {
    let descriptor = layer.descriptor.clone();
    let have = {
        let partial = partial.lock().unwrap_or_else(PoisonError::into_inner);
        partial.as_ref().map_or(0, Partial::have)
    };
    // Before a place for the download is taken: whoever has one can go on.
    let _turn = layer.turn(daemon).await;
    // The converter hashes the blob: once is enough.
    let position = Position::unhashed(have);
    let joined = spool::join(sources, &descriptor, position, partial).map_err(Failure::from)?;
    let (feed, mut reader) = joined;
    let source = layer.source();
    let (shared, own, workers) = (daemon.clone(), layer.clone(), workers.clone());
    let part = facts.part();
    let convert = daemon.tasks.blocking("convert", move |stop| {
        let _part = part;
        let made = make(&shared, (&own, &workers), &source, &mut reader, stop);
        // The feed must not wait for a reader that has ended.
        drop(reader);
        made
    });
    let (fed, made) = tokio::join!(feed.run(facts, &daemon.counts.fetched_bytes), convert);
    // What the source did explains what the converter saw of it.
    if let Err(error) = fed {
        let is_lie = error.is_lie();
        let failure = Failure::from(error);
        return Err(if is_lie { Ended::Lied(failure) } else { Ended::Failed(failure) });
    }
    let made = made.map_err(|lost| Failure::new(Kind::Internal, &lost))?;
    made.map_err(|error| match error {
        Error::Image(
            error @ (orlop_image::Error::BlobDigest { .. } | orlop_image::Error::BlobSize { .. }),
        ) => {
            let may_repeat = sources.report_lie(&descriptor);
            tracing::debug!(digest = %descriptor.digest, may_repeat, "wrong bytes of a layer");
            Ended::Lied(error.into())
        }
        Error::Image(error) => Ended::Failed(error.into()),
        Error::Store(error) => Ended::Failed(error.into()),
    })
}

/// Converts what `reader` gives and publishes it. Blocks.
pub(super) fn make(
    daemon: &Daemon,
    (layer, workers): (&Layer, &Workers),
    source: &LayerSource,
    reader: &mut dyn io::Read,
    stop: &Stop,
) -> Result<Converted, Error> {
    let store = &daemon.store;
    let mut draft = store.draft_segment(&layer.key)?;
    let options = &layer.options;
    let made = orlop_image::convert(source, reader, draft.data(), options, workers, stop.flag());
    let full = |error| disk_full(error, store.root(), source.size);
    let Conversion { index, warnings } = made.map_err(full)?;
    let segment = draft.publish(&index.to_bytes())?;
    daemon.checked.note(store, &Entry::Segment(layer.key.clone()));
    Ok(Converted { segment, warnings })
}

/// Names the directory and the bytes where the disk was full.
fn disk_full(error: orlop_image::Error, root: &Path, bytes: u64) -> Error {
    match error {
        orlop_image::Error::Disk { cause, .. } if orlop_publish::is_disk_full(&cause) => {
            let directory = root.join("segments");
            Error::Store(orlop_store::Error::DiskFull { directory, bytes, cause: Some(cause) })
        }
        other => Error::Image(other),
    }
}

/// What the blocking part can meet.
pub(super) enum Error {
    /// The layer, or writing it.
    Image(orlop_image::Error),
    /// The cache.
    Store(orlop_store::Error),
}

impl From<orlop_store::Error> for Error {
    fn from(error: orlop_store::Error) -> Self {
        Self::Store(error)
    }
}

async fn open_partial(daemon: &Daemon, descriptor: &Descriptor) -> Result<Shared, Failure> {
    let (store, descriptor) = (daemon.store.clone(), descriptor.clone());
    let open = move || match store.partial(&descriptor.digest, descriptor.size) {
        Ok(partial) => Ok(Some(partial)),
        // Somebody else downloads it: this download is not kept.
        Err(orlop_store::Error::Busy { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    };
    Ok(Arc::new(Mutex::new(daemon.blocking("partial", open).await?)))
}

/// Removes a download. Nobody waits until its bytes are given back.
pub(super) fn discard(daemon: &Daemon, partial: &Shared) {
    if let Some(partial) = partial.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let nameless = partial.discard();
        daemon.tasks.detached("discard", move || drop(nameless));
    }
}

/// Brings what came of a download to the disk, so that the next one goes on at its last byte.
pub(super) async fn keep(daemon: &Daemon, partial: Shared) {
    let sync = move || {
        let mut partial = partial.lock().unwrap_or_else(PoisonError::into_inner);
        partial.as_mut().map_or(Ok(()), |partial| Ok(partial.sync()?))
    };
    if let Err(error) = daemon.blocking("sync", sync).await {
        tracing::debug!(%error, "a download may have to begin earlier than where it broke");
    }
}
