//! What all calls share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use orlop_image::Workers;
use orlop_oci::Digest;
use orlop_proto::v1::{Kind, VerifyReply};
use orlop_registry::{Fetched, Pool};
use orlop_store::{Leased, Store};
use tokio::sync::Semaphore;

use crate::brief::{Brief, Panicked};
use crate::counts::Counts;
use crate::disk::Disk;
use crate::failure::Failure;
use crate::flights::Flights;
use crate::lifecycle::Lifecycle;
use crate::listen::Place;
use crate::log::Log;
use crate::memory;
use crate::rules::Rules;
use crate::tasks::Tasks;
use crate::verbs::checks::Checked;
use crate::verbs::convert::Converted;
use crate::verbs::known::Known;
use crate::verbs::lookup::Answer;
use crate::verbs::merge::Merged;
use crate::whereabouts::Whereabouts;

/// Pause before what was in use is looked at again by a collection; each is twice the one before.
const FIRST_COLLECTION: Duration = Duration::from_millis(500);
/// Longest such pause.
const LAST_COLLECTION: Duration = Duration::from_secs(60);

/// The daemon's state. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Daemon(Arc<Shared>);

/// What a [`Daemon`] leads to.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Its end.
    pub(crate) life: Lifecycle,
    /// Its tasks.
    pub(crate) tasks: Tasks,
    /// Its brief work.
    pub(crate) brief: Brief,
    /// Its log.
    pub(crate) log: Log,
    /// When it started, Unix seconds.
    pub(crate) started: i64,
    /// The socket; none for a private daemon.
    pub(crate) socket: Option<PathBuf>,
    /// The socket's file, when it is this daemon's to remove.
    pub(crate) place: Option<Place>,
    /// The cache; one that goes with the daemon when it is disabled.
    pub(crate) store: Store,
    /// True when the cache goes with the daemon.
    pub(crate) cache_is_private: bool,
    /// The cache that this daemon does without, because it cannot be used.
    pub(crate) unused: Option<PathBuf>,
    /// Turn to look whether a cache can be used.
    pub(crate) looks: Arc<Semaphore>,
    /// Whether the cache's disk answers.
    pub(crate) disk: Disk,
    /// The cache that is not used because its format is not known.
    pub(crate) refused: Option<Refused>,
    /// What was read since the start and found good.
    pub(crate) checked: Checked,
    /// Recipes that were read.
    pub(crate) known: Known,
    /// What happened since the start.
    pub(crate) counts: Arc<Counts>,
    /// Connections, tokens and what is known of registries.
    pub(crate) pool: Pool,
    /// Threads that compress.
    pub(crate) workers: Workers,
    /// Turns to convert a layer ([`orlop_config::limits::CONVERSIONS`]).
    pub(crate) conversions: Semaphore,
    /// Turns to merge layers, in KiB of their indexes ([`memory::merge_weight`]).
    pub(crate) merges: Semaphore,
    /// Images whose layers are being merged.
    pub(crate) recipes: Flights<Merged>,
    /// Rules of registries.conf.
    pub(crate) rules: Rules,
    /// Layers that are being converted.
    pub(crate) layers: Flights<Arc<Converted>>,
    /// Collection of the cache.
    pub(crate) collecting: Collecting,
    /// Manifests and configs that are being fetched.
    pub(crate) documents: Flights<Fetched>,
    /// SIF blobs that are being fetched.
    pub(crate) blobs: Flights<Arc<Leased>>,
    /// Files at URLs that are being fetched.
    pub(crate) web: Flights<Arc<(Digest, Leased)>>,
    /// Which repositories have which files.
    pub(crate) whereabouts: Whereabouts,
    /// Registries that are being asked for a digest.
    pub(crate) tags: Flights<Answer>,
    /// Entries that are being read before their use.
    pub(crate) checks: Flights<bool>,
    /// The cache is being verified.
    pub(crate) verifications: Flights<VerifyReply>,
    /// Started by systemd's socket activation.
    pub(crate) activated: bool,
}

/// Whether the cache is being collected, and whether that was asked for since the last look.
#[derive(Debug, Default)]
pub(crate) struct Collecting {
    runs: AtomicBool,
    wanted: AtomicBool,
}

/// A cache that is left as it is.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What its version file says.
    pub(crate) format: String,
    /// What its users are told.
    pub(crate) failure: Failure,
}

impl Daemon {
    /// Wraps the state.
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl Daemon {
    /// Begins work where it may block for a moment ([`Brief`]).
    ///
    /// # Errors
    /// The work's own; INTERNAL when its first part panicked.
    pub(crate) async fn at_once<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        match self.brief.begin(Box::pin(work)).await {
            Ok(done) => done,
            Err(Panicked) => Err(Failure::of(Kind::Internal, "work of the daemon panicked")),
        }
    }

