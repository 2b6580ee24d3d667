//! Connections that have brought an answer, so that a request that was lost on an old one is told
//! from one that was lost on a new one.
//!
//! A server may close a connection that it kept just as the next request goes out: that says
//! nothing about the server, and the request is sent again without counting (RFC 9110 section
//! 9.2.2, RFC 9113 section 8.7; case R108). Which connection a request took is known by its two
//! addresses: the library may begin a new one and then take one that became free. Not here: who
//! sends again ([`crate::request`]).

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::http::Extensions;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpInfo;

use crate::pool::locked;
use crate::tls;

/// Connections that are remembered at most. One that is forgotten costs a try where it is lost.
const MOST: usize = 1024;

/// This end's address and the other's.
type Ends = (SocketAddr, SocketAddr);

/// The connections of a client that have brought an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections(Arc<Mutex<BTreeSet<Ends>>>);

impl Connections {
    /// Takes note of the connection that an answer came on.
    pub(crate) fn note(&self, answer: &reqwest::Response) {
        let Some(ends) = ends(answer.extensions()) else { return };
        let mut known = locked(&self.0);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(ends);
    }

    /// Says whether a request without an answer was lost with a connection that had brought one.
    pub(crate) fn had(&self, error: &reqwest::Error) -> bool {
        if !is_lost(error) {
            return false;
        }
        let Some(connected) =
            tls::find::<legacy::Error>(error).and_then(|lost| lost.connect_info())
        else {
            return false;
        };
        let mut extensions = Extensions::new();
        connected.get_extras(&mut extensions);
        ends(&extensions).is_some_and(|ends| locked(&self.0).contains(&ends))
    }
}

fn ends(extensions: &Extensions) -> Option<Ends> {
    let info = extensions.get::<HttpInfo>()?;
    Some((info.local_addr(), info.remote_addr()))
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
