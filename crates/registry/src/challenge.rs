//! WWW-Authenticate: from header text to [`Challenge`]s.
//!
//! Grammar: RFC 9110 section 11.6.1, several challenges in one header, several headers; table in
//! `registry.md` §2.2. Never fails: what cannot be read is left out, and no challenge at all is
//! the caller's error. Not here: fetching the token ([`crate::token`]); whether the realm may be
//! trusted ([`crate::realm`]).

use std::collections::BTreeMap;

/// One way to prove who one is, as a registry offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// Scheme in lower case: `basic`, `bearer`, or another.
    pub(crate) scheme: String,
    /// Parameters by lower-case name; the first of two with one name.
    pub(crate) parameters: BTreeMap<String, String>,
}

/// The challenge that is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// User and password in each request.
    Basic,
    /// A token from a realm.
    Bearer {
        /// Address of the token service, unchecked.
        realm: String,
        /// Name under which the service knows the registry.
        service: Option<String>,
        /// Scopes the registry wants, separated by blanks.
        scope: Option<String>,
    },
}

/// Reads all challenges of all headers, in order.
pub(crate) fn parse<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Vec<Challenge> {
    headers
        .into_iter()
        .filter_map(|header| std::str::from_utf8(header).ok())
        .flat_map(|header| Reader { rest: header }.challenges())
        .collect()
}

/// Chooses Bearer with a realm before Basic; the first of each. A realm that is empty is one that
/// may not be asked, not none: it is chosen where there is nothing else, to be refused.
pub(crate) fn choose(challenges: &[Challenge]) -> Option<Method> {
    let bearer = |is_wanted: fn(&str) -> bool| {
        challenges.iter().find_map(|challenge| {
            let realm = challenge.parameters.get("realm").filter(|realm| is_wanted(realm))?;
            (challenge.scheme == "bearer").then(|| Method::Bearer {
                realm: realm.clone(),
                service: challenge.parameters.get("service").cloned(),
                scope: challenge.parameters.get("scope").cloned(),
            })
        })
    };
    let has_basic = || challenges.iter().any(|challenge| challenge.scheme == "basic");
    bearer(|realm| !realm.is_empty())
        .or_else(|| has_basic().then_some(Method::Basic))
        .or_else(|| bearer(str::is_empty))
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn challenges(mut self) -> Vec<Challenge> {
        let mut found: Vec<Challenge> = Vec::new();
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', ',']);
            let Some(word) = self.token() else { return found };
            let spaced = self.skip_blanks();
            if self.rest.starts_with('=') && self.is_token68() {
                self.rest = self.rest.trim_start_matches('=');
            } else if self.rest.starts_with('=') {
                let Some(value) = self.value() else { return found };
                if let Some(challenge) = found.last_mut() {
                    challenge.parameters.entry(word.to_ascii_lowercase()).or_insert(value);
                }
            } else {
                let scheme = word.to_ascii_lowercase();
                found.push(Challenge { scheme, parameters: BTreeMap::new() });
                if !spaced && !self.rest.is_empty() && !self.rest.starts_with(',') {
                    return found;
                }
            }
        }
    }

    /// `name=` followed by nothing but more `=`: the padding of a token68, which is no parameter.
    fn is_token68(&self) -> bool {
        let after = self.rest.trim_start_matches('=').trim_start();
        after.is_empty() || after.starts_with(',')
    }

    fn token(&mut self) -> Option<&'a str> {
        let end = self.rest.find(|letter| !is_token_char(letter)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }

    fn skip_blanks(&mut self) -> bool {
        let trimmed = self.rest.trim_start_matches([' ', '\t']);
        let skipped = trimmed.len() != self.rest.len();
        self.rest = trimmed;
        skipped
    }

    /// The value after `=`, `None` when its quote never ends: then all that follows is worthless.
    fn value(&mut self) -> Option<String> {
        self.rest = self.rest.strip_prefix('=')?;
        self.skip_blanks();
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find([' ', '\t', ',']).unwrap_or(self.rest.len());
            let (value, rest) = self.rest.split_at_checked(end)?;
            self.rest = rest;
            return Some(value.to_owned());
        };
        let mut value = String::new();
        let mut letters = quoted.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.rest = quoted.get(at.saturating_add(1)..)?;
                    return Some(value);
                }
                '\\' => value.push(letters.next()?.1),
                letter => value.push(letter),
            }
        }
        None
    }
}

const fn is_token_char(letter: char) -> bool {
    letter.is_ascii_alphanumeric()
        || matches!(
            letter,
            '!' | '#'
                | '$'
                | '%'
                | '&'
                | '\''
                | '*'
                | '+'
                | '-'
                | '.'
                | '^'
                | '_'
                | '`'
                | '|'
                | '~'
                | '/'
                | ':'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `scheme name=value name=value` for each challenge, joined by ` + `.
    fn read(headers: &[&str]) -> String {
        let challenges = parse(headers.iter().map(|header| header.as_bytes()));
        let show = |challenge: &Challenge| {
            let parameters =
                challenge.parameters.iter().map(|(name, value)| format!(" {name}={value}"));
            challenge.scheme.clone() + &parameters.collect::<String>()
        };
        challenges.iter().map(show).collect::<Vec<_>>().join(" + ")
    }

    #[test]
    fn every_written_form_is_read() {
        let rows: [(&[&str], &str); 12] = [
            (
                &[r#"Bearer realm="https://a/token",service="r",scope="repository:a/b:pull,push""#],
                "bearer realm=https://a/token scope=repository:a/b:pull,push service=r",
            ),
            (&["bearer Realm=https://r/t"], "bearer realm=https://r/t"),
            (&[r#"Basic realm="a \"quoted\" name""#], "basic realm=a \"quoted\" name"),
            (&[r#"Negotiate, Basic realm="x""#], "negotiate + basic realm=x"),
            (&["Negotiate", r#"Basic realm="x""#], "negotiate + basic realm=x"),
            (
                &[r#"bearer Realm=https://r/t , service = "x""#],
                "bearer realm=https://r/t service=x",
            ),
            (&[r#"Bearer service="x""#], "bearer service=x"),
            (&[r#"Bearer service="x", realm="https://never.ends"#], "bearer service=x"),
            (&["Negotiate YIIB==, Basic realm=x"], "negotiate + basic realm=x"),
            (&["", ",,", "   "], ""),
            (&["Bearer"], "bearer"),
            (&["Basic realm=a,realm=b"], "basic realm=a"),
        ];
        for (headers, expected) in rows {
            assert_eq!(read(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn bearer_with_a_realm_is_chosen_before_basic() {
        let chosen = |header: &str| choose(&parse([header.as_bytes()]));
        let bearer = |realm: &str| {
            Some(Method::Bearer { realm: realm.to_owned(), service: None, scope: None })
        };
        assert_eq!(chosen("Basic realm=x, Bearer realm=https://r"), bearer("https://r"));
        assert_eq!(chosen("Bearer realm=https://r, Bearer realm=https://s"), bearer("https://r"));
        assert_eq!(chosen("Bearer service=x, Basic realm=x"), Some(Method::Basic));
        assert_eq!(chosen("Bearer realm=\"\""), bearer(""));
        assert_eq!(chosen("Bearer realm=\"\", Basic realm=x"), Some(Method::Basic));
        assert_eq!(chosen("Negotiate"), None);
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parser_panic(header in ".{0,200}") {
            drop(choose(&parse([header.as_bytes()])));
        }
    }
}
