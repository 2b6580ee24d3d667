//! An inode's attributes as FUSE wants them. The owner is whoever runs the container.
//! (`contract.md` §8.2.)

use std::time::{Duration, SystemTime};

use fuser::{FileAttr, FileType, INodeNo};
use orlop_squashfs::Inode;

/// What `st_blksize` says: the page that the kernel reads at least.
const BLOCK_SIZE: u32 = 4096;

/// Owner and group of every file, inside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Owner {
    /// The attributes of the inode under this node's number.
    pub(super) fn attributes(self, node: u64, inode: &Inode) -> FileAttr {
        let size = inode.size();
        let time = SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(inode.mtime.into()))
            .unwrap_or(SystemTime::UNIX_EPOCH);
        FileAttr {
            ino: INodeNo(node),
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: file_type(inode.file_type()),
            perm: inode.mode & 0o7777,
            nlink: inode.nlink,
            uid: self.uid,
            gid: self.gid,
            rdev: inode.device(),
            blksize: BLOCK_SIZE,
            flags: 0,
        }
    }
}

/// The attributes of nothing: a name that is not there, which the kernel shall remember.
pub(super) fn nothing() -> FileAttr {
    let time = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// FUSE's word for a file's type.
pub(super) fn file_type(kind: orlop_squashfs::FileType) -> FileType {
    match kind {
        orlop_squashfs::FileType::Directory => FileType::Directory,
        orlop_squashfs::FileType::File => FileType::RegularFile,
        orlop_squashfs::FileType::Symlink => FileType::Symlink,
        orlop_squashfs::FileType::BlockDevice => FileType::BlockDevice,
        orlop_squashfs::FileType::CharDevice => FileType::CharDevice,
        orlop_squashfs::FileType::Fifo => FileType::NamedPipe,
        orlop_squashfs::FileType::Socket => FileType::Socket,
    }
}
