//! [`Reader`]: a file system as inodes, names and blocks.
//!
//! Serves many threads at once. Foreign bytes are checked where they are used: what is damaged
//! is an error for what needs it, and for nothing else.
//!
//! Not here: caching of data blocks and of inodes, which the caller does who knows what is asked.

use std::sync::Arc;

use crate::directory::{DirectoryEntries, DirectoryEntry, Position};
use crate::error::Error;
use crate::file_map::{Block, FileMap, MAX_BLOCKS, Piece};
use crate::inode::{self, Directory, FileData, Inode, InodeRef, Kind};
use crate::metadata::{Cursor, Volume};
use crate::read_at::ReadAt;
use crate::superblock::{NONE, SUPERBLOCK_BYTES, Superblock};
use crate::table::Table;
use crate::xattr::{Xattr, Xattrs};

/// A squashfs being read.
#[derive(Debug)]
pub struct Reader {
    volume: Volume,
    ids: Box<[u32]>,
    fragments: Table<16>,
    export: Table<8>,
    xattrs: Xattrs,
}

impl Reader {
    /// Opens the file system whose superblock is at `offset` of `source`, in `length` bytes.
    ///
    /// # Errors
    /// Whatever [`Superblock::parse`] finds; [`Error::Malformed`] and [`Error::Read`] for tables
    /// that are not there.
    pub fn open(source: Arc<dyn ReadAt>, offset: u64, length: u64) -> Result<Self, Error> {
        let length = length.min(source.size().saturating_sub(offset));
        let mut bytes = [0; SUPERBLOCK_BYTES];
        source.read_at(&mut bytes, offset).map_err(|cause| Error::Read {
            what: "the superblock",
            offset: 0,
            cause,
        })?;
        let superblock = Superblock::parse(&bytes, length)?;
        let volume = Volume::new(source, offset, superblock);
        let superblock = &volume.superblock;
        let table = Table::<4>::open(&volume, superblock.id_table, superblock.ids.into())?;
        let ids = (0..superblock.ids.into())
            .map(|number| table.get(&volume, number).map(u32::from_le_bytes))
            .collect::<Result<_, _>>()?;
        let fragments = match superblock.fragments {
            0 => Table::EMPTY(),
            count => Table::open(&volume, superblock.fragment_table, count)?,
        };
        let export = match superblock.export_table {
            NONE => Table::EMPTY(),
            at => Table::open(&volume, at, superblock.inodes)?,
        };
        let xattrs = Xattrs::open(&volume)?;
        Ok(Self { volume, ids, fragments, export, xattrs })
    }

    /// The superblock.
    #[must_use]
    pub fn superblock(&self) -> &Superblock {
        &self.volume.superblock
    }

    /// The root directory's inode.
    #[must_use]
    pub fn root(&self) -> InodeRef {
        InodeRef::from_raw(self.superblock().root)
    }

    /// Reads an inode.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Decompress`], [`Error::Read`]: to a user of the file, EIO.
    pub fn inode(&self, reference: InodeRef) -> Result<Inode, Error> {
        let superblock = self.superblock();
        let place = reference.place(superblock.inode_table);
        if place.block >= superblock.directory_table {
            return Err(Error::malformed("an inode is not in the inode table"));
        }
        let mut cursor = Cursor::new(&self.volume, place)?;
        inode::read(&mut cursor, reference, superblock.block_size, &self.ids)
    }

    /// Whether [`Self::reference`] can be asked: the file system has an export table.
    #[must_use]
    pub fn has_export_table(&self) -> bool {
        !self.export.is_empty()
    }

    /// Where the inode of this number lies, by the export table.
    ///
    /// # Errors
    /// [`Error::Malformed`] when there is none or the number is not in it; else as
    /// [`Self::inode`].
    pub fn reference(&self, number: u32) -> Result<InodeRef, Error> {
        let position = number.checked_sub(1);
        let position = position.ok_or_else(|| Error::malformed("inode numbers begin at 1"))?;
        let bytes = self.export.get(&self.volume, position)?;
        Ok(InodeRef::from_raw(u64::from_le_bytes(bytes)))
    }

