//! The encoding that index and recipe share: little-endian numbers, varints, lengths before bytes.
//!
//! A varint is LEB128 of a u64, at most 10 bytes. Reading never panics and never allocates more
//! than the bytes at hand could hold. A file is `body` + xxh3-64 of the body (u64 LE): the sum
//! finds damage on disk, it is no protection against a person (who owns the cache anyway).
//! Not here: what the numbers mean ([`crate::segment`], [`crate::recipe`]).

use xxhash_rust::xxh3::xxh3_64;

/// The bytes end too early or a number cannot be: damage, or another program's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Bytes being written.
#[derive(Debug, Default)]
pub(crate) struct Out(pub(crate) Vec<u8>);

impl Out {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn varint(&mut self, mut value: u64) {
        loop {
            let low = u8::try_from(value & 0x7f).unwrap_or(0);
            value >>= 7;
            if value == 0 {
                self.0.push(low);
                return;
            }
            self.0.push(low | 0x80);
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// The bytes so far and their checksum.
    pub(crate) fn sealed(mut self) -> Vec<u8> {
        let sum = xxh3_64(&self.0);
        self.u64(sum);
        self.0
    }
}

/// Bytes being read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct In<'a>(pub(crate) &'a [u8]);

impl<'a> In<'a> {
    /// The body of a sealed file, once its checksum has been compared.
    pub(crate) fn unsealed(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or(Malformed)?;
        if xxh3_64(body) == u64::from_le_bytes(*sum) { Ok(Self(body)) } else { Err(Malformed) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn raw(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            let placed = part.checked_shl(shift).ok_or(Malformed)?;
            if placed.checked_shr(shift) != Some(part) {
                return Err(Malformed);
            }
            value |= placed;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    pub(crate) fn varint_u32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.varint()?).map_err(|_| Malformed)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        self.raw(length)
    }

    /// A number of items that follow, each of at least `each` bytes: never more than could be.
    pub(crate) fn count(&mut self, each: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        if count.checked_mul(each).is_some_and(|bytes| bytes <= self.0.len()) {
            Ok(count)
        } else {
            Err(Malformed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(numbers: Vec<u64>, bytes: Vec<u8>) {
            let mut out = Out::default();
            for number in &numbers {
                out.varint(*number);
            }
            out.bytes(&bytes);
            let sealed = out.sealed();
            let mut input = In::unsealed(&sealed).unwrap();
            for number in &numbers {
                prop_assert_eq!(input.varint(), Ok(*number));
            }
            prop_assert_eq!(input.bytes(), Ok(bytes.as_slice()));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn any_changed_bit_is_found(bytes in prop::collection::vec(any::<u8>(), 1..64), at: prop::sample::Index) {
            let mut sealed = Out(bytes).sealed();
            let bit = at.index(sealed.len() * 8);
            sealed[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(In::unsealed(&sealed).is_err());
        }

        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            let mut input = In(&bytes);
            while input.varint().is_ok() && input.bytes().is_ok() && input.count(3).is_ok() {}
        }
    }
}
