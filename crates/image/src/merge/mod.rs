//! The layers of an image become one tree, bottom to top.
//!
//! A pure function of the indexes. Entries are applied in the order of their tars, names resolved
//! in the tree as it is then; whiteouts and opaque directories act on names of lower layers only,
//! whatever the order within a layer. Rules and their ids: reliability, sections 4.1 to 4.5.
//! Not here: the tree itself ([`crate::tree`]); Orlop's own files ([`crate::singularity_d`]).

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use orlop_oci::digest::Digest;

use crate::error::{Error, Place, escaped};
use crate::limits::Limits;
use crate::names;
use crate::segment::{Attributes, Entry, Kind, SegmentIndex};
use crate::tree::{Astray, Content, Id, Inode, ROOT, Tree, View};

/// The tree of an image, and what a user may want to know.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) tree: Tree,
    pub(crate) warnings: Vec<String>,
}

/// Merges layers, the base first; `created` (Unix seconds) is the time of what no layer describes.
///
/// # Errors
/// [`Error::LayerInvalid`] for an entry that fits nowhere, [`Error::ImageLimit`],
/// [`Error::Damaged`].
pub(crate) fn merge(
    layers: &[&SegmentIndex],
    created: u32,
    limits: &Limits,
) -> Result<Merged, Error> {
    let counts = layers.iter().map(|index| index.entry_count());
    let seen = counts.fold(0, u64::saturating_add);
    let limit = limits.image_entries;
    if seen > limit {
        return Err(Error::ImageLimit { key: "image-entries", limit, seen });
    }
    let mut merged = Merged { tree: Tree::new(created), warnings: Vec::new() };
    for (number, index) in layers.iter().enumerate() {
        let mut layer = Layer {
            tree: &mut merged.tree,
            number: u32::try_from(number).unwrap_or(u32::MAX),
            hidden: Vec::new(),
            parent: None,
            self_links: 0,
        };
        let mut entries = index.entries();
        while let Some(entry) = entries.next()? {
            layer.apply(&entry).map_err(|fault| invalid(index.layer(), &entry, fault))?;
        }
        let self_links = layer.finish();
        if merged.tree.is_full() {
            return Err(Error::ImageLimit { key: "image-entries", limit, seen });
        }
        if self_links > 0 {
            let digest = index.layer();
            let text =
                format!("layer {digest}: {self_links} hard links to themselves were ignored");
            merged.warnings.push(text);
        }
    }
    Ok(merged)
}

fn invalid(layer: &Digest, entry: &Entry<'_>, fault: String) -> Error {
    let place = Place { layer: layer.clone(), entry: escaped(entry.path), offset: entry.offset };
    Error::LayerInvalid { place, fault }
}

fn astray(astray: Astray) -> String {
    match astray {
        Astray::NotDirectory => "a parent of it is no directory",
        Astray::LongName => "a directory on its way has a name of more than 255 bytes",
        Astray::Loop => "its path goes through more than 40 symbolic links",
    }
    .to_owned()
}

/// The layer under way.
struct Layer<'t> {
    tree: &'t mut Tree,
    number: u32,
    /// Names of AUFS's own, taken out at the end.
    hidden: Vec<(Id, Box<[u8]>)>,
    /// The parent of the entry before, as long as no name was taken away or changed its meaning.
    parent: Option<(Vec<u8>, Id)>,
    self_links: u64,
}

