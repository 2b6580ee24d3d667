//! Layers as real tools make them: several kinds of tar, several compressors, builders of images.
//!
//! A tree on disk is put into an archive by each tool; pulled as a layer, the archive gives the tree
//! that umoci unpacks from it, and the tree that was put in. Tools that are not installed are left
//! out with a line. Not here: archives made to be odd ([`crate::rows`]).

use crate::beside::Bench;
use crate::tree::{Tree, differences, of_directory};
use orlop_kit::{Compression, Image, Layer, Person, tools};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes a tree with a bit of everything, as root can.
fn make(root: &Path) {
    let file = |path: &str, bytes: &[u8], mode: u32| {
        let at = root.join(path);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(&at, bytes).unwrap();
        std::fs::set_permissions(&at, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    file("usr/bin/tool", b"#!/bin/sh\n", 0o4755);
    file("usr/share/noise", &orlop_kit::image::noise(300_000, 9), 0o644);
    file("usr/share/text", &b"the same line again\n".repeat(20_000), 0o640);
    file("empty", b"", 0o600);
    file("caf\u{e9} \u{2713}", b"name", 0o644);
    symlink("usr/bin", root.join("bin")).unwrap();
    symlink("/nowhere/at/all", root.join("dangling")).unwrap();
    std::fs::hard_link(root.join("usr/bin/tool"), root.join("usr/bin/again")).unwrap();
    let holes = std::fs::File::create(root.join("holes")).unwrap();
    holes.write_all_at(b"begin", 0).unwrap();
    holes.write_all_at(b"middle", 700_000).unwrap();
    holes.set_len(2 << 20).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(root.join("usr/share/text"), "user.note", b"kept", flags).unwrap();
    std::os::unix::fs::chown(root.join("empty"), Some(1234), Some(4321)).unwrap();
}

/// What only some formats hold: names over 100 bytes.
fn make_long(root: &Path) {
    let long = root.join("d".repeat(120));
    std::fs::create_dir(&long).unwrap();
    std::fs::write(long.join("f".repeat(130)), b"long").unwrap();
    symlink("t".repeat(140), long.join("link")).unwrap();
}

/// Gives every file the same time, with a fraction.
fn touch(root: &Path) {
    let mut command = Command::new("find");
    tools::output(command.arg(root).args([
        "-exec",
        "touch",
        "-h",
        "-d",
        "@1000000000.25",
        "{}",
        "+",
    ]));
}

/// Runs a program in a directory; what it wrote to standard output.
fn run(program: &Path, words: &[&str], at: &Path, input: Option<&[u8]>) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = Command::new(program)
        .args(words)
        .current_dir(at)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let pipe = child.stdin.take();
    let done = std::thread::scope(|scope| {
        if let (Some(mut pipe), Some(input)) = (pipe, input) {
            scope.spawn(move || pipe.write_all(input));
        }
        child.wait_with_output().unwrap()
    });
    assert!(done.status.success(), "{}: {words:?}", program.display());
    done.stdout
}

/// Where Orlop's tree is not that of a directory; whether extended attributes count.
fn unlike(ours: &Tree, directory: &Tree, xattrs: bool) -> Vec<String> {
    let (mut ours, mut directory) = (ours.clone(), directory.clone());
    for tree in [&mut ours, &mut directory] {
        tree.remove(&b""[..]);
        for node in tree.values_mut().filter(|_| !xattrs) {
            node.xattrs.clear();
        }
    }
    differences(("directory", &directory), ("ours", &ours))
}

/// A tree on disk; none where it cannot be made whole.
fn source(long: bool) -> Option<tempfile::TempDir> {
    if !Person::own().is_root() {
        tools::skip("owners are kept only for root");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    make(directory.path());
    if long {
        make_long(directory.path());
    }
    touch(directory.path());
    Some(directory)
}

#[test]
fn archives_of_gnu_tar_in_all_formats_give_the_tree_that_was_put_in() {
    let (Some(short), Some(long)) = (source(false), source(true)) else { return };
    let Some([tar]) = tools::all(["tar"]) else { return };
    let mut bench = Bench::new();
    for (words, source, umoci) in [
        (&["--format=v7"][..], &short, true),
        (&["--format=ustar"], &short, true),
        (&["--format=oldgnu"], &long, true),
        (&["--format=gnu"], &long, true),
        (&["--format=gnu", "--sparse"], &long, false),
        (&["--format=pax"], &long, true),
        (&["--format=posix", "--sparse", "--sparse-version=0.0"], &long, true),
        (&["--format=posix", "--sparse", "--sparse-version=0.1"], &long, true),
        (&["--format=posix", "--sparse", "--sparse-version=1.0"], &long, true),
        (&["--format=posix", "--xattrs", "--acls", "--selinux"], &long, true),
        (&["--format=posix", "--pax-option=delete=atime,delete=ctime"], &long, true),
        (&["-b1"], &long, true),
        (&["--hard-dereference"], &short, true),
    ] {
        let mut all = vec!["--numeric-owner", "-cf", "-"];
        all.extend(words);
        all.push(".");
        let archive = run(&tar, &all, source.path(), None);
        let seen = bench.see([Layer::raw(archive)], umoci);
        let mut faults = seen.unlike_umoci(&[""]);
        if !words.contains(&"--hard-dereference") {
            let xattrs = words.contains(&"--xattrs");
            faults.extend(unlike(&seen.tree(), &of_directory(source.path()), xattrs));
        }
        assert!(faults.is_empty(), "tar {words:?}:\n{}", faults.join("\n"));
        assert!(!seen.outcome.stderr.contains("WARNING"), "{}", seen.outcome.report());
    }
}

#[test]
fn archives_of_bsdtar_give_the_tree_that_was_put_in() {
    let (Some(short), Some(long)) = (source(false), source(true)) else { return };
    let Some([bsdtar]) = tools::all(["bsdtar"]) else { return };
    let mut bench = Bench::new();
    for (format, source) in
        [("ustar", &short), ("pax", &long), ("posix", &long), ("gnutar", &long), ("v7", &short)]
    {
        let words = ["--format", format, "--numeric-owner", "--no-fflags", "-cf", "-", "."];
        let archive = run(&bsdtar, &words, source.path(), None);
        let seen = bench.see([Layer::raw(archive)], true);
        let mut faults = seen.unlike_umoci(&[""]);
        faults.extend(unlike(&seen.tree(), &of_directory(source.path()), false));
        assert!(faults.is_empty(), "bsdtar {format}:\n{}", faults.join("\n"));
    }
}

/// Writes a tree to standard output, in the format named.
const TARFILE: &str = "
import sys, tarfile
archive = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=getattr(tarfile, sys.argv[1]))
archive.add('.')
archive.close()
";

/// Lists an archive: name, type, size, mode, owner, time, target.
const LISTING: &str = "
import sys, tarfile
for one in tarfile.open(fileobj=sys.stdin.buffer, mode='r|'):
    kind = one.type.decode()
    print(one.name, kind, one.size, oct(one.mode), one.uid, int(one.mtime), one.linkname, sep='|')
";

#[test]
fn archives_of_python_give_the_tree_that_was_put_in() {
    let (Some(short), Some(long)) = (source(false), source(true)) else { return };
    let Some([python]) = tools::all(["python3"]) else { return };
    let mut bench = Bench::new();
    for (format, source) in [("USTAR_FORMAT", &short), ("GNU_FORMAT", &long), ("PAX_FORMAT", &long)]
    {
        let archive = run(&python, &["-c", TARFILE, format], source.path(), None);
        let listed = run(&python, &["-c", LISTING], source.path(), Some(&archive));
        let seen = bench.see([Layer::raw(archive)], true);
        let mut faults = seen.unlike_umoci(&[""]);
        faults.extend(unlike(&seen.tree(), &of_directory(source.path()), false));
        assert!(faults.is_empty(), "{format}:\n{}", faults.join("\n"));
        let listed = String::from_utf8(listed).unwrap();
        assert_eq!(listed.lines().count(), seen.tree().len(), "{listed}");
    }
}

#[test]
fn every_compressor_gives_the_same_tree() {
    let Some(source) = source(true) else { return };
    let Some([tar]) = tools::all(["tar"]) else { return };
    let archive = run(&tar, &["--format=posix", "-cf", "-", "."], source.path(), None);
    let wanted = of_directory(source.path());
    let mut bench = Bench::new();
    let scratch = tempfile::tempdir().unwrap();
    let named = scratch.path().join("a name that gzip keeps");
    std::fs::write(&named, &archive).unwrap();
    let named = named.to_str().unwrap();
    let forms: [(&str, &[&str], Option<Compression>); 9] = [
        ("gzip", &["-c", "-1"], None),
        ("gzip", &["-c", "-9", "-N", named], None),
        ("pigz", &["-c", "-p4", "-b128"], None),
        ("pigz", &["-c", "-i", "-R"], None),
        ("zopfli", &["-c", "--i1", named], None),
        ("zstd", &["-c", "-3"], Some(Compression::Zstd)),
        ("zstd", &["-c", "-19", "--long=27", "-T2"], Some(Compression::Zstd)),
        ("zstd", &["-c", "-1", "--no-check"], Some(Compression::Zstd)),
        ("igzip", &["-c", "-z"], None),
    ];
    for (program, words, compression) in forms {
        let Some(at) = tools::find(program) else {
            tools::skip(&format!("{program} is not installed"));
            continue;
        };
        let blob = run(&at, words, scratch.path(), Some(&archive));
        let layer = Layer::raw(archive.clone()).compression(compression.unwrap_or_default());
        let seen = bench.see([layer.stored(blob)], false);
        let faults = unlike(&seen.tree(), &wanted, false);
        assert!(faults.is_empty(), "{program} {words:?}:\n{}", faults.join("\n"));
        assert!(!seen.outcome.stderr.contains("WARNING"), "{}", seen.outcome.report());
    }
}

/// A gzip member that holds nothing and says something in its header: `FEXTRA`.
fn member_with_extra(extra: &[u8]) -> Vec<u8> {
    let length = u16::try_from(extra.len()).unwrap().to_le_bytes();
    let head = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff];
    [&head[..], &length, extra, &[3, 0], &[0; 8]].concat()
}

