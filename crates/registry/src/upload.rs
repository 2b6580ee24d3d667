//! Uploads: a blob in one request, a manifest, and the question whether a blob is there.
//!
//! `HEAD`, then `POST` for a place, then `PUT` of all bytes; what is there is not sent again, and
//! after a failure the blob is looked for before it is sent again in a new session. The place may be
//! at another host, which gets no credentials. Rules: `registry.md` §1.8; cases R119 to R132.
//! Not here: where the bytes come from; the order of blobs and manifests (the daemon).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt as _};
use orlop_oci::{Descriptor, Digest, MediaType};
use reqwest::header::{self, HeaderValue};
use reqwest::{Method, RequestBuilder, Response};
use tokio::time::error::Elapsed;
use url::Url;

use crate::answer::{Answer, length};
use crate::endpoint::Endpoint;
use crate::error::{BoxError, Error, Wanted};
use crate::limits::Limits;
use crate::pool::locked;
use crate::redirect::{self, NoHop};
use crate::repository::{Repository, named_digest};
use crate::request::Ask;

/// The bytes to upload, which can be read more than once.
pub trait Content: Send + Sync {
    /// Starts to read at an offset.
    ///
    /// # Errors
    /// What keeps the bytes from being read; the upload then ends with [`Error::Content`].
    fn open(
        &self,
        offset: u64,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes, BoxError>>, BoxError>>;
}

/// How a blob came to be at the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// It was there.
    Existed,
    /// It was sent.
    Sent,
}

/// What goes out with a request.
pub(crate) enum Payload<'a> {
    Empty,
    Bytes(Bytes),
    Stream(Outgoing<'a>),
}

/// A body that is read while it is sent.
pub(crate) struct Outgoing<'a> {
    content: &'a dyn Content,
    size: u64,
    state: Arc<State>,
}

struct State {
    sent: AtomicU64,
    progress: Box<dyn Fn(u64) + Send + Sync>,
    failure: Mutex<Option<BoxError>>,
}

impl Payload<'_> {
    pub(crate) async fn put_into(&self, request: RequestBuilder) -> Result<RequestBuilder, Error> {
        match self {
            Self::Empty => Ok(request),
            Self::Bytes(bytes) => Ok(request.body(bytes.clone())),
            Self::Stream(outgoing) => {
                let stream = outgoing.content.open(0).await;
                let stream = stream.map_err(|cause| Error::Content { cause })?;
                outgoing.state.sent.store(0, Ordering::Relaxed);
                let body = reqwest::Body::wrap_stream(counted(
                    stream,
                    outgoing.size,
                    Arc::clone(&outgoing.state),
                ));
                Ok(request.header(header::CONTENT_LENGTH, outgoing.size).body(body))
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
        let Self::Stream(outgoing) = self else {
            return tokio::time::timeout(time, request.send()).await;
        };
        let mut sending = std::pin::pin!(request.send());
        loop {
            let before = outgoing.state.sent.load(Ordering::Relaxed);
            let is_sent = before >= outgoing.size;
            let time = if is_sent { limits.commit_time } else { limits.stall_time };
            match tokio::time::timeout(time, sending.as_mut()).await {
                Ok(sent) => return Ok(sent),
                Err(elapsed) if outgoing.state.sent.load(Ordering::Relaxed) == before => {
                    return Err(elapsed);
                }
                Err(_) => {}
            }
        }
    }

    /// Why the bytes could not be read, when that is what ended a request.
    pub(crate) fn failure(&self) -> Option<BoxError> {
        match self {
            Self::Stream(outgoing) => locked(&outgoing.state.failure).take(),
            _ => None,
        }
    }
}

/// Counts what goes by, and makes sure that it is `size` bytes.
fn counted(
    stream: BoxStream<'static, Result<Bytes, BoxError>>,
    size: u64,
    state: Arc<State>,
) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let fail = |state: &State, cause: BoxError| {
        let text = cause.to_string();
        *locked(&state.failure) = Some(cause);
        std::io::Error::other(text)
    };
    futures::stream::unfold((stream, Some(state)), move |(mut stream, state)| async move {
        let state = state?;
        match stream.next().await {
            Some(Ok(bytes)) => {
                let sent = state.sent.load(Ordering::Relaxed).saturating_add(length(bytes.len()));
                if sent > size {
                    let error = fail(&state, "there are more bytes than announced".into());
                    return Some((Err(error), (stream, None)));
                }
                state.sent.store(sent, Ordering::Relaxed);
                (state.progress)(sent);
                Some((Ok(bytes), (stream, Some(state))))
            }
            Some(Err(cause)) => Some((Err(fail(&state, cause)), (stream, None))),
            None if state.sent.load(Ordering::Relaxed) < size => {
                let error = fail(&state, "there are fewer bytes than announced".into());
                Some((Err(error), (stream, None)))
            }
            None => None,
        }
    })
}

