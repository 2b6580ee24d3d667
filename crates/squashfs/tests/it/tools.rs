//! Against squashfs-tools: each reads what the other writes. Where a program or a compressor is
//! missing, one line says so.

use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use orlop_squashfs::{Compression, Compressor, Reader, Window};
use rustix::fs::XattrFlags;

use crate::large::{directory_of, huge_image};
use crate::round_trip::ZSTD;
use crate::tree::{Entry, Lines, Style, What, read, read_directory, write};

/// Runs a program; nothing when it is not installed.
fn run(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(_) => {
            eprintln!("skipped: {} is not installed", command.get_program().display());
            None
        }
    }
}

fn open(path: &Path) -> Reader {
    let window = Window::whole(File::open(path).unwrap()).unwrap();
    Reader::open(Arc::new(window), 0, u64::MAX).unwrap()
}

/// Bytes that compress somewhat, the same every time.
fn text(length: usize) -> Vec<u8> {
    let mut state = 2_463_534_242_u32;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let mut text = Vec::with_capacity(length + 16);
    while text.len() < length {
        let number = word();
        // Some of it repeats from far away, some is noise, some runs.
        match number % 7 {
            0 => text.extend_from_slice(&number.to_le_bytes()),
            1 => text.extend(vec![b'='; usize::try_from(number >> 24).unwrap()]),
            2 if text.len() > 50_000 => text.extend_from_within(100..200),
            _ => text.extend_from_slice(format!("line {} of the text\n", number % 977).as_bytes()),
        }
    }
    text.truncate(length);
    text
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Makes a directory with one of everything that needs no privilege.
fn make_directory(root: &Path) {
    let write = |name: &str, content: &[u8]| std::fs::write(root.join(name), content).unwrap();
    write("empty", b"");
    write("small", b"a few bytes");
    write("text", &text(700_000));
    write("noise", &noise(400_001));
    write("zeros", &vec![0; 300_000]);
    write("both", &[noise(131_072), vec![0; 262_144], text(131_072), text(77)].concat());
    write("exact", &text(262_144));
    std::fs::hard_link(root.join("text"), root.join("text too")).unwrap();
    std::os::unix::fs::symlink("no/where", root.join("link")).unwrap();
    let odd = Path::new(std::ffi::OsStr::from_bytes(b"odd \xff\xfe"));
    std::fs::write(root.join(odd), b"name").unwrap();
    let many = root.join("many");
    std::fs::create_dir(&many).unwrap();
    for number in 0..4000 {
        let name = many.join(format!("{number:04}-{}", "n".repeat(number % 97)));
        std::fs::write(name, format!("file {number}")).unwrap();
    }
    std::fs::create_dir_all(root.join("deep/er/est")).unwrap();
    for (name, value) in [("user.one", &b"1"[..]), ("user.long", &noise(3000))] {
        for file in ["small", "empty", "deep"] {
            let set = rustix::fs::setxattr(root.join(file), name, value, XattrFlags::empty());
            if set.is_err() {
                eprintln!("skipped: no xattrs on this file system");
            }
        }
    }
}

fn mksquashfs_is_read(compressor: Compressor, options: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source");
    std::fs::create_dir(&source).unwrap();
    make_directory(&source);
    let image = directory.path().join("image");
    let mut command = Command::new("mksquashfs");
    command.args([&source, &image]).args(["-noappend", "-quiet", "-no-progress", "-comp"]);
    let Some(output) = run(command.arg(compressor.name()).args(options)) else { return };
    if !output.status.success() {
        eprintln!("skipped: this mksquashfs has no {}", compressor.name());
        return;
    }

    let reader = open(&image);

    assert_eq!(reader.superblock().compressor, compressor);
    compare(&read(&reader).unwrap(), &read_directory(&source));
    let root = reader.inode(reader.root()).unwrap();
    let many = reader.lookup(&root, b"many").unwrap().unwrap();
    let many = reader.inode(many.inode).unwrap();
    for number in 0..4000 {
        let name = format!("{number:04}-{}", "n".repeat(number % 97));
        assert!(reader.lookup(&many, name.as_bytes()).unwrap().is_some(), "{name}");
    }
}

/// Compares without printing contents.
fn compare(one: &Lines, other: &Lines) {
    let names = |lines: &Lines| {
        let names = lines.keys().map(|name| String::from_utf8_lossy(name).into_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(one), names(other));
    for (name, line) in one {
        let name = String::from_utf8_lossy(name);
        let expected = &other[name_of(other, one, &name)];
        assert!(line.content == expected.content, "content of {name}");
        let without =
            |line: &crate::tree::Line| crate::tree::Line { content: vec![], ..line.clone() };
        assert_eq!(without(line), without(expected), "{name}");
    }
}

/// The key of a name shown; keys need not be UTF-8.
fn name_of<'l>(_: &Lines, lines: &'l Lines, shown: &str) -> &'l Vec<u8> {
    lines.keys().find(|key| String::from_utf8_lossy(key) == shown).unwrap()
}

#[test]
fn what_mksquashfs_writes_with_gzip_is_read() {
    mksquashfs_is_read(Compressor::Gzip, &[]);
}

#[test]
fn what_mksquashfs_writes_with_xz_is_read() {
    mksquashfs_is_read(Compressor::Xz, &[]);
}

#[test]
fn what_mksquashfs_writes_with_xz_filters_and_large_blocks_is_read() {
    mksquashfs_is_read(Compressor::Xz, &["-Xbcj", "x86", "-b", "1M"]);
}

