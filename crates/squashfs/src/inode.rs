//! Inodes: what is known of a file besides its name and content.
//!
//! ```text
//! u16 type  u16 mode  u16 uid  u16 gid (numbers in the id table)  u32 time  u32 number
//! directory  1: u32 block, u32 links, u16 size + 3, u16 offset, u32 parent
//!            8: u32 links, u32 size + 3, u32 block, u32 parent, u16 indexes, u16 offset, u32 xattr
//! file       2: u32 start, u32 fragment, u32 offset, u32 size, u32 x blocks
//!            9: u64 start, u64 size, u64 sparse, u32 links, u32 fragment, u32 offset, u32 xattr, ..
//! symlink    3: u32 links, u32 size, target;  10: the same and u32 xattr
//! device   4 5: u32 links, u32 device;     11 12: the same and u32 xattr
//! fifo, socket 6 7: u32 links;             13 14: the same and u32 xattr
//! ```
//!
//! A type of 8 and more is an extended inode. Not here: names ([`crate::directory`]), where
//! content lies ([`crate::file_map`]).

use crate::error::Error;
use crate::metadata::{Cursor, Place};

/// Bytes of the target of a symbolic link: Linux's `PATH_MAX`.
pub(crate) const TARGET_BYTES: u32 = 4096;
/// A fragment or xattr set that is not there.
pub(crate) const NO_NUMBER: u32 = u32::MAX;
/// Added to the size of a directory's listing, for `.` and `..`.
pub(crate) const LISTING_EXTRA: u32 = 3;

/// Where an inode lies: bits 16 to 47 its metadata block's offset in the inode table, 0 to 15 the
/// offset in the block. Equal for all names of a file. 0 is possible: the first inode's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InodeRef(u64);

impl InodeRef {
    /// The reference of this number, for callers that kept [`Self::to_raw`].
    #[must_use]
    pub fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number: below 2^48.
    #[must_use]
    pub fn to_raw(self) -> u64 {
        self.0
    }

    /// The place, in a table that begins at `table`.
    pub(crate) fn place(self, table: u64) -> Place {
        Place {
            block: table.saturating_add(self.0 >> 16),
            offset: u16::try_from(self.0 & 0xffff).unwrap_or(0),
        }
    }
}

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum FileType {
    /// A directory.
    Directory = 1,
    /// A regular file.
    File = 2,
    /// A symbolic link.
    Symlink = 3,
    /// A block device.
    BlockDevice = 4,
    /// A character device.
    CharDevice = 5,
    /// A named pipe.
    Fifo = 6,
    /// A socket.
    Socket = 7,
}

impl FileType {
    pub(crate) fn from_basic(number: u16) -> Result<Self, Error> {
        Ok(match number {
            1 => Self::Directory,
            2 => Self::File,
            3 => Self::Symlink,
            4 => Self::BlockDevice,
            5 => Self::CharDevice,
            6 => Self::Fifo,
            7 => Self::Socket,
            _ => return Err(Error::malformed("an inode has an unknown type")),
        })
    }

    /// The type bits of `st_mode`.
    #[must_use]
    pub fn mode_bits(self) -> u32 {
        match self {
            Self::Fifo => 0o010_000,
            Self::CharDevice => 0o020_000,
            Self::Directory => 0o040_000,
            Self::BlockDevice => 0o060_000,
            Self::File => 0o100_000,
            Self::Symlink => 0o120_000,
            Self::Socket => 0o140_000,
        }
    }
}

/// Where a directory's listing lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    pub(crate) block: u32,
    pub(crate) offset: u16,
    /// Bytes of the listing.
    pub(crate) listing: u32,
    pub(crate) indexes: u16,
    /// Where the index entries lie.
    pub(crate) index: Place,
    /// Number of the directory that holds this one; of the root, a number of no meaning.
    pub parent: u32,
}

/// A regular file's size and where its block list lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileData {
    /// Apparent bytes.
    pub size: u64,
    /// Bytes of it that are holes.
    pub sparse: u64,
    pub(crate) start: u64,
    /// Number of the fragment, and offset in it.
    pub(crate) fragment: Option<(u32, u32)>,
    pub(crate) list: Place,
}

/// An inode's type and what only that type has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory(Directory),
    /// A regular file.
    File(FileData),
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A block device; Linux's 32-bit device number.
    BlockDevice(u32),
    /// A character device; Linux's 32-bit device number.
    CharDevice(u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// One inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Where it lies.
    pub reference: InodeRef,
    /// Its number: 1 to the superblock's number of inodes.
    pub number: u32,
    /// Permission bits, at most 07777.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Unix seconds.
    pub mtime: u32,
    /// Number of names.
    pub nlink: u32,
    /// Its type and what only that type has.
    pub kind: Kind,
    pub(crate) xattrs: Option<u32>,
}

impl Inode {
    /// What it is.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        match self.kind {
            Kind::Directory(_) => FileType::Directory,
            Kind::File(_) => FileType::File,
            Kind::Symlink(_) => FileType::Symlink,
            Kind::BlockDevice(_) => FileType::BlockDevice,
            Kind::CharDevice(_) => FileType::CharDevice,
            Kind::Fifo => FileType::Fifo,
            Kind::Socket => FileType::Socket,
        }
    }

    /// `st_size`: bytes of a file, of a target, or of a directory's listing.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.kind {
            Kind::Directory(directory) => {
                u64::from(directory.listing.saturating_add(LISTING_EXTRA))
            }
            Kind::File(file) => file.size,
            Kind::Symlink(target) => target.len() as u64,
            Kind::BlockDevice(_) | Kind::CharDevice(_) | Kind::Fifo | Kind::Socket => 0,
        }
    }

    /// Linux's 32-bit device number of a device, else 0.
    #[must_use]
    pub fn device(&self) -> u32 {
        match self.kind {
            Kind::BlockDevice(device) | Kind::CharDevice(device) => device,
            _ => 0,
        }
    }

    /// Whether it has extended attributes.
    #[must_use]
    pub fn has_xattrs(&self) -> bool {
        self.xattrs.is_some()
    }
}