impl Repository {
    /// Says whether a blob of this digest and size is there.
    ///
    /// # Errors
    /// Any but [`Error::NotFound`].
    pub async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        let ask = self.blob_ask(Method::HEAD, &descriptor.digest).await?;
        match self.ask(&ask).await {
            Ok(answer) => {
                let size = answer.text_header(&header::CONTENT_LENGTH);
                Ok(size.is_none_or(|size| size.parse() == Ok(descriptor.size)))
            }
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends a blob unless it is there. `progress` is told the bytes sent so far; they start again
    /// from 0 when the upload does.
    ///
    /// # Errors
    /// [`Error::Upload`] when the registry does not take it; [`Error::Content`] when the bytes
    /// cannot be read or are not as many as the descriptor says.
    pub async fn upload_blob(
        &self,
        descriptor: &Descriptor,
        content: &dyn Content,
        progress: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<Uploaded, Error> {
        if self.has_blob(descriptor).await? {
            return Ok(Uploaded::Existed);
        }
        let state = Arc::new(State {
            sent: AtomicU64::new(0),
            progress: Box::new(progress),
            failure: Mutex::default(),
        });
        let mut attempts = self.attempts();
        let mut has_repeated = false;
        loop {
            let outgoing = Outgoing { content, size: descriptor.size, state: Arc::clone(&state) };
            let error = match self.send_blob(descriptor, outgoing).await {
                Ok(()) => return Ok(Uploaded::Sent),
                Err(error) => error,
            };
            match error {
                // The registry read other bytes than were sent: once more (R121).
                Error::Failed { status: 400, .. } if !has_repeated => has_repeated = true,
                Error::Failed { endpoint, status: status @ 400, message, .. } => {
                    let status = format!(" with {status}");
                    return Err(Error::Upload { endpoint, status, message });
                }
                // The session is gone: a new one, as after a cut (R122).
                Error::Failed { endpoint, status: 404, message, .. } => {
                    let at = state.sent.load(Ordering::Relaxed);
                    let cause = format!("the upload is not known any more{message}").into();
                    let gone = Error::Broken { endpoint, at, cause };
                    attempts.again(self.session(), gone).await?;
                }
                error @ (Error::Unreachable { .. } | Error::Failed { .. }) => {
                    if state.sent.load(Ordering::Relaxed) >= descriptor.size
                        && self.has_blob(descriptor).await.unwrap_or(false)
                    {
                        return Ok(Uploaded::Sent);
                    }
                    attempts.again(self.session(), error).await?;
                }
                error => attempts.again(self.session(), error).await?,
            }
        }
    }

    async fn send_blob(&self, descriptor: &Descriptor, body: Outgoing<'_>) -> Result<(), Error> {
        body.state.sent.store(0, Ordering::Relaxed);
        let contact = self.contact().await?;
        let url = contact.endpoint.url(&format!("/v2/{}/blobs/uploads/", self.path()))?;
        let name = format!("{}@{}", self.path(), descriptor.digest);
        let ask =
            Ask::new(Method::POST, url.clone(), Wanted::Upload, name.clone(), self.header_time())
                .with_header(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        let answer = self.ask_once(&ask).await?;
        let mut place = self.place_of(&answer, &url, contact.namer())?;
        drop(answer);
        place.query_pairs_mut().append_pair("digest", &descriptor.digest.to_string());
        let bytes = HeaderValue::from_static("application/octet-stream");
        let ask = Ask::new(Method::PUT, place, Wanted::Upload, name, self.header_time())
            .with_header(header::CONTENT_TYPE, bytes)
            .with_payload(Payload::Stream(body));
        self.ask_once(&ask).await.map(|_| ())
    }

    /// Reads where an upload goes.
    fn place_of(
        &self,
        answer: &Answer,
        asked: &Url,
        namer: crate::realm::Namer,
    ) -> Result<Url, Error> {
        let endpoint = answer.endpoint.clone();
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

    /// Puts a manifest or index under a tag or its own digest; returns its digest.
    ///
    /// # Errors
    /// [`Error::Upload`] when the registry does not take it, as when a blob is missing;
    /// [`Error::DigestMismatch`] when it says that it stored something else: the tag may then point
    /// to that.
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
        let answer = match self.ask(&ask).await {
            Ok(answer) => answer,
            Err(Error::Failed { endpoint, status: status @ 400..=499, message, .. }) => {
                let status = format!(" with {status}");
                return Err(Error::Upload { endpoint, status, message });
            }
            Err(error) => return Err(error),
        };
        let digest = Digest::sha256(bytes);
        match named_digest(answer.response.headers()) {
            Some(stored) if stored.algorithm() == digest.algorithm() && stored != digest => {
                let endpoint: Endpoint = answer.endpoint;
                Err(Error::DigestMismatch { endpoint, expected: digest, actual: stored })
            }
            _ => Ok(digest),
        }
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
