//! The files of a disk in memory, the operations that change them, and their log.
//!
//! An operation is applied in one place, whether the kernel asks for it or a power cut is played:
//! what a disk holds after a cut is what the operations give that were not lost.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// Number of the directory at the top.
pub(super) const TOP: u64 = 1;

/// A file or directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) bytes: Vec<u8>,
    /// The names in it; only of directories.
    pub(super) names: Option<BTreeMap<OsString, u64>>,
    /// The text of a symbolic link.
    pub(super) link: Option<OsString>,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    /// Seconds and nanoseconds since 1970: last access and last change.
    pub(super) times: [(i64, u32); 2],
    pub(super) names_of_it: u32,
}

/// A change, or a promise that changes last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// A node with its name: file, directory or link.
    Make {
        node: u64,
        parent: u64,
        name: OsString,
        made: Box<Node>,
    },
    /// A file without a name.
    Begin {
        node: u64,
        made: Box<Node>,
    },
    Write {
        node: u64,
        at: u64,
        bytes: Vec<u8>,
    },
    Size {
        node: u64,
        size: u64,
    },
    Mode {
        node: u64,
        mode: u32,
    },
    Owner {
        node: u64,
        owner: (u32, u32),
    },
    Name {
        node: u64,
        parent: u64,
        name: OsString,
    },
    Rename {
        node: u64,
        from: u64,
        old: OsString,
        to: u64,
        new: OsString,
    },
    Remove {
        node: u64,
        parent: u64,
        name: OsString,
    },
    SyncFile {
        node: u64,
    },
    SyncDirectory {
        node: u64,
    },
    /// A word of the test's.
    Mark(String),
}

impl Op {
    /// The file whose sync makes it last.
    pub(super) const fn file(&self) -> Option<u64> {
        match self {
            Self::Write { node, .. }
            | Self::Size { node, .. }
            | Self::Mode { node, .. }
            | Self::Owner { node, .. } => Some(*node),
            _ => None,
        }
    }

    /// The directories of which one's sync makes it last.
    pub(super) const fn directories(&self) -> Option<[u64; 2]> {
        match self {
            Self::Make { parent, .. } | Self::Name { parent, .. } | Self::Remove { parent, .. } => {
                Some([*parent, *parent])
            }
            Self::Rename { from, to, .. } => Some([*to, *from]),
            _ => None,
        }
    }
}

/// All nodes of a disk.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) nodes: BTreeMap<u64, Node>,
    pub(super) next: u64,
}

impl Files {
    /// An empty directory of this owner.
    pub(super) fn new(owner: (u32, u32)) -> Self {
        let top = Node {
            names: Some(BTreeMap::new()),
            mode: 0o700,
            owner,
            names_of_it: 1,
            ..Node::default()
        };
        Self { nodes: BTreeMap::from([(TOP, top)]), next: TOP + 1 }
    }

    pub(super) fn find(&self, parent: u64, name: &OsString) -> Option<u64> {
        self.nodes.get(&parent)?.names.as_ref()?.get(name).copied()
    }

    fn names(&mut self, parent: u64) -> Option<&mut BTreeMap<OsString, u64>> {
        self.nodes.get_mut(&parent)?.names.as_mut()
    }

    fn count(&mut self, node: u64, more: bool) {
        if let Some(node) = self.nodes.get_mut(&node) {
            let count = node.names_of_it;
            node.names_of_it = if more { count + 1 } else { count.saturating_sub(1) };
        }
    }

    fn set_name(&mut self, parent: u64, name: &OsString, node: u64) {
        let before = self.names(parent).and_then(|names| names.insert(name.clone(), node));
        self.count(node, true);
        if let Some(before) = before {
            self.count(before, false);
        }
    }

    fn remove_name(&mut self, parent: u64, name: &OsString, node: u64) {
        if self.find(parent, name) == Some(node) {
            self.names(parent).and_then(|names| names.remove(name));
            self.count(node, false);
        }
    }

    /// Does an operation. One whose ground was lost with another does what is left of it.
    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Make { node, parent, name, made } => {
                self.keep(*node, made);
                self.set_name(*parent, name, *node);
            }
            Op::Begin { node, made } => self.keep(*node, made),
            Op::Write { node, at, bytes } => {
                if let Some(node) = self.nodes.get_mut(node) {
                    let at = usize::try_from(*at).expect("disks in memory are small");
                    let end = at + bytes.len();
                    if node.bytes.len() < end {
                        node.bytes.resize(end, 0);
                    }
                    node.bytes[at..end].copy_from_slice(bytes);
                }
            }
            Op::Size { node, size } => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.bytes.resize(usize::try_from(*size).unwrap_or(usize::MAX), 0);
                }
            }
            Op::Mode { node, mode } => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.mode = *mode;
                }
            }
            Op::Owner { node, owner } => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.owner = *owner;
                }
            }
            Op::Name { node, parent, name } => self.set_name(*parent, name, *node),
            Op::Rename { node, from, old, to, new } => {
                self.remove_name(*from, old, *node);
                self.set_name(*to, new, *node);
            }
            Op::Remove { node, parent, name } => self.remove_name(*parent, name, *node),
            Op::SyncFile { .. } | Op::SyncDirectory { .. } | Op::Mark(_) => {}
        }
    }

    /// Makes a node without a name, if it is not there.
    pub(super) fn keep(&mut self, node: u64, made: &Node) {
        self.nodes.entry(node).or_insert_with(|| made.clone());
        self.next = self.next.max(node + 1);
    }
}
