//! Keys of credential files: which key means which host, and which key is written.
//!
//! Sources: docker/cli (`configfile`), containers/image (`pkg/docker/config`), Apptainer's
//! behaviour. Docker Hub has three host names and one old URL; all mean the same login.
//!
//! Not here: the files themselves ([`crate::docker_json`]).

use crate::Error;

/// The key that docker, podman and Apptainer use for Docker Hub.
pub const HUB_KEY: &str = "https://index.docker.io/v1/";

/// Host names of Docker Hub.
const HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// Keys of docker's own tokens for Docker Hub, which are no login of a registry. Its logout
/// removes them too.
const HUB_TOKENS: [&str; 2] =
    ["https://index.docker.io/v1/access-token", "https://index.docker.io/v1/refresh-token"];

/// True for the names of Docker Hub.
#[must_use]
pub fn is_hub(host: &str) -> bool {
    HUB_HOSTS.iter().any(|hub| hub.eq_ignore_ascii_case(host))
}

/// The key under which a login for `host[:port]` or `host/namespace` is stored.
#[must_use]
pub fn key_to_write(place: &str) -> String {
    if is_hub(place) { HUB_KEY.to_owned() } else { place.trim_end_matches('/').to_owned() }
}

/// The key that helpers are asked for: never one with a namespace.
#[must_use]
pub fn helper_key(host: &str) -> String {
    if is_hub(host) { HUB_KEY.to_owned() } else { host.to_owned() }
}

/// The host with its port of a place.
#[must_use]
pub fn host_of(place: &str) -> &str {
    place.split('/').next().unwrap_or_default()
}

/// The place that a stored key means, for showing it: without scheme and API path; Docker Hub as
/// `docker.io`.
#[must_use]
pub fn place_of(key: &str) -> &str {
    let (scheme, bare) = split_scheme(key.trim_end_matches('/'));
    let place = if scheme.is_some() { host_of(bare) } else { bare };
    if is_hub(place) { "docker.io" } else { place }
}

/// True when two places are the same: hosts in any case and by any of Docker Hub's names.
#[must_use]
pub fn is_same_place(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim_end_matches('/'), b.trim_end_matches('/'));
    let (host, other) = (host_of(a), host_of(b));
    same_host(host, other) && a.get(host.len()..) == b.get(other.len()..)
}

/// Says whether a place can be a key: `host[:port][/namespace...]` without a scheme or a user.
///
/// # Errors
/// [`Error::Unusable`] naming the fault.
pub fn check_place(place: &str) -> Result<(), Error> {
    let (host, namespace) = place.split_once('/').unwrap_or((place, ""));
    let what = if host.is_empty() {
        "has no host"
    } else if place.contains("://") {
        "has a scheme in it"
    } else if place.contains('@') {
        "has a user in it"
    } else if namespace.contains(':') {
        "has a tag in it"
    } else if place.chars().any(|c| c.is_whitespace() || c.is_control()) {
        "has white space in it"
    } else {
        return Ok(());
    };
    Err(Error::Unusable { what: format!("`{}` {what}", place.escape_debug()) })
}

/// How well a stored key fits a place; a lower rank is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// The same text as `host` followed by this many path components: more are better, so the
    /// number is how many of the place's components the key lacks.
    Exact(usize),
    /// The host's other spellings, best first: case, trailing slash, `https://host`,
    /// `https://host/v1/`, `/v2/`, any other scheme or path.
    Alias(u8),
}

/// Says how a stored key fits `host` and the repository `path` below it, if it does.
///
/// `path` is empty for a login of the whole host.
#[must_use]
pub fn fit(key: &str, host: &str, path: &str) -> Option<Fit> {
    let place = if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") };
    let trimmed = key.trim_end_matches('/');
    if HUB_TOKENS.contains(&trimmed) {
        return None;
    }
    let (scheme, bare) = split_scheme(trimmed);
    if scheme.is_none() {
        if let Some(rest) = place.strip_prefix(trimmed)
            && trimmed.len() >= host.len()
            && (rest.is_empty() || rest.starts_with('/'))
        {
            return Some(Fit::Exact(rest.matches('/').count()));
        }
        if bare.contains('/') {
            return None;
        }
        return same_host(bare, host).then_some(Fit::Alias(0));
    }
    let key_host = bare.split('/').next().unwrap_or_default();
    if !same_host(key_host, host) {
        return None;
    }
    let rest = bare.get(key_host.len()..).unwrap_or_default();
    Some(Fit::Alias(match (scheme, rest) {
        (Some("https"), "") => 1,
        (Some("https"), "/v1") => 2,
        (Some("https"), "/v2") => 3,
        _ => 4,
    }))
}

