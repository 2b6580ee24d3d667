//! The way from tars to a segment and to a tree in words, for tests.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::AtomicBool;

use orlop_oci::digest::Digest;

use orlop_squashfs::{Kind, Position, Reader};

pub(crate) use orlop_kit::image::raw::{Header, Tar, block, pax_data, sum};

use crate::error::{Error, escaped};
use crate::key::{SegmentKey, segment_key};
use crate::merge::{Merged, merge};
use crate::options::Options;
use crate::pipeline::{Conversion, LayerSource, convert};
use crate::segment::{FileData, SegmentIndex};
use crate::tree::{Content, Id, ROOT, Tree};
use crate::workers::Workers;

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
        let blocks = segment.index.blocks();
        let block = blocks.runs()[blocks.run_of(position)];
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
            Content::Directory(_) => {
                for (name, dentry) in tree.listing(id).into_iter().map(|slot| tree.name(slot)) {
                    let name = escaped(name);
                    let below = if path.is_empty() { name } else { format!("{path}/{name}") };
                    waiting.push((below, dentry.inode));
                }
                format!("dir {mode:o}")
            }
            Content::File(file) => {
                let segment = &segments[inode.layer as usize];
                let bytes = content(segment, &file.data(segment.index.block_size()));
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
