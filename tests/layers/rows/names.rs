//! Names: rows L01 to L18.

use super::{Row, hold};
use orlop_kit::image::raw::{Header, Tar, block, pax_data, sum};

fn long(path: &str) -> Tar {
    Tar::new().pax(&[("path", path.as_bytes())])
}

/// A GNU header for the entry that comes next: `L` for its name, `K` for its target.
fn gnu(tar: Tar, kind: u8, data: &[u8]) -> Tar {
    tar.header(&Header { data, ..Header::new(kind, "././@LongLink") })
}

fn entry(name: &[u8]) -> Tar {
    Tar::new().header(&Header::new(b'0', name))
}

#[test]
fn l01_to_l10_names_give_the_tree_that_umoci_unpacks() {
    hold(vec![
        Row::new("L01", Tar::new().file("/abs", b"1")).has("abs", "file 644 1"),
        Row::new("L01", Tar::new().file("./abs", b"1")).has("abs", "file 644 1"),
        Row::new("L01", Tar::new().file("//abs", b"1")).has("abs", "file 644 1"),
        Row::new("L02", Tar::new().file("../../esc", b"1").file("a/../../e2", b"2"))
            .has("esc", "file 644 1")
            .has("e2", "file 644 2")
            .warns("names with .. were taken as in a chroot"),
        Row::new("L02", Tar::new().file("a/./b", b"1").file("a//c", b"2"))
            .has("a/b", "file 644 1")
            .has("a/c", "file 644 2"),
        Row::new("L03", entry(b"")).refused("root"),
        Row::new("L03", entry(b".")).refused("root"),
        Row::new("L03", entry(b"/")).refused("root"),
        Row::new("L03", entry(b"..")).refused("root"),
        Row::new("L03", Tar::new().symlink("./", "a")).refused("root"),
        Row::new("L03", Tar::new().header(&Header { device: (1, 3), ..Header::new(b'3', "./") }))
            .refused("root"),
        Row::new(
            "L04",
            Tar::new().header(&Header { mode: 0o700, uid: 7, gid: 8, ..Header::new(b'5', "./") }),
        )
        .has("", "dir 700")
        .check(|tree| assert_eq!(tree[&b""[..]].owner, (7, 8))),
        // Owners may always write to the root of a SIF.
        Row::new("L04", Tar::new().dir("./", 0o555)).has("", "dir 755").except(&[""]),
        Row::new("L05", Tar::new().file("x/", b"data").header(&Header::new(0, "y/")))
            .has("x", "file 644 data")
            .has("y", "dir 644"),
        Row::new("L06", long(&"n".repeat(255)).file("x", b"1")),
        Row::new("L06", long(&"n".repeat(256)).file("x", b"1")).refused("255"),
        Row::new("L07", long(&"d/".repeat(2048)).file("x", b"1")).refused("path-bytes"),
        Row::new("L07", long(&["d"; 100].join("/")).file("x", b"1")).has("a/f", "file 644 old"),
        Row::new("L08", entry(b"\xff\xfe\n\x1b[1m\\ ")),
        Row::new(
            "L08",
            Tar::new().pax(&[("hdrcharset", b"BINARY"), ("path", b"\xff")]).file("x", b"1"),
        )
        .check(|tree| assert_eq!(tree[&b"\xff"[..]].words, "file 644 1")),
        Row::new("L09", Tar::new().pax(&[("path", b"a\0b")]).file("x", b"")).refused("NUL"),
        Row::new("L09", Tar::new().pax(&[("linkpath", b"a\0b")]).symlink("x", "")).refused("NUL"),
        Row::new("L09", Tar::new().pax(&[("uname", b"a\0b")]).file("x", b"")).refused("NUL"),
        Row::new("L09", entry(b"n\0b")).has("n", "file 644 "),
        Row::new(
            "L10",
            Tar::new()
                .file("README", b"1")
                .file("readme", b"2")
                .file("\u{fb01}", b"3")
                .file("fi", b"4"),
        )
        .has("README", "file 644 1")
        .has("readme", "file 644 2")
        .has("\u{fb01}", "file 644 3")
        .has("fi", "file 644 4"),
    ]);
}

