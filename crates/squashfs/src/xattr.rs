//! Extended attributes.
//!
//! ```text
//! xattr table's offset: u64 start of the pairs, u32 sets, u32 unused, pointers to the sets
//! set:   u64 reference of its first pair, u32 pairs, u32 bytes
//! pair:  u16 type (0 user, 1 trusted, 2 security; 0x100: the value is elsewhere),
//!        u16 name length, name without prefix, u32 value length, value (or a u64 reference)
//! ```

use crate::error::Error;
use crate::inode::InodeRef;
use crate::metadata::{Cursor, Volume};
use crate::superblock::NONE;
use crate::table::Table;

/// Prefixes by type.
pub(crate) const PREFIXES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
const ELSEWHERE: u16 = 0x100;
/// Linux's bounds: bytes of a value, bytes of a name, bytes of all of one inode here.
const VALUE_BYTES: u32 = 64 << 10;
const NAME_BYTES: usize = 255;
const TOTAL_BYTES: usize = 1 << 20;

/// One extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// The name with its prefix, for instance `security.capability`.
    pub name: Box<[u8]>,
    /// The value, at most 64 KiB.
    pub value: Box<[u8]>,
}

/// Says whether squashfs can hold an attribute of this name: `user.`, `trusted.`, `security.`.
#[must_use]
pub fn is_storable_xattr(name: &[u8]) -> bool {
    name.len() <= NAME_BYTES && split(name).is_some()
}

/// The type and the name without its prefix.
pub(crate) fn split(name: &[u8]) -> Option<(u16, &[u8])> {
    let mut types = 0..;
    PREFIXES.iter().find_map(|prefix| {
        let number = types.next()?;
        let rest = name.strip_prefix(*prefix).filter(|rest| !rest.is_empty())?;
        Some((number, rest))
    })
}

/// The sets of an image.
#[derive(Debug)]
pub(crate) struct Xattrs {
    start: u64,
    sets: Table<16>,
}

impl Xattrs {
    pub(crate) fn open(volume: &Volume) -> Result<Self, Error> {
        let at = volume.superblock.xattr_table;
        if at == NONE {
            return Ok(Self { start: 0, sets: Table::EMPTY() });
        }
        let mut header = [0; 16];
        volume.read(&mut header, at, "the xattr table")?;
        let mut fields = crate::bytes::Fields(&header);
        let start = fields.u64()?;
        let count = fields.u32()?;
        if start >= at {
            return Err(Error::malformed("the xattr table points behind itself"));
        }
        Ok(Self { start, sets: Table::open(volume, at.saturating_add(16), count)? })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// The attributes of a set, in the order they are stored.
    pub(crate) fn read(&self, volume: &Volume, set: u32) -> Result<Vec<Xattr>, Error> {
        let entry = self.sets.get(volume, set)?;
        let mut fields = crate::bytes::Fields(&entry);
        let reference = InodeRef::from_raw(fields.u64()?);
        let count = fields.u32()?;
        let mut cursor = Cursor::new(volume, reference.place(self.start))?;
        let mut xattrs: Vec<Xattr> = Vec::new();
        let mut total = 0_usize;
        for _ in 0..count {
            let xattr = self.read_pair(volume, &mut cursor)?;
            total = total.saturating_add(xattr.name.len()).saturating_add(xattr.value.len());
            // Each pair has a name, so this bounds their number, too.
            if total > TOTAL_BYTES {
                return Err(Error::malformed("an inode has too many xattrs"));
            }
            xattrs.push(xattr);
        }
        Ok(xattrs)
    }

    fn read_pair(&self, volume: &Volume, cursor: &mut Cursor<'_>) -> Result<Xattr, Error> {
        let kind = cursor.u16()?;
        let length = usize::from(cursor.u16()?);
        let prefix = PREFIXES
            .get(usize::from(kind & !ELSEWHERE))
            .ok_or_else(|| Error::malformed("an xattr has an unknown type"))?;
        if length == 0 || length.saturating_add(prefix.len()) > NAME_BYTES {
            return Err(Error::malformed("the name of an xattr has an impossible length"));
        }
        let mut name = prefix.to_vec();
        name.extend(cursor.bytes(length)?);
        let value = if kind & ELSEWHERE == 0 {
            read_value(cursor)?
        } else {
            cursor.u32()?;
            let reference = InodeRef::from_raw(cursor.u64()?);
            read_value(&mut Cursor::new(volume, reference.place(self.start))?)?
        };
        Ok(Xattr { name: name.into(), value })
    }
}

fn read_value(cursor: &mut Cursor<'_>) -> Result<Box<[u8]>, Error> {
    let length = cursor.u32()?;
    if length > VALUE_BYTES {
        return Err(Error::malformed("the value of an xattr is too long"));
    }
    Ok(cursor.bytes(usize::try_from(length).unwrap_or(0))?.into())
}
