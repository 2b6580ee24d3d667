//! [`TableWriter`]: everything of a squashfs but its data blocks.
//!
//! The caller has the tree and knows where each file's blocks lie. It adds nodes, children before
//! their directory, with inode numbers of its own: 1 to N, each once; a hard link is the same
//! [`Node`] in several listings. [`TableWriter::finish`] gives the superblock and the bytes that go
//! behind the data. The same calls give the same bytes; nothing is read from the machine.
//!
//! Rules: design, "Segment invariants". Not here: compression of data, padding, SIF.

mod directory;
mod inode;
mod metadata;
mod xattr;

use std::collections::BTreeMap;

use crate::compressor::Compression;
use crate::error::Error;
use crate::file_map::STORED;
use crate::inode::{FileType, TARGET_BYTES};
use crate::superblock::{
    FLAG_EXPORTABLE, FLAG_NO_FRAGMENTS, FLAG_NO_XATTRS, NONE, SUPERBLOCK_BYTES, Superblock,
};
use inode::{Bytes, Head};
use metadata::MetadataWriter;
use xattr::XattrWriter;

/// What holds for a whole image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableOptions {
    /// How metadata is compressed; data blocks have the same compressor.
    pub compression: Compression,
    /// Bytes of a data block: a power of two from 4 KiB to 1 MiB.
    pub block_size: u32,
    /// Time of the image. Unix seconds.
    pub time: u32,
}

/// What every inode has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// Permission bits; others are dropped.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Unix seconds.
    pub mtime: u32,
    /// Inode number: 1 to N, each used once.
    pub number: u32,
    /// Number of names; of a directory, 2 and its subdirectories.
    pub nlink: u32,
    /// Pairs of full name and value, in the order they are to be stored; equal sets are stored
    /// once.
    pub xattrs: &'a [(&'a [u8], &'a [u8])],
}

/// Where a regular file's content lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileContent<'a> {
    /// Apparent bytes.
    pub size: u64,
    /// Offset of its first block, from the superblock; anything where no block is stored.
    pub start: u64,
    /// Its blocks as squashfs lists them: stored bytes, bit 24 set when not compressed, 0 for a
    /// hole. They lie one behind the other.
    pub blocks: &'a [u32],
    /// Number of the fragment that holds its end, and the offset in its content.
    pub fragment: Option<(u32, u32)>,
}

/// A block of many files' ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Offset from the superblock.
    pub offset: u64,
    /// As in a block list.
    pub size: u32,
}

/// What is neither file, directory nor link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// A block device: major below 4096, minor below 2^20.
    BlockDevice {
        /// The driver.
        major: u32,
        /// The device.
        minor: u32,
    },
    /// A character device: major below 4096, minor below 2^20.
    CharDevice {
        /// The driver.
        major: u32,
        /// The device.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Special {
    fn file_type(self) -> FileType {
        match self {
            Self::BlockDevice { .. } => FileType::BlockDevice,
            Self::CharDevice { .. } => FileType::CharDevice,
            Self::Fifo => FileType::Fifo,
            Self::Socket => FileType::Socket,
        }
    }
}

/// An inode that was added, to be named in directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    reference: u64,
    number: u32,
    file_type: FileType,
}

impl Node {
    fn block(&self) -> u64 {
        self.reference >> 16
    }

    fn offset(&self) -> u16 {
        u16::try_from(self.reference & 0xffff).unwrap_or(0)
    }
}

/// The tables of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// To be placed at offset 0.
    pub superblock: [u8; SUPERBLOCK_BYTES],
    /// To be placed at the end of the data, as told to [`TableWriter::finish`].
    pub bytes: Vec<u8>,
    /// Bytes from the superblock to the end of the tables.
    pub bytes_used: u64,
}

