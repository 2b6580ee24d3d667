//! Digest: the kit's own `sha256:` digests, made without the code under test.
//!
//! Holds 64 lower-case hex digits; [`Digest::sha512`] is there for the few documents that name
//! another algorithm. Not here: parsing of foreign text.

use sha2::{Digest as _, Sha256, Sha512};
use std::fmt;

/// A sha256 digest of bytes that the kit has seen; of another algorithm with its name before it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    /// Hashes bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex(&Sha256::digest(bytes)))
    }

    /// Hashes bytes with sha512.
    #[must_use]
    pub fn sha512(bytes: &[u8]) -> Self {
        Self(format!("sha512:{}", hex(&Sha512::digest(bytes))))
    }

    /// Hashes a stream to its end.
    ///
    /// # Errors
    /// What reading says.
    pub fn of_reader(mut from: impl std::io::Read) -> std::io::Result<Self> {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match from.read(&mut buffer)? {
                0 => return Ok(Self(hex(&hash.finalize()))),
                count => hash.update(&buffer[..count]),
            }
        }
    }

    /// Takes `sha256:<hex>` as it stands in a request or a document.
    pub(crate) fn named(text: &str) -> Self {
        Self(text.trim_start_matches("sha256:").to_owned())
    }

    /// The 64 hex digits alone.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') {
            return out.write_str(&self.0);
        }
        write!(out, "sha256:{}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Lower-case hex of bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("text takes everything");
        text
    })
}
