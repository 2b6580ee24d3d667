//! Failures: every error that reaches a user, as one value.
//!
//! Errors of the crates that the client calls become one here, and so does what the daemon sends in
//! the details of a gRPC status. The text is the beginning that scripts know
//! (`While making image from oci registry`), the kind's first words, the fact, its causes.
//!
//! Not here: first words, hints, exit statuses ([`crate::words`]); printing ([`crate::output`]).

use std::error::Error as StdError;

use orlop_proto::v1::{self, Kind};
use tonic::{Code, Status};

use crate::words::words;

/// What could not be done, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    kind: Kind,
    before: String,
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
    exit: Option<u8>,
    is_final: bool,
    is_plain: bool,
}

impl Failure {
    /// A failure of a kind; the message is a fact, one sentence without advice.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            before: String::new(),
            message: message.into(),
            causes: Vec::new(),
            hints: Vec::new(),
            exit: None,
            is_final: false,
            is_plain: false,
        }
    }

    /// A failure of a kind from an error and the chain of its causes.
    pub(crate) fn caused(kind: Kind, error: &(dyn StdError + 'static)) -> Self {
        let mut failure = Self::new(kind, error.to_string());
        failure.causes = causes(error);
        failure
    }

    /// A failure of a kind because of what the system said.
    pub(crate) fn with_cause(kind: Kind, message: &str, cause: &std::io::Error) -> Self {
        let mut failure = Self::new(kind, message);
        failure.causes.push(system_words(cause));
        failure
    }

    /// A local file that could not be used: what was being done to which path.
    pub(crate) fn file(doing: &str, path: &std::path::Path, cause: &std::io::Error) -> Self {
        let full = orlop_publish::is_disk_full(cause);
        let kind = if full { Kind::DiskFull } else { Kind::FileFailed };
        let message = if full {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let directory = directory.unwrap_or_else(|| std::path::Path::new("."));
            let whole = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
            format!("no space left in {}", whole.display())
        } else {
            format!("cannot {doing} {}", path.display())
        };
        let mut failure = Self::new(kind, message);
        // That there is no space is said already; a quota, or a limit of files, is not.
        if cause.raw_os_error() != Some(rustix::io::Errno::NOSPC.raw_os_error()) {
            failure.causes.push(system_words(cause));
        }
        failure
    }

    /// Says of a full disk how many bytes have to be free.
    pub(crate) fn needing(mut self, bytes: u64) -> Self {
        if self.kind == Kind::DiskFull {
            self.message = format!("{}, {bytes} bytes are needed", self.message);
        }
        self
    }

    /// The end of a command that a signal stopped: nothing is printed.
    pub(crate) fn cancelled(signal: i32) -> Self {
        let mut failure = Self::new(Kind::Cancelled, "");
        failure.exit = Some(u8::try_from(128 + signal).unwrap_or(u8::MAX));
        failure
    }

    /// Puts words before the text: what was being done when it happened.
    #[must_use]
    pub(crate) fn within(mut self, before: impl Into<String>) -> Self {
        let before = before.into();
        self.before =
            if self.before.is_empty() { before } else { format!("{before}: {}", self.before) };
        self
    }

    /// Adds a hint that fits this case better than its kind's.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds a cause.
    #[must_use]
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Ends the command with another status than the kind's.
    #[must_use]
    pub(crate) const fn with_exit(mut self, exit: u8) -> Self {
        self.exit = Some(exit);
        self
    }

    /// Leaves the kind's first words out: the message says it all.
    #[must_use]
    pub(crate) const fn plain(mut self) -> Self {
        self.is_plain = true;
        self
    }

    /// Says that another daemon would do no better.
    #[must_use]
    pub(crate) const fn for_good(mut self) -> Self {
        self.is_final = true;
        self
    }

    /// Of a second try after damage was found: the damage is what the user has to know of.
    #[must_use]
    pub(crate) fn after_damage(self, damage: Option<Self>) -> Self {
        match damage {
            Some(damage) if !self.is_silent() && self.kind != Kind::CacheDamaged => {
                let again = "the same command fetches it again when the registry answers";
                damage.because(self.text()).hint(again)
            }
            _ => self,
        }
    }

    /// What kind of failure it is.
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// The exit status of the command.
    pub(crate) fn exit(&self) -> u8 {
        self.exit.unwrap_or(words(self.kind).exit)
    }

    /// True when there is nothing to say: the user ended it.
    pub(crate) fn is_silent(&self) -> bool {
        self.kind == Kind::Cancelled
    }

    /// The whole text, one line.
    pub(crate) fn text(&self) -> String {
        let heading = if self.is_plain { "" } else { words(self.kind).heading };
        let mut parts = Vec::new();
        if !self.before.is_empty() {
            parts.push(self.before.clone());
        }
        if heading.is_empty() || self.message.contains(heading.trim_end_matches(':')) {
            parts.push(self.message.clone());
        } else {
            let blank = if heading.ends_with(':') { " " } else { ": " };
            parts.push(format!("{heading}{blank}{}", self.message));
        }
        for cause in &self.causes {
            // Libraries repeat themselves: a cause that has been said already adds nothing.
            if !parts.last().is_some_and(|last| last.ends_with(cause.as_str())) {
                parts.push(cause.clone());
            }
        }
        parts.retain(|part| !part.is_empty());
        parts.join(": ")
    }

    /// What the user can do, best first.
    pub(crate) fn hints(&self) -> Vec<String> {
        let general = words(self.kind).hint;
        let mut hints = self.hints.clone();
        if hints.is_empty() && !general.is_empty() {
            hints.push(general.to_owned());
        }
        hints
    }

    /// Replaces a word that stands for the registry in hints. Certificates are a host's, whatever
    /// path a login is for.
    #[must_use]
    pub(crate) fn about_host(mut self, place: &str) -> Self {
        let certificates = format!("certs.d/{}", place.split('/').next().unwrap_or(place));
        let fill =
            |hint: &String| hint.replace("certs.d/HOST", &certificates).replace("HOST", place);
        self.hints = self.hints().iter().map(fill).collect();
        self
    }

    /// True when the daemon or the way to it broke, so that another daemon may do it.
    pub(crate) fn is_lost_daemon(&self) -> bool {
        self.kind == Kind::DaemonUnavailable && !self.is_final
    }
}

