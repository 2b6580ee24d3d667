//! Requests: from something asked to an answer that can be used.
//!
//! The layers, from the inside: one exchange with its time limits; redirects; authorization, which
//! meets a challenge and renews a token once; the loop of tries. Rules: `registry.md` §5, §8.2.
//! Not here: how a host is contacted ([`crate::contact`]), how a challenge is met
//! ([`crate::grant`]), what the answer holds ([`crate::repository`], [`crate::fetch`]).

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Method, Response};
use url::Url;

use crate::address::Rule;
use crate::answer::{Answer, length};
use crate::connect::{self, ClientKey};
use crate::connections;
use crate::contact::Contact;
use crate::endpoint::Endpoint;
use crate::error::{Error, Wanted};
use crate::explain::who;
use crate::grant::{Grant, challenges};
use crate::realm::{self, Namer};
use crate::redirect::{self, NoHop};
use crate::repository::Repository;
use crate::upload::Payload;

/// Something to ask.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) wanted: Wanted,
    /// Path and tag or digest, for messages.
    pub(crate) name: String,
    pub(crate) payload: Payload<'a>,
    /// Path of another repository from which it reads: tokens have to be good for that as well.
    pub(crate) also_pulls: Option<String>,
    /// From sending to the end of the answer's header.
    pub(crate) time: Duration,
}

impl<'a> Ask<'a> {
    pub(crate) fn new(
        method: Method,
        url: Url,
        wanted: Wanted,
        name: String,
        time: Duration,
    ) -> Self {
        let (headers, payload) = (HeaderMap::new(), Payload::Empty);
        Self { method, url, headers, wanted, name, payload, also_pulls: None, time }
    }

    pub(crate) fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn with_payload(self, payload: Payload<'a>) -> Self {
        Self { payload, ..self }
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
        let answer = self.ask_any(ask).await?;
        if answer.response.status().is_success() {
            self.note(&answer);
            return Ok(answer);
        }
        Err(self.explain(answer, ask.wanted, &ask.name).await)
    }

    /// Asks once, with authorization and redirects; the answer may have any status.
    pub(crate) async fn ask_any(&self, ask: &Ask<'_>) -> Result<Answer, Error> {
        let answer = self.authorized(ask).await;
        if let Err(Error::Unreachable { .. }) = &answer {
            self.session().shared().contacts.set(self.contact_key(), None);
        }
        answer
    }

    /// Asks a place that an image names for a foreign layer: without any login, and nowhere that
    /// the registry may not lead to. A refusal is final.
    pub(crate) async fn ask_elsewhere(
        &self,
        ask: &mut Ask<'_>,
        place: &Url,
    ) -> Result<Answer, Error> {
        let contact = self.contact().await?;
        let namer = Namer { allows_http: true, ..contact.namer() };
        let endpoint = contact.endpoint.clone();
        realm::check_url(place, namer).map_err(|why| Error::Redirect { endpoint, why })?;
        ask.url = place.clone();
        let answer = self.follow(&contact, ask, None).await?;
        match answer.status() {
            200..=299 => Ok(Answer { is_origin: false, ..answer }),
            status @ (401 | 403) => {
                let (endpoint, message) = (answer.endpoint, String::new());
                Err(Error::Refused { endpoint, status, who: who(None), message })
            }
            _ => Err(self.explain(answer, ask.wanted, &ask.name).await),
        }
    }

    async fn authorized(&self, ask: &Ask<'_>) -> Result<Answer, Error> {
        let contact = self.contact().await?;
        // An upload's place may be at another host: nothing of this one's goes there (R120).
        if Endpoint::of(&ask.url).as_ref() != Some(&contact.endpoint) {
            let answer = self.follow(&contact, ask, None).await?;
            return Ok(Answer { is_origin: false, ..answer });
        }
        let also = ask.also_pulls.as_deref();
        let mut grant = self.grant(&contact, &contact.challenges, None, also).await?;
        let answer = self.follow(&contact, ask, grant.header()).await?;
        // 401 of a place that the registry sent Orlop to is no challenge to Orlop.
        if answer.status() != 401 || !answer.is_origin {
            return Ok(answer);
        }
        let challenges = challenges(answer.response.headers());
        grant = match grant {
            Grant::Fixed(_) => return Ok(answer),
            Grant::Nobody => {
                let grant = self.grant(&contact, &challenges, None, also).await?;
                if let Grant::Nobody = grant {
                    return Ok(answer);
                }
                self.remember(&contact, &challenges);
                grant
            }
            Grant::Token(refused) => {
                let known = if challenges.is_empty() { &contact.challenges } else { &challenges };
                self.grant(&contact, known, Some(&refused), also).await?
            }
        };
        drop(answer);
        self.follow(&contact, ask, grant.header()).await
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
        let proxy = surroundings.proxies().for_url(url)?;
        let key = self.client_key(contact, url);
        let client = self.session().shared().client(&key, &contact.certificates)?;
        let endpoint = Endpoint::of(url).unwrap_or_else(|| contact.endpoint.clone());
        let mut is_again = false;
        let sent = loop {
            let mut request =
                client.http.request(ask.method.clone(), url.clone()).headers(ask.headers.clone());
            if let Some(authorization) = authorization {
                request = request.header(header::AUTHORIZATION, authorization.clone());
            }
            let request = ask.payload.put_into(request).await?;
            tracing::debug!(method = %ask.method, %endpoint, path = url.path(), "request");
            let began = Instant::now();
            let sent = ask.payload.send_within(request, ask.time, self.limits()).await;
            let is_free = matches!(&sent, Ok(Err(error)) if connections::is_untouched(error)
                || client.connections.had(error, began));
            if !is_free || is_again || !matches!(ask.payload, Payload::Empty) {
                break sent;
            }
            // Nothing was done about it on a connection that was there already (R108, R111).
            is_again = true;
        };
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
        self.check_header(&response, endpoint)?;
        Ok(response)
    }

    /// The client that speaks to this place: as strict as its host's rules and this session are.
    fn client_key(&self, contact: &Contact, url: &Url) -> ClientKey {
        let surroundings = self.session().surroundings();
        let is_named = Endpoint::of(url).as_ref() == Some(&contact.endpoint);
        ClientKey {
            proxies: surroundings.proxies().clone(),
            roots: surroundings.roots().clone(),
            certificates: contact.certificates.fingerprint.clone(),
            shows_pair: is_named,
            checks: contact.checks,
            rule: if is_named { Rule::Any } else { Rule::named_by(contact.class) },
            connect_time: self.connect_time(),
            header_bytes: self.limits().header_bytes,
        }
    }

    /// Fails where all header fields together are more than the limit.
    fn check_header(&self, response: &Response, endpoint: Endpoint) -> Result<(), Error> {
        let bytes: usize = response
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len().saturating_add(value.len()))
            .fold(0, usize::saturating_add);
        let limit = self.limits().header_bytes;
        if length(bytes) > limit {
            return Err(Error::Limit { endpoint, key: "header-bytes", limit });
        }
        Ok(())
    }
}
