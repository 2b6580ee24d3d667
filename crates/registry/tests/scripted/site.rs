//! One caller with its surroundings, credentials and ears.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures::future::{BoxFuture, FutureExt as _};
use orlop_config::settings::Network;
use orlop_config::{Environment, Face, Paths};
use orlop_credentials::Credential;
use orlop_credentials::precedence::Known;
use orlop_kit::Registry;
use orlop_oci::{By, Descriptor, Document, Host, Manifest, Reference};
use orlop_registry::{
    Caller, Clock, Error, Limits, Looked, Notice, Pool, Position, Session, Source, Sources,
    Surroundings,
};

/// A caller that knows some logins and remembers what it is told.
#[derive(Default)]
pub(crate) struct Ears {
    logins: BTreeMap<String, Known>,
    notices: Mutex<Vec<Notice>>,
    asked: Mutex<Vec<String>>,
}

impl Caller for Ears {
    fn credential<'a>(&'a self, host: &'a Host, path: &'a str) -> BoxFuture<'a, Looked> {
        held(&self.asked).push(format!("{host}/{path}"));
        let known = self.logins.get(host.as_str()).cloned();
        async move { Looked { found: Ok(known), warnings: Vec::new() } }.boxed()
    }

    fn notice(&self, notice: Notice) {
        if !matches!(notice, Notice::Login { .. }) {
            held(&self.notices).push(notice);
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A pool and what its sessions are made of.
pub(crate) struct Site {
    pub(crate) pool: Pool,
    home: tempfile::TempDir,
    ears: Arc<Ears>,
}

/// Limits under which a test waits for milliseconds where a user waits for seconds.
pub(crate) fn limits() -> Limits {
    Limits {
        backoff: Duration::from_millis(2),
        backoff_cap: Duration::from_millis(10),
        stall_time: Duration::from_millis(1500),
        ..Limits::default()
    }
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with(limits(), &[])
    }

    /// Logins as `(host, user, password)`.
    pub(crate) fn logged_in(logins: &[(&str, &str, &str)]) -> Self {
        Self::with(limits(), logins)
    }

    pub(crate) fn with(limits: Limits, logins: &[(&str, &str, &str)]) -> Self {
        let logins = logins.iter().map(|(host, user, secret)| {
            let credential = password(user, secret);
            ((*host).to_owned(), Known { credential, origin: "auth.json".to_owned() })
        });
        let ears = Ears { logins: logins.collect(), ..Ears::default() };
        let clock =
            Clock::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000), || 1.0);
        let home = tempfile::tempdir().unwrap();
        Self { pool: Pool::new(clock, limits), home, ears: Arc::new(ears) }
    }

    /// The user's home directory.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A new session of this caller; the pool stays.
    pub(crate) fn session(&self) -> Session {
        self.session_with(&[])
    }

    pub(crate) fn session_with(&self, variables: &[(&str, &str)]) -> Session {
        let home = [(OsString::from("HOME"), self.home.path().as_os_str().to_owned())];
        let more = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let environment = Environment::from_pairs(home.into_iter().chain(more));
        let paths = Paths::of(&environment, Face::Orlop, 1000)
            .with_system(self.home.path().join("nothing"));
        let caller: Arc<dyn Caller> = Arc::<Ears>::clone(&self.ears);
        Session::new(
            &self.pool,
            Surroundings::of(&environment, &Network::default(), &paths),
            caller,
        )
    }

    pub(crate) fn sources(&self, registry: &Registry, reference: &str) -> Sources {
        self.session().sources(vec![source(&registry.host(), reference)])
    }

    pub(crate) fn notices(&self) -> Vec<Notice> {
        held(&self.ears.notices).clone()
    }

    /// For which repositories a credential was looked up.
    pub(crate) fn asked(&self) -> Vec<String> {
        held(&self.ears.asked).clone()
    }
}

pub(crate) fn password(user: &str, secret: &str) -> Credential {
    Credential::Password { username: user.to_owned(), secret: secret.into() }
}

pub(crate) fn source(host: &str, reference: &str) -> Source {
    Source::new(Reference::parse(&format!("{host}/{reference}")).unwrap())
}

/// Resolves, fetches and parses the manifest.
pub(crate) async fn manifest_of(sources: &Sources) -> Result<Manifest, Error> {
    let resolved = sources.resolve().await?;
    let fetched = sources.fetch_top(&resolved).await?;
    let content_type = fetched.content_type.as_deref();
    match Document::parse(&fetched.bytes, content_type, By::Tag).unwrap() {
        (Document::Manifest(manifest), _) => Ok(manifest),
        (Document::Index(_), _) => panic!("the test gave a manifest"),
    }
}

/// Reads a blob to its end.
pub(crate) async fn blob(sources: &Sources, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
    let from = Position::start(descriptor.digest.algorithm());
    let mut stream = sources.fetch_blob(descriptor, from);
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

/// What a pull does: manifest, config, layers; returns the bytes of the layers.
pub(crate) async fn pull(sources: &Sources) -> Result<Vec<Vec<u8>>, Error> {
    let manifest = manifest_of(sources).await?;
    sources.fetch_config(&manifest.config).await?;
    let mut layers = Vec::new();
    for layer in &manifest.layers {
        layers.push(blob(sources, layer).await?);
    }
    Ok(layers)
}
