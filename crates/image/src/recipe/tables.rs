//! The tables of the squashfs: a merged tree, written down.
//!
//! Directories come behind all below them, the files of one directory together; numbers are given
//! in that order, a hard link has one. Nothing recurses.
//! Not here: bytes of the tables (`orlop-squashfs`); where blocks lie ([`super::extents`]).

use std::collections::{BTreeMap, BTreeSet};

use orlop_squashfs::{
    Attributes, Compression, FileContent, Fragment, Node, Special, TableOptions, TableWriter,
    Tables,
};

use super::extents::Placed;
use super::own::OwnData;
use crate::error::Error;
use crate::limits::Limits;
use crate::options::{Method, Options};
use crate::segment::{FileData, Pairs, SegmentIndex};
use crate::tree::{Content, Dentry, Id, Inode, OWN, ROOT, Tree};

/// What of the tree can be reached, in the order of writing.
#[derive(Debug)]
pub(super) struct Order {
    /// Directories and their parents, each before all below it.
    directories: Vec<(Id, Id)>,
    /// By inode: its number, 0 where no name is left.
    numbers: Vec<u32>,
    /// By inode: names of a file, 2 and subdirectories of a directory.
    links: Vec<u32>,
}

impl Order {
    pub(super) fn of(tree: &Tree) -> Result<Self, Error> {
        let mut order = Self {
            directories: vec![(ROOT, ROOT)],
            numbers: vec![0; tree.len()],
            links: vec![0; tree.len()],
        };
        let mut next = 0;
        while let Some(&(id, _)) = order.directories.get(next) {
            next = next.saturating_add(1);
            let below = subdirectories(tree, id).map(|child| (child, id));
            order.directories.extend(below);
        }
        let mut owners = BTreeSet::new();
        let mut number = 0_u32;
        for &(id, _) in order.directories.iter().rev() {
            let files = names(tree, id).filter(|dentry| tree.directory(dentry.inode).is_none());
            for inode in files.map(|dentry| dentry.inode).chain([id]) {
                let at = inode as usize;
                if let Some(links) = order.links.get_mut(at) {
                    *links = links.saturating_add(1);
                }
                if let Some(of) = order.numbers.get_mut(at).filter(|of| **of == 0) {
                    number = number.saturating_add(1);
                    *of = number;
                    let attributes = &tree.inode(inode).attributes;
                    owners.extend([attributes.uid, attributes.gid]);
                }
            }
            let below = subdirectories(tree, id).count();
            if let Some(links) = order.links.get_mut(id as usize) {
                *links = u32::try_from(below).unwrap_or(u32::MAX).saturating_add(2);
            }
        }
        if owners.len() > Limits::IDS {
            let (limit, seen) = (Limits::IDS as u64, owners.len() as u64);
            return Err(Error::ImageLimit { key: "ids", limit, seen });
        }
        Ok(order)
    }

    fn number(&self, id: Id) -> u32 {
        self.numbers.get(id as usize).copied().unwrap_or(0)
    }

    fn links(&self, id: Id) -> u32 {
        self.links.get(id as usize).copied().unwrap_or(0)
    }

    /// Tells each segment which of its files are left.
    pub(super) fn want(&self, tree: &Tree, own: &OwnData, places: &mut Places<'_>) {
        for (number, inode) in self.numbers.iter().zip(tree.inodes()) {
            if *number != 0
                && let Some((file, place)) = file_of(inode, own, places)
            {
                place.want(&file);
            }
        }
    }
}

fn names(tree: &Tree, id: Id) -> impl Iterator<Item = &Dentry> {
    tree.directory(id).into_iter().flat_map(|directory| directory.names.values())
}

fn subdirectories(tree: &Tree, id: Id) -> impl Iterator<Item = Id> {
    let inodes = names(tree, id).map(|dentry| dentry.inode);
    inodes.filter(|&inode| tree.directory(inode).is_some())
}

/// Where the blocks of all layers and of Orlop's own files lie.
#[derive(Debug)]
pub(super) struct Places<'a> {
    pub(super) layers: Vec<Placed<'a>>,
    pub(super) own: Placed<'a>,
}

fn file_of<'p, 'a>(
    inode: &Inode,
    own: &OwnData,
    places: &'p mut Places<'a>,
) -> Option<(FileData, &'p mut Placed<'a>)> {
    match inode.content {
        Content::File(file) => {
            places.layers.get_mut(inode.layer as usize).map(|place| (file, place))
        }
        Content::Own(number) => own.files.get(number as usize).map(|&file| (file, &mut places.own)),
        _ => None,
    }
}

