//! Routes: names for the requests a test speaks of.
//!
//! A [`Route`] is asked of the scripted registry's log (`count`, `ranges`) and given scripts and
//! gates. Not here: the answers ([`super::Answer`]).

use crate::digest::Digest;

/// A kind of request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route(pub(crate) Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Any,
    Ping,
    Token,
    Head(String),
    Manifest(String),
    Config,
    Layer(usize),
    Blob(Digest),
    Blobs,
    HeadBlobs,
    Tags,
    Upload(Upload),
}

/// Steps of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// `POST`: the session.
    Start,
    /// `PATCH`: a piece.
    Piece,
    /// `PUT` of the session's end.
    Finish,
    /// `PUT` of a manifest.
    Manifest,
    /// `GET` of the session: what it has.
    Status,
    /// `DELETE` of the session.
    Close,
}

/// Every request.
#[must_use]
pub const fn any() -> Route {
    Route(Kind::Any)
}

/// `GET /v2/`.
#[must_use]
pub const fn ping() -> Route {
    Route(Kind::Ping)
}

/// Requests to the token server.
#[must_use]
pub const fn token() -> Route {
    Route(Kind::Token)
}

/// `HEAD` of a manifest by `name:tag` or `name@digest`.
#[must_use]
pub fn head(reference: &str) -> Route {
    Route(Kind::Head(reference.to_owned()))
}

/// `GET` of a manifest by `name:tag` or `name@digest`.
#[must_use]
pub fn manifest(reference: &str) -> Route {
    Route(Kind::Manifest(reference.to_owned()))
}

/// `GET` of a config of an image that the test gave.
#[must_use]
pub const fn config() -> Route {
    Route(Kind::Config)
}

/// `GET` of a layer, counted from 0 over the images that the test gave, in their order.
#[must_use]
pub const fn layer(number: usize) -> Route {
    Route(Kind::Layer(number))
}

/// `GET` of one blob.
#[must_use]
pub const fn blob(digest: Digest) -> Route {
    Route(Kind::Blob(digest))
}

/// `GET` of any blob, configs included.
#[must_use]
pub const fn blobs() -> Route {
    Route(Kind::Blobs)
}

/// `HEAD` of any blob.
#[must_use]
pub const fn head_blobs() -> Route {
    Route(Kind::HeadBlobs)
}

/// `GET` of a page of tags.
#[must_use]
pub const fn tags() -> Route {
    Route(Kind::Tags)
}

/// One step of uploads.
#[must_use]
pub const fn upload(step: Upload) -> Route {
    Route(Kind::Upload(step))
}

/// What a request was, once its path has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Ping,
    Token,
    Manifest { name: String, reference: String, digest: Option<Digest> },
    Blob { name: String, digest: Digest },
    UploadStart { name: String },
    UploadSession { name: String, session: String },
    Tags { name: String },
    Other,
}

impl Asked {
    /// Reads method and path of the distribution API.
    pub(crate) fn read(path: &str) -> Self {
        if path == "/token" {
            return Self::Token;
        }
        let Some(rest) = path.strip_prefix("/v2") else { return Self::Other };
        let rest = rest.trim_start_matches('/');
        if rest.is_empty() {
            return Self::Ping;
        }
        if let Some((name, session)) = rest.rsplit_once("/blobs/uploads/") {
            let name = name.to_owned();
            return match session {
                "" => Self::UploadStart { name },
                session => Self::UploadSession { name, session: session.to_owned() },
            };
        }
        if let Some(name) = rest.strip_suffix("/blobs/uploads") {
            return Self::UploadStart { name: name.to_owned() };
        }
        if let Some((name, reference)) = rest.rsplit_once("/manifests/") {
            let digest = reference.contains(':').then(|| Digest::named(reference));
            return Self::Manifest {
                name: name.to_owned(),
                reference: reference.to_owned(),
                digest,
            };
        }
        if let Some((name, digest)) = rest.rsplit_once("/blobs/") {
            return Self::Blob { name: name.to_owned(), digest: Digest::named(digest) };
        }
        match rest.strip_suffix("/tags/list") {
            Some(name) => Self::Tags { name: name.to_owned() },
            None => Self::Other,
        }
    }

    /// The repository spoken of.
    pub(crate) fn repository(&self) -> Option<&str> {
        match self {
            Self::Manifest { name, .. }
            | Self::Blob { name, .. }
            | Self::UploadStart { name }
            | Self::UploadSession { name, .. }
            | Self::Tags { name } => Some(name),
            Self::Ping | Self::Token | Self::Other => None,
        }
    }
}

/// Names of blobs that routes may speak of by their place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pub(crate) configs: Vec<Digest>,
    pub(crate) layers: Vec<Digest>,
}

impl Route {
    /// Whether a request is of this kind.
    pub(crate) fn is(&self, method: &str, asked: &Asked, places: &Places) -> bool {
        let same = |wanted: &str| match asked {
            Asked::Manifest { name, reference, digest } => match digest {
                Some(_) => wanted == format!("{name}@{reference}"),
                None => wanted == format!("{name}:{reference}"),
            },
            _ => false,
        };
        match (&self.0, method, asked) {
            (Kind::Any, _, _)
            | (Kind::Ping, "GET", Asked::Ping)
            | (Kind::Token, _, Asked::Token)
            | (Kind::Blobs, "GET", Asked::Blob { .. })
            | (Kind::Tags, "GET", Asked::Tags { .. })
            | (Kind::Upload(Upload::Start), "POST", Asked::UploadStart { .. })
            | (Kind::Upload(Upload::Piece), "PATCH", Asked::UploadSession { .. })
            | (Kind::Upload(Upload::Finish), "PUT", Asked::UploadSession { .. })
            | (Kind::Upload(Upload::Status), "GET", Asked::UploadSession { .. })
            | (Kind::Upload(Upload::Close), "DELETE", Asked::UploadSession { .. })
            | (Kind::HeadBlobs, "HEAD", Asked::Blob { .. })
            | (Kind::Upload(Upload::Manifest), "PUT", Asked::Manifest { .. }) => true,
            (Kind::Head(wanted), "HEAD", Asked::Manifest { .. })
            | (Kind::Manifest(wanted), "GET", Asked::Manifest { .. }) => same(wanted),
            (Kind::Config, "GET", Asked::Blob { digest, .. }) => places.configs.contains(digest),
            (Kind::Layer(number), "GET", Asked::Blob { digest, .. }) => {
                places.layers.get(*number) == Some(digest)
            }
            (Kind::Blob(wanted), "GET", Asked::Blob { digest, .. }) => wanted == digest,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        let hex = "a".repeat(64);
        for (path, wanted) in [
            ("/v2/", Asked::Ping),
            ("/v2", Asked::Ping),
            ("/token", Asked::Token),
            ("/v2/a/b/tags/list", Asked::Tags { name: "a/b".into() }),
            ("/v2/a/blobs/uploads/", Asked::UploadStart { name: "a".into() }),
            (
                "/v2/a/blobs/uploads/7",
                Asked::UploadSession { name: "a".into(), session: "7".into() },
            ),
            (
                "/v2/a/manifests/1",
                Asked::Manifest { name: "a".into(), reference: "1".into(), digest: None },
            ),
            ("/v1/", Asked::Other),
        ] {
            assert_eq!(Asked::read(path), wanted, "{path}");
        }
        let blob = Asked::read(&format!("/v2/a/blobs/sha256:{hex}"));
        assert_eq!(blob, Asked::Blob { name: "a".into(), digest: Digest::named(&hex) });
    }
}
