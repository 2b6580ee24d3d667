//! What can be wrong with the files that users and sites write, with file and line.
//!
//! Not here: places that are not known ([`crate::PathsError`]); what to do about an error.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use orlop_oci::ReferenceError;

use crate::registries::Fault;

/// A file and a line in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; `None` where it is not known.
    pub line: Option<usize>,
}

impl Place {
    /// The place of the byte `offset` in the file's text.
    pub(crate) fn of(path: &Path, text: &str, offset: usize) -> Self {
        let before = text.as_bytes().get(..offset.min(text.len())).unwrap_or_default();
        let breaks = before.iter().filter(|byte| **byte == b'\n').count();
        Self { path: path.to_owned(), line: Some(breaks.saturating_add(1)) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.path.display())?;
        match self.line {
            Some(line) => write!(out, ":{line}"),
            None => Ok(()),
        }
    }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Something else than a regular file is where one should be.
    #[error("{} is {what} and not a file", path.display())]
    NotAFile {
        /// Where.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A file is larger than Orlop reads.
    #[error("{} has more than {limit} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// A directory has more files than Orlop reads.
    #[error("{} has more than {limit} files", path.display())]
    TooMany {
        /// Which.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// A text file is not UTF-8.
    #[error("{at}: not valid UTF-8")]
    Utf8 {
        /// Where.
        at: Place,
    },
    /// A file of `registries.conf` cannot be used. No source is contacted until it is mended.
    #[error("{at}: {fault}")]
    Registries {
        /// Where.
        at: Place,
        /// What is wrong.
        fault: Fault,
    },
    /// A rule of `registries.conf` makes something of a reference that is none.
    #[error("{at}: rewriting reference: {reference} becomes {rewritten:?}")]
    Rewrite {
        /// The rule.
        at: Place,
        /// What was to be pulled.
        reference: Box<str>,
        /// What the rule made of it.
        rewritten: Box<str>,
        /// What is wrong with that.
        #[source]
        cause: Box<ReferenceError>,
    },
    /// Orlop's own settings cannot be used.
    #[error("{at}: {problem}")]
    Settings {
        /// Where.
        at: Place,
        /// What is wrong, with the key.
        problem: String,
    },
    /// A variable has a value that cannot be used.
    #[error("{name}: {problem}")]
    Variable {
        /// The variable.
        name: Cow<'static, str>,
        /// What is wrong. Does not hold the value where that can be a secret.
        problem: String,
    },
    /// A client certificate without its key. The text is containers/image's.
    #[error(
        "missing key {} for client certificate {}. Note that CA certificates should use the \
         extension .crt", key.display(), certificate.display()
    )]
    NoKey {
        /// The certificate.
        certificate: PathBuf,
        /// The key's name.
        key: PathBuf,
    },
    /// A key without its client certificate. The text is containers/image's.
    #[error("missing client certificate {} for key {}", certificate.display(), key.display())]
    NoCertificate {
        /// The certificate's name.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
}

impl Error {
    /// Returns the kind's name: that of `tests/data/registries-cases.toml` where it has one.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Registries { fault, .. } => fault.name(),
            Self::Rewrite { .. } => "rewrite",
            // Text that is no UTF-8 is no TOML either.
            Self::Utf8 { .. } => "toml-syntax",
            Self::Unreadable { .. } => "unreadable",
            Self::NotAFile { .. } => "not-a-file",
            Self::TooLarge { .. } => "too-large",
            Self::TooMany { .. } => "too-many",
            Self::Settings { .. } => "settings",
            Self::Variable { .. } => "variable",
            Self::NoKey { .. } | Self::NoCertificate { .. } => "certificate",
        }
    }

    /// Returns the file or directory that is to blame, with its line where that is known.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Registries { at, .. }
            | Self::Rewrite { at, .. }
            | Self::Utf8 { at }
            | Self::Settings { at, .. } => Some(at.clone()),
            Self::Unreadable { path, .. }
            | Self::NotAFile { path, .. }
            | Self::TooLarge { path, .. }
            | Self::TooMany { path, .. } => Some(Place { path: path.clone(), line: None }),
            Self::NoKey { certificate: path, .. } | Self::NoCertificate { key: path, .. } => {
                Some(Place { path: path.clone(), line: None })
            }
            Self::Variable { .. } => None,
        }
    }
}