/// What the tables are written from.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    pub(super) tree: &'a Tree,
    pub(super) order: &'a Order,
    pub(super) layers: &'a [&'a SegmentIndex],
    pub(super) own: &'a OwnData,
}

/// Writes the tables, for data that end at `data_end` in the partition.
pub(super) fn write(
    sources: &Sources<'_>,
    places: &mut Places<'_>,
    options: &Options,
    data_end: u64,
) -> Result<Tables, Error> {
    let compression = match options.compression {
        Method::Zstd { level } => Compression::Zstd { level },
        Method::Gzip { level } => Compression::Gzip { level },
    };
    let time = sources.tree.implied().mtime;
    let table_options = TableOptions { compression, block_size: options.block_size, time };
    let mut writer = TableWriter::new(table_options).map_err(failed)?;
    let mut next = 0;
    let mut fragments = Vec::new();
    for place in places.layers.iter_mut().chain([&mut places.own]) {
        fragments.extend(place.number_fragments(&mut next));
    }
    for (offset, size) in fragments {
        writer.add_fragment(Fragment { offset, size }).map_err(failed)?;
    }
    let Sources { tree, order, .. } = *sources;
    // Directories, and files with several names.
    let mut known: BTreeMap<Id, Node> = BTreeMap::new();
    let mut root = None;
    for &(id, parent) in order.directories.iter().rev() {
        let Some(directory) = tree.directory(id) else { continue };
        let mut entries: Vec<(&[u8], Node)> = Vec::with_capacity(directory.names.len());
        for (name, dentry) in &directory.names {
            let node = match known.get(&dentry.inode) {
                Some(&node) => node,
                None => add(&mut writer, sources, places, dentry.inode)?,
            };
            if order.links(dentry.inode) > 1 && tree.directory(dentry.inode).is_none() {
                known.insert(dentry.inode, node);
            }
            entries.push((name, node));
        }
        let pairs = xattrs(sources, id)?;
        let attributes = attributes(sources, id, &pairs);
        let parent = order.number(parent);
        let node = writer.add_directory(&attributes, parent, entries).map_err(failed)?;
        for child in subdirectories(tree, id) {
            known.remove(&child);
        }
        known.insert(id, node);
        root = Some(node);
    }
    let root = root.ok_or_else(|| failed("a tree without a root"))?;
    writer.finish(root, data_end).map_err(failed)
}

/// Adds what is no directory.
fn add(
    writer: &mut TableWriter,
    sources: &Sources<'_>,
    places: &mut Places<'_>,
    id: Id,
) -> Result<Node, Error> {
    let inode = sources.tree.inode(id);
    let pairs = xattrs(sources, id)?;
    let attributes = attributes(sources, id, &pairs);
    if let Some((file, place)) = file_of(inode, sources.own, places) {
        let (blocks, start) = place.blocks_of(&file);
        let fragment = file.fragment.map(|(number, offset)| (place.fragment(number), offset));
        let content = FileContent { size: file.size, start, blocks: &blocks, fragment };
        return writer.add_file(&attributes, &content).map_err(failed);
    }
    let special = match inode.content {
        Content::Symlink(ref target) => {
            return writer.add_symlink(&attributes, target).map_err(failed);
        }
        Content::Char(major, minor) => Special::CharDevice { major, minor },
        Content::Block(major, minor) => Special::BlockDevice { major, minor },
        Content::Fifo => Special::Fifo,
        Content::Directory(_) | Content::File(_) | Content::Own(_) => {
            return Err(failed("a directory or file out of place"));
        }
    };
    writer.add_special(&attributes, special).map_err(failed)
}

fn xattrs<'a>(sources: &Sources<'a>, id: Id) -> Result<Pairs<'a>, Error> {
    let inode = sources.tree.inode(id);
    if inode.layer == OWN {
        return Ok(Vec::new());
    }
    let index = sources.layers.get(inode.layer as usize);
    index.map_or_else(|| Ok(Vec::new()), |index| index.xattrs(inode.attributes.xattrs))
}

fn attributes<'p>(sources: &Sources<'_>, id: Id, pairs: &'p Pairs<'p>) -> Attributes<'p> {
    let of = sources.tree.inode(id).attributes;
    Attributes {
        mode: of.mode,
        uid: of.uid,
        gid: of.gid,
        mtime: of.mtime,
        number: sources.order.number(id),
        nlink: sources.order.links(id),
        xattrs: pairs,
    }
}

fn failed(cause: impl Into<crate::error::BoxError>) -> Error {
    Error::Build { what: "the tables of the squashfs", cause: cause.into() }
}
