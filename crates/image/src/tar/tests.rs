//! Rows L of the reliability document that one layer decides. The id is in the name.

use std::io::{self, Read};

use crate::error::Error;
use crate::limits::Limits;
use crate::options::Options;
use crate::segment::{Attributes, Kind, SegmentIndex};
use crate::testing::segment_under;
use crate::testing::{Header, Segment, Tar, block, content, gzip, layer, pax_data, segment, sum};

/// Paths and kinds of all entries, and a file's content.
fn listing(segment: &Segment) -> Vec<(String, String)> {
    let mut entries = segment.index.entries();
    let mut list = Vec::new();
    while let Some(entry) = entries.next().unwrap() {
        let path = entry.path.escape_ascii().to_string();
        list.push((
            path,
            match entry.kind {
                Kind::File(file) => content(segment, &file).escape_ascii().to_string(),
                Kind::Symlink(target) | Kind::HardLink(target) => target.escape_ascii().to_string(),
                other => format!("{other:?}"),
            },
        ));
    }
    list
}

fn read(tar: Vec<u8>) -> Vec<(String, String)> {
    listing(&segment(&tar).unwrap())
}

fn only(tar: Tar) -> (String, String) {
    let mut list = read(tar.end());
    assert_eq!(list.len(), 1, "{list:?}");
    list.remove(0)
}

fn attributes(tar: Tar) -> Attributes {
    let index = segment(&tar.end()).unwrap().index;
    let mut entries = index.entries();
    entries.next().unwrap().unwrap().attributes
}

