//! Clients: one pool of connections for each way to reach a host, and what its errors mean.
//!
//! A client never follows a redirect, keeps no cookies, sends no credentials of its own and asks
//! for no compression. Not here: which client a request takes ([`crate::request`]).

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use orlop_config::{Proxies, limits};
use reqwest::redirect::Policy;
use url::Url;

use crate::address::{Forbidden, Lookup, Rule};
use crate::connections::Connections;
use crate::endpoint::Endpoint;
use crate::error::{BoxError, Error};
use crate::realm;
use crate::surroundings::Roots;
use crate::tls::{self, Checks, HostCertificates, Trusted, Verdict};

/// What connections are pooled by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientKey {
    pub(crate) proxies: Proxies,
    pub(crate) roots: Roots,
    /// [`HostCertificates::fingerprint`].
    pub(crate) certificates: String,
    /// Whether the client's pair of those certificates may be shown.
    pub(crate) shows_pair: bool,
    pub(crate) checks: Checks,
    pub(crate) rule: Rule,
    pub(crate) connect_time: Duration,
    /// Bytes of all header fields of an answer.
    pub(crate) header_bytes: u64,
}

/// A client, and its connections.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) connections: Connections,
}

/// Makes a client.
pub(crate) fn client(
    key: &ClientKey,
    roots: &Trusted,
    certificates: &HostCertificates,
) -> Result<Client, Error> {
    let config = tls::config(roots, certificates, key.checks, key.shows_pair)?;
    let proxies = key.proxies.clone();
    let header_list = u32::try_from(key.header_bytes).unwrap_or(u32::MAX);
    let connections = Connections::default();
    let built = reqwest::Client::builder()
        .connector_layer(connections.clone())
        .tls_backend_preconfigured(config)
        .redirect(Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        // An address that does not parse has been refused before a request goes out.
        .proxy(reqwest::Proxy::custom(move |url| proxies.for_url(url).ok().flatten()))
        .dns_resolver(Lookup(key.rule))
        .connect_timeout(key.connect_time)
        .http1_max_headers(limits::HEADER_FIELDS)
        .http2_max_header_list_size(header_list)
        .http2_initial_stream_window_size(4 << 20)
        .http2_initial_connection_window_size(16 << 20)
        // A connection that does not answer a PING is dead: what waits on it goes to another.
        .http2_keep_alive_interval(key.connect_time)
        .http2_keep_alive_timeout(key.connect_time)
        .pool_max_idle_per_host(limits::CONNECTIONS_PER_HOST)
        .pool_idle_timeout(Duration::from_secs(60))
        .tcp_keepalive(Duration::from_secs(30))
        .user_agent(concat!("orlop/", env!("CARGO_PKG_VERSION"), " (linux)"))
        .build();
    let http = built.map_err(|cause| Error::Certificate {
        path: PathBuf::from("TLS"),
        what: cause.without_url().to_string(),
    })?;
    Ok(Client { http, connections })
}

/// Says what an error of the HTTP library means; `url` is where the request went.
pub(crate) fn classify(error: reqwest::Error, url: &Url, proxies: &Proxies) -> Error {
    let Some(endpoint) = Endpoint::of(url) else {
        return Error::NoHost { host: url.host_str().unwrap_or_default().to_owned() };
    };
    let error = error.without_url();
    if tls::find::<Forbidden>(&error).is_some() {
        return Error::Redirect { endpoint, why: realm::PRIVATE };
    }
    let lasting = match tls::verdict(&error) {
        Some(Verdict::Refused { what, why }) => return Error::Tls { endpoint, what, why },
        Some(Verdict::NotTls) => true,
        None => is_no_such_name(&error),
    };
    if let Some(error) = tls::find::<hyper::Error>(&error) {
        if error.is_parse_too_large() {
            let limit = limits::HEADER_BYTES;
            return Error::Limit { endpoint, key: "header-bytes", limit };
        }
        if error.is_parse() {
            return Error::Unusable { endpoint, what: error.to_string() };
        }
    }
    // The library has closed a connection whose peer only made it work (CVE-2023-45288).
    let is_flood = tls::find::<h2::Error>(&error).is_some_and(|error| {
        !error.is_remote() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
    });
    if is_flood {
        return Error::Unusable { endpoint, what: "a flood of HTTP/2 frames".to_owned() };
    }
    if let Some(cause) = misframed(&error) {
        return Error::Unusable { endpoint, what: cause.to_string() };
    }
    if error.is_connect()
        && !lasting
        && let Ok(Some(proxy)) = proxies.for_url(url)
    {
        return proxy_failed(&proxy, endpoint, None, Some(error.into()));
    }
    Error::Unreachable { endpoint, lasting, cause: error.into() }
}

/// Finds what says that a body's own frame is wrong, such as the size of a chunk: another try
/// would bring the same. What TLS wraps is damage on the way.
pub(crate) fn misframed<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    use io::ErrorKind::{InvalidData, InvalidInput};
    let found = tls::find::<io::Error>(error)?;
    let is_frame = matches!(found.kind(), InvalidData | InvalidInput);
    (is_frame && tls::find::<rustls::Error>(error).is_none()).then_some(found)
}

/// Makes the error of a proxy; its user and password are left out.
pub(crate) fn proxy_failed(
    proxy: &Url,
    endpoint: Endpoint,
    status: Option<u16>,
    cause: Option<BoxError>,
) -> Error {
    let host = proxy.host_str().unwrap_or_default();
    let port = proxy.port().map(|port| format!(":{port}")).unwrap_or_default();
    let proxy = format!("{}://{host}{port}", proxy.scheme());
    Error::Proxy { proxy, endpoint, status, cause }
}

/// A name that does not exist stays away; a name server that is down comes back. The system's
/// resolver tells the two apart by text alone: EAI_AGAIN is "Temporary failure in name resolution".
fn is_no_such_name(error: &reqwest::Error) -> bool {
    error.is_dns() && {
        let mut source: Option<&dyn std::error::Error> = std::error::Error::source(error);
        let mut is_temporary = false;
        while let Some(cause) = source {
            is_temporary = is_temporary || cause.to_string().contains("Temporary failure");
            source = cause.source();
        }
        !is_temporary
    }
}
