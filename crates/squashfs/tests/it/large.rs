//! Sizes where numbers change their width: huge directories, files and offsets.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use orlop_squashfs::{
    Attributes, Compression, FileContent, Position, Reader, TableOptions, TableWriter, Window,
};

pub(crate) const ATTRIBUTES: Attributes<'static> =
    Attributes { mode: 0o755, uid: 0, gid: 0, mtime: 0, number: 1, nlink: 1, xattrs: &[] };
pub(crate) const OPTIONS: TableOptions =
    TableOptions { compression: Compression::Zstd { level: 1 }, block_size: 131_072, time: 0 };
const GIB: u64 = 1 << 30;

/// An image of one directory with `count` empty files.
pub(crate) fn directory_of(count: u32) -> Vec<u8> {
    let mut writer = TableWriter::new(OPTIONS).unwrap();
    let names: Vec<String> = (0..count).map(|n| format!("file-{n:07}")).collect();
    let mut entries = Vec::new();
    // Numbers that jump: no run of entries is as long as it could be.
    for (n, name) in (0..count).zip(&names) {
        let number = 2 + if n % 1000 < 500 { n } else { count - 1 - n };
        entries.push((name.as_bytes(), number));
    }
    let mut used = std::collections::BTreeSet::new();
    let mut free = 2..;
    let mut nodes = Vec::new();
    for (name, number) in entries {
        let number = if used.insert(number) {
            number
        } else {
            free.find(|number| used.insert(*number)).unwrap()
        };
        let attributes = Attributes { number, ..ATTRIBUTES };
        nodes.push((name, writer.add_file(&attributes, &FileContent::default()).unwrap()));
    }
    // What the jumps left out.
    for number in 2..used.last().map_or(2, |last| *last) {
        if used.insert(number) {
            let attributes = Attributes { number, ..ATTRIBUTES };
            writer.add_file(&attributes, &FileContent::default()).unwrap();
        }
    }
    let root = writer.add_directory(&Attributes { nlink: 2, ..ATTRIBUTES }, 1, nodes).unwrap();
    let tables = writer.finish(root, 4096).unwrap();
    let mut bytes = tables.superblock.to_vec();
    bytes.resize(4096, 0);
    bytes.extend(tables.bytes);
    bytes
}

#[test]
fn a_directory_of_300_000_files_is_listed_and_searched() {
    let reader = crate::tree::open(directory_of(300_000)).unwrap();
    let root = reader.inode(reader.root()).unwrap();

    let mut position = Position::START;
    let mut count = 0;
    // As a FUSE server does it: a hundred at a time, each time from a position.
    loop {
        let part = reader.entries(&root, position).unwrap().take(100);
        let part: Vec<_> = part.map(Result::unwrap).collect();
        let Some(last) = part.last() else { break };
        position = last.next;
        for entry in &part {
            assert_eq!(&*entry.name, format!("file-{count:07}").as_bytes());
            count += 1;
        }
        let inode = reader.inode(last.inode).unwrap();
        assert_eq!(inode.number, last.number);
    }
    assert_eq!(count, 300_000);
    for number in [0, 1, 8191, 150_000, 299_999] {
        let name = format!("file-{number:07}");
        assert!(reader.lookup(&root, name.as_bytes()).unwrap().is_some(), "{name}");
    }
    assert!(reader.lookup(&root, b"file-0300000").unwrap().is_none());
}

/// An image in a sparse file: `far` has 131 071 bytes at 5 GiB, `sparse` 6 GiB, of which the last
/// block alone is stored.
pub(crate) fn huge_image(file: &File) -> u64 {
    let mut writer = TableWriter::new(OPTIONS).unwrap();
    let stored = 131_071 | 1 << 24;
    let far = FileContent { size: 131_071, start: 5 * GIB, blocks: &[stored], fragment: None };
    let far = writer.add_file(&Attributes { number: 2, ..ATTRIBUTES }, &far).unwrap();
    let mut blocks = vec![0; usize::try_from(6 * GIB / 131_072).unwrap()];
    *blocks.last_mut().unwrap() = 131_072 | 1 << 24;
    let sparse = FileContent { size: 6 * GIB, start: 4096, blocks: &blocks, fragment: None };
    let sparse = writer.add_file(&Attributes { number: 3, ..ATTRIBUTES }, &sparse).unwrap();
    let entries = [(&b"far"[..], far), (&b"sparse"[..], sparse)];
    let root = writer.add_directory(&Attributes { nlink: 2, ..ATTRIBUTES }, 1, entries).unwrap();
    let tables = writer.finish(root, 5 * GIB + 131_072).unwrap();
    file.write_all_at(&tables.superblock, 0).unwrap();
    file.write_all_at(&vec![b's'; 131_072], 4096).unwrap();
    file.write_all_at(&vec![b'f'; 131_071], 5 * GIB).unwrap();
    file.write_all_at(&tables.bytes, 5 * GIB + 131_072).unwrap();
    file.set_len(tables.bytes_used.next_multiple_of(4096)).unwrap();
    tables.bytes_used
}

#[test]
fn offsets_and_sizes_beyond_4_gib_are_kept() {
    let file = tempfile::tempfile().unwrap();
    let length = huge_image(&file);
    let window = Window::whole(file).unwrap();
    let reader = Reader::open(Arc::new(window), 0, length).unwrap();
    let root = reader.inode(reader.root()).unwrap();
    let inode = |name: &[u8]| {
        let entry = reader.lookup(&root, name).unwrap().unwrap();
        reader.inode(entry.inode).unwrap()
    };

    let far = crate::tree::content(&reader, &inode(b"far")).unwrap();
    assert_eq!(far, vec![b'f'; 131_071]);

    let sparse = inode(b"sparse");
    assert_eq!(sparse.size(), 6 * GIB);
    let map = reader.file_map(&sparse).unwrap();
    assert_eq!(map.pieces(), 49_152);
    assert!(map.piece(49_150).unwrap().block.is_hole());
    let last = map.piece(49_151).unwrap();
    let mut content = Vec::new();
    reader.read_piece(&last, &mut content).unwrap();
    assert_eq!((last.start, content), (6 * GIB - 131_072, vec![b's'; 131_072]));
    assert_eq!(map.piece(49_152), None);
}