/// A zstd frame that decoders pass over.
fn skippable(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_le_bytes();
    [&0x184D_2A50_u32.to_le_bytes()[..], &length, content].concat()
}

#[test]
fn lazy_formats_are_read_like_the_layers_they_are() {
    let Some(source) = source(true) else { return };
    let Some([tar]) = tools::all(["tar"]) else { return };
    let archive = run(&tar, &["--format=posix", "-cf", "-", "."], source.path(), None);
    let wanted = of_directory(source.path());
    let plain = Layer::raw(archive.clone());

    // eStargz: a member for each part of the tar, the table of contents as a file of it, a footer.
    let toc = orlop_kit::image::raw::Tar::new()
        .file(".no.prefetch.landmark", b"\x0f")
        .file("stargz.index.json", br#"{"version":1,"entries":[]}"#);
    let body = archive.len() - archive.iter().rev().take_while(|&&byte| byte == 0).count();
    let mut stargz = archive[..body.next_multiple_of(512)].to_vec();
    stargz.extend(toc.end());
    let layer = Layer::raw(stargz).compression(Compression::GzipMembers(50_000));
    let blob = [layer.packed(), member_with_extra(b"SG\x16\x000000000000000000STARGZ")].concat();
    let mut bench = Bench::new();
    let seen = bench.see([layer.stored(blob)], true);
    let mut tree = seen.tree();
    assert!(tree.remove(&b"stargz.index.json"[..]).is_some());
    assert!(tree.remove(&b".no.prefetch.landmark"[..]).is_some());
    let mut faults = unlike(&tree, &wanted, false);
    faults.extend(seen.unlike_umoci(&[""]));

    // zstd:chunked: a frame for each part, then the manifest and the footer in frames to skip.
    let frames = |part: &[u8]| Layer::raw(part.to_vec()).compression(Compression::Zstd).packed();
    let mut blob: Vec<u8> = skippable(b"before");
    blob.extend(archive.chunks(50_000).flat_map(frames));
    blob.extend(skippable(&frames(br#"{"version":1,"entries":[]}"#)));
    blob.extend(skippable(&[7; 64]));
    let chunked = plain.clone().compression(Compression::Zstd).stored(blob);
    faults.extend(unlike(&bench.see([chunked], false).tree(), &wanted, false));

    // Members that hold nothing, before, between and behind.
    let (one, other) = archive.split_at(70_000);
    let gzip = |part: &[u8]| Layer::raw(part.to_vec()).packed();
    let nothing = member_with_extra(b"xx\x02\0ab");
    let blob = [&nothing[..], &gzip(one), &gzip(b""), &gzip(other), &nothing].concat();
    faults.extend(unlike(&bench.see([plain.stored(blob)], true).tree(), &wanted, false));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn images_of_the_kit_give_the_tree_that_umoci_unpacks() {
    let mut bench = Bench::new();
    for image in [Image::tiny(), Image::two_layers(), Image::odd()] {
        let seen = bench.see_image(&image.build(), true);
        let faults = seen.unlike_umoci(&["", "etc/hosts", "etc/resolv.conf"]);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

#[test]
fn images_that_umoci_and_skopeo_wrote_give_the_tree_that_umoci_unpacks() {
    let Some(source) = source(true) else { return };
    let Some([umoci, skopeo]) = tools::all(["umoci", "skopeo"]) else { return };
    let mut bench = Bench::new();
    let work = bench.site.work();
    let at = |words: &[&str]| run(&umoci, words, &work, None);
    let from = source.path().to_str().unwrap();
    at(&["init", "--layout", "made"]);
    at(&["new", "--image", "made:1"]);
    at(&["insert", "--image", "made:1", from, "/inserted"]);
    at(&["unpack", "--image", "made:1", "bundle"]);
    let root = work.join("bundle/rootfs");
    std::fs::remove_file(root.join("inserted/empty")).unwrap();
    std::fs::remove_dir_all(root.join("inserted/usr/share")).unwrap();
    std::fs::write(root.join("inserted/usr/share"), b"now a file").unwrap();
    std::fs::hard_link(root.join("inserted/usr/share"), root.join("linked")).unwrap();
    at(&["repack", "--image", "made:1", "bundle"]);
    at(&["insert", "--image", "made:1", "--opaque", from, "/inserted"]);
    at(&["insert", "--image", "made:1", "--whiteout", "/linked"]);
    let seen = bench.see_layout("made", true);
    let faults = seen.unlike_umoci(&[""]);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen.tree().contains_key(&b"inserted/usr/share/noise"[..]));
    assert!(!seen.tree().contains_key(&b"linked"[..]));
    for (to, words) in [
        ("docker", &["--format", "v2s2"][..]),
        ("gzipped", &["--dest-compress-format", "gzip", "--dest-compress-level", "9"]),
        ("zstd", &["--dest-compress-format", "zstd"]),
        ("open", &["--dest-decompress"]),
    ] {
        let target = match to {
            "docker" | "open" => format!("dir:{to}"),
            _ => format!("oci:{to}:1"),
        };
        let mut all = vec!["copy", "--quiet", "--insecure-policy"];
        all.extend(words);
        all.extend(["oci:made:1", &target]);
        run(&skopeo, &all, &work, None);
        if target.starts_with("oci:") {
            let again = bench.see_layout(to, false);
            let faults = differences(("made", &seen.tree()), (to, &again.tree()));
            assert!(faults.is_empty(), "{to}: {}", faults.join("\n"));
        } else {
            let back = format!("oci:{to}-back:1");
            run(&skopeo, &["copy", "--quiet", "--insecure-policy", &target, &back], &work, None);
            let again = bench.see_layout(&format!("{to}-back"), false);
            let faults = differences(("made", &seen.tree()), (to, &again.tree()));
            assert!(faults.is_empty(), "{to}: {}", faults.join("\n"));
        }
    }
}
