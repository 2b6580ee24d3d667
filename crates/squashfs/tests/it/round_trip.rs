//! What is written is what is read.

use std::collections::BTreeMap;

use orlop_squashfs::{Compression, Compressor, Position};
use proptest::prelude::*;

use crate::tree::{Entry, Style, What, open, read, write};

pub(crate) const ZSTD: Style = Style {
    compression: Compression::Zstd { level: 3 },
    block_size: 4096,
    is_raw: false,
    has_tails: false,
};
const GZIP: Style = Style { compression: Compression::Gzip { level: 6 }, has_tails: true, ..ZSTD };

fn content() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        (any::<u8>(), 0..9000_usize).prop_map(|(byte, length)| vec![byte; length]),
        (0..9000_usize).prop_map(|length| vec![0; length]),
        prop::collection::vec(any::<u8>(), 0..5000),
    ];
    prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let any = prop::collection::vec(1..=255_u8, 1..40);
    let usual = "[a-c]{1,2}".prop_map(String::into_bytes);
    prop_oneof![any, usual, Just(vec![b'n'; 255])].prop_filter("a name", |name| {
        !name.contains(&b'/') && !matches!(name.as_slice(), b"." | b"..")
    })
}

fn xattrs() -> impl Strategy<Value = BTreeMap<Vec<u8>, Vec<u8>>> {
    let name = "(user|trusted|security)\\.[a-z]{1,20}".prop_map(String::into_bytes);
    let some = prop::collection::btree_map(name, content(), 1..4);
    prop_oneof![4 => Just(BTreeMap::new()), 1 => some]
}

fn leaf() -> impl Strategy<Value = What> {
    prop_oneof![
        6 => content().prop_map(What::File),
        1 => (0..3_u32).prop_map(|number| What::Shared(number, vec![b'h'; 5000])),
        1 => prop::collection::vec(1..=255_u8, 1..200).prop_map(What::Symlink),
        1 => (0..4096_u32, 0..1_u32 << 20).prop_map(|(major, minor)| What::Char(major, minor)),
        1 => (0..4096_u32, 0..1_u32 << 20).prop_map(|(major, minor)| What::Block(major, minor)),
        1 => Just(What::Fifo),
    ]
}

fn entry(what: impl Strategy<Value = What>) -> impl Strategy<Value = Entry> {
    let owner = prop_oneof![0..3_u32, any::<u32>()];
    (what, 0..=0o7777_u16, owner, any::<u32>(), any::<u32>(), xattrs()).prop_map(
        |(what, mode, uid, gid, mtime, xattrs)| match what {
            // All names of one file have its attributes.
            What::Shared(..) => Entry::new(0o600, what),
            what => Entry { mode, uid, gid, mtime, xattrs, what },
        },
    )
}

pub(crate) fn tree() -> impl Strategy<Value = Entry> {
    let below = entry(leaf()).prop_recursive(3, 40, 8, |below| {
        let entries = prop::collection::btree_map(name(), below, 0..8);
        entry(entries.prop_map(What::Directory))
    });
    let entries = prop::collection::btree_map(name(), below, 0..12);
    entry(entries.prop_map(What::Directory))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back_as_it_was_written(
        tree in tree(),
        style in prop_oneof![
            Just(ZSTD),
            Just(GZIP),
            Just(Style { is_raw: true, has_tails: true, block_size: 8192, ..ZSTD }),
        ],
    ) {
        let bytes = write(&tree, style).unwrap();
        prop_assert_eq!(&bytes, &write(&tree, style).unwrap());

        let reader = open(bytes).unwrap();

        prop_assert_eq!(read(&reader).unwrap(), tree.lines());
    }
}

#[test]
fn inodes_are_found_by_their_numbers() {
    let tree = Entry::directory([
        ("a", Entry::directory([("b", Entry::file("b"))])),
        ("c", Entry::new(0o777, What::Symlink(b"a".to_vec()))),
    ]);
    let reader = open(write(&tree, ZSTD).unwrap()).unwrap();

    assert!(reader.has_export_table());
    assert_eq!(reader.superblock().inodes, 4);
    assert_eq!(reader.superblock().compressor, Compressor::Zstd);
    for number in 1..=4 {
        let inode = reader.inode(reader.reference(number).unwrap()).unwrap();
        assert_eq!(inode.number, number);
    }
    assert!(reader.reference(0).is_err());
    assert!(reader.reference(5).is_err());
}

