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
use crate::tree::{Content, Dentry, Id, Inode, OWN, ROOT, Slot, Tree};

/// What of the tree can be reached, in the order of writing.
#[derive(Debug)]
pub(super) struct Order {
    /// Directories and their parents, each before all below it.
    directories: Vec<(Id, Id)>,
    /// The names of all of them one behind the other, each directory's in ascending order.
    names: Vec<Slot>,
    /// By directory: where its names end in `names`.
    ends: Vec<usize>,
    /// By inode: its number, 0 where no name is left.
    numbers: Vec<u32>,
    /// By inode: names of a file, 2 and subdirectories of a directory.
    links: Vec<u32>,
}

impl Order {
    pub(super) fn of(tree: &Tree) -> Result<Self, Error> {
        let mut order = Self {
            directories: vec![(ROOT, ROOT)],
            names: Vec::new(),
            ends: Vec::new(),
            numbers: vec![0; tree.len()],
            links: vec![0; tree.len()],
        };
        let mut next = 0;
        while let Some(&(id, _)) = order.directories.get(next) {
            next = next.saturating_add(1);
            let mut names = tree.listing(id);
            let below = names.iter().map(|&slot| tree.name(slot).1.inode);
            let below = below.filter(|&inode| tree.directory(inode).is_some());
            order.directories.extend(below.map(|child| (child, id)));
            order.names.append(&mut names);
            order.ends.push(order.names.len());
        }
        let owners = order.number_all(tree);
        if owners.len() > Limits::IDS {
            let (limit, seen) = (Limits::IDS as u64, owners.len() as u64);
            return Err(Error::ImageLimit { key: "ids", limit, seen });
        }
        Ok(order)
    }

    /// Gives the inodes their numbers and counts their names; also gives all owners and groups.
    fn number_all(&mut self, tree: &Tree) -> BTreeSet<u32> {
        let mut owners = BTreeSet::new();
        let mut last = 0_u32;
        for (position, &(id, _)) in self.directories.iter().enumerate().rev() {
            let mut subdirectories = 0_u32;
            for inode in names_of(&self.names, &self.ends, tree, position).chain([id]) {
                if inode != id && tree.directory(inode).is_some() {
                    subdirectories = subdirectories.saturating_add(1);
                    continue;
                }
                let at = inode as usize;
                if let Some(links) = self.links.get_mut(at) {
                    *links = links.saturating_add(1);
                }
                if let Some(of) = self.numbers.get_mut(at).filter(|of| **of == 0) {
                    last = last.saturating_add(1);
                    *of = last;
                    let attributes = &tree.inode(inode).attributes;
                    owners.extend([attributes.uid, attributes.gid]);
                }
            }
            if let Some(links) = self.links.get_mut(id as usize) {
                *links = subdirectories.saturating_add(2);
            }
        }
        owners
    }

    /// The names of the directory at `position` of the order.
    fn names(&self, position: usize) -> &[Slot] {
        listed(&self.names, &self.ends, position)
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

fn listed<'o>(names: &'o [Slot], ends: &[usize], position: usize) -> &'o [Slot] {
    let start = position.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
    let end = ends.get(position).copied().unwrap_or(start);
    names.get(start..end).unwrap_or_default()
}

fn names_of<'o>(
    names: &'o [Slot],
    ends: &[usize],
    tree: &'o Tree,
    position: usize,
) -> impl Iterator<Item = Id> {
    listed(names, ends, position).iter().map(|&slot| tree.name(slot).1.inode)
}

/// Where the blocks of all layers and of Orlop's own files lie.
#[derive(Debug)]
pub(super) struct Places<'a> {
    /// Bytes of a block.
    pub(super) block_size: u32,
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
            let file = file.data(places.block_size);
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
    for (position, &(id, parent)) in order.directories.iter().enumerate().rev() {
        let names = order.names(position);
        let mut nodes: Vec<Node> = Vec::with_capacity(names.len());
        for (_, Dentry { inode, .. }) in names.iter().map(|&slot| tree.name(slot)) {
            // A directory has one name, and is not asked for again.
            let is_directory = tree.directory(inode).is_some();
            let made = if is_directory { known.remove(&inode) } else { known.get(&inode).copied() };
            let node = match made {
                Some(node) => node,
                None => add(&mut writer, sources, places, inode)?,
            };
            if !is_directory && order.links(inode) > 1 {
                known.insert(inode, node);
            }
            nodes.push(node);
        }
        let pairs = xattrs(sources, id)?;
        let attributes = attributes(sources, id, &pairs);
        let parent = order.number(parent);
        let entries = names.iter().map(|&slot| tree.name(slot).0).zip(nodes);
        let node = writer.add_directory(&attributes, parent, entries).map_err(failed)?;
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
            // A link has no mode of its own: file systems show it so, whatever its header said.
            let attributes = Attributes { mode: 0o777, ..attributes };
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
