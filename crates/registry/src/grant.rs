//! How a request proves who asks: a challenge is met with what the caller has.
//!
//! A token is asked for once and kept; one that is refused is renewed once. Rules: `registry.md`
//! §2. Not here: the forms of challenges and tokens ([`crate::challenge`], [`crate::token`]).

use std::collections::BTreeSet;

use bytes::Bytes;
use orlop_credentials::Credential;
use orlop_credentials::precedence::Known;
use reqwest::Method;
use reqwest::header::{self, HeaderMap, HeaderValue};
use url::Url;

use crate::challenge::{self, Challenge};
use crate::contact::Contact;
use crate::endpoint::Endpoint;
use crate::error::{Error, Wanted};
use crate::explain::who;
use crate::realm;
use crate::repository::Repository;
use crate::request::Ask;
use crate::text;
use crate::token::{self, Asked, Granted, Token, TokenKey};
use crate::upload::Payload;

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
    pub(crate) const fn header(&self) -> Option<&HeaderValue> {
        match self {
            Self::Nobody => None,
            Self::Fixed(header) | Self::Token(header) => Some(header),
        }
    }
}

impl Repository {
    /// Meets a challenge with what the caller has; `refused` is a token that was no good,
    /// `also_pulls` another repository that it has to be good for.
    pub(crate) async fn grant(
        &self,
        contact: &Contact,
        challenges: &[Challenge],
        refused: Option<&HeaderValue>,
        also_pulls: Option<&str>,
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
                let mut scopes = token::scopes(scope.as_deref(), self.path(), self.access());
                let also = also_pulls.map(|path| format!("repository:{path}:pull"));
                scopes.extend(also.filter(|also| !scopes.contains(also)));
                let key = TokenKey {
                    realm,
                    service,
                    host: self.host().to_string(),
                    identity: token::identity(credential),
                    scopes,
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
                        let now = self.session().shared().clock.now();
                        granted.into_token(now).ok_or(unfit)
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
        let name = String::new();
        let ask = Ask { method, url, headers, wanted, name, payload, also_pulls: None, time };
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
            // Directly or by a redirect: the realm leads where the registry may not (R20).
            Error::Redirect { why: realm::PRIVATE, .. } => Error::Realm {
                endpoint: contact.endpoint.clone(),
                realm: shown_url(&ask.url),
                why: realm::PRIVATE,
            },
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
}

pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let headers = headers.get_all(header::WWW_AUTHENTICATE);
    challenge::parse(headers.iter().map(HeaderValue::as_bytes))
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

pub(crate) fn no_challenge(contact: &Contact, challenges: &[Challenge]) -> Error {
    let schemes: BTreeSet<String> =
        challenges.iter().map(|challenge| text::shown(&challenge.scheme, 64)).collect();
    let schemes: Vec<String> = schemes.into_iter().take(8).collect();
    let offered =
        if schemes.is_empty() { String::new() } else { format!(" (only: {})", schemes.join(", ")) };
    Error::Challenge { endpoint: contact.endpoint.clone(), offered }
}
