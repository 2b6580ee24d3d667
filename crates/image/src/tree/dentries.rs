//! All names of a tree: found by directory and name, and chained by directory.
//!
//! A layer may have millions of names, in one directory or in many, in any order. One takes 20
//! bytes here, 5 to 10 of a hash table, and its own length; looking it up costs the same whatever
//! the directory's size. Nothing is ever moved or given back: a name that went stays where it was,
//! unseen. The table's hash is keyed at random, for names are foreign; no order comes from it.
//! Not here: inodes ([`super::Tree`]).

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use hashbrown::HashTable;

use super::Id;

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dentry {
    pub(crate) inode: Id,
    /// The layer that set the name last.
    pub(crate) layer: u32,
}

/// Place of a name among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

/// The names of one directory: the one that was added last, and how many are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    last: u32,
    pub(super) count: u32,
}

impl Default for Chain {
    fn default() -> Self {
        Self { last: NONE, count: 0 }
    }
}

/// No name; no inode any more.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Name {
    directory: Id,
    /// [`NONE`] once the name went.
    inode: Id,
    layer: u32,
    /// Where its length, one byte, and its bytes are.
    at: u32,
    /// The name of the same directory that was added before.
    before: u32,
}

/// All names.
#[derive(Clone, Debug, Default)]
pub(super) struct Dentries {
    names: Vec<Name>,
    bytes: Vec<u8>,
    table: HashTable<u32>,
    hasher: RandomState,
}

impl Dentries {
    pub(super) fn find(&self, directory: Id, name: &[u8]) -> Option<Dentry> {
        let number = *self.table.find(self.hash(directory, name), self.is(directory, name))?;
        let found = self.names.get(number as usize)?;
        Some(Dentry { inode: found.inode, layer: found.layer })
    }

    /// Sets what a name stands for; false where there is no room for more names, whose bytes are
    /// counted in 32 bits.
    pub(super) fn put(
        &mut self,
        directory: Id,
        chain: &mut Chain,
        name: &[u8],
        dentry: Dentry,
    ) -> bool {
        let hash = self.hash(directory, name);
        if let Some(&number) = self.table.find(hash, self.is(directory, name)) {
            if let Some(known) = self.names.get_mut(number as usize) {
                (known.inode, known.layer) = (dentry.inode, dentry.layer);
            }
            return true;
        }
        let (at, number) = (u32::try_from(self.bytes.len()), u32::try_from(self.names.len()));
        let (Ok(at), Ok(number), Ok(length)) = (at, number, u8::try_from(name.len())) else {
            return false;
        };
        if number == NONE {
            return false;
        }
        self.bytes.push(length);
        self.bytes.extend_from_slice(name);
        let Dentry { inode, layer } = dentry;
        self.names.push(Name { directory, inode, layer, at, before: chain.last });
        *chain = Chain { last: number, count: chain.count.saturating_add(1) };
        let Self { names, bytes, table, hasher } = self;
        let rehash = |number: &u32| match names.get(*number as usize) {
            Some(name) => hash_of(hasher, name.directory, bytes_of(bytes, name)),
            None => 0,
        };
        table.insert_unique(hash, number, rehash);
        true
    }

    /// Takes a name away.
    pub(super) fn remove(&mut self, directory: Id, chain: &mut Chain, name: &[u8]) {
        let hash = self.hash(directory, name);
        let (names, bytes) = (&mut self.names, &self.bytes);
        let is = |number: &u32| is(names, bytes, *number, directory, name);
        let Ok(found) = self.table.find_entry(hash, is) else { return };
        let (number, _) = found.remove();
        if let Some(known) = names.get_mut(number as usize) {
            known.inode = NONE;
        }
        chain.count = chain.count.saturating_sub(1);
    }

    /// The names of a chain that are seen, in no order that means anything.
    pub(super) fn slots(&self, chain: Chain) -> impl Iterator<Item = Slot> {
        let at = |number: u32| self.names.get(number as usize).map(|name| (number, name));
        let all = std::iter::successors(at(chain.last), move |(_, name)| at(name.before));
        all.filter(|(_, name)| name.inode != NONE).map(|(number, _)| Slot(number))
    }

    /// A name, and what it stands for.
    pub(super) fn get(&self, slot: Slot) -> (&[u8], Dentry) {
        match self.names.get(slot.0 as usize) {
            Some(name) => {
                let dentry = Dentry { inode: name.inode, layer: name.layer };
                (bytes_of(&self.bytes, name), dentry)
            }
            None => (&[], Dentry { inode: super::ROOT, layer: super::OWN }),
        }
    }

    fn hash(&self, directory: Id, name: &[u8]) -> u64 {
        hash_of(&self.hasher, directory, name)
    }

    fn is(&self, directory: Id, name: &[u8]) -> impl Fn(&u32) -> bool {
        move |number| is(&self.names, &self.bytes, *number, directory, name)
    }
}

fn hash_of(hasher: &RandomState, directory: Id, name: &[u8]) -> u64 {
    let mut hash = hasher.build_hasher();
    hash.write_u32(directory);
    hash.write(name);
    hash.finish()
}

fn is(names: &[Name], bytes: &[u8], number: u32, directory: Id, name: &[u8]) -> bool {
    let found = names.get(number as usize);
    found.is_some_and(|found| found.directory == directory && bytes_of(bytes, found) == name)
}

fn bytes_of<'b>(bytes: &'b [u8], name: &Name) -> &'b [u8] {
    let rest = bytes.get(name.at as usize..).unwrap_or_default();
    let Some((&length, rest)) = rest.split_first() else { return &[] };
    rest.get(..length.into()).unwrap_or_default()
}