#[track_caller]
fn refused(stream: &[u8]) -> String {
    match segment(stream) {
        Err(Error::LayerInvalid { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn limited(stream: &[u8], limits: Limits) -> &'static str {
    match segment_under(stream, &Options { limits, ..Options::default() }) {
        Err(Error::Limit { key, .. }) => key,
        other => panic!("{other:?}"),
    }
}

fn pair(path: &str, what: &str) -> (String, String) {
    (path.to_owned(), what.to_owned())
}

#[test]
fn l02_dot_dot_is_mentioned_once_a_layer() {
    let tar = Tar::new().file("../../esc", b"").file("a/../../e2", b"").end();
    let segment = segment(&tar).unwrap();
    assert_eq!(segment.warnings.len(), 1, "{:?}", segment.warnings);
}

#[test]
fn l03_the_root_can_only_be_a_directory() {
    for name in ["", ".", "/", ".."] {
        assert!(refused(&Tar::new().file(name, b"").end()).contains("root"), "{name}");
    }
    assert!(refused(&Tar::new().symlink("./", "x").end()).contains("root"));
}

#[test]
fn l05_an_old_entry_with_a_slash_is_a_directory_and_type_0_a_file() {
    assert_eq!(only(Tar::new().file("x/", b"data")), pair("x", "data"));
    let old = Header::new(0, "y/");
    assert_eq!(only(Tar::new().header(&old)), pair("y", "Directory"));
}

#[test]
fn l06_l07_names_are_bounded() {
    let long = "n".repeat(255);
    let with = |path: &str| Tar::new().pax(&[("path", path.as_bytes())]).file("x", b"").end();
    assert_eq!(read(with(&long))[0].0, long);
    assert!(refused(&with(&"n".repeat(256))).contains("255"));
    assert_eq!(limited(&with(&"d/".repeat(2048)), Limits::default()), "path-bytes");
}

#[test]
fn l08_names_are_bytes() {
    let name = b"\xff\xfe\n\x1b[1m\\ ";
    let tar = Tar::new().header(&Header::new(b'0', name));
    assert_eq!(only(tar).0, name.escape_ascii().to_string());
    let records: [(&str, &[u8]); 2] = [("hdrcharset", b"BINARY"), ("path", b"\xff")];
    assert_eq!(only(Tar::new().pax(&records).file("x", b"")).0, "\\xff");
}

#[test]
fn l09_a_nul_in_a_pax_name_is_refused_and_ends_a_field_of_the_header() {
    for key in ["path", "linkpath", "uname"] {
        refused(&Tar::new().pax(&[(key, b"a\0b")]).file("x", b"").end());
    }
    assert_eq!(only(Tar::new().header(&Header::new(b'0', b"a\0b"))).0, "a");
}

#[test]
fn l11_prefixes_and_old_formats_are_read() {
    let mut split = block(&Header::new(b'0', "name"));
    split[345..351].copy_from_slice(b"prefix");
    sum(&mut split);
    assert_eq!(only(Tar::new().raw(&split)).0, "prefix/name");
    let mut v7 = block(&Header::new(b'0', "name"));
    v7[257..].fill(0);
    sum(&mut v7);
    assert_eq!(only(Tar::new().raw(&v7)).0, "name");
}

#[test]
fn l12_pax_beats_the_header() {
    let records: [(&str, &[u8]); 5] = [
        ("path", b"right"),
        ("size", b"512"),
        ("uid", b"3000000"),
        ("gid", b"4"),
        ("mtime", b"5.9"),
    ];
    let file = Header { size: Some(0), data: &[b'd'; 512], ..Header::new(b'0', "wrong") };
    let tar = Tar::new().pax(&records).header(&file);
    assert_eq!(only(tar.clone()), pair("right", &"d".repeat(512)));
    let found = attributes(tar);
    assert_eq!((found.uid, found.gid, found.mtime), (3_000_000, 4, 5));
    let link = Tar::new().pax(&[("linkpath", b"to")]).symlink("x", "wrong");
    assert_eq!(only(link), pair("x", "to"));
}

#[test]
fn l13_a_pax_header_before_a_gnu_one_is_the_files_and_two_are_refused() {
    let gnu = Header { data: b"long\0", ..Header::new(b'L', "././@LongLink") };
    let tar = Tar::new().pax(&[("uid", b"7"), ("path", b"pax")]).header(&gnu).file("short", b"");
    assert_eq!(only(tar.clone()).0, "long");
    assert_eq!(attributes(tar).uid, 7);
    let two = Tar::new().pax(&[("uid", b"7")]).pax(&[("gid", b"7")]).file("x", b"").end();
    assert!(refused(&two).contains("two pax headers"));
}

#[test]
fn l14_gnu_names_are_bounded_and_need_an_entry() {
    let gnu = |data: &'static [u8]| Header { data, ..Header::new(b'L', "././@LongLink") };
    let long: &'static [u8] = [b'a'; 5000].as_slice().to_vec().leak();
    let huge: &'static [u8] = vec![b'a'; (1 << 20) + 1].leak();
    let tar = |data| Tar::new().header(&gnu(data)).file("x", b"").end();
    assert_eq!(limited(&tar(long), Limits::default()), "path-bytes");
    assert_eq!(limited(&tar(huge), Limits::default()), "pax-bytes");
    assert_eq!(read(tar(b"without")), [pair("without", "")]);
    refused(&Tar::new().header(&gnu(b"x\0")).end());
}

#[test]
fn l15_malformed_pax_records_are_refused() {
    for data in ["8 path=x\n", "11 path=abc", "6 pathx\n", "0 a=b\n", "99999999999999999999 a=b\n"]
    {
        let header = Header { data: data.as_bytes(), ..Header::new(b'x', "pax") };
        refused(&Tar::new().header(&header).file("x", b"").end());
    }
    for (key, value) in [("size", "1e3"), ("mtime", "nan"), ("uid", "-x")] {
        refused(&Tar::new().pax(&[(key, value.as_bytes())]).file("x", b"").end());
    }
    let comment = vec![b'c'; 1 << 20];
    let big = Tar::new().pax(&[("comment", &comment)]).file("x", b"").end();
    assert_eq!(limited(&big, Limits::default()), "pax-bytes");
}

#[test]
fn l16_global_headers_change_nothing() {
    for (record, warned) in [(("comment", b"x".as_slice()), false), (("path", b"other"), true)] {
        let data = pax_data(&[record]);
        let global = Header { data: &data, ..Header::new(b'g', "global") };
        let tar = Tar::new().header(&global).file("x", b"").end();
        let segment = segment(&tar).unwrap();
        assert_eq!(listing(&segment), [pair("x", "")]);
        assert_eq!(!segment.warnings.is_empty(), warned, "{:?}", segment.warnings);
    }
}

#[test]
fn l18_an_xattr_without_a_name_is_refused_and_other_prefixes_are_ignored() {
    refused(&Tar::new().pax(&[("SCHILY.xattr.", b"v")]).file("x", b"").end());
    let tar = Tar::new().pax(&[("LIBARCHIVE.xattr.user.a", b"v")]).file("x", b"");
    assert_eq!(attributes(tar).xattrs, 0);
}

/// Gives `head`, then so many zeros.
struct Zeros<'a>(&'a [u8], u64);

impl Read for Zeros<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if !self.0.is_empty() {
            return self.0.read(to);
        }
        let count = to.len().min(usize::try_from(self.1).unwrap_or(usize::MAX));
        to[..count].fill(0);
        self.1 -= count as u64;
        Ok(count)
    }
}

