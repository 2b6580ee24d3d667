//! How a host is contacted: by which scheme, with which challenges, found once by a ping and kept.
//!
//! A contact is kept for ten minutes, and for as long as the host can be reached. Rules:
//! `registry.md` §1.5, §2.1. Not here: what is asked then ([`crate::request`]).

use std::sync::Arc;
use std::time::Duration;

use orlop_oci::Host;
use reqwest::Method;
use tokio::time::Instant;

use crate::address::Class;
use crate::answer::Answer;
use crate::challenge::{self, Challenge};
use crate::endpoint::{Endpoint, Scheme};
use crate::error::{Error, Wanted};
use crate::grant::{challenges, no_challenge};
use crate::notice::Notice;
use crate::realm::Namer;
use crate::repository::Repository;
use crate::request::Ask;
use crate::surroundings::Surroundings;
use crate::tls::{Checks, HostCertificates};

/// How long a host is taken to be contacted in the same way.
const CONTACT_TIME: Duration = Duration::from_secs(600);

/// Which host, by what means, for whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ContactKey {
    pub(crate) host: Host,
    pub(crate) insecure: bool,
    pub(crate) no_https: bool,
    pub(crate) surroundings: Surroundings,
}

/// How a host is contacted, as a ping found out.
#[derive(Clone, Debug)]
pub(crate) struct Contact {
    pub(crate) endpoint: Endpoint,
    pub(crate) challenges: Vec<Challenge>,
    pub(crate) class: Class,
    pub(crate) checks: Checks,
    pub(crate) certificates: Arc<HostCertificates>,
    /// Whether it may send Orlop to plain http.
    allows_http: bool,
    since: Instant,
}

impl Contact {
    /// The host of a URL that a user named, which is not pinged.
    pub(crate) fn of_url(
        endpoint: Endpoint,
        checks: Checks,
        certificates: Arc<HostCertificates>,
    ) -> Self {
        Self {
            class: class_of(&endpoint),
            allows_http: endpoint.scheme() == Scheme::Http,
            endpoint,
            challenges: Vec::new(),
            checks,
            certificates,
            since: Instant::now(),
        }
    }

    pub(crate) const fn namer(&self) -> Namer {
        Namer { class: self.class, allows_http: self.allows_http }
    }
}

impl Repository {
    /// Returns how the host is contacted, and says so once where it is not as safe as it could be.
    pub(crate) async fn contact(&self) -> Result<Contact, Error> {
        let is_fresh = |contact: &Contact| contact.since.elapsed() < CONTACT_TIME;
        let contacts = &self.session().shared().contacts;
        let contact = contacts.get(self.contact_key(), is_fresh, || self.find_contact()).await?;
        let host = self.host().to_string();
        // Who asked for plain http knows.
        if contact.endpoint.scheme() == Scheme::Http && !self.is_plain() {
            self.session().shared().note_plain(&host);
            self.session().tell_once(Notice::PlainHttp { host });
        } else if contact.checks == Checks::None {
            self.session().tell_once(Notice::Unverified { host });
        }
        Ok(contact)
    }

    /// Keeps the challenges of a registry whose ping gave none.
    pub(crate) fn remember(&self, contact: &Contact, challenges: &[Challenge]) {
        if contact.challenges.is_empty() {
            let challenges = challenges
                .iter()
                .map(|challenge| {
                    let mut challenge = challenge.clone();
                    challenge.parameters.remove("scope");
                    challenge
                })
                .collect();
            let contact = Contact { challenges, ..contact.clone() };
            self.session().shared().contacts.set(self.contact_key(), Some(contact));
        }
    }

