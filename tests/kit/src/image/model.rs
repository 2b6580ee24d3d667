//! What layers make together, slowly: a map from whole paths to what is there.
//!
//! OCI image specification, "Image Layer Filesystem Changeset", and the table of odd layers: an
//! entry is put where its path leads in the tree as it is then, symbolic links resolved inside it;
//! whiteouts and opaque directories act on what lower layers set, whatever the order in a layer.
//! Nothing is shared with Orlop's own merge. Not here: layers at random ([`super::chances`]).

use super::chances::Step;
use std::collections::BTreeMap;

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// `file 644 x`, `dir 755`, `-> target` or `fifo`.
    pub words: String,
    /// The user.
    pub uid: u64,
    /// Seconds since 1970; none for a directory that no layer describes.
    pub time: Option<u64>,
    /// The same for all names of one file.
    pub number: u64,
    layer: usize,
}

/// The layer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// Where a path ends: nothing there, a file in the way, a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Astray {
    Missing,
    NotDirectory,
    Loop,
}

/// The tree so far.
#[derive(Clone, Debug, Default)]
pub struct Model {
    tree: BTreeMap<String, Item>,
    /// What the whiteouts of the layer under way removed.
    removed: BTreeMap<String, Item>,
    layer: usize,
    numbers: u64,
}

fn is_below(path: &str, top: &str) -> bool {
    top.is_empty() || path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'))
}

fn joined(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") }
}

/// A path without `.`, `..` and empty parts, by its text alone.
fn clean(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts
}

impl Model {
    /// Begins a layer on top.
    pub fn begin(&mut self) {
        self.removed.clear();
        self.layer += 1;
    }

    /// By path, what the layers so far make.
    #[must_use]
    pub fn tree(&self) -> &BTreeMap<String, Item> {
        &self.tree
    }

    /// What a layer makes of all layers below it.
    ///
    /// # Errors
    /// [`Refused`]: one of the entries fits nowhere.
    pub fn of(layers: &[Vec<Step>]) -> Result<Self, Refused> {
        let mut model = Self::default();
        for layer in layers {
            model.begin();
            for step in layer {
                model.apply(step)?;
            }
        }
        Ok(model)
    }

    fn at(&self, path: &str, before: bool) -> Option<&Item> {
        let gone = self.removed.get(path).filter(|_| before);
        gone.or_else(|| self.tree.get(path))
    }