/// True when a stored key is a login of this place, in any spelling: what a logout removes.
///
/// A login of `host/namespace` is another one than that of `host`.
#[must_use]
pub fn is_login_of(key: &str, place: &str) -> bool {
    let place = place.trim_end_matches('/');
    match place.split_once('/') {
        Some((host, path)) => fit(key, host, path) == Some(Fit::Exact(0)),
        None => fit(key, place, "").is_some() || (is_hub(place) && HUB_TOKENS.contains(&key)),
    }
}

/// The place that a helper is asked for by this key, whatever spelling the asking program has;
/// `None` for a key that is kept under its very text (docker's own tokens for Docker Hub).
#[must_use]
pub fn asked_place(key: &str) -> Option<&str> {
    let key = key.trim_end_matches('/');
    let (scheme, bare) = split_scheme(key);
    let path = bare.get(host_of(bare).len()..).unwrap_or_default();
    (scheme.is_none() || matches!(path, "" | "/v1" | "/v2")).then(|| place_of(key))
}

fn split_scheme(key: &str) -> (Option<&str>, &str) {
    for scheme in ["https", "http"] {
        if let Some(bare) = key.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")) {
            return (Some(scheme), bare);
        }
    }
    (None, key)
}

fn same_host(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || (is_hub(a) && is_hub(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_keys_fit_their_hosts() {
        for (key, host, path, fits) in [
            (HUB_KEY, "docker.io", "library/alpine", Some(Fit::Alias(2))),
            ("docker.io", "docker.io", "library/alpine", Some(Fit::Exact(2))),
            ("index.docker.io", "docker.io", "", Some(Fit::Alias(0))),
            ("registry-1.docker.io", "index.docker.io", "x/y", Some(Fit::Alias(0))),
            ("https://reg.example.com", "reg.example.com", "a", Some(Fit::Alias(1))),
            ("https://reg.example.com/v1/", "reg.example.com", "a", Some(Fit::Alias(2))),
            ("http://reg.example.com/v2/", "reg.example.com", "a", Some(Fit::Alias(4))),
            ("reg.example.com:443", "reg.example.com", "a", None),
            ("reg.example.com:443", "reg.example.com:443", "a", Some(Fit::Exact(1))),
            ("reg.example.com/", "reg.example.com", "", Some(Fit::Exact(0))),
            ("reg.example.com/team", "reg.example.com", "team/x", Some(Fit::Exact(1))),
            ("reg.example.com/team", "reg.example.com", "teamwork", None),
            ("reg.example.com/team", "reg.example.com", "", None),
            ("REG.example.com", "reg.example.com", "a", Some(Fit::Alias(0))),
            ("reg.example.co", "reg.example.com", "a", None),
        ] {
            assert_eq!(fit(key, host, path), fits, "{key} for {host}/{path}");
        }
    }

    #[test]
    fn a_helper_is_asked_by_any_spelling() {
        for (key, place) in [
            (HUB_KEY, Some("docker.io")),
            ("index.docker.io", Some("docker.io")),
            ("https://h.example:5000", Some("h.example:5000")),
            ("http://h.example/v1/", Some("h.example")),
            ("h.example/", Some("h.example")),
            ("h.example/ns", Some("h.example/ns")),
            ("https://index.docker.io/v1/access-token", None),
            ("https://h.example/team", None),
        ] {
            assert_eq!(asked_place(key), place, "{key}");
        }
    }

    #[test]
    fn a_logout_removes_every_spelling_and_no_namespace() {
        for key in [HUB_KEY, "docker.io", "index.docker.io", "https://docker.io", HUB_TOKENS[0]] {
            assert!(is_login_of(key, "docker.io"), "{key}");
        }
        assert_eq!(fit(HUB_TOKENS[0], "docker.io", ""), None, "it opens no registry");
        assert!(!is_login_of("h.example/ns", "h.example"));
        assert!(is_login_of("h.example/ns", "h.example/ns"));
        assert!(!is_login_of("h.example", "h.example/ns"));
    }
}
