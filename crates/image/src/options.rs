//! Options of a conversion: what, besides the layer, decides a segment's bytes.
//!
//! [`Options::id`] names them all, with the format number and the versions of the compression
//! libraries, and is part of every key: two machines with the same id make the same bytes.
//! Not here: the keys themselves ([`crate::key`]); bounds ([`crate::limits`]).

use crate::limits::Limits;

/// Number of Orlop's own formats (segment, index, recipe). Raised when any of their bytes change.
pub const FORMAT: u32 = 2;

/// Version of the bundled zstd library (zstd-sys 2.1.3); checked by a test against the library.
const ZSTD_VERSION: &str = "1.5.7";
/// Version of the bundled libdeflate (libdeflate-sys 1.26.1).
const LIBDEFLATE_VERSION: &str = "1.26";

/// How blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// Zstandard.
    Zstd {
        /// 1 (fast) to 22 (small); 2 has Orlop's own parameters, between zstd's 1 and 2.
        level: u8,
    },
    /// Deflate with zlib's framing, for old readers.
    Gzip {
        /// 1 (fast) to 12 (small).
        level: u8,
    },
}

/// What, besides the layer, decides a segment's bytes, and the bounds on what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How blocks are compressed.
    pub compression: Method,
    /// Bytes of a data block before compression: a power of two from 4 KiB to 1 MiB.
    pub block_size: u32,
    /// Bounds. Not part of [`Self::id`]: they decide whether, not what.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // Measured: docs/decisions/006 and 016.
            compression: Method::Zstd { level: 2 },
            block_size: 256 << 10,
            limits: Limits::default(),
        }
    }
}

impl Options {
    /// Names the converter and all that decides the bytes it makes, for instance
    /// `orlop-2 zstd-1.5.7 level-2 block-262144`.
    #[must_use]
    pub fn id(&self) -> String {
        let (library, version, level) = match self.compression {
            Method::Zstd { level } => ("zstd", ZSTD_VERSION, level),
            Method::Gzip { level } => ("libdeflate", LIBDEFLATE_VERSION, level),
        };
        format!("orlop-{FORMAT} {library}-{version} level-{level} block-{}", self.block_size)
    }
}

#[cfg(test)]
mod tests {
    use super::{Options, ZSTD_VERSION};

    #[test]
    fn the_id_names_the_zstd_that_is_linked() {
        let number = zstd::zstd_safe::version_number();
        let (major, minor, patch) = (number / 10_000, number / 100 % 100, number % 100);
        assert_eq!(ZSTD_VERSION, format!("{major}.{minor}.{patch}"));
        assert!(Options::default().id().contains(ZSTD_VERSION));
    }
}
