//! Parts: a large blob on several connections at the same time, given out in order.
//!
//! Each part is a range with a request of its own, resumed within itself. What comes of a part
//! before its turn waits in memory; how much may wait is bounded for all downloads of a pool
//! together, and where there is no room a blob comes in fewer parts at a time. It begins with one
//! part at a time, and has more only where whoever reads it waits for bytes: to a reader that is
//! busy itself, more connections are only work. Nothing is given
//! out of order, so that a digest's state and a partial file stay what they are with one stream.
//! Does its work when it is polled. Rules: `registry.md` §8.2; cases R84, R85. Not here: whether a
//! blob is fetched so ([`crate::fetch`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{FuturesUnordered, StreamExt as _};
use orlop_oci::Descriptor;
use reqwest::header;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

use crate::answer::{Body, broken, length};
use crate::documents::refuse_encoding;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::kept::Kept;
use crate::opening::Places;
use crate::range::ContentRange;
use crate::repository::Repository;

/// Why a part did not come.
#[derive(Debug)]
pub(crate) enum Lost {
    /// An answer that is not the part asked for: one stream may do.
    Unfit(Error),
    /// No try is left at this source.
    Spent(Error),
}

/// A wait for one piece after which more parts are asked for.
const PATIENCE: Duration = Duration::from_millis(20);
/// Bytes after which it is judged whether the reader waits more than it works.
const JUDGED: u64 = 1 << 20;

/// Parts beyond which no limit is looked for any more: each answer to less demand halves them.
const MOST: usize = 64;

/// Whether the reader waits for bytes.
struct Demand {
    /// Parts that may be under way.
    most: usize,
    since: Instant,
    waited: Duration,
    bytes: u64,
}

impl Demand {
    fn new() -> Self {
        Self { most: 1, since: Instant::now(), waited: Duration::ZERO, bytes: 0 }
    }

    /// The reader waited so long, and got so many bytes, none where it still waits.
    fn note(&mut self, waited: Duration, bytes: u64) {
        self.waited = self.waited.saturating_add(waited);
        self.bytes = self.bytes.saturating_add(bytes);
        if waited < PATIENCE && self.bytes < JUDGED {
            return;
        }
        let elapsed = self.since.elapsed();
        let most = if waited >= PATIENCE || self.waited.saturating_mul(2) > elapsed {
            self.most.saturating_mul(2).min(MOST)
        } else if self.waited.saturating_mul(4) < elapsed {
            (self.most / 2).max(1)
        } else {
            self.most
        };
        *self = Self { most, ..Self::new() };
    }
}

/// A blob from some offset on, in parts.
pub(crate) struct Parts {
    whole: Arc<Whole>,
    /// Where the next part to be asked for starts.
    next: u64,
    queue: VecDeque<Part>,
    demand: Demand,
    running: FuturesUnordered<BoxFuture<'static, ()>>,
    _places: Places,
}

/// What the parts have in common.
struct Whole {
    repository: Repository,
    descriptor: Descriptor,
    kept: Arc<Kept>,
}

/// What comes of one part.
struct Part {
    pieces: UnboundedReceiver<Result<Bytes, Lost>>,
    /// None where it has its turn already.
    _room: Option<OwnedSemaphorePermit>,
}

/// An answer that holds a part, or its beginning.
pub(crate) struct Ranged {
    pub(crate) body: Body,
    pub(crate) endpoint: Endpoint,
    /// Bytes that it brings.
    pub(crate) left: u64,
}

impl Parts {
    /// Goes on from the answer to a request for `first..=last`.
    pub(crate) fn new(
        repository: Repository,
        descriptor: Descriptor,
        kept: Arc<Kept>,
        (first, last): (u64, u64),
        answer: Ranged,
        places: Places,
    ) -> Self {
        let mut parts = Self {
            whole: Arc::new(Whole { repository, descriptor, kept }),
            next: last.saturating_add(1),
            queue: VecDeque::new(),
            demand: Demand::new(),
            running: FuturesUnordered::new(),
            _places: places,
        };
        parts.start((first, last), Some(answer), None);
        parts
    }

    /// Returns the next bytes in order, `None` when all came.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Lost>> {
        loop {
            self.fill();
            let front = self.queue.front_mut()?;
            let running = &mut self.running;
            let coming = async {
                loop {
                    tokio::select! {
                        biased;
                        piece = front.pieces.recv() => return piece,
                        Some(()) = running.next(), if !running.is_empty() => {}
                    }
                }
            };
            let asked = Instant::now();
            match tokio::time::timeout(PATIENCE, coming).await {
                Ok(Some(piece)) => {
                    let bytes = piece.as_ref().map_or(0, |piece| length(piece.len()));
                    self.demand.note(asked.elapsed(), bytes);
                    return Some(piece);
                }
                Ok(None) => drop(self.queue.pop_front()),
                Err(_) => self.demand.note(asked.elapsed(), 0),
            }
        }
    }

    /// Starts as many parts as may be under way.
    fn fill(&mut self) {
        let limits = self.whole.repository.limits();
        let (most, chunk) = (limits.range_connections.min(self.demand.most), limits.range_chunk);
        while self.next < self.whole.descriptor.size && self.queue.len() < most {
            let room = self.whole.repository.session().shared().room(chunk);
            if room.is_none() && !self.queue.is_empty() {
                return;
            }
            let last = last_of(self.next, chunk, self.whole.descriptor.size);
            let range = (self.next, last);
            self.next = last.saturating_add(1);
            self.start(range, None, room);
        }
    }

    fn start(
        &mut self,
        range: (u64, u64),
        answer: Option<Ranged>,
        room: Option<OwnedSemaphorePermit>,
    ) {
        let (sender, pieces) = mpsc::unbounded_channel();
        let whole = Arc::clone(&self.whole);
        self.running.push(async move { whole.fetch(range, answer, &sender).await }.boxed());
        self.queue.push_back(Part { pieces, _room: room });
    }
}

