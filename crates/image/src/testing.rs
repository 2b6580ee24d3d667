//! A small tar writer and the way from tars to a segment, for tests.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::AtomicBool;

use orlop_oci::digest::Digest;

use orlop_squashfs::{Kind, Position, Reader};

use crate::error::{Error, escaped};
use crate::key::{SegmentKey, segment_key};
use crate::merge::{Merged, merge};
use crate::options::Options;
use crate::pipeline::{Conversion, LayerSource, convert};
use crate::segment::{FileData, SegmentIndex};
use crate::tree::{Content, Id, ROOT, Tree};
use crate::workers::Workers;

/// One header's fields; the default is a regular file of mode 0644, owner 0, time 0.
#[derive(Clone, Debug)]
pub(crate) struct Header<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) link: &'a [u8],
    pub(crate) kind: u8,
    pub(crate) mode: u64,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) time: u64,
    /// What the header says, where that is not the length of the data.
    pub(crate) size: Option<u64>,
    pub(crate) device: (u64, u64),
    pub(crate) data: &'a [u8],
}

impl<'a> Header<'a> {
    pub(crate) fn new(kind: u8, name: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self {
            name: name.as_ref(),
            link: b"",
            kind,
            mode: if kind == b'5' { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            time: 0,
            size: None,
            device: (0, 0),
            data: b"",
        }
    }
}

/// A tar under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The stream with two blocks of zeros at its end.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    /// The stream without an end.
    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn header(self, header: &Header<'_>) -> Self {
        let block = block(header);
        self.raw(&block).padded(header.data)
    }

    /// Data and what fills their last block.
    pub(crate) fn padded(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.header(&Header { data, ..Header::new(b'0', name) })
    }

    pub(crate) fn dir(self, name: &str, mode: u64) -> Self {
        self.header(&Header { mode, ..Header::new(b'5', name) })
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.header(&Header { link: target.as_bytes(), mode: 0o777, ..Header::new(b'2', name) })
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        self.header(&Header { link: target.as_bytes(), ..Header::new(b'1', name) })
    }

    /// A pax header for the entry that comes next.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let data = pax_data(records);
        self.header(&Header { data: &data, ..Header::new(b'x', "pax") })
    }
}

/// Records as they stand in a pax header.
pub(crate) fn pax_data(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    for (key, value) in records {
        let body = key.len() + value.len() + 3;
        let mut length = body + 1;
        while length != body + length.to_string().len() {
            length = body + length.to_string().len();
        }
        data.extend_from_slice(format!("{length} {key}=").as_bytes());
        data.extend_from_slice(value);
        data.push(b'\n');
    }
    data
}

/// A ustar header block with its checksum.
pub(crate) fn block(header: &Header<'_>) -> [u8; 512] {
    let mut block = [0_u8; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &header.name[..header.name.len().min(100)]);
    put(100, octal(header.mode, 8).as_slice());
    put(108, octal(header.uid, 8).as_slice());
    put(116, octal(header.gid, 8).as_slice());
    put(124, octal(header.size.unwrap_or(header.data.len() as u64), 12).as_slice());
    put(136, octal(header.time, 12).as_slice());
    put(156, &[header.kind]);
    put(157, &header.link[..header.link.len().min(100)]);
    put(257, b"ustar\x0000");
    put(329, octal(header.device.0, 8).as_slice());
    put(337, octal(header.device.1, 8).as_slice());
    sum(&mut block);
    block
}

/// Octal where it fits, else base 256.
fn octal(number: u64, width: usize) -> Vec<u8> {
    let digits = width - 1;
    let text = format!("{number:0>digits$o}");
    if text.len() < width {
        return [text.as_bytes(), b"\0"].concat();
    }
    let mut bytes = vec![0; width - 8];
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes[0] |= 0x80;
    bytes
}

/// Writes the checksum into a header.
pub(crate) fn sum(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A layer that is `blob`, and what the manifest would say of it.
pub(crate) fn layer(blob: &[u8]) -> LayerSource {
    LayerSource {
        digest: Digest::sha256(blob),
        size: blob.len() as u64,
        compression: None,
        diff_id: None,
    }
}

/// A converted layer.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) key: SegmentKey,
    pub(crate) index: SegmentIndex,
    pub(crate) data: File,
    pub(crate) warnings: Vec<String>,
}

/// Converts a blob with one thread.
pub(crate) fn segment_under(blob: &[u8], options: &Options) -> Result<Segment, Error> {
    let layer = layer(blob);
    let mut data = tempfile::tempfile().unwrap();
    let stop = AtomicBool::new(false);
    let mut source = blob;
    let Conversion { index, warnings } =
        convert(&layer, &mut source, &mut data, options, &Workers::new(1), &stop)?;
    Ok(Segment { key: segment_key(&layer.digest, options), index, data, warnings })
}

