//! Notices: what a caller should know about a request that goes on.
//!
//! Facts, with one sentence each for those who only show them. Not here: errors.

use std::fmt;
use std::time::Duration;

use crate::endpoint::Endpoint;

/// Something a caller should know; the work goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Plain http is used for a host, once a session and host.
    PlainHttp {
        /// `host[:port]`.
        host: String,
    },
    /// The certificate of a host is not checked, once a session and host.
    Unverified {
        /// `host[:port]`.
        host: String,
    },
    /// Something that looking for a login met.
    Credential {
        /// The sentence.
        text: String,
    },
    /// Where a login comes from.
    Login {
        /// `host[:port]` that it is for.
        host: String,
        /// Its place, in words.
        origin: String,
    },
    /// A registry asked to come back later, and Orlop waits.
    Waiting {
        /// Who asked.
        endpoint: Endpoint,
        /// How long.
        delay: Duration,
    },
    /// Text of a `Warning` header, escaped, once a session and text.
    Warning {
        /// Who sent it.
        endpoint: Endpoint,
        /// The text.
        text: String,
    },
    /// A pull quota is nearly used up.
    Quota {
        /// Whose.
        endpoint: Endpoint,
        /// Pulls left.
        remaining: u64,
        /// Pulls in all.
        limit: u64,
    },
    /// A source failed and the next one is tried.
    SourceFailed {
        /// `host/path` of the source.
        source: String,
        /// Why, with its causes, in one line.
        why: String,
        /// True when it sent wrong bytes: its operators should know.
        lied: bool,
    },
    /// A document's type by the descriptor and by the registry differ.
    MediaType {
        /// Who sent it.
        endpoint: Endpoint,
        /// The registry's word, escaped.
        sent: String,
        /// The descriptor's.
        expected: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlainHttp { host } => write!(out, "using plain http for {host}"),
            Self::Unverified { host } => write!(out, "the certificate of {host} is not checked"),
            Self::Credential { text } => out.write_str(text),
            Self::Login { host, origin } => write!(out, "Login for {host}: {origin}"),
            Self::Waiting { endpoint, delay } => {
                write!(out, "{endpoint} limits requests: waiting {} s", delay.as_secs().max(1))
            }
            Self::Warning { endpoint, text } => write!(out, "{endpoint} says: {text}"),
            Self::Quota { endpoint, remaining, limit } => {
                write!(out, "{remaining} of {limit} pulls left at {endpoint}")
            }
            Self::SourceFailed { source, why, .. } => {
                write!(out, "{source} failed, trying the next source: {why}")
            }
            Self::MediaType { endpoint, sent, expected } => {
                write!(out, "{endpoint} calls a document {sent:?}, which is {expected:?}")
            }
        }
    }
}
