//! What reaches a user when something cannot be done, and how it travels.
//!
//! One `Failure` is one `Any` in the details of a `google.rpc.Status`, at most 8 KiB: causes are
//! cut from the end, the message never. Every library error becomes one in [`kinds`].
//!
//! Not here: headings, hints and exit statuses (the client's).

mod kinds;

use std::error::Error;
use std::fmt::Display;
use std::path::Path;

use orlop_config::limits::{
    FAILURE_BYTES as WIRE_BYTES, FAILURE_CAUSES as CAUSES, FAILURE_MESSAGE_BYTES as MESSAGE_BYTES,
};
use orlop_proto::v1::{Failure as Message, Kind};
use tonic::{Code, Status};

/// What could not be done, and why. Clones go to all callers of a flight.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure(Message);

impl Failure {
    /// Makes a failure from an error: its text is the message, its sources are the causes.
    pub(crate) fn new(kind: Kind, error: &(dyn Error + 'static)) -> Self {
        let mut failure = Self::of(kind, error.to_string());
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Wrappers that repeat their cause say nothing new.
            if failure.0.causes.last().unwrap_or(&failure.0.message) != &text {
                failure.0.causes.push(text);
            }
            cause = error.source();
        }
        failure
    }

    /// Makes a failure from a sentence.
    pub(crate) fn of(kind: Kind, message: impl Into<String>) -> Self {
        let message = cut(message.into(), MESSAGE_BYTES);
        Self(Message { kind: kind.into(), message, causes: Vec::new(), hints: Vec::new() })
    }

    /// Names the layer by its place in the image, counted from 1, where a layer is at fault.
    pub(crate) fn of_layer(mut self, number: usize) -> Self {
        if self.kind() == Kind::LayerInvalid {
            let message = format!("layer {number} is not valid: {}", self.0.message);
            self.0.message = cut(message, MESSAGE_BYTES);
        }
        self
    }

    /// Adds what had failed before it, one sentence each.
    pub(crate) fn after(mut self, facts: Vec<String>) -> Self {
        self.0.hints.extend(facts);
        self
    }

    /// Names the image that cannot be used at the beginning of the message.
    pub(crate) fn naming(mut self, image: impl Display) -> Self {
        if self.kind() == Kind::ImageUnsupported {
            self.0.message = cut(format!("{image}: {}", self.0.message), MESSAGE_BYTES);
        }
        self
    }

    /// Adds a fact that helps, which the client cannot know.
    pub(crate) fn with_hint(mut self, hint: &str) -> Self {
        self.0.hints.push(hint.to_owned());
        self
    }

    /// Says of a full disk where, and how many bytes have to be free for all that was wanted.
    pub(crate) fn needing(mut self, directory: &Path, bytes: u64) -> Self {
        let directory = directory.to_owned();
        let full = orlop_store::Error::DiskFull { directory, bytes, cause: None };
        self.0.message = cut(full.to_string(), MESSAGE_BYTES);
        self
    }

    /// Adds a cause.
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.0.causes.push(cut(cause.into(), MESSAGE_BYTES));
        self
    }

    /// The kind.
    pub(crate) fn kind(&self) -> Kind {
        self.0.kind()
    }

    /// True when the fault may lie with who asked: its rights, its proxy, its certificates.
    pub(crate) fn is_of_caller(&self) -> bool {
        matches!(
            self.kind(),
            Kind::CredentialsRefused
                | Kind::CredentialFileInvalid
                | Kind::HelperFailed
                | Kind::ChallengeInvalid
                | Kind::RealmRefused
                | Kind::TokenInvalid
                | Kind::TlsRefused
                | Kind::ProxyFailed
                | Kind::SourceUnreachable
                | Kind::SourceBlocked
                | Kind::ImageNotFound
        )
    }

    /// The message as it travels.
    pub(crate) fn into_status(mut self) -> Status {
        self.0.causes.truncate(CAUSES);
        let code = code(self.kind());
        loop {
            let status = orlop_proto::status::pack(code, &self.0);
            if status.details().len() <= WIRE_BYTES || !self.shrink() {
                return status;
            }
        }
    }

    /// Drops the last cause, then the last hint; says whether there was one.
    fn shrink(&mut self) -> bool {
        self.0.causes.pop().or_else(|| self.0.hints.pop()).is_some()
    }
}

impl Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0.message)?;
        self.0.causes.iter().try_for_each(|cause| write!(out, ": {cause}"))
    }
}

impl Error for Failure {}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        failure.into_status()
    }
}

fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let end = (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
    }
    text
}

/// The nearest gRPC code, for programs that know nothing of `Failure`.
fn code(kind: Kind) -> Code {
    match kind {
        Kind::UsageInvalid | Kind::ReferenceInvalid => Code::InvalidArgument,
        Kind::SourceUnreachable
        | Kind::SourceFailed
        | Kind::TransferBroken
        | Kind::ProxyFailed
        | Kind::DaemonUnavailable => Code::Unavailable,
        Kind::CredentialsRefused => Code::Unauthenticated,
        Kind::RateLimited | Kind::LimitExceeded | Kind::DiskFull => Code::ResourceExhausted,
        Kind::ImageNotFound | Kind::PlatformMissing => Code::NotFound,
        Kind::CacheDamaged | Kind::SourceLied => Code::DataLoss,
        Kind::Internal | Kind::Unspecified => Code::Internal,
        Kind::Unsupported | Kind::ImageUnsupported => Code::Unimplemented,
        Kind::Cancelled => Code::Cancelled,
        Kind::SourceBlocked | Kind::RealmRefused | Kind::RedirectRefused => Code::PermissionDenied,
        _ => Code::FailedPrecondition,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_cut_before_the_message() {
        let mut failure = Failure::of(Kind::SourceFailed, "m".repeat(5000));
        failure.0.causes = vec!["c".repeat(3000); 4];
        let status = failure.into_status();
        assert!(status.details().len() <= WIRE_BYTES);
        let inner = orlop_proto::status::unpack(&status).unwrap();
        assert_eq!(inner.message.len(), MESSAGE_BYTES);
        assert_eq!(inner.causes.len(), 1);
        assert_eq!(status.code(), Code::Unavailable);
    }

    #[test]
    fn a_chain_becomes_causes_without_repetition() {
        let inner = std::io::Error::other(std::io::Error::other("deep"));
        let failure = Failure::new(Kind::FileFailed, &inner);
        assert_eq!(failure.to_string(), "deep");
    }
}
