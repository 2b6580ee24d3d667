//! Bytes that are made as they are read: of any size, never held whole, the same each time, from
//! any place on.
//!
//! A [`Made`] is put together like a tar: entries, files of noise or zeros, entries by number.
//! [`Made::gzip`] and [`Made::bomb`] are the same bytes compressed, made likewise.
//! Not here: registries ([`crate::registry`]); layers that fit into memory ([`super::Layer`]).

use super::layer::{Compression, Entry, pack};
use super::tar;
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

/// Most bytes of a stored block of deflate (RFC 1951, 3.2.4).
const STORED: usize = 65_535;
/// Bytes of tar in a gzip member of [`Made::gzip`].
const MEMBER: usize = 64 * STORED;
/// Bytes of zeros in a member or frame of [`Made::bomb`].
const ZEROS: u64 = 64 << 20;

/// Makes the bytes of a number.
type Make = Arc<dyn Fn(u64) -> Vec<u8> + Send + Sync>;

#[derive(Clone)]
enum Part {
    Bytes(Arc<[u8]>),
    Noise { seed: u64, size: u64 },
    Zeros(u64),
    Times { count: u64, each: u64, make: Make },
}

impl Part {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Noise { size, .. } | Self::Zeros(size) => *size,
            Self::Times { count, each, .. } => count * each,
        }
    }
}

/// Bytes that are made as they are read.
#[derive(Clone, Default)]
pub struct Made {
    parts: Vec<Part>,
    /// Where each part ends.
    ends: Vec<u64>,
}

impl fmt::Debug for Made {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Made").field("size", &self.size()).finish_non_exhaustive()
    }
}

impl Made {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes in all.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    fn part(mut self, part: Part) -> Self {
        if part.size() > 0 {
            self.ends.push(self.size() + part.size());
            self.parts.push(part);
        }
        self
    }

    fn bytes(self, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.part(Part::Bytes(bytes.into()))
    }

    /// Adds an entry.
    #[must_use]
    pub fn entry(self, entry: &Entry) -> Self {
        self.bytes(tar::one(entry))
    }

    fn file(self, path: &str, content: Part) -> Self {
        let size = content.size();
        let padding = size.next_multiple_of(tar::BLOCK as u64) - size;
        let head = tar::head_of_file(path, size);
        self.bytes(head).part(content).part(Part::Zeros(padding))
    }

    /// Adds a file of `size` bytes that do not compress, the same for the same `seed`.
    #[must_use]
    pub fn noise(self, path: &str, size: u64, seed: u64) -> Self {
        self.file(path, Part::Noise { seed, size })
    }

    /// Adds a file of `size` zeros.
    #[must_use]
    pub fn zeros(self, path: &str, size: u64) -> Self {
        self.file(path, Part::Zeros(size))
    }

    /// Adds a file that is this text so often.
    #[must_use]
    pub fn repeated(self, path: &str, text: &[u8], count: u64) -> Self {
        let (each, text) = (text.len() as u64, text.to_vec());
        self.file(path, Part::Times { count, each, make: Arc::new(move |_| text.clone()) })
    }

    /// Adds `count` entries, made by their number, all of which take as much room as the first.
    #[must_use]
    pub fn entries(self, count: u64, make: impl Fn(u64) -> Entry + Send + Sync + 'static) -> Self {
        let each = tar::one(&make(0)).len() as u64;
        let make: Make = Arc::new(move |number| tar::one(&make(number)));
        self.part(Part::Times { count, each, make })
    }

    /// Ends the tar.
    #[must_use]
    pub fn end(self) -> Self {
        self.part(Part::Zeros(2 * tar::BLOCK as u64))
    }

    /// These bytes in members of gzip that store them as they are.
    #[must_use]
    pub fn gzip(&self) -> Self {
        let (inner, member) = (self.clone(), MEMBER as u64);
        let whole = self.size() / member;
        let each = stored(&vec![0; MEMBER]).len() as u64;
        let make: Make = Arc::new(move |number| {
            let mut bytes = vec![0; MEMBER];
            inner.reader(number * member).read_exact(&mut bytes).expect("it is made of so many");
            stored(&bytes)
        });
        let mut rest = Vec::new();
        self.reader(whole * member).read_to_end(&mut rest).expect("making does not fail");
        let gzip = Self::new().part(Part::Times { count: whole, each, make });
        if rest.is_empty() { gzip } else { gzip.bytes(stored(&rest)) }
    }

    /// These bytes, the zeros in them compressed as well as the format can: a bomb.
    #[must_use]
    pub fn bomb(&self, compression: Compression) -> Self {
        let packed = |bytes: Vec<u8>| pack(bytes, compression);
        self.parts.iter().fold(Self::new(), |bomb, part| match part {
            Part::Zeros(size) => {
                let member = packed(vec![0; usize::try_from(ZEROS).expect("it is small")]);
                let (each, count) = (member.len() as u64, size / ZEROS);
                let rest = vec![0; usize::try_from(size % ZEROS).expect("it is small")];
                bomb.part(Part::Times { count, each, make: Arc::new(move |_| member.clone()) })
                    .bytes(packed(rest))
            }
            Part::Bytes(bytes) => bomb.bytes(packed(bytes.to_vec())),
            other => {
                let mut bytes = Vec::new();
                let made = Self::new().part(other.clone());
                made.reader(0).read_to_end(&mut bytes).expect("making does not fail");
                bomb.bytes(packed(bytes))
            }
        })
    }

