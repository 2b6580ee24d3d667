//! Descriptors: 585 bytes that say what an object is and where it lies.
//!
//! ```text
//!  0 u32 data type   4 u8 used   5 u32 ID   9 u32 group   13 u32 link
//! 17 i64 offset     25 i64 size 33 i64 size with padding
//! 41 i64 created    49 i64 modified   57 i64 UID   65 i64 GID   73 [128] name   201 [384] extra
//! ```
//!
//! Group and link have the top four bits set where they name a group.

use crate::architecture::Architecture;
use crate::codes::{DataType, FileSystem, PartitionKind};
use crate::header::{Fields, until_zero};

/// Bytes of a descriptor.
pub(crate) const DESCRIPTOR_BYTES: usize = 585;
pub(crate) const NAME_BYTES: usize = 128;
pub(crate) const EXTRA_BYTES: usize = 384;
/// Set in group and link where they name a group.
const GROUP: u32 = 0xf000_0000;

/// What an object belongs to, a signature for instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Nothing.
    None,
    /// An object's ID.
    Object(u32),
    /// A group of objects.
    Group(u32),
}

/// What a partition's descriptor adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its file system.
    pub file_system: FileSystem,
    /// What it is for.
    pub kind: PartitionKind,
    /// Of the programs in it; nothing where it has no code.
    pub architecture: Option<Architecture>,
}

/// An object's descriptor. Offset and size have been checked to lie within the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// What the object is.
    pub data_type: DataType,
    /// Its ID: 1 and more, but for odd files.
    pub id: u32,
    /// Number of its group, 0 for none.
    pub group: u32,
    /// What it belongs to.
    pub link: Link,
    /// Where it begins. Bytes from the start of the file.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes, with the padding before it.
    pub size_with_padding: i64,
    /// Unix seconds.
    pub created: i64,
    /// Unix seconds.
    pub modified: i64,
    /// Who made it; 0 nowadays.
    pub uid: i64,
    /// Who made it; 0 nowadays.
    pub gid: i64,
    /// Its name, without the zeros behind it; empty for definition and partition.
    pub name: Vec<u8>,
    /// What its type adds: 384 bytes.
    pub extra: Vec<u8>,
}

impl Descriptor {
    /// Says whether the slot is used.
    pub(crate) fn is_used(bytes: &[u8; DESCRIPTOR_BYTES]) -> bool {
        bytes.get(4).is_some_and(|&used| used != 0)
    }

    /// Reads a descriptor; where offset or size is negative, its ID instead.
    pub(crate) fn parse(bytes: &[u8; DESCRIPTOR_BYTES]) -> Result<Self, u32> {
        let mut fields = Fields(bytes);
        let data_type = DataType::from_code(fields.u32());
        let [_used] = fields.array();
        let id = fields.u32();
        let group = fields.u32() & !GROUP;
        let link = match fields.u32() {
            0 => Link::None,
            number if number & GROUP == GROUP => Link::Group(number & !GROUP),
            number => Link::Object(number),
        };
        Ok(Self {
            data_type,
            id,
            group,
            link,
            offset: u64::try_from(fields.i64()).map_err(|_| id)?,
            size: u64::try_from(fields.i64()).map_err(|_| id)?,
            size_with_padding: fields.i64(),
            created: fields.i64(),
            modified: fields.i64(),
            uid: fields.i64(),
            gid: fields.i64(),
            name: until_zero(&fields.array::<NAME_BYTES>()).to_vec(),
            extra: fields.array::<EXTRA_BYTES>().to_vec(),
        })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let mut out = Vec::with_capacity(DESCRIPTOR_BYTES);
        out.extend_from_slice(&self.data_type.code().to_le_bytes());
        out.push(1);
        let link = match self.link {
            Link::None => 0,
            Link::Object(id) => id,
            Link::Group(group) => GROUP | group,
        };
        for field in [self.id, GROUP | self.group, link] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for field in [
            number(self.offset),
            number(self.size),
            self.size_with_padding,
            self.created,
            self.modified,
            self.uid,
            self.gid,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        let end = out.len().saturating_add(NAME_BYTES);
        out.extend_from_slice(&self.name);
        out.resize(end, 0);
        out.extend_from_slice(&self.extra);
        out.resize(DESCRIPTOR_BYTES, 0);
        out
    }

    /// Where it ends. Bytes from the start of the file.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.size)
    }

    /// What a partition adds; nothing for other objects.
    #[must_use]
    pub fn partition(&self) -> Option<Partition> {
        if self.data_type != DataType::Partition {
            return None;
        }
        let mut fields = Fields(&self.extra);
        Some(Partition {
            file_system: FileSystem::from_code(fields.u32()),
            kind: PartitionKind::from_code(fields.u32()),
            architecture: Architecture::from_code(fields.array()),
        })
    }

    /// Whether it is the system that runs.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.partition().is_some_and(|partition| partition.kind == PartitionKind::PrimarySystem)
    }
}
