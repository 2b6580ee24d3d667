//! Indexes of segments: what was written is read back, what is damaged is refused.
//!
//! Rules: the format in [`super`].

use super::*;
use crate::testing::{Segment, Tar, gzip, noise, segment_under};

/// Converts with blocks of 128 KiB.
fn segment(blob: &[u8]) -> Result<Segment, Error> {
    segment_under(blob, &Options { block_size: 128 << 10, ..Options::default() })
}

fn sample() -> Vec<u8> {
    let large = [noise(300_000, 1), vec![0; 600_000], noise(10, 2)].concat();
    Tar::new()
        .dir("./", 0o755)
        .dir("d/", 0o700)
        .file("d/small", b"hello")
        .pax(&[("SCHILY.xattr.user.a", b"one"), ("uid", b"70000"), ("mtime", b"1234567890.5")])
        .file("d/large", &large)
        .symlink("d/link", "../somewhere")
        .link("hard", "d/large")
        .file("gone/.wh.x", b"")
        .file("gone/.wh..wh..opq", b"")
        .end()
}

#[test]
fn an_index_reads_back_as_it_was_written() {
    let index = segment(&gzip(&sample())).unwrap().index;
    let read = SegmentIndex::from_bytes(&index.to_bytes()).unwrap();
    assert_eq!(read, index);
    assert_eq!(read.entry_count(), 8);
}

#[test]
fn entries_come_back_in_tar_order_with_all_that_the_tar_said() {
    let index = segment(&sample()).unwrap().index;
    let mut entries = index.entries();
    let mut seen = Vec::new();
    while let Some(entry) = entries.next().unwrap() {
        seen.push(format!("{} {:?}", String::from_utf8_lossy(entry.path), entry.kind));
        if entry.path == b"d/large" && matches!(entry.kind, Kind::File(_)) {
            let Attributes { mode, uid, gid, mtime, xattrs } = entry.attributes;
            assert_eq!((mode, uid, gid, mtime, xattrs), (0o644, 70000, 0, 1_234_567_890, 1));
        }
    }
    assert_eq!(index.xattrs(1).unwrap(), [(b"user.a".as_slice(), b"one".as_slice())]);
    assert_eq!(seen[0], " Directory");
    assert_eq!(
        seen[2],
        "d/small File(FileData { size: 5, first: 0, blocks: 0, fragment: Some((0, 0)) })"
    );
    assert_eq!(
        seen[3],
        "d/large File(FileData { size: 900010, first: 0, blocks: 7, fragment: None })"
    );
    assert_eq!(seen[5], "hard HardLink([100, 47, 108, 97, 114, 103, 101])");
    assert_eq!(seen[6], "gone/x Whiteout");
    assert_eq!(seen[7], "gone Opaque");
}

#[test]
fn a_block_of_zeros_takes_no_room() {
    let index = segment(&sample()).unwrap().index;
    let runs = index.blocks().runs();
    let holes: Vec<usize> = (0..runs.len()).filter(|run| runs[*run].size == 0).collect();
    assert_eq!(holes.len(), 1);
    assert_eq!(index.blocks().blocks_in(holes[0], &(0..8)), 3);
    assert_eq!(index.blocks().len(), 8);
    assert_eq!(index.fragments(), [7]);
}

#[test]
fn a_damaged_index_is_an_error_wherever_the_damage_is() {
    let bytes = segment(&sample()).unwrap().index.to_bytes();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(SegmentIndex::from_bytes(&damaged).is_err(), "byte {at}");
        assert!(SegmentIndex::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
    }
}
