//! A file tree in memory: names, the inodes they stand for, and the way along a path.
//!
//! Symbolic links are followed in this tree and nowhere else: an absolute target starts at its
//! root, `..` stops there, more than 40 links are a loop. Each name remembers the layer that set
//! it last, because whiteouts act on names of lower layers only. Nothing here recurses, so depth
//! costs no stack. Not here: what an entry of a layer means ([`crate::merge`]).

mod dentries;

use std::collections::BTreeMap;

use crate::limits::Limits;
use crate::segment::{Attributes, FileData};
use dentries::{Chain, Dentries};
pub(crate) use dentries::{Dentry, Slot};

/// Place of an inode in [`Tree`].
pub(crate) type Id = u32;

/// The root directory.
pub(crate) const ROOT: Id = 0;

/// What stands for a layer where there is none: attributes, names and content of Orlop's own.
pub(crate) const OWN: u32 = u32::MAX;

/// A directory, whose names the tree has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directory {
    names: Chain,
    parent: Id,
    /// The layer that removed all lower names in here, plus one.
    cleared: u32,
}

impl Directory {
    /// True when it has no name.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.count == 0
    }
}

/// A regular file's [`FileData`] in fewer bytes: how many blocks it has follows from its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FilePlace {
    size: u64,
    /// Number of the fragment, or position of the first block.
    at: u32,
    /// Offset in the fragment, or [`IN_BLOCKS`].
    offset: u32,
}

/// The offset in no fragment: blocks are smaller.
const IN_BLOCKS: u32 = u32::MAX;

impl FilePlace {
    fn of(file: &FileData) -> Self {
        let (at, offset) = file.fragment.unwrap_or((file.first, IN_BLOCKS));
        Self { size: file.size, at, offset }
    }

    /// All of it, for blocks of so many bytes.
    pub(crate) fn data(self, block_size: u32) -> FileData {
        let file = FileData { size: self.size, ..FileData::default() };
        if self.offset != IN_BLOCKS {
            return FileData { fragment: Some((self.at, self.offset)), ..file };
        }
        let blocks = self.size.div_ceil(u64::from(block_size.max(1)));
        FileData { first: self.at, blocks: u32::try_from(blocks).unwrap_or(u32::MAX), ..file }
    }
}

impl From<FileData> for Content {
    fn from(file: FileData) -> Self {
        Self::File(FilePlace::of(&file))
    }
}

/// What an inode is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Directory(Directory),
    File(FilePlace),
    /// One of Orlop's own files, by its number.
    Own(u32),
    Symlink(Box<[u8]>),
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
}

/// A file of any type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    pub(crate) attributes: Attributes,
    /// Whose xattr sets and blocks are meant.
    pub(crate) layer: u32,
    pub(crate) content: Content,
}

/// Why a path leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Astray {
    /// A component is neither a directory nor a symbolic link.
    NotDirectory,
    /// More symbolic links than Linux follows.
    Loop,
    /// A directory would have to be made whose name no file system takes.
    LongName,
}

/// Which names count on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// Those that are there.
    Now,
    /// First those that the layer under way removed.
    Before,
}

/// The tree.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    inodes: Vec<Inode>,
    dentries: Dentries,
    /// A name found no room.
    is_full: bool,
    /// Attributes of directories that nobody described.
    implied: Attributes,
    /// Names that the layer under way removed, by directory.
    gone: BTreeMap<Id, BTreeMap<Box<[u8]>, Id>>,
}

impl Tree {
    /// An empty root directory; `time` is given to directories that nobody describes.
    pub(crate) fn new(time: u32) -> Self {
        let implied = Attributes { mode: 0o755, mtime: time, ..Attributes::default() };
        let content = Content::Directory(Directory::default());
        let root = Inode { attributes: implied, layer: OWN, content };
        let (dentries, gone) = (Dentries::default(), BTreeMap::new());
        Self { inodes: vec![root], dentries, is_full: false, implied, gone }
    }

    /// Number of inodes, those without a name included.
    pub(crate) fn len(&self) -> usize {
        self.inodes.len()
    }

    /// All inodes in the order of their ids, those without a name included.
    pub(crate) fn inodes(&self) -> &[Inode] {
        &self.inodes
    }

