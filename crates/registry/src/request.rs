//! Requests: from something asked to an answer that can be used.
//!
//! The layers, from the inside: one exchange with its time limits; redirects; authorization, which
//! meets a challenge and renews a token once; the loop of tries with the one delay of this crate.
//! How a host is contacted is found once by a ping and kept. Rules: `registry.md` §1.5, §2.1, §5,
//! §8.2. Not here: what the answer holds ([`crate::repository`], [`crate::fetch`]).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use orlop_credentials::Credential;
use orlop_credentials::precedence::Known;
use orlop_oci::Host;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Method, Response};
use tokio::time::Instant;
use url::Url;

use crate::address::{Class, Rule};
use crate::challenge::{self, Challenge};
use crate::connect::{self, ClientKey};
use crate::endpoint::{Endpoint, Scheme};
use crate::error::{BoxError, Error, Wanted};
use crate::limits::Limits;
use crate::message::{self, Words};
use crate::notice::Notice;
use crate::realm::{self, Namer};
use crate::redirect::{self, NoHop};
use crate::repository::Repository;
use crate::retry::{self, Decision};
use crate::session::Session;
use crate::surroundings::Surroundings;
use crate::text;
use crate::tls::{Checks, HostCertificates};
use crate::token::{self, Asked, Granted, Token, TokenKey};
use crate::upload::Payload;

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
    pub(crate) const fn namer(&self) -> Namer {
        Namer { class: self.class, allows_http: self.allows_http }
    }
}

/// Something to ask.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) wanted: Wanted,
    /// Path and tag or digest, for messages.
    pub(crate) name: String,
    pub(crate) payload: Payload<'a>,
    /// From sending to the end of the answer's header.
    pub(crate) time: Duration,
}

/// An answer whose status is a success, or one that the asker reads itself.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response,
    /// Who answered, after redirects.
    pub(crate) endpoint: Endpoint,
    /// Whether that is the registry itself, with no other place in between.
    pub(crate) is_origin: bool,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The only value of a header, `None` for none and for several.
    pub(crate) fn header(&self, name: &header::HeaderName) -> Option<&[u8]> {
        let mut values = self.response.headers().get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Some(value.as_bytes()),
            _ => None,
        }
    }

    pub(crate) fn text_header(&self, name: &header::HeaderName) -> Option<&str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Reads a body that has to be whole in memory.
    pub(crate) async fn whole(
        self,
        key: &'static str,
        limit: u64,
        limits: &Limits,
    ) -> Result<Bytes, Error> {
        let endpoint = self.endpoint;
        if self.response.content_length().is_some_and(|length| length > limit) {
            return Err(Error::Limit { endpoint, key, limit });
        }
        let mut body = Body::new(self.response);
        let mut bytes = BytesMut::new();
        loop {
            let at = length(bytes.len());
            match body.chunk(limits).await {
                Ok(Some(chunk)) if at.saturating_add(length(chunk.len())) > limit => {
                    return Err(Error::Limit { endpoint, key, limit });
                }
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => return Ok(bytes.freeze()),
                Err(cause) => return Err(Error::Broken { endpoint, at, cause }),
            }
        }
    }
}

pub(crate) fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// A body that comes in pieces, and the rule on silence: less than so many bytes in so much time
/// of waiting. Time in which nobody asks for bytes does not count.
#[derive(Debug)]
pub(crate) struct Body {
    response: Response,
    waited: Duration,
    got: u64,
}

impl Body {
    pub(crate) const fn new(response: Response) -> Self {
        Self { response, waited: Duration::ZERO, got: 0 }
    }

    pub(crate) async fn chunk(&mut self, limits: &Limits) -> Result<Option<Bytes>, BoxError> {
        let began = Instant::now();
        let left = limits.stall_time.saturating_sub(self.waited);
        let chunk = match tokio::time::timeout(left, self.response.chunk()).await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(cause)) => return Err(cause.without_url().into()),
            Err(elapsed) => return Err(elapsed.into()),
        };
        self.waited = self.waited.saturating_add(began.elapsed());
        self.got = self.got.saturating_add(chunk.as_ref().map_or(0, |chunk| length(chunk.len())));
        if self.got >= limits.stall_bytes {
            self.got = 0;
            self.waited = Duration::ZERO;
        }
        Ok(chunk)
    }
}

