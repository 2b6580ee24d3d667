//! A SIF blob becomes a blob of the cache.
//!
//! One process downloads a blob at a time and the others wait, as long as it gets on: then it is
//! fetched beside that download. Work of a flight. Not here: layers ([`super::convert`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orlop_oci::Descriptor;
use orlop_proto::v1::Kind;
use orlop_registry::{Position, Sources};
use orlop_store::{Entry, Leased, Partial, Store};

use super::claims::{self, Turn};
use super::convert::{Ended, discard, keep, until_true};
use super::spool;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::flights::Facts;
use crate::tasks::Tasks;

/// Fetches a blob whole and publishes it.
///
/// # Errors
/// As [`super::convert::segment`]; DISK_FULL.
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
    let algorithm = descriptor.digest.algorithm();
    tracing::info!(digest = %descriptor.digest, "another process does not get on: fetched apart");
    let store = daemon.store.clone();
    let mut draft = daemon.blocking("draft", move || Ok(store.draft_blob(algorithm)?)).await?;
    let mut stream = sources.fetch_blob(descriptor, Position::start(algorithm));
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
