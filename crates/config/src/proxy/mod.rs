//! Which HTTP proxy, if any, a URL is contacted through.
//!
//! Rules: `registry.md` §5, which are those of Go's programs. The decision is made for each host
//! anew: registry, token service and the host of a redirect. Names are not resolved. Values can
//! hold passwords: `Debug` shows which are set and no more. Settings count where the environment
//! names none. Not here: talking to a proxy (`orlop-registry`).

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use crate::env::{self, Environment, Variable};
use crate::error::Error;
use crate::settings::Network;

mod exceptions;
#[cfg(test)]
mod tests;

use exceptions::Exceptions;

/// What an environment, or else the settings, say about proxies. Equal values decide alike.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Proxies {
    http: Option<Named>,
    https: Option<Named>,
    all: Option<Named>,
    exceptions: Exceptions,
    is_cgi: bool,
}

/// A value and the spelling it was found under.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Named {
    name: &'static str,
    value: String,
}

impl Proxies {
    /// Reads the variables. Bad values are errors of [`Proxies::for_url`], for URLs that need them.
    #[must_use]
    pub fn of(environment: &Environment) -> Self {
        let named = |variable: Variable| {
            let (name, value) = environment.spelled(variable)?;
            Some(Named { name, value: value.to_string_lossy().trim().to_owned() })
        };
        let exceptions = environment.get(env::NO_PROXY).unwrap_or_default();
        Self {
            http: named(env::HTTP_PROXY),
            https: named(env::HTTPS_PROXY),
            all: named(env::ALL_PROXY),
            exceptions: Exceptions::parse(&exceptions.to_string_lossy()),
            is_cgi: environment.get(env::REQUEST_METHOD).is_some(),
        }
    }

    /// Returns these, or where the environment names no proxy at all, the settings' proxy. The hosts
    /// of `NO_PROXY` are contacted directly in both cases.
    #[must_use]
    pub fn or(self, settings: &Network) -> Self {
        let Some(value) = &settings.proxy else { return self };
        if self.http.is_some() || self.https.is_some() || self.all.is_some() {
            return self;
        }
        let all = Some(Named { name: "network.proxy", value: value.clone() });
        let exceptions = self.exceptions.and(Exceptions::parse(&settings.no_proxy));
        Self { all, exceptions, ..self }
    }

    /// Returns the proxy for a URL, `None` for a direct connection.
    ///
    /// # Errors
    /// [`Error::Variable`] when the value for this URL is no proxy, or when `HTTP_PROXY` may come
    /// from a stranger's request because `REQUEST_METHOD` is set.
    pub fn for_url(&self, url: &Url) -> Result<Option<Url>, Error> {
        let by_scheme = match url.scheme() {
            "https" => &self.https,
            "http" => &self.http,
            _ => return Ok(None),
        };
        let Some(host) = url.host() else { return Ok(None) };
        let port = url.port_or_known_default();
        if is_local(&host) || self.exceptions.cover(&host, port) {
            return Ok(None);
        }
        let Some(named) = by_scheme.as_ref().or(self.all.as_ref()) else { return Ok(None) };
        if self.is_cgi && named.name == "HTTP_PROXY" {
            let problem = "not used in a CGI program, where a request can set it".to_owned();
            return Err(Error::Variable { name: named.name.into(), problem });
        }
        let parsed = parse(&named.value);
        let problem = || Error::Variable {
            name: named.name.into(),
            problem: format!("not a proxy: it has to be {EXPECTED}"),
        };
        parsed.map(Some).ok_or_else(problem)
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = [&self.http, &self.https, &self.all];
        let set: Vec<_> = set.into_iter().flatten().map(|named| named.name).collect();
        out.debug_struct("Proxies")
            .field("set", &set)
            .field("exceptions", &self.exceptions)
            .finish_non_exhaustive()
    }
}

/// Hosts that no proxy can mean.
fn is_local(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => IpAddr::from(*address).is_loopback(),
        Host::Ipv6(address) => IpAddr::from(*address).is_loopback(),
    }
}

/// What a value has to be.
pub(crate) const EXPECTED: &str = "http://, https:// or socks5:// and a host, or host:port";

/// A URL, or `host:port` for an `http` proxy.
pub(crate) fn parse(value: &str) -> Option<Url> {
    let is_proxy = |url: &Url| {
        matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") && url.has_host()
    };
    let written = Url::parse(value).ok().filter(is_proxy);
    let has_scheme = value.contains("://");
    let completed =
        || Url::parse(&format!("http://{value}")).ok().filter(|url| !has_scheme && is_proxy(url));
    written.or_else(completed)
}
