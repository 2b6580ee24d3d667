//! Content digests: `sha256:` and `sha512:` names of bytes, and the hashers that make them.
//!
//! A [`Digest`] is always well formed; whether any bytes were hashed is not said. Spec: image
//! spec, descriptor.md, "Digests". Algorithms other than these two are refused by name.
//! Not here: what a digest names ([`crate::descriptor`]).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Digest as _;

#[cfg(test)]
mod tests;

/// A hash function that a digest may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, 64 hex digits: what every registry uses.
    Sha256,
    /// SHA-512, 128 hex digits.
    Sha512,
}

impl Algorithm {
    /// Returns the name as it stands before the colon.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the number of hex digits after the colon.
    #[must_use]
    pub const fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    /// Returns the algorithm of this name, `None` when Orlop does not know it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "sha256" => Some(Self::Sha256),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }
}

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The number of hex digits is not the algorithm's.
    #[error("invalid checksum digest length")]
    Length,
    /// No colon, or something else than lower-case hex digits after it.
    #[error("invalid checksum digest format")]
    Format,
    /// The algorithm is neither `sha256` nor `sha512`.
    #[error("unsupported digest algorithm {name:?}: only sha256 and sha512 are accepted")]
    Algorithm {
        /// The name before the colon.
        name: String,
    },
}

/// A content digest whose algorithm, length and alphabet have been checked.
///
/// Holding one means `sha256:` + 64 or `sha512:` + 128 lower-case hex digits. It does not mean
/// that any bytes were hashed.
///
/// ```
/// use orlop_oci::Digest;
/// let empty = Digest::sha256(b"{}");
/// assert_eq!(empty.to_string().parse::<Digest>(), Ok(empty));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

impl Digest {
    /// Returns the digest of `bytes`.
    #[must_use]
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Returns the SHA-256 digest of `bytes`.
    #[must_use]
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, bytes)
    }

    /// Returns the digest whose raw value is `bytes`, `None` when the length is not the
    /// algorithm's.
    #[must_use]
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        (bytes.len().checked_mul(2) == Some(algorithm.hex_len()))
            .then(|| Self { algorithm, hex: to_hex(bytes) })
    }

    /// Returns the hash function.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the hex digits, lower case, without the algorithm's name.
    #[must_use]
    pub const fn hex(&self) -> &str {
        &self.hex
    }

    /// Returns the raw value: 32 or 64 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let value = |digit: u8| match digit {
            b'0'..=b'9' => digit.wrapping_sub(b'0'),
            _ => digit.wrapping_sub(b'a').wrapping_add(10),
        };
        self.hex
            .as_bytes()
            .as_chunks()
            .0
            .iter()
            .map(|&[high, low]| (value(high) << 4) | value(low))
            .collect()
    }

    /// Returns the first 12 hex digits, for messages where a whole digest is too much.
    #[must_use]
    pub fn short(&self) -> &str {
        self.hex.get(..12).unwrap_or(&self.hex)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text.split_once(':').ok_or(DigestError::Format)?;
        let algorithm = Algorithm::from_name(name)
            .ok_or_else(|| DigestError::Algorithm { name: name.chars().take(64).collect() })?;
        if hex.len() != algorithm.hex_len() {
            return Err(DigestError::Length);
        }
        if !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError::Format);
        }
        Ok(Self { algorithm, hex: hex.into() })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The digest of a layer's tar, uncompressed: an entry of a config's `rootfs.diff_ids`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DiffId(pub Digest);

impl fmt::Display for DiffId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl FromStr for DiffId {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        text.parse().map(Self)
    }
}

/// Makes a digest of bytes that come in pieces.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha512(Box<sha2::Sha512>),
}

impl fmt::Debug for Hasher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Hasher").field(&self.algorithm()).finish()
    }
}

impl Hasher {
    /// Returns a hasher that has seen nothing.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Box::default()),
        })
    }

    /// Returns the hash function.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// Returns the digest of all bytes taken in.
    #[must_use]
    pub fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        let hex = match self.0 {
            State::Sha256(state) => to_hex(&state.finalize()),
            State::Sha512(state) => to_hex(&state.finalize()),
        };
        Digest { algorithm, hex }
    }
}

fn to_hex(bytes: &[u8]) -> Box<str> {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    let text: String =
        bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect();
    text.into_boxed_str()
}
