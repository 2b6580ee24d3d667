//! [`Sif`]: header and descriptors of a file, checked.

use orlop_squashfs::ReadAt;

use crate::codes::DataType;
use crate::descriptor::{DESCRIPTOR_BYTES, Descriptor};
use crate::error::Error;
use crate::header::{HEADER_BYTES, Header};

/// Descriptors of one file, at most.
const MAX_DESCRIPTORS: i64 = 65_535;

/// A SIF's header and objects. Holding one means that each object lies within the file and behind
/// header and descriptors; it does not mean that it holds what its type says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sif {
    header: Header,
    descriptors: Vec<Descriptor>,
}

impl Sif {
    /// Reads header and descriptors.
    ///
    /// # Errors
    /// [`Error::Short`], [`Error::Magic`], [`Error::Version`], [`Error::Header`],
    /// [`Error::Object`]; [`Error::Read`] when the file cannot be read.
    pub fn read(source: &dyn ReadAt) -> Result<Self, Error> {
        const HEADER: &str = "reading global header";
        let size = source.size();
        if size < HEADER_BYTES as u64 {
            return Err(Error::Short { what: HEADER });
        }
        let mut bytes = [0; HEADER_BYTES];
        source.read_at(&mut bytes, 0).map_err(|cause| Error::Read { what: HEADER, cause })?;
        let header = Header::parse(&bytes)?;
        let table = Table::of(&header, size)?;
        let descriptors = table.read(source)?;
        for descriptor in &descriptors {
            let fault =
                if descriptor.offset.checked_add(descriptor.size).is_none_or(|end| end > size) {
                    "it reaches past the end of the file"
                } else if descriptor.offset < table.end {
                    "it overlaps the header"
                } else {
                    continue;
                };
            return Err(Error::Object { id: descriptor.id, fault });
        }
        Ok(Self { header, descriptors })
    }

    /// The global header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The objects, in the order of the table.
    #[must_use]
    pub fn descriptors(&self) -> &[Descriptor] {
        &self.descriptors
    }

    /// The object of this ID.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn object(&self, id: u32) -> Result<&Descriptor, Error> {
        self.descriptors.iter().find(|object| object.id == id).ok_or(Error::NotFound { id })
    }

    /// The first object of this type and name.
    #[must_use]
    pub fn named(&self, data_type: DataType, name: &str) -> Option<&Descriptor> {
        let is_it =
            |object: &&Descriptor| object.data_type == data_type && object.name == name.as_bytes();
        self.descriptors.iter().find(is_it)
    }

    /// The primary system partition.
    ///
    /// # Errors
    /// [`Error::NoRoot`], [`Error::TwoRoots`].
    pub fn primary(&self) -> Result<&Descriptor, Error> {
        let mut primaries = self.descriptors.iter().filter(|object| object.is_primary());
        let first = primaries.next().ok_or(Error::NoRoot)?;
        match primaries.next() {
            None => Ok(first),
            Some(second) => Err(Error::TwoRoots { first: first.id, second: second.id }),
        }
    }

    /// Whether the file has signatures. They are not checked.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.descriptors.iter().any(|object| object.data_type == DataType::Signature)
    }
}

/// Where the descriptors lie.
struct Table {
    offset: u64,
    end: u64,
    count: usize,
}

impl Table {
    fn of(header: &Header, size: u64) -> Result<Self, Error> {
        let total = header.descriptors_total;
        if !(1..=MAX_DESCRIPTORS).contains(&total) {
            return Err(Error::Header { fault: "its number of descriptors cannot be" });
        }
        if total.checked_mul(DESCRIPTOR_BYTES as i64) != Some(header.descriptors_size) {
            return Err(Error::Header { fault: "its descriptors have another size" });
        }
        let bounds = u64::try_from(header.descriptors_offset)
            .ok()
            .zip(u64::try_from(header.descriptors_size).ok())
            .filter(|(offset, _)| *offset >= HEADER_BYTES as u64);
        let Some((offset, bytes)) = bounds else {
            return Err(Error::Header { fault: "its descriptors are out of place" });
        };
        let end = offset.saturating_add(bytes);
        if end > size {
            return Err(Error::Short { what: "reading descriptors" });
        }
        Ok(Self { offset, end, count: usize::try_from(total).unwrap_or(0) })
    }

    fn read(&self, source: &dyn ReadAt) -> Result<Vec<Descriptor>, Error> {
        let mut bytes = vec![0; self.count.saturating_mul(DESCRIPTOR_BYTES)];
        source
            .read_at(&mut bytes, self.offset)
            .map_err(|cause| Error::Read { what: "reading descriptors", cause })?;
        let (slots, _) = bytes.as_chunks();
        slots
            .iter()
            .filter(|slot| Descriptor::is_used(slot))
            .map(|slot| {
                let fault = "its place or size is negative";
                Descriptor::parse(slot).map_err(|id| Error::Object { id, fault })
            })
            .collect()
    }
}
