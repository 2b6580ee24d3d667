//! Redirects: where the next hop goes, and whether credentials go along.
//!
//! At most ten hops; never from https to http, to another scheme, to a URL with a user part, or
//! from the internet into a private network. Credentials belong to the origin: once a chain has
//! left it they stay away, also when it comes back. Rules: `registry.md` §1.2, cases R95 to R103.

use url::Url;

use crate::realm::{self, Namer};

/// Hops of one request.
pub(crate) const HOPS: usize = 10;

/// Why there is no next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHop {
    /// The address breaks this rule.
    Refused(&'static str),
    /// There is no single `Location`.
    Unusable,
}

/// Says whether an answer of this status names another place.
pub(crate) const fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Returns the next hop: `locations` are all `Location` headers of the answer to `url`.
pub(crate) fn next<'a>(
    url: &Url,
    locations: impl IntoIterator<Item = &'a [u8]>,
    namer: Namer,
) -> Result<Url, NoHop> {
    let mut locations = locations.into_iter();
    let (Some(location), None) = (locations.next(), locations.next()) else {
        return Err(NoHop::Unusable);
    };
    let location = std::str::from_utf8(location).map_err(|_| NoHop::Unusable)?.trim();
    if location.is_empty() {
        return Err(NoHop::Unusable);
    }
    let mut next = url.join(location).map_err(|_| NoHop::Unusable)?;
    let allows_http = namer.allows_http || url.scheme() == "http";
    realm::check_url(&next, Namer { allows_http, ..namer }).map_err(|why| {
        NoHop::Refused(if why == "it is not https" { "it leads from https to http" } else { why })
    })?;
    next.set_fragment(None);
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Class;

    fn next_of(locations: &[&str], class: Class) -> Result<String, NoHop> {
        let url = Url::parse("https://r.example/v2/a/blobs/x?y=z").unwrap();
        let locations = locations.iter().map(|text| text.as_bytes());
        next(&url, locations, Namer { class, allows_http: false }).map(|url| url.to_string())
    }

    #[test]
    fn a_location_is_resolved_against_the_request() {
        let rows = [
            ("https://cdn.example/b?sig=1", "https://cdn.example/b?sig=1"),
            ("/other", "https://r.example/other"),
            ("../x", "https://r.example/v2/a/x"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("/x#f", "https://r.example/x"),
        ];
        for (location, expected) in rows {
            assert_eq!(next_of(&[location], Class::Public).as_deref(), Ok(expected), "{location}");
        }
    }

    #[test]
    fn unsafe_places_are_refused() {
        let bad = [
            "http://cdn.example/b",
            "file:///etc/passwd",
            "ftp://cdn.example/",
            "data:,x",
            "https://user:pw@cdn.example/",
            "https://10.0.0.1/",
            "https://169.254.169.254/",
            "https://[::1]/",
        ];
        for location in bad {
            let outcome = next_of(&[location], Class::Public);
            assert!(matches!(outcome, Err(NoHop::Refused(_))), "{location}: {outcome:?}");
        }
        assert!(next_of(&["https://10.0.0.1/"], Class::Private).is_ok());
        assert!(next_of(&["https://169.254.169.254/"], Class::Private).is_err());
    }

    #[test]
    fn none_or_two_locations_are_unusable() {
        for locations in [&[][..], &[""], &["/a", "/b"]] {
            assert_eq!(next_of(locations, Class::Public), Err(NoHop::Unusable));
        }
    }
}