    /// The names in a directory from `position` on, in ascending byte order, without `.` and `..`.
    ///
    /// Of a directory that holds itself this tells nothing: who descends without a kernel between
    /// must refuse a directory it is in already.
    ///
    /// # Errors
    /// [`Error::WrongKind`] when it is no directory; else as [`Self::inode`].
    pub fn entries(
        &self,
        directory: &Inode,
        position: Position,
    ) -> Result<DirectoryEntries<'_>, Error> {
        DirectoryEntries::open(&self.volume, directory_of(directory)?, position)
    }

    /// Looks a name up, by the directory's index where it has one.
    ///
    /// # Errors
    /// As [`Self::entries`].
    pub fn lookup(&self, directory: &Inode, name: &[u8]) -> Result<Option<DirectoryEntry>, Error> {
        DirectoryEntries::find(&self.volume, directory_of(directory)?, name)
    }

    /// Whether any inode may have extended attributes.
    #[must_use]
    pub fn has_xattrs(&self) -> bool {
        !self.xattrs.is_empty()
    }

    /// The extended attributes of an inode, at most 1 MiB, in the order they are stored.
    ///
    /// # Errors
    /// As [`Self::inode`].
    pub fn xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>, Error> {
        inode.xattrs.map_or(Ok(Vec::new()), |set| self.xattrs.read(&self.volume, set))
    }

    /// Where the content of a regular file lies.
    ///
    /// # Errors
    /// [`Error::WrongKind`] when it is no regular file; [`Error::Malformed`] too for one of more
    /// than 16 777 216 blocks; else as [`Self::inode`].
    pub fn file_map(&self, inode: &Inode) -> Result<FileMap, Error> {
        let Kind::File(file) = &inode.kind else {
            return Err(Error::WrongKind { wanted: "regular file" });
        };
        let sizes = self.block_sizes(file)?;
        let fragment = match file.fragment {
            None => None,
            Some((number, offset)) => Some((self.fragment(number)?, offset)),
        };
        FileMap::new(&self.volume, file.size, file.start, sizes, fragment)
    }

    fn block_sizes(&self, file: &FileData) -> Result<Box<[u32]>, Error> {
        let block_size = u64::from(self.superblock().block_size);
        let whole = file.size.checked_div(block_size).unwrap_or(0);
        let count = if file.fragment.is_some() { whole } else { file.size.div_ceil(block_size) };
        if count > MAX_BLOCKS {
            return Err(Error::malformed("a file has too many blocks"));
        }
        let mut left = usize::try_from(count).unwrap_or(0);
        let mut cursor = Cursor::new(&self.volume, file.list)?;
        // Grows by what is there, not by what the inode promises.
        let mut sizes = Vec::with_capacity(left.min(2048));
        while left > 0 {
            let part = left.min(2048);
            let bytes = cursor.bytes(part.saturating_mul(4))?;
            let (chunks, _) = bytes.as_chunks();
            sizes.extend(chunks.iter().map(|chunk| u32::from_le_bytes(*chunk)));
            left = left.saturating_sub(part);
        }
        Ok(sizes.into())
    }

    fn fragment(&self, number: u32) -> Result<Block, Error> {
        let entry = self.fragments.get(&self.volume, number)?;
        let mut fields = crate::bytes::Fields(&entry);
        Block::new(fields.u64()?, fields.u32()?, &self.volume)
    }

    /// Reads a block into the start of `out` and returns the bytes made: for a hole, all of `out`.
    ///
    /// `out` is a whole block long, or as long as the part of it that is known to be there; a block
    /// that makes more is an error. What lies behind the bytes made is undefined.
    ///
    /// # Errors
    /// [`Error::Decompress`], [`Error::Read`], [`Error::Malformed`]: to a user of the file, EIO.
    pub fn read_block(&self, block: &Block, out: &mut [u8]) -> Result<usize, Error> {
        let stored = usize::try_from(block.stored).unwrap_or(usize::MAX);
        if stored == 0 {
            out.fill(0);
            return Ok(out.len());
        }
        if !block.is_compressed {
            let Some(out) = out.get_mut(..stored) else {
                return Err(Error::malformed("a block is longer than its file"));
            };
            self.volume.read(out, block.offset, "a data block")?;
            return Ok(stored);
        }
        let mut buffer = self.volume.buffers.take(stored);
        let made = self.volume.read(&mut buffer, block.offset, "a data block").and_then(|()| {
            let made = self.volume.decompressors.decompress(&buffer, out);
            made.map_err(|cause| Error::Decompress { offset: block.offset, cause })
        });
        self.volume.buffers.put(buffer);
        made
    }

    /// Reads a piece of a file into `out`, which then holds [`Piece::length`] bytes.
    ///
    /// Of a fragment the whole block is decompressed: who reads many small files keeps blocks by
    /// [`Block::offset`] and uses [`Self::read_block`].
    ///
    /// # Errors
    /// As [`Self::read_block`]; [`Error::Malformed`] when the block is shorter than the piece.
    pub fn read_piece(&self, piece: &Piece, out: &mut Vec<u8>) -> Result<(), Error> {
        let block_size = usize::try_from(self.superblock().block_size).unwrap_or(0);
        let length = usize::try_from(piece.length).unwrap_or(usize::MAX);
        let skip = usize::try_from(piece.skip).unwrap_or(usize::MAX);
        out.resize(block_size, 0);
        let made = self.read_block(&piece.block, out)?;
        if made < skip.saturating_add(length) {
            return Err(Error::malformed("a block is shorter than its file says"));
        }
        out.truncate(skip.saturating_add(length));
        out.drain(..skip);
        Ok(())
    }
}

fn directory_of(inode: &Inode) -> Result<&Directory, Error> {
    match &inode.kind {
        Kind::Directory(directory) => Ok(directory),
        _ => Err(Error::WrongKind { wanted: "directory" }),
    }
}