#[test]
fn l19_a_file_of_nine_gib_by_header_or_pax_keeps_its_size() {
    const SIZE: u64 = 9 << 30;
    // All of the data are holes, so nothing but the walk over them is needed: here of 9 MiB.
    const SHORT: u64 = 9 << 20;
    for pax in [false, true] {
        let text = SHORT.to_string();
        let tar = if pax { Tar::new().pax(&[("size", text.as_bytes())]) } else { Tar::new() };
        let file = Header { size: Some(if pax { 0 } else { SHORT }), ..Header::new(b'0', "x") };
        let head = tar.header(&file).bytes();
        let mut bytes = Vec::new();
        Zeros(&head, SHORT).read_to_end(&mut bytes).unwrap();
        let index = segment(&bytes).unwrap().index;
        let entry = index.entries().next().unwrap().map(|entry| format!("{:?}", entry.kind));
        assert!(entry.unwrap().contains(&format!("size: {SHORT}")));
        assert_eq!(index.data_size(), 0);
    }
    // The header's own field, in base 256: the file is announced, its data are missing.
    let head = Tar::new().header(&Header { size: Some(SIZE), ..Header::new(b'0', "x") }).bytes();
    assert!(refused(&head).contains("cut off"));
}

#[test]
fn l20_sizes_that_are_none_are_refused() {
    for field in [
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\0\0\0\x80\0\0\0\0\0\0\0",
        b"89zz\0\0\0\0\0\0\0\0",
    ] {
        let mut header = block(&Header::new(b'0', "x"));
        header[124..136].copy_from_slice(field);
        sum(&mut header);
        refused(&Tar::new().raw(&header).end());
    }
}

#[test]
fn l21_times_are_moved_into_what_squashfs_holds() {
    for (text, mtime, warned) in
        [("-5.5", 0, true), ("99999999999", u32::MAX, true), ("1.9", 1, false)]
    {
        let tar = Tar::new().pax(&[("mtime", text.as_bytes())]).file("x", b"");
        assert_eq!(attributes(tar.clone()).mtime, mtime);
        assert_eq!(!segment(&tar.end()).unwrap().warnings.is_empty(), warned);
    }
}

#[test]
fn l22_an_owner_is_kept_or_refused_never_wrapped() {
    let with = |uid: &str| Tar::new().pax(&[("uid", uid.as_bytes())]).file("x", b"");
    assert_eq!(attributes(with("4294967294")).uid, 4_294_967_294);
    for uid in ["4294967296", "-1", "4294967295"] {
        assert!(refused(&with(uid).end()).contains("owner"), "{uid}");
    }
}

