//! What came back: the header of an answer, and its body in pieces or whole.
//!
//! A body is broken when it brings too little in too much time of waiting. Rules: `registry.md`
//! §8.2. Not here: what the answer says ([`crate::explain`]).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use reqwest::header;
use tokio::time::Instant;

use crate::connect;
use crate::endpoint::Endpoint;
use crate::error::{BoxError, Error};
use crate::limits::Limits;

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
                Err(cause) => return Err(broken(endpoint, at, cause)),
            }
        }
    }
}

/// Why a body ended after `at` bytes.
pub(crate) fn broken(endpoint: Endpoint, at: u64, cause: BoxError) -> Error {
    match connect::misframed(cause.as_ref()) {
        Some(fault) => Error::Unusable { endpoint, what: fault.to_string() },
        None => Error::Broken { endpoint, at, cause },
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

    /// At most the first `most` bytes, as far as they come in the time of a header: the body of an
    /// error, of which any part says enough.
    pub(crate) async fn beginning(mut self, most: u64, limits: &Limits) -> Vec<u8> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        let reading = async {
            while bytes.len() < most {
                let Ok(Some(chunk)) = self.chunk(limits).await else { return };
                let left = most.saturating_sub(bytes.len());
                bytes.extend_from_slice(chunk.get(..left.min(chunk.len())).unwrap_or_default());
            }
        };
        let _ = tokio::time::timeout(limits.header_time, reading).await;
        bytes
    }
}
