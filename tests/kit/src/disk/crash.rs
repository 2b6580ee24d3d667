//! Power cuts: what a disk may hold after one, from the log of what was done to it.
//!
//! What a sync of a file, or of a directory for its names, covered before the cut is there. Of the
//! rest, each of: nothing, all, all but one, some by chance, and sizes without their bytes.

use super::files::{Files, Node, Op, TOP};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The log of a disk.
#[derive(Clone, Debug)]
pub struct WriteLog {
    pub(super) owner: (u32, u32),
    pub(super) ops: Vec<Op>,
}

/// What becomes of changes that no sync covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// They are all there, as when the machine goes on.
    Nothing,
    /// None of them is there.
    All,
    /// One is lost: that of this number, counted from the newest.
    One(usize),
    /// Files have their sizes and zeros for bytes.
    Bytes,
    /// Each is lost or not, by chance that comes again with the seed.
    Some(u64),
}

impl WriteLog {
    /// How many operations there are: a cut may come after any number of them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether nothing was done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Whether this word of [`super::Disk::mark`] was said before the cut.
    #[must_use]
    pub fn has(&self, word: &str, cut: usize) -> bool {
        self.ops[..cut].iter().any(|op| matches!(op, Op::Mark(said) if said == word))
    }

    /// How many operations there were when this word was said last.
    ///
    /// # Panics
    /// When it never was.
    #[must_use]
    pub fn last(&self, word: &str) -> usize {
        let is_it = |op: &Op| matches!(op, Op::Mark(said) if said == word);
        self.ops.iter().rposition(is_it).expect("the word was said") + 1
    }

    /// Makes the files that are there when the power is cut after `cut` operations.
    ///
    /// # Panics
    /// When they cannot be written below `directory`, which is there.
    pub fn restore(&self, cut: usize, loss: Loss, directory: &Path) {
        let mut files = Files::new(self.owner);
        // What has a name must be something, whether its making was lost or not.
        for op in &self.ops[..cut] {
            if let Op::Make { node, made, .. } | Op::Begin { node, made } = op {
                files.keep(*node, &Node { names_of_it: 0, ..(**made).clone() });
            }
        }
        for op in self.left(cut, loss) {
            files.apply(&op);
        }
        write(&files, TOP, directory);
    }

    /// The operations that are not lost.
    fn left(&self, cut: usize, loss: Loss) -> Vec<Op> {
        let ops = &self.ops[..cut];
        let unsynced = unsynced(ops);
        let mut seed = match loss {
            Loss::Some(seed) => seed,
            _ => 0,
        };
        let mut left = Vec::new();
        for (at, op) in ops.iter().enumerate() {
            let Some(&number) = unsynced.get(&at) else {
                left.push(op.clone());
                continue;
            };
            match (loss, op) {
                (Loss::Nothing, _) => left.push(op.clone()),
                (Loss::All, _) => {}
                (Loss::One(lost), _) if lost == number => {}
                (Loss::One(_), _) => left.push(op.clone()),
                (Loss::Bytes, Op::Write { node, at, bytes }) => {
                    left.push(Op::Write { node: *node, at: *at, bytes: vec![0; bytes.len()] });
                }
                (Loss::Bytes, _) => left.push(op.clone()),
                (Loss::Some(_), _) => {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
                    if seed >> 63 == 0 {
                        left.push(op.clone());
                    }
                }
            }
        }
        left
    }
}

/// The operations that no later sync covers, each with its number from the newest.
fn unsynced(ops: &[Op]) -> BTreeMap<usize, usize> {
    let (mut files, mut directories) = (BTreeSet::new(), BTreeSet::new());
    let mut unsynced = BTreeMap::new();
    for (at, op) in ops.iter().enumerate().rev() {
        match op {
            Op::SyncFile { node } => drop(files.insert(*node)),
            // Its own mode and owner are as those of a file.
            Op::SyncDirectory { node } => drop((directories.insert(*node), files.insert(*node))),
            _ => {
                let is_synced = op.file().is_none_or(|node| files.contains(&node))
                    && op
                        .directories()
                        .is_none_or(|both| both.iter().any(|one| directories.contains(one)));
                if !is_synced {
                    unsynced.insert(at, unsynced.len());
                }
            }
        }
    }
    unsynced
}

fn write(files: &Files, directory: u64, at: &Path) {
    let Some(names) = files.nodes.get(&directory).and_then(|node| node.names.as_ref()) else {
        return;
    };
    for (name, number) in names {
        let Some(node) = files.nodes.get(number) else { continue };
        let path = at.join(Path::new(std::ffi::OsStr::from_bytes(name.as_bytes())));
        let failed = |cause: std::io::Error| -> ! { panic!("{}: {cause}", path.display()) };
        let made = match (&node.names, &node.link) {
            (Some(_), _) => std::fs::create_dir(&path),
            (None, Some(text)) => std::os::unix::fs::symlink(text, &path),
            (None, None) => std::fs::write(&path, &node.bytes),
        };
        made.unwrap_or_else(|cause| failed(cause));
        let (user, group) = node.owner;
        std::os::unix::fs::lchown(&path, Some(user), Some(group))
            .unwrap_or_else(|cause| failed(cause));
        if node.link.is_none() {
            let mode = std::fs::Permissions::from_mode(node.mode & 0o7777);
            std::fs::set_permissions(&path, mode).unwrap_or_else(|cause| failed(cause));
        }
        if node.names.is_some() {
            write(files, *number, &path);
        }
    }
}
