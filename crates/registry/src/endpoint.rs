//! Endpoint: the scheme, host and port at which something is contacted.
//!
//! What credentials, client certificates and warnings belong to: an origin in the sense of
//! RFC 6454. Shown without user, path and query, so it is safe in messages and logs.
//! Not here: the host of a reference (`orlop_oci::Host`).

use std::fmt;
use std::net::IpAddr;

use orlop_oci::Host;
use url::Url;

use crate::error::Error;

/// How an endpoint is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// TLS.
    Https,
    /// Plain text.
    Http,
}

impl Scheme {
    /// Returns the scheme of a URL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

/// An origin: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    scheme: Scheme,
    host: Box<str>,
    port: u16,
}

impl Endpoint {
    /// Returns the endpoint at which a registry is contacted by this scheme.
    ///
    /// # Errors
    /// [`Error::NoHost`] when the host's digits are no port, or the name is none.
    pub fn of_host(scheme: Scheme, host: &Host) -> Result<Self, Error> {
        let wrong = || Error::NoHost { host: host.to_string() };
        let text = format!("{}://{}/", scheme.name(), host.api_host());
        Self::of(&Url::parse(&text).map_err(|_| wrong())?).ok_or_else(wrong)
    }

    /// Returns the origin of a URL, `None` when it is neither http nor https.
    #[must_use]
    pub fn of(url: &Url) -> Option<Self> {
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return None,
        };
        let port = url.port_or_known_default()?;
        Some(Self { scheme, host: url.host_str()?.into(), port })
    }

    /// Returns the scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the host without its port; an IPv6 address keeps its brackets.
    #[must_use]
    pub const fn host(&self) -> &str {
        &self.host
    }

    /// Returns the address when the host is written as one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        let name = self.host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        name.unwrap_or(&self.host).parse().ok()
    }

    /// Returns the URL of `path`, which starts with `/` and may carry a query.
    ///
    /// # Errors
    /// [`Error::NoHost`] when the two make no URL.
    pub fn url(&self, path: &str) -> Result<Url, Error> {
        Url::parse(&format!("{self}{path}")).map_err(|_| Error::NoHost { host: self.to_string() })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", self.scheme.name(), self.host)?;
        match (self.scheme, self.port) {
            (Scheme::Https, 443) | (Scheme::Http, 80) => Ok(()),
            (_, port) => write!(out, ":{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_docker_hub_is_contacted_at_its_api_host() {
        let endpoint = Endpoint::of_host(Scheme::Https, &Host::docker_hub()).unwrap();
        assert_eq!(endpoint.to_string(), "https://registry-1.docker.io");
    }

    #[test]
    fn a_written_default_port_is_the_same_origin() {
        let origin = |text: &str| Endpoint::of(&Url::parse(text).unwrap()).unwrap();
        assert_eq!(origin("https://a.example:443/x?y"), origin("https://A.example"));
        assert_ne!(origin("https://a.example:444"), origin("https://a.example"));
        assert_ne!(origin("http://a.example:443"), origin("https://a.example"));
    }

    #[test]
    fn digits_that_are_no_port_are_an_error() {
        let host = "example.com:99999".parse().unwrap();
        assert!(matches!(Endpoint::of_host(Scheme::Https, &host), Err(Error::NoHost { .. })));
    }
}
