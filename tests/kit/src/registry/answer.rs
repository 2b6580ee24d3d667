//! Answers: what a route is told to say instead of the truth, and bodies.
//!
//! An [`Answer`] changes the correct reply; it is applied once per request, in the order given,
//! and the last one repeats. Not here: which route ([`super::route`]), the bytes on the wire
//! ([`super::wire`]).

use super::http2::Step;
use crate::image::Made;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a scripted route answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The correct answer.
    Whole,
    /// This status with an empty body.
    Status(u16),
    /// This status, these headers, this body.
    With(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// A redirect with this status to this location.
    Redirect(u16, String),
    /// The correct headers, then only so many bytes of the body, then the end of the connection.
    CutAfter(u64),
    /// Like [`Answer::CutAfter`], the connection being reset instead of closed.
    ResetAfter(u64),
    /// So many bytes, then nothing, the connection staying open until the registry stops.
    StallAfter(u64),
    /// The correct length, with one bit of this byte of the body flipped.
    FlipBit(u64),
    /// A body shorter by so many bytes, and a `Content-Length` that agrees with it.
    Shorter(u64),
    /// A body longer by so many bytes, and a `Content-Length` that agrees with it.
    Longer(u64),
    /// The correct status and headers with another body, whatever was asked for.
    Body(Vec<u8>),
    /// The correct answer with other header fields: each replaces those of its name, and one
    /// without a value only takes them away.
    Edit(Vec<(&'static str, Option<String>)>),
    /// A `200` with the whole body where a part was asked for.
    IgnoreRange,
    /// A `206` with this `Content-Range`, or none where it is empty, and the bytes asked for.
    Range(String),
    /// A part of at most so many of the bytes asked for, and headers that agree with it.
    Less(u64),
    /// The correct headers and so many bytes of the body, then one byte each time this has passed.
    Drip(u64, Duration),
    /// The other answer, and nothing is done of what was asked for.
    Unheard(Box<Answer>),
    /// The other answer, as if only so many bytes of an upload's body had come.
    Only(u64, Box<Answer>),
    /// These headers in addition to those of the other answer.
    Also(Vec<(&'static str, String)>, Box<Answer>),
    /// These pieces instead of an answer, then the end of the connection.
    Play(Vec<Piece>),
    /// These steps, by a registry that speaks HTTP/2; the connection goes on after them.
    Steps(Vec<Step>),
    /// These bytes instead of an answer, then the end of the connection.
    Raw(Vec<u8>),
    /// The end of the connection without an answer.
    Close,
}

/// A piece of an answer that is made of bytes and of time.
#[derive(Clone, Debug)]
pub enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes so often, or until the client goes away.
    Times(u64, Vec<u8>),
    /// These bytes one by one, each after this time.
    Slowly(Vec<u8>, Duration),
}

/// Bytes of a blob: in memory, or for large ones in a file, or made as they are sent.
#[derive(Clone, Debug)]
pub enum Blob {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// In a file of this size in bytes, read as it is sent.
    File(PathBuf, u64),
    /// Made as they are sent.
    Made(Made),
}

impl Blob {
    /// Size in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, size) => *size,
            Self::Made(made) => made.size(),
        }
    }

    /// Whether there is no byte in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it, in memory.
    ///
    /// # Errors
    /// What reading the file says.
    pub fn to_vec(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.to_vec()),
            Self::File(path, _) => std::fs::read(path),
            Self::Made(made) => {
                let mut bytes = Vec::new();
                made.reader(0).read_to_end(&mut bytes)?;
                Ok(bytes)
            }
        }
    }

    /// A reader that stands at byte `from`.
    pub(crate) fn reader(&self, from: u64) -> io::Result<Box<dyn Read + '_>> {
        match self {
            Self::Bytes(bytes) => {
                let from = usize::try_from(from).map_err(io::Error::other)?;
                Ok(Box::new(bytes.get(from..).unwrap_or_default()))
            }
            Self::File(path, _) => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(from))?;
                Ok(Box::new(file))
            }
            Self::Made(made) => Ok(Box::new(made.reader(from))),
        }
    }
}

impl Answer {
    /// [`Answer::Also`] with one header.
    #[must_use]
    pub fn with(self, name: &'static str, value: impl Into<String>) -> Self {
        Self::Also(vec![(name, value.into())], Box::new(self))
    }
}

impl From<Made> for Blob {
    fn from(made: Made) -> Self {
        Self::Made(made)
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<String> for Blob {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

/// A correct reply before a script touches it.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Blob,
    /// First byte of the body that is sent, and how many.
    pub(crate) part: (u64, u64),
    /// A `HEAD`: the length is said, the body is not sent.
    pub(crate) head_only: bool,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Blob>) -> Self {
        let body = body.into();
        let part = (0, body.len());
        Self { status, headers: Vec::new(), body, part, head_only: false }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// An error as the distribution specification words it.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
        Self::new(status, body.to_string()).header("Content-Type", "application/json")
    }
}
