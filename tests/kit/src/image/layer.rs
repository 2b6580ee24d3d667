//! Layers: entries in the order given, made into a tar and compressed.
//!
//! Everything is as the test says and nothing else: no parent directories are added, times are
//! zero unless given. Not here: the tar's bytes ([`super::tar`]), images ([`super`]).

use super::made::Made;
use super::tar;
use crate::digest::Digest;
use crate::registry::Blob;
use std::io::Write as _;

/// One entry of a layer.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) owner: (u64, u64),
    pub(super) mtime: i64,
    pub(super) xattrs: Vec<(String, Vec<u8>)>,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    File(Vec<u8>),
    Sparse(Sparse),
    Dir,
    Symlink(Vec<u8>),
    Hardlink(Vec<u8>),
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
}

/// A file with holes: bytes at offsets, and the size in bytes.
#[derive(Clone, Debug)]
pub(super) struct Sparse {
    pub(super) size: u64,
    pub(super) pieces: Vec<(u64, Vec<u8>)>,
}

/// How names longer than 100 bytes, and holes, are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// pax records.
    #[default]
    Pax,
    /// Entries of type L and K, holes of type S.
    Gnu,
}

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// One gzip member.
    #[default]
    Gzip,
    /// A gzip member per so many bytes of tar, as seekable formats write.
    GzipMembers(usize),
    /// One zstd frame.
    Zstd,
}

impl Entry {
    fn new(path: impl Into<Vec<u8>>, kind: Kind, mode: u32) -> Self {
        Self { path: path.into(), kind, mode, owner: (0, 0), mtime: 0, xattrs: Vec::new() }
    }

    /// A regular file, mode 0644.
    #[must_use]
    pub fn file(path: impl Into<Vec<u8>>, content: impl Into<Vec<u8>>) -> Self {
        Self::new(path, Kind::File(content.into()), 0o644)
    }

    /// A program, mode 0755.
    #[must_use]
    pub fn program(path: impl Into<Vec<u8>>, content: impl Into<Vec<u8>>) -> Self {
        Self::file(path, content).mode(0o755)
    }

    /// A file of `size` bytes that has these bytes at these offsets and holes elsewhere.
    #[must_use]
    pub fn sparse(path: impl Into<Vec<u8>>, size: u64, pieces: &[(u64, &[u8])]) -> Self {
        let pieces = pieces.iter().map(|(at, bytes)| (*at, bytes.to_vec())).collect();
        Self::new(path, Kind::Sparse(Sparse { size, pieces }), 0o644)
    }

    /// A directory, mode 0755.
    #[must_use]
    pub fn dir(path: impl Into<Vec<u8>>) -> Self {
        Self::new(path, Kind::Dir, 0o755)
    }

    /// A symbolic link to `to`.
    #[must_use]
    pub fn symlink(path: impl Into<Vec<u8>>, to: impl Into<Vec<u8>>) -> Self {
        Self::new(path, Kind::Symlink(to.into()), 0o777)
    }

    /// Another name of the entry `to` of the same layer or of one below.
    #[must_use]
    pub fn hardlink(path: impl Into<Vec<u8>>, to: impl Into<Vec<u8>>) -> Self {
        Self::new(path, Kind::Hardlink(to.into()), 0o644)
    }

    /// A character device.
    #[must_use]
    pub fn char_device(path: impl Into<Vec<u8>>, major: u32, minor: u32) -> Self {
        Self::new(path, Kind::Char(major, minor), 0o666)
    }

    /// A block device.
    #[must_use]
    pub fn block_device(path: impl Into<Vec<u8>>, major: u32, minor: u32) -> Self {
        Self::new(path, Kind::Block(major, minor), 0o660)
    }

    /// A named pipe.
    #[must_use]
    pub fn fifo(path: impl Into<Vec<u8>>) -> Self {
        Self::new(path, Kind::Fifo, 0o644)
    }

