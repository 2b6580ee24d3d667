//! Compressors: their numbers in the superblock, and which of them write.

use crate::error::Error;

/// How blocks are compressed. Each value is the superblock's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum Compressor {
    /// Deflate with zlib's framing.
    Gzip = 1,
    /// LZO1X.
    Lzo = 3,
    /// One xz stream a block.
    Xz = 4,
    /// One bare LZ4 block a block.
    Lz4 = 5,
    /// One zstd frame a block.
    Zstd = 6,
}

impl Compressor {
    /// The compressor of this number.
    ///
    /// # Errors
    /// [`Error::Lzma`] for 2, [`Error::UnknownCompressor`] for what is not 1 to 6.
    pub fn from_id(id: u16) -> Result<Self, Error> {
        match id {
            1 => Ok(Self::Gzip),
            2 => Err(Error::Lzma),
            3 => Ok(Self::Lzo),
            4 => Ok(Self::Xz),
            5 => Ok(Self::Lz4),
            6 => Ok(Self::Zstd),
            id => Err(Error::UnknownCompressor { id }),
        }
    }

    /// The superblock's number.
    #[must_use]
    pub fn id(self) -> u16 {
        self as u16
    }

    /// Its name, as mksquashfs spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Lzo => "lzo",
            Self::Xz => "xz",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// How a writer compresses metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Compression {
    /// Zstandard.
    Zstd {
        /// 1 (fast) to 22 (small).
        level: u8,
    },
    /// Deflate with zlib's framing, by libdeflate.
    Gzip {
        /// 1 (fast) to 12 (small).
        level: u8,
    },
}

impl Compression {
    /// The compressor that the superblock names.
    #[must_use]
    pub fn compressor(self) -> Compressor {
        match self {
            Self::Zstd { .. } => Compressor::Zstd,
            Self::Gzip { .. } => Compressor::Gzip,
        }
    }
}
