//! Connections counted as they are made, so that a request that was lost on an old one is told
//! from one that was lost on a new one.
//!
//! A server may close a connection that it kept just as the next request goes out: that says
//! nothing about the server, and the request is sent again without counting (RFC 9110 section
//! 9.2.2, RFC 9113 section 8.7; case R108). Not here: who sends again ([`crate::request`]).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tower::{Layer, Service};

use crate::tls;

/// How many connections a client has begun to make.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections(Arc<AtomicU64>);

impl Connections {
    pub(crate) fn made(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<S> Layer<S> for Connections {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting { inner, connections: self.clone() }
    }
}

/// A connector that counts.
#[derive(Clone, Debug)]
pub(crate) struct Counting<S> {
    inner: S,
    connections: Connections,
}

impl<S: Service<R>, R> Service<R> for Counting<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.connections.0.fetch_add(1, Ordering::Relaxed);
        self.inner.call(request)
    }
}

/// Says whether a request without an answer was lost with its connection.
pub(crate) fn is_lost(error: &reqwest::Error) -> bool {
    if error.is_connect() || error.is_timeout() || error.is_builder() {
        return false;
    }
    let by_hyper = tls::find::<hyper::Error>(error)
        .is_some_and(|error| error.is_incomplete_message() || error.is_canceled());
    let by_system = tls::find::<io::Error>(error).is_some_and(|error| {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
    });
    by_hyper || by_system
}

/// Says whether a server of HTTP/2 has said that it did nothing about a request.
pub(crate) fn is_untouched(error: &reqwest::Error) -> bool {
    tls::find::<h2::Error>(error).is_some_and(|error| {
        error.is_remote()
            && (error.reason() == Some(h2::Reason::REFUSED_STREAM)
                || (error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)))
    })
}
