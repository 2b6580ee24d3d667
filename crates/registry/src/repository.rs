//! Repository: one path at one host, for one session: as whom it is asked, how patiently, and how
//! requests for its parts look.
//!
//! Rules: `registry.md` §1.1 to §1.4. Not here: what comes of them: manifests and small blobs
//! ([`crate::documents`]), layers ([`crate::fetch`]), uploads ([`crate::upload`]).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use orlop_credentials::precedence::Known;
use orlop_oci::media_type::ACCEPTED_MANIFESTS;
use orlop_oci::{Digest, Host, MediaType, Reference};
use reqwest::Method;
use reqwest::header::{self, HeaderValue};
use url::Url;

use crate::attempts::Attempts;
use crate::contact::ContactKey;
use crate::error::{Error, Wanted};
use crate::limits::Limits;
use crate::login::Target;
use crate::request::Ask;
use crate::session::Session;
use crate::sources::Source;

/// What is to be done in a repository: decides the scope of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read.
    Pull,
    /// Read and write.
    Push,
}

/// A path at a host, for one session. Cheap to clone.
#[derive(Clone)]
pub struct Repository(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    session: Session,
    host: Host,
    /// Empty for the registry as a whole.
    path: String,
    reference: Option<Reference>,
    insecure: bool,
    plain: bool,
    access: Access,
    has_next: bool,
    /// Used in place of what the caller would find.
    login: Option<Known>,
    /// Told to the source with each request for a manifest or blob.
    namespace: Option<Host>,
}

impl Repository {
    pub(crate) fn new(session: &Session, source: &Source, access: Access, has_next: bool) -> Self {
        Self(Arc::new(Inner {
            session: session.clone(),
            host: source.reference.host().clone(),
            path: source.reference.path().to_owned(),
            reference: Some(source.reference.clone()),
            insecure: source.insecure,
            plain: source.no_https,
            access,
            has_next,
            login: None,
            namespace: source.namespace.clone(),
        }))
    }

    /// The same for another session.
    pub(crate) fn of_session(&self, session: &Session) -> Self {
        if self.0.session.is(session) {
            return self.clone();
        }
        Self(Arc::new(Inner { session: session.clone(), ..Inner::clone(&self.0) }))
    }

    /// The registry as a whole, or what is below `path`, as seen with this login.
    pub(crate) fn for_login(session: &Session, target: &Target, login: Known) -> Self {
        Self(Arc::new(Inner {
            session: session.clone(),
            host: target.host.clone(),
            path: target.path.clone().unwrap_or_default(),
            reference: None,
            insecure: target.insecure,
            plain: target.no_https,
            access: Access::Pull,
            has_next: false,
            login: Some(login),
            namespace: None,
        }))
    }

    /// A host that is asked for a file, for nobody.
    pub(crate) fn of_host(session: &Session, host: Host, insecure: bool) -> Self {
        Self(Arc::new(Inner {
            session: session.clone(),
            host,
            path: String::new(),
            reference: None,
            insecure,
            plain: false,
            access: Access::Pull,
            has_next: false,
            login: None,
            namespace: None,
        }))
    }

    /// Returns the host as written.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.0.host
    }

    /// Returns `host/path`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.0.host, self.0.path)
    }

    /// `path:tag` or `path@digest`, for messages.
    pub(crate) fn selected(&self, selector: &str) -> String {
        let mark = if selector.contains(':') { '@' } else { ':' };
        format!("{}{mark}{selector}", self.path())
    }

    pub(crate) async fn manifest_ask(
        &self,
        method: Method,
        selector: &str,
    ) -> Result<Ask<'static>, Error> {
        let contact = self.contact().await?;
        let path = format!("/v2/{}/manifests/{selector}", self.path());
        let url = self.told(contact.endpoint.url(&path)?);
        let name = self.selected(selector);
        let accepted: Vec<&str> = ACCEPTED_MANIFESTS.iter().map(MediaType::as_str).collect();
        let ask = Ask::new(method, url, Wanted::Manifest, name, self.header_time());
        Ok(match HeaderValue::from_str(&accepted.join(", ")) {
            Ok(accepted) => ask.with_header(header::ACCEPT, accepted),
            Err(_) => ask,
        })
    }

    /// Adds the registry that the user named, for a mirror that wants to know it.
    fn told(&self, mut url: Url) -> Url {
        if let Some(namespace) = &self.0.namespace {
            url.query_pairs_mut().append_pair("ns", namespace.as_str());
        }
        url
    }

    pub(crate) async fn blob_ask(
        &self,
        method: Method,
        digest: &Digest,
    ) -> Result<Ask<'static>, Error> {
        let contact = self.contact().await?;
        let path = format!("/v2/{}/blobs/{digest}", self.path());
        let url = self.told(contact.endpoint.url(&path)?);
        let name = format!("{}@{digest}", self.path());
        let identity = HeaderValue::from_static("identity");
        Ok(Ask::new(method, url, Wanted::Blob, name, self.header_time())
            .with_header(header::ACCEPT_ENCODING, identity))
    }

    pub(crate) fn session(&self) -> &Session {
        &self.0.session
    }

    pub(crate) fn limits(&self) -> &Limits {
        self.0.session.limits()
    }

    pub(crate) fn path(&self) -> &str {
        &self.0.path
    }

    pub(crate) fn reference(&self) -> Option<&Reference> {
        self.0.reference.as_ref()
    }

    pub(crate) fn access(&self) -> Access {
        self.0.access
    }

    pub(crate) fn is_insecure(&self) -> bool {
        self.0.insecure
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.0.plain
    }

    pub(crate) fn contact_key(&self) -> ContactKey {
        ContactKey {
            host: self.host().clone(),
            insecure: self.0.insecure,
            no_https: self.0.plain,
            surroundings: self.session().surroundings().clone(),
        }
    }

    pub(crate) async fn known(&self) -> Result<Option<Known>, Error> {
        match &self.0.login {
            Some(login) => Ok(Some(login.clone())),
            None => self.session().credential(self.host(), self.path()).await,
        }
    }

    /// Says whether another source is asked when this one fails.
    pub(crate) fn has_next(&self) -> bool {
        self.0.has_next
    }

    /// A source with another one behind it has one try.
    pub(crate) fn tries(&self) -> u32 {
        if self.0.has_next { 1 } else { self.limits().tries }
    }

    pub(crate) fn attempts(&self) -> Attempts {
        Attempts::new(self.tries())
    }

    pub(crate) fn header_time(&self) -> Duration {
        let limits = self.limits();
        if self.0.has_next { limits.header_time_mirror } else { limits.header_time }
    }

    pub(crate) fn connect_time(&self) -> Duration {
        let limits = self.limits();
        if self.0.has_next { limits.connect_time_mirror } else { limits.connect_time }
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Repository").field(&self.name()).finish()
    }
}
