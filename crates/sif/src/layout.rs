//! [`Layout`]: where the objects of a new SIF go, and the bytes before them.
//!
//! Nothing is read from the machine: ID and times are given, so that the same objects make the
//! same file. Not here: writing it (`orlop-image`).

use crate::architecture::Architecture;
use crate::codes::DataType;
use crate::descriptor::{DESCRIPTOR_BYTES, Descriptor, Link, NAME_BYTES};
use crate::error::Error;
use crate::header::{Header, LAUNCH_SCRIPT};

/// Descriptors of a new file.
const DESCRIPTORS: usize = 48;
const DESCRIPTORS_OFFSET: usize = 4096;
/// Where the first object begins, and how long the head is. Bytes.
pub const DATA_OFFSET: u64 = 32_176;
/// Alignment of a partition.
const PARTITION_ALIGNMENT: u64 = 4096;

/// An object to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewObject {
    data_type: DataType,
    name: String,
    size: u64,
    alignment: u64,
    architecture: Option<Architecture>,
}

impl NewObject {
    /// A definition file of `size` bytes.
    #[must_use]
    pub fn definition(size: u64) -> Self {
        Self::new(DataType::Definition, "", size)
    }

    /// A JSON document of `size` bytes.
    #[must_use]
    pub fn json(name: &str, size: u64) -> Self {
        Self::new(DataType::GenericJson, name, size)
    }

    /// The primary system partition: a squashfs of `size` bytes, padding included.
    #[must_use]
    pub fn squashfs(size: u64, architecture: Option<Architecture>) -> Self {
        let object = Self::new(DataType::Partition, "", size);
        Self { alignment: PARTITION_ALIGNMENT, architecture, ..object }
    }

    fn new(data_type: DataType, name: &str, size: u64) -> Self {
        Self { data_type, name: name.to_owned(), size, alignment: 1, architecture: None }
    }

    /// Extra of a partition: squashfs, primary, architecture.
    fn extra(&self) -> Vec<u8> {
        let mut extra = Vec::new();
        if self.data_type == DataType::Partition {
            extra.extend_from_slice(&1_u32.to_le_bytes());
            extra.extend_from_slice(&2_u32.to_le_bytes());
            extra.extend_from_slice(&self.architecture.map_or(*b"00\0", Architecture::code));
        }
        extra
    }
}

/// What is written of a file's making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// UUID, as by [`uuid_v8`].
    pub id: [u8; 16],
    /// Creation and modification of file and objects. Unix seconds.
    pub time: i64,
}

/// Where the objects of a new file go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The file's first [`DATA_OFFSET`] bytes: header, descriptors and the zeros between.
    pub head: Vec<u8>,
    /// Offset of each object, in their order. Bytes; what lies between objects is zeros.
    pub offsets: Vec<u64>,
    /// Bytes of the file.
    pub size: u64,
}

impl Layout {
    /// Lays the objects out, one behind the other.
    ///
    /// # Errors
    /// [`Error::Unrepresentable`]: more than 48 objects, a name longer than 128 bytes, two
    /// partitions, sizes beyond 2^63.
    pub fn new(stamp: &Stamp, objects: &[NewObject]) -> Result<Self, Error> {
        let unrepresentable = |what| Err(Error::Unrepresentable { what });
        if objects.len() > DESCRIPTORS {
            return unrepresentable("more than 48 objects");
        }
        if objects.iter().any(|object| object.name.len() > NAME_BYTES) {
            return unrepresentable("a name of more than 128 bytes");
        }
        let mut primaries = objects.iter().filter(|one| one.data_type == DataType::Partition);
        let primary = primaries.next();
        if primaries.next().is_some() {
            return unrepresentable("two primary partitions");
        }
        let mut end = DATA_OFFSET;
        let mut offsets = Vec::with_capacity(objects.len());
        let mut table = Vec::with_capacity(DESCRIPTORS.saturating_mul(DESCRIPTOR_BYTES));
        for (id, object) in (1..).zip(objects) {
            let Some((offset, next)) = place(end, object) else {
                return unrepresentable("objects of more than 2^63 bytes");
            };
            table.extend(describe(stamp, id, object, offset, next.saturating_sub(end)).to_bytes());
            offsets.push(offset);
            end = next;
        }
        table.resize(DESCRIPTORS.saturating_mul(DESCRIPTOR_BYTES), 0);
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let header = Header {
            launch_script: LAUNCH_SCRIPT.to_vec(),
            architecture: primary.and_then(|object| object.architecture),
            id: stamp.id,
            created: stamp.time,
            modified: stamp.time,
            descriptors_free: number(DESCRIPTORS.saturating_sub(objects.len())),
            descriptors_total: number(DESCRIPTORS),
            descriptors_offset: number(DESCRIPTORS_OFFSET),
            descriptors_size: number(table.len()),
            data_offset: signed(DATA_OFFSET),
            data_size: signed(end.saturating_sub(DATA_OFFSET)),
        };
        let mut head = header.to_bytes();
        head.resize(DESCRIPTORS_OFFSET, 0);
        head.append(&mut table);
        Ok(Self { head, offsets, size: end })
    }
}

/// Where an object begins and ends that goes behind `end`.
fn place(end: u64, object: &NewObject) -> Option<(u64, u64)> {
    let offset = end.checked_next_multiple_of(object.alignment)?;
    let next = offset.checked_add(object.size)?;
    i64::try_from(next).is_ok().then_some((offset, next))
}

fn describe(stamp: &Stamp, id: u32, object: &NewObject, offset: u64, padded: u64) -> Descriptor {
    Descriptor {
        data_type: object.data_type,
        id,
        group: 1,
        link: Link::None,
        offset,
        size: object.size,
        size_with_padding: signed(padded),
        created: stamp.time,
        modified: stamp.time,
        uid: 0,
        gid: 0,
        name: object.name.clone().into_bytes(),
        extra: object.extra(),
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A UUID of version 8 (RFC 9562: of one's own making) with the other bits from a digest.
#[must_use]
pub fn uuid_v8(digest: [u8; 16]) -> [u8; 16] {
    let mut id = digest;
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut id;
    *version = (*version & 0x0f) | 0x80;
    *variant = (*variant & 0x3f) | 0x80;
    id
}
