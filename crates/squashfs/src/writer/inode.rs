//! Inodes as they are written: the short form where it says all, else the extended one.

use super::directory::Listing;
use super::{FileContent, Special};
use crate::inode::{FileType, LISTING_EXTRA, NO_NUMBER};

/// What all inodes begin with; owners as numbers in the id table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) mode: u16,
    pub(super) uid: u16,
    pub(super) gid: u16,
    pub(super) mtime: u32,
    pub(super) number: u32,
    pub(super) nlink: u32,
    /// Number of the xattr set or [`NO_NUMBER`].
    pub(super) xattr: u32,
}

/// An inode's bytes under way.
#[derive(Debug, Default)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Bytes {
    fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn head(&mut self, head: &Head, file_type: FileType, is_extended: bool) {
        let extension = if is_extended { 7 } else { 0 };
        self.u16((file_type as u16).saturating_add(extension));
        for field in [head.mode & 0o7777, head.uid, head.gid] {
            self.u16(field);
        }
        self.u32(head.mtime);
        self.u32(head.number);
    }

    /// A directory; its offset in the table has been checked to fit.
    pub(super) fn directory(&mut self, head: &Head, listing: &Listing, block: u32, parent: u32) {
        let size = listing.bytes.saturating_add(LISTING_EXTRA);
        let short = u16::try_from(size).ok();
        match short.filter(|_| head.xattr == NO_NUMBER && listing.indexes == 0) {
            Some(size) => {
                self.head(head, FileType::Directory, false);
                self.u32(block);
                self.u32(head.nlink);
                self.u16(size);
                self.u16(listing.offset);
                self.u32(parent);
            }
            None => {
                self.head(head, FileType::Directory, true);
                for field in [head.nlink, size, block, parent] {
                    self.u32(field);
                }
                self.u16(listing.indexes);
                self.u16(listing.offset);
                self.u32(head.xattr);
                self.0.extend_from_slice(&listing.index);
            }
        }
    }

    /// A regular file, without its block list.
    pub(super) fn file(&mut self, head: &Head, content: &FileContent<'_>, sparse: u64) {
        let (number, offset) = content.fragment.unwrap_or((NO_NUMBER, 0));
        let short = u32::try_from(content.size).ok().zip(u32::try_from(content.start).ok());
        match short.filter(|_| head.nlink == 1 && head.xattr == NO_NUMBER && sparse == 0) {
            Some((size, start)) => {
                self.head(head, FileType::File, false);
                for field in [start, number, offset, size] {
                    self.u32(field);
                }
            }
            None => {
                self.head(head, FileType::File, true);
                for field in [content.start, content.size, sparse] {
                    self.u64(field);
                }
                for field in [head.nlink, number, offset, head.xattr] {
                    self.u32(field);
                }
            }
        }
    }

    /// A symbolic link; the target's length has been checked.
    pub(super) fn symlink(&mut self, head: &Head, target: &[u8]) {
        let is_extended = head.xattr != NO_NUMBER;
        self.head(head, FileType::Symlink, is_extended);
        self.u32(head.nlink);
        self.u32(u32::try_from(target.len()).unwrap_or(0));
        self.0.extend_from_slice(target);
        if is_extended {
            self.u32(head.xattr);
        }
    }

    /// A device, fifo or socket.
    pub(super) fn special(&mut self, head: &Head, special: Special) {
        let is_extended = head.xattr != NO_NUMBER;
        self.head(head, special.file_type(), is_extended);
        self.u32(head.nlink);
        if let Special::BlockDevice { major, minor } | Special::CharDevice { major, minor } =
            special
        {
            // Linux's new_encode_dev: major in bits 8 to 19, minor around it.
            self.u32((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12));
        }
        if is_extended {
            self.u32(head.xattr);
        }
    }
}