/// Reads the inode at the cursor.
pub(crate) fn read(
    cursor: &mut Cursor<'_>,
    reference: InodeRef,
    block_size: u32,
    ids: &[u32],
) -> Result<Inode, Error> {
    let number_of_type = cursor.u16()?;
    let mode = cursor.u16()? & 0o7777;
    let id = |number: u16| {
        let id = ids.get(usize::from(number)).copied();
        id.ok_or_else(|| Error::malformed("an owner is not in the id table"))
    };
    let (uid, gid) = (id(cursor.u16()?)?, id(cursor.u16()?)?);
    let mtime = cursor.u32()?;
    let number = cursor.u32()?;
    let is_extended = number_of_type > 7;
    let basic = if is_extended { number_of_type.saturating_sub(7) } else { number_of_type };
    let body = match FileType::from_basic(basic)? {
        FileType::Directory if is_extended => extended_directory(cursor)?,
        FileType::Directory => basic_directory(cursor)?,
        FileType::File if is_extended => extended_file(cursor, block_size)?,
        FileType::File => basic_file(cursor, block_size)?,
        other => simple(cursor, other, is_extended)?,
    };
    let Body { kind, nlink, xattr } = body;
    let xattrs = (xattr != NO_NUMBER).then_some(xattr);
    Ok(Inode { reference, number, mode, uid, gid, mtime, nlink, kind, xattrs })
}

struct Body {
    kind: Kind,
    nlink: u32,
    xattr: u32,
}

fn basic_directory(cursor: &mut Cursor<'_>) -> Result<Body, Error> {
    let block = cursor.u32()?;
    let nlink = cursor.u32()?;
    let size = cursor.u16()?;
    let offset = cursor.u16()?;
    let parent = cursor.u32()?;
    let listing = u32::from(size).saturating_sub(LISTING_EXTRA);
    let index = cursor.place();
    let directory = Directory { block, offset, listing, indexes: 0, index, parent };
    Ok(Body { kind: Kind::Directory(directory), nlink, xattr: NO_NUMBER })
}

fn extended_directory(cursor: &mut Cursor<'_>) -> Result<Body, Error> {
    let nlink = cursor.u32()?;
    let listing = cursor.u32()?.saturating_sub(LISTING_EXTRA);
    let block = cursor.u32()?;
    let parent = cursor.u32()?;
    let indexes = cursor.u16()?;
    let offset = cursor.u16()?;
    let xattr = cursor.u32()?;
    let index = cursor.place();
    let directory = Directory { block, offset, listing, indexes, index, parent };
    Ok(Body { kind: Kind::Directory(directory), nlink, xattr })
}

fn basic_file(cursor: &mut Cursor<'_>, block_size: u32) -> Result<Body, Error> {
    let start = cursor.u32()?.into();
    let fragment = (cursor.u32()?, cursor.u32()?);
    let size = cursor.u32()?.into();
    let fragment = checked_fragment(fragment, size, block_size)?;
    let data = FileData { size, sparse: 0, start, fragment, list: cursor.place() };
    Ok(Body { kind: Kind::File(data), nlink: 1, xattr: NO_NUMBER })
}

fn extended_file(cursor: &mut Cursor<'_>, block_size: u32) -> Result<Body, Error> {
    let start = cursor.u64()?;
    let size = cursor.u64()?;
    let sparse = cursor.u64()?.min(size);
    let nlink = cursor.u32()?;
    let fragment = (cursor.u32()?, cursor.u32()?);
    let xattr = cursor.u32()?;
    if i64::try_from(size).is_err() {
        return Err(Error::malformed("a file has an impossible size"));
    }
    let fragment = checked_fragment(fragment, size, block_size)?;
    let data = FileData { size, sparse, start, fragment, list: cursor.place() };
    Ok(Body { kind: Kind::File(data), nlink, xattr })
}

/// The fragment of a file, whose tail must lie within a block.
fn checked_fragment(
    (number, offset): (u32, u32),
    size: u64,
    block_size: u32,
) -> Result<Option<(u32, u32)>, Error> {
    let tail = size.checked_rem(block_size.into()).unwrap_or(0);
    if number == NO_NUMBER || tail == 0 {
        return Ok(None);
    }
    if u64::from(offset).saturating_add(tail) > block_size.into() {
        return Err(Error::malformed("a file reaches past its fragment"));
    }
    Ok(Some((number, offset)))
}

fn simple(cursor: &mut Cursor<'_>, kind: FileType, is_extended: bool) -> Result<Body, Error> {
    let nlink = cursor.u32()?;
    let kind = match kind {
        FileType::Symlink => {
            let length = cursor.u32()?;
            if length > TARGET_BYTES {
                return Err(Error::malformed("the target of a symbolic link is too long"));
            }
            let length = usize::try_from(length).unwrap_or(0);
            Kind::Symlink(cursor.bytes(length)?.into())
        }
        FileType::BlockDevice => Kind::BlockDevice(cursor.u32()?),
        FileType::CharDevice => Kind::CharDevice(cursor.u32()?),
        FileType::Fifo => Kind::Fifo,
        _ => Kind::Socket,
    };
    let xattr = if is_extended { cursor.u32()? } else { NO_NUMBER };
    Ok(Body { kind, nlink, xattr })
}
