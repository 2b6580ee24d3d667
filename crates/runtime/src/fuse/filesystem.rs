//! The answers to the kernel's requests.
//!
//! OPEN, OPENDIR, FLUSH and ACCESS are answered ENOSYS once, after which the kernel does them
//! itself and keeps pages and listings across opens. Everything else that FUSE knows changes
//! something: the mount is read-only, so the kernel never sends it.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use fuser::{
    AccessFlags, Errno, FileHandle, Filesystem, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use orlop_squashfs::{Error, FileType, Inode, InodeRef, Kind, Piece, Position, Reader};

use super::Options;
use super::attributes::{Owner, file_type, nothing};
use super::blocks::Blocks;
use super::inodes::Inodes;
use super::maps::Maps;

/// How long the kernel keeps what it was told: a month, longer than a holder lives.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// A node's number always means the same inode.
const GENERATION: Generation = Generation(0);
/// Offsets of a listing: 1 is behind `.`, 2 behind `..`, the others a position more than this.
const DOTS: u64 = 2;
/// Bytes of a request, the kernel's limit.
const REQUEST_BYTES: u32 = 1 << 20;
/// Requests that the kernel may have under way without a process that waits: readahead.
const BACKGROUND: u16 = 64;
/// Attributes that the overlay above would take for its own.
const OVERLAY: &[u8] = b"user.overlay.";

