//! Session: one caller's use of the pool.
//!
//! Holds the caller's surroundings, looks up its credentials (each host and path once), and tells
//! it what it should know (each thing once). Not here: requests ([`crate::request`]).

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use orlop_credentials::precedence::Known;
use orlop_oci::Host;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::limits::Limits;
use crate::message;
use crate::notice::Notice;
use crate::pool::{Pool, Shared, locked};
use crate::repository::{Access, Repository};
use crate::sources::{Source, Sources};
use crate::surroundings::Surroundings;
use crate::text;

/// Who asks: gives credentials and listens.
pub trait Caller: Send + Sync {
    /// Finds the credential for a repository, `None` for anonymous. Asked once for each host and
    /// path of a session, mirrors under their own names.
    ///
    /// # Errors
    /// What keeps the credential from being found; the source then counts as failed.
    fn credential<'a>(
        &'a self,
        host: &'a Host,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Option<Known>, orlop_credentials::Error>>;

    /// Takes notice of something. Called from within futures: must not block.
    fn notice(&self, notice: Notice);
}

/// One caller's use of the pool. Cheap to clone.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    pool: Pool,
    surroundings: Surroundings,
    limits: Limits,
    caller: Arc<dyn Caller>,
    credentials: tokio::sync::Mutex<HashMap<(String, String), Option<Known>>>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    hosts: BTreeSet<String>,
    texts: BTreeSet<String>,
    text_bytes: usize,
}

impl Session {
    /// Starts a session under the pool's limits.
    #[must_use]
    pub fn new(pool: &Pool, surroundings: Surroundings, caller: Arc<dyn Caller>) -> Self {
        Self::with_limits(pool, surroundings, pool.shared().limits.clone(), caller)
    }

    /// Starts a session under limits of its own.
    #[must_use]
    pub fn with_limits(
        pool: &Pool,
        surroundings: Surroundings,
        limits: Limits,
        caller: Arc<dyn Caller>,
    ) -> Self {
        Self(Arc::new(Inner {
            pool: pool.clone(),
            surroundings,
            limits,
            caller,
            credentials: tokio::sync::Mutex::default(),
            told: Mutex::default(),
        }))
    }

    /// Returns the sources of one reference, to be tried in this order.
    #[must_use]
    pub fn sources(&self, sources: Vec<Source>) -> Sources {
        Sources::new(self, sources)
    }

    /// Returns one repository. Push goes to the host that the user named: no mirrors.
    #[must_use]
    pub fn repository(&self, source: &Source, access: Access) -> Repository {
        Repository::new(self, source, access, false)
    }

    pub(crate) fn shared(&self) -> &Shared {
        self.0.pool.shared()
    }

    pub(crate) fn surroundings(&self) -> &Surroundings {
        &self.0.surroundings
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) async fn credential(&self, host: &Host, path: &str) -> Result<Option<Known>, Error> {
        let key = (host.to_string(), path.to_owned());
        let mut known = self.0.credentials.lock().await;
        if let Some(found) = known.get(&key) {
            return Ok(found.clone());
        }
        let found = self.0.caller.credential(host, path).await?;
        known.insert(key, found.clone());
        Ok(found)
    }

    pub(crate) fn tell(&self, notice: Notice) {
        tracing::debug!(%notice, "notice");
        self.0.caller.notice(notice);
    }

    /// Tells what is said once for a host.
    pub(crate) fn tell_of_host(&self, notice: Notice) {
        let is_new = locked(&self.0.told).hosts.insert(notice.to_string());
        if is_new {
            self.tell(notice);
        }
    }

    /// Passes a `Warning` header on: each text once, and no more than the limit in all.
    pub(crate) fn warn(&self, endpoint: &Endpoint, header: &[u8]) {
        let limit = self.limits().warning_bytes;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let Some(warning) = message::warning(header) else {
            tracing::debug!(%endpoint, "unreadable warning dropped");
            return;
        };
        let text = text::shown(&warning, limit);
        let is_new = {
            let mut told = locked(&self.0.told);
            let bytes = told.text_bytes.saturating_add(text.len());
            if bytes > limit || !told.texts.insert(text.clone()) {
                false
            } else {
                told.text_bytes = bytes;
                true
            }
        };
        if is_new {
            self.tell(Notice::Warning { endpoint: endpoint.clone(), text });
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Session")
            .field("surroundings", &self.0.surroundings)
            .finish_non_exhaustive()
    }
}
