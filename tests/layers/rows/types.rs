//! Types, what replaces what, and sparse files: rows L44 to L58.

use super::{Row, hold};
use orlop_kit::image::raw::{Header, Tar, block, sum};

fn special(kind: u8, name: &str, device: (u64, u64)) -> Tar {
    Tar::new().header(&Header { device, ..Header::new(kind, name) })
}

#[test]
fn l44_to_l53_types_give_the_tree_that_umoci_unpacks() {
    let typed = |kind| Tar::new().header(&Header { data: b"7", ..Header::new(kind, "x") });
    hold(vec![
        Row::new("L44", Tar::new().file("a", b"file")).has("a", "file 644 file").has_not("a/f"),
        Row::new("L44", Tar::new().symlink("a", "x")).has("a", "-> x").has_not("a/f"),
        Row::new("L45", Tar::new().file("top/x", b"")).refused("no directory"),
        Row::new("L46", Tar::new().dir("a/", 0o711)).has("a", "dir 711").has("a/f", "file 644 old"),
        Row::new("L47", Tar::new().file("i/j/k", b"k").file("a/n", b"n"))
            .has("i", "dir 755")
            .has("i/j", "dir 755")
            .has("a", "dir 750")
            .check(|tree| assert_eq!(tree[&b"i/j"[..]].mtime, crate::beside::CREATED)),
        Row::new("L48", Tar::new().dir("z/", 0).file("z/x", b"x"))
            .has("z", "dir 0")
            .has("z/x", "file 644 x"),
        Row::new("L48", Tar::new().file("z/x", b"x").dir("z/", 0o711).dir("z/", 0o700))
            .has("z", "dir 700")
            .has("z/x", "file 644 x"),
        Row::new("L49", special(b'3', "x", (1, 3))).has("x", "char 644 1:3"),
        Row::new("L49", special(b'4', "x", (8, 0))).has("x", "block 644 8:0"),
        Row::new("L49", special(b'6', "x", (0, 0))).has("x", "fifo 644"),
        Row::new("L50", special(b'3', "a/f", (0, 0))).has("a/f", "char 644 0:0"),
        Row::new("L51", special(b'3', "x", (4095, 0xf_ffff))).has("x", "char 644 4095:1048575"),
        Row::new("L51", special(b'3', "x", (1 << 32, 0))).refused("device number"),
        Row::new("L51", special(b'4', "x", (0, 1 << 20))).refused("device number"),
        // umoci knows no contiguous files.
        Row::new("L52", typed(b'7')).has("x", "file 644 7").ours(),
        Row::new("L52", typed(b'A')).refused("'A'"),
        Row::new("L52", typed(b'V')).refused("'V'"),
        Row::new("L52", typed(b'M')).refused("'M'"),
        Row::new("L52", typed(b'D')).refused("'D'"),
        Row::new("L52", typed(b'Z')).refused("'Z'"),
        Row::new("L53", typed(b's')).refused("'s'"),
    ]);
}

/// A file of 1 MiB that is "begin" at 0, "end" at 65 536, and holes.
const SIZE: u64 = 1 << 20;
const BEGIN: &[u8; 5] = b"begin";
const END: &[u8; 3] = b"end";

fn old_gnu(map: &[(u64, u64)], size: u64, data: &[u8]) -> Tar {
    let mut header = block(&Header { data, ..Header::new(b'S', "x") });
    header[257..265].copy_from_slice(b"ustar  \0");
    header[329..].fill(0);
    for (number, (at, length)) in map.iter().enumerate() {
        let text = format!("{at:011o}\0{length:011o}\0");
        header[386 + 24 * number..410 + 24 * number].copy_from_slice(text.as_bytes());
    }
    header[483..495].copy_from_slice(format!("{size:011o}\0").as_bytes());
    sum(&mut header);
    Tar::new().raw(&header).padded(data)
}

fn pax_0_1(map: &str, count: &str, size: &str, data: &[u8]) -> Tar {
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.size", size.as_bytes()),
        ("GNU.sparse.numblocks", count.as_bytes()),
        ("GNU.sparse.name", b"x"),
        ("GNU.sparse.map", map.as_bytes()),
    ];
    Tar::new().pax(&records).header(&Header { data, ..Header::new(b'0', "GNUSparseFile.0/x") })
}

fn pax_0_0(map: &[(&str, &str)], data: &[u8]) -> Tar {
    let count = map.len().to_string();
    let mut records: Vec<(&str, &[u8])> =
        vec![("GNU.sparse.size", b"1048576"), ("GNU.sparse.numblocks", count.as_bytes())];
    for (at, length) in map {
        records.push(("GNU.sparse.offset", at.as_bytes()));
        records.push(("GNU.sparse.numbytes", length.as_bytes()));
    }
    Tar::new().pax(&records).header(&Header { data, ..Header::new(b'0', "x") })
}

fn pax_1_0(map: &str, size: &str, data: &[u8]) -> Tar {
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"x"),
        ("GNU.sparse.realsize", size.as_bytes()),
    ];
    let mut content = map.as_bytes().to_vec();
    content.resize(content.len().next_multiple_of(512), 0);
    content.extend_from_slice(data);
    let header = Header { data: &content, ..Header::new(b'0', "GNUSparseFile.0/x") };
    Tar::new().pax(&records).header(&header)
}

#[test]
fn l54_to_l58_sparse_files_give_the_tree_that_umoci_unpacks() {
    let data = [&BEGIN[..], END].concat();
    let map = [(0, 5), (65_536, 3)];
    let mut whole = vec![0; 1 << 20];
    whole[..5].copy_from_slice(BEGIN);
    whole[65_536..65_539].copy_from_slice(END);
    let words = format!("file 644 {}", orlop_kit::Digest::of(&whole));
    let bad = "map of a sparse file leaves the file or overlaps itself";
    hold(vec![
        // umoci knows no type S.
        Row::new("L54", old_gnu(&map, SIZE, &data)).has("x", &words).ours(),
        Row::new("L55", pax_0_0(&[("0", "5"), ("65536", "3")], &data)).has("x", &words),
        Row::new("L55", pax_0_1("0,5,65536,3", "2", "1048576", &data)).has("x", &words),
        Row::new("L55", pax_1_0("2\n0\n5\n65536\n3\n", "1048576", &data)).has("x", &words),
        Row::new("L56", pax_0_1("0,5,65536,3", "2", "65538", &data)).refused(bad),
        Row::new("L56", pax_0_1("0,5,4,4", "2", "1048576", &data)).refused(bad),
        Row::new("L56", pax_0_1("65536,5,0,3", "2", "1048576", &data)).refused(bad),
        Row::new("L56", pax_1_0("1\n-1\n5\n", "1048576", &data)).refused(bad),
        Row::new("L56", pax_1_0("1\n9223372036854775808\n5\n", "1048576", &data))
            .refused("malformed"),
        Row::new("L56", pax_0_1("0,5,65536,600", "2", "1048576", &data)).refused("less data"),
        Row::new("L56", old_gnu(&[(0, 5), (4, 3)], SIZE, &data)).refused(bad),
        Row::new("L57", pax_1_0("10000000\n", "1048576", &data)).refused("sparse-map"),
        Row::new("L57", pax_1_0(&"1".repeat(2000), "1048576", &data)).refused("malformed"),
        Row::new("L58", pax_1_0("0\n", "9223372036854775807", b"")).refused("file-bytes"),
    ]);
}
