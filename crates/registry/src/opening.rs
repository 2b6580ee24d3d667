//! Opening: a blob, or the rest of it, is asked for, and the answer judged.
//!
//! An answer is used only if it is what was asked for, or all of it where a part was. Whether a
//! blob comes in parts is seen by the answer to its first: another status than 206 is a stream of
//! the whole, and is kept as that (R84). Not here: what is done about a failure
//! ([`crate::fetch`]), parts ([`crate::parts`]).

use std::sync::Arc;

use reqwest::Method;
use reqwest::header::{self, HeaderValue};
use tokio::sync::OwnedSemaphorePermit;

use crate::answer::{Answer, Body};
use crate::documents::refuse_encoding;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::fetch::{BlobStream, Trouble};
use crate::limits::Limits;
use crate::parts::{self, Parts, Ranged};
use crate::range::ContentRange;
use crate::repository::Repository;

/// Whether a part may be asked for at the current source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ranges {
    Asked,
    /// Its last answer to a range was not usable.
    Avoided,
}

pub(crate) struct Open {
    pub(crate) body: Body,
    pub(crate) endpoint: Endpoint,
    /// Where what is wanted of this answer starts in the blob.
    pub(crate) from: u64,
    /// Bytes to drop before the first that is wanted.
    pub(crate) skip: u64,
    /// Bytes that this answer brings, counted from where it starts to be wanted.
    pub(crate) left: u64,
    _places: Places,
}

/// Of the pull, and of the host.
pub(crate) type Places = [Option<OwnedSemaphorePermit>; 3];

impl BlobStream {
    /// Asks for the bytes from where the stream is.
    pub(crate) async fn begin(&mut self) -> Result<(), Trouble> {
        self.index = self.sources.honest(self.index, &self.descriptor.digest);
        let repository = self.repository().map_err(Trouble::Failed)?;
        if self.attempts.is_none() {
            self.attempts = Some(repository.attempts());
        }
        let places = self.places(&repository).await.map_err(Trouble::Failed)?;
        let offset = self.at.offset;
        let split = self.split(repository.limits());
        let range = match (split, self.ranges) {
            (Some(last), _) => Some(format!("bytes={offset}-{last}")),
            (None, Ranges::Asked) if offset > 0 => Some(format!("bytes={offset}-")),
            (None, _) => None,
        };
        let answer = match self.ask(&repository, range.as_deref()).await {
            Ok(answer) => answer,
            Err(Error::Failed { status: 416, .. }) if range.is_some() => {
                (self.ranges, self.splits) = (Ranges::Avoided, false);
                drop(places);
                return Box::pin(self.begin()).await;
            }
            Err(error) => return Err(Trouble::Failed(error)),
        };
        let open = self.accept(answer, range.is_some())?;
        match split {
            // All of the first part, and no more than that.
            Some(last)
                if open.skip == 0 && offset.saturating_add(open.left) == last.saturating_add(1) =>
            {
                let answer = Ranged { body: open.body, endpoint: open.endpoint, left: open.left };
                let (descriptor, kept) = (self.descriptor.clone(), Arc::clone(&self.kept));
                let range = (offset, last);
                self.parts = Some(Parts::new(repository, descriptor, kept, range, answer, places));
            }
            _ => self.open = Some(Open { _places: places, ..open }),
        }
        Ok(())
    }

    /// The last byte of the first part, where the rest is to come in parts.
    fn split(&self, limits: &Limits) -> Option<u64> {
        let (offset, size) = (self.at.offset, self.descriptor.size);
        let rest = size.saturating_sub(offset);
        let is_large = rest >= limits.range_from && rest > limits.range_chunk;
        let may = self.splits && self.ranges == Ranges::Asked && self.place.is_none();
        (is_large && may && limits.range_connections > 1)
            .then(|| parts::last_of(offset, limits.range_chunk, size))
    }

    async fn ask(&mut self, repository: &Repository, range: Option<&str>) -> Result<Answer, Error> {
        let digest = &self.descriptor.digest;
        let Some(place) = &self.place else {
            return self.kept.ask(repository, digest, range).await;
        };
        let mut ask = repository.blob_ask(Method::GET, digest).await?;
        if let Some(range) = range.and_then(|range| HeaderValue::from_str(range).ok()) {
            ask = ask.with_header(header::RANGE, range);
        }
        repository.ask_elsewhere(&mut ask, place).await
    }

    async fn places(&mut self, repository: &Repository) -> Result<Places, Error> {
        let contact = repository.contact().await?;
        let (of_pull, is_first) = self.sources.place().await;
        let shared = repository.session().shared();
        let [further, of_host] =
            shared.place(&contact.endpoint, repository.limits(), is_first).await;
        Ok([of_pull, further, of_host])
    }

    /// Decides whether an answer is what was asked for.
    fn accept(&mut self, answer: Answer, asked_part: bool) -> Result<Open, Trouble> {
        let endpoint = answer.endpoint.clone();
        refuse_encoding(answer.response.headers(), &endpoint).map_err(Trouble::Failed)?;
        let (offset, size) = (self.at.offset, self.descriptor.size);
        let wrong_range = || Error::WrongRange {
            endpoint: endpoint.clone(),
            digest: self.descriptor.digest.clone(),
        };
        let (skip, left) = match answer.status() {
            200 => {
                if let Some(actual) = answer.response.content_length().filter(|&it| it != size) {
                    let digest = self.descriptor.digest.clone();
                    let expected = size;
                    return Err(Trouble::Unfit(Error::SizeMismatch {
                        endpoint,
                        digest,
                        expected,
                        actual,
                    }));
                }
                if offset > 0 && offset >= self.sources.session().limits().skip_bytes {
                    let digest = self.descriptor.digest.clone();
                    return Err(Trouble::Afresh(Error::Whole { endpoint, digest, have: offset }));
                }
                (offset, size.saturating_sub(offset))
            }
            206 => {
                let range = answer
                    .header(&header::CONTENT_RANGE)
                    .and_then(ContentRange::parse)
                    .filter(|range| asked_part && range.fits(offset, size));
                let Some(range) = range else {
                    let wrong = wrong_range();
                    self.ranges = Ranges::Avoided;
                    return Err(Trouble::Unfit(wrong));
                };
                (0, range.last.saturating_sub(range.first).saturating_add(1))
            }
            _ => return Err(Trouble::Unfit(wrong_range())),
        };
        tracing::debug!(%endpoint, digest = %self.descriptor.digest, have = offset, of = size,
            "fetching blob");
        let body = Body::new(answer.response);
        Ok(Open { body, endpoint, from: offset, skip, left, _places: [None, None, None] })
    }
}
