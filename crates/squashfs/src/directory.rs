//! Directory listings: names in ascending byte order, in runs that share a header.
//!
//! ```text
//! header: u32 entries - 1, u32 inodes' metadata block, u32 base inode number
//! entry:  u16 inode's offset, i16 inode number - base, u16 type, u16 name length - 1, name
//! index:  u32 offset of a header in the listing, u32 its metadata block, u32 name length - 1, name
//! ```
//!
//! A listing whose names do not ascend is refused: two entries of one name have been used to hide
//! one behind the other (CVE-2021-41072). So are `.`, `..` and names with a slash or NUL.

use crate::bytes::Fields;
use crate::error::Error;
use crate::inode::{Directory, FileType, InodeRef};
use crate::metadata::{BLOCK_BYTES_U64, Cursor, Place, Volume};

/// Bytes of a header.
pub(crate) const HEADER_BYTES: u32 = 12;
/// Entries of one header.
pub(crate) const HEADER_ENTRIES: u32 = 256;
/// Bytes of a name: Linux's `NAME_MAX`, and the format's.
pub(crate) const NAME_BYTES: usize = 255;
/// Bits of a position that count entries behind a header.
const COUNT_BITS: u32 = 9;

/// Where a listing is read on: an opaque number below 2^48; 0 is the start, and only that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(u64);

impl Position {
    /// The start of a listing.
    pub const START: Self = Self(0);

    /// The position of this number, from [`Self::to_raw`].
    #[must_use]
    pub fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number.
    #[must_use]
    pub fn to_raw(self) -> u64 {
        self.0
    }

    fn new(header: u32, entries: u32) -> Self {
        Self((u64::from(header) << COUNT_BITS) | u64::from(entries))
    }

    fn header(self) -> u32 {
        u32::try_from(self.0 >> COUNT_BITS).unwrap_or(u32::MAX)
    }

    fn entries(self) -> u32 {
        u32::try_from(self.0 & ((1 << COUNT_BITS) - 1)).unwrap_or(0)
    }
}

/// One name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// 1 to 255 bytes, none of them `/` or NUL; not `.` or `..`.
    pub name: Box<[u8]>,
    /// Where its inode lies.
    pub inode: InodeRef,
    /// Its inode's number.
    pub number: u32,
    /// What it is.
    pub file_type: FileType,
    /// Where to read on behind it.
    pub next: Position,
}

/// The entries of a directory, from some position on. Ends behind the first error.
#[derive(Debug)]
pub struct DirectoryEntries<'r> {
    cursor: Option<Cursor<'r>>,
    /// Bytes of the listing, and how many of them are read.
    listing: u32,
    read: u32,
    header: Header,
    name: Vec<u8>,
}

#[derive(Debug, Default)]
struct Header {
    /// Offset in the listing.
    at: u32,
    entries: u32,
    read: u32,
    block: u32,
    number: u32,
}

struct Raw {
    inode: InodeRef,
    number: u32,
    file_type: FileType,
}

/// What a search of the index gave: a header in the listing.
struct Found {
    at: u32,
    place: Place,
}

impl<'r> DirectoryEntries<'r> {
    /// Entries from a header on.
    fn at(volume: &'r Volume, directory: &Directory, found: &Found) -> Result<Self, Error> {
        let is_over = found.at >= directory.listing;
        Ok(Self {
            cursor: if is_over { None } else { Some(Cursor::new(volume, found.place)?) },
            listing: directory.listing,
            read: found.at,
            header: Header::default(),
            name: Vec::new(),
        })
    }

    pub(crate) fn open(
        volume: &'r Volume,
        directory: &Directory,
        position: Position,
    ) -> Result<Self, Error> {
        let wanted = position.header();
        let found = search(volume, directory, |at, _| at <= wanted)?;
        let mut entries = Self::at(volume, directory, &found)?;
        entries.skip_bytes(wanted.saturating_sub(found.at))?;
        for _ in 0..position.entries() {
            entries.advance()?;
        }
        Ok(entries)
    }

