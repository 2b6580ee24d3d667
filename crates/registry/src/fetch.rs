//! Blobs: a stream of bytes that survives broken connections and sources.
//!
//! What breaks is resumed at the byte where it broke, at the same source while it has tries, then
//! at the next. An answer is used only if it is the part asked for; a server that ignores ranges is
//! read from the start and what is already there is dropped. A large blob comes in parts on several
//! connections while the source serves ranges and has not lied about it. The stream hashes what it
//! gives out and ends without an error only if size and digest are the descriptor's; with
//! [`Position::unhashed`] the digest is its reader's business. One stream buffers one piece, parts
//! what [`crate::parts`] says. Rules: `registry.md` §8.2; cases R64, R65, R70 to R87, R137, R138.
//! Not here: requests and their answers ([`crate::opening`]).

use std::fmt;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use futures::Stream;
use orlop_oci::{Descriptor, Hasher};
use url::Url;

use crate::answer::{broken, length};
use crate::attempts::Attempts;
use crate::endpoint::{Endpoint, Scheme};
use crate::error::Error;
use crate::kept::Kept;
use crate::opening::{Open, Ranges};
use crate::parts::{Lost, Parts};
use crate::position::Position;
use crate::repository::Repository;
use crate::sources::{Elsewhere, Sources};

/// The bytes of a blob, from a position on. Does its work when it is polled.
pub struct BlobStream {
    pub(crate) sources: Sources,
    pub(crate) descriptor: Descriptor,
    pub(crate) at: Position,
    /// Position of the source that is asked; moved to the first that may be when opening.
    pub(crate) index: usize,
    pub(crate) attempts: Option<Attempts>,
    /// Bytes since the last failure.
    progress: u64,
    pub(crate) ranges: Ranges,
    /// Whether it may come in parts.
    pub(crate) splits: bool,
    pub(crate) kept: Arc<Kept>,
    pub(crate) open: Option<Open>,
    pub(crate) parts: Option<Parts>,
    /// The other place of a foreign layer that is asked, and those behind it.
    pub(crate) place: Option<Url>,
    places: std::vec::IntoIter<String>,
    is_done: bool,
}

/// What a failure means for a stream under way.
pub(crate) enum Trouble {
    /// Of the request or the connection: tried again as far as the error is worth it.
    Failed(Error),
    /// An answer that is not what was asked for, none of which was given out: the source has one
    /// more try.
    Unfit(Error),
    /// A part that is not what was asked for: one stream goes on from here.
    Split(Error),
    /// No try is left at the source.
    Spent(Error),
    /// What there is already is not gone on with: the caller has to begin again, of nobody's fault.
    Afresh(Error),
    /// Bytes that were given out are wrong: the caller has to begin again.
    Lied(Error),
}

impl BlobStream {
    pub(crate) fn new(sources: Sources, descriptor: Descriptor, at: Position) -> Self {
        let index = sources.current();
        let splits = !sources.has_lied(&descriptor.digest);
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
            splits,
            kept: Arc::default(),
            open: None,
            parts: None,
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
                    (self.open, self.parts) = (None, None);
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
        if let Some(parts) = &mut self.parts {
            let next = parts.next().await;
            return self.take_part(next);
        }
        if self.at.offset >= self.descriptor.size && self.open.is_none() {
            self.finish(None)?;
            return Ok(None);
        }
        if let Some(bytes) = self.inline() {
            return Ok(Some(bytes));
        }
        let Some(open) = &mut self.open else {
            self.begin().await?;
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
                let brought = self.at.offset.saturating_sub(open.from);
                self.open = None;
                let attempts = self.attempts.as_mut();
                let early = attempts.map_or(Ok(()), |it| it.ended_early(brought, endpoint));
                early.map(|()| None).map_err(Trouble::Unfit)
            }
            Ok(None) => Err(Trouble::Failed(Error::Broken {
                endpoint,
                at: self.at.offset,
                cause: "the connection ended before the blob did".into(),
            })),
            Err(cause) => Err(Trouble::Failed(broken(endpoint, self.at.offset, cause))),
        }
    }

    /// Takes in what came of parts.
    fn take_part(&mut self, next: Option<Result<Bytes, Lost>>) -> Result<Option<Bytes>, Trouble> {
        match next {
            Some(Ok(bytes)) => {
                self.at.advance(&bytes);
                self.progress = self.progress.saturating_add(length(bytes.len()));
                Ok(Some(bytes))
            }
            Some(Err(Lost::Unfit(error))) => Err(Trouble::Split(error)),
            Some(Err(Lost::Spent(error))) => Err(Trouble::Spent(error)),
            None => {
                self.parts = None;
                Ok(None)
            }
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

    pub(crate) fn repository(&self) -> Result<Repository, Error> {
        self.sources.repository(self.index)
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
            Trouble::Split(error) => {
                tracing::debug!(%error, "going on with one stream");
                self.splits = false;
                Ok(())
            }
            Trouble::Spent(error) => self.leave(error),
            Trouble::Afresh(error) => Err(error),
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
        self.kept.forget();
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