    /// Runs blocking work on a thread of its own.
    ///
    /// # Errors
    /// The work's own; INTERNAL when it panicked.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        match self.tasks.blocking(what, move |_| work()).await {
            Ok(done) => done,
            Err(lost) => Err(Failure::new(Kind::Internal, &lost)),
        }
    }

    /// The same for work that looks now and then whether it is still wanted. Where nobody waits any
    /// more, it is not.
    ///
    /// # Errors
    /// As [`Daemon::blocking`].
    pub(crate) async fn stoppable<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&AtomicBool) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        match self.tasks.blocking(what, move |stop| work(stop.flag())).await {
            Ok(done) => done,
            Err(lost) => Err(Failure::new(Kind::Internal, &lost)),
        }
    }

    /// Gives up the socket, so that the next client starts another daemon, and ends when what is
    /// under way is done.
    ///
    /// # Errors
    /// INTERNAL.
    pub(crate) async fn resign(&self) -> Result<(), Failure> {
        if let Some(place) = self.place.clone() {
            let give_up = move || {
                place.remove();
                Ok(())
            };
            self.blocking("socket", give_up).await?;
        }
        self.life.drain();
        Ok(())
    }

    /// The cache's directory as clients know it; empty when it goes with the daemon.
    pub(crate) fn cache(&self) -> String {
        let path = match &self.refused {
            Some(refused) => refused.path.as_path(),
            None if self.cache_is_private => return String::new(),
            None => self.store.root(),
        };
        path.display().to_string()
    }

    /// The path that names of lease files begin with; empty when the cache goes with the daemon.
    pub(crate) fn lease_stem(&self) -> String {
        if self.cache_is_private {
            return String::new();
        }
        self.store.root().join(self.store.lease_stem()).display().to_string()
    }

    /// Says why the cache cannot be used, where that is so.
    ///
    /// # Errors
    /// CACHE_DAMAGED: its format is not known.
    pub(crate) fn usable(&self) -> Result<(), Failure> {
        match &self.refused {
            Some(refused) => Err(refused.failure.clone()),
            None => Ok(()),
        }
    }

    /// Looks after the cache for ever: sweeps it, and renews leases, now and then.
    pub(crate) async fn keep_up(&self) {
        self.sweep().await;
        // The cap may be lower than it was.
        self.collect_later();
        let mut ticks = tokio::time::interval(orlop_config::limits::LEASE_RENEW);
        // The first is at once: what is open for moments only needs no lease.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let store = self.store.clone();
            if let Err(error) = self.blocking("leases", move || Ok(store.renew_leases()?)).await {
                tracing::warn!(%error, "leases could not be renewed");
            }
            self.sweep().await;
        }
    }

    async fn sweep(&self) {
        let store = self.store.clone();
        let swept = self.stoppable("sweep", move |stop| Ok(store.sweep(stop)?)).await;
        tracing::debug!(?swept, "swept the cache");
    }

    /// Leaves no lease behind for what nobody uses any more.
    pub(crate) async fn end_leases(&self) {
        let store = self.store.clone();
        if let Err(error) = self.blocking("leases", move || Ok(store.end_leases()?)).await {
            tracing::debug!(%error, "leases are left");
        }
    }

    /// Gives memory back after each burst of work, for ever.
    pub(crate) async fn keep_small(&self) {
        let mut calls = self.life.watch_calls();
        loop {
            memory::quiet(&mut calls).await;
            let workers = self.workers.clone();
            let give_back = move || {
                workers.release();
                memory::give_back();
                memory::forget_code();
                Ok(())
            };
            if let Err(error) = self.blocking("memory", give_back).await {
                tracing::debug!(%error, "memory is kept");
            }
        }
    }

    /// Brings the cache under its cap, in the background, unless that is being done. What is in use
    /// now is looked at again later, until the cap is kept or nothing can be done about it.
    pub(crate) fn collect_later(&self) {
        self.collecting.wanted.store(true, Ordering::SeqCst);
        let this = self.clone();
        let work = async move {
            // What is asked for while the last round ends begins another.
            while this.collecting.wanted.load(Ordering::SeqCst)
                && !this.collecting.runs.swap(true, Ordering::SeqCst)
            {
                this.collect_until_kept().await;
                this.collecting.runs.store(false, Ordering::SeqCst);
            }
        };
        if !self.collecting.runs.load(Ordering::SeqCst) {
            self.tasks.left_alone("collect", work);
        }
    }

    async fn collect_until_kept(&self) {
        let mut pause = FIRST_COLLECTION;
        loop {
            self.collecting.wanted.store(false, Ordering::SeqCst);
            if !self.collect().await {
                return;
            }
            tokio::select! {
                () = self.life.draining() => return,
                _ = tokio::time::timeout(pause, std::future::pending::<()>()) => {}
            }
            pause = pause.saturating_mul(2).min(LAST_COLLECTION);
        }
    }

    /// Brings the cache under its cap; true when something in use keeps it above.
    async fn collect(&self) -> bool {
        let (store, busy) = (self.store.clone(), self.life.busy());
        let work = move || {
            let cap = store.cap()?;
            let report = store.collect(cap)?;
            let is_above = report.in_use > 0 && store.usage()?.bytes() > cap;
            drop(busy);
            Ok((report, is_above))
        };
        match self.blocking("collect", work).await {
            Ok((report, is_above)) => {
                let (entries, bytes) = (report.removed.len(), report.bytes());
                if entries > 0 {
                    self.counts.removed_bytes.add(bytes);
                    tracing::info!(entries, bytes, "collected");
                }
                is_above
            }
            Err(error) => {
                tracing::warn!(%error, "the cache cannot be collected");
                false
            }
        }
    }
}

impl std::ops::Deref for Daemon {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