#[test]
fn an_image_without_xattrs_says_so() {
    let mut tree = Entry::directory([("f", Entry::file("f"))]);
    assert!(!open(write(&tree, ZSTD).unwrap()).unwrap().has_xattrs());

    tree.xattrs.insert(b"user.a".to_vec(), b"1".to_vec());
    assert!(open(write(&tree, ZSTD).unwrap()).unwrap().has_xattrs());
}

#[test]
fn a_listing_is_read_on_from_every_entry() {
    let names = (0..3000).map(|n| format!("file-{n:05}-{}", "x".repeat(n % 50)));
    let tree = Entry::directory(names.map(|name| (name, Entry::file(""))));
    let reader = open(write(&tree, ZSTD).unwrap()).unwrap();
    let root = reader.inode(reader.root()).unwrap();
    let all: Vec<_> = reader.entries(&root, Position::START).unwrap().map(Result::unwrap).collect();
    assert_eq!(all.len(), 3000);

    for (number, entry) in all.iter().enumerate() {
        let position = Position::from_raw(entry.next.to_raw());
        let mut rest = reader.entries(&root, position).unwrap();
        assert_eq!(rest.next().map(Result::unwrap).as_ref(), all.get(number + 1));
    }
}

#[test]
fn every_name_of_a_directory_with_an_index_is_found_and_no_other() {
    let names: Vec<String> =
        (0..5000).map(|n| format!("{:x}-{n}", n * 2_654_435_761_u64)).collect();
    let tree = Entry::directory(names.iter().map(|name| (name.as_str(), Entry::file(""))));
    let reader = open(write(&tree, ZSTD).unwrap()).unwrap();
    let root = reader.inode(reader.root()).unwrap();

    for name in &names {
        let found = reader.lookup(&root, name.as_bytes()).unwrap().unwrap();
        assert_eq!(&*found.name, name.as_bytes());
        for other in [format!("{name}x"), name[..name.len() - 1].to_owned() + "~"] {
            assert_eq!(reader.lookup(&root, other.as_bytes()).unwrap(), None);
        }
    }
    assert_eq!(reader.lookup(&root, b"").unwrap(), None);
    assert_eq!(reader.lookup(&root, b"\xff").unwrap(), None);
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let with = |name: &[u8]| Entry::directory([(name, Entry::file("x"))]);
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0b", &[b'n'; 256]] {
        assert!(write(&with(name), ZSTD).is_err(), "{name:?}");
    }
    for what in [
        What::Symlink(Vec::new()),
        What::Symlink(vec![b'a'; 4096]),
        What::Char(4096, 0),
        What::Block(0, 1 << 20),
    ] {
        assert!(write(&Entry::directory([("a", Entry::new(0, what))]), ZSTD).is_err());
    }
    let mut tree = with(b"a");
    tree.xattrs.insert(b"system.posix_acl_access".to_vec(), Vec::new());
    assert!(write(&tree, ZSTD).is_err());
    assert!(write(&Entry::file("no directory"), ZSTD).is_err());
    assert!(write(&with(b"a"), Style { block_size: 5000, ..ZSTD }).is_err());
}

#[test]
fn sixty_five_thousand_owners_fit_and_one_more_does_not() {
    let tree = |count: u32| {
        let entry = |n: u32| Entry { uid: n, gid: n, ..Entry::file("") };
        Entry::directory((0..count).map(|n| (format!("{n:06}"), entry(n))))
    };
    let whole = tree(65_535);
    let reader = open(write(&whole, ZSTD).unwrap()).unwrap();
    let root = reader.inode(reader.root()).unwrap();
    let last = reader.lookup(&root, b"065534").unwrap().unwrap();
    assert_eq!(reader.inode(last.inode).unwrap().gid, 65_534);

    assert!(write(&tree(65_536), ZSTD).is_err());
}

#[test]
fn many_threads_read_one_image() {
    let files = (0..500).map(|n| (format!("{n:03}"), Entry::file(vec![b'a'; n * 37])));
    let tree = Entry::directory(files);
    let reader = open(write(&tree, ZSTD).unwrap()).unwrap();
    let expected = tree.lines();

    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4).map(|_| scope.spawn(|| read(&reader).unwrap())).collect();
        for lines in readers {
            assert!(lines.join().unwrap() == expected);
        }
    });
}
