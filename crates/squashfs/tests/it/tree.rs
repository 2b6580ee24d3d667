//! A tree as a value: written as an image with [`TableWriter`], read back with [`Reader`], or read
//! from a directory, to be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

use orlop_squashfs::{
    Attributes, Compression, Error, FileContent, FileType, Fragment, Inode, Kind, Node, Position,
    Reader, Special, TableOptions, TableWriter,
};

/// Where data begin: the superblock has a page of its own.
const DATA: usize = 4096;
const STORED: u32 = 1 << 24;

/// One file of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: u32,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) what: What,
}

/// What is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Directory(BTreeMap<Vec<u8>, Entry>),
    File(Vec<u8>),
    /// A name of the file of this number, which all its names share.
    Shared(u32, Vec<u8>),
    Symlink(Vec<u8>),
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
}

/// One line of a tree: all there is to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) kind: &'static str,
    pub(crate) mode: u16,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: u32,
    pub(crate) nlink: u32,
    pub(crate) content: Vec<u8>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

pub(crate) type Lines = BTreeMap<Vec<u8>, Line>;

impl Entry {
    pub(crate) fn new(mode: u16, what: What) -> Self {
        Self { mode, uid: 0, gid: 0, mtime: 1_700_000_000, xattrs: BTreeMap::new(), what }
    }

    pub(crate) fn directory<N: Into<Vec<u8>>>(
        entries: impl IntoIterator<Item = (N, Self)>,
    ) -> Self {
        let entries = entries.into_iter().map(|(name, entry)| (name.into(), entry)).collect();
        Self::new(0o755, What::Directory(entries))
    }

    pub(crate) fn file(content: impl Into<Vec<u8>>) -> Self {
        Self::new(0o644, What::File(content.into()))
    }

    /// The lines this tree should give when read.
    pub(crate) fn lines(&self) -> Lines {
        let mut shared = BTreeMap::new();
        self.count_shared(&mut shared);
        let mut lines = Lines::new();
        self.add_lines(b"", &shared, &mut lines);
        lines
    }

    fn count_shared(&self, shared: &mut BTreeMap<u32, u32>) {
        match &self.what {
            What::Shared(number, _) => *shared.entry(*number).or_default() += 1,
            What::Directory(entries) => {
                entries.values().for_each(|entry| entry.count_shared(shared));
            }
            _ => {}
        }
    }

    fn nlink(&self, shared: &BTreeMap<u32, u32>) -> u32 {
        match &self.what {
            What::Shared(number, _) => shared[number],
            What::Directory(entries) => {
                let is_directory = |entry: &&Self| matches!(entry.what, What::Directory(_));
                2 + u32::try_from(entries.values().filter(is_directory).count()).unwrap()
            }
            _ => 1,
        }
    }

    fn add_lines(&self, path: &[u8], shared: &BTreeMap<u32, u32>, lines: &mut Lines) {
        let (kind, content) = match &self.what {
            What::Directory(entries) => {
                for (name, entry) in entries {
                    entry.add_lines(&[path, b"/", name].concat(), shared, lines);
                }
                ("directory", Vec::new())
            }
            What::File(content) | What::Shared(_, content) => ("file", content.clone()),
            What::Symlink(target) => ("symlink", target.clone()),
            What::Char(major, minor) => ("char", format!("{major}:{minor}").into()),
            What::Block(major, minor) => ("block", format!("{major}:{minor}").into()),
            What::Fifo => ("fifo", Vec::new()),
        };
        let line = Line {
            kind,
            mode: self.mode,
            owner: (self.uid, self.gid),
            mtime: self.mtime,
            nlink: self.nlink(shared),
            content,
            xattrs: self.xattrs.clone(),
        };
        lines.insert(path.to_vec(), line);
    }
}

/// How an image is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) compression: Compression,
    pub(crate) block_size: u32,
    /// Whether data blocks are stored as they are.
    pub(crate) is_raw: bool,
    /// Whether ends of large files go into fragments, too.
    pub(crate) has_tails: bool,
}