    /// The real path of the directory that these parts lead to.
    fn walk(&self, parts: &[&str], before: bool) -> Result<String, (Astray, String)> {
        let mut here = String::new();
        let mut left: Vec<String> = parts.iter().rev().map(|&part| part.to_owned()).collect();
        let mut hops = 0;
        while let Some(part) = left.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    here = here.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
                    continue;
                }
                _ => {}
            }
            let path = joined(&here, &part);
            let Some(item) = self.at(&path, before) else {
                left.push(part);
                left.reverse();
                return Err((Astray::Missing, joined(&here, &left.join("/"))));
            };
            if let Some(target) = item.words.strip_prefix("-> ") {
                hops += 1;
                if hops > 40 {
                    return Err((Astray::Loop, path));
                }
                if target.starts_with('/') {
                    here.clear();
                }
                left.extend(target.split('/').rev().map(str::to_owned));
            } else if item.words.starts_with("dir") {
                here = path;
            } else {
                return Err((Astray::NotDirectory, path));
            }
        }
        Ok(here)
    }

    /// The directory that an entry goes into; what is missing on the way is made.
    fn parent(&mut self, parts: &[&str]) -> Result<String, Refused> {
        loop {
            match self.walk(parts, false) {
                Ok(path) => return Ok(path),
                Err((Astray::Missing, path)) => {
                    // The first missing part; what follows may be missing too.
                    let known = |path: &str| self.tree.contains_key(path);
                    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
                    let first = ends.map(|end| &path[..end]).find(|path| !known(path));
                    let first = first.ok_or(Refused)?.to_owned();
                    self.put(&first, "dir 755".to_owned(), 0, None);
                }
                Err(_) => return Err(Refused),
            }
        }
    }

    fn put(&mut self, path: &str, words: String, uid: u64, time: Option<u64>) {
        self.numbers += 1;
        let item = Item { words, uid, time, number: self.numbers, layer: self.layer };
        self.put_item(path, item);
    }

    fn put_item(&mut self, path: &str, item: Item) {
        // With a directory that is replaced, what was removed from it can be linked to no more.
        let gone = |known: &str| known == path || is_below(path, known);
        if !self.removed.keys().any(|known| gone(known)) {
            self.removed.retain(|known, _| !is_below(known, path));
        }
        self.tree.retain(|known, _| !is_below(known, path));
        self.tree.insert(path.to_owned(), item);
    }

    /// Takes away what lower layers set at and below a path.
    fn remove(&mut self, top: &str, itself: bool) {
        let layer = self.layer;
        let mine: Vec<String> = self
            .tree
            .iter()
            .filter(|(_, item)| item.layer == layer)
            .map(|(path, _)| path.clone())
            .collect();
        let removed = &mut self.removed;
        self.tree.retain(|path, item| {
            let goes = is_below(path, top) || itself && path == top;
            if !goes || item.layer == layer {
                return true;
            }
            // A directory that holds something of this layer is as if this layer had made it.
            if mine.iter().any(|one| is_below(one, path)) {
                *item = Item { words: "dir 755".into(), uid: 0, time: None, layer, ..item.clone() };
                return true;
            }
            removed.insert(path.clone(), item.clone());
            false
        });
    }

    /// Applies an entry of the layer under way.
    ///
    /// # Errors
    /// [`Refused`]: it fits nowhere.
    pub fn apply(&mut self, step: &Step) -> Result<(), Refused> {
        let (Step::File(path, ..)
        | Step::Directory(path, ..)
        | Step::Symlink(path, _)
        | Step::Link(path, _)
        | Step::Fifo(path)
        | Step::Whiteout(path)
        | Step::Opaque(path)) = step;
        let parts = clean(path);
        let Some((name, above)) = parts.split_last() else { return Err(Refused) };
        match step {
            Step::Whiteout(_) => match self.walk(above, false) {
                Ok(parent) => {
                    let path = joined(&parent, name);
                    if self.tree.contains_key(&path) {
                        self.remove(&path, true);
                    }
                }
                Err((Astray::Loop, _)) => return Err(Refused),
                Err(_) => {}
            },
            Step::Opaque(_) => match self.walk(&parts, false) {
                Ok(path) => self.remove(&path, false),
                Err((Astray::Loop, _)) => return Err(Refused),
                Err(_) => {}
            },
            Step::Link(_, target) => {
                let item = self.target(target)?;
                let path = joined(&self.parent(above)?, name);
                self.put_item(&path, Item { layer: self.layer, ..item });
            }
            Step::Directory(_, mode, uid, time) => {
                let path = joined(&self.parent(above)?, name);
                let words = format!("dir {mode:o}");
                let layer = self.layer;
                match self.tree.get_mut(&path).filter(|item| item.words.starts_with("dir")) {
                    Some(item) => {
                        (item.words, item.uid, item.time) = (words, *uid, Some(*time));
                        item.layer = layer;
                    }
                    None => self.put(&path, words, *uid, Some(*time)),
                }
            }
            Step::File(_, content, mode, uid, time) => {
                let path = joined(&self.parent(above)?, name);
                let words = format!("file {mode:o} {}", char::from(*content));
                self.put(&path, words, *uid, Some(*time));
            }
            Step::Symlink(_, target) => {
                let path = joined(&self.parent(above)?, name);
                self.put(&path, format!("-> {target}"), 0, Some(0));
            }
            Step::Fifo(_) => {
                let path = joined(&self.parent(above)?, name);
                self.put(&path, "fifo".to_owned(), 0, Some(0));
            }
        }
        Ok(())
    }

    /// What a hard link leads to: what is there, else what the layer removed.
    fn target(&self, target: &str) -> Result<Item, Refused> {
        let parts = clean(target);
        let Some((name, above)) = parts.split_last() else { return Err(Refused) };
        for before in [false, true] {
            match self.walk(above, before) {
                Ok(parent) => {
                    if let Some(item) = self.at(&joined(&parent, name), before) {
                        let is_directory = item.words.starts_with("dir");
                        return if is_directory { Err(Refused) } else { Ok(item.clone()) };
                    }
                }
                Err((Astray::Loop, _)) => return Err(Refused),
                Err(_) => {}
            }
        }
        Err(Refused)
    }

    /// Whether all unpackers take a step alike here: what is removed is there, and a hard link
    /// leads to something that is left and is not itself.
    #[must_use]
    pub fn is_agreed(&self, step: &Step) -> bool {
        match step {
            Step::Whiteout(path) => {
                let parts = clean(path);
                let Some((name, above)) = parts.split_last() else { return false };
                let parent = self.walk(above, false);
                parent.is_ok_and(|parent| self.tree.contains_key(&joined(&parent, name)))
            }
            Step::Opaque(path) => {
                let parts = clean(path);
                self.walk(&parts, false).is_ok_and(|real| real == parts.join("/"))
            }
            Step::Link(path, target) => {
                let mut alone = self.clone();
                alone.removed.clear();
                let Ok(item) = alone.target(target) else { return false };
                alone.apply(&Step::Link(path.clone(), target.clone())).is_ok()
                    && self.is_no_name_of(path, &item)
            }
            _ => true,
        }
    }

    /// Whether a path is no name of this file yet, nor a directory with one below it.
    fn is_no_name_of(&self, path: &str, item: &Item) -> bool {
        let parts = clean(path);
        let Some((name, above)) = parts.split_last() else { return false };
        let Ok(parent) = self.walk(above, false) else { return true };
        let real = joined(&parent, name);
        let mut names = self.tree.iter().filter(|(_, one)| one.number == item.number);
        !names.any(|(at, _)| *at == real || is_below(at, &real))
    }
}
