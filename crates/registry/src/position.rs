//! Position: how far a blob is there already, and the digest's state over it.
//!
//! Not here: the bytes ([`crate::fetch`]).

use orlop_oci::{Algorithm, Hasher};

use crate::answer::length;

/// How far a blob is there already.
#[derive(Clone, Debug)]
pub struct Position {
    /// Bytes from the start that are there.
    pub(crate) offset: u64,
    /// The digest's state over them; none where the reader of the stream hashes.
    pub(crate) hasher: Option<Hasher>,
}

impl Position {
    /// The start of a blob whose digest is of this kind.
    #[must_use]
    pub fn start(algorithm: Algorithm) -> Self {
        Self { offset: 0, hasher: Some(Hasher::new(algorithm)) }
    }

    /// A place in a blob whose bytes are hashed by whoever reads the stream: the stream checks
    /// their number alone. A reader that finds another digest says so to
    /// [`crate::Sources::report_lie`].
    #[must_use]
    pub const fn unhashed(offset: u64) -> Self {
        Self { offset, hasher: None }
    }

    /// Takes in the next bytes that are there, as when a partial file is read again.
    pub fn advance(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.offset = self.offset.saturating_add(length(bytes.len()));
    }

    /// Returns the number of bytes taken in.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }
}
