//! Pool: what outlives a request. Connections, tokens, what is known of hosts, places in queues.
//!
//! Held in memory only. Each map is small and is swept when it grows: its keys are hosts, callers'
//! surroundings and scopes. Not here: who asks ([`crate::session`]).

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orlop_config::limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::connect::{self, Client, ClientKey};
use crate::contact::{Contact, ContactKey};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::limits::Limits;
use crate::surroundings::Roots;
use crate::tls::{self, HostCertificates, Trusted};
use crate::token::{Token, TokenKey};

/// Entries of a map before it is swept.
const ENTRIES: usize = 1024;
/// 64 MiB, four parts of the usual size.
const ROOM_KIB: usize = 64 << 10;

/// Connections, tokens and knowledge of hosts, shared by all callers. Cheap to clone.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) clock: Clock,
    /// Of sessions that bring none.
    pub(crate) limits: Limits,
    pub(crate) contacts: Keyed<ContactKey, Contact>,
    pub(crate) tokens: Keyed<TokenKey, Token>,
    clients: Mutex<HashMap<ClientKey, Client>>,
    roots: Mutex<HashMap<Roots, Arc<Trusted>>>,
    places: Mutex<HashMap<(Endpoint, usize), Arc<Semaphore>>>,
    aside: Mutex<HashMap<String, Instant>>,
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

impl Shared {
    /// Returns the client of this key, made at its first use.
    pub(crate) fn client(
        &self,
        key: &ClientKey,
        certificates: &HostCertificates,
    ) -> Result<Client, Error> {
        if let Some(client) = locked(&self.clients).get(key) {
            return Ok(client.clone());
        }
        let roots = self.roots(&key.roots)?;
        let client = connect::client(key, &roots, certificates)?;
        let mut clients = locked(&self.clients);
        if clients.len() >= ENTRIES {
            clients.clear();
        }
        Ok(clients.entry(key.clone()).or_insert(client).clone())
    }

    fn roots(&self, key: &Roots) -> Result<Arc<Trusted>, Error> {
        if let Some(roots) = locked(&self.roots).get(key) {
            return Ok(Arc::clone(roots));
        }
        let roots = Arc::new(tls::roots(key)?);
        locked(&self.roots).insert(key.clone(), Arc::clone(&roots));
        Ok(roots)
    }

    /// Waits for one of the places that an endpoint has for blobs; dropping it gives it back.
    /// Callers with another number of places have a queue of their own.
    pub(crate) async fn place(
        &self,
        endpoint: &Endpoint,
        limits: &Limits,
    ) -> Option<OwnedSemaphorePermit> {
        let most = limits.blobs_per_host;
        let places = Arc::clone(
            locked(&self.places)
                .entry((endpoint.clone(), most))
                .or_insert_with(|| Arc::new(Semaphore::new(most))),
        );
        places.acquire_owned().await.ok()
    }

    /// Takes room for a part of a blob that waits for its turn; `None` when there is none now.
    /// Small parts take more than they are: each is a connection too.
    pub(crate) fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let bytes = bytes.max(limits::RANGE_CHUNK_BYTES / 2);
        let kib = u32::try_from(bytes.div_ceil(1024)).ok()?;
        Arc::clone(&self.room).try_acquire_many_owned(kib).ok()
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