#[test]
fn what_mksquashfs_writes_with_lzo_is_read() {
    mksquashfs_is_read(Compressor::Lzo, &[]);
}

#[test]
fn what_mksquashfs_writes_with_lzo_in_large_blocks_is_read() {
    mksquashfs_is_read(Compressor::Lzo, &["-b", "1M", "-Xalgorithm", "lzo1x_1"]);
}

#[test]
fn what_mksquashfs_writes_with_lz4_is_read() {
    mksquashfs_is_read(Compressor::Lz4, &[]);
}

#[test]
fn what_mksquashfs_writes_with_lz4_hc_is_read() {
    mksquashfs_is_read(Compressor::Lz4, &["-Xhc", "-b", "1M"]);
}

#[test]
fn what_mksquashfs_writes_with_zstd_is_read() {
    mksquashfs_is_read(Compressor::Zstd, &["-Xcompression-level", "19"]);
}

#[test]
fn what_mksquashfs_writes_without_fragments_in_small_blocks_is_read() {
    mksquashfs_is_read(Compressor::Gzip, &["-no-fragments", "-b", "4096", "-no-exports"]);
}

#[test]
fn what_mksquashfs_writes_with_tails_packed_and_nothing_compressed_is_read() {
    let stored = ["-always-use-fragments", "-noI", "-noD", "-noF", "-noX", "-noId"];
    mksquashfs_is_read(Compressor::Gzip, &stored);
}

/// Writes an image, has unsquashfs extract it, compares.
fn unsquashfs_reads(style: Style) {
    let is_root = rustix::process::geteuid().is_root();
    let directory = tempfile::tempdir().unwrap();
    let many = (0..2000).map(|n| (format!("{n:04}"), Entry::file(text(n % 700))));
    let mut tree = Entry::directory([
        ("both", Entry::file([noise(131_072), vec![0; 262_144], text(131_073)].concat())),
        ("deep", Entry::directory([("er", Entry::directory([("f", Entry::file("f"))]))])),
        ("empty", Entry::file("")),
        ("link", Entry::new(0o777, What::Symlink(b"deep/er".to_vec()))),
        ("many", Entry::directory(many)),
        ("one", Entry::new(0o600, What::Shared(1, text(70_000)))),
        ("pipe", Entry::new(0o640, What::Fifo)),
        ("text", Entry::file(text(900_000))),
        ("two", Entry::new(0o600, What::Shared(1, text(70_000)))),
    ]);
    let What::Directory(entries) = &mut tree.what else { return };
    if is_root {
        entries.insert(b"null".to_vec(), Entry::new(0o666, What::Char(1, 3)));
        entries.insert(b"odd".to_vec(), Entry::new(0o600, What::Block(259, 70_000)));
        let setuid = Entry { uid: 1234, gid: 70_000, ..Entry::file("setuid") };
        entries.insert(b"setuid".to_vec(), Entry { mode: 0o4755, ..setuid });
    }
    for name in ["text", "deep", "many"] {
        let xattrs = &mut entries.get_mut(name.as_bytes()).unwrap().xattrs;
        xattrs.insert(b"user.a".to_vec(), noise(2000));
        xattrs.insert(b"user.b".to_vec(), Vec::new());
    }
    let image = directory.path().join("image");
    std::fs::write(&image, write(&tree, style).unwrap()).unwrap();
    let out = directory.path().join("out");

    let mut command = Command::new("unsquashfs");
    command.args(["-quiet", "-no-progress", "-strict-errors", "-d"]).arg(&out).arg(&image);
    let Some(output) = run(&mut command) else { return };

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut expected = tree.lines();
    if !is_root {
        let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        expected.values_mut().for_each(|line| line.owner = owner);
    }
    compare(&read_directory(&out), &expected);
}

#[test]
fn what_is_written_with_zstd_is_read_by_unsquashfs() {
    unsquashfs_reads(Style { block_size: 131_072, ..ZSTD });
}

#[test]
fn what_is_written_with_gzip_and_tails_is_read_by_unsquashfs() {
    let compression = Compression::Gzip { level: 6 };
    unsquashfs_reads(Style { compression, has_tails: true, block_size: 131_072, ..ZSTD });
}

#[test]
fn what_is_stored_as_it_is_is_read_by_unsquashfs() {
    unsquashfs_reads(Style { is_raw: true, block_size: 1 << 20, ..ZSTD });
}

fn listed(image: &Path) -> Option<String> {
    let output = run(Command::new("unsquashfs").args(["-quiet", "-lln"]).arg(image))?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_directory_of_300_000_files_is_listed_by_unsquashfs() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    std::fs::write(&image, directory_of(300_000)).unwrap();

    let Some(listed) = listed(&image) else { return };

    let names = listed.lines().filter_map(|line| line.split_once("squashfs-root/file-"));
    let names: Vec<_> = names.map(|(_, name)| name.parse::<u32>().unwrap()).collect();
    assert!(names.into_iter().eq(0..300_000));
}

#[test]
fn offsets_and_sizes_beyond_4_gib_are_read_by_unsquashfs() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    huge_image(&File::create(&image).unwrap());

    let Some(listed) = listed(&image) else { return };
    let output = run(Command::new("unsquashfs").arg("-cat").arg(&image).arg("far")).unwrap();

    assert!(listed.contains(" 6442450944 "), "{listed}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == vec![b'f'; 131_071]);
}