impl Layer<'_> {
    /// Applies an entry; an error is the fault to show.
    fn apply(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        match entry.kind {
            Kind::Whiteout => self.whiteout(entry.path),
            Kind::Opaque => self.opaque(entry.path),
            Kind::HardLink(target) => self.hard_link(entry.path, target),
            Kind::Directory => self.make_directory(entry.path, entry.attributes),
            Kind::File(file) => self.node(entry, file.into()),
            Kind::Symlink(target) => self.node(entry, Content::Symlink(target.into())),
            Kind::Char(major, minor) => self.node(entry, Content::Char(major, minor)),
            Kind::Block(major, minor) => self.node(entry, Content::Block(major, minor)),
            Kind::Fifo => self.node(entry, Content::Fifo),
        }
    }

    /// Ends the layer; gives the number of links to themselves.
    fn finish(mut self) -> u64 {
        for (parent, name) in std::mem::take(&mut self.hidden) {
            self.tree.remove(parent, &name);
        }
        self.tree.forget_gone();
        self.self_links
    }

    /// The directory that an entry goes into, made where it is missing (L41, L42, L47).
    fn parent(&mut self, path: &[u8]) -> Result<Id, String> {
        if let Some((known, id)) = &self.parent
            && known == path
        {
            return Ok(*id);
        }
        let made = self.tree.walk(path, View::Now, Some(self.number)).map_err(astray)?;
        let id = made.unwrap_or(ROOT);
        self.parent = Some((path.to_vec(), id));
        // A directory that AUFS keeps for itself is hidden even when only its content is named.
        if path.split(|&byte| byte == b'/').any(names::is_hidden) {
            self.hide_on_the_way(path);
        }
        Ok(id)
    }

    fn hide_on_the_way(&mut self, path: &[u8]) {
        let mut end = 0_usize;
        for component in path.split(|&byte| byte == b'/') {
            let before = path.get(..end.saturating_sub(1)).unwrap_or_default();
            if names::is_hidden(component)
                && let Ok(Some(parent)) = self.tree.walk(before, View::Now, None)
            {
                self.hidden.push((parent, component.into()));
            }
            end = end.saturating_add(component.len()).saturating_add(1);
        }
    }

    /// Puts an inode in its place; whatever was there is replaced (L17, L44).
    fn place(&mut self, parent: Id, name: &[u8], inode: Id) {
        if self.tree.dentry(parent, name).is_some() {
            self.parent = None;
        }
        if names::is_hidden(name) {
            self.hidden.push((parent, name.into()));
        }
        self.tree.put(parent, name, inode, self.number);
    }

    fn node(&mut self, entry: &Entry<'_>, content: Content) -> Result<(), String> {
        let (parent, name) = names::split(entry.path);
        let parent = self.parent(parent)?;
        let attributes = entry.attributes;
        let inode = self.tree.add(Inode { attributes, layer: self.number, content });
        self.place(parent, name, inode);
        Ok(())
    }

    /// A directory over a directory changes its attributes (L46), over anything else replaces it.
    fn make_directory(&mut self, path: &[u8], mut attributes: Attributes) -> Result<(), String> {
        if path.is_empty() {
            attributes.mode |= 0o200;
            self.tree.set_attributes(ROOT, attributes, self.number);
            return Ok(());
        }
        let (parent, name) = names::split(path);
        let parent = self.parent(parent)?;
        let known = self.tree.dentry(parent, name).map(|dentry| dentry.inode);
        match known.filter(|&id| self.tree.directory(id).is_some()) {
            Some(id) => {
                self.tree.set_attributes(id, attributes, self.number);
                self.tree.put(parent, name, id, self.number);
            }
            None => {
                let id = self.tree.add_directory(attributes, self.number);
                self.place(parent, name, id);
            }
        }
        Ok(())
    }

    /// L27 to L37: a second name for what the target is; of what this layer removed, too.
    fn hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), String> {
        let found = match self.find(target, View::Now)? {
            None => self.find(target, View::Before)?,
            found => found,
        };
        let shown = || escaped(target);
        let inode =
            found.ok_or_else(|| format!("a hard link to \"{}\", which is not there", shown()))?;
        if self.tree.directory(inode).is_some() {
            return Err(format!("a hard link to the directory \"{}\"", shown()));
        }
        let (parent, name) = names::split(path);
        let parent = self.parent(parent)?;
        if self.tree.dentry(parent, name).is_some_and(|dentry| dentry.inode == inode) {
            self.self_links = self.self_links.saturating_add(u64::from(path == target));
        }
        self.place(parent, name, inode);
        Ok(())
    }

    fn find(&mut self, path: &[u8], view: View) -> Result<Option<Id>, String> {
        let (parent, name) = names::split(path);
        match self.tree.walk(parent, view, None) {
            Ok(Some(parent)) => Ok(self.tree.lookup(parent, name, view)),
            Ok(None) | Err(Astray::NotDirectory) => Ok(None),
            Err(other) => Err(astray(other)),
        }
    }

    fn whiteout(&mut self, path: &[u8]) -> Result<(), String> {
        let (parent, name) = names::split(path);
        if let Some(parent) = self.existing(parent)? {
            self.parent = None;
            self.tree.whiteout(parent, name, self.number);
        }
        Ok(())
    }

    fn opaque(&mut self, path: &[u8]) -> Result<(), String> {
        if let Some(directory) = self.existing(path)? {
            self.parent = None;
            self.tree.clear(directory, self.number);
        }
        Ok(())
    }

    /// The directory a whiteout lies in; none where there is nothing to remove (L59, L63).
    fn existing(&mut self, path: &[u8]) -> Result<Option<Id>, String> {
        match self.tree.walk(path, View::Now, None) {
            Err(Astray::NotDirectory) => Ok(None),
            other => other.map_err(astray),
        }
    }
}