/// Converts a blob with the default options.
pub(crate) fn segment(blob: &[u8]) -> Result<Segment, Error> {
    segment_under(blob, &Options::default())
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that do not compress, the same every time.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// The bytes of a file of a segment.
pub(crate) fn content(segment: &Segment, file: &FileData) -> Vec<u8> {
    let block_size = segment.index.block_size() as usize;
    let block = |position: u32| {
        let block = segment.index.blocks()[position as usize];
        if block.size == 0 {
            return vec![0; block_size];
        }
        let mut stored = vec![0; block.stored() as usize];
        segment.data.read_exact_at(&mut stored, block.offset).unwrap();
        match block.size >> 24 {
            0 if stored.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) => {
                zstd::bulk::decompress(&stored, block_size).unwrap()
            }
            0 => {
                let mut bytes = Vec::new();
                flate2::read::ZlibDecoder::new(&*stored).read_to_end(&mut bytes).unwrap();
                bytes
            }
            _ => stored,
        }
    };
    if let Some((number, offset)) = file.fragment {
        let bytes = block(segment.index.fragments()[number as usize]);
        return bytes[offset as usize..][..usize::try_from(file.size).unwrap()].to_vec();
    }
    let mut bytes: Vec<u8> = (0..file.blocks).flat_map(|at| block(file.first + at)).collect();
    bytes.truncate(usize::try_from(file.size).unwrap());
    bytes
}

/// A merged tree in words: by path, what is there and the number of its inode.
pub(crate) type Words = BTreeMap<String, (String, Id)>;

/// Merges tars, the base first, and puts the tree into words.
pub(crate) fn merged(tars: &[Vec<u8>]) -> Result<(Words, Vec<String>), Error> {
    let segments: Vec<_> = tars.iter().map(|tar| segment(tar)).collect::<Result<_, _>>()?;
    let indexes: Vec<_> = segments.iter().map(|segment| &segment.index).collect();
    let Merged { tree, warnings } = merge(&indexes, 77, &Options::default().limits)?;
    Ok((words(&tree, &segments), warnings))
}

pub(crate) fn words(tree: &Tree, segments: &[Segment]) -> Words {
    let mut words = Words::new();
    let mut waiting = vec![(String::new(), ROOT)];
    while let Some((path, id)) = waiting.pop() {
        let inode = tree.inode(id);
        let mode = inode.attributes.mode;
        let text = match &inode.content {
            Content::Directory(directory) => {
                for (name, dentry) in &directory.names {
                    let name = escaped(name);
                    let below = if path.is_empty() { name } else { format!("{path}/{name}") };
                    waiting.push((below, dentry.inode));
                }
                format!("dir {mode:o}")
            }
            Content::File(file) => {
                let bytes = content(&segments[inode.layer as usize], file);
                format!("file {mode:o} {}", String::from_utf8_lossy(&bytes))
            }
            Content::Own(number) => format!("own {mode:o} {number}"),
            Content::Symlink(target) => format!("-> {}", escaped(target)),
            Content::Char(major, minor) => format!("char {major}:{minor}"),
            Content::Block(major, minor) => format!("block {major}:{minor}"),
            Content::Fifo => "fifo".to_owned(),
        };
        words.insert(path, (text, id));
    }
    words
}

/// What a squashfs holds, in the same words; the number is the inode's own.
pub(crate) fn read_words(reader: &Reader) -> Words {
    let mut words = Words::new();
    let mut waiting = vec![(String::new(), reader.root())];
    while let Some((path, reference)) = waiting.pop() {
        let inode = reader.inode(reference).unwrap();
        let mode = inode.mode;
        let device = |device: u32| {
            let minor = (device & 0xff) | ((device >> 12) & !0xff);
            format!("{}:{minor}", (device >> 8) & 0xfff)
        };
        let text = match &inode.kind {
            Kind::Directory(_) => {
                for entry in reader.entries(&inode, Position::START).unwrap() {
                    let entry = entry.unwrap();
                    let name = escaped(&entry.name);
                    let below = if path.is_empty() { name } else { format!("{path}/{name}") };
                    waiting.push((below, entry.inode));
                }
                format!("dir {mode:o}")
            }
            Kind::File(_) => {
                let map = reader.file_map(&inode).unwrap();
                let mut bytes = Vec::new();
                for number in 0..map.pieces() {
                    let mut piece = Vec::new();
                    reader.read_piece(&map.piece(number).unwrap(), &mut piece).unwrap();
                    bytes.append(&mut piece);
                }
                format!("file {mode:o} {}", String::from_utf8_lossy(&bytes))
            }
            Kind::Symlink(target) => format!("-> {}", escaped(target)),
            Kind::CharDevice(number) => format!("char {}", device(*number)),
            Kind::BlockDevice(number) => format!("block {}", device(*number)),
            Kind::Fifo => "fifo".to_owned(),
            Kind::Socket => "socket".to_owned(),
        };
        words.insert(path, (text, inode.number));
    }
    words
}
