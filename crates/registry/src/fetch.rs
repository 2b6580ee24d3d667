//! Blobs: a stream of bytes that survives broken connections and sources.
//!
//! What breaks is resumed at the byte where it broke, at the same source while it has tries, then
//! at the next. An answer is used only if it is the part asked for; a server that ignores ranges is
//! read from the start and what is already there is dropped. The stream hashes what it gives out
//! and ends without an error only if size and digest are the descriptor's; with
//! [`Position::unhashed`] the digest is its reader's business. Nothing is buffered beyond one
//! piece. Rules: `registry.md` §8.2; cases R64, R65, R70 to R87,
//! R137, R138.

use std::fmt;

use bytes::{Buf as _, Bytes};
use futures::Stream;
use orlop_oci::{Algorithm, Descriptor, Hasher};
use reqwest::Method;
use reqwest::header::{self, HeaderValue};
use tokio::sync::OwnedSemaphorePermit;
use url::Url;

use crate::answer::{Answer, Body, broken, length};
use crate::attempts::Attempts;
use crate::endpoint::{Endpoint, Scheme};
use crate::error::Error;
use crate::range::ContentRange;
use crate::repository::{Repository, refuse_encoding};
use crate::sources::{Elsewhere, Sources};

/// How far a blob is there already.
#[derive(Clone, Debug)]
pub struct Position {
    /// Bytes from the start that are there.
    offset: u64,
    /// The digest's state over them; none where the reader of the stream hashes.
    hasher: Option<Hasher>,
}

impl Position {
    /// The start of a blob whose digest is of this kind.
    #[must_use]
    pub fn start(algorithm: Algorithm) -> Self {
        Self { offset: 0, hasher: Some(Hasher::new(algorithm)) }
    }

    /// A place in a blob whose bytes are hashed by whoever reads the stream: the stream checks
    /// their number alone. A reader that finds another digest says so to
    /// [`Sources::report_lie`].
    #[must_use]
    pub const fn unhashed(offset: u64) -> Self {
        Self { offset, hasher: None }
    }

    /// Takes in the next bytes that are there, as when a partial file is read again.
    pub fn advance(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.offset = self.offset.saturating_add(length(bytes.len()));
    }

    /// Returns the number of bytes taken in.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }
}

/// The bytes of a blob, from a position on. Does its work when it is polled.
pub struct BlobStream {
    sources: Sources,
    descriptor: Descriptor,
    at: Position,
    /// Position of the source that is asked; moved to the first that may be when opening.
    index: usize,
    attempts: Option<Attempts>,
    /// Bytes since the last failure.
    progress: u64,
    ranges: Ranges,
    open: Option<Open>,
    /// The other place of a foreign layer that is asked, and those behind it.
    place: Option<Url>,
    places: std::vec::IntoIter<String>,
    is_done: bool,
}

/// Whether a part may be asked for at the current source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ranges {
    Asked,
    /// Its last answer to a range was not usable.
    Avoided,
}

struct Open {
    body: Body,
    endpoint: Endpoint,
    /// Bytes to drop before the first that is wanted.
    skip: u64,
    /// Bytes that this answer brings, counted from where it starts to be wanted.
    left: u64,
    _places: Places,
}

/// Of the pull, and of the host.
type Places = [Option<OwnedSemaphorePermit>; 2];

/// What a failure means for a stream under way.
enum Trouble {
    /// Of the request or the connection: tried again as far as the error is worth it.
    Failed(Error),
    /// An answer that is not what was asked for, none of which was given out: the source has one
    /// more try.
    Unfit(Error),
    /// Bytes that were given out are wrong: the caller has to begin again.
    Lied(Error),
}

impl BlobStream {
    pub(crate) fn new(sources: Sources, descriptor: Descriptor, at: Position) -> Self {
        let index = sources.current();
        let is_foreign = descriptor.media_type.is_foreign();
        let places = if is_foreign { descriptor.urls.clone() } else { Vec::new() }.into_iter();
        Self {
            sources,
            descriptor,
            at,
            index,
            attempts: None,
            progress: 0,
            ranges: Ranges::Asked,
            open: None,
            place: None,
            places,
            is_done: false,
        }
    }

