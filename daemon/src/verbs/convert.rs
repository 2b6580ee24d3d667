//! A layer becomes a segment of the cache; a SIF blob becomes a blob of the cache.
//!
//! Work of a flight: whoever waits for the same layer waits for this. Not here: which layers
//! ([`super::pull`]), the bytes' way ([`super::spool`]).

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orlop_image::{Conversion, LayerSource, Options, Workers};
use orlop_oci::{Algorithm, Descriptor, DiffId};
use orlop_proto::v1::Kind;
use orlop_registry::{Position, Sources};
use orlop_store::{Entry, Key, Leased, Partial, Segment, Store};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::claims::{self, Turn};
use super::kept;
use super::pull::absent;
use super::spool::{self, Shared};
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::flights::Facts;
use crate::tasks::{Stop, Tasks};

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
async fn until_true<T, F: Future<Output = Result<T, Ended>>>(
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
enum Ended {
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
fn discard(daemon: &Daemon, partial: &Shared) {
    if let Some(partial) = partial.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let nameless = partial.discard();
        daemon.tasks.detached("discard", move || drop(nameless));
    }
}

/// Brings what came of a download to the disk, so that the next one goes on at its last byte.
async fn keep(daemon: &Daemon, partial: Shared) {
    let sync = move || {
        let mut partial = partial.lock().unwrap_or_else(PoisonError::into_inner);
        partial.as_mut().map_or(Ok(()), |partial| Ok(partial.sync()?))
    };
    if let Err(error) = daemon.blocking("sync", sync).await {
        tracing::debug!(%error, "a download may have to begin earlier than where it broke");
    }
}

/// Fetches a blob whole and publishes it.
///
/// # Errors
/// As [`segment`]; DISK_FULL.
pub(crate) async fn blob(
    daemon: Daemon,
    sources: Sources,
    descriptor: Descriptor,
    times: claims::Times,
    facts: Arc<Facts>,
) -> Result<Arc<Leased>, Failure> {
    let entry = Entry::Blob(descriptor.digest.clone());
    let wanted = descriptor.clone();
    let found = move |store: &Store| store.blob(&wanted.digest, wanted.size);
    let _claim = match claims::turn(&daemon, &entry, times, &facts, found).await? {
        Turn::Made(blob) => {
            facts.set_bytes(descriptor.size);
            return Ok(Arc::new(blob));
        }
        Turn::Ours(held) => held,
    };
    let attempt = || try_blob(&daemon, &sources, &descriptor, times.stale, &facts);
    let leased = until_true(&sources, &descriptor, attempt).await?;
    daemon.checked.note(&daemon.store, &entry);
    Ok(leased)
}

async fn try_blob(
    daemon: &Daemon,
    sources: &Sources,
    descriptor: &Descriptor,
    patience: Duration,
    facts: &Facts,
) -> Result<Leased, Ended> {
    let partial = match writer(&daemon.store, &daemon.tasks, descriptor, patience).await? {
        Writer::Ours(partial) => Arc::new(Mutex::new(Some(partial))),
        Writer::Published(blob) => return Ok(blob),
        Writer::Theirs(_) => return apart(daemon, sources, descriptor, facts).await,
    };
    let position = {
        let (descriptor, partial) = (descriptor.clone(), Arc::clone(&partial));
        daemon.blocking("position", move || Ok(spool::position(&descriptor, &partial)?)).await?
    };
    let mut at = position.offset();
    let mut stream = sources.fetch_blob(descriptor, position);
    facts.set_bytes(at);
    while let Some(piece) = stream.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                let is_lie = error.is_lie();
                let failure = Failure::from(error);
                if !is_lie {
                    keep(daemon, partial).await;
                    return Err(Ended::Failed(failure));
                }
                discard(daemon, &partial);
                return Err(Ended::Lied(failure));
            }
        };
        let mut kept = partial.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.as_mut().ok_or_else(|| busy(descriptor))?;
        tokio::task::block_in_place(|| kept.append(&piece)).map_err(Failure::from)?;
        at = at.saturating_add(piece.len() as u64);
        daemon.counts.fetched_bytes.add(piece.len() as u64);
        facts.set_bytes(at);
    }
    let publish = move || {
        let partial = partial.lock().unwrap_or_else(PoisonError::into_inner).take();
        partial.map(Partial::publish).transpose().map_err(Failure::from)
    };
    let published = daemon.blocking("publish", publish).await?;
    Ok(published.ok_or_else(|| busy(descriptor))?)
}

