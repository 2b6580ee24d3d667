//! What can go wrong between Orlop and one source. Facts only: no advice, no secret, no text from
//! outside that is not escaped and cut. The HTTP library's errors are boxed causes.
//!
//! Not here: words for users (the client); which error lets the next source be tried
//! ([`crate::sources`]: every one that is about the source).

use std::path::PathBuf;
use std::time::Duration;

use orlop_oci::Digest;

use crate::endpoint::Endpoint;
use crate::text;

/// A cause whose type is nobody's business.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The API itself.
    Ping,
    /// A manifest or index.
    Manifest,
    /// A blob.
    Blob,
    /// A token.
    Token,
    /// A repository and the names of its tags.
    Repository,
    /// Room for, or a part of, an upload.
    Upload,
    /// A file at a URL that a user named.
    File,
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Ping => "the registry API",
            Self::Manifest => "manifest",
            Self::Blob => "blob",
            Self::Token => "a token",
            Self::Repository => "repository",
            Self::Upload => "an upload",
            Self::File => "file",
        })
    }
}

/// What can go wrong between Orlop and one source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer: name lookup, connection, TLS transport, or silence for longer than the limit.
    #[error("no answer from {endpoint}")]
    Unreachable {
        /// Who was asked.
        endpoint: Endpoint,
        /// True when trying again cannot help: no such name, no TLS at that port.
        lasting: bool,
        /// Why.
        #[source]
        cause: BoxError,
    },
    /// The proxy failed or refused; nothing is said about the registry.
    #[error("the proxy {proxy} failed on the way to {endpoint}")]
    Proxy {
        /// The proxy's origin, without user and password.
        proxy: String,
        /// Who was to be reached.
        endpoint: Endpoint,
        /// Status of the proxy's answer, when there was one.
        status: Option<u16>,
        /// Why.
        #[source]
        cause: Option<BoxError>,
    },
    /// The server's certificate or TLS version is not accepted.
    #[error("{what}: {endpoint}: {why}")]
    Tls {
        /// Whose.
        endpoint: Endpoint,
        /// Which part of TLS: the certificate, the version.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A registry answers `GET /v2/` with 200 or 401, and manifests with JSON.
    #[error("{endpoint} is not a registry: {what}")]
    NotARegistry {
        /// Who answered.
        endpoint: Endpoint,
        /// What came instead.
        what: String,
    },
    /// An answer that says that the registry cannot do what was asked.
    #[error("{endpoint} answered {status} for {wanted}{message}")]
    Failed {
        /// Who answered.
        endpoint: Endpoint,
        /// What for.
        wanted: Wanted,
        /// HTTP status.
        status: u16,
        /// The registry's words with `: ` before them, or nothing.
        message: String,
    },
    /// An answer that cannot be used, whatever its status.
    #[error("{endpoint} sent an answer that cannot be used: {what}")]
    Unusable {
        /// Who answered.
        endpoint: Endpoint,
        /// What is wrong with it.
        what: String,
    },
    /// 401 after credentials or a token were sent, or 403.
    #[error("{endpoint} refused access {who}{message}")]
    Refused {
        /// Who refused.
        endpoint: Endpoint,
        /// HTTP status.
        status: u16,
        /// `without a login`, or `to USER (login from FILE)`.
        who: String,
        /// The registry's words with `: ` before them, or nothing.
        message: String,
    },
    /// 401 without a challenge that can be met.
    #[error("{endpoint} refused access and did not say how to authenticate{offered}")]
    Challenge {
        /// Who refused.
        endpoint: Endpoint,
        /// The schemes offered, as ` (only: a, b)`, or nothing.
        offered: String,
    },
    /// A token address that may not be used.
    #[error("the token address {realm:?} that {endpoint} names is refused: {why}")]
    Realm {
        /// Who named it.
        endpoint: Endpoint,
        /// The address, escaped.
        realm: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// The token service's answer is not usable.
    #[error("the answer of the token service {endpoint} is not usable: {why}")]
    Token {
        /// Who answered.
        endpoint: Endpoint,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A redirect that may not be followed.
    #[error("a redirect from {endpoint} is refused: {why}")]
    Redirect {
        /// Who sent it.
        endpoint: Endpoint,
        /// The rule it breaks.
        why: &'static str,
    },
    /// The registry limits requests.
    #[error("{endpoint} limits requests{}{message}", when(*retry_after))]
    Limited {
        /// Who limits.
        endpoint: Endpoint,
        /// 429, or 503 with a time.
        status: u16,
        /// When to come back, as the registry says.
        retry_after: Option<Duration>,
        /// True for a quota that no short wait restores.
        is_quota: bool,
        /// The registry's words with `: ` before them, or nothing.
        message: String,
    },
    /// No such repository, tag, manifest or blob.
    #[error("{endpoint} has no {wanted} {name}: {wanted} unknown")]
    NotFound {
        /// Who says so.
        endpoint: Endpoint,
        /// What kind of thing.
        wanted: Wanted,
        /// Repository path and tag or digest.
        name: String,
    },
    /// A foreign layer that no source has, and that does not come from elsewhere.
    #[error("{endpoint} does not have the foreign layer {digest}: {why}")]
    Foreign {
        /// Who was asked last.
        endpoint: Endpoint,
        /// Of which layer.
        digest: Digest,
        /// Why the places that its image names are of no use.
        why: &'static str,
        /// What the last of them did.
        #[source]
        cause: Option<BoxError>,
    },
    /// The bytes that came are not the bytes asked for.
    #[error("{endpoint} sent {actual} for {expected}")]
    DigestMismatch {
        /// Who sent them.
        endpoint: Endpoint,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// More or fewer bytes came, or were announced, than the descriptor says.
    #[error("{endpoint} sent {actual} bytes for {digest}, which has {expected}")]
    SizeMismatch {
        /// Who sent them.
        endpoint: Endpoint,
        /// What was asked for.
        digest: Digest,
        /// Bytes of the descriptor.
        expected: u64,
        /// Bytes that came, or one more than expected where reading stopped.
        actual: u64,
    },
    /// A part of a blob that was not asked for.
    #[error("{endpoint} sent another part of {digest} than was asked for")]
    WrongRange {
        /// Who sent it.
        endpoint: Endpoint,
        /// Of which blob.
        digest: Digest,
    },
    /// A whole blob where the rest was asked for, with more before it than is dropped.
    #[error("{endpoint} sent all of {digest} where the rest from byte {have} was asked for")]
    Whole {
        /// Who sent it.
        endpoint: Endpoint,
        /// Which blob.
        digest: Digest,
        /// Bytes that were there already.
        have: u64,
    },
    /// A file at a URL has another length than was announced, or became another file.
    #[error("{endpoint} sent a file of {actual} bytes where {expected} were announced")]
    Length {
        /// Who sent it.
        endpoint: Endpoint,
        /// What was announced first.
        expected: u64,
        /// What came, or was announced later.
        actual: u64,
    },
    /// A running Docker could not give an image.
    #[error("{what}")]
    Docker {
        /// What was wrong, in Docker's words where it has some.
        what: String,
        /// Why.
        #[source]
        cause: Option<BoxError>,
    },
    /// A transfer broke off and could not be resumed within the limits.
    #[error("the transfer from {endpoint} broke off after {at} bytes")]
    Broken {
        /// Who sent.
        endpoint: Endpoint,
        /// Bytes that had arrived whole.
        at: u64,
        /// Why.
        #[source]
        cause: BoxError,
    },
    /// One of Orlop's limits was reached.
    #[error("{endpoint} reached the limit {key} = {limit}")]
    Limit {
        /// By whose answer.
        endpoint: Endpoint,
        /// Name of the limit in the settings.
        key: &'static str,
        /// Its value.
        limit: u64,
    },
    /// The registry does not take the upload.
    #[error("{endpoint} refused the upload{status}{message}")]
    Upload {
        /// Who refused.
        endpoint: Endpoint,
        /// HTTP status with ` with ` before it, or nothing.
        status: String,
        /// The registry's words, or what is missing, with `: ` before them.
        message: String,
    },
    /// The registry lacks a blob that a manifest names.
    #[error("{endpoint} does not have all that the manifest names{message}")]
    MissingBlobs {
        /// Who says so.
        endpoint: Endpoint,
        /// The registry's words with `: ` before them, or nothing.
        message: String,
    },
    /// The bytes to upload could not be had.
    #[error("the bytes to upload could not be read")]
    Content {
        /// Why.
        #[source]
        cause: BoxError,
    },
    /// registries.conf forbids the only source that is left.
    #[error("blocked by registries.conf: {source_name}")]
    Blocked {
        /// `host/path` of the source.
        source_name: String,
    },
    /// The host cannot be contacted as written.
    #[error("{host} is not a host that can be contacted")]
    NoHost {
        /// As written.
        host: String,
    },
    /// A certificate file that cannot be used.
    #[error("{}: {what}", path.display())]
    Certificate {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A proxy address or a directory of certificates that cannot be used.
    #[error(transparent)]
    Settings(#[from] orlop_config::Error),
    /// The credentials of a host could not be looked up.
    #[error(transparent)]
    Credential(#[from] orlop_credentials::Error),
}

impl Error {
    /// Says whether the next source may do better: true for all that is about the source.
    #[must_use]
    pub const fn is_about_source(&self) -> bool {
        !matches!(self, Self::Content { .. })
    }

    /// Says whether bytes came that were not asked for, so that what was made of them is to be
    /// thrown away and may be fetched again, see [`crate::Sources::may_refetch`].
    #[must_use]
    pub const fn is_lie(&self) -> bool {
        matches!(
            self,
            Self::DigestMismatch { .. }
                | Self::SizeMismatch { .. }
                | Self::WrongRange { .. }
                | Self::Whole { .. }
        )
    }
}

/// When a registry wants to be asked again.
fn when(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |time| format!(", come back {}", text::in_a_while(time)))
}