    /// Returns the number of bytes given out, those of the position it began at included.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.at.offset
    }

    /// Returns the next bytes, `None` once all have come and have been verified.
    ///
    /// # Errors
    /// What ended the last source; nothing more comes then. After an error that
    /// [`Error::is_lie`], fetch the blob again from the start.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        while !self.is_done {
            match self.step().await {
                Ok(Some(bytes)) => return Some(Ok(bytes)),
                Ok(None) => {}
                Err(trouble) => {
                    self.open = None;
                    if let Err(error) = self.recover(trouble).await {
                        self.is_done = true;
                        return Some(Err(error));
                    }
                }
            }
        }
        None
    }

    /// Returns the same as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static {
        futures::stream::unfold(self, |mut blob| async move {
            let item = blob.next().await?;
            Some((item, blob))
        })
    }

    /// Opens, reads, or ends. `None` when there is nothing to give out yet.
    async fn step(&mut self) -> Result<Option<Bytes>, Trouble> {
        if self.at.offset >= self.descriptor.size && self.open.is_none() {
            self.finish(None)?;
            return Ok(None);
        }
        if let Some(bytes) = self.inline() {
            return Ok(Some(bytes));
        }
        let Some(open) = &mut self.open else {
            self.open = Some(self.begin().await?);
            return Ok(None);
        };
        let limits = self.sources.session().limits();
        let read = open.body.chunk(limits).await;
        let endpoint = open.endpoint.clone();
        if self.at.offset >= self.descriptor.size {
            // All is there. Whatever ends the body now, the digest decides.
            return match read {
                Ok(Some(extra)) if !extra.is_empty() => Err(Trouble::Lied(self.too_long(endpoint))),
                Ok(Some(_)) => Ok(None),
                Ok(None) | Err(_) => self.finish(Some(endpoint)).map(|()| None),
            };
        }
        match read {
            Ok(Some(bytes)) => self.take(bytes).map_err(Trouble::Lied),
            Ok(None) if open.left == 0 => {
                // The server sent a smaller part than asked for: the rest is asked for.
                self.open = None;
                Ok(None)
            }
            Ok(None) => Err(Trouble::Failed(Error::Broken {
                endpoint,
                at: self.at.offset,
                cause: "the connection ended before the blob did".into(),
            })),
            Err(cause) => Err(Trouble::Failed(broken(endpoint, self.at.offset, cause))),
        }
    }

    /// What is left of content that the descriptor holds itself.
    fn inline(&mut self) -> Option<Bytes> {
        let data = self.descriptor.data.as_ref()?;
        let rest = data.get(usize::try_from(self.at.offset).ok()?..).filter(|it| !it.is_empty())?;
        let rest = Bytes::copy_from_slice(rest);
        self.at.advance(&rest);
        Some(rest)
    }

    /// Takes a piece in: drops what is already there, hashes the rest.
    fn take(&mut self, mut bytes: Bytes) -> Result<Option<Bytes>, Error> {
        let Some(open) = &mut self.open else { return Ok(None) };
        let dropped = open.skip.min(length(bytes.len()));
        open.skip = open.skip.saturating_sub(dropped);
        bytes.advance(usize::try_from(dropped).unwrap_or(bytes.len()));
        if bytes.is_empty() {
            return Ok(None);
        }
        let got = length(bytes.len());
        if got > open.left {
            let endpoint = open.endpoint.clone();
            return Err(if self.at.offset.saturating_add(got) > self.descriptor.size {
                self.too_long(endpoint)
            } else {
                Error::WrongRange { endpoint, digest: self.descriptor.digest.clone() }
            });
        }
        open.left = open.left.saturating_sub(got);
        self.at.advance(&bytes);
        self.progress = self.progress.saturating_add(got);
        Ok(Some(bytes))
    }

    /// Compares the digest and ends the stream.
    fn finish(&mut self, endpoint: Option<Endpoint>) -> Result<(), Trouble> {
        let expected = self.descriptor.digest.clone();
        let actual = self.at.hasher.clone().map_or_else(|| expected.clone(), Hasher::finish);
        if actual == expected && self.at.offset == self.descriptor.size {
            self.is_done = true;
            self.open = None;
            return Ok(());
        }
        let endpoint = match endpoint {
            Some(endpoint) => endpoint,
            // Nothing was asked for: the bytes that the caller had are wrong.
            None => self
                .repository()
                .and_then(|repository| Endpoint::of_host(Scheme::Https, repository.host()))
                .map_err(Trouble::Failed)?,
        };
        Err(Trouble::Lied(Error::DigestMismatch { endpoint, expected, actual }))
    }

    fn repository(&self) -> Result<Repository, Error> {
        self.sources.repository(self.index)
    }

    /// Asks for the bytes from where the stream is.
    async fn begin(&mut self) -> Result<Open, Trouble> {
        self.index = self.sources.honest(self.index, &self.descriptor.digest);
        let repository = self.repository().map_err(Trouble::Failed)?;
        if self.attempts.is_none() {
            self.attempts = Some(repository.attempts());
        }
        let places = self.places(&repository).await.map_err(Trouble::Failed)?;
        let digest = &self.descriptor.digest;
        let mut ask = repository.blob_ask(Method::GET, digest).await.map_err(Trouble::Failed)?;
        let offset = self.at.offset;
        let asks_part = offset > 0 && self.ranges == Ranges::Asked;
        if asks_part && let Ok(range) = HeaderValue::from_str(&format!("bytes={offset}-")) {
            ask = ask.with_header(header::RANGE, range);
        }
        let answered = match &self.place {
            Some(place) => repository.ask_elsewhere(&mut ask, place).await,
            None => repository.ask_once(&ask).await,
        };
        match answered {
            Ok(answer) => self.accept(answer, asks_part, places),
            Err(Error::Failed { status: 416, .. }) if asks_part => {
                self.ranges = Ranges::Avoided;
                Box::pin(self.begin()).await
            }
            Err(error) => Err(Trouble::Failed(error)),
        }
    }

    async fn places(&self, repository: &Repository) -> Result<Places, Error> {
        let contact = repository.contact().await?;
        let of_pull = self.sources.place().await;
        let of_host =
            repository.session().shared().place(&contact.endpoint, repository.limits()).await;
        Ok([of_pull, of_host])
    }

    /// Decides whether an answer is what was asked for.
    fn accept(
        &mut self,
        answer: Answer,
        asked_part: bool,
        places: Places,
    ) -> Result<Open, Trouble> {
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
        Ok(Open { body: Body::new(answer.response), endpoint, skip, left, _places: places })
    }

    /// Waits, or moves to the next source, or gives up.
    async fn recover(&mut self, trouble: Trouble) -> Result<(), Error> {
        let limits = self.sources.session().limits();
        if self.progress >= limits.progress_bytes
            && let Some(attempts) = &mut self.attempts
        {
            attempts.progressed();
        }
        self.progress = 0;
        match trouble {
            Trouble::Failed(error) => match &mut self.attempts {
                Some(attempts) => match attempts.again(self.sources.session(), error).await {
                    Ok(()) => Ok(()),
                    Err(error) => self.leave(error),
                },
                None => self.leave(error),
            },
            Trouble::Unfit(error) => {
                if self.sources.lied(self.index, &self.descriptor.digest) {
                    return Ok(());
                }
                self.leave(error)
            }
            Trouble::Lied(error) => {
                if !self.sources.lied(self.index, &self.descriptor.digest) {
                    self.sources.tell_failed(self.index, &error);
                }
                Err(error)
            }
        }
    }

    fn leave(&mut self, error: Error) -> Result<(), Error> {
        match self.sources.next(self.index, error) {
            Ok(index) => self.index = index,
            Err(error) => self.place = Some(self.next_place(error)?),
        }
        self.attempts = None;
        self.ranges = Ranges::Asked;
        Ok(())
    }

    /// The next place that the image names for a foreign layer that no source has (R64). One that
    /// is no address of http or https is passed over.
    fn next_place(&mut self, error: Error) -> Result<Url, Error> {
        if !self.descriptor.media_type.is_foreign() {
            return Err(error);
        }
        let endpoint = match &error {
            Error::NotFound { endpoint, .. } => endpoint.clone(),
            _ if self.place.is_some() => self
                .repository()
                .and_then(|repository| Endpoint::of_host(Scheme::Https, repository.host()))?,
            _ => return Err(error),
        };
        let digest = self.descriptor.digest.clone();
        if self.sources.elsewhere() == Elsewhere::Avoided {
            let why = "the setting registry.foreign-layers does not let it come from elsewhere";
            return Err(Error::Foreign { endpoint, digest, why, cause: None });
        }
        let usable =
            |place: String| Url::parse(&place).ok().filter(|url| Endpoint::of(url).is_some());
        self.places.find_map(usable).ok_or_else(|| Error::Foreign {
            endpoint,
            digest,
            why: "registry.foreign-layers is on, and no place that its image names has it either",
            cause: Some(error.into()),
        })
    }

    fn too_long(&self, endpoint: Endpoint) -> Error {
        Error::SizeMismatch {
            endpoint,
            digest: self.descriptor.digest.clone(),
            expected: self.descriptor.size,
            actual: self.descriptor.size.saturating_add(1),
        }
    }
}

impl fmt::Debug for BlobStream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("BlobStream")
            .field("digest", &self.descriptor.digest)
            .field("offset", &self.at.offset)
            .finish_non_exhaustive()
    }
}
