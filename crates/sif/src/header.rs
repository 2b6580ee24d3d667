//! The global header: 128 bytes at the start of a SIF.
//!
//! ```text
//!  0 [32] launch script    32 [10] "SIF_MAGIC\0"    42 [3] "01\0"     45 [3] architecture
//! 48 [16] ID               64 i64 created           72 i64 modified
//! 80 i64 descriptors free  88 i64 total             96 i64 offset    104 i64 size
//! 112 i64 data offset     120 i64 data size
//! ```

use crate::architecture::Architecture;
use crate::error::Error;

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 128;
/// What runs when the file is executed.
pub const LAUNCH_SCRIPT: &[u8; 31] = b"#!/usr/bin/env run-singularity\n";
/// Where the magic is, and what it is.
pub(crate) const MAGIC: &[u8; 10] = b"SIF_MAGIC\0";
const VERSION: &[u8; 3] = b"01\0";

/// A global header. The numbers are as they came; [`crate::Sif`] has checked those it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Launch script, without the zeros behind it.
    pub launch_script: Vec<u8>,
    /// Architecture of the primary partition; nothing where there is none or it has no code.
    pub architecture: Option<Architecture>,
    /// UUID.
    pub id: [u8; 16],
    /// Unix seconds.
    pub created: i64,
    /// Unix seconds.
    pub modified: i64,
    /// Descriptors unused.
    pub descriptors_free: i64,
    /// Descriptors used and unused.
    pub descriptors_total: i64,
    /// Offset of the descriptors. Bytes.
    pub descriptors_offset: i64,
    /// Bytes of the descriptors.
    pub descriptors_size: i64,
    /// Offset of the first object. Bytes.
    pub data_offset: i64,
    /// Bytes from there to the end of the last object.
    pub data_size: i64,
}

impl Header {
    /// The architecture that the first bytes of a SIF name; nothing where there is none.
    #[must_use]
    pub fn architecture_in(head: &[u8]) -> Option<Architecture> {
        Architecture::from_code(*head.get(45..)?.first_chunk()?)
    }

    pub(crate) fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Error> {
        let mut fields = Fields(bytes);
        let launch: [u8; 32] = fields.array();
        if fields.array() != *MAGIC {
            return Err(Error::Magic);
        }
        if fields.array() != *VERSION {
            return Err(Error::Version);
        }
        Ok(Self {
            launch_script: until_zero(&launch).to_vec(),
            architecture: Architecture::from_code(fields.array()),
            id: fields.array(),
            created: fields.i64(),
            modified: fields.i64(),
            descriptors_free: fields.i64(),
            descriptors_total: fields.i64(),
            descriptors_offset: fields.i64(),
            descriptors_size: fields.i64(),
            data_offset: fields.i64(),
            data_size: fields.i64(),
        })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&self.launch_script);
        out.resize(32, 0);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(VERSION);
        out.extend_from_slice(&self.architecture.map_or(*b"00\0", Architecture::code));
        out.extend_from_slice(&self.id);
        for number in [
            self.created,
            self.modified,
            self.descriptors_free,
            self.descriptors_total,
            self.descriptors_offset,
            self.descriptors_size,
            self.data_offset,
            self.data_size,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out
    }
}

/// Fields of a structure of fixed size: what is read past its end is zero.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let (array, rest) = self.0.split_first_chunk().unwrap_or((&[0; N], &[]));
        self.0 = rest;
        *array
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.array())
    }
}

/// The bytes before the first zero.
pub(crate) fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}