thread_local! {
    /// The bytes of an answer, kept from one to the next.
    static ANSWER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A squashfs and what is remembered of it.
#[derive(Debug)]
pub(super) struct SquashfsFilesystem {
    reader: Reader,
    owner: Owner,
    block_size: u64,
    inodes: Option<Inodes>,
    blocks: Blocks,
    maps: Maps,
}

impl SquashfsFilesystem {
    pub(super) fn new(reader: Reader, options: &Options) -> Self {
        let block_size = reader.superblock().block_size;
        let size = usize::try_from(block_size).unwrap_or(usize::MAX);
        Self {
            reader,
            owner: Owner { uid: options.uid, gid: options.gid },
            block_size: block_size.into(),
            inodes: None,
            blocks: Blocks::new(size, options.block_bytes),
            maps: Maps::new(),
        }
    }

    fn reference(&self, node: INodeNo) -> Result<InodeRef, Errno> {
        self.inodes.as_ref().and_then(|inodes| inodes.find(node.0)).ok_or(Errno::EIO)
    }

    fn tell(&self, number: u32, reference: InodeRef) -> Result<u64, Errno> {
        self.inodes.as_ref().and_then(|inodes| inodes.tell(number, reference)).ok_or(Errno::EIO)
    }

    fn inode(&self, node: INodeNo) -> Result<Inode, Errno> {
        self.reader.inode(self.reference(node)?).map_err(|error| errno(&error))
    }

    fn find(&self, parent: INodeNo, name: &OsStr) -> Result<Option<(u64, Inode)>, Errno> {
        let directory = self.inode(parent)?;
        let found = self.reader.lookup(&directory, name.as_bytes());
        let Some(entry) = found.map_err(|error| errno(&error))? else { return Ok(None) };
        let inode = self.reader.inode(entry.inode).map_err(|error| errno(&error))?;
        Ok(Some((self.tell(inode.number, entry.inode)?, inode)))
    }

    /// Appends what the file holds from `offset` on, at most `size` bytes.
    fn read_into(
        &self,
        answer: &mut Vec<u8>,
        file: InodeRef,
        offset: u64,
        size: u32,
    ) -> Result<(), Error> {
        let map = self.maps.get(&self.reader, file)?;
        let end = offset.saturating_add(size.into()).min(map.size());
        let mut at = offset;
        while at < end {
            let Some(piece) = map.piece(at / self.block_size) else { break };
            let from = position(at.saturating_sub(piece.start));
            let to = position(end.saturating_sub(piece.start)).min(position(piece.length.into()));
            let start = answer.len();
            if piece.block.is_hole() {
                answer.resize(start + (to - from), 0);
            } else if (to - from) as u64 == self.block_size {
                self.read_whole(answer, &piece)?;
            } else {
                let skip = position(piece.skip.into());
                let is_there = self.blocks.with(&self.reader, &piece.block, |bytes| {
                    let part = bytes.get(skip + from..skip + to);
                    part.map(|part| answer.extend_from_slice(part)).is_some()
                })?;
                if !is_there {
                    return Err(short());
                }
            }
            at = at.saturating_add((to - from) as u64);
        }
        Ok(())
    }

    /// All of a block at once: nothing of it is left to keep.
    fn read_whole(&self, answer: &mut Vec<u8>, piece: &Piece) -> Result<(), Error> {
        let start = answer.len();
        let length = position(piece.length.into());
        answer.resize(start + length, 0);
        let room = answer.get_mut(start..).unwrap_or_default();
        let made = self.reader.read_block(&piece.block, room)?;
        if made < length { Err(short()) } else { Ok(()) }
    }

    /// Goes through a listing from `offset` on, with `.` and `..`, until `add` has no more room.
    /// `add` gets node, number, reference, type, name, and the offset behind the entry.
    fn list(
        &self,
        node: INodeNo,
        offset: u64,
        mut add: impl FnMut(&Listed<'_>) -> Result<bool, Errno>,
    ) -> Result<(), Errno> {
        let directory = self.inode(node)?;
        for (number, name) in [&b"."[..], b".."].into_iter().enumerate() {
            let next = number as u64 + 1;
            let listed =
                Listed { node: node.0, inode: None, kind: FileType::Directory, name, next };
            if next > offset && add(&listed)? {
                return Ok(());
            }
        }
        let position = Position::from_raw(offset.saturating_sub(DOTS));
        let entries = self.reader.entries(&directory, position).map_err(|error| errno(&error))?;
        for entry in entries {
            let entry = entry.map_err(|error| errno(&error))?;
            let listed = Listed {
                node: self.tell(entry.number, entry.inode)?,
                inode: Some(entry.inode),
                kind: entry.file_type,
                name: &entry.name,
                next: entry.next.to_raw().saturating_add(DOTS),
            };
            if add(&listed)? {
                break;
            }
        }
        Ok(())
    }

    fn xattr(&self, node: INodeNo, name: &OsStr) -> Result<Option<Vec<u8>>, Errno> {
        let inode = self.inode(node)?;
        let all = self.reader.xattrs(&inode).map_err(|error| errno(&error))?;
        let found = all.into_iter().find(|xattr| *xattr.name == *name.as_bytes());
        Ok(found.filter(|xattr| !xattr.name.starts_with(OVERLAY)).map(|xattr| xattr.value.into()))
    }

    fn xattr_names(&self, node: INodeNo) -> Result<Vec<u8>, Errno> {
        let inode = self.inode(node)?;
        let all = self.reader.xattrs(&inode).map_err(|error| errno(&error))?;
        let shown = all.iter().filter(|xattr| !xattr.name.starts_with(OVERLAY));
        Ok(shown.flat_map(|xattr| xattr.name.iter().copied().chain([0])).collect())
    }
}

/// One line of a listing.
struct Listed<'a> {
    node: u64,
    /// None of `.` and `..`.
    inode: Option<InodeRef>,
    kind: FileType,
    name: &'a [u8],
    /// The offset behind it.
    next: u64,
}

fn position(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn short() -> Error {
    Error::Read {
        what: "a data block that is shorter than its file says",
        offset: 0,
        cause: io::ErrorKind::UnexpectedEof.into(),
    }
}

fn errno(error: &Error) -> Errno {
    match error {
        Error::WrongKind { wanted: "directory" } => Errno::ENOTDIR,
        Error::WrongKind { .. } => Errno::EINVAL,
        error => {
            tracing::warn!(error = error as &dyn std::error::Error, "the image cannot be read");
            Errno::EIO
        }
    }
}

fn answer_xattr(reply: ReplyXattr, size: u32, found: Result<Option<Vec<u8>>, Errno>) {
    match found {
        Err(errno) => reply.error(errno),
        Ok(None) => reply.error(Errno::ENODATA),
        Ok(Some(bytes)) => match u32::try_from(bytes.len()) {
            Ok(length) if size == 0 => reply.size(length),
            Ok(length) if length <= size => reply.data(&bytes),
            _ => reply.error(Errno::ERANGE),
        },
    }
}

impl Filesystem for SquashfsFilesystem {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let reference = self.reader.root();
        let root = self.reader.inode(reference).map_err(io::Error::other)?;
        let count = self.reader.superblock().inodes.max(root.number);
        self.inodes = Some(Inodes::new(count, root.number, reference));
        for wanted in [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_NO_OPEN_SUPPORT,
            InitFlags::FUSE_NO_OPENDIR_SUPPORT,
            InitFlags::FUSE_EXPLICIT_INVAL_DATA,
        ] {
            // An older kernel does without.
            let _unsupported = config.add_capabilities(wanted);
        }
        // Both say the nearest value there is when this one is not; the default stays then.
        let _default = config.set_max_write(REQUEST_BYTES);
        let _default = config.set_max_background(BACKGROUND);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.find(parent, name) {
            Ok(Some((node, inode))) => {
                reply.entry(&KEPT, &self.owner.attributes(node, &inode), GENERATION);
            }
            Ok(None) => reply.entry(&KEPT, &nothing(), GENERATION),
            Err(errno) => reply.error(errno),
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.inode(node) {
            Ok(inode) => reply.attr(&KEPT, &self.owner.attributes(node.0, &inode)),
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, _: &Request, node: INodeNo, reply: ReplyData) {
        match self.inode(node).map(|inode| inode.kind) {
            Ok(Kind::Symlink(target)) => reply.data(&target),
            Ok(_) => reply.error(Errno::EINVAL),
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        ANSWER.with_borrow_mut(|answer| {
            answer.clear();
            let outcome = self.reference(node).and_then(|file| {
                self.read_into(answer, file, offset, size).map_err(|error| errno(&error))
            });
            match outcome {
                Ok(()) => reply.data(answer),
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn readdir(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let outcome = self.list(node, offset, |listed| {
            let name = OsStr::from_bytes(listed.name);
            Ok(reply.add(INodeNo(listed.node), listed.next, file_type(listed.kind), name))
        });
        match outcome {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let outcome = self.list(node, offset, |listed| {
            let inode = match listed.inode {
                None => self.inode(node)?,
                Some(inode) => self.reader.inode(inode).map_err(|error| errno(&error))?,
            };
            let attributes = self.owner.attributes(listed.node, &inode);
            let name = OsStr::from_bytes(listed.name);
            Ok(reply.add(attributes.ino, listed.next, name, &KEPT, &attributes, GENERATION))
        });
        match outcome {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let superblock = self.reader.superblock();
        let blocks = superblock.bytes_used.div_ceil(self.block_size);
        let size = superblock.block_size;
        reply.statfs(blocks, 0, 0, superblock.inodes.into(), 0, size, 255, size);
    }

    fn getxattr(&self, _: &Request, node: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        // ENOSYS: the kernel asks for no attribute of any file again.
        if self.reader.has_xattrs() {
            answer_xattr(reply, size, self.xattr(node, name));
        } else {
            reply.error(Errno::ENOSYS);
        }
    }

    fn listxattr(&self, _: &Request, node: INodeNo, size: u32, reply: ReplyXattr) {
        if self.reader.has_xattrs() {
            answer_xattr(reply, size, self.xattr_names(node).map(Some));
        } else {
            reply.error(Errno::ENOSYS);
        }
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }
}
