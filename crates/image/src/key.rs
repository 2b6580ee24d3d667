//! Keys: what a segment or recipe is found by in the cache.
//!
//! A key is the sha256 over all that decides the bytes it stands for, so equal keys mean equal
//! bytes, on every machine. Fields are length-prefixed, so no two lists of fields hash alike.
//! Not here: where the cache keeps what a key names (`orlop-store`).

use std::fmt;
use std::str::FromStr;

use orlop_oci::digest::Digest;
use orlop_oci::platform::Platform;
use orlop_sif::uuid_v8;
use sha2::{Digest as _, Sha256};

use crate::options::Options;

/// A text that is no key: not 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is 64 lower-case hex digits")]
pub struct KeyError;

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// The 64 hex digits.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = KeyError;

            fn from_str(text: &str) -> Result<Self, KeyError> {
                let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                if text.len() == 64 && text.bytes().all(digit) {
                    Ok(Self(text.into()))
                } else {
                    Err(KeyError)
                }
            }
        }
    };
}

key! {
    /// Key of a segment: layer digest, converter version, options. 64 lower-case hex digits.
    SegmentKey
}

key! {
    /// Key of a recipe: manifest digest, platform, canonical name, converter version, options.
    /// 64 lower-case hex digits.
    RecipeKey
}

/// The key of the segment that `layer` becomes under `options`.
#[must_use]
pub fn segment_key(layer: &Digest, options: &Options) -> SegmentKey {
    SegmentKey(hex(&hash("segment", &[&layer.to_string(), &options.id()])).into())
}

/// The key of the recipe of an image: `name` is the canonical reference the image is asked for by.
#[must_use]
pub fn recipe_key(
    manifest: &Digest,
    platform: &Platform,
    name: &str,
    options: &Options,
) -> RecipeKey {
    let fields: [&str; 4] = [&manifest.to_string(), &platform.to_string(), name, &options.id()];
    RecipeKey(hex(&hash("recipe", &fields)).into())
}

/// The SIF's UUID, version 8 (RFC 9562, section 5.8), from the same facts as the recipe's key.
pub(crate) fn sif_id(
    manifest: &Digest,
    platform: &Platform,
    name: &str,
    options: &Options,
) -> [u8; 16] {
    let fields: [&str; 4] = [&manifest.to_string(), &platform.to_string(), name, &options.id()];
    let hash = hash("sif id", &fields);
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(hash) {
        *to = from;
    }
    uuid_v8(id)
}

fn hash(kind: &str, fields: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for field in std::iter::once(&kind).chain(fields) {
        hasher.update((field.len() as u64).to_le_bytes());
        hasher.update(field);
    }
    hasher.finalize().into()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
