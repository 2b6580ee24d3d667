//! References: `host/path[:tag][@digest]`, normalised as Docker does.
//!
//! Grammar and steps: `registry.md` §6.1; cases: `tests/data/reference-cases.toml`. The host is
//! always there, the tag is `latest` only where neither tag nor digest was given.
//! Not here: transports such as `docker://` ([`crate::uri`]); mirrors (`orlop-config`).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, DigestError};
use crate::host::{DOCKER_HUB, Host};

#[cfg(test)]
mod cases;
#[cfg(test)]
mod tests;

/// Longest repository path, in characters.
const PATH_MAX: usize = 255;

/// Longest tag, in characters.
const TAG_MAX: usize = 128;

/// A parsed and normalised reference.
///
/// Holding one means that the host, path, tag and digest agree with the grammar. It does not mean
/// that the registry exists.
///
/// ```
/// use orlop_oci::Reference;
/// let reference = Reference::parse("alpine:3.20").unwrap();
/// assert_eq!(reference.canonical(), "docker.io/library/alpine:3.20");
/// assert_eq!(reference.familiar(), "alpine:3.20");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    host: Host,
    path: Box<str>,
    tag: Option<Box<str>>,
    digest: Option<Digest>,
}

/// Why a text is not a reference, with the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: {kind}")]
pub struct ReferenceError {
    /// What is wrong.
    pub kind: ReferenceErrorKind,
    /// The text that was given, at most 400 characters of it.
    pub text: String,
}

/// What can be wrong with a reference. Wording is Docker's where Docker has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceErrorKind {
    /// Nothing was given.
    #[error("the reference is empty")]
    Empty,
    /// Outside the grammar.
    #[error("invalid reference format")]
    Format,
    /// Upper case in the path.
    #[error("invalid reference format: repository name ({path}) must be lowercase")]
    Uppercase {
        /// The path with its upper case.
        path: String,
    },
    /// The path is too long.
    #[error("repository name must not be more than {PATH_MAX} characters")]
    TooLong,
    /// 64 hex digits alone: an image id of a local store, not a name.
    #[error("invalid repository name: cannot be 64 hexadecimal characters")]
    HexId,
    /// The text after `@` is not a digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// Text that has to be a whole reference leaves out its host.
    #[error("repository name must be canonical")]
    NotCanonical,
}

impl ReferenceError {
    fn of(kind: ReferenceErrorKind, text: &str) -> Self {
        let text = masked(text);
        let kind = match kind {
            ReferenceErrorKind::Uppercase { path } => {
                ReferenceErrorKind::Uppercase { path: masked(&path).into_owned() }
            }
            kind => kind,
        };
        Self { kind, text: text.chars().take(400).collect() }
    }
}

/// A text that was given as a reference, for messages: what looks like a user and password before
/// a host, in front of which a transport may stand, is `***`. A reference has no place for them.
///
/// ```
/// use orlop_oci::reference::masked;
/// assert_eq!(masked("docker://me:pw@host.example/x"), "docker://***@host.example/x");
/// assert_eq!(masked("alpine:3@sha256:00"), "alpine:3@sha256:00");
/// ```
#[must_use]
pub fn masked(text: &str) -> Cow<'_, str> {
    let (before, rest) = text.split_at(text.find("://").map_or(0, |at| at.saturating_add(3)));
    let Some((user, place)) = rest.rsplit_once('@') else { return Cow::Borrowed(text) };
    let is_digest = ["sha", "md5"].iter().any(|name| place.starts_with(name))
        && place.contains(':')
        || !user.contains(':') && !place.contains('/');
    if is_digest {
        // Another may stand before it.
        return match user.rsplit_once('@') {
            Some(_) => Cow::Owned(format!("{before}{}@{place}", masked(user))),
            None => Cow::Borrowed(text),
        };
    }
    Cow::Owned(format!("{before}***@{place}"))
}

impl ReferenceErrorKind {
    /// Returns the kind's name in `tests/data/reference-cases.toml`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Format => "format",
            Self::Uppercase { .. } => "uppercase",
            Self::TooLong => "too-long",
            Self::HexId => "hex-id",
            Self::Digest(DigestError::Length) => "digest-length",
            Self::Digest(DigestError::Format) => "digest-format",
            Self::Digest(DigestError::Algorithm { .. }) => "digest-algorithm",
            Self::NotCanonical => "not-canonical",
        }
    }
}