#[test]
fn l24_l25_modes_are_kept_and_type_bits_dropped() {
    for (mode, kept) in
        [(0o4755, 0o4755), (0o1777, 0o1777), (0, 0), (0o100_644, 0o644), (1 << 20, 0)]
    {
        assert_eq!(attributes(Tar::new().dir("x", mode)).mode, kept);
    }
    assert_eq!(
        only(Tar::new().header(&Header { mode: 0, data: b"in", ..Header::new(b'0', "x") })),
        pair("x", "in")
    );
}

#[test]
fn l26_a_wrong_checksum_is_refused_and_one_of_signed_bytes_is_right() {
    let mut wrong = block(&Header::new(b'0', "x"));
    wrong[0] = b'y';
    refused(&Tar::new().raw(&wrong).end());
    let mut old = block(&Header::new(b'0', b"\xe4"));
    old[148..156].fill(b' ');
    let signed: i64 = old.iter().map(|&byte| i64::from(byte.cast_signed())).sum();
    old[148..156].copy_from_slice(format!("{signed:06o}\0 ").as_bytes());
    assert_eq!(only(Tar::new().raw(&old)).0, "\\xe4");
}

#[test]
fn l35_types_without_data_have_none_whatever_the_size_says() {
    for kind in *b"23456" {
        let header = Header { link: b"a", size: Some(512), ..Header::new(kind, "x") };
        assert_eq!(
            read(Tar::new().header(&header).file("after", b"a").end())[1],
            pair("after", "a")
        );
    }
}

#[test]
fn l38_l39_targets_have_1_to_4095_bytes() {
    let with = |length| {
        let target = vec![b't'; length];
        Tar::new().pax(&[("linkpath", &target)]).symlink("x", "").end()
    };
    assert_eq!(read(with(4095))[0].1.len(), 4095);
    assert_eq!(limited(&with(4096), Limits::default()), "path-bytes");
    assert!(refused(&Tar::new().symlink("x", "").end()).contains("target"));
}

#[test]
fn l51_device_numbers_are_kept_or_refused() {
    let with = |device| Tar::new().header(&Header { device, ..Header::new(b'3', "x") });
    assert_eq!(only(with((4095, 0xf_ffff))).1, "Char(4095, 1048575)");
    for device in [(4096, 0), (0, 1 << 20), (1 << 32, 0)] {
        refused(&with(device).end());
    }
}

#[test]
fn l52_l53_contiguous_files_are_files_and_unknown_types_are_named() {
    assert_eq!(
        only(Tar::new().header(&Header { data: b"7", ..Header::new(b'7', "x") })),
        pair("x", "7")
    );
    for kind in *b"AVMDsZ" {
        let fault = refused(&Tar::new().header(&Header::new(kind, "x")).end());
        assert!(fault.contains(&format!("'{}'", char::from(kind))), "{fault}");
    }
}

#[test]
fn l65_l68_whiteouts_of_nothing_and_below_whiteouts_are_refused() {
    for name in [".wh.", "a/.wh..", "a/.wh...", ".wh.a/x", "a/.wh.f/in"] {
        refused(&Tar::new().file(name, b"").end());
    }
}

#[test]
fn l70_l80_l81_attributes_are_kept_or_dropped_by_their_prefix() {
    let records: [(&str, &[u8]); 8] = [
        ("SCHILY.xattr.user.a", b"\0\xff"),
        ("SCHILY.xattr.user.empty", b""),
        ("SCHILY.xattr.security.capability", b"c"),
        ("SCHILY.xattr.security.selinux", b"s"),
        ("SCHILY.xattr.trusted.x", b"t"),
        ("SCHILY.xattr.system.posix_acl_access", b"p"),
        ("SCHILY.xattr.user.overlay.redirect", b"/"),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
    ];
    let segment = segment(&Tar::new().pax(&records).file("x", b"").end()).unwrap();
    let names: Vec<_> = segment
        .index
        .xattrs(1)
        .unwrap()
        .iter()
        .map(|(name, _)| name.escape_ascii().to_string())
        .collect();
    assert_eq!(names, ["security.capability", "user.a", "user.empty"]);
    let text = segment.warnings.join("\n");
    assert!(text.contains("2 extended attributes of overlayfs"), "{text}");
    assert!(text.contains("3 extended attributes were dropped"), "{text}");
}

