//! One blob on its way: whole in one request, or in pieces, and what follows when that breaks.
//!
//! A blob of few pieces goes whole, which every registry takes. When that broke, the registry is
//! asked what it has, and the rest goes in pieces; one of many pieces, and one at a registry that
//! names a least length of pieces, goes in pieces from the start. A registry that does not take
//! pieces gets the blob whole in a new session. After a failure past the last byte the blob is
//! looked for before anything is sent again. Rules: `registry.md` §1.8; cases R119 to R132; why:
//! `docs/decisions/012-uploads-whole-then-in-pieces.md`. Not here: addresses ([`super::place`]).

use std::sync::{Arc, Mutex};

use orlop_oci::Descriptor;
use reqwest::Method;
use reqwest::header::{self, HeaderValue};

use super::Content;
use super::body::{Outgoing, Payload, State};
use super::place::{Opened, Place, received};
use crate::attempts::Attempts;
use crate::error::Error;
use crate::pool::locked;
use crate::repository::Repository;

/// Pieces beyond which a blob goes in pieces from the start.
const WHOLE_PIECES: u64 = 4;

/// How a blob is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// As its size and the registry suggest.
    Open,
    /// In pieces, because a whole one broke.
    Pieces,
    /// Whole, because the registry takes no pieces.
    Whole,
}

/// One blob on its way.
pub(super) struct Sending<'a> {
    repository: &'a Repository,
    descriptor: &'a Descriptor,
    content: &'a dyn Content,
    state: Arc<State>,
    /// Kept where a caller that gives up finds it.
    place: &'a Mutex<Option<Place>>,
    manner: Manner,
    /// Bytes that the place has.
    at: u64,
    /// Bytes that it was sent, at most.
    reached: u64,
    /// Bytes that it had when it last failed.
    failed_at: u64,
    has_repeated: bool,
}