/// An image being put together.
struct Image<'t> {
    style: Style,
    bytes: Vec<u8>,
    fragment: Vec<u8>,
    fragments: Vec<Fragment>,
    shared: BTreeMap<u32, u32>,
    numbers: u32,
    /// By inode number.
    contents: BTreeMap<u32, Placed>,
    numbered: BTreeMap<*const Entry, u32>,
    of_shared: BTreeMap<u32, u32>,
    nodes: BTreeMap<u32, Node>,
    root: &'t Entry,
}

/// Where a file's content went: start, blocks, fragment.
type Placed = (u64, Vec<u32>, Option<(u32, u32)>);

/// Writes a tree as an image.
pub(crate) fn write(root: &Entry, style: Style) -> Result<Vec<u8>, Error> {
    let mut shared = BTreeMap::new();
    root.count_shared(&mut shared);
    let mut image = Image {
        style,
        bytes: vec![0; DATA],
        fragment: Vec::new(),
        fragments: Vec::new(),
        shared,
        numbers: 0,
        contents: BTreeMap::new(),
        numbered: BTreeMap::new(),
        of_shared: BTreeMap::new(),
        nodes: BTreeMap::new(),
        root,
    };
    image.number(root);
    image.flush();
    let options = TableOptions {
        compression: style.compression,
        block_size: style.block_size,
        time: 1_700_000_000,
    };
    let mut writer = TableWriter::new(options)?;
    for &fragment in &image.fragments {
        writer.add_fragment(fragment)?;
    }
    let root = image.add(&mut writer, image.root, 1)?;
    let tables = writer.finish(root, image.bytes.len() as u64)?;
    let mut bytes = image.bytes;
    bytes[..tables.superblock.len()].copy_from_slice(&tables.superblock);
    bytes.extend(tables.bytes);
    assert_eq!(bytes.len() as u64, tables.bytes_used);
    bytes.resize(bytes.len().next_multiple_of(4096), 0);
    Ok(bytes)
}

