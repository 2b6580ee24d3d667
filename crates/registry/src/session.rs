//! Session: one caller's use of the pool.
//!
//! Holds the caller's surroundings, looks up its credentials (each host and path once), and tells
//! it what it should know (each thing once). What is done for several callers at once is told to
//! somebody who passes it on to each ([`Session::heard_by`], [`Session::pass_on`]). Not here:
//! requests ([`crate::request`]).

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

/// What came of looking for a credential.
#[derive(Debug)]
pub struct Looked {
    /// The credential, `None` for anonymous; or what keeps it from being found: the source then
    /// counts as failed.
    pub found: Result<Option<Known>, orlop_credentials::Error>,
    /// Sentences for the caller.
    pub warnings: Vec<String>,
}

/// Who asks: gives credentials and listens.
pub trait Caller: Send + Sync {
    /// Finds the credential for a repository. Asked once for each host and path of a session,
    /// mirrors under their own names.
    fn credential<'a>(&'a self, host: &'a Host, path: &'a str) -> BoxFuture<'a, Looked>;

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
    credentials: Arc<Credentials>,
    told: Mutex<Told>,
}

/// What was found, by host and path.
type Credentials = tokio::sync::Mutex<HashMap<(String, String), Option<Known>>>;

#[derive(Default)]
struct Told {
    once: BTreeSet<String>,
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
            credentials: Arc::default(),
            told: Mutex::default(),
        }))
    }

    /// The same session for work that others may share: what it is told goes to `ear`, each thing
    /// once also where this session was told it before. Called from within futures: must not block.
    #[must_use]
    pub fn heard_by(&self, ear: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        let Inner { pool, surroundings, limits, caller, credentials, .. } = &*self.0;
        Self(Arc::new(Inner {
            pool: pool.clone(),
            surroundings: surroundings.clone(),
            limits: limits.clone(),
            caller: Arc::new(Heard { caller: Arc::clone(caller), ear }),
            credentials: Arc::clone(credentials),
            told: Mutex::default(),
        }))
    }

    /// Tells this session's caller what work was told that it shares; what is said once is not said
    /// again.
    pub fn pass_on(&self, notice: Notice) {
        match notice {
            Notice::Warning { endpoint, text } => self.warn_of(endpoint, text),
            Notice::Waiting { .. } | Notice::SourceFailed { .. } | Notice::MediaType { .. } => {
                self.tell(notice);
            }
            _ => self.tell_once(notice),
        }
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

    /// True when both are one session.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
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
        let Looked { found, warnings } = self.0.caller.credential(host, path).await;
        for text in warnings {
            self.tell_once(Notice::Credential { text });
        }
        let found = found?;
        if let Some(Known { origin, .. }) = &found {
            let (host, origin) = (host.to_string(), origin.clone());
            self.tell_once(Notice::Login { host, origin });
        }
        known.insert(key, found.clone());
        Ok(found)
    }

    pub(crate) fn tell(&self, notice: Notice) {
        tracing::debug!(%notice, "notice");
        self.0.caller.notice(notice);
    }

    /// Tells what is said once.
    pub(crate) fn tell_once(&self, notice: Notice) {
        let is_new = locked(&self.0.told).once.insert(notice.to_string());
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
        self.warn_of(endpoint.clone(), text::shown(&warning, limit));
    }

    fn warn_of(&self, endpoint: Endpoint, text: String) {
        let limit = usize::try_from(self.limits().warning_bytes).unwrap_or(usize::MAX);
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
            self.tell(Notice::Warning { endpoint, text });
        }
    }
}

/// A caller whose work others share.
struct Heard<E> {
    caller: Arc<dyn Caller>,
    ear: E,
}

impl<E: Fn(Notice) + Send + Sync> Caller for Heard<E> {
    fn credential<'a>(&'a self, host: &'a Host, path: &'a str) -> BoxFuture<'a, Looked> {
        self.caller.credential(host, path)
    }

    fn notice(&self, notice: Notice) {
        (self.ear)(notice);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Session")
            .field("surroundings", &self.0.surroundings)
            .finish_non_exhaustive()
    }
}