/// Counts the tries for one object at one source and waits between them.
#[derive(Debug)]
pub(crate) struct Attempts {
    most: u32,
    failed: u32,
}

impl Attempts {
    pub(crate) const fn new(most: u32) -> Self {
        Self { most, failed: 0 }
    }

    /// What broke had brought enough that its next failure counts as the first.
    pub(crate) const fn progressed(&mut self) {
        self.failed = 0;
    }

    /// Waits for the next try.
    ///
    /// # Errors
    /// `error` itself when there is none.
    pub(crate) async fn again(&mut self, session: &Session, error: Error) -> Result<(), Error> {
        self.failed = self.failed.saturating_add(1);
        let shared = session.shared();
        let chance = shared.clock.chance();
        match retry::decide(&error, self.failed, self.most, chance, &shared.limits) {
            Decision::GiveUp => Err(error),
            Decision::After(delay) => {
                tracing::debug!(%error, failed = self.failed, ?delay, "trying again");
                if let Error::Limited { endpoint, .. } = error {
                    session.tell(Notice::Waiting { endpoint, delay });
                }
                pause(delay).await;
                Ok(())
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one delay of the crate")]
async fn pause(delay: Duration) {
    tokio::time::sleep(delay).await;
}

/// How a request proves who asks.
#[derive(Clone, Debug)]
pub(crate) enum Grant {
    /// Not at all.
    Nobody,
    /// With something that is the same each time.
    Fixed(HeaderValue),
    /// With a token, which may have to be renewed.
    Token(HeaderValue),
}

impl Grant {
    const fn header(&self) -> Option<&HeaderValue> {
        match self {
            Self::Nobody => None,
            Self::Fixed(header) | Self::Token(header) => Some(header),
        }
    }
}

impl Repository {
    /// Asks until there is an answer or no try is left.
    pub(crate) async fn ask(&self, ask: &Ask<'_>) -> Result<Answer, Error> {
        let mut attempts = self.attempts();
        loop {
            match self.ask_once(ask).await {
                Ok(answer) => return Ok(answer),
                Err(error) => attempts.again(self.session(), error).await?,
            }
        }
    }

    /// Asks until there is a whole body or no try is left; the header fields are of the same try.
    pub(crate) async fn ask_whole(
        &self,
        ask: &Ask<'_>,
        key: &'static str,
        limit: u64,
    ) -> Result<(HeaderMap, Endpoint, Bytes), Error> {
        let mut attempts = self.attempts();
        loop {
            let outcome = match self.ask_once(ask).await {
                Ok(answer) => {
                    let headers = answer.response.headers().clone();
                    let endpoint = answer.endpoint.clone();
                    let whole = answer.whole(key, limit, self.limits()).await;
                    whole.map(|bytes| (headers, endpoint, bytes))
                }
                Err(error) => Err(error),
            };
            match outcome {
                Ok(whole) => return Ok(whole),
                Err(error) => attempts.again(self.session(), error).await?,
            }
        }
    }

    /// Asks once, with authorization and redirects; anything but a success is an error.
    pub(crate) async fn ask_once(&self, ask: &Ask<'_>) -> Result<Answer, Error> {
        let answer = self.authorized(ask).await;
        if let Err(Error::Unreachable { .. }) = &answer {
            self.session().shared().contacts.set(self.contact_key(), None);
        }
        let answer = answer?;
        if answer.response.status().is_success() {
            self.note(&answer);
            return Ok(answer);
        }
        Err(self.explain(answer, ask.wanted, &ask.name).await)
    }

    async fn authorized(&self, ask: &Ask<'_>) -> Result<Answer, Error> {
        let contact = self.contact().await?;
        // An upload's place may be at another host: nothing of this one's goes there (R120).
        if Endpoint::of(&ask.url).as_ref() != Some(&contact.endpoint) {
            let answer = self.follow(&contact, ask, None).await?;
            return Ok(Answer { is_origin: false, ..answer });
        }
        let mut grant = self.grant(&contact, &contact.challenges, None).await?;
        let answer = self.follow(&contact, ask, grant.header()).await?;
        // 401 of a place that the registry sent Orlop to is no challenge to Orlop.
        if answer.status() != 401 || !answer.is_origin {
            return Ok(answer);
        }
        let challenges = challenges(answer.response.headers());
        grant = match grant {
            Grant::Fixed(_) => return Ok(answer),
            Grant::Nobody => {
                let grant = self.grant(&contact, &challenges, None).await?;
                if let Grant::Nobody = grant {
                    return Ok(answer);
                }
                self.remember(&contact, &challenges);
                grant
            }
            Grant::Token(refused) => {
                let known = if challenges.is_empty() { &contact.challenges } else { &challenges };
                self.grant(&contact, known, Some(&refused)).await?
            }
        };
        drop(answer);
        self.follow(&contact, ask, grant.header()).await
    }

    /// Keeps the challenges of a registry whose ping gave none.
    fn remember(&self, contact: &Contact, challenges: &[Challenge]) {
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

    /// Meets a challenge with what the caller has; `refused` is a token that was no good.
    async fn grant(
        &self,
        contact: &Contact,
        challenges: &[Challenge],
        refused: Option<&HeaderValue>,
    ) -> Result<Grant, Error> {
        if challenges.is_empty() {
            return Ok(Grant::Nobody);
        }
        let known = self.known().await?;
        let credential = known.as_ref().map(|known| &known.credential);
        if let Some(Credential::RegistryToken(secret)) = credential {
            return Ok(token::bearer(secret.expose()).map_or(Grant::Nobody, Grant::Fixed));
        }
        match challenge::choose(challenges) {
            None => Err(no_challenge(contact, challenges)),
            Some(challenge::Method::Basic) => {
                let header = credential.and_then(token::basic);
                Ok(header.map_or(Grant::Nobody, Grant::Fixed))
            }
            Some(challenge::Method::Bearer { realm, service, scope }) => {
                let url = check_realm(&realm, contact)?;
                let key = TokenKey {
                    realm,
                    service,
                    host: self.host().to_string(),
                    identity: token::identity(credential),
                    scopes: token::scopes(scope.as_deref(), self.path(), self.access()),
                };
                let is_good = |token: &Token| token.is_good() && refused != Some(&token.header);
                let tokens = &self.session().shared().tokens;
                let asked = key.clone();
                let known = known.as_ref();
                let token = tokens
                    .get(key, is_good, || async move {
                        let asked = Asked {
                            service: asked.service.as_deref(),
                            scopes: &asked.scopes,
                            wants_refresh: false,
                        };
                        let granted = self.fetch_token(contact, &url, asked, known).await?;
                        let endpoint = contact.endpoint.clone();
                        let unfit = Error::Token { endpoint, why: "its token cannot be sent" };
                        granted.into_token().ok_or(unfit)
                    })
                    .await?;
                Ok(Grant::Token(token.header))
            }
        }
    }

    /// Asks a token service, with tries.
    pub(crate) async fn fetch_token(
        &self,
        contact: &Contact,
        realm: &Url,
        asked: Asked<'_>,
        known: Option<&Known>,
    ) -> Result<Granted, Error> {
        let credential = known.map(|known| &known.credential);
        let mut form = match credential {
            Some(Credential::IdentityToken { secret, .. }) => Some(token::post_form(secret, asked)),
            _ => None,
        };
        let mut attempts = self.attempts();
        loop {
            let (ask, basic) = self.token_ask(realm, asked, credential, form.as_ref());
            match self.ask_token(contact, &ask, basic.as_ref(), known).await {
                Ok(granted) => return Ok(granted),
                // The service has no POST (R31): the same by GET.
                Err(Error::Failed { status: 400 | 404 | 405, .. } | Error::NotFound { .. })
                    if form.is_some() =>
                {
                    form = None;
                }
                Err(error) => attempts.again(self.session(), error).await?,
            }
        }
    }

    fn token_ask(
        &self,
        realm: &Url,
        asked: Asked<'_>,
        credential: Option<&Credential>,
        form: Option<&Bytes>,
    ) -> (Ask<'static>, Option<HeaderValue>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let (method, url, payload, basic) = match form {
            Some(form) => {
                let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
                headers.insert(header::CONTENT_TYPE, kind);
                (Method::POST, realm.clone(), Payload::Bytes(form.clone()), None)
            }
            None => {
                let username = credential.and_then(Credential::username);
                let url = token::get_url(realm, asked, username);
                (Method::GET, url, Payload::Empty, credential.and_then(token::basic))
            }
        };
        let wanted = Wanted::Token;
        let time = self.limits().header_time;
        let ask = Ask { method, url, headers, wanted, name: String::new(), payload, time };
        (ask, basic)
    }

    async fn ask_token(
        &self,
        contact: &Contact,
        ask: &Ask<'_>,
        basic: Option<&HeaderValue>,
        known: Option<&Known>,
    ) -> Result<Granted, Error> {
        let answer = self.follow(contact, ask, basic).await.map_err(|error| match error {
            // The first hop is the realm itself.
            Error::Redirect { why, endpoint }
                if Endpoint::of(&ask.url) == Some(endpoint.clone()) =>
            {
                if why == PRIVATE {
                    Error::Realm { endpoint, realm: shown_url(&ask.url), why }
                } else {
                    Error::Redirect { endpoint, why }
                }
            }
            other => other,
        })?;
        let endpoint = answer.endpoint.clone();
        match answer.status() {
            200..=299 => {}
            status @ (401 | 403) => {
                let words = self.words(answer).await;
                let (who, message) = (who(known), words.ending());
                return Err(Error::Refused { endpoint, status, who, message });
            }
            _ => return Err(self.explain(answer, Wanted::Token, "").await),
        }
        let body = answer.whole("token-bytes", self.limits().token_bytes, self.limits()).await?;
        Granted::read(&body).map_err(|why| Error::Token { endpoint, why })
    }

    /// Sends a request and follows its redirects. Credentials go to the origin of `ask.url` alone.
    pub(crate) async fn follow(
        &self,
        contact: &Contact,
        ask: &Ask<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Error> {
        let origin = Endpoint::of(&ask.url)
            .ok_or_else(|| Error::NoHost { host: ask.url.host_str().unwrap_or_default().into() })?;
        let follows = matches!(ask.method, Method::GET | Method::HEAD);
        let mut url = ask.url.clone();
        let mut is_origin = true;
        let mut hops = 0_usize;
        loop {
            let here = Endpoint::of(&url).unwrap_or_else(|| origin.clone());
            let authorization = authorization.filter(|_| is_origin);
            let response = self.exchange(contact, ask, &url, authorization).await?;
            let status = response.status().as_u16();
            let answer = Answer { response, endpoint: here.clone(), is_origin };
            if !redirect::is_redirect(status) {
                return Ok(answer);
            }
            let refused = |why| Error::Redirect { endpoint: here.clone(), why };
            if hops >= redirect::HOPS {
                return Err(refused("there are more than ten of them in a row"));
            }
            let locations = answer.response.headers().get_all(header::LOCATION);
            let locations = locations.iter().map(HeaderValue::as_bytes);
            let next = match redirect::next(&url, locations, contact.namer()) {
                Ok(next) => next,
                Err(NoHop::Refused(why)) => return Err(refused(why)),
                Err(NoHop::Unusable) => {
                    return Err(self.explain(answer, ask.wanted, &ask.name).await);
                }
            };
            is_origin = is_origin && Endpoint::of(&next).as_ref() == Some(&origin);
            if !is_origin && ask.wanted == Wanted::Ping {
                return Err(refused("the registry API leads to another host"));
            }
            if !is_origin && !follows {
                return Err(refused("it leads a request with a body to another host"));
            }
            if !follows {
                return Err(refused("it answers a request with a body"));
            }
            url = next;
            hops = hops.saturating_add(1);
        }
    }

    /// One request and the header of its answer.
    async fn exchange(
        &self,
        contact: &Contact,
        ask: &Ask<'_>,
        url: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Error> {
        let surroundings = self.session().surroundings();
        let is_named = Endpoint::of(url).as_ref() == Some(&contact.endpoint);
        let key = ClientKey {
            proxies: surroundings.proxies().clone(),
            roots: surroundings.roots().clone(),
            certificates: contact.certificates.fingerprint.clone(),
            shows_pair: is_named,
            checks: contact.checks,
            rule: if is_named { Rule::Any } else { Rule::named_by(contact.class) },
            connect_time: self.connect_time(),
        };
        let proxy = surroundings.proxies().for_url(url)?;
        let client = self.session().shared().client(&key, &contact.certificates)?;
        let mut request =
            client.request(ask.method.clone(), url.clone()).headers(ask.headers.clone());
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        let request = ask.payload.put_into(request).await?;
        let endpoint = Endpoint::of(url).unwrap_or_else(|| contact.endpoint.clone());
        tracing::debug!(method = %ask.method, %endpoint, path = url.path(), "request");
        let sent = ask.payload.send_within(request, ask.time, self.limits()).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                return Err(match ask.payload.failure() {
                    Some(cause) => Error::Content { cause },
                    None => connect::classify(error, url, surroundings.proxies()),
                });
            }
            Err(elapsed) => {
                return Err(Error::Unreachable { endpoint, lasting: false, cause: elapsed.into() });
            }
        };
        if response.status().as_u16() == 407
            && let Some(proxy) = proxy
        {
            return Err(connect::proxy_failed(&proxy, endpoint, Some(407), None));
        }
        let bytes: usize = response
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len().saturating_add(value.len()))
            .fold(0, usize::saturating_add);
        let limit = self.limits().header_bytes;
        if length(bytes) > limit {
            return Err(Error::Limit { endpoint, key: "header-bytes", limit });
        }
        Ok(response)
    }

    /// Turns an answer that is no success into an error.
    pub(crate) async fn explain(&self, answer: Answer, wanted: Wanted, name: &str) -> Error {
        let status = answer.status();
        let endpoint = answer.endpoint.clone();
        let is_origin = answer.is_origin;
        let now = self.session().shared().clock.now();
        let retry_after =
            answer.header(&header::RETRY_AFTER).and_then(|value| retry::retry_after(value, now));
        let offered = challenges(answer.response.headers());
        let words = self.words(answer).await;
        let message = words.ending();
        match status {
            401 if is_origin && wanted != Wanted::Token && offered.is_empty() => {
                Error::Challenge { endpoint, offered: String::new() }
            }
            401 | 403 if is_origin => {
                let known = self.known().await.ok().flatten();
                Error::Refused { endpoint, status, who: who(known.as_ref()), message }
            }
            404 | 410 if matches!(wanted, Wanted::Manifest | Wanted::Blob) => {
                Error::NotFound { endpoint, wanted, name: name.to_owned() }
            }
            429 => {
                let is_quota = words.is_quota() && retry_after.is_none();
                Error::Limited { endpoint, status, retry_after, is_quota, message }
            }
            503 if retry_after.is_some() => {
                Error::Limited { endpoint, status, retry_after, is_quota: false, message }
            }
            400..=499 if wanted == Wanted::Upload && !matches!(status, 408 | 499) => {
                let is_unknown = status == 404 || words.has_code("BLOB_UPLOAD_UNKNOWN");
                let is_digest = words.has_code("DIGEST_INVALID");
                if is_unknown || is_digest {
                    Error::Failed { endpoint, wanted, status, message }
                } else {
                    Error::Upload { endpoint, status: format!(" with {status}"), message }
                }
            }
            _ => Error::Failed { endpoint, wanted, status, message },
        }
    }

    async fn words(&self, answer: Answer) -> Words {
        let limits = self.limits();
        let most = usize::try_from(limits.error_bytes).unwrap_or(usize::MAX);
        let mut body = Body::new(answer.response);
        let mut bytes = Vec::new();
        let reading = async {
            while let Ok(Some(chunk)) = body.chunk(limits).await {
                let left = most.saturating_sub(bytes.len());
                bytes.extend_from_slice(chunk.get(..left.min(chunk.len())).unwrap_or_default());
                if bytes.len() >= most {
                    return;
                }
            }
        };
        // A body that does not come says nothing, and what came of it says enough.
        let _ = tokio::time::timeout(limits.header_time, reading).await;
        Words::read(&bytes)
    }

    /// Passes on what a header tells the user.
    fn note(&self, answer: &Answer) {
        let headers = answer.response.headers();
        for value in headers.get_all(header::WARNING) {
            self.session().warn(&answer.endpoint, value.as_bytes());
        }
        let quota =
            |name: &str| headers.get(name).and_then(|value| message::quota(value.as_bytes()));
        if let (Some(limit), Some(remaining)) =
            (quota("ratelimit-limit"), quota("ratelimit-remaining"))
            && remaining.saturating_mul(10) < limit
        {
            let endpoint = answer.endpoint.clone();
            self.session().tell_of_host(Notice::Quota { endpoint, remaining, limit });
        }
    }

    /// Returns how the host is contacted, and says so once where it is not as safe as it could be.
    pub(crate) async fn contact(&self) -> Result<Contact, Error> {
        let is_fresh = |contact: &Contact| contact.since.elapsed() < CONTACT_TIME;
        let contacts = &self.session().shared().contacts;
        let contact = contacts.get(self.contact_key(), is_fresh, || self.find_contact()).await?;
        let host = self.host().to_string();
        // Who asked for plain http knows.
        if contact.endpoint.scheme() == Scheme::Http && !self.is_plain() {
            self.session().tell_of_host(Notice::PlainHttp { host });
        } else if contact.checks == Checks::None {
            self.session().tell_of_host(Notice::Unverified { host });
        }
        Ok(contact)
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
            let tries = if is_last { self.tries() } else { 1 };
            match self.ping(contact, tries).await {
                Ok(contact) => return Ok(contact),
                Err(error @ (Error::Unreachable { .. } | Error::Tls { .. })) if !is_last => {
                    first = Some(error);
                }
                // Nobody speaks plain http there: what https said is the better error.
                Err(error @ (Error::Unreachable { .. } | Error::Unusable { .. })) => {
                    return Err(first.unwrap_or(error));
                }
                Err(error @ Error::NotARegistry { .. }) => {
                    return Err(match first {
                        Some(certificate @ Error::Tls { .. }) => certificate,
                        _ => error,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Err(first.unwrap_or_else(|| Error::NoHost { host: self.host().to_string() }))
    }

    async fn ping(&self, contact: Contact, tries: u32) -> Result<Contact, Error> {
        let url = contact.endpoint.url("/v2/")?;
        let wanted = Wanted::Ping;
        let ask = Ask::new(Method::GET, url, wanted, String::new(), self.header_time());
        let mut attempts = Attempts::new(tries);
        loop {
            let error = match self.follow(&contact, &ask, None).await {
                Ok(answer) if matches!(answer.status(), 200 | 401) => {
                    return self.met(contact, &answer);
                }
                Ok(answer) => self.explain_ping(answer).await,
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

/// The rule whose breach by a looked-up name is told of the realm instead of a redirect.
pub(crate) const PRIVATE: &str = "it leads into a private network";

impl<'a> Ask<'a> {
    pub(crate) fn new(
        method: Method,
        url: Url,
        wanted: Wanted,
        name: String,
        time: Duration,
    ) -> Self {
        Self { method, url, headers: HeaderMap::new(), wanted, name, payload: Payload::Empty, time }
    }

    pub(crate) fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn with_payload(self, payload: Payload<'a>) -> Self {
        Self { payload, ..self }
    }
}

pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let headers = headers.get_all(header::WWW_AUTHENTICATE);
    challenge::parse(headers.iter().map(HeaderValue::as_bytes))
}

/// How private a host is as far as its name tells.
fn class_of(endpoint: &Endpoint) -> Class {
    match endpoint.address() {
        Some(address) => Class::of(address),
        None if endpoint.host() == "localhost" => Class::Private,
        None => Class::Public,
    }
}

pub(crate) fn check_realm(realm: &str, contact: &Contact) -> Result<Url, Error> {
    realm::check(realm, contact.namer()).map_err(|why| Error::Realm {
        endpoint: contact.endpoint.clone(),
        realm: text::shown(realm, 256),
        why,
    })
}

fn shown_url(url: &Url) -> String {
    Endpoint::of(url).map(|endpoint| endpoint.to_string()).unwrap_or_default()
}

fn no_challenge(contact: &Contact, challenges: &[Challenge]) -> Error {
    let schemes: BTreeSet<String> =
        challenges.iter().map(|challenge| text::shown(&challenge.scheme, 64)).collect();
    let schemes: Vec<String> = schemes.into_iter().take(8).collect();
    let offered =
        if schemes.is_empty() { String::new() } else { format!(" (only: {})", schemes.join(", ")) };
    Error::Challenge { endpoint: contact.endpoint.clone(), offered }
}

/// Who was refused, for [`Error::Refused`].
pub(crate) fn who(known: Option<&Known>) -> String {
    match known {
        None => "without a login".to_owned(),
        Some(Known { credential, origin }) => {
            let user = match credential.username() {
                Some(name) => format!("to user {:?}", text::shown(name, 256)),
                None => "to a token".to_owned(),
            };
            format!("{user} (from {})", text::shown(origin, 1024))
        }
    }
}
