//! Pool: what outlives a request. Connections, tokens, what is known of hosts, places in queues.
//!
//! Held in memory only. Each map is small and is swept when it grows: its keys are hosts, callers'
//! surroundings and scopes. Not here: who asks ([`crate::session`]).

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use orlop_config::limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::connect::{self, Client, ClientKey};
use crate::contact::{Contact, ContactKey};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::limits::Limits;
use crate::surroundings::{Roots, Stamp};
use crate::tls::{self, HostCertificates, Trusted};
use crate::token::{Token, TokenKey};

/// Entries of a map before it is swept.
const ENTRIES: usize = 1024;
/// How long root certificates are believed to be as they were read.
const ROOTS_KEEP: Duration = Duration::from_secs(60);
/// 48 MiB, three parts of the usual size beside the one whose turn it is.
const ROOM_KIB: usize = 48 << 10;

/// Connections, tokens and knowledge of hosts, shared by all callers. Cheap to clone.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) clock: Clock,
    /// Of sessions that bring none.
    pub(crate) limits: Limits,
    pub(crate) contacts: Keyed<ContactKey, Contact>,
    pub(crate) tokens: Keyed<TokenKey, Token>,
    /// With the roots that each was made with.
    clients: Mutex<HashMap<ClientKey, (Client, Arc<Trusted>)>>,
    roots: Mutex<HashMap<Roots, Known>>,
    places: Mutex<HashMap<(Endpoint, usize), HostPlaces>>,
    aside: Mutex<HashMap<String, Instant>>,
    /// Hosts that were found to speak plain http.
    plain: Mutex<BTreeSet<String>>,
    /// In KiB: what may wait in memory of blobs that come in parts.
    room: Arc<Semaphore>,
}

impl Pool {
    /// Makes an empty pool.
    #[must_use]
    pub fn new(clock: Clock, limits: Limits) -> Self {
        Self(Arc::new(Shared {
            clock,
            limits,
            contacts: Keyed::default(),
            tokens: Keyed::default(),
            clients: Mutex::default(),
            roots: Mutex::default(),
            places: Mutex::default(),
            aside: Mutex::default(),
            plain: Mutex::default(),
            room: Arc::new(Semaphore::new(ROOM_KIB)),
        }))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// Places that a host has for blobs.
#[derive(Clone)]
struct HostPlaces {
    all: Arc<Semaphore>,
    /// Those that a pull may have beside its first one.
    further: Arc<Semaphore>,
}

impl HostPlaces {
    fn new(most: usize) -> Self {
        let further = most.saturating_sub(most / 4);
        Self { all: Arc::new(Semaphore::new(most)), further: Arc::new(Semaphore::new(further)) }
    }
}

/// Roots that were read.
#[derive(Clone)]
struct Known {
    store: Arc<Trusted>,
    stamp: Stamp,
    read: SystemTime,
}

impl Known {
    /// Says whether they need not be read again. The system's have no stamp, and files within a
    /// directory change without it: these go by time.
    fn is_good(&self, stamp: &Stamp, now: SystemTime) -> bool {
        let age = now.duration_since(self.read);
        let is_fresh = age.is_ok_and(|age| age < ROOTS_KEEP);
        !self.store.given.is_empty() && self.stamp == *stamp && is_fresh
    }
}

impl Shared {
    /// Returns the client of this key, made at its first use.
    pub(crate) fn client(
        &self,
        key: &ClientKey,
        certificates: &HostCertificates,
    ) -> Result<Client, Error> {
        let roots = self.roots(&key.roots)?;
        if let Some((client, made_with)) = locked(&self.clients).get(key)
            && Arc::ptr_eq(made_with, &roots)
        {
            return Ok(client.clone());
        }
        let client = connect::client(key, &roots, certificates)?;
        let mut clients = locked(&self.clients);
        if clients.len() >= ENTRIES {
            clients.clear();
        }
        clients.insert(key.clone(), (client.clone(), roots));
        Ok(client)
    }

    /// The roots as they are now; the same ones as long as nothing has changed. Where what was
    /// good cannot be read any more, as while it is written, it still counts.
    fn roots(&self, key: &Roots) -> Result<Arc<Trusted>, Error> {
        let (stamp, now) = (key.stamp(), self.clock.now());
        let known = locked(&self.roots).get(key).cloned();
        if let Some(known) = &known
            && known.is_good(&stamp, now)
        {
            return Ok(Arc::clone(&known.store));
        }
        let store = match (tls::roots(key), known) {
            (Ok(read), Some(known)) if read.given == known.store.given => known.store,
            (Ok(read), _) => Arc::new(read),
            (Err(_), Some(known)) => return Ok(known.store),
            (Err(error), None) => return Err(error),
        };
        let known = Known { store: Arc::clone(&store), stamp, read: now };
        locked(&self.roots).insert(key.clone(), known);
        Ok(store)
    }

    /// Waits for one of the places that an endpoint has for blobs; dropping it gives it back.
    /// Some are kept for pulls that have none yet (`is_first`), so that large ones, whose blobs
    /// have their places for long, leave a way to the others. Callers with another number of
    /// places have a queue of their own.
    pub(crate) async fn place(
        &self,
        endpoint: &Endpoint,
        limits: &Limits,
        is_first: bool,
    ) -> [Option<OwnedSemaphorePermit>; 2] {
        let most = limits.blobs_per_host;
        let places = locked(&self.places)
            .entry((endpoint.clone(), most))
            .or_insert_with(|| HostPlaces::new(most))
            .clone();
        let further = if is_first { None } else { places.further.acquire_owned().await.ok() };
        [further, places.all.acquire_owned().await.ok()]
    }

    /// Takes room for a part of a blob that waits for its turn; `None` when there is none now.
    /// Small parts take more than they are: each is a connection too.
    pub(crate) fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let bytes = bytes.max(limits::RANGE_CHUNK_BYTES / 2);
        let kib = u32::try_from(bytes.div_ceil(1024)).ok()?;
        Arc::clone(&self.room).try_acquire_many_owned(kib).ok()
    }

    /// Remembers that a host speaks plain http.
    pub(crate) fn note_plain(&self, host: &str) {
        let mut plain = locked(&self.plain);
        if !plain.contains(host) && plain.len() < ENTRIES {
            plain.insert(host.to_owned());
        }
    }

    /// Says whether a host was found to speak plain http.
    pub(crate) fn was_plain(&self, host: &str) -> bool {
        locked(&self.plain).contains(host)
    }

    /// Remembers that a mirror could not be reached.
    pub(crate) fn set_aside(&self, host: &str) {
        let mut aside = locked(&self.aside);
        if aside.len() >= ENTRIES {
            aside.retain(|_, since| since.elapsed() < self.limits.aside_time);
        }
        aside.insert(host.to_owned(), Instant::now());
    }

    /// Says whether a mirror is to be tried last.
    pub(crate) fn is_aside(&self, host: &str, aside_time: Duration) -> bool {
        let aside = locked(&self.aside);
        aside.get(host).is_some_and(|since| since.elapsed() < aside_time)
    }
}

/// No lock is held over anything that can panic; if it were, the map is still whole.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value a key, made once by the first who needs it while others wait.
pub(crate) struct Keyed<K, V>(Mutex<HashMap<K, Arc<tokio::sync::Mutex<Entry<V>>>>>);

struct Entry<V> {
    value: Option<V>,
    failed: Option<Instant>,
}

impl<K, V> Default for Keyed<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Keyed<K, V> {
    /// Returns the value of `key`, made by `make` unless there is one that `is_good`.
    ///
    /// Those who waited for a try that failed make their own at the same time: in a row, each
    /// would wait for all time-outs before it.
    pub(crate) async fn get<F>(
        &self,
        key: K,
        is_good: impl Fn(&V) -> bool,
        make: impl FnOnce() -> F,
    ) -> Result<V, Error>
    where
        F: Future<Output = Result<V, Error>>,
    {
        let began = Instant::now();
        let cell = self.cell(key);
        let mut entry = cell.lock().await;
        if let Some(value) = entry.value.as_ref().filter(|value| is_good(value)) {
            return Ok(value.clone());
        }
        if entry.failed.is_some_and(|at| at >= began) {
            drop(entry);
            return make().await;
        }
        let made = make().await;
        entry.value = made.as_ref().ok().cloned();
        entry.failed = made.is_err().then(Instant::now);
        made
    }

