//! One 512-byte tar header: checksum, format, fields.
//!
//! ```text
//! offset  size  field            offset  size  field
//!      0   100  name                257     6  magic "ustar\0" or "ustar "
//!    100     8  mode                263     2  version
//!    108     8  uid                 265    32  user name
//!    116     8  gid                 297    32  group name
//!    124    12  size                329     8  device major
//!    136    12  time                337     8  device minor
//!    148     8  checksum            345   155  prefix (star: 131)
//!    156     1  type                386    96  GNU: 4 sparse extents, 482 flag "more"
//!    157   100  link name           483    12  GNU: real size
//! ```
//!
//! Read as Go's archive/tar does (reader.go `readHeader`, format.go `getFormat`), the `ustar` prefix
//! of broken GNU headers included. Not here: what follows a header ([`super`]).

use super::Fault;
use super::number::{numeric, octal, text};

/// Bytes of a header, and what data are padded to.
pub(super) const BLOCK: usize = 512;

/// A header as it lies in the stream.
pub(super) type Block = [u8; BLOCK];

/// Which fields a header has behind the first 257 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// A header's fields, before pax and GNU headers are applied.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: u8,
    pub(super) mode: i64,
    pub(super) uid: i64,
    pub(super) gid: i64,
    pub(super) size: i64,
    pub(super) time: i64,
    pub(super) major: i64,
    pub(super) minor: i64,
    pub(super) format: Format,
}

/// A field by offset and length; all of them are constants within a block.
pub(super) fn field(block: &Block, offset: usize, length: usize) -> &[u8] {
    block.get(offset..offset.saturating_add(length)).unwrap_or_default()
}

pub(super) fn is_zero(block: &Block) -> bool {
    block.iter().all(|&byte| byte == 0)
}

/// Reads a header that is not all zero.
pub(super) fn parse(block: &Block) -> Result<Header, Fault> {
    let format = format(block)?;
    let mut header = Header {
        name: text(field(block, 0, 100)).to_vec(),
        link: text(field(block, 157, 100)).to_vec(),
        kind: field(block, 156, 1).first().copied().unwrap_or(0),
        mode: numeric(field(block, 100, 8))?,
        uid: numeric(field(block, 108, 8))?,
        gid: numeric(field(block, 116, 8))?,
        size: numeric(field(block, 124, 12))?,
        time: numeric(field(block, 136, 12))?,
        major: 0,
        minor: 0,
        format,
    };
    if format == Format::V7 {
        return Ok(header);
    }
    header.major = numeric(field(block, 329, 8))?;
    header.minor = numeric(field(block, 337, 8))?;
    let prefix = match format {
        Format::V7 => &[],
        Format::Ustar => text(field(block, 345, 155)),
        Format::Star => text(field(block, 345, 131)),
        Format::Gnu => gnu_prefix(block),
    };
    if !prefix.is_empty() {
        header.name = [prefix, b"/", &header.name].concat();
    }
    Ok(header)
}

/// Go before 1.8 wrote GNU headers with a prefix where the two extra times belong. As its reader
/// does today: if those times are no numbers, an ASCII prefix is one.
fn gnu_prefix(block: &Block) -> &[u8] {
    let times = [field(block, 345, 12), field(block, 357, 12)];
    let odd = |time: &&[u8]| time.first() != Some(&0) && numeric(time).is_err();
    let prefix = text(field(block, 345, 155));
    if times.iter().any(odd) && prefix.is_ascii() { prefix } else { &[] }
}

fn format(block: &Block) -> Result<Format, Fault> {
    let not_tar = || Fault::invalid("not a tar header: its checksum is wrong");
    let wanted = octal(field(block, 148, 8)).map_err(|_| not_tar())?;
    let mut unsigned = 0_i64;
    let mut signed = 0_i64;
    for (position, &byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&position) { b' ' } else { byte };
        unsigned = unsigned.saturating_add(i64::from(byte));
        signed = signed.saturating_add(i64::from(byte.cast_signed()));
    }
    // The sum of signed bytes is what old Sun tars wrote.
    if wanted != unsigned && wanted != signed {
        return Err(not_tar());
    }
    Ok(match (field(block, 257, 6), field(block, 263, 2), field(block, 508, 4)) {
        (b"ustar\0", _, b"tar\0") => Format::Star,
        (b"ustar\0", _, _) => Format::Ustar,
        (b"ustar ", b" \0", _) => Format::Gnu,
        _ => Format::V7,
    })
}