/// Fetches a blob whole beside a download that another process keeps and does not get on with: it
/// may be frozen, or of a node that is.
async fn apart(
    daemon: &Daemon,
    sources: &Sources,
    descriptor: &Descriptor,
    facts: &Facts,
) -> Result<Leased, Ended> {
    if descriptor.digest.algorithm() != Algorithm::Sha256 {
        return Err(busy(descriptor).into());
    }
    tracing::info!(digest = %descriptor.digest, "another process does not get on: fetched apart");
    let store = daemon.store.clone();
    let mut draft = daemon.blocking("draft", move || Ok(store.draft_blob()?)).await?;
    let mut stream = sources.fetch_blob(descriptor, Position::start(Algorithm::Sha256));
    let mut at: u64 = 0;
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| match error.is_lie() {
            true => Ended::Lied(error.into()),
            false => Ended::Failed(error.into()),
        })?;
        tokio::task::block_in_place(|| draft.append(&piece)).map_err(Failure::from)?;
        at = at.saturating_add(piece.len() as u64);
        daemon.counts.fetched_bytes.add(piece.len() as u64);
        facts.set_bytes(at);
    }
    let (expected, size) = (descriptor.digest.clone(), descriptor.size);
    let publish = move || {
        let (actual, leased) = draft.publish()?;
        if actual != expected || leased.bytes() != size {
            return Err(orlop_store::Error::NotTheBytes { expected, actual }.into());
        }
        Ok(leased)
    };
    Ok(daemon.blocking("publish", publish).await?)
}

/// How often it is looked whether another process is done with a download.
const LOOK: Duration = Duration::from_millis(500);

/// Who downloads a blob.
#[derive(Debug)]
enum Writer {
    /// This process, from where the partial file ends.
    Ours(Partial),
    /// Nobody any more.
    Published(Leased),
    /// Another process (a daemon that is ending, or another node's), which has so many bytes.
    Theirs(u64),
}

/// Waits while another process downloads a blob and gets on with it: has a new byte within
/// `patience`.
async fn writer(
    store: &Store,
    tasks: &Tasks,
    descriptor: &Descriptor,
    patience: Duration,
) -> Result<Writer, Failure> {
    let mut ticks = tokio::time::interval(LOOK);
    let (mut had, mut unchanged) = (0, Duration::ZERO);
    loop {
        ticks.tick().await;
        let (store, descriptor) = (store.clone(), descriptor.clone());
        let looked = tasks.blocking("partial", move |_| look(&store, &descriptor)).await;
        let looked = looked.map_err(|lost| Failure::new(Kind::Internal, &lost))??;
        match looked {
            Writer::Theirs(bytes) if bytes != had => (had, unchanged) = (bytes, Duration::ZERO),
            Writer::Theirs(_) if unchanged < patience => unchanged += LOOK,
            writer => return Ok(writer),
        }
    }
}

fn look(store: &Store, descriptor: &Descriptor) -> Result<Writer, orlop_store::Error> {
    if let Some(blob) = store.blob(&descriptor.digest, descriptor.size)? {
        return Ok(Writer::Published(blob));
    }
    match store.partial(&descriptor.digest, descriptor.size) {
        Ok(partial) => Ok(Writer::Ours(partial)),
        Err(orlop_store::Error::Busy { digest }) => {
            let file = std::fs::metadata(store.path(&Entry::Partial(digest)));
            Ok(Writer::Theirs(file.map(|file| file.len()).unwrap_or_default()))
        }
        Err(error) => Err(error),
    }
}

fn busy(descriptor: &Descriptor) -> Failure {
    let digest = descriptor.digest.clone();
    orlop_store::Error::Busy { digest }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_oci::MediaType;

    #[tokio::test(start_paused = true)]
    async fn a_blob_that_another_process_downloads_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let settings = orlop_store::Settings::of_this_process();
        let store = Store::open(&directory.path().join("cache"), settings).unwrap();
        let descriptor = Descriptor::of(MediaType::SifLayer, b"bytes");
        let mut theirs = store.partial(&descriptor.digest, descriptor.size).unwrap();
        let tasks = Tasks::default();
        let patience = LOOK * 60;
        let stuck = writer(&store, &tasks, &descriptor, patience).await.unwrap();
        assert!(matches!(stuck, Writer::Theirs(0)), "{stuck:?}");

        let waits = writer(&store, &tasks, &descriptor, patience);
        tokio::pin!(waits);
        let a_while = tokio::time::timeout(LOOK * 10, &mut waits);
        assert!(a_while.await.is_err());
        theirs.append(b"bytes").unwrap();
        drop(theirs.publish().unwrap());
        let published = waits.await.unwrap();
        assert!(matches!(published, Writer::Published(_)), "{published:?}");
    }
}
