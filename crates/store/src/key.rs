//! A key: the name of a segment, recipe or tag. What it is made of is its maker's business.

use std::fmt;
use std::str::FromStr;

use orlop_oci::Digest;

/// 64 lower-case hex digits. Holding one says nothing about what it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<str>);

/// A text that is not 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is 64 lower-case hex digits")]
pub struct KeyError;

impl Key {
    /// The key that a SHA-256 digest's hex digits are.
    pub(crate) fn of(digest: &Digest) -> Self {
        Self(digest.hex().into())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let good =
            text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        good.then(|| Self(text.into())).ok_or(KeyError)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_64_lower_case_hex_digits_are_a_key() {
        assert!("a0".repeat(32).parse::<Key>().is_ok());
        for bad in ["", "a0", &"A0".repeat(32), &"g0".repeat(32), &"a0".repeat(33), "../../x"] {
            assert_eq!(bad.parse::<Key>(), Err(KeyError), "{bad}");
        }
    }
}