/// Tables under way. Holds what is written so far, compressed, and 8 bytes an inode.
#[derive(Debug)]
pub struct TableWriter {
    options: TableOptions,
    inodes: MetadataWriter,
    directories: MetadataWriter,
    xattrs: XattrWriter,
    ids: BTreeMap<u32, u16>,
    id_table: Vec<u8>,
    fragments: Vec<u8>,
    /// References by number - 1; [`NONE`] where none was added yet.
    references: Vec<u64>,
    added: u32,
}

impl TableWriter {
    /// An image without anything.
    ///
    /// # Errors
    /// [`Error::Unrepresentable`] for a block size or level that cannot be; [`Error::Compress`].
    pub fn new(options: TableOptions) -> Result<Self, Error> {
        let size = options.block_size;
        if !size.is_power_of_two() || !(4096..=1 << 20).contains(&size) {
            return Err(Error::Unrepresentable { what: "blocks of this size" });
        }
        Ok(Self {
            options,
            inodes: MetadataWriter::new(options.compression)?,
            directories: MetadataWriter::new(options.compression)?,
            xattrs: XattrWriter::new(options.compression)?,
            ids: BTreeMap::new(),
            id_table: Vec::new(),
            fragments: Vec::new(),
            references: Vec::new(),
            added: 0,
        })
    }

    /// Adds a fragment block and returns its number.
    ///
    /// # Errors
    /// [`Error::Unrepresentable`]: a size that cannot be.
    pub fn add_fragment(&mut self, fragment: Fragment) -> Result<u32, Error> {
        let number = number_u32(self.fragments.len() / 16)?;
        self.check_block(fragment.size)?;
        self.fragments.extend_from_slice(&fragment.offset.to_le_bytes());
        self.fragments.extend_from_slice(&fragment.size.to_le_bytes());
        self.fragments.extend_from_slice(&[0; 4]);
        Ok(number)
    }

    /// Adds a regular file.
    ///
    /// # Errors
    /// [`Error::Unrepresentable`]: blocks that do not make up the size; attributes as below.
    pub fn add_file(
        &mut self,
        attributes: &Attributes<'_>,
        content: &FileContent<'_>,
    ) -> Result<Node, Error> {
        let block_size = u64::from(self.options.block_size);
        let tail = content.size.checked_rem(block_size).unwrap_or(0);
        let whole = content.size.checked_div(block_size).unwrap_or(0);
        let has_tail_block = tail > 0 && content.fragment.is_none();
        let blocks = whole.saturating_add(has_tail_block.into());
        if blocks != content.blocks.len() as u64 || (tail == 0 && content.fragment.is_some()) {
            return Err(Error::Unrepresentable { what: "blocks that do not make up a file" });
        }
        if let Some((number, offset)) = content.fragment {
            let is_known = u64::from(number) < (self.fragments.len() / 16) as u64;
            if !is_known || u64::from(offset).saturating_add(tail) > block_size {
                return Err(Error::Unrepresentable { what: "a file's end outside its fragment" });
            }
        }
        let mut sparse = 0_u64;
        let mut left = content.size;
        for &block in content.blocks {
            self.check_block(block)?;
            let length = left.min(block_size);
            left = left.saturating_sub(length);
            if block == 0 {
                sparse = sparse.saturating_add(length);
            }
        }
        let head = self.head(attributes)?;
        let mut bytes = Bytes::default();
        bytes.file(&head, content, sparse);
        bytes.0.reserve(content.blocks.len().saturating_mul(4));
        for block in content.blocks {
            bytes.0.extend_from_slice(&block.to_le_bytes());
        }
        self.add(&head, FileType::File, &bytes)
    }