impl Image<'_> {
    /// Numbers an entry and those below it, and places their content.
    fn number(&mut self, entry: &Entry) {
        if let What::Shared(shared, _) = entry.what
            && let Some(&number) = self.of_shared.get(&shared)
        {
            self.numbered.insert(entry, number);
            return;
        }
        self.numbers += 1;
        let number = self.numbers;
        self.numbered.insert(entry, number);
        match &entry.what {
            What::Directory(entries) => entries.values().for_each(|entry| self.number(entry)),
            What::File(content) => self.place(number, content),
            What::Shared(shared, content) => {
                self.of_shared.insert(*shared, number);
                self.place(number, content);
            }
            _ => {}
        }
    }

    fn place(&mut self, number: u32, content: &[u8]) {
        let block_size = usize::try_from(self.style.block_size).unwrap();
        let has_fragment = self.style.has_tails || content.len() < block_size;
        let tail = if has_fragment { content.len() % block_size } else { 0 };
        let (blocks, tail) = content.split_at(content.len() - tail);
        let fragment = (!tail.is_empty()).then(|| {
            if self.fragment.len() + tail.len() > block_size {
                self.flush();
            }
            let offset = u32::try_from(self.fragment.len()).unwrap();
            self.fragment.extend_from_slice(tail);
            (u32::try_from(self.fragments.len()).unwrap(), offset)
        });
        let start = self.bytes.len() as u64;
        let blocks = blocks.chunks(block_size);
        let blocks: Vec<u32> = blocks.map(|block| self.block(block)).collect();
        self.contents.insert(number, (start, blocks, fragment));
    }

    fn block(&mut self, content: &[u8]) -> u32 {
        if content.iter().all(|&byte| byte == 0) {
            return 0;
        }
        let compressed = match self.style.compression {
            Compression::Zstd { level } => zstd::bulk::compress(content, level.into()).unwrap(),
            Compression::Gzip { level } => {
                let level = libdeflater::CompressionLvl::new(level.into()).unwrap();
                let mut compressor = libdeflater::Compressor::new(level);
                let mut out = vec![0; compressor.zlib_compress_bound(content.len())];
                let length = compressor.zlib_compress(content, &mut out).unwrap();
                out.truncate(length);
                out
            }
        };
        let is_raw = self.style.is_raw || compressed.len() >= content.len();
        let stored = if is_raw { content } else { &compressed };
        self.bytes.extend_from_slice(stored);
        u32::try_from(stored.len()).unwrap() | if is_raw { STORED } else { 0 }
    }

    fn flush(&mut self) {
        let fragment = std::mem::take(&mut self.fragment);
        if !fragment.is_empty() {
            let offset = self.bytes.len() as u64;
            let size = match self.block(&fragment) {
                // A fragment has no holes.
                0 => {
                    self.bytes.extend_from_slice(&fragment);
                    u32::try_from(fragment.len()).unwrap() | STORED
                }
                size => size,
            };
            self.fragments.push(Fragment { offset, size });
        }
    }

    fn add(&mut self, writer: &mut TableWriter, entry: &Entry, parent: u32) -> Result<Node, Error> {
        let number = self.numbered[&std::ptr::from_ref(entry)];
        if let Some(&node) = self.nodes.get(&number) {
            return Ok(node);
        }
        let xattrs: Vec<(&[u8], &[u8])> =
            entry.xattrs.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        let attributes = Attributes {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            number,
            nlink: entry.nlink(&self.shared),
            xattrs: &xattrs,
        };
        let node = match &entry.what {
            What::Directory(entries) => {
                let mut nodes = Vec::new();
                for (name, entry) in entries {
                    nodes.push((name.as_slice(), self.add(writer, entry, number)?));
                }
                writer.add_directory(&attributes, parent, nodes)?
            }
            What::File(content) | What::Shared(_, content) => {
                let (start, blocks, fragment) = &self.contents[&number];
                let content = FileContent {
                    size: content.len() as u64,
                    start: *start,
                    blocks,
                    fragment: *fragment,
                };
                writer.add_file(&attributes, &content)?
            }
            What::Symlink(target) => writer.add_symlink(&attributes, target)?,
            &What::Char(major, minor) => {
                writer.add_special(&attributes, Special::CharDevice { major, minor })?
            }
            &What::Block(major, minor) => {
                writer.add_special(&attributes, Special::BlockDevice { major, minor })?
            }
            What::Fifo => writer.add_special(&attributes, Special::Fifo)?,
        };
        self.nodes.insert(number, node);
        Ok(node)
    }
}

/// Opens an image in memory.
pub(crate) fn open(bytes: Vec<u8>) -> Result<Reader, Error> {
    let length = bytes.len() as u64;
    Reader::open(Arc::new(bytes), 0, length)
}

/// Reads all of an image; refuses a directory that is met twice.
pub(crate) fn read(reader: &Reader) -> Result<Lines, Error> {
    let mut lines = Lines::new();
    let root = reader.inode(reader.root())?;
    read_below(reader, &root, b"", &mut BTreeSet::new(), &mut lines)?;
    Ok(lines)
}

fn read_below(
    reader: &Reader,
    inode: &Inode,
    path: &[u8],
    seen: &mut BTreeSet<u64>,
    lines: &mut Lines,
) -> Result<(), Error> {
    lines.insert(path.to_vec(), line(reader, inode)?);
    if inode.file_type() != FileType::Directory || !seen.insert(inode.reference.to_raw()) {
        return Ok(());
    }
    for entry in reader.entries(inode, Position::START)? {
        let entry = entry?;
        let below = reader.inode(entry.inode)?;
        read_below(reader, &below, &[path, b"/", &entry.name].concat(), seen, lines)?;
    }
    Ok(())
}

