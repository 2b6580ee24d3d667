//! Documents of a repository: manifests, indexes, configs and other small blobs, whole.
//!
//! All bytes that leave are verified: against the digest asked for, or, by tag, against the one
//! the registry names. Rules: `registry.md` §1.1 to §1.4, cases R35 to R43 and R66. Not here:
//! how requests look ([`crate::repository`]), what a manifest means (`orlop-oci`).

use bytes::Bytes;
use orlop_oci::{Descriptor, Digest, MediaType};
use reqwest::Method;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::answer::length;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::notice::Notice;
use crate::repository::Repository;
use crate::text;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// What a `HEAD` says of a manifest; it proves existence only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The digest the registry names, when it names one that is well formed.
    pub digest: Option<Digest>,
    /// The type the registry names.
    pub media_type: Option<MediaType>,
    /// Bytes, where the registry says.
    pub size: Option<u64>,
}

/// A document as it came, hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The exact bytes.
    pub bytes: Bytes,
    /// sha256 of them, or the digest asked for.
    pub digest: Digest,
    /// The `Content-Type`, as sent; `orlop_oci::manifest` decides what it counts.
    pub content_type: Option<String>,
}

impl Repository {
    /// Asks for what a manifest is without fetching it. `selector` is a tag or a digest.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none; [`Error::Failed`] with 405 or 501 where the
    /// registry has no `HEAD`.
    pub async fn head_manifest(&self, selector: &str) -> Result<Head, Error> {
        let ask = self.manifest_ask(Method::HEAD, selector).await?;
        let answer = match self.ask(&ask).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.in_words(error, selector).await),
        };
        Ok(Head {
            digest: named_digest(answer.response.headers()),
            media_type: answer.text_header(&header::CONTENT_TYPE).map(MediaType::parse),
            size: answer.text_header(&header::CONTENT_LENGTH).and_then(|text| text.parse().ok()),
        })
    }

    /// What a registry refuses by a rule of its own it explains in the body, and an answer to
    /// `HEAD` has none: such a refusal is asked for once more by `GET`.
    async fn in_words(&self, error: Error, selector: &str) -> Error {
        let is_silent = match &error {
            Error::Failed { status: 402 | 409 | 412 | 422 | 451, message, .. }
            | Error::Limited { status: 429, retry_after: None, message, .. } => message.is_empty(),
            _ => false,
        };
        if !is_silent {
            return error;
        }
        match self.fetch_document(selector).await {
            Err(told @ (Error::Failed { .. } | Error::Limited { .. })) => told,
            _ => error,
        }
    }

    /// Fetches the manifest or index that a tag names.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`] when the registry names another digest than the bytes have;
    /// [`Error::NotARegistry`] for a web page; [`Error::Limit`] beyond the size limit.
    pub async fn fetch_tag(&self, tag: &str) -> Result<Fetched, Error> {
        let (headers, endpoint, bytes) = self.fetch_document(tag).await?;
        if let Some(expected) = named_digest(&headers) {
            verify(&endpoint, &expected, &bytes)?;
        }
        let digest = Digest::sha256(&bytes);
        Ok(Fetched { bytes, digest, content_type: content_type(&headers) })
    }

    /// Fetches the manifest or index of this digest.
    ///
    /// # Errors
    /// As [`Repository::fetch_tag`]; [`Error::DigestMismatch`] for any other bytes.
    pub async fn fetch_digest(&self, digest: &Digest) -> Result<Fetched, Error> {
        let (headers, endpoint, bytes) = self.fetch_document(&digest.to_string()).await?;
        verify(&endpoint, digest, &bytes)?;
        let content_type = content_type(&headers);
        Ok(Fetched { bytes, digest: digest.clone(), content_type })
    }

    /// Fetches the manifest or index of a descriptor, whose type counts.
    ///
    /// # Errors
    /// As [`Repository::fetch_digest`]; [`Error::SizeMismatch`] for another size;
    /// [`Error::Limit`], without a request, for a size beyond the limit.
    pub async fn fetch_manifest(&self, descriptor: &Descriptor) -> Result<Bytes, Error> {
        if let Some(data) = &descriptor.data {
            return Ok(data.clone().into());
        }
        self.check_size(descriptor, "manifest-bytes", self.limits().manifest_bytes)?;
        let (headers, endpoint, bytes) =
            self.fetch_document(&descriptor.digest.to_string()).await?;
        verify_size(&endpoint, descriptor, length(bytes.len()))?;
        verify(&endpoint, &descriptor.digest, &bytes)?;
        if let Some(sent) = content_type(&headers)
            && MediaType::parse(&sent) != descriptor.media_type
        {
            self.session().tell(Notice::MediaType {
                endpoint,
                sent: text::shown(&sent, 256),
                expected: text::shown(descriptor.media_type.as_str(), 256),
            });
        }
        Ok(bytes)
    }

    /// Fetches a config or another small blob whole.
    ///
    /// # Errors
    /// As [`Repository::fetch_manifest`]. Wrong bytes are asked for once more before they are an
    /// error.
    pub async fn fetch_config(&self, descriptor: &Descriptor) -> Result<Bytes, Error> {
        if let Some(data) = &descriptor.data {
            return Ok(data.clone().into());
        }
        self.check_size(descriptor, "config-bytes", self.limits().config_bytes)?;
        match self.fetch_small(descriptor).await {
            Err(error) if error.is_lie() => self.fetch_small(descriptor).await,
            outcome => outcome,
        }
    }

    async fn fetch_small(&self, descriptor: &Descriptor) -> Result<Bytes, Error> {
        let ask = self.blob_ask(Method::GET, &descriptor.digest).await?;
        let outcome = self.ask_whole(&ask, "size", descriptor.size).await;
        let (_, endpoint, bytes) = outcome.map_err(|error| match error {
            Error::Limit { endpoint, key: "size", limit } => Error::SizeMismatch {
                endpoint,
                digest: descriptor.digest.clone(),
                expected: limit,
                actual: limit.saturating_add(1),
            },
            other => other,
        })?;
        verify_size(&endpoint, descriptor, length(bytes.len()))?;
        verify(&endpoint, &descriptor.digest, &bytes)?;
        Ok(bytes)
    }

    async fn fetch_document(&self, selector: &str) -> Result<(HeaderMap, Endpoint, Bytes), Error> {
        let ask = self.manifest_ask(Method::GET, selector).await?;
        let limit = self.limits().manifest_bytes;
        let (headers, endpoint, bytes) = self.ask_whole(&ask, "manifest-bytes", limit).await?;
        refuse_encoding(&headers, &endpoint)?;
        refuse_web_page(&headers, &endpoint, "a manifest")?;
        Ok((headers, endpoint, bytes))
    }

    fn check_size(
        &self,
        descriptor: &Descriptor,
        key: &'static str,
        limit: u64,
    ) -> Result<(), Error> {
        if descriptor.size <= limit {
            return Ok(());
        }
        let endpoint = Endpoint::of_host(crate::Scheme::Https, self.host())?;
        Err(Error::Limit { endpoint, key, limit })
    }
}