    /// Attributes of directories that nobody describes.
    pub(crate) fn implied(&self) -> Attributes {
        self.implied
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "ids are made by this tree alone and never removed"
    )]
    pub(crate) fn inode(&self, id: Id) -> &Inode {
        &self.inodes[id as usize]
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "ids are made by this tree alone and never removed"
    )]
    fn inode_mut(&mut self, id: Id) -> &mut Inode {
        &mut self.inodes[id as usize]
    }

    pub(crate) fn directory(&self, id: Id) -> Option<&Directory> {
        match &self.inode(id).content {
            Content::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    fn directory_mut(&mut self, id: Id) -> Option<&mut Directory> {
        match &mut self.inode_mut(id).content {
            Content::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    pub(crate) fn dentry(&self, directory: Id, name: &[u8]) -> Option<Dentry> {
        self.dentries.find(directory, name)
    }

    /// The names in a directory in ascending byte order.
    pub(crate) fn listing(&self, id: Id) -> Vec<Slot> {
        let mut slots: Vec<Slot> = self.slots(id).collect();
        slots.sort_unstable_by(|one, other| self.name(*one).0.cmp(self.name(*other).0));
        slots
    }

    /// A name, and what it stands for.
    pub(crate) fn name(&self, slot: Slot) -> (&[u8], Dentry) {
        self.dentries.get(slot)
    }

    fn slots(&self, id: Id) -> impl Iterator<Item = Slot> {
        let chain = self.directory(id).map(|directory| directory.names).unwrap_or_default();
        self.dentries.slots(chain)
    }

    /// True when a name found no room: there are more of them than can be counted.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Changes a directory's attributes.
    pub(crate) fn set_attributes(&mut self, id: Id, attributes: Attributes, layer: u32) {
        let inode = self.inode_mut(id);
        (inode.attributes, inode.layer) = (attributes, layer);
    }

    /// Adds an inode without a name.
    pub(crate) fn add(&mut self, inode: Inode) -> Id {
        let id = u32::try_from(self.inodes.len()).unwrap_or(u32::MAX);
        self.inodes.push(inode);
        id
    }

    /// Puts an inode under a name; what was there before is no longer reached by this name.
    pub(crate) fn put(&mut self, parent: Id, name: &[u8], inode: Id, layer: u32) {
        if let Some(directory) = self.directory_mut(inode) {
            directory.parent = parent;
        }
        let Some(mut chain) = self.directory(parent).map(|directory| directory.names) else {
            return;
        };
        let has_room = self.dentries.put(parent, &mut chain, name, Dentry { inode, layer });
        self.is_full |= !has_room;
        self.set_chain(parent, chain);
    }

    fn set_chain(&mut self, directory: Id, chain: Chain) {
        if let Some(directory) = self.directory_mut(directory) {
            directory.names = chain;
        }
    }

    /// Adds a directory without a name.
    pub(crate) fn add_directory(&mut self, attributes: Attributes, layer: u32) -> Id {
        let content = Content::Directory(Directory::default());
        self.add(Inode { attributes, layer, content })
    }

    /// Makes a directory that nobody describes under a name.
    pub(crate) fn make_directory(&mut self, parent: Id, name: &[u8], layer: u32) -> Id {
        let id = self.add_directory(self.implied, OWN);
        self.put(parent, name, id, layer);
        id
    }

    /// Takes a name away; nobody finds it any more.
    pub(crate) fn remove(&mut self, parent: Id, name: &[u8]) {
        if let Some(mut chain) = self.directory(parent).map(|directory| directory.names) {
            self.dentries.remove(parent, &mut chain, name);
            self.set_chain(parent, chain);
        }
    }

    /// Finds the directory at a path, symbolic links followed; with `make`, directories that are
    /// missing are made in that layer's name.
    pub(crate) fn walk(
        &mut self,
        path: &[u8],
        view: View,
        make: Option<u32>,
    ) -> Result<Option<Id>, Astray> {
        let found = self.follow(path, view, make)?;
        if found.is_some_and(|id| self.directory(id).is_none()) {
            return Err(Astray::NotDirectory);
        }
        Ok(found)
    }

    /// Finds what is at a path, symbolic links followed, a last one too.
    pub(crate) fn follow(
        &mut self,
        path: &[u8],
        view: View,
        make: Option<u32>,
    ) -> Result<Option<Id>, Astray> {
        let mut here = ROOT;
        let mut hops = 0_u32;
        let mut pending = path.to_vec();
        let mut at = 0_usize;
        while at < pending.len() {
            let rest = pending.get(at..).unwrap_or_default();
            let length = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
            let (name, _) = rest.split_at(length);
            at = at.saturating_add(length).saturating_add(1);
            let next = match name {
                b"" | b"." => continue,
                b".." => {
                    here = self.directory(here).map_or(ROOT, |directory| directory.parent);
                    continue;
                }
                name => match (self.lookup(here, name, view), make) {
                    (Some(next), _) => next,
                    (None, None) => return Ok(None),
                    (None, Some(_)) if name.len() > Limits::NAME_BYTES => {
                        return Err(Astray::LongName);
                    }
                    (None, Some(layer)) => self.make_directory(here, name, layer),
                },
            };
            match &self.inode(next).content {
                Content::Directory(_) => here = next,
                Content::Symlink(target) => {
                    hops = hops.saturating_add(1);
                    if hops > Limits::HOPS {
                        return Err(Astray::Loop);
                    }
                    if target.first() == Some(&b'/') {
                        here = ROOT;
                    }
                    let rest = pending.get(at..).unwrap_or_default();
                    pending = [target, b"/".as_slice(), rest].concat();
                    at = 0;
                }
                _ if pending.get(at..).unwrap_or_default().iter().all(|&byte| byte == b'/') => {
                    return Ok(Some(next));
                }
                _ => return Err(Astray::NotDirectory),
            }
        }
        Ok(Some(here))
    }

    /// The inode of a name in a directory.
    pub(crate) fn lookup(&self, directory: Id, name: &[u8], view: View) -> Option<Id> {
        let now = || self.dentry(directory, name).map(|dentry| dentry.inode);
        match view {
            View::Now => now(),
            View::Before => {
                let gone = self.gone.get(&directory).and_then(|names| names.get(name)).copied();
                gone.or_else(now)
            }
        }
    }

    /// Removes a name and all below it, as far as lower layers than `layer` set them.
    pub(crate) fn whiteout(&mut self, parent: Id, name: &[u8], layer: u32) {
        let Some(dentry) = self.dentry(parent, name) else { return };
        self.clear(dentry.inode, layer);
        if dentry.layer == layer {
            return;
        }
        if self.directory(dentry.inode).is_some_and(|directory| !directory.is_empty()) {
            self.adopt(parent, name, dentry.inode, layer);
            return;
        }
        self.remove(parent, name);
        self.gone.entry(parent).or_default().insert(name.into(), dentry.inode);
    }

    /// A directory of a lower layer that is gone but for what `layer` put into it: as if `layer`
    /// had made it without describing it.
    fn adopt(&mut self, parent: Id, name: &[u8], inode: Id, layer: u32) {
        self.set_attributes(inode, self.implied, OWN);
        self.put(parent, name, inode, layer);
    }

    /// Removes from a directory and from all below it the names that lower layers set.
    pub(crate) fn clear(&mut self, top: Id, layer: u32) {
        let done = layer.saturating_add(1);
        let mut order = vec![top];
        let mut next = 0;
        while let Some(&id) = order.get(next) {
            next = next.saturating_add(1);
            // What was cleared holds names of this layer only, all the way down.
            if self.directory(id).is_some_and(|found| found.cleared != done) {
                let children = self.slots(id).map(|slot| self.name(slot).1.inode);
                order.extend(children.filter(|&child| self.directory(child).is_some()));
            }
        }
        for &id in order.iter().rev() {
            let Some(directory) = self.directory_mut(id).filter(|found| found.cleared != done)
            else {
                continue;
            };
            directory.cleared = done;
            let names: Vec<Slot> = self.slots(id).collect();
            for slot in names {
                let (name, dentry) = self.name(slot);
                if dentry.layer == layer {
                    continue;
                }
                let name: Box<[u8]> = name.into();
                if self.directory(dentry.inode).is_some_and(|found| !found.is_empty()) {
                    self.adopt(id, &name, dentry.inode, layer);
                } else {
                    self.remove(id, &name);
                    self.gone.entry(id).or_default().insert(name, dentry.inode);
                }
            }
            // What went is not walked past again.
            if let Some(directory) = self.directory_mut(id).filter(|found| found.is_empty()) {
                directory.names = Chain::default();
            }
        }
    }

    /// Ends a layer: what it removed can no longer be linked to.
    pub(crate) fn forget_gone(&mut self) {
        self.gone.clear();
    }
}