#[test]
fn l11_to_l18_headers_before_an_entry_give_the_tree_that_umoci_unpacks() {
    let mut split = block(&Header::new(b'0', "name"));
    split[345..351].copy_from_slice(b"prefix");
    sum(&mut split);
    let mut v7 = block(&Header::new(b'0', "old"));
    v7[257..].fill(0);
    sum(&mut v7);
    let mut magic = block(&Header::new(b'0', "gnu"));
    magic[257..265].copy_from_slice(b"ustar  \0");
    sum(&mut magic);
    let global = |records: &[(&str, &[u8])]| {
        let data = pax_data(records);
        Tar::new().header(&Header { data: &data, ..Header::new(b'g', "global") })
    };
    let records = |text: &str| {
        let header = Header { data: text.as_bytes(), ..Header::new(b'x', "pax") };
        Tar::new().header(&header).file("x", b"")
    };
    let pax = |key: &str, value: &[u8]| Tar::new().pax(&[(key, value)]).file("x", b"");
    let wins: [(&str, &[u8]); 5] =
        [("path", b"right"), ("size", b"512"), ("uid", b"3000000"), ("gid", b"4"), ("mtime", b"5")];
    let empty = Header { size: Some(0), data: &[b'd'; 512], ..Header::new(b'0', "wrong") };
    hold(vec![
        Row::new("L11", Tar::new().raw(&split)).has("prefix/name", "file 644 "),
        Row::new("L11", Tar::new().raw(&v7).raw(&magic))
            .has("old", "file 644 ")
            .has("gnu", "file 644 "),
        Row::new("L12", Tar::new().pax(&wins).header(&empty)).has_not("wrong").check(|tree| {
            let node = &tree[&b"right"[..]];
            assert_eq!((node.size, node.owner, node.mtime), (512, (3_000_000, 4), 5));
        }),
        Row::new("L12", Tar::new().pax(&[("linkpath", b"to")]).symlink("x", "wrong"))
            .has("x", "-> to"),
        Row::new("L13", gnu(Tar::new().pax(&[("uid", b"7")]), b'L', b"long\0").file("x", b"1"))
            .has("long", "file 644 1")
            .check(|tree| assert_eq!(tree[&b"long"[..]].owner, (7, 0))),
        Row::new("L13", Tar::new().pax(&[("uid", b"7")]).pax(&[("gid", b"7")]).file("x", b""))
            .refused("two pax headers"),
        Row::new("L14", gnu(Tar::new(), b'L', &[b'a'; 5000]).file("x", b"")).refused("path-bytes"),
        Row::new("L14", gnu(Tar::new(), b'L', b"without").file("x", b"1"))
            .has("without", "file 644 1"),
        Row::new("L14", gnu(Tar::new(), b'K', b"target\0").symlink("x", "")).has("x", "-> target"),
        Row::new("L14", gnu(Tar::new(), b'L', &vec![b'a'; (1 << 20) + 1]).file("x", b""))
            .refused("pax-bytes"),
        Row::new("L14", gnu(Tar::new(), b'K', b"x\0")).refused("behind a header"),
        Row::new("L15", records("8 path=x\n")).refused("record"),
        Row::new("L15", records("6 pathx\n")).refused("record"),
        Row::new("L15", pax("size", b"1e3")).refused("number"),
        Row::new("L15", pax("mtime", b"nan")).refused("number"),
        Row::new("L15", pax("comment", &vec![b'c'; 1 << 20])).refused("pax-bytes"),
        // umoci refuses archives with global headers, which git writes.
        Row::new("L16", global(&[("comment", b"c")]).file("x", b"1")).has("x", "file 644 1").ours(),
        Row::new("L16", global(&[("path", b"y"), ("uid", b"9")]).file("x", b"1"))
            .has("x", "file 644 1")
            .has_not("y")
            .warns("global header was ignored")
            .ours(),
        Row::new("L17", Tar::new().file("x", b"1").file("x", b"2")).has("x", "file 644 2"),
        Row::new("L17", Tar::new().file("x", b"1").link("y", "x").file("x", b"2"))
            .has("x", "file 644 2")
            .has("y", "file 644 1"),
        Row::new("L18", pax("SCHILY.xattr.", b"v")).refused("no name"),
        Row::new("L18", pax("LIBARCHIVE.xattr.user.a", b"v"))
            .check(|tree| assert!(tree[&b"x"[..]].xattrs.is_empty())),
    ]);
}
