//! What goes out with a request: nothing, bytes, or a part of a blob that is read while it is sent.
//!
//! A part is opened anew for each request, so that a try can follow another; it is exactly as long
//! as was announced. Not here: which part is sent when ([`super::sending`]).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};
use reqwest::header;
use reqwest::{RequestBuilder, Response};
use tokio::time::error::Elapsed;

use super::Content;
use crate::answer::length;
use crate::error::{BoxError, Error};
use crate::limits::Limits;
use crate::pool::locked;

/// What goes out with a request.
pub(crate) enum Payload<'a> {
    Empty,
    Bytes(Bytes),
    Stream(Outgoing<'a>),
}

/// A part of a blob.
pub(crate) struct Outgoing<'a> {
    pub(super) content: &'a dyn Content,
    /// Offset of its first byte.
    pub(super) first: u64,
    /// Bytes of it.
    pub(super) length: u64,
    /// Whether the blob ends with it: more bytes are then an error.
    pub(super) is_last: bool,
    pub(super) state: Arc<State>,
}

/// What is known of the body under way.
pub(super) struct State {
    /// Bytes of the part that were read to be sent.
    sent: AtomicU64,
    /// Is told how far into the blob sending has come.
    progress: Box<dyn Fn(u64) + Send + Sync>,
    failure: Mutex<Option<BoxError>>,
}

impl State {
    pub(super) fn new(progress: impl Fn(u64) + Send + Sync + 'static) -> Self {
        let progress = Box::new(progress);
        Self { sent: AtomicU64::new(0), progress, failure: Mutex::default() }
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn forget(&self) {
        self.sent.store(0, Ordering::Relaxed);
    }

    /// Why the body ends here.
    fn fail(&self, cause: BoxError) -> std::io::Error {
        let text = cause.to_string();
        *locked(&self.failure) = Some(cause);
        std::io::Error::other(text)
    }
}

impl Payload<'_> {
    pub(crate) async fn put_into(&self, request: RequestBuilder) -> Result<RequestBuilder, Error> {
        match self {
            Self::Empty => Ok(request),
            Self::Bytes(bytes) => Ok(request.body(bytes.clone())),
            Self::Stream(part) => {
                let stream = part.content.open(part.first).await;
                let stream = stream.map_err(|cause| Error::Content { cause })?;
                part.state.forget();
                let body = reqwest::Body::wrap_stream(part.counted(stream));
                Ok(request.header(header::CONTENT_LENGTH, part.length).body(body))
            }
        }
    }

    /// Sends within `time`; a stream as long as it gets on, and then `commit_time`.
    pub(crate) async fn send_within(
        &self,
        request: RequestBuilder,
        time: Duration,
        limits: &Limits,
    ) -> Result<Result<Response, reqwest::Error>, Elapsed> {
        let Self::Stream(part) = self else {
            return tokio::time::timeout(time, request.send()).await;
        };
        let mut sending = std::pin::pin!(request.send());
        loop {
            let before = part.state.sent();
            let is_sent = before >= part.length;
            let time = if is_sent { limits.commit_time } else { limits.stall_time };
            match tokio::time::timeout(time, sending.as_mut()).await {
                Ok(sent) => return Ok(sent),
                Err(elapsed) if part.state.sent() == before => return Err(elapsed),
                Err(_) => {}
            }
        }
    }

    /// Why the bytes could not be read, when that is what ended a request.
    pub(crate) fn failure(&self) -> Option<BoxError> {
        match self {
            Self::Stream(part) => locked(&part.state.failure).take(),
            _ => None,
        }
    }
}

impl Outgoing<'_> {
    /// Counts what goes by, and makes sure that it is as long as announced.
    fn counted(
        &self,
        stream: BoxStream<'static, Result<Bytes, BoxError>>,
    ) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> + Send + use<> {
        let (first, whole, is_last) = (self.first, self.length, self.is_last);
        let state = Some(Arc::clone(&self.state));
        futures::stream::unfold((stream, state), move |(mut stream, state)| async move {
            let state = state?;
            let sent = state.sent();
            let left = whole.saturating_sub(sent);
            if left == 0 && !is_last {
                return None;
            }
            match stream.next().await {
                Some(Ok(bytes)) if length(bytes.len()) > left && is_last => {
                    let error = state.fail("there are more bytes than announced".into());
                    Some((Err(error), (stream, None)))
                }
                Some(Ok(mut bytes)) => {
                    bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    let sent = sent.saturating_add(length(bytes.len()));
                    state.sent.store(sent, Ordering::Relaxed);
                    (state.progress)(first.saturating_add(sent));
                    Some((Ok(bytes), (stream, Some(state))))
                }
                Some(Err(cause)) => Some((Err(state.fail(cause)), (stream, None))),
                None if left > 0 => {
                    let error = state.fail("there are fewer bytes than announced".into());
                    Some((Err(error), (stream, None)))
                }
                None => None,
            }
        })
    }
}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Empty => "Empty",
            Self::Bytes(_) => "Bytes(..)",
            Self::Stream(_) => "Stream(..)",
        })
    }
}