fn causes(error: &(dyn StdError + 'static)) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = match cause.downcast_ref::<std::io::Error>() {
            Some(error) => system_words(error),
            None => cause.to_string(),
        };
        if found.last() != Some(&text) {
            found.push(text);
        }
        next = cause.source();
    }
    found
}

/// The operating system's words in the form that C programs print: no capital, no number.
pub(crate) fn system_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if error.raw_os_error().is_some() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

impl From<v1::Failure> for Failure {
    fn from(sent: v1::Failure) -> Self {
        let mut failure = Self::new(sent.kind(), sent.message);
        failure.causes = sent.causes;
        if !sent.hints.is_empty() {
            // Facts of the case do not replace the advice that goes with its kind.
            let advice = failure.hints();
            failure.hints = sent.hints.into_iter().chain(advice).collect();
        }
        failure
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        if let Some(sent) = orlop_proto::status::unpack(&status) {
            return sent.into();
        }
        let kind = match status.code() {
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => {
                Kind::DaemonUnavailable
            }
            Code::Unimplemented => Kind::Unsupported,
            _ => Kind::Internal,
        };
        if kind != Kind::DaemonUnavailable {
            let mut failure = Self::new(kind, status.message());
            failure.causes = causes(&status);
            return failure;
        }
        let mut failure = Self::new(kind, "it ended, or the connection to it broke off");
        failure.causes = std::iter::once(status.message().to_owned()).collect();
        failure.causes.extend(causes(&status));
        failure.causes.dedup();
        failure
    }
}

impl From<orlop_publish::PublishError> for Failure {
    fn from(error: orlop_publish::PublishError) -> Self {
        use orlop_publish::PublishError as E;
        let kind = match &error {
            E::NotTheBytes { .. } => Kind::CacheDamaged,
            E::Exists { target } => {
                return Self::new(
                    Kind::FileFailed,
                    format!(
                        "Image file already exists: \"{}\" - will not overwrite",
                        target.display()
                    ),
                );
            }
            error if error.is_disk_full() => Kind::DiskFull,
            E::Disk { .. } => Kind::FileFailed,
        };
        Self::caused(kind, &error)
    }
}

impl From<orlop_credentials::Error> for Failure {
    fn from(error: orlop_credentials::Error) -> Self {
        use orlop_credentials::Error as E;
        let kind = match &error {
            E::Helper { .. } => Kind::HelperFailed,
            E::Unusable { .. } => Kind::SettingsInvalid,
            E::Publish { cause, .. } if cause.is_disk_full() => Kind::DiskFull,
            E::Disk { .. } | E::Publish { .. } => Kind::FileFailed,
            E::Invalid { .. }
            | E::TooLarge { .. }
            | E::NotAFile { .. }
            | E::NotOurs { .. }
            | E::Locked { .. } => Kind::CredentialFileInvalid,
        };
        let failure = Self::caused(kind, &error).with_exit(255);
        match error {
            E::Locked { .. } => failure.hint("wait for the other process, or end it"),
            E::NotOurs { .. } => failure.hint("name a file of your own"),
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests;
