//! The place of an upload: where the registry wants the bytes, and what it has of them.
//!
//! `POST` opens one, or finds the blob in another repository; each answer may name another
//! address, and the address is kept as it came, query included. It may be at another host, which
//! gets no credentials. Rules: `registry.md` §1.8; cases R119, R120, R123, R125, R130. Not here:
//! what is sent there when ([`super::sending`]).

use orlop_oci::Digest;
use reqwest::Method;
use reqwest::header::{self, HeaderName, HeaderValue};
use url::Url;

use crate::answer::Answer;
use crate::endpoint::Endpoint;
use crate::error::{Error, Wanted};
use crate::redirect::{self, NoHop};
use crate::repository::Repository;
use crate::request::Ask;

const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// Where the registry wants the bytes of one blob.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) url: Url,
    /// Least bytes of every piece but the last, where the registry says so.
    pub(super) chunk_min: Option<u64>,
}

/// What came of asking for a place.
#[derive(Debug)]
pub(super) enum Opened {
    /// Bytes are wanted.
    Place(Place),
    /// The registry took the blob from the other repository.
    Mounted,
}

impl Repository {
    /// Asks for a place; with `from`, for the blob of that other repository first.
    pub(super) async fn open_upload(
        &self,
        digest: &Digest,
        from: Option<&str>,
    ) -> Result<Opened, Error> {
        let contact = self.contact().await?;
        let mut url = contact.endpoint.url(&format!("/v2/{}/blobs/uploads/", self.path()))?;
        if let Some(from) = from {
            let digest = digest.to_string();
            url.query_pairs_mut().append_pair("mount", &digest).append_pair("from", from);
        }
        let nothing = HeaderValue::from_static("0");
        let mut ask = self
            .upload_ask(Method::POST, url.clone(), digest)
            .with_header(header::CONTENT_LENGTH, nothing);
        ask.also_pulls = from.map(str::to_owned);
        let answer = self.ask_once(&ask).await?;
        if from.is_some() && answer.status() == 201 {
            return Ok(Opened::Mounted);
        }
        let chunk_min = answer.text_header(&CHUNK_MIN_LENGTH).and_then(|text| text.parse().ok());
        let chunk_min = chunk_min.filter(|bytes| *bytes > 0);
        let url = self.place_of(&answer, &url).await?;
        Ok(Opened::Place(Place { url, chunk_min }))
    }

    /// Reads where an upload goes on.
    pub(super) async fn place_of(&self, answer: &Answer, asked: &Url) -> Result<Url, Error> {
        let namer = self.contact().await?.namer();
        let endpoint: Endpoint = answer.endpoint.clone();
        let locations = answer.response.headers().get_all(header::LOCATION);
        let locations = locations.iter().map(HeaderValue::as_bytes);
        redirect::next(asked, locations, namer).map_err(|no_hop| match no_hop {
            NoHop::Refused(why) => Error::Redirect { endpoint, why },
            NoHop::Unusable => Error::Upload {
                endpoint,
                status: format!(" with {}", answer.status()),
                message: ": it names no place for it".to_owned(),
            },
        })
    }

    /// Asks how many bytes a place has, of `sent` that were sent to it.
    pub(super) async fn uploaded(
        &self,
        place: &mut Place,
        digest: &Digest,
        sent: u64,
    ) -> Result<u64, Error> {
        let ask = self.upload_ask(Method::GET, place.url.clone(), digest);
        let answer = self.ask_once(&ask).await?;
        if answer.response.headers().contains_key(header::LOCATION) {
            place.url = self.place_of(&answer, &ask.url).await?;
        }
        Ok(received(&answer, sent).unwrap_or(0))
    }

    /// Gives a place up. Nobody minds when that does not succeed: registries forget places.
    pub(super) async fn close_upload(&self, place: Place, digest: &Digest) {
        let ask = self.upload_ask(Method::DELETE, place.url, digest);
        let closing = tokio::time::timeout(self.limits().connect_time, self.ask_once(&ask)).await;
        if !matches!(closing, Ok(Ok(_))) {
            tracing::debug!(%digest, "an upload was left open");
        }
    }

    pub(super) fn upload_ask(&self, method: Method, url: Url, digest: &Digest) -> Ask<'static> {
        let name = format!("{}@{digest}", self.path());
        Ask::new(method, url, Wanted::Upload, name, self.header_time())
    }
}

/// Bytes that a place has by its `Range: 0-<last>`, of `sent` that were sent; `None` where it does
/// not say. `0-0` is what docker's registry says of none, and is one byte where one was sent.
pub(super) fn received(answer: &Answer, sent: u64) -> Option<u64> {
    read_range(answer.text_header(&header::RANGE)?, sent)
}

fn read_range(text: &str, sent: u64) -> Option<u64> {
    let text = text.trim();
    let range = text.strip_prefix("bytes=").or_else(|| text.strip_prefix("bytes ")).unwrap_or(text);
    let (first, last) = range.split_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !first.trim().trim_start_matches('0').is_empty() || !is_number(last.trim()) {
        return None;
    }
    match last.trim().parse::<u64>().ok()? {
        0 => Some(u64::from(sent == 1)),
        last => last.checked_add(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_place_has_is_read_from_its_range() {
        let rows = [
            ("0-99", 100, Some(100)),
            ("bytes=0-99", 500, Some(100)),
            (" 0 - 9 ", 10, Some(10)),
            ("0-0", 0, Some(0)),
            ("0-0", 1, Some(1)),
            ("0-0", 7, Some(0)),
            ("1-9", 10, None),
            ("0--1", 10, None),
            ("0-", 10, None),
            ("", 10, None),
            ("0-99999999999999999999", 10, None),
            ("0-18446744073709551615", 10, None),
        ];
        for (text, sent, expected) in rows {
            assert_eq!(read_range(text, sent), expected, "{text} of {sent}");
        }
    }
}