impl Reference {
    /// Parses what a user types after `docker://` or `oras://`.
    ///
    /// # Errors
    /// One [`ReferenceErrorKind`] for each way a text can be outside the grammar.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        parse(text).map_err(|kind| ReferenceError::of(kind, text))
    }

    /// Parses a text that must name its host, its path and a tag or digest in full, as the result
    /// of a rewriting rule has to.
    ///
    /// # Errors
    /// As [`Reference::parse`], and [`ReferenceErrorKind::NotCanonical`] when normalising would
    /// change the text.
    pub fn parse_canonical(text: &str) -> Result<Self, ReferenceError> {
        let reference = Self::parse(text)?;
        if reference.canonical() == text {
            Ok(reference)
        } else {
            let kind = ReferenceErrorKind::NotCanonical;
            Err(ReferenceError::of(kind, text))
        }
    }

    /// Returns the registry's host, `docker.io` for the Docker Hub.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the path within the registry, with `library/` where Docker adds it.
    #[must_use]
    pub const fn path(&self) -> &str {
        &self.path
    }

    /// Returns the tag; `latest` when neither tag nor digest was given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest when there is one. A pull then goes by it and not by the tag.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns `host/path`.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// Returns `host/path[:tag][@digest]`.
    #[must_use]
    pub fn canonical(&self) -> String {
        self.to_string()
    }

    /// Returns the shortest form, as Docker shows it, the tag always shown. It parses to the same
    /// reference, but for a path at the Docker Hub that begins like a host (`docker.io/a.b/c`).
    #[must_use]
    pub fn familiar(&self) -> String {
        let mut text = if self.host.as_str() == DOCKER_HUB {
            match self.path.strip_prefix("library/") {
                Some(name) if !name.contains('/') => name.to_owned(),
                _ => self.path.to_string(),
            }
        } else {
            self.repository()
        };
        text.push_str(&self.suffix());
        text
    }

    /// Returns the same repository and tag with `digest` in place of any digest it had.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// Returns the same repository with `tag` and no digest, `None` when `tag` is not one.
    #[must_use]
    pub fn with_tag(&self, tag: &str) -> Option<Self> {
        is_tag(tag).then(|| Self { tag: Some(tag.into()), digest: None, ..self.clone() })
    }

    /// Returns what goes after `manifests/` in a request: the digest, else the tag.
    #[must_use]
    pub fn selector(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.as_deref().unwrap_or("latest").to_owned(),
        }
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
        tag + &digest
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}{}", self.host, self.path, self.suffix())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

/// The host and the rest, as Docker's normalisation splits them: the text before the first `/` is
/// a host only if it looks like one.
fn split_host(text: &str) -> (&str, &str) {
    let (host, rest) = match text.split_once('/') {
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.chars().any(char::is_uppercase) =>
        {
            (first, rest)
        }
        _ => (DOCKER_HUB, text),
    };
    (if host == "index.docker.io" { DOCKER_HUB } else { host }, rest)
}

fn parse(text: &str) -> Result<Reference, ReferenceErrorKind> {
    if text.is_empty() {
        return Err(ReferenceErrorKind::Empty);
    }
    if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(ReferenceErrorKind::HexId);
    }
    let (host, rest) = split_host(text);
    let before_tag = rest.split(':').next().unwrap_or(rest);
    if before_tag.chars().any(char::is_uppercase) {
        return Err(ReferenceErrorKind::Uppercase { path: before_tag.chars().take(300).collect() });
    }
    let host: Host = host.parse().map_err(|_text_is_in_ours| ReferenceErrorKind::Format)?;
    let (name, digest) = match rest.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (rest, None),
    };
    let (path, tag) = match name.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (name, None),
    };
    let in_grammar = !path.is_empty()
        && path.split('/').all(is_component)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(looks_like_digest);
    if !in_grammar {
        return Err(ReferenceErrorKind::Format);
    }
    let path = if host.as_str() == DOCKER_HUB && !path.contains('/') {
        format!("library/{path}")
    } else {
        path.to_owned()
    };
    if path.len() > PATH_MAX {
        return Err(ReferenceErrorKind::TooLong);
    }
    let digest = digest.map(str::parse).transpose()?;
    let tag = match (tag, &digest) {
        (None, None) => Some("latest"),
        (tag, _) => tag,
    };
    Ok(Reference { host, path: path.into(), tag: tag.map(Into::into), digest })
}

/// Lower-case letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_component(component: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends_are_words =
        bytes.first().copied().is_some_and(is_word) && bytes.last().copied().is_some_and(is_word);
    ends_are_words
        && bytes.split(|&byte| is_word(byte)).all(|separator| {
            matches!(separator, b"" | b"." | b"_" | b"__")
                || separator.iter().all(|&byte| byte == b'-')
        })
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= TAG_MAX
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

/// The reference grammar's idea of a digest, wider than [`Digest`]: an algorithm in parts and at
/// least 32 hex digits of either case.
fn looks_like_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let parts_are_good = algorithm.split(['-', '_', '+', '.']).all(|part| {
        part.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    parts_are_good && hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}
