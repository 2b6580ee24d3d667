//! FUSE's node numbers and where the inodes lie.
//!
//! A node's number is the inode's number in the squashfs, except that FUSE calls the root 1: the
//! two inodes that are concerned trade numbers. The kernel only asks for nodes that it was told of,
//! and telling it notes where they lie, so no export table is needed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use orlop_squashfs::InodeRef;

/// Entries of one part of the table.
const PART: usize = 4096;

/// Number of FUSE's root.
const ROOT: u32 = 1;

/// References of the inodes that the kernel was told of, in parts made when first needed.
#[derive(Debug)]
pub(super) struct Inodes {
    root: u32,
    /// Reference + 1; 0: not told of.
    parts: Box<[OnceLock<Box<[AtomicU64]>>]>,
}

impl Inodes {
    /// A table for inodes 1 to `count`, of which `root` is the root directory.
    pub(super) fn new(count: u32, root: u32, reference: InodeRef) -> Self {
        let parts = usize::try_from(count).unwrap_or(usize::MAX) / PART + 1;
        let inodes = Self { root, parts: (0..parts).map(|_| OnceLock::new()).collect() };
        inodes.tell(root, reference);
        inodes
    }

    /// Notes where an inode lies and returns its node's number; none when the squashfs says it has
    /// no inode of that number.
    pub(super) fn tell(&self, number: u32, reference: InodeRef) -> Option<u64> {
        let position = usize::try_from(number).ok()?;
        let part = self.parts.get(position / PART)?;
        let part = part.get_or_init(|| (0..PART).map(|_| AtomicU64::new(0)).collect());
        // 48 bits: the addition cannot overflow.
        part.get(position % PART)?.store(reference.to_raw().wrapping_add(1), Ordering::Relaxed);
        Some(self.trade(number).into())
    }

    /// Where the inode of a node lies.
    pub(super) fn find(&self, node: u64) -> Option<InodeRef> {
        let position = usize::try_from(self.trade(u32::try_from(node).ok()?)).ok()?;
        let raw = self.parts.get(position / PART)?.get()?.get(position % PART)?;
        raw.load(Ordering::Relaxed).checked_sub(1).map(InodeRef::from_raw)
    }

    fn trade(&self, number: u32) -> u32 {
        match number {
            ROOT => self.root,
            number if number == self.root => ROOT,
            number => number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{InodeRef, Inodes};

    #[test]
    fn the_root_is_node_one_and_every_inode_is_found_again() {
        let inodes = Inodes::new(10_000, 10_000, InodeRef::from_raw(77));
        assert_eq!(inodes.find(1), Some(InodeRef::from_raw(77)));
        for number in 1..10_000_u32 {
            let reference = InodeRef::from_raw(u64::from(number) << 16);
            let node = inodes.tell(number, reference).expect("within the table");
            assert_ne!(node, 1);
            assert_eq!(inodes.find(node), Some(reference));
        }
    }

    #[test]
    fn a_node_never_told_of_is_not_found() {
        let inodes = Inodes::new(3, 3, InodeRef::from_raw(0));
        assert_eq!(inodes.find(2), None);
        assert_eq!(inodes.find(0), None);
        assert_eq!(inodes.find(1 << 40), None);
        assert_eq!(inodes.tell(u32::MAX, InodeRef::from_raw(0)), None);
        assert_eq!(inodes.find(1), Some(InodeRef::from_raw(0)));
    }
}
