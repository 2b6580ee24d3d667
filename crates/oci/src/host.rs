//! The `host[:port]` of a registry.
//!
//! Grammar: `registry.md` §6.1, `host`. The text is kept as written: `reg.example.com` and
//! `reg.example.com:443` are two hosts, because credentials and certificates are filed under the
//! written form. Not here: who may be contacted over plain HTTP (`orlop-registry`).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The name under which references, credentials and certificates file the Docker Hub.
pub const DOCKER_HUB: &str = "docker.io";

/// Where the Docker Hub's API is.
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// The text is not a `host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a host name with an optional port")]
pub struct HostError {
    /// What was given.
    pub text: String,
}

/// A registry's `host[:port]`, checked against the grammar and kept as written.
///
/// ```
/// use orlop_oci::Host;
/// let host: Host = "[::1]:5000".parse().unwrap();
/// assert_eq!((host.name(), host.port()), ("[::1]", Some("5000")));
/// assert!(host.is_loopback());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(Box<str>);

impl Host {
    /// Returns the Docker Hub, `docker.io`.
    #[must_use]
    pub fn docker_hub() -> Self {
        Self(DOCKER_HUB.into())
    }

    /// Returns the text as written.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part before the port; an IPv6 address keeps its brackets.
    #[must_use]
    pub fn name(&self) -> &str {
        split(&self.0).0
    }

    /// Returns the digits after the colon. They may be too many for a port: the grammar allows it.
    #[must_use]
    pub fn port(&self) -> Option<&str> {
        split(&self.0).1
    }

    /// Says whether this is one of the Docker Hub's three names.
    #[must_use]
    pub fn is_docker_hub(&self) -> bool {
        matches!(&*self.0, DOCKER_HUB | "index.docker.io" | DOCKER_HUB_API)
    }

    /// Returns the host to contact: the Docker Hub's API for its names, else the same host.
    #[must_use]
    pub fn api_host(&self) -> Self {
        if self.is_docker_hub() { Self(DOCKER_HUB_API.into()) } else { self.clone() }
    }

    /// Returns the address when the host is written as one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        let name = self.name();
        match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => name.parse().ok(),
        }
    }

    /// Says whether this is `localhost` or a loopback address, written as such.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.name().eq_ignore_ascii_case("localhost")
            || self.address().is_some_and(|address| address.is_loopback())
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if is_host(text) {
            Ok(Self(text.into()))
        } else {
            Err(HostError { text: text.chars().take(255).collect() })
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Splits off the port. A bracketed address holds colons of its own.
fn split(text: &str) -> (&str, Option<&str>) {
    let colon = match text.rfind(']') {
        Some(bracket) => text.rfind(':').filter(|&colon| colon > bracket),
        None => text.find(':'),
    };
    match colon.and_then(|colon| text.split_at_checked(colon)) {
        Some((name, port)) => (name, port.get(1..)),
        None => (text, None),
    }
}

fn is_host(text: &str) -> bool {
    let (name, port) = split(text);
    let port_is_good =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let name_is_good = match name.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(is_ipv6),
        None => name.split('.').all(is_label),
    };
    port_is_good && name_is_good
}

/// The reference grammar allows any run of hex digits and colons between the brackets.
fn is_ipv6(inner: &str) -> bool {
    !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':')
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        text.parse().unwrap()
    }

    #[test]
    fn loopback_is_told_from_the_written_form() {
        for text in ["localhost", "localhost:5000", "127.0.0.1", "127.8.8.8:1", "[::1]:5000"] {
            assert!(host(text).is_loopback(), "{text}");
        }
        for text in ["localhost.example", "10.0.0.1", "[2001:db8::1]", "docker.io"] {
            assert!(!host(text).is_loopback(), "{text}");
        }
    }

    #[test]
    fn the_docker_hub_is_contacted_at_its_api_host() {
        for text in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
            assert_eq!(host(text).api_host().as_str(), "registry-1.docker.io");
        }
        assert_eq!(host("ghcr.io:443").api_host().as_str(), "ghcr.io:443");
    }

    #[test]
    fn texts_outside_the_grammar_are_refused() {
        let bad =
            ["", "a_b", "-a", "a-", "a..b", "a.", "a:", "a:b", "a:1:2", "::1", "[::1", "[]", "a/b"];
        for text in bad {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }
}
