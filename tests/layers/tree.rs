//! A file tree in words, wherever it comes from, and how two of them differ.
//!
//! Read from a directory, or from the squashfs in a SIF by Orlop's own reader. Not here: which
//! differences are right ([`crate::rows`]).

use orlop_kit::Digest;
use orlop_sif::Sif;
use orlop_squashfs::{Inode, Kind, Position, Reader, Window};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

/// By path, without a leading slash; the root is the empty path.
pub(crate) type Tree = BTreeMap<Vec<u8>, Node>;

/// Bytes of a file's content that are shown as they are; of a longer one the digest.
const SHOWN: usize = 64;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// Type, mode where it has one, and content, target or device number.
    pub(crate) words: String,
    pub(crate) owner: (u32, u32),
    /// Unix seconds.
    pub(crate) mtime: i64,
    /// Bytes of a regular file.
    pub(crate) size: u64,
    /// Number of names; of a directory 0, because file systems count differently.
    pub(crate) links: u64,
    /// The first name of the same inode.
    pub(crate) first: Vec<u8>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { words, owner: (uid, gid), mtime, size, links, first, .. } = self;
        write!(f, "{words}, {uid}:{gid}, {size} bytes, at {mtime}, {links} names, first ")?;
        write!(f, "{}", first.escape_ascii())?;
        for (name, value) in &self.xattrs {
            write!(f, ", {}={}", name.escape_ascii(), value.escape_ascii())?;
        }
        Ok(())
    }
}

/// Words for a regular file.
fn file(mode: u32, content: &[u8]) -> String {
    if content.len() > SHOWN {
        return format!("file {mode:o} {}", Digest::of(content));
    }
    format!("file {mode:o} {}", content.escape_ascii())
}

/// Gives each name the first name of its inode; `numbers` are the inodes of all names.
fn with_first_names(mut tree: Tree, numbers: &BTreeMap<Vec<u8>, u64>) -> Tree {
    let mut first = BTreeMap::new();
    for (path, number) in numbers {
        let known = first.entry(*number).or_insert_with(|| path.clone());
        if let Some(node) = tree.get_mut(path) {
            node.first.clone_from(known);
        }
    }
    tree
}

/// The tree below a directory, that directory included.
pub(crate) fn of_directory(root: &Path) -> Tree {
    let (mut tree, mut numbers) = (Tree::new(), BTreeMap::new());
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let meta = path.symlink_metadata().unwrap();
        let (kind, mode) = (meta.file_type(), meta.mode() & 0o7777);
        let device = || format!("{}:{}", libc_major(meta.rdev()), libc_minor(meta.rdev()));
        let words = if kind.is_dir() {
            left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            format!("dir {mode:o}")
        } else if kind.is_file() {
            file(mode, &std::fs::read(&path).unwrap())
        } else if kind.is_symlink() {
            format!(
                "-> {}",
                std::fs::read_link(&path).unwrap().as_os_str().as_bytes().escape_ascii()
            )
        } else if kind.is_char_device() {
            format!("char {mode:o} {}", device())
        } else if kind.is_block_device() {
            format!("block {mode:o} {}", device())
        } else {
            format!("fifo {mode:o}")
        };
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        numbers.insert(name.clone(), meta.ino());
        let node = Node {
            words,
            owner: (meta.uid(), meta.gid()),
            mtime: meta.mtime(),
            size: if kind.is_file() { meta.len() } else { 0 },
            links: if kind.is_dir() { 0 } else { meta.nlink() },
            first: Vec::new(),
            xattrs: xattrs_of(&path),
        };
        tree.insert(name, node);
    }
    with_first_names(tree, &numbers)
}

fn libc_major(device: u64) -> u32 {
    rustix::fs::major(device)
}

fn libc_minor(device: u64) -> u32 {
    rustix::fs::minor(device)
}

fn xattrs_of(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0_u8; 64 << 10];
    let length = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap_or(0);
    let names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0_u8; 64 << 10];
        let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), value.as_mut_slice());
        value.truncate(length.unwrap());
        value
    };
    names.map(|name| (name.to_vec(), value(name))).collect()
}

/// The tree in a SIF, as Orlop's own reader sees it.
pub(crate) fn of_sif(path: &Path) -> Tree {
    let window = Window::whole(std::fs::File::open(path).unwrap()).unwrap();
    let sif = Sif::read(&window).unwrap();
    let at = sif.primary().unwrap();
    let reader = Reader::open(Arc::new(window), at.offset, at.size).unwrap();
    let (mut tree, mut numbers) = (Tree::new(), BTreeMap::new());
    let mut left = vec![(Vec::new(), reader.root())];
    while let Some((path, reference)) = left.pop() {
        let inode = reader.inode(reference).unwrap();
        if let Kind::Directory(_) = &inode.kind {
            for entry in reader.entries(&inode, Position::START).unwrap() {
                let entry = entry.unwrap();
                let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
                left.push(([&path, slash, &entry.name].concat(), entry.inode));
            }
        }
        numbers.insert(path.clone(), inode.number.into());
        tree.insert(path, node_of(&reader, &inode));
    }
    with_first_names(tree, &numbers)
}

fn node_of(reader: &Reader, inode: &Inode) -> Node {
    let mode = u32::from(inode.mode);
    let device =
        |number: u32| format!("{}:{}", libc_major(number.into()), libc_minor(number.into()));
    let mut size = 0;
    let words = match &inode.kind {
        Kind::Directory(_) => format!("dir {mode:o}"),
        Kind::File(data) => {
            size = data.size;
            file(mode, &content(reader, inode))
        }
        Kind::Symlink(target) => {
            assert_eq!(mode, 0o777, "of the link to {}", target.escape_ascii());
            format!("-> {}", target.escape_ascii())
        }
        Kind::CharDevice(number) => format!("char {mode:o} {}", device(*number)),
        Kind::BlockDevice(number) => format!("block {mode:o} {}", device(*number)),
        Kind::Fifo => format!("fifo {mode:o}"),
        Kind::Socket => format!("socket {mode:o}"),
    };
    let xattrs = reader.xattrs(inode).unwrap();
    Node {
        words,
        owner: (inode.uid, inode.gid),
        mtime: inode.mtime.into(),
        size,
        links: if matches!(inode.kind, Kind::Directory(_)) { 0 } else { inode.nlink.into() },
        first: Vec::new(),
        xattrs: xattrs.into_iter().map(|one| (one.name.into(), one.value.into())).collect(),
    }
}

fn content(reader: &Reader, inode: &Inode) -> Vec<u8> {
    let map = reader.file_map(inode).unwrap();
    let mut bytes = Vec::new();
    for number in 0..map.pieces() {
        let mut piece = Vec::new();
        reader.read_piece(&map.piece(number).unwrap(), &mut piece).unwrap();
        bytes.append(&mut piece);
    }
    bytes
}

/// A line for each name at which two trees differ.
pub(crate) fn differences(one: (&str, &Tree), other: (&str, &Tree)) -> Vec<String> {
    let shown = |node: Option<&Node>| node.map_or("nothing".to_owned(), Node::to_string);
    let mut names: Vec<_> = one.1.keys().chain(other.1.keys()).collect();
    names.sort();
    names.dedup();
    names.retain(|name| one.1.get(*name) != other.1.get(*name));
    names
        .into_iter()
        .map(|name| {
            let (here, there) = (shown(one.1.get(name)), shown(other.1.get(name)));
            format!("\"{}\": {}: {here}; {}: {there}", name.escape_ascii(), one.0, other.0)
        })
        .collect()
}