    /// Adds a directory: `parent` is its own directory's number (of the root: its own), `entries`
    /// its names in ascending byte order.
    ///
    /// # Errors
    /// [`Error::Unrepresentable`]: a name that cannot be, names that do not ascend, a listing
    /// beyond 4 GiB; attributes as below.
    pub fn add_directory<'n>(
        &mut self,
        attributes: &Attributes<'_>,
        parent: u32,
        entries: impl IntoIterator<Item = (&'n [u8], Node)>,
    ) -> Result<Node, Error> {
        let head = self.head(attributes)?;
        let listing = directory::write(&mut self.directories, &mut entries.into_iter())?;
        let mut bytes = Bytes::default();
        bytes.directory(&head, &listing, number_u32(listing.block)?, parent);
        self.add(&head, FileType::Directory, &bytes)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// [`Error::Unrepresentable`]: a target of no bytes or of more than 4095; attributes as below.
    pub fn add_symlink(
        &mut self,
        attributes: &Attributes<'_>,
        target: &[u8],
    ) -> Result<Node, Error> {
        if !(1..u64::from(TARGET_BYTES)).contains(&(target.len() as u64)) {
            return Err(Error::Unrepresentable { what: "a symbolic link's target of this length" });
        }
        let head = self.head(attributes)?;
        let mut bytes = Bytes::default();
        bytes.symlink(&head, target);
        self.add(&head, FileType::Symlink, &bytes)
    }

    /// Adds a device, fifo or socket.
    ///
    /// # Errors
    /// [`Error::Unrepresentable`]: a device number too large; an inode number used before or 0;
    /// more than 65535 owners and groups; an xattr that squashfs has no place for.
    pub fn add_special(
        &mut self,
        attributes: &Attributes<'_>,
        special: Special,
    ) -> Result<Node, Error> {
        if let Special::BlockDevice { major, minor } | Special::CharDevice { major, minor } =
            special
            && (major >= 1 << 12 || minor >= 1 << 20)
        {
            return Err(Error::Unrepresentable { what: "a device number of this size" });
        }
        let head = self.head(attributes)?;
        let mut bytes = Bytes::default();
        bytes.special(&head, special);
        self.add(&head, special.file_type(), &bytes)
    }

    /// Ends the image, whose data end at `data_end` (bytes from the superblock, at least 96): the
    /// tables follow there.
    ///
    /// # Errors
    /// [`Error::Unrepresentable`]: the root is no directory, or the numbers have gaps.
    pub fn finish(self, root: Node, data_end: u64) -> Result<Tables, Error> {
        let inodes = number_u32(self.references.len())?;
        if root.file_type != FileType::Directory {
            return Err(Error::Unrepresentable { what: "a root that is no directory" });
        }
        if inodes != self.added || data_end < SUPERBLOCK_BYTES as u64 {
            return Err(Error::Unrepresentable { what: "inode numbers with gaps" });
        }
        let compression = self.options.compression;
        let mut out = Tail { start: data_end, bytes: self.inodes.finish().0, compression };
        let directory_table = out.end();
        out.bytes.append(&mut self.directories.finish().0);
        let fragments = number_u32(self.fragments.len() / 16)?;
        let fragment_table = if fragments == 0 { NONE } else { out.table(&self.fragments)? };
        let mut references = Vec::with_capacity(self.references.len().saturating_mul(8));
        references.extend(self.references.iter().flat_map(|reference| reference.to_le_bytes()));
        let export_table = out.table(&references)?;
        let id_table = out.table(&self.id_table)?;
        let mut flags = FLAG_EXPORTABLE;
        if fragments == 0 {
            flags |= FLAG_NO_FRAGMENTS;
        }
        let xattr_table = match self.xattrs.finish() {
            Some((pairs, sets)) => out.xattrs(&pairs, &sets)?,
            None => {
                flags |= FLAG_NO_XATTRS;
                NONE
            }
        };
        let superblock = Superblock {
            inodes,
            time: self.options.time,
            block_size: self.options.block_size,
            compressor: compression.compressor(),
            bytes_used: out.end(),
            flags,
            fragments,
            ids: u16::try_from(self.ids.len()).unwrap_or(u16::MAX),
            root: root.reference,
            id_table,
            xattr_table,
            inode_table: data_end,
            directory_table,
            fragment_table,
            export_table,
        };
        let bytes_used = superblock.bytes_used;
        Ok(Tables { superblock: superblock.to_bytes(), bytes: out.bytes, bytes_used })
    }

    fn check_block(&self, size: u32) -> Result<(), Error> {
        if size & !STORED > self.options.block_size || size == STORED {
            return Err(Error::Unrepresentable { what: "a block of this size" });
        }
        Ok(())
    }

    fn head(&mut self, attributes: &Attributes<'_>) -> Result<Head, Error> {
        Ok(Head {
            mode: attributes.mode,
            uid: self.id(attributes.uid)?,
            gid: self.id(attributes.gid)?,
            mtime: attributes.mtime,
            number: attributes.number,
            nlink: attributes.nlink,
            xattr: self.xattrs.add(attributes.xattrs)?,
        })
    }

    fn id(&mut self, id: u32) -> Result<u16, Error> {
        if let Some(&number) = self.ids.get(&id) {
            return Ok(number);
        }
        let number = u16::try_from(self.ids.len()).ok().filter(|&number| number < u16::MAX);
        let number =
            number.ok_or(Error::Unrepresentable { what: "more than 65535 owners and groups" })?;
        self.id_table.extend_from_slice(&id.to_le_bytes());
        self.ids.insert(id, number);
        Ok(number)
    }

    fn add(&mut self, head: &Head, file_type: FileType, bytes: &Bytes) -> Result<Node, Error> {
        let position = head.number.checked_sub(1).map(usize::try_from).and_then(Result::ok);
        let position = position.ok_or(Error::Unrepresentable { what: "an inode number 0" })?;
        if position >= self.references.len() {
            self.references.resize(position.saturating_add(1), NONE);
        }
        let reference = self.inodes.reference();
        match self.references.get_mut(position) {
            Some(place) if *place == NONE => *place = reference,
            _ => return Err(Error::Unrepresentable { what: "an inode number used twice" }),
        }
        self.inodes.write(&bytes.0);
        self.added = self.added.saturating_add(1);
        Ok(Node { reference, number: head.number, file_type })
    }
}

/// The bytes behind the data.
struct Tail {
    /// Where they begin, from the superblock.
    start: u64,
    bytes: Vec<u8>,
    compression: Compression,
}

impl Tail {
    fn end(&self) -> u64 {
        self.start.saturating_add(self.bytes.len() as u64)
    }

