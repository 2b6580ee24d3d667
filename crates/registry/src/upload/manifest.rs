//! The end of a push: a manifest or index under its name.
//!
//! Rules: `registry.md` §1.8; cases R126, R128. Not here: which manifest (the daemon).

use bytes::Bytes;
use orlop_oci::{Digest, MediaType};
use reqwest::Method;
use reqwest::header::{self, HeaderValue};

use super::body::Payload;
use crate::answer::length;
use crate::documents::named_digest;
use crate::error::{Error, Wanted};
use crate::repository::Repository;
use crate::request::Ask;

impl Repository {
    /// Puts a manifest or index under a tag or its own digest; returns its digest.
    ///
    /// # Errors
    /// [`Error::MissingBlobs`] when the registry lacks what it names; [`Error::Upload`] when it
    /// does not take it for another reason; [`Error::DigestMismatch`] when it says that it stored
    /// something else: the tag may then point to that.
    pub async fn put_manifest(
        &self,
        selector: &str,
        media_type: &MediaType,
        bytes: &Bytes,
    ) -> Result<Digest, Error> {
        let contact = self.contact().await?;
        let url = contact.endpoint.url(&format!("/v2/{}/manifests/{selector}", self.path()))?;
        let name = self.selected(selector);
        let kind = HeaderValue::from_str(media_type.as_str())
            .map_err(|_| Error::NoHost { host: self.name() })?;
        let ask = Ask::new(Method::PUT, url, Wanted::Upload, name, self.limits().commit_time)
            .with_header(header::CONTENT_TYPE, kind)
            .with_payload(Payload::Bytes(bytes.clone()));
        let size = length(bytes.len());
        let answer = match self.ask(&ask).await {
            Ok(answer) => answer,
            Err(Error::Failed { endpoint, status: status @ 400..=499, message, .. }) => {
                let status = format!(" with {status}, of a manifest of {size} bytes");
                return Err(Error::Upload { endpoint, status, message });
            }
            Err(Error::Upload { endpoint, status, message }) => {
                let status = format!("{status}, of a manifest of {size} bytes");
                return Err(Error::Upload { endpoint, status, message });
            }
            Err(error) => return Err(error),
        };
        let digest = Digest::sha256(bytes);
        match named_digest(answer.response.headers()) {
            Some(stored) if stored.algorithm() == digest.algorithm() && stored != digest => {
                let endpoint = answer.endpoint;
                Err(Error::DigestMismatch { endpoint, expected: digest, actual: stored })
            }
            _ => Ok(digest),
        }
    }
}
