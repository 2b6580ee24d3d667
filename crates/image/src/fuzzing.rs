//! Doors for fuzzers into what reads layers and the cache's own files. Not a part of the interface.
//!
//! Each reads bytes of any kind and checks what must hold: nothing panics, what is read comes back
//! when it is written again, and no more is taken than the limits allow. Not here: the fuzzers
//! (`tests/fuzz`).

use crate::error::{Error, escaped};
use crate::limits::Limits;
use crate::merge::merge;
use crate::names;
use crate::recipe::{Bytes as Where, Recipe};
use crate::segment::SegmentIndex;
use crate::tar::{Bytes, Content, Fault, Kind, Reader};
use crate::wire::Out;

/// Bytes of a tar block.
const BLOCK: usize = 512;

/// Bytes at hand, a few at a time, so that headers and names lie across what is at hand.
struct Few<'a>(&'a [u8]);

impl Bytes for Few<'_> {
    fn fill(&mut self) -> Result<&[u8], Fault> {
        Ok(self.0.get(..self.0.len().min(700)).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.0 = self.0.get(count..).unwrap_or_default();
    }
}

/// Counts a file's content.
#[derive(Default)]
struct Counted {
    data: u64,
    holes: u64,
}

impl Content for Counted {
    fn data(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.data = self.data.saturating_add(bytes.len() as u64);
        Ok(())
    }

    fn hole(&mut self, length: u64) -> Result<(), Fault> {
        self.holes = self.holes.saturating_add(length);
        Ok(())
    }
}

/// A tar as it is, and with the checksums of its headers put right, without which little of a
/// changed tar is read.
pub fn tar(data: &[u8]) {
    walk(data);
    walk(&with_sums(data));
}

/// The data of a pax header before a file.
pub fn pax(data: &[u8]) {
    let mut tar = header(b'x', data.len());
    append(&mut tar, data);
    tar.extend_from_slice(&header(b'0', 3));
    append(&mut tar, b"abc");
    walk(&tar);
}

/// The map of a sparse file. The first byte says in which format: old GNU, pax 0.1 or pax 1.0.
pub fn sparse(data: &[u8]) {
    let Some((format, map)) = data.split_first() else { return };
    let content = vec![b'd'; 1024];
    let mut tar = Vec::new();
    match format % 3 {
        0 => {
            let mut head = header(b'S', content.len());
            let (place, rest) = map.split_at(map.len().min(109));
            head.splice(257..265, *b"ustar  \0");
            head.splice(386..386_usize.saturating_add(place.len()), place.iter().copied());
            tar.extend_from_slice(&head);
            append(&mut tar, rest);
            append(&mut tar, &content);
            tar = with_sums(&tar);
        }
        1 => {
            let count = map.split(|&byte| byte == b',').count() / 2;
            let mut records = record(b"GNU.sparse.numblocks", count.to_string().as_bytes());
            records.extend(record(b"GNU.sparse.map", map));
            records.extend(record(b"GNU.sparse.size", b"1048576"));
            tar.extend_from_slice(&header(b'x', records.len()));
            append(&mut tar, &records);
            tar.extend_from_slice(&header(b'0', content.len()));
            append(&mut tar, &content);
        }
        _ => {
            let mut records = record(b"GNU.sparse.major", b"1");
            records.extend(record(b"GNU.sparse.minor", b"0"));
            records.extend(record(b"GNU.sparse.realsize", b"1048576"));
            tar.extend_from_slice(&header(b'x', records.len()));
            append(&mut tar, &records);
            let mut stored = Vec::new();
            append(&mut stored, map);
            stored.extend_from_slice(&content);
            tar.extend_from_slice(&header(b'0', stored.len()));
            append(&mut tar, &stored);
        }
    }
    walk(&tar);
}

/// A recipe with and without the checksum at its end.
pub fn recipe(data: &[u8]) {
    for bytes in [data.to_vec(), Out(data.to_vec()).sealed()] {
        let Ok(read) = Recipe::from_bytes(&bytes) else { continue };
        let mut end = 0;
        for piece in read.pieces() {
            assert!(piece.offset >= end && piece.length > 0, "pieces lie in order");
            end = piece.offset.saturating_add(piece.length);
            if let Where::Segment { number, .. } = &piece.bytes {
                assert!((*number as usize) < read.segments().len(), "its segment is known");
            }
        }
        assert!(end <= read.sif_size(), "all pieces lie in the SIF");
        let written = read.to_bytes();
        let again = Recipe::from_bytes(&written);
        assert!(again.is_ok_and(|again| again.to_bytes() == written), "it comes back");
    }
}