#[test]
fn l82_attributes_are_bounded() {
    let with = |name: &str, length: usize| {
        let key = format!("SCHILY.xattr.{name}");
        Tar::new().pax(&[(&key, &vec![b'v'; length])]).file("x", b"").end()
    };
    refused(&with(&format!("user.{}", "n".repeat(251)), 1));
    assert_eq!(
        segment(&with("user.a", 64 << 10)).unwrap().index.xattrs(1).unwrap()[0].1.len(),
        64 << 10
    );
    assert_eq!(limited(&with("user.a", (64 << 10) + 1), Limits::default()), "xattr-bytes");
}

#[test]
fn l71_l72_streams_may_end_in_several_ways() {
    let tar = Tar::new().file("x", b"x");
    assert_eq!(read(tar.clone().bytes()).len(), 1);
    assert_eq!(read(tar.raw(&[0; 512]).bytes()).len(), 1);
    assert_eq!(read(Vec::new()), []);
    assert_eq!(read(vec![0; 1024]), []);
}

#[test]
fn l73_an_entry_behind_one_block_of_zeros_is_refused() {
    let tar = Tar::new().file("x", b"").raw(&[0; 512]).file("y", b"").end();
    assert!(refused(&tar).contains("zeros"));
}

#[test]
fn l74_what_follows_the_end_is_hashed_and_mentioned_and_never_parsed() {
    let tar = [Tar::new().file("x", b"").end(), Tar::new().file("y", b"").end()].concat();
    let segment = segment(&gzip(&tar)).unwrap();
    assert_eq!(listing(&segment), [pair("x", "")]);
    assert_eq!(segment.index.diff_id().0, layer(&tar).digest);
    assert!(segment.warnings[0].contains("behind the end"), "{:?}", segment.warnings);
}

#[test]
fn l75_a_stream_cut_in_header_or_data_is_refused_in_padding_it_is_not() {
    let tar = Tar::new().file("x", b"data").bytes();
    assert!(refused(&tar[..300]).contains("cut off"));
    assert!(refused(&tar[..514]).contains("cut off"));
    let cut = segment(&tar[..600]).unwrap();
    assert_eq!(listing(&cut), [pair("x", "data")]);
    assert!(cut.warnings[0].contains("padding"), "{:?}", cut.warnings);
}

#[test]
fn l76_what_is_no_tar_is_refused() {
    for head in [b"\x7fELF\x02\x01\x01".as_slice(), b"PK\x03\x04", b"\x37\x91\x22\x13noise"] {
        let mut bytes = head.to_vec();
        bytes.resize(2048, 0x5a);
        refused(&bytes);
    }
    for head in [b"\xfd7zXZ\0".as_slice(), b"BZh91AY", b"\x04\x22\x4d\x18"] {
        assert!(refused(head).contains("layers are gzip, zstd or plain tar"));
    }
}

#[test]
fn l78_entries_are_counted() {
    let tar = (0..11).fold(Tar::new(), |tar, number| tar.file(&number.to_string(), b"")).end();
    let limits = Limits { entries: 10, ..Limits::default() };
    assert_eq!(limited(&tar, limits), "entries");
    let at = SegmentIndex::from_bytes(&segment(&tar).unwrap().index.to_bytes()).unwrap();
    assert_eq!(at.entry_count(), 11);
}
