//! Rows L54 to L58: sparse files in their four encodings.

use crate::error::Error;
use crate::limits::Limits;
use crate::options::Options;
use crate::segment::Kind;
use crate::testing::{Header, Segment, Tar, block, content, segment, segment_under, sum};

const HOLE: usize = 1 << 20;

/// What the file must hold: a hole, eight bytes, a hole, three bytes.
fn wanted() -> Vec<u8> {
    let mut bytes = vec![0; HOLE];
    bytes.extend_from_slice(b"12345678");
    bytes.resize(2 * HOLE, 0);
    bytes.extend_from_slice(b"end");
    bytes
}

const DATA: &[u8] = b"12345678end";

fn numbers() -> [String; 4] {
    [HOLE.to_string(), "8".into(), (2 * HOLE).to_string(), "3".into()]
}

fn size() -> String {
    (2 * HOLE + 3).to_string()
}

fn file_of(segment: &Segment) -> Vec<u8> {
    let mut entries = segment.index.entries();
    let entry = entries.next().unwrap().unwrap();
    assert_eq!(entry.path, b"x");
    match entry.kind {
        Kind::File(file) => content(segment, &file),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn is_wanted(tar: Vec<u8>) {
    let segment = segment(&tar).unwrap();
    assert!(file_of(&segment) == wanted());
    // Two blocks hold data, and little of it.
    assert!(segment.index.data_size() < 4096, "{}", segment.index.data_size());
}

/// An old GNU header with these pairs of offset and length.
fn old_gnu(pairs: &[(u64, u64)], real: u64, data: &[u8]) -> Vec<u8> {
    let mut header = block(&Header { data, ..Header::new(b'S', "x") });
    header[257..265].copy_from_slice(b"ustar  \0");
    header[329..].fill(0);
    for (slot, (offset, length)) in pairs.iter().enumerate() {
        let at = 386 + 24 * slot;
        header[at..at + 11].copy_from_slice(format!("{offset:011o}").as_bytes());
        header[at + 12..at + 23].copy_from_slice(format!("{length:011o}").as_bytes());
    }
    header[483..494].copy_from_slice(format!("{real:011o}").as_bytes());
    sum(&mut header);
    Tar::new().raw(&header).padded(data).end()
}

/// A pax 1.0 file with this map, as text, before its data.
fn in_data(map: &str, real: &str, data: &[u8]) -> Vec<u8> {
    let mut body = map.as_bytes().to_vec();
    body.resize(body.len().next_multiple_of(512), 0);
    body.extend_from_slice(data);
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"x"),
        ("GNU.sparse.realsize", real.as_bytes()),
    ];
    Tar::new().pax(&records).file("GNUSparseFile.0/x", &body).end()
}

/// A pax 0.1 file.
fn in_header(map: &str, blocks: &str, real: &str, data: &[u8]) -> Vec<u8> {
    let records: [(&str, &[u8]); 3] = [
        ("GNU.sparse.size", real.as_bytes()),
        ("GNU.sparse.numblocks", blocks.as_bytes()),
        ("GNU.sparse.map", map.as_bytes()),
    ];
    Tar::new().pax(&records).file("x", data).end()
}

#[test]
fn l54_old_gnu_sparse_files_are_expanded() {
    let hole = HOLE as u64;
    is_wanted(old_gnu(&[(hole, 8), (2 * hole, 3)], 2 * hole + 3, DATA));
}

#[test]
fn l55_pax_sparse_files_of_all_formats_are_expanded() {
    let map = numbers();
    is_wanted(in_data(&format!("2\n{}\n", map.join("\n")), &size(), DATA));
    is_wanted(in_header(&map.join(","), "2", &size(), DATA));
    let size = size();
    let mut records: Vec<(&str, &[u8])> =
        vec![("GNU.sparse.size", size.as_bytes()), ("GNU.sparse.numblocks", b"2")];
    for pair in map.chunks(2) {
        records.push(("GNU.sparse.offset", pair[0].as_bytes()));
        records.push(("GNU.sparse.numbytes", pair[1].as_bytes()));
    }
    is_wanted(Tar::new().pax(&records).file("x", DATA).end());
}

#[test]
fn l56_maps_that_leave_the_file_or_overlap_are_refused() {
    let refused = |tar: Vec<u8>| match segment(&tar) {
        Err(Error::LayerInvalid { .. }) => {}
        other => panic!("{other:?}"),
    };
    for (map, blocks) in [
        ("90,20", "1"),
        ("0,5,4,5", "2"),
        ("50,5,0,5", "2"),
        ("-1,5", "1"),
        ("9223372036854775808,1", "1"),
        ("0,99", "1"),
        ("0,5", "2"),
        ("0,5,6", "1"),
    ] {
        refused(in_header(map, blocks, "100", &[7; 10]));
    }
    refused(in_data("1\n0\n", "100", &[7; 10]));
    refused(in_data("no number\n", "100", &[7; 10]));
}

#[test]
fn l57_l58_maps_and_apparent_sizes_are_bounded() {
    let limit = |tar: &[u8], limits: Limits| match segment_under(
        tar,
        &Options { limits, ..Options::default() },
    ) {
        Err(Error::Limit { key, .. }) => key,
        other => panic!("{other:?}"),
    };
    let many = in_data("10000000\n", "100", &[]);
    assert_eq!(limit(&many, Limits::default()), "sparse-map");
    let endless = in_data(&"1\n".repeat(700_000).replacen('1', "65000", 1), "100", &[]);
    assert_eq!(limit(&endless, Limits { pax_bytes: 4096, ..Limits::default() }), "sparse-map");
    let huge = in_header("0,0", "1", "9223372036854775807", &[]);
    assert_eq!(limit(&huge, Limits::default()), "file-bytes");
}
