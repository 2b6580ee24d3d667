//! Realm: may a token address be used?
//!
//! https only, plain http only for a source that is itself spoken to in plain http or insecurely;
//! never more private than the source that named it. Rules: `registry.md` §2.2, cases R18 to R21.
//! Names are checked when they are looked up ([`crate::address`]). Not here: the request
//! ([`crate::token`]).

use url::Url;

use crate::address::{Class, Rule};
use crate::endpoint::{Endpoint, Scheme};

/// The rule on addresses that are more private than their source, as literals and after a lookup.
pub(crate) const PRIVATE: &str = "it leads into a private network";

/// What the source that named an address is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Namer {
    /// How private its address is.
    pub(crate) class: Class,
    /// Whether it may name plain http.
    pub(crate) allows_http: bool,
}

/// Returns the URL of a realm.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn check(realm: &str, namer: Namer) -> Result<Url, &'static str> {
    let mut url = Url::parse(realm).map_err(|_| "it is not an absolute URL")?;
    check_url(&url, namer)?;
    url.set_fragment(None);
    Ok(url)
}

/// Checks what redirects and realms have in common: scheme, user part, address.
///
/// # Errors
/// The rule that the URL breaks.
pub(crate) fn check_url(url: &Url, namer: Namer) -> Result<Endpoint, &'static str> {
    let endpoint = Endpoint::of(url).ok_or("it is neither http nor https")?;
    if endpoint.scheme() == Scheme::Http && !namer.allows_http {
        return Err("it is not https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a user name");
    }
    let rule = Rule::named_by(namer.class);
    let host = endpoint.host().trim_end_matches('.');
    let is_local_name = host == "localhost" || host.ends_with(".localhost");
    let is_forbidden = match endpoint.address() {
        Some(address) => !rule.allows(address),
        None => is_local_name && rule == Rule::PublicOnly,
    };
    if is_forbidden { Err(PRIVATE) } else { Ok(endpoint) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(realm: &str, class: Class) -> bool {
        check(realm, Namer { class, allows_http: false }).is_err()
    }

    #[test]
    fn only_absolute_https_addresses_are_realms() {
        let bad = [
            "http://r.example/t",
            "file:///etc/passwd",
            "ftp://r.example",
            "unix:/x",
            "data:,x",
            "/token",
            "",
            "https://user:pw@r.example/t",
            "https://user@r.example/t",
            "#x",
        ];
        for realm in bad {
            assert!(refused(realm, Class::Private), "{realm}");
        }
        assert!(!refused("https://auth.example/token?x=y", Class::Public));
    }

    #[test]
    fn a_realm_is_not_more_private_than_its_source() {
        let hosts = [
            "169.254.169.254",
            "[fd00:ec2::254]",
            "127.0.0.1:5001",
            "10.0.0.1",
            "[::1]",
            "[::ffff:10.0.0.1]",
            "0.0.0.0",
            "2130706433",
            "0x7f.1",
            "127.1",
            "localhost",
        ];
        for host in hosts {
            assert!(refused(&format!("https://{host}/t"), Class::Public), "{host}");
        }
        assert!(!refused("https://127.0.0.1:5001/t", Class::Private));
        assert!(!refused("https://localhost/t", Class::Private));
        assert!(refused("https://169.254.169.254/t", Class::Private));
    }

    #[test]
    fn a_plain_http_source_may_name_plain_http() {
        let namer = Namer { class: Class::Private, allows_http: true };
        assert!(check("http://127.0.0.1:5001/token", namer).is_ok());
    }
}