fn line(reader: &Reader, inode: &Inode) -> Result<Line, Error> {
    let device = |device: u32| {
        let minor = (device & 0xff) | (device >> 12 & 0xf_ff00);
        format!("{}:{minor}", device >> 8 & 0xfff).into_bytes()
    };
    let (kind, content) = match &inode.kind {
        Kind::Directory(_) => ("directory", Vec::new()),
        Kind::File(_) => ("file", content(reader, inode)?),
        Kind::Symlink(target) => ("symlink", target.to_vec()),
        Kind::CharDevice(number) => ("char", device(*number)),
        Kind::BlockDevice(number) => ("block", device(*number)),
        Kind::Fifo => ("fifo", Vec::new()),
        Kind::Socket => ("socket", Vec::new()),
    };
    let xattrs = reader.xattrs(inode)?;
    Ok(Line {
        kind,
        mode: inode.mode,
        owner: (inode.uid, inode.gid),
        mtime: inode.mtime,
        nlink: inode.nlink,
        content,
        xattrs: xattrs.into_iter().map(|x| (x.name.into_vec(), x.value.into_vec())).collect(),
    })
}

/// A file's content; nothing of one beyond 64 MiB.
pub(crate) fn content(reader: &Reader, inode: &Inode) -> Result<Vec<u8>, Error> {
    let map = reader.file_map(inode)?;
    let mut content = Vec::new();
    let mut part = Vec::new();
    for number in 0..map.pieces().min(16_384) {
        let Some(piece) = map.piece(number) else { break };
        assert_eq!(piece.start, content.len() as u64);
        reader.read_piece(&piece, &mut part)?;
        content.extend_from_slice(&part);
    }
    Ok(content)
}

/// Reads a directory of this machine.
pub(crate) fn read_directory(root: &Path) -> Lines {
    let mut lines = Lines::new();
    read_path(root, b"", &mut lines);
    lines
}

fn read_path(at: &Path, path: &[u8], lines: &mut Lines) {
    let metadata = std::fs::symlink_metadata(at).unwrap();
    let kind = metadata.file_type();
    let device = || {
        let (major, minor) =
            (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
        format!("{major}:{minor}").into_bytes()
    };
    let (kind, content) = match () {
        () if kind.is_dir() => ("directory", Vec::new()),
        () if kind.is_file() => ("file", std::fs::read(at).unwrap()),
        () if kind.is_symlink() => {
            ("symlink", std::fs::read_link(at).unwrap().as_os_str().as_bytes().to_vec())
        }
        () if kind.is_char_device() => ("char", device()),
        () if kind.is_block_device() => ("block", device()),
        () => ("fifo", Vec::new()),
    };
    let line = Line {
        kind,
        mode: u16::try_from(metadata.mode() & 0o7777).unwrap(),
        owner: (metadata.uid(), metadata.gid()),
        mtime: u32::try_from(metadata.mtime()).unwrap(),
        nlink: u32::try_from(metadata.nlink()).unwrap(),
        content,
        xattrs: read_xattrs(at),
    };
    lines.insert(path.to_vec(), line);
    if metadata.is_dir() {
        for entry in std::fs::read_dir(at).unwrap() {
            let name = entry.unwrap().file_name();
            read_path(&at.join(&name), &[path, b"/", name.as_bytes()].concat(), lines);
        }
    }
}

fn read_xattrs(at: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65_536];
    let length = rustix::fs::llistxattr(at, names.as_mut_slice()).unwrap_or(0);
    let names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 65_536];
        let length = rustix::fs::lgetxattr(at, name, value.as_mut_slice()).unwrap();
        value.truncate(length);
        value
    };
    let is_plain = |name: &&[u8]| !name.starts_with(b"security.selinux");
    names.filter(is_plain).map(|name| (name.to_vec(), value(name))).collect()
}