    /// Removes `path` of the layers below.
    #[must_use]
    pub fn whiteout(path: &str) -> Self {
        let (parent, name) = path.rsplit_once('/').map_or(("", path), |(at, name)| (at, name));
        let slash = if parent.is_empty() { "" } else { "/" };
        Self::file(format!("{parent}{slash}.wh.{name}"), "").mode(0o600)
    }

    /// Removes what the layers below have in the directory `path`.
    #[must_use]
    pub fn opaque(path: &str) -> Self {
        Self::file(format!("{path}/.wh..wh..opq"), "").mode(0o600)
    }

    /// Permission bits, set-id and sticky ones included.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Numbers of user and group.
    #[must_use]
    pub fn owner(mut self, uid: u64, gid: u64) -> Self {
        self.owner = (uid, gid);
        self
    }

    /// Time of last change, in seconds since 1970.
    #[must_use]
    pub fn mtime(mut self, seconds: i64) -> Self {
        self.mtime = seconds;
        self
    }

    /// Adds an extended attribute, such as `user.note`.
    #[must_use]
    pub fn xattr(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.xattrs.push((name.to_owned(), value.into()));
        self
    }
}

/// A layer: entries and how they are stored.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    entries: Vec<Entry>,
    names: Names,
    compression: Compression,
    raw: Option<Vec<u8>>,
    stored: Option<Vec<u8>>,
    made: Option<(Made, Made)>,
}

impl Layer {
    /// Without entries, gzip.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that is these bytes where the tar should be.
    #[must_use]
    pub fn raw(tar: Vec<u8>) -> Self {
        Self { raw: Some(tar), ..Self::default() }
    }

    /// One whose tar is made as it is read, not compressed.
    #[must_use]
    pub fn made(tar: &Made) -> Self {
        Self::made_as(tar, tar, Compression::Plain)
    }

    /// One whose tar is made as it is read, and which is stored as these bytes of this compression.
    #[must_use]
    pub fn made_as(tar: &Made, stored: &Made, compression: Compression) -> Self {
        Self { made: Some((tar.clone(), stored.clone())), compression, ..Self::default() }
    }

    /// One file whose `size` bytes do not compress, the same for the same `seed`.
    #[must_use]
    pub fn noise(path: &str, size: usize, seed: u64) -> Self {
        Self::new().entry(Entry::file(path, noise(size, seed)))
    }

    /// Adds an entry.
    #[must_use]
    pub fn entry(mut self, entry: Entry) -> Self {
        self.entries.push(entry);
        self
    }

    /// Adds entries.
    #[must_use]
    pub fn entries(mut self, entries: impl IntoIterator<Item = Entry>) -> Self {
        self.entries.extend(entries);
        self
    }

    /// How long names and holes are written.
    #[must_use]
    pub fn names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// How it is compressed.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Stores it as these bytes, whatever the compression that its media type names would give.
    /// Its `diff_id` stays that of its tar.
    #[must_use]
    pub fn stored(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stored = Some(bytes.into());
        self
    }

    /// What the compression makes of the tar.
    #[must_use]
    pub fn packed(&self) -> Vec<u8> {
        pack(self.tar(), self.compression)
    }

    /// The tar, not compressed.
    #[must_use]
    pub fn tar(&self) -> Vec<u8> {
        self.raw.clone().unwrap_or_else(|| tar::write(&self.entries, self.names))
    }

    pub(super) fn built(&self) -> BuiltLayer {
        let compression = self.compression;
        if let Some((tar, stored)) = &self.made {
            let of = |made: &Made| Digest::of_reader(made.reader(0)).expect("making does not fail");
            let diff_id = of(tar);
            let is_plain = compression == Compression::Plain;
            let digest = if is_plain { diff_id.clone() } else { of(stored) };
            return BuiltLayer { diff_id, digest, blob: stored.clone().into(), compression };
        }
        let tar = self.tar();
        let diff_id = Digest::of(&tar);
        let bytes = self.stored.clone().unwrap_or_else(|| pack(tar, compression));
        BuiltLayer { diff_id, digest: Digest::of(&bytes), blob: bytes.into(), compression }
    }
}