impl<'a> Sending<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        descriptor: &'a Descriptor,
        content: &'a dyn Content,
        state: State,
        place: &'a Mutex<Option<Place>>,
    ) -> Self {
        Self {
            repository,
            descriptor,
            content,
            state: Arc::new(state),
            place,
            manner: Manner::Open,
            at: 0,
            reached: 0,
            failed_at: 0,
            has_repeated: false,
        }
    }

    /// Sends until the registry has the blob or no try is left.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        let mut attempts = self.repository.attempts();
        loop {
            match self.send().await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    if self.is_there_after(error, &mut attempts).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Decides what follows a failure: the end, or another try, before which the blob may turn out
    /// to be there.
    async fn is_there_after(
        &mut self,
        error: Error,
        attempts: &mut Attempts,
    ) -> Result<bool, Error> {
        if self.at.saturating_sub(self.failed_at) >= self.repository.limits().progress_bytes {
            attempts.progressed();
        }
        self.failed_at = self.at;
        let read = self.at.saturating_add(self.state.sent());
        self.reached = self.reached.max(read);
        match error {
            // The registry read other bytes than were sent: once more (R121).
            Error::Failed { status: 400, .. } if !self.has_repeated => {
                self.has_repeated = true;
                self.begin_anew();
            }
            Error::Failed { endpoint, status: status @ 400, message, .. } => {
                self.begin_anew();
                return Err(Error::Upload { endpoint, status: format!(" with {status}"), message });
            }
            // The session is gone: with all that was sent, where the answer to its end was lost; else
            // a new one, as after a cut (R122).
            Error::Failed { endpoint, status: 404, message, .. } => {
                if self.is_there(read).await {
                    return Ok(true);
                }
                let cause = format!("the upload is not known any more{message}").into();
                let gone = Error::Broken { endpoint, at: self.at, cause };
                self.begin_anew();
                attempts.again(self.repository.session(), gone).await?;
            }
            error @ (Error::Unreachable { .. } | Error::Failed { .. }) => {
                if self.is_there(read).await {
                    return Ok(true);
                }
                attempts.again(self.repository.session(), error).await?;
                self.look_back().await;
            }
            error => {
                attempts.again(self.repository.session(), error).await?;
                self.look_back().await;
            }
        }
        Ok(false)
    }

    /// Whether the registry has the blob, of which so many bytes were sent.
    async fn is_there(&self, sent: u64) -> bool {
        sent >= self.descriptor.size
            && self.repository.has_blob(self.descriptor).await.unwrap_or(false)
    }

    /// One try: from where the place is to the end.
    async fn send(&mut self) -> Result<(), Error> {
        self.state.forget();
        let kept = locked(self.place).clone();
        let mut place = match kept {
            Some(place) => place,
            None => self.open().await?,
        };
        if !self.goes_in_pieces(&place) {
            return self.finish(place, self.descriptor.size).await;
        }
        while self.at < self.descriptor.size {
            place = match self.send_piece(place).await? {
                Some(place) => place,
                None if self.repository.has_blob(self.descriptor).await? => return Ok(()),
                None => {
                    self.take_no_pieces();
                    let place = self.open().await?;
                    return self.finish(place, self.descriptor.size).await;
                }
            };
            *locked(self.place) = Some(place.clone());
        }
        self.finish(place, 0).await
    }

    async fn open(&mut self) -> Result<Place, Error> {
        self.begin_anew();
        match self.repository.open_upload(&self.descriptor.digest, None).await? {
            Opened::Place(place) => {
                *locked(self.place) = Some(place.clone());
                Ok(place)
            }
            Opened::Mounted => Err(Error::Upload {
                endpoint: self.repository.contact().await?.endpoint,
                status: String::new(),
                message: ": it takes a blob that was not sent".to_owned(),
            }),
        }
    }

    fn begin_anew(&mut self) {
        *locked(self.place) = None;
        self.at = 0;
        self.reached = 0;
    }

    fn take_no_pieces(&mut self) {
        self.manner = Manner::Whole;
        self.begin_anew();
    }

    /// Bytes of a piece at this place, `None` where pieces would be too large.
    fn piece(&self, place: &Place) -> Option<u64> {
        let limits = self.repository.limits();
        let least = place.chunk_min.unwrap_or(0);
        (least <= limits.upload_chunk_max).then(|| least.max(limits.upload_chunk).max(1))
    }

    fn goes_in_pieces(&self, place: &Place) -> bool {
        let Some(piece) = self.piece(place) else { return self.at > 0 };
        let size = self.descriptor.size;
        match self.manner {
            Manner::Whole => false,
            Manner::Pieces => self.at > 0 || size > piece,
            Manner::Open => {
                size > piece.saturating_mul(WHOLE_PIECES)
                    || (place.chunk_min.is_some() && size > piece)
            }
        }
    }

    /// Sends the next piece; returns where the next one goes, `None` where the registry answered
    /// as if the blob were whole, or takes no pieces.
    async fn send_piece(&mut self, mut place: Place) -> Result<Option<Place>, Error> {
        let (digest, size) = (&self.descriptor.digest, self.descriptor.size);
        let length = size.saturating_sub(self.at).min(self.piece(&place).unwrap_or(size));
        let end = self.at.saturating_add(length);
        let range = format!("{}-{}", self.at, end.saturating_sub(1));
        let ask = self
            .repository
            .upload_ask(Method::PATCH, place.url.clone(), digest)
            .with_header(header::CONTENT_TYPE, OCTETS)
            .with_header(header::CONTENT_RANGE, HeaderValue::try_from(range).unwrap_or(OCTETS))
            .with_payload(self.part(length));
        let answer = self.repository.ask_any(&ask).await?;
        self.reached = self.reached.max(end);
        match answer.status() {
            // ECR says so, and then refuses the end (R124).
            201 => return Ok(None),
            202 | 204 => {}
            416 => {
                let has = self.repository.uploaded(&mut place, digest, self.reached).await?;
                return self.go_on(place, has, end).await.map(Some);
            }
            400 | 405 | 413 | 415 | 501 => return Ok(None),
            _ => return Err(self.repository.explain(answer, ask.wanted, &ask.name).await),
        }
        if answer.response.headers().contains_key(header::LOCATION) {
            place.url = self.repository.place_of(&answer, &ask.url).await?;
        }
        let has = received(&answer, end).unwrap_or(end);
        drop(ask);
        self.go_on(place, has, end).await.map(Some)
    }

    /// Goes on at what the place has, of `end` bytes that it was sent.
    async fn go_on(&mut self, place: Place, has: u64, end: u64) -> Result<Place, Error> {
        self.state.forget();
        if has > self.at && has <= end {
            self.at = has;
            return Ok(place);
        }
        if has > end {
            self.begin_anew();
        } else {
            self.at = has;
        }
        let endpoint = self.repository.contact().await?.endpoint;
        let cause = format!("it has {has} bytes of the {end} that were sent").into();
        Err(Error::Broken { endpoint, at: self.at, cause })
    }

    /// Sends the last `length` bytes and the blob's digest.
    async fn finish(&mut self, place: Place, length: u64) -> Result<(), Error> {
        let digest = &self.descriptor.digest;
        let mut url = place.url;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let ask = self
            .repository
            .upload_ask(Method::PUT, url, digest)
            .with_header(header::CONTENT_TYPE, OCTETS);
        let ask = if length == 0 {
            ask.with_header(header::CONTENT_LENGTH, HeaderValue::from_static("0"))
        } else {
            ask.with_payload(self.part(length))
        };
        match self.repository.ask_once(&ask).await {
            Ok(_) => Ok(()),
            Err(Error::Upload { endpoint, status, message }) => {
                let size = self.descriptor.size;
                let status = format!("{status}, of {size} bytes");
                Err(Error::Upload { endpoint, status, message })
            }
            Err(error) => Err(error),
        }
    }

    fn part(&self, length: u64) -> Payload<'a> {
        Payload::Stream(Outgoing {
            content: self.content,
            first: self.at,
            length,
            is_last: self.at.saturating_add(length) >= self.descriptor.size,
            state: Arc::clone(&self.state),
        })
    }

    /// After a break: asks what the place has, and goes on there in pieces; begins anew where it
    /// has nothing or does not say.
    async fn look_back(&mut self) {
        let kept = locked(self.place).clone();
        let Some(mut place) = kept.filter(|_| self.manner != Manner::Whole) else {
            return self.begin_anew();
        };
        self.manner = Manner::Pieces;
        let digest = &self.descriptor.digest;
        let has = self.repository.uploaded(&mut place, digest, self.reached).await;
        match has {
            Ok(has) if has > 0 && has <= self.reached && has <= self.descriptor.size => {
                tracing::debug!(%digest, has, "an upload goes on");
                self.at = has;
                *locked(self.place) = Some(place);
            }
            _ => {
                self.begin_anew();
            }
        }
    }
}

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
