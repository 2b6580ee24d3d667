//! Checks before use: what the daemon has not read since its start, or what has changed since, is
//! read before a caller is told to use it.
//!
//! An image that was converted just now is known. A SIF is hashed whole before it is given, because
//! nobody can check a part of it later. Segments are read for a moment in the foreground and to the
//! end in the background: blocks that were not reached are checked by whoever uses them, by the
//! checksums of recipe and index. What somebody has met damage in is read to the end. What is damaged
//! is moved aside and made anew within the command.
//! Source: reliability rows F34, F35; design, section 12.3.
//!
//! Not here: reading everything ([`super::cache`]).

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orlop_image::DOUBTED;
use orlop_store::{Entry, Store};

use super::cache::Content;
use crate::daemon::Daemon;
use crate::failure::Failure;

/// How long a caller waits for the check of its segments.
const PATIENCE: Duration = Duration::from_millis(100);

/// How an entry's files look from outside: who writes into them changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look(Vec<(u64, u64, i64, i64)>);

impl Look {
    /// Looks at an entry; `None` when it is not there.
    pub(crate) fn at(store: &Store, entry: &Entry) -> Option<Self> {
        let path = store.path(entry);
        let files = match entry {
            Entry::Segment(_) => vec![path.join("data"), path.join("index")],
            _ => vec![path],
        };
        let looks = files.iter().map(|file| {
            let found = std::fs::symlink_metadata(file).ok()?;
            Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
        });
        looks.collect::<Option<_>>().map(Self)
    }

    /// Whether a holder met a damaged block in it.
    fn is_doubted(&self) -> bool {
        self.0.iter().any(|(_, _, modified, _)| *modified == DOUBTED)
    }
}

/// Entries that were read whole and found good, as they looked then.
#[derive(Debug, Default)]
pub(crate) struct Checked(Mutex<BTreeMap<Entry, Look>>);

impl Checked {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Entry, Look>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note that an entry is good, as it looks now: it was made or read by this process.
    pub(crate) fn note(&self, store: &Store, entry: &Entry) {
        store.follow(entry);
        store.vouch(entry);
        if let Some(look) = Look::at(store, entry) {
            self.lock().insert(entry.clone(), look);
        }
    }

    /// True when the entry looks as it did when it was found to be good.
    fn holds(&self, store: &Store, entry: &Entry) -> bool {
        let look = Look::at(store, entry);
        look.is_some() && look.as_ref() == self.lock().get(entry)
    }
}

/// Checks entries that a caller is about to use. False: one of them was damaged and moved aside.
///
/// # Errors
/// FILE_FAILED.
pub(crate) async fn before_use(daemon: &Daemon, entries: Vec<Entry>) -> Result<bool, Failure> {
    let (store, this) = (daemon.store.clone(), daemon.clone());
    let unknown = daemon
        .blocking("looks", move || {
            let unknown = entries.into_iter().filter(|entry| !this.checked.holds(&store, entry));
            let doubts = unknown.map(|entry| {
                let is_doubted = Look::at(&store, &entry).is_some_and(|look| look.is_doubted());
                (entry, is_doubted)
            });
            Ok(doubts.collect::<Vec<_>>())
        })
        .await?;
    let must_be_whole =
        unknown.iter().any(|(entry, is_doubted)| *is_doubted || matches!(entry, Entry::Blob(_)));
    let checks = unknown.into_iter().map(|(entry, _)| check(daemon, entry));
    let all = futures::future::try_join_all(checks);
    if must_be_whole {
        return Ok(all.await?.into_iter().all(|good| good));
    }
    // What takes longer goes on in the background: each check is held by a task of its own.
    match tokio::time::timeout(PATIENCE, all).await {
        Ok(checked) => Ok(checked?.into_iter().all(|good| good)),
        Err(_) => Ok(true),
    }
}

/// One check for all who want it, which goes on though nobody waits.
async fn check(daemon: &Daemon, entry: Entry) -> Result<bool, Failure> {
    let this = daemon.clone();
    let flight = daemon.checks.join(&format!("{entry}"), "a check", 0, move |_| async move {
        let (store, counts) = (this.store.clone(), Arc::clone(&this.counts));
        let checked = this.clone();
        this.stoppable("check", move |stop| {
            let look = Look::at(&store, &entry);
            store.follow(&entry);
            let good = store.verify_entry(&entry, &Content, stop)?;
            if good && look.as_ref().is_some_and(Look::is_doubted) {
                tracing::info!(%entry, "a container met damage here, which is not found any more");
                return Ok(store.trust(&entry).is_ok());
            }
            match look {
                Some(look) if good => {
                    store.vouch(&entry);
                    drop(checked.checked.lock().insert(entry, look));
                }
                _ => counts.damaged.add((!good).into()),
            }
            Ok(good)
        })
        .await
    });
    let flight = Arc::new(flight);
    if flight.is_own() {
        let (kept, life) = (Arc::clone(&flight), daemon.life.busy());
        daemon.tasks.left_alone("check", async move {
            let _busy = life;
            drop(kept.landed().await);
        });
    }
    flight.landed().await
}