    pub(crate) fn find(
        volume: &'r Volume,
        directory: &Directory,
        wanted: &[u8],
    ) -> Result<Option<DirectoryEntry>, Error> {
        let found = search(volume, directory, |_, name| name <= wanted)?;
        let mut entries = Self::at(volume, directory, &found)?;
        while let Some(raw) = entries.advance()? {
            match entries.name.as_slice().cmp(wanted) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(Some(entries.entry(&raw))),
                std::cmp::Ordering::Greater => break,
            }
        }
        Ok(None)
    }

    fn skip_bytes(&mut self, bytes: u32) -> Result<(), Error> {
        if bytes >= self.listing.saturating_sub(self.read) {
            self.cursor = None;
        }
        self.read = self.read.saturating_add(bytes);
        self.cursor.as_mut().map_or(Ok(()), |cursor| cursor.skip(bytes.into()))
    }

    /// Reads one entry; its name is in `self.name`.
    fn advance(&mut self) -> Result<Option<Raw>, Error> {
        let Some(cursor) = &mut self.cursor else { return Ok(None) };
        if self.header.read == self.header.entries {
            let left = self.listing.saturating_sub(self.read);
            if left == 0 {
                return Ok(None);
            }
            let bytes: [u8; 12] = cursor.array()?;
            let mut fields = Fields(&bytes);
            let entries = fields.u32()?.saturating_add(1);
            if entries > HEADER_ENTRIES {
                return Err(Error::malformed("a directory header counts too many entries"));
            }
            let (block, number) = (fields.u32()?, fields.u32()?);
            self.header = Header { at: self.read, entries, read: 0, block, number };
            self.read = self.read.saturating_add(HEADER_BYTES);
        }
        let bytes: [u8; 8] = cursor.array()?;
        let mut fields = Fields(&bytes);
        let offset = fields.u16()?;
        let difference = fields.i16()?;
        let file_type = FileType::from_basic(fields.u16()?)?;
        let length = usize::from(fields.u16()?).saturating_add(1);
        if length > NAME_BYTES {
            return Err(Error::malformed("a name is too long"));
        }
        let mut buffer = [0; NAME_BYTES];
        let name = buffer.get_mut(..length).unwrap_or_default();
        cursor.read(name)?;
        if !is_name(name) {
            return Err(Error::malformed("a name cannot be"));
        }
        if self.name.as_slice() >= name {
            return Err(Error::malformed("the names of a directory do not ascend"));
        }
        self.name.clear();
        self.name.extend_from_slice(name);
        let bytes = u32::try_from(length).unwrap_or(u32::MAX).saturating_add(8);
        self.read = self.read.saturating_add(bytes);
        if self.read > self.listing {
            return Err(Error::malformed("a directory is longer than its inode says"));
        }
        self.header.read = self.header.read.saturating_add(1);
        let inode = InodeRef::from_raw((u64::from(self.header.block) << 16) | u64::from(offset));
        let number = self.header.number.wrapping_add_signed(difference.into());
        Ok(Some(Raw { inode, number, file_type }))
    }

    fn entry(&self, raw: &Raw) -> DirectoryEntry {
        DirectoryEntry {
            name: self.name.as_slice().into(),
            inode: raw.inode,
            number: raw.number,
            file_type: raw.file_type,
            next: Position::new(self.header.at, self.header.read),
        }
    }
}

impl Iterator for DirectoryEntries<'_> {
    type Item = Result<DirectoryEntry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(raw) => raw.map(|raw| Ok(self.entry(&raw))),
            Err(error) => {
                self.cursor = None;
                Some(Err(error))
            }
        }
    }
}

/// Whether a directory may hold this name.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && name.len() <= NAME_BYTES
        && !name.iter().any(|&byte| byte == b'/' || byte == 0)
}

/// The last header of the index that is not behind what is wanted; else the first of all.
fn search(
    volume: &Volume,
    directory: &Directory,
    is_before: impl Fn(u32, &[u8]) -> bool,
) -> Result<Found, Error> {
    let table = volume.superblock.directory_table;
    let first = u64::from(directory.offset);
    let place = |block: u32, offset: u64| Place {
        block: table.saturating_add(block.into()),
        offset: u16::try_from(offset % BLOCK_BYTES_U64).unwrap_or(0),
    };
    let mut found = Found {
        at: 0,
        place: Place { block: place(directory.block, 0).block, offset: directory.offset },
    };
    if directory.indexes == 0 || directory.listing == 0 {
        return Ok(found);
    }
    let mut cursor = Cursor::new(volume, directory.index)?;
    for _ in 0..directory.indexes {
        let (at, block, length) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let length = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(1);
        if length > NAME_BYTES {
            return Err(Error::malformed("a name in a directory index is too long"));
        }
        let mut buffer = [0; NAME_BYTES];
        let name = buffer.get_mut(..length).unwrap_or_default();
        cursor.read(name)?;
        if !is_before(at, name) {
            break;
        }
        found = Found { at, place: place(block, first.saturating_add(at.into())) };
    }
    Ok(found)
}