/// A layer as it is stored.
pub(super) struct BuiltLayer {
    pub(super) diff_id: Digest,
    pub(super) digest: Digest,
    pub(super) blob: Blob,
    pub(super) compression: Compression,
}

pub(super) fn pack(tar: Vec<u8>, compression: Compression) -> Vec<u8> {
    let gzip = |bytes: &[u8]| {
        let level = flate2::Compression::fast();
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), level);
        writer.write_all(bytes).expect("memory takes everything");
        writer.finish().expect("memory takes everything")
    };
    match compression {
        Compression::Plain => tar,
        Compression::Gzip => gzip(&tar),
        Compression::GzipMembers(size) => tar.chunks(size.max(1)).flat_map(gzip).collect(),
        Compression::Zstd => zstd::encode_all(&tar[..], 1).expect("memory takes everything"),
    }
}

/// Bytes that do not compress, the same for the same seed (xorshift64*).
#[must_use]
pub fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// What GNU tar lists, one line an entry.
    fn listed(layer: &Layer) -> String {
        let mut tar = Command::new("tar")
            .args([
                "--list",
                "--verbose",
                "--numeric-owner",
                "--utc",
                "--full-time",
                "--xattrs",
                "--file=-",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(&layer.tar()).unwrap();
        let done = tar.wait_with_output().unwrap();
        assert!(done.status.success());
        let text = String::from_utf8(done.stdout).unwrap();
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n")
            .collect()
    }

    #[test]
    fn gnu_tar_reads_what_is_written() {
        let long = format!("dir/{}", "n".repeat(150));
        for names in [Names::Pax, Names::Gnu] {
            let layer = Layer::new().names(names).entries([
                Entry::dir("dir/").mode(0o1777).owner(7, 8),
                Entry::file(long.clone(), "text").mtime(86_400).xattr("user.note", "hi"),
                Entry::symlink("dir/link", "/target"),
                Entry::hardlink("dir/again", long.clone()),
                Entry::char_device("null", 1, 3),
                Entry::fifo("pipe"),
                Entry::sparse("holes", 1 << 20, &[(4096, b"abc"), (65_536, b"defg")]),
                Entry::file("far", "").owner(3_000_000, 3_000_001),
                Entry::whiteout("dir/gone"),
            ]);
            let text = listed(&layer);
            for wanted in [
                "drwxrwxrwt 7/8 ",
                &format!("4 1970-01-02 00:00:00 {long}\n"),
                "dir/link -> /target",
                &format!("dir/again link to {long}"),
                "crw-rw-rw- 0/0 ",
                "prw-r--r--",
                " 1048576 1970-01-01 00:00:00 holes",
                "3000000/3000001",
                "dir/.wh.gone",
            ] {
                assert!(text.contains(wanted), "{names:?}: {wanted:?} is not in\n{text}");
            }
        }
    }

    #[test]
    fn every_compression_holds_the_same_tar() {
        let layer = Layer::noise("n", 100_000, 3);
        let diff_id = layer.built().diff_id;
        for compression in [
            Compression::Plain,
            Compression::Gzip,
            Compression::GzipMembers(7000),
            Compression::Zstd,
        ] {
            let built = layer.clone().compression(compression).built();
            assert_eq!(built.diff_id, diff_id);
            let bytes = built.blob.to_vec().unwrap();
            let tar = match compression {
                Compression::Plain => bytes,
                Compression::Zstd => zstd::decode_all(&bytes[..]).unwrap(),
                _ => {
                    let mut tar = Vec::new();
                    let mut reader = flate2::read::MultiGzDecoder::new(&bytes[..]);
                    std::io::copy(&mut reader, &mut tar).unwrap();
                    tar
                }
            };
            assert_eq!(Digest::of(&tar), diff_id, "{compression:?}");
        }
    }
}
