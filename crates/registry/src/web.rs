//! A file at a URL: asked for without a ping and without a registry's credentials, resumed where
//! its body broke.
//!
//! Rules for redirects, TLS, proxies, silence and retries are those of registries. Nothing is known
//! of the bytes but what the answer says: the length it names has to come, and a body that broke is
//! gone on with only if it is still the same file, told by a strong `ETag` or the date of its last
//! change (RFC 9110, sections 8.8 and 13.1.5). A user and password in the URL go to its own origin
//! as Basic credentials. Case R118. Not here: what the bytes are.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Buf as _, Bytes};
use orlop_oci::Host;
use reqwest::Method;
use reqwest::header::{self, HeaderValue};
use url::Url;

use crate::answer::{Answer, Body, length};
use crate::attempts::Attempts;
use crate::contact::Contact;
use crate::documents::refuse_encoding;
use crate::endpoint::Endpoint;
use crate::error::{Error, Wanted};
use crate::notice::Notice;
use crate::range::ContentRange;
use crate::repository::Repository;
use crate::request::Ask;
use crate::session::Session;
use crate::text;
use crate::tls::{Checks, HostCertificates};

/// A file at a URL, for one session.
pub struct WebFile {
    repository: Repository,
    contact: Contact,
    url: Url,
    authorization: Option<HeaderValue>,
}

/// What tells a file from a later one at the same URL.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Validator(HeaderValue);

/// The bytes of a file as they come.
pub struct WebStream {
    file: WebFile,
    attempts: Attempts,
    body: Option<Body>,
    endpoint: Endpoint,
    validator: Option<Validator>,
    size: Option<u64>,
    /// Bytes given out.
    at: u64,
    /// Bytes of the open body that were given out before.
    skip: u64,
    /// Bytes since the last failure.
    progress: u64,
    is_done: bool,
}

impl Session {
    /// Returns the file at an `http` or `https` URL. With `insecure` certificates are not checked.
    ///
    /// # Errors
    /// [`Error::NoHost`] for a URL that names no host; what is wrong with certificate files.
    pub fn web_file(&self, url: &str, insecure: bool) -> Result<WebFile, Error> {
        let no_host = || Error::NoHost { host: hidden(url) };
        let mut url = Url::parse(url).map_err(|_| Error::NoHost { host: hidden(url) })?;
        let authorization = authorization(&url);
        url.set_fragment(None);
        if url.set_username("").and_then(|()| url.set_password(None)).is_err() {
            return Err(Error::NoHost { host: hidden(url.as_str()) });
        }
        let endpoint = Endpoint::of(&url).ok_or_else(no_host)?;
        let shown = match url.port() {
            Some(port) => format!("{}:{port}", endpoint.host()),
            None => endpoint.host().to_owned(),
        };
        let host: Host = shown.parse().map_err(|_| Error::NoHost { host: shown })?;
        let certificates = self.surroundings().certificates(&host)?;
        let certificates = Arc::new(HostCertificates::parse(&certificates)?);
        let checks = if insecure { Checks::None } else { Checks::All };
        if insecure && url.scheme() == "https" {
            self.tell_once(Notice::Unverified { host: host.to_string() });
        }
        let contact = Contact::of_url(endpoint, checks, certificates);
        let repository = Repository::of_host(self, host, insecure);
        Ok(WebFile { repository, contact, url, authorization })
    }
}

/// A text that may be a URL, without what may be a secret in one: user, password and query.
fn hidden(text: &str) -> String {
    let shown = text.split(['?', '#']).next().unwrap_or_default();
    text::shown(shown.rsplit('@').next().unwrap_or_default(), 256)
}

fn authorization(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair = unescaped(url.username());
    pair.push(b':');
    pair.extend(unescaped(url.password().unwrap_or_default()));
    let mut value =
        HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Undoes `%41`; what is no such escape stays.
fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|_| first == b'%') {
            Some(byte) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}

impl WebFile {
    /// The URL without user, password, query and fragment: for messages.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{}{}", self.contact.endpoint, text::shown(self.url.path(), 1024))
    }

    /// Asks for the file; tries again as for a blob.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Redirect`] and all that keeps an answer from coming.
    pub async fn open(self) -> Result<WebStream, Error> {
        let mut attempts = self.repository.attempts();
        let answer = loop {
            match self.ask(None).await {
                Ok(answer) => break answer,
                Err(error) => attempts.again(self.repository.session(), error).await?,
            }
        };
        let size = answer.response.content_length();
        let validator = Validator::of(&answer);
        let endpoint = answer.endpoint.clone();
        Ok(WebStream {
            attempts: self.repository.attempts(),
            file: self,
            body: Some(Body::new(answer.response)),
            endpoint,
            validator,
            size,
            at: 0,
            skip: 0,
            progress: 0,
            is_done: false,
        })
    }

    /// Asks once, for what follows `from` if the file is still the one of the validator.
    async fn ask(&self, from: Option<(u64, &Validator)>) -> Result<Answer, Error> {
        let time = self.repository.header_time();
        let name = text::shown(self.url.path(), 1024);
        let mut ask = Ask::new(Method::GET, self.url.clone(), Wanted::File, name, time)
            .with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some((offset, validator)) = from
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={offset}-"))
        {
            ask = ask
                .with_header(header::RANGE, range)
                .with_header(header::IF_RANGE, validator.0.clone());
        }
        let answer = self.repository.follow(&self.contact, &ask, self.authorization.as_ref());
        let answer = answer.await?;
        if !matches!(answer.status(), 200 | 206) {
            return Err(self.repository.explain(answer, Wanted::File, &ask.name).await);
        }
        refuse_encoding(answer.response.headers(), &answer.endpoint)?;
        if answer.status() == 206 && from.is_none() {
            let what = "a part of the file that was not asked for".to_owned();
            return Err(Error::Unusable { endpoint: answer.endpoint, what });
        }
        Ok(answer)
    }
}