    /// Appends entries in metadata blocks; returns where these start.
    fn blocks(&mut self, entries: &[u8]) -> Result<Vec<u64>, Error> {
        let base = self.end();
        let mut writer = MetadataWriter::new(self.compression)?;
        writer.write(entries);
        let (mut bytes, starts) = writer.finish();
        self.bytes.append(&mut bytes);
        Ok(starts.into_iter().map(|start| base.saturating_add(start)).collect())
    }

    /// Appends a table and its pointers; returns the offset of the pointers.
    fn table(&mut self, entries: &[u8]) -> Result<u64, Error> {
        let starts = self.blocks(entries)?;
        let at = self.end();
        self.bytes.extend(starts.iter().flat_map(|start| start.to_le_bytes()));
        Ok(at)
    }

    fn xattrs(&mut self, pairs: &[u8], sets: &[u8]) -> Result<u64, Error> {
        let start = self.end();
        self.bytes.extend_from_slice(pairs);
        let count = number_u32(sets.len() / 16)?;
        let starts = self.blocks(sets)?;
        let at = self.end();
        self.bytes.extend_from_slice(&start.to_le_bytes());
        self.bytes.extend_from_slice(&count.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend(starts.iter().flat_map(|start| start.to_le_bytes()));
        Ok(at)
    }
}

/// A number that the format keeps in 32 bits.
fn number_u32(number: impl TryInto<u32>) -> Result<u32, Error> {
    let what = "tables beyond 4 GiB";
    number.try_into().map_err(|_| Error::Unrepresentable { what })
}