    /// Replaces what is known, unless somebody is finding it out just now.
    pub(crate) fn set(&self, key: K, value: Option<V>) {
        let cell = self.cell(key);
        if let Ok(mut entry) = cell.try_lock() {
            entry.value = value;
        }
    }

    fn cell(&self, key: K) -> Arc<tokio::sync::Mutex<Entry<V>>> {
        let mut cells = locked(&self.0);
        if cells.len() >= ENTRIES {
            cells.retain(|_, cell| Arc::strong_count(cell) > 1);
        }
        let empty = || Arc::new(tokio::sync::Mutex::new(Entry { value: None, failed: None }));
        Arc::clone(cells.entry(key).or_insert_with(empty))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures::FutureExt as _;
    use orlop_kit::Identity;

    use super::*;
    use crate::endpoint::Scheme;

    #[tokio::test]
    async fn blobs_of_large_pulls_leave_places_to_pulls_that_have_none() {
        let pool = Pool::new(Clock::new(|| SystemTime::UNIX_EPOCH, || 0.5), Limits::default());
        let limits = Limits { blobs_per_host: 8, ..Limits::default() };
        let host = Endpoint::of_host(Scheme::Https, &"a.example".parse().unwrap()).unwrap();
        let place = |is_first| pool.shared().place(&host, &limits, is_first).now_or_never();
        let further: Vec<_> = std::iter::from_fn(|| place(false)).collect();
        assert_eq!(further.len(), 6);
        let (first, second) = (place(true), place(true));
        assert!(first.is_some() && second.is_some());
        assert!(place(true).is_none(), "no more than there are");
        drop(further);
        assert!(place(false).is_some());
    }

    #[test]
    fn renewed_roots_are_read_again_and_the_same_ones_are_kept() {
        let seconds = Arc::new(AtomicU64::new(0));
        let ticking = Arc::clone(&seconds);
        let now =
            move || SystemTime::UNIX_EPOCH + Duration::from_secs(ticking.load(Ordering::Relaxed));
        let pool = Pool::new(Clock::new(now, || 0.5), Limits::default());
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        let put = |text: &str| std::fs::write(&file, text).unwrap();
        // With a directory as well, the system's do not count.
        let empty = directory.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        let key = Roots { file: Some(file.clone()), directories: vec![empty] };
        let roots = || pool.shared().roots(&key);

        assert!(roots().is_err(), "what failed is not kept");
        let (one, two) = (Identity::new(&["a.example"]), Identity::new(&["b.example"]));
        put(one.ca_pem());
        let first = roots().unwrap();
        seconds.fetch_add(61, Ordering::Relaxed);
        assert!(Arc::ptr_eq(&first, &roots().unwrap()), "connections last");
        put(&format!("{}{}", one.ca_pem(), two.ca_pem()));
        let both = roots().unwrap();
        assert_eq!((first.given.len(), both.given.len()), (1, 2));
        put("");
        assert!(Arc::ptr_eq(&both, &roots().unwrap()), "one that is being written");
        put(two.ca_pem());
        assert_eq!(roots().unwrap().given.len(), 1);
    }
}