/// The index of a segment with and without the checksum at its end; what it holds is merged.
pub fn segment_index(data: &[u8]) {
    for bytes in [data.to_vec(), Out(data.to_vec()).sealed()] {
        let Ok(index) = SegmentIndex::from_bytes(&bytes) else { continue };
        let written = index.to_bytes();
        assert!(SegmentIndex::from_bytes(&written).is_ok_and(|again| again == index));
        let mut entries = index.entries();
        while let Ok(Some(entry)) = entries.next() {
            let set = entry.attributes.xattrs;
            drop(escaped(entry.path));
            drop(index.xattrs(set));
        }
        drop(merge(&[&index, &index], 0, &limits()));
    }
}

/// Bounds that keep a run short.
fn limits() -> Limits {
    Limits { pax_bytes: 64 << 10, sparse_map: 1000, entries: 1000, ..Limits::default() }
}

/// Reads a tar to its end, and checks each entry.
fn walk(tar: &[u8]) {
    let mut reader = Reader::new(Few(tar), limits());
    let mut stored = 0_u64;
    let mut read = || -> Result<(), Fault> {
        while let Some(entry) = reader.next_entry()? {
            assert!(entry.size <= limits().file_bytes, "its size is within the limit");
            drop(names::classify(&entry.name));
            let mut content = Counted::default();
            if entry.kind == Kind::File {
                reader.copy_content(&mut content)?;
                assert_eq!(content.data.saturating_add(content.holes), entry.size);
            }
            stored = stored.saturating_add(content.data);
        }
        Ok(())
    };
    match read() {
        Ok(()) | Err(Fault::Invalid(_) | Fault::Limit { .. }) => {}
        Err(Fault::Other(error)) => drop::<Error>(error),
    }
    assert!(stored <= tar.len() as u64, "no byte is read twice");
}

/// A ustar header of a file called `x`.
fn header(kind: u8, size: usize) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    block.splice(0..1, *b"x");
    block.splice(100..107, *b"0000644");
    block.splice(124..135, format!("{size:011o}").into_bytes());
    block.splice(156..157, [kind]);
    block.splice(257..265, *b"ustar\x0000");
    put_sum(&mut block);
    block
}

/// Data and the zeros that fill their last block.
fn append(tar: &mut Vec<u8>, data: &[u8]) {
    tar.extend_from_slice(data);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let bare = key.len().saturating_add(value.len()).saturating_add(3);
    let mut length = bare.saturating_add(1);
    while length != bare.saturating_add(length.to_string().len()) {
        length = bare.saturating_add(length.to_string().len());
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

fn put_sum(block: &mut [u8]) {
    let (Some(before), Some(after)) = (block.get(..148), block.get(156..)) else { return };
    let bytes = before.iter().chain(after).map(|&byte| u64::from(byte));
    let sum = bytes.fold(256, u64::saturating_add);
    if let Some(field) = block.get_mut(148..156) {
        field.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

/// Puts a checksum into each block that stands where a header is looked for.
fn with_sums(data: &[u8]) -> Vec<u8> {
    let mut tar = data.to_vec();
    let mut at = 0_usize;
    while let Some(block) = tar.get_mut(at..at.saturating_add(BLOCK)) {
        at = at.saturating_add(BLOCK);
        if block.iter().all(|&byte| byte == 0) {
            continue;
        }
        put_sum(block);
        let has_data = !matches!(block.get(156), Some(b'1'..=b'6'));
        let digits = block.get(124..135).unwrap_or_default();
        let size =
            std::str::from_utf8(digits).ok().and_then(|text| usize::from_str_radix(text, 8).ok());
        if let Some(size) = size.filter(|_| has_data) {
            at = at.saturating_add(size.min(data.len()).next_multiple_of(BLOCK));
        }
    }
    tar
}
