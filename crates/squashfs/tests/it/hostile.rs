//! Damaged images: an error, never a panic, an endless loop or memory without bound.

use orlop_squashfs::{Compression, Error, Position};
use proptest::prelude::*;

use crate::round_trip::{ZSTD, tree};
use crate::tree::{Entry, Style, What, open, read, write};

fn sample(style: Style) -> Vec<u8> {
    let many = Entry::directory((0..900).map(|n| (format!("{n:04}"), Entry::file(vec![7; n]))));
    let mut tree = Entry::directory([
        ("large", Entry::file((0..60_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>())),
        ("link", Entry::new(0o777, What::Symlink(b"large".to_vec()))),
        ("many", many),
        ("one", Entry::new(0o600, What::Shared(1, b"content".to_vec()))),
        ("two", Entry::new(0o600, What::Shared(1, b"content".to_vec()))),
    ]);
    tree.xattrs.insert(b"user.a".to_vec(), vec![1; 300]);
    write(&tree, style).unwrap()
}

/// Reads whatever can be read.
fn exercise(bytes: Vec<u8>) {
    if let Ok(reader) = open(bytes) {
        drop(read(&reader));
        for number in 0..20 {
            drop(reader.reference(number).and_then(|reference| reader.inode(reference)));
        }
        if let Ok(root) = reader.inode(reader.root()) {
            drop(reader.lookup(&root, b"many"));
            drop(reader.lookup(&root, b"zzzz"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_image_never_panics(
        tree in tree(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut bytes = write(&tree, ZSTD).unwrap();
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        exercise(bytes);
    }

    #[test]
    fn damaged_tables_never_panic(
        changes in prop::collection::vec((0..96_usize, any::<u8>()), 1..4),
        more in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        // Nothing is compressed, so that damage reaches the fields behind the decompressor.
        let mut bytes = uncompressed();
        let tables = u64::from_le_bytes(bytes[64..72].try_into().unwrap());
        let tables = usize::try_from(tables).unwrap();
        for (at, value) in changes {
            bytes[at] = value;
        }
        for (index, value) in more {
            let at = tables + index.index(bytes.len() - tables);
            bytes[at] = value;
        }
        exercise(bytes);
    }

    #[test]
    fn bytes_that_are_no_image_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        exercise(bytes.clone());
        if bytes.len() > 96 {
            let image = sample(ZSTD);
            bytes[..96].copy_from_slice(&image[..96]);
            exercise(bytes);
        }
    }
}

/// An image whose metadata does not compress: names and owners are noise.
fn uncompressed() -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut noise = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut entries = Vec::new();
    for _ in 0..400 {
        let name: Vec<u8> =
            (0..40).map(|_| noise().to_le_bytes()[3]).filter(|b| !b"/\0".contains(b)).collect();
        let mtime = noise().to_le_bytes();
        let mtime = u32::from_le_bytes(mtime[..4].try_into().unwrap());
        let target = (0..30).map(|_| noise().to_le_bytes()[2]).collect();
        entries.push((name, Entry { mtime, ..Entry::new(0o777, What::Symlink(target)) }));
    }
    write(&Entry::directory(entries), ZSTD).unwrap()
}

#[test]
fn an_image_cut_anywhere_is_refused() {
    let bytes = sample(ZSTD);
    let used = u64::from_le_bytes(bytes[40..48].try_into().unwrap());
    let used = usize::try_from(used).unwrap();
    for length in [0, 3, 95, 96, 4096, used / 2, used - 1] {
        assert!(open(bytes[..length].to_vec()).is_err(), "{length}");
    }
    assert!(open(bytes[..used].to_vec()).is_ok());
}

#[test]
fn a_superblock_that_cannot_be_is_refused() {
    let bytes = sample(Style { compression: Compression::Gzip { level: 1 }, ..ZSTD });
    let with = |at: usize, value: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        open(bytes).map(|_| ()).unwrap_err()
    };
    assert!(matches!(with(0, b"sqsh"), Error::Magic));
    assert!(matches!(with(28, &[3, 0]), Error::Version { major: 3, minor: 0 }));
    assert!(matches!(with(20, &[2, 0]), Error::Lzma));
    assert!(matches!(with(20, &[9, 0]), Error::UnknownCompressor { id: 9 }));
    for (at, value) in [
        (4, &[0; 4][..]),                // no inodes
        (12, &[0, 0, 32, 0]),            // 2 MiB blocks
        (22, &[17, 0]),                  // another size than their logarithm
        (26, &[0, 0]),                   // no owners
        (40, &[0xff; 8]),                // longer than the file
        (48, &[0; 8]),                   // ids before all
        (64, &[0; 8]),                   // inodes in the superblock
        (72, &[0xff; 8]),                // directories nowhere
        (80, &[0xff; 8]),                // fragments without a table
        (88, &[1, 0, 0, 0, 0, 0, 0, 0]), // export table in the superblock
    ] {
        assert!(matches!(with(at, value), Error::Malformed { .. }), "byte {at}");
    }
}

#[test]
fn a_directory_whose_names_do_not_ascend_is_refused() {
    let bytes = uncompressed();
    let reader = open(bytes.clone()).unwrap();
    let root = reader.inode(reader.root()).unwrap();
    let entries = reader.entries(&root, Position::START).unwrap();
    let names: Vec<_> = entries.map(|entry| entry.unwrap().name).collect();
    let pair = names.windows(2).find(|pair| pair[0].len() == pair[1].len()).unwrap();
    let (first, second) = (&pair[0], &pair[1]);
    let at = |name: &[u8]| bytes.windows(name.len()).position(|part| part == name).unwrap();
    let slashed = [&second[..1], b"/", &second[2..]].concat();
    let last = names.last().unwrap();

    // The same name twice; a name behind all others; a name with a slash.
    for (place, name) in
        [(second, &first[..]), (first, &last[..first.len().min(last.len())]), (second, &slashed)]
    {
        let mut bytes = bytes.clone();
        bytes[at(place)..][..name.len()].copy_from_slice(name);
        let reader = open(bytes).unwrap();
        let root = reader.inode(reader.root()).unwrap();
        let mut entries = reader.entries(&root, Position::START).unwrap();
        let error = entries.find_map(Result::err).unwrap();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
        assert!(entries.next().is_none());
    }
}