/// The digest that an answer names, `None` for none, several, and what is no digest.
pub(crate) fn named_digest(headers: &HeaderMap) -> Option<Digest> {
    let mut values = headers.get_all(CONTENT_DIGEST).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok()?.trim().parse().ok(),
        _ => None,
    }
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok().map(str::to_owned)
}

/// Bytes are hashed as they come over the wire: an encoding that was not asked for is refused.
pub(crate) fn refuse_encoding(headers: &HeaderMap, endpoint: &Endpoint) -> Result<(), Error> {
    match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => Ok(()),
        Some(other) => {
            let what = format!("Content-Encoding {}", text::shown_bytes(other, 64));
            Err(Error::Unusable { endpoint: endpoint.clone(), what })
        }
    }
}

/// No registry answers with a web page.
pub(crate) fn refuse_web_page(
    headers: &HeaderMap,
    endpoint: &Endpoint,
    wanted: &str,
) -> Result<(), Error> {
    if content_type(headers).is_some_and(|kind| kind.to_ascii_lowercase().contains("html")) {
        let what = format!("a web page came for {wanted}");
        return Err(Error::NotARegistry { endpoint: endpoint.clone(), what });
    }
    Ok(())
}

fn verify(endpoint: &Endpoint, expected: &Digest, bytes: &[u8]) -> Result<(), Error> {
    let actual = Digest::of(expected.algorithm(), bytes);
    if actual == *expected {
        return Ok(());
    }
    Err(Error::DigestMismatch { endpoint: endpoint.clone(), expected: expected.clone(), actual })
}

fn verify_size(endpoint: &Endpoint, descriptor: &Descriptor, actual: u64) -> Result<(), Error> {
    if actual == descriptor.size {
        return Ok(());
    }
    Err(Error::SizeMismatch {
        endpoint: endpoint.clone(),
        digest: descriptor.digest.clone(),
        expected: descriptor.size,
        actual,
    })
}