    /// Pings by the schemes that are allowed for the host, in order.
    async fn find_contact(&self) -> Result<Contact, Error> {
        let certificates = self.session().surroundings().certificates(self.host())?;
        let certificates = Arc::new(HostCertificates::parse(&certificates)?);
        let checks = if self.is_insecure() { Checks::None } else { Checks::All };
        let schemes: &[Scheme] = if self.is_plain() {
            &[Scheme::Http]
        } else if self.is_insecure() || self.host().is_loopback() {
            &[Scheme::Https, Scheme::Http]
        } else {
            &[Scheme::Https]
        };
        let mut first: Option<Error> = None;
        for (index, &scheme) in schemes.iter().enumerate() {
            let is_last = index.saturating_add(1) == schemes.len();
            let endpoint = Endpoint::of_host(scheme, self.host())?;
            let contact = Contact {
                class: class_of(&endpoint),
                endpoint,
                challenges: Vec::new(),
                checks,
                certificates: Arc::clone(&certificates),
                allows_http: scheme == Scheme::Http || self.is_insecure(),
                since: Instant::now(),
            };
            match self.ping(contact, is_last).await {
                Ok(contact) => return Ok(contact),
                // A host that swallows connections swallows them by any scheme: a mirror costs its
                // limit once (R134).
                Err(error) if self.has_next() && timed_out(&error) => return Err(error),
                Err(error @ (Error::Unreachable { .. } | Error::Tls { .. })) if !is_last => {
                    first = Some(error);
                }
                // Nobody speaks plain http there: what https said is the better error. Where it was
                // spoken before, nobody is there at all.
                Err(error @ (Error::Unreachable { .. } | Error::Unusable { .. })) => {
                    let was_plain = self.session().shared().was_plain(&self.host().to_string());
                    let is_nobody = matches!(first, Some(Error::Unreachable { .. }));
                    return Err(first.filter(|_| !(was_plain && is_nobody)).unwrap_or(error));
                }
                Err(error @ Error::NotARegistry { .. }) => {
                    return Err(match first {
                        // TLS is spoken there: that plain http is not understood says nothing.
                        Some(
                            said @ (Error::Tls { .. } | Error::Unreachable { lasting: false, .. }),
                        ) => said,
                        _ => error,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Err(first.unwrap_or_else(|| Error::NoHost { host: self.host().to_string() }))
    }

    /// Asks until there is an answer; where there is another scheme to try, a host that cannot be
    /// reached by this one is asked once.
    async fn ping(&self, contact: Contact, is_last: bool) -> Result<Contact, Error> {
        let url = contact.endpoint.url("/v2/")?;
        let wanted = Wanted::Ping;
        let ask = Ask::new(Method::GET, url, wanted, String::new(), self.header_time());
        let mut attempts = self.attempts();
        loop {
            let error = match self.follow(&contact, &ask, None).await {
                Ok(answer) if matches!(answer.status(), 200 | 401) => {
                    return self.met(contact, &answer);
                }
                Ok(answer) => self.explain_ping(answer).await,
                Err(error @ (Error::Unreachable { .. } | Error::Tls { .. })) if !is_last => {
                    return Err(error);
                }
                Err(error) => error,
            };
            attempts.again(self.session(), error).await?;
        }
    }

    /// What a ping that was answered says.
    fn met(&self, contact: Contact, answer: &Answer) -> Result<Contact, Error> {
        let challenges = challenges(answer.response.headers());
        if answer.status() == 401 && challenge::choose(&challenges).is_none() {
            return Err(no_challenge(&contact, &challenges));
        }
        let is_direct = matches!(
            self.session().surroundings().proxies().for_url(answer.response.url()),
            Ok(None)
        );
        let class = match answer.response.remote_addr() {
            Some(address) if is_direct => Class::of(address.ip()),
            _ => contact.class,
        };
        Ok(Contact { challenges, class, ..contact })
    }

    async fn explain_ping(&self, answer: Answer) -> Error {
        let endpoint = answer.endpoint.clone();
        let status = answer.status();
        match self.explain(answer, Wanted::Ping, "").await {
            Error::Failed { status: 200..=299 | 400 | 404 | 405 | 410, .. } => {
                Error::NotARegistry { endpoint, what: format!("it answered {status}") }
            }
            other => other,
        }
    }
}

fn timed_out(error: &Error) -> bool {
    let Error::Unreachable { cause, .. } = error else { return false };
    let of_library = cause.downcast_ref::<reqwest::Error>();
    of_library.is_some_and(reqwest::Error::is_timeout) || cause.is::<tokio::time::error::Elapsed>()
}

/// How private a host is as far as its name tells.
fn class_of(endpoint: &Endpoint) -> Class {
    match endpoint.address() {
        Some(address) => Class::of(address),
        None if endpoint.host() == "localhost" => Class::Private,
        None => Class::Public,
    }
}
