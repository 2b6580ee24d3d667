//! Sources: the places of one reference, tried in order, mirrors first.
//!
//! The first one that gives a usable manifest serves what follows; where it fails later, the next
//! one goes on. Every error that is about a source lets the next one be tried; what is returned in
//! the end is the error of the last, which is the registry itself. A mirror that could not be
//! reached is tried last for a minute. Rules: `registry.md` §4.5; cases R133 to R142. Not here:
//! what a reference points to ([`crate::resolved`]); which sources there are (`orlop-config`).

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use orlop_oci::{Descriptor, Digest, Host, Reference};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::documents::Fetched;
use crate::error::Error;
use crate::fetch::BlobStream;
use crate::limits::Limits;
use crate::notice::Notice;
use crate::pool::locked;
use crate::position::Position;
use crate::repository::{Access, Repository};
use crate::session::Session;

/// Wrong bytes that a source may send for one blob before it is left.
const LIES: u32 = 2;

/// One place to try for a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The reference as this source knows it.
    pub reference: Reference,
    /// Certificates are not checked, and plain http is tried after https.
    pub insecure: bool,
    /// Plain http only.
    pub no_https: bool,
    /// registries.conf forbids to contact it.
    pub blocked: bool,
    /// The registry that the user named, where this one serves several and wants to be told which:
    /// sent as `?ns=`.
    pub namespace: Option<Host>,
}

impl From<orlop_config::Source> for Source {
    fn from(source: orlop_config::Source) -> Self {
        let orlop_config::Source { reference, insecure, blocked, namespace, .. } = source;
        Self { reference, insecure, no_https: false, blocked, namespace }
    }
}

impl Source {
    /// Returns the source of a reference that nothing rewrites.
    #[must_use]
    pub const fn new(reference: Reference) -> Self {
        Self { reference, insecure: false, no_https: false, blocked: false, namespace: None }
    }
}

/// The sources of one reference. Cheap to clone; clones share what is learned.
#[derive(Clone)]
pub struct Sources {
    inner: Arc<Inner>,
    elsewhere: Elsewhere,
    session: Session,
}

/// Whether the places that an image names for its foreign layers may be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Elsewhere {
    /// Never: the image's author chose them.
    #[default]
    Avoided,
    /// Where no source has the layer, without any login.
    Allowed,
}

struct Inner {
    /// Those that may be contacted, best first.
    repositories: Vec<Repository>,
    /// The first one that is blocked, for the error when no other is left.
    blocked: Option<String>,
    /// Position of the one that serves.
    current: AtomicUsize,
    /// How often each sent wrong bytes for a blob.
    lies: Mutex<HashMap<(usize, Digest), u32>>,
    /// Places for blobs that are fetched at the same time.
    places: Arc<Semaphore>,
}

impl Sources {
    pub(crate) fn new(session: &Session, sources: Vec<Source>) -> Self {
        let blocked = sources
            .iter()
            .rev()
            .find(|source| source.blocked)
            .map(|source| source.reference.repository());
        let mut open: Vec<Source> = sources.into_iter().filter(|source| !source.blocked).collect();
        let shared = session.shared();
        let last = open.len().saturating_sub(1);
        let mut place = 0_usize;
        // Stable: those in use keep their order, those put aside come after them.
        open.sort_by_cached_key(|source| {
            let is_mirror = place < last || blocked.is_some();
            place = place.saturating_add(1);
            is_mirror
                && shared.is_aside(source.reference.host().as_str(), session.limits().aside_time)
        });
        let repositories = open
            .iter()
            .enumerate()
            .map(|(index, source)| Repository::new(session, source, Access::Pull, index < last))
            .collect();
        let inner = Inner {
            repositories,
            blocked,
            current: AtomicUsize::new(0),
            lies: Mutex::default(),
            places: Arc::new(Semaphore::new(session.limits().blobs_per_pull)),
        };
        let (inner, elsewhere) = (Arc::new(inner), Elsewhere::default());
        Self { inner, elsewhere, session: session.clone() }
    }