/// The last byte of a part.
pub(crate) fn last_of(first: u64, chunk: u64, size: u64) -> u64 {
    first.saturating_add(chunk).min(size).saturating_sub(1)
}

impl Whole {
    /// Fetches one part, with tries.
    async fn fetch(
        &self,
        (first, last): (u64, u64),
        mut answer: Option<Ranged>,
        pieces: &UnboundedSender<Result<Bytes, Lost>>,
    ) {
        let mut attempts = self.repository.attempts();
        let (mut at, mut counted) = (first, first);
        while at <= last {
            let from = at;
            let lost = match self.step(&mut at, last, answer.take(), pieces).await {
                Ok(_) if at > last => continue,
                Ok(endpoint) => match attempts.ended_early(at.saturating_sub(from), endpoint) {
                    Ok(()) => continue,
                    Err(error) => Lost::Unfit(error),
                },
                Err(Lost::Spent(error)) => {
                    if at.saturating_sub(counted) >= self.repository.limits().progress_bytes {
                        attempts.progressed();
                    }
                    counted = at;
                    match attempts.again(self.repository.session(), error).await {
                        Ok(()) => continue,
                        Err(error) => Lost::Spent(error),
                    }
                }
                Err(unfit) => unfit,
            };
            // Who does not listen any more has left.
            drop(pieces.send(Err(lost)));
            return;
        }
    }

    /// Asks, unless there is an answer, and passes on what it brings; returns whose answer it was.
    async fn step(
        &self,
        at: &mut u64,
        last: u64,
        answer: Option<Ranged>,
        pieces: &UnboundedSender<Result<Bytes, Lost>>,
    ) -> Result<Endpoint, Lost> {
        let mut answer = match answer {
            Some(answer) => answer,
            None => self.ask(*at, last).await?,
        };
        loop {
            let piece = match answer.body.chunk(self.repository.limits()).await {
                Ok(Some(piece)) => piece,
                Ok(None) if answer.left == 0 => return Ok(answer.endpoint),
                Ok(None) => {
                    let endpoint = answer.endpoint.clone();
                    let cause = "the connection ended before its part did".into();
                    return Err(Lost::Spent(Error::Broken { endpoint, at: *at, cause }));
                }
                // All of it is there.
                Err(_) if answer.left == 0 => return Ok(answer.endpoint),
                Err(cause) => {
                    return Err(Lost::Spent(broken(answer.endpoint.clone(), *at, cause)));
                }
            };
            let got = length(piece.len());
            if got > answer.left {
                return Err(Lost::Unfit(self.wrong(answer.endpoint.clone())));
            }
            answer.left = answer.left.saturating_sub(got);
            *at = at.saturating_add(got);
            drop(pieces.send(Ok(piece)));
        }
    }

    async fn ask(&self, first: u64, last: u64) -> Result<Ranged, Lost> {
        let range = format!("bytes={first}-{last}");
        let digest = &self.descriptor.digest;
        let answer = match self.kept.ask(&self.repository, digest, Some(&range)).await {
            Ok(answer) => answer,
            Err(error @ Error::Failed { status: 416, .. }) => return Err(Lost::Unfit(error)),
            Err(error) => return Err(Lost::Spent(error)),
        };
        let endpoint = answer.endpoint.clone();
        refuse_encoding(answer.response.headers(), &endpoint).map_err(Lost::Unfit)?;
        let range = answer
            .header(&header::CONTENT_RANGE)
            .and_then(ContentRange::parse)
            .filter(|range| range.fits(first, self.descriptor.size) && range.last <= last);
        match (answer.status(), range) {
            (206, Some(range)) => {
                let left = range.last.saturating_sub(range.first).saturating_add(1);
                Ok(Ranged { body: Body::new(answer.response), endpoint, left })
            }
            _ => Err(Lost::Unfit(self.wrong(endpoint))),
        }
    }

    fn wrong(&self, endpoint: Endpoint) -> Error {
        Error::WrongRange { endpoint, digest: self.descriptor.digest.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_more_parts_and_who_works_gets_one() {
        let ms = Duration::from_millis;
        let mut demand = Demand::new();
        for parts in [2, 4] {
            tokio::time::advance(ms(10)).await;
            demand.note(ms(8), JUDGED);
            assert_eq!(demand.most, parts, "most of the time was waited");
        }
        demand.note(PATIENCE, 0);
        assert_eq!(demand.most, 8, "nothing came for long");
        for parts in [4, 2, 1, 1] {
            tokio::time::advance(ms(10)).await;
            demand.note(ms(1), JUDGED);
            assert_eq!(demand.most, parts, "the reader was busy itself");
        }
        tokio::time::advance(ms(10)).await;
        demand.note(ms(3), JUDGED);
        assert_eq!(demand.most, 1, "between the two nothing changes");
    }
}