impl Validator {
    /// A weak tag says only that the file means the same.
    fn of(answer: &Answer) -> Option<Self> {
        let tag = answer.header(&header::ETAG).filter(|tag| tag.starts_with(b"\""));
        let value = tag.or_else(|| answer.header(&header::LAST_MODIFIED))?;
        HeaderValue::from_bytes(value).ok().map(Self)
    }
}

impl WebStream {
    /// Bytes of the file, where the server says.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        self.size
    }

    /// What tells this file from a later one at the same URL, where the server says.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        let Validator(value) = self.validator.as_ref()?;
        Some(text::shown_bytes(value.as_bytes(), 1024))
    }

    /// Returns the next bytes, `None` once all have come.
    ///
    /// # Errors
    /// [`Error::Broken`] when the rest cannot be had; [`Error::Length`] when another number of
    /// bytes came than was announced. Nothing more comes then.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        while !self.is_done {
            let error = match self.step().await {
                Ok(Some(bytes)) => return Some(Ok(bytes)),
                Ok(None) => continue,
                Err(error) => error,
            };
            self.body = None;
            if let Err(error) = self.recover(error).await {
                self.is_done = true;
                return Some(Err(error));
            }
        }
        None
    }

    async fn step(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(body) = &mut self.body else {
            self.resume().await?;
            return Ok(None);
        };
        let (endpoint, at) = (self.endpoint.clone(), self.at);
        let broken = |cause| Error::Broken { endpoint, at, cause };
        let mut bytes = match body.chunk(self.file.repository.limits()).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) if self.size.is_none_or(|size| size == at) => {
                self.is_done = true;
                return Ok(None);
            }
            Ok(None) => return Err(broken("the connection ended before the file did".into())),
            Err(cause) => return Err(broken(cause)),
        };
        let dropped = self.skip.min(length(bytes.len()));
        self.skip = self.skip.saturating_sub(dropped);
        bytes.advance(usize::try_from(dropped).unwrap_or(bytes.len()));
        if bytes.is_empty() {
            return Ok(None);
        }
        let got = length(bytes.len());
        self.at = self.at.saturating_add(got);
        self.progress = self.progress.saturating_add(got);
        if let Some(expected) = self.size.filter(|size| self.at > *size) {
            let (endpoint, actual) = (self.endpoint.clone(), self.at);
            return Err(Error::Length { endpoint, expected, actual });
        }
        Ok(Some(bytes))
    }

    /// Waits for the next try, or gives up.
    async fn recover(&mut self, error: Error) -> Result<(), Error> {
        if self.progress >= self.file.repository.limits().progress_bytes {
            self.attempts.progressed();
        }
        self.progress = 0;
        // Without a validator nobody can say whether the rest is of the same file.
        if self.validator.is_none() && self.at > 0 {
            return Err(error);
        }
        self.attempts.again(self.file.repository.session(), error).await
    }

    /// Asks for what has not come yet.
    async fn resume(&mut self) -> Result<(), Error> {
        let from = self.validator.as_ref().filter(|_| self.at > 0);
        let answer = self.file.ask(from.map(|validator| (self.at, validator))).await?;
        let endpoint = answer.endpoint.clone();
        let other = |actual| Error::Length {
            endpoint: endpoint.clone(),
            expected: self.size.unwrap_or(self.at),
            actual,
        };
        let size = answer.response.content_length();
        if answer.status() == 206 {
            let range = answer.header(&header::CONTENT_RANGE).and_then(ContentRange::parse);
            let Some(range) = range.filter(|range| range.first == self.at) else {
                let what = "another part of the file than was asked for".to_owned();
                return Err(Error::Unusable { endpoint, what });
            };
            let total = range.total.unwrap_or_else(|| range.last.saturating_add(1));
            if self.size.is_some_and(|size| size != total) {
                return Err(other(total));
            }
            self.skip = 0;
        } else {
            let is_same = self.at == 0 || Validator::of(&answer) == self.validator;
            if self.size != size || !is_same {
                return Err(other(size.unwrap_or_default()));
            }
            self.skip = self.at;
        }
        self.endpoint = endpoint;
        self.body = Some(Body::new(answer.response));
        Ok(())
    }
}

impl fmt::Debug for WebFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("WebFile").field(&self.shown()).finish()
    }
}

impl fmt::Debug for WebStream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("WebStream").field("file", &self.file).field("at", &self.at).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_is_shown_without_its_secrets() {
        for (text, shown) in [
            ("https://me:canary@h:x/a?sig=canary", "h:x/a"),
            ("https://h:x/a?sig=canary@b", "https://h:x/a"),
            ("https://h:x/a#canary", "https://h:x/a"),
        ] {
            assert_eq!(hidden(text), shown);
        }
    }
}
