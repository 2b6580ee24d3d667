//! Connections and when they were made, so that a request that was lost on an old one is told from
//! one that was lost on a new one.
//!
//! A server may close a connection that it kept just as the next request goes out: that says
//! nothing about the server, and the request is sent again without counting (RFC 9110 section
//! 9.2.2, RFC 9113 section 8.7; case R108). Which connection a request took is known by its two
//! addresses: the library may begin a new one and then take one that became free, or keep a new one
//! for later that no request has used. Not here: who sends again ([`crate::request`]).

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::http::Extensions;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpInfo};
use tower::{Layer, Service};

use crate::pool::locked;
use crate::tls;

/// Connections that are remembered at most. One that is forgotten costs a try where it is lost.
const MOST: usize = 1024;

/// This end's address and the other's.
type Ends = (SocketAddr, SocketAddr);

/// The connections of a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections(Arc<Mutex<BTreeMap<Ends, Instant>>>);

impl Connections {
    fn note(&self, made: &Connected) {
        let Some(ends) = ends(made) else { return };
        let mut known = locked(&self.0);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(ends, Instant::now());
    }

    /// Says whether a request without an answer, which was sent at `sent`, was lost with a
    /// connection that was there before.
    pub(crate) fn had(&self, error: &reqwest::Error, sent: Instant) -> bool {
        if !is_lost(error) {
            return false;
        }
        let lost = tls::find::<legacy::Error>(error).and_then(|lost| lost.connect_info());
        let Some(ends) = lost.and_then(ends) else { return false };
        locked(&self.0).get(&ends).is_some_and(|made| *made < sent)
    }
}

fn ends(connected: &Connected) -> Option<Ends> {
    let mut extensions = Extensions::new();
    connected.get_extras(&mut extensions);
    let info = extensions.get::<HttpInfo>()?;
    Some((info.local_addr(), info.remote_addr()))
}

impl<S> Layer<S> for Connections {
    type Service = Noting<S>;

    fn layer(&self, inner: S) -> Noting<S> {
        Noting { inner, connections: self.clone() }
    }
}

/// A connector that takes note of what it makes.
#[derive(Clone, Debug)]
pub(crate) struct Noting<S> {
    inner: S,
    connections: Connections,
}

impl<S, R> Service<R> for Noting<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
    S::Response: Connection,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (making, connections) = (self.inner.call(request), self.connections.clone());
        Box::pin(async move {
            let connection = making.await?;
            connections.note(&connection.connected());
            Ok(connection)
        })
    }
}

/// Says whether a request without an answer was lost with its connection.
fn is_lost(error: &reqwest::Error) -> bool {
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