    /// The same sources for work that others may share, see [`Session::heard_by`].
    #[must_use]
    pub fn heard_by(&self, ear: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        let (inner, elsewhere) = (Arc::clone(&self.inner), self.elsewhere);
        Self { inner, elsewhere, session: self.session.heard_by(ear) }
    }

    /// Says whether foreign layers may come from the places that their image names.
    #[must_use]
    pub fn with_elsewhere(self, elsewhere: Elsewhere) -> Self {
        Self { elsewhere, ..self }
    }

    pub(crate) const fn elsewhere(&self) -> Elsewhere {
        self.elsewhere
    }

    pub(crate) async fn fetch_by_digest(&self, digest: &Digest) -> Result<Fetched, Error> {
        let mut index = self.current();
        loop {
            match self.repository(index)?.fetch_digest(digest).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => index = self.next(index, error)?,
            }
        }
    }

    /// Fetches the manifest or index of a descriptor.
    ///
    /// # Errors
    /// Of the last source, see [`Repository::fetch_manifest`].
    pub async fn fetch_manifest(&self, descriptor: &Descriptor) -> Result<Bytes, Error> {
        let mut index = self.current();
        loop {
            match self.repository(index)?.fetch_manifest(descriptor).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => index = self.next(index, error)?,
            }
        }
    }

    /// Fetches a config or another small blob whole.
    ///
    /// # Errors
    /// Of the last source, see [`Repository::fetch_config`].
    pub async fn fetch_config(&self, descriptor: &Descriptor) -> Result<Bytes, Error> {
        let mut index = self.current();
        loop {
            match self.repository(index)?.fetch_config(descriptor).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => index = self.next(index, error)?,
            }
        }
    }

    /// Fetches a blob from a position on. The stream verifies size and digest; nothing is asked
    /// for before it is polled. After an error that [`Error::is_lie`], what was made of the bytes
    /// is to be thrown away, and while [`Sources::may_refetch`] the blob may be fetched again from
    /// the start: each source has two tries.
    #[must_use]
    pub fn fetch_blob(&self, descriptor: &Descriptor, from: Position) -> BlobStream {
        BlobStream::new(self.clone(), descriptor.clone(), from)
    }

    /// Returns the registry itself, the last source: what mirrors need not have all of is asked
    /// there alone.
    ///
    /// # Errors
    /// [`Error::Blocked`] when registries.conf forbids it.
    pub fn primary(&self) -> Result<Repository, Error> {
        let last = self.inner.repositories.len().saturating_sub(1);
        if let Some(source_name) = self.inner.blocked.clone() {
            return Err(Error::Blocked { source_name });
        }
        self.repository(last)
    }

    /// Sees to it that there is a source that may be used at all: what is in the cache is no way
    /// around registries.conf.
    ///
    /// # Errors
    /// [`Error::Blocked`] when all are blocked.
    pub fn check_open(&self) -> Result<(), Error> {
        self.repository(0).map(drop)
    }

    /// Returns the limits under which is asked.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        self.session.limits()
    }

    /// Waits for one of the places for blobs; dropping it gives it back. Also says whether the
    /// others are free.
    pub(crate) async fn place(&self) -> (Option<OwnedSemaphorePermit>, bool) {
        let places = &self.inner.places;
        let place = Arc::clone(places).acquire_owned().await.ok();
        let all = self.limits().blobs_per_pull;
        (place, places.available_permits().saturating_add(1) >= all)
    }

    /// Returns the session that asks.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) fn current(&self) -> usize {
        self.inner.current.load(Ordering::Relaxed)
    }

    /// What follows is asked of this one first.
    pub(crate) fn settle(&self, index: usize) {
        self.inner.current.store(index, Ordering::Relaxed);
    }

    pub(crate) fn repository(&self, index: usize) -> Result<Repository, Error> {
        let repository = self.inner.repositories.get(index);
        let repository = repository.map(|repository| repository.of_session(&self.session));
        repository.ok_or_else(|| Error::Blocked {
            source_name: self.inner.blocked.clone().unwrap_or_else(|| "the source".to_owned()),
        })
    }

    /// Leaves a source after an error: returns the next one's position, or the error when it was
    /// the last.
    pub(crate) fn next(&self, index: usize, error: Error) -> Result<usize, Error> {
        let repository = self.repository(index)?;
        let next = index.saturating_add(1);
        let has_next = next < self.inner.repositories.len();
        if matches!(error, Error::Unreachable { .. }) && (has_next || self.inner.blocked.is_some())
        {
            self.session.shared().set_aside(repository.host().as_str());
        }
        if !error.is_about_source() {
            return Err(error);
        }
        let is_last_hope = !has_next && self.inner.blocked.is_none();
        if is_last_hope {
            return Err(error);
        }
        self.tell_failed(index, &error);
        // Behind the last one there may be a blocked one, whose error this is then.
        if has_next { Ok(next) } else { self.repository(next).map(|_| next) }
    }

    /// Tells the caller that a source failed and another one is asked.
    pub(crate) fn tell_failed(&self, index: usize, error: &Error) {
        let has_next = index.saturating_add(1) < self.inner.repositories.len();
        if let Ok(repository) = self.repository(index)
            && (has_next || self.inner.blocked.is_some())
        {
            let (source, why) = (repository.name(), chain(error));
            self.session.tell(Notice::SourceFailed { source, why, lied: error.is_lie() });
        }
    }

    /// Says whether any source sent wrong bytes for a blob.
    pub(crate) fn has_lied(&self, digest: &Digest) -> bool {
        locked(&self.inner.lies).keys().any(|(_, blob)| blob == digest)
    }

    /// Counts wrong bytes of a source for a blob; says whether it may try once more.
    pub(crate) fn lied(&self, index: usize, digest: &Digest) -> bool {
        let mut lies = locked(&self.inner.lies);
        let count = lies.entry((index, digest.clone())).or_default();
        *count = count.saturating_add(1);
        *count < LIES
    }

    /// Counts wrong bytes of a blob that a reader of [`Position::unhashed`] found, against the
    /// source that serves. Says whether the blob may be fetched again.
    #[must_use]
    pub fn report_lie(&self, descriptor: &Descriptor) -> bool {
        let digest = &descriptor.digest;
        let index = self.honest(self.current(), digest);
        if !self.lied(index, digest)
            && let Ok(repository) = self.repository(index)
            && index.saturating_add(1) < self.inner.repositories.len()
        {
            let (source, why) = (repository.name(), format!("wrong bytes for {digest}"));
            self.session.tell(Notice::SourceFailed { source, why, lied: true });
        }
        self.may_refetch(descriptor)
    }

    /// Says whether a source is left that has not sent wrong bytes for this blob twice.
    #[must_use]
    pub fn may_refetch(&self, descriptor: &Descriptor) -> bool {
        self.find_honest(self.current(), &descriptor.digest).is_some()
    }

    /// The first source from `index` on that may be asked for a blob; the last one where none may.
    pub(crate) fn honest(&self, index: usize, digest: &Digest) -> usize {
        let last = self.inner.repositories.len().saturating_sub(1);
        self.find_honest(index, digest).unwrap_or(last)
    }

    fn find_honest(&self, from: usize, digest: &Digest) -> Option<usize> {
        let lies = locked(&self.inner.lies);
        let count = |index| lies.get(&(index, digest.clone())).copied().unwrap_or_default();
        (from..self.inner.repositories.len()).find(|&index| count(index) < LIES)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Sources").field(&self.inner.repositories).finish()
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    crate::text::shown(&line, 2048)
}