    /// A reader that stands at byte `from`.
    #[must_use]
    pub fn reader(&self, from: u64) -> Reader<'_> {
        Reader { made: self, at: from, last: None }
    }
}

/// Reads a [`Made`].
#[derive(Debug)]
pub struct Reader<'a> {
    made: &'a Made,
    at: u64,
    /// What was made last: part, number, bytes.
    last: Option<(usize, u64, Vec<u8>)>,
}

impl Read for Reader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let part = self.made.ends.partition_point(|end| *end <= self.at);
        let Some(end) = self.made.ends.get(part) else { return Ok(0) };
        let inside = self.at - (end - self.made.parts[part].size());
        let left = usize::try_from(end - self.at).unwrap_or(usize::MAX);
        let room = left.min(out.len());
        let out = &mut out[..room];
        let count = match &self.made.parts[part] {
            Part::Bytes(bytes) => {
                let start = usize::try_from(inside).map_err(io::Error::other)?;
                out.copy_from_slice(&bytes[start..start + room]);
                room
            }
            Part::Zeros(_) => {
                out.fill(0);
                room
            }
            Part::Noise { seed, .. } => {
                noise_at(*seed, inside, out);
                room
            }
            Part::Times { each, make, .. } => {
                let number = inside / each;
                if self.last.as_ref().is_none_or(|(at, of, _)| (*at, *of) != (part, number)) {
                    let bytes = make(number);
                    assert_eq!(bytes.len() as u64, *each, "entry {number} takes other room");
                    self.last = Some((part, number, bytes));
                }
                let bytes = self.last.as_ref().map_or(&[][..], |(_, _, bytes)| bytes);
                let start = usize::try_from(inside % each).map_err(io::Error::other)?;
                let count = room.min(bytes.len() - start);
                out[..count].copy_from_slice(&bytes[start..start + count]);
                count
            }
        };
        self.at += count as u64;
        Ok(count)
    }
}

/// Noise from its byte `from` on: each eight bytes are their number, mixed (splitmix64).
fn noise_at(seed: u64, from: u64, out: &mut [u8]) {
    let word = |number: u64| {
        let mut z = seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)).to_le_bytes()
    };
    let mut number = from / 8;
    let mut rest = out;
    let skipped = usize::try_from(from % 8).unwrap_or(0);
    if skipped > 0 {
        let count = (8 - skipped).min(rest.len());
        let (head, after) = rest.split_at_mut(count);
        head.copy_from_slice(&word(number)[skipped..skipped + count]);
        rest = after;
        number += 1;
    }
    for piece in rest.chunks_mut(8) {
        piece.copy_from_slice(&word(number)[..piece.len()]);
        number += 1;
    }
}

/// A gzip member that stores the bytes as they are (RFC 1952).
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = bytes.chunks(STORED).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).expect("blocks are cut so");
        member.push(u8::from(blocks.peek().is_none()));
        member.extend_from_slice(&length.to_le_bytes());
        member.extend_from_slice(&(!length).to_le_bytes());
        member.extend_from_slice(block);
    }
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    member.extend_from_slice(&sum.sum().to_le_bytes());
    member.extend_from_slice(&sum.amount().to_le_bytes());
    member
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Made {
        Made::new()
            .entry(&Entry::dir("d"))
            .noise("d/noise", 9_000_001, 7)
            .zeros("d/zeros", 70_000)
            .entries(100, |number| Entry::file(format!("d/{number:04}"), format!("{number:08}")))
            .repeated("d/text", b"hello\n", 100)
            .end()
    }

    fn all(made: &Made) -> Vec<u8> {
        let mut bytes = Vec::new();
        made.reader(0).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn it_is_the_same_from_any_place_on() {
        let made = made();
        let bytes = all(&made);
        assert_eq!(bytes.len() as u64, made.size());
        for from in [0, 1, 513, 1024 + 5, 4_000_003, 9_000_500, made.size() - 1500, made.size()] {
            let mut part = Vec::new();
            made.reader(from).take(5000).read_to_end(&mut part).unwrap();
            let start = usize::try_from(from).unwrap();
            let end = (start + 5000).min(bytes.len());
            assert!(part == bytes[start..end], "from {from}");
        }
    }

    #[test]
    fn compressed_it_holds_the_same_bytes() {
        let made = made();
        let bytes = all(&made);
        for gzip in [made.gzip(), made.bomb(Compression::Gzip)] {
            let mut back = Vec::new();
            let gzip = all(&gzip);
            flate2::read::MultiGzDecoder::new(&gzip[..]).read_to_end(&mut back).unwrap();
            assert!(back == bytes);
        }
        let bomb = all(&made.bomb(Compression::Zstd));
        assert!(zstd::decode_all(&bomb[..]).unwrap() == bytes);
    }

    #[test]
    fn sizes_beyond_eight_gibibytes_stand_in_a_pax_record() {
        let big = Made::new().noise("big", 10 << 30, 1);
        let mut head = vec![0; 2048];
        big.reader(0).read_exact(&mut head).unwrap();
        assert!(head.windows(16).any(|window| window == b"size=10737418240"));
    }
}
