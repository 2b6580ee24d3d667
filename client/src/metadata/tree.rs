//! The tree of an image, read without mounting it: of a squashfs, or a sandbox directory.
//!
//! Regular files and directories alone; a link is as good as nothing, and so is what cannot be
//! read. Not here: which files are wanted ([`super`]).

use std::fs::{self, File};
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use orlop_squashfs::{FileType, Inode, Position, Reader, Window};

/// A tree.
#[derive(Debug)]
pub(super) enum Tree {
    Directory(PathBuf),
    Squashfs(Box<Reader>),
}

impl Tree {
    /// The root file system of an image file.
    pub(super) fn of_image(file: File, window: &Window) -> Result<Self, orlop_sif::Error> {
        let root = orlop_sif::root_file_system(window)?;
        let opening =
            |cause: std::io::Error| orlop_sif::Error::Read { what: "opening the image", cause };
        let source = Window::whole(file).map_err(opening)?;
        let reader = Reader::open(Arc::new(source), root.offset, root.length)
            .map_err(|error| opening(std::io::Error::other(error.to_string())))?;
        Ok(Self::Squashfs(Box::new(reader)))
    }

    /// A regular file of at most `limit` bytes.
    pub(super) fn read(&self, path: &str, limit: u64) -> Option<Vec<u8>> {
        match self {
            Self::Directory(root) => {
                let path = root.join(path);
                // What is no regular file may never end, or never begin.
                let found = fs::symlink_metadata(&path).ok()?;
                if !found.is_file() || found.len() > limit {
                    return None;
                }
                let mut bytes = Vec::new();
                File::open(&path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
                Some(bytes)
            }
            Self::Squashfs(reader) => {
                let inode = find(reader, path)?;
                let is_file = inode.file_type() == FileType::File && inode.size() <= limit;
                let map = is_file.then(|| reader.file_map(&inode).ok()).flatten()?;
                let (mut bytes, mut piece) = (Vec::new(), Vec::new());
                for number in 0..map.pieces() {
                    reader.read_piece(&map.piece(number)?, &mut piece).ok()?;
                    bytes.extend_from_slice(&piece);
                }
                Some(bytes)
            }
        }
    }

    /// Names in a directory, sorted; none where there is none. Names that are no text are left out.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let mut names: Vec<String> = match self {
            Self::Directory(root) => {
                let entries = fs::read_dir(root.join(path)).into_iter().flatten().flatten();
                entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
            }
            Self::Squashfs(reader) => {
                let entries = find(reader, path)
                    .and_then(|inode| reader.entries(&inode, Position::default()).ok());
                let entries = entries.into_iter().flatten().map_while(Result::ok);
                entries.filter_map(|entry| String::from_utf8(entry.name.into()).ok()).collect()
            }
        };
        names.sort();
        names
    }

    /// Whether a directory is there.
    pub(super) fn is_directory(&self, path: &str) -> bool {
        match self {
            Self::Directory(root) => {
                fs::symlink_metadata(root.join(path)).is_ok_and(|found| found.is_dir())
            }
            Self::Squashfs(reader) => {
                find(reader, path).is_some_and(|inode| inode.file_type() == FileType::Directory)
            }
        }
    }
}

fn find(reader: &Reader, path: &str) -> Option<Inode> {
    let mut inode = reader.inode(reader.root()).ok()?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let entry = reader.lookup(&inode, name.as_bytes()).ok()??;
        inode = reader.inode(entry.inode).ok()?;
    }
    Some(inode)
}
