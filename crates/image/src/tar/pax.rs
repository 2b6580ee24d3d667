//! Pax extended headers: `"%d %s=%s\n"` records.
//!
//! POSIX pax, "pax Extended Header", read as Go's archive/tar does (`parsePAX`, `mergePAX`): an empty
//! value leaves the header's own, the last of two equal keys wins, sparse 0.0 maps are gathered.
//! Not here: which attributes are kept ([`crate::pipeline`]); sparse maps ([`super::sparse`]).

use super::Fault;
use super::number::{decimal, pax_time};

/// What pax records say about the entry after them. `None`: nothing.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<i64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) time: Option<i64>,
    /// Names without `SCHILY.xattr.`, last value wins, in order of first appearance.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: SparseRecords,
}

/// The `GNU.sparse.*` records, unread.
#[derive(Debug, Default)]
pub(super) struct SparseRecords {
    pub(super) major: Vec<u8>,
    pub(super) minor: Vec<u8>,
    pub(super) name: Vec<u8>,
    pub(super) size: Vec<u8>,
    pub(super) real_size: Vec<u8>,
    pub(super) blocks: Vec<u8>,
    /// Comma-separated, as in format 0.1.
    pub(super) map: Vec<u8>,
}

const XATTR: &[u8] = b"SCHILY.xattr.";

/// Reads all records of one extended header.
pub(super) fn parse(mut rest: &[u8]) -> Result<Records, Fault> {
    let mut records = Records::default();
    // Format 0.0 repeats offset and numbytes, which pax forbids; Go joins them to a map of 0.1.
    let mut pairs: Vec<&[u8]> = Vec::new();
    while !rest.is_empty() {
        let (key, value, after) = record(rest)?;
        rest = after;
        match key {
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let is_offset = key == b"GNU.sparse.offset";
                if is_offset != pairs.len().is_multiple_of(2) || value.contains(&b',') {
                    return Err(Fault::invalid("pax sparse records are out of order"));
                }
                pairs.push(value);
            }
            _ => records.put(key, value)?,
        }
    }
    if !pairs.is_empty() {
        records.sparse.map = pairs.join(&b',');
    }
    Ok(records)
}

/// Key and value of a record, and what follows it.
type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// The first record, and what follows it.
fn record(bytes: &[u8]) -> Result<Record<'_>, Fault> {
    let bad = || Fault::invalid("a pax record has a wrong length or no '='");
    let blank = bytes.iter().position(|&byte| byte == b' ').ok_or_else(bad)?;
    let (length, _) = bytes.split_at_checked(blank).ok_or_else(bad)?;
    let length = decimal(length).and_then(|length| usize::try_from(length).ok()).ok_or_else(bad)?;
    if length < 5 {
        return Err(bad());
    }
    let (whole, rest) = bytes.split_at_checked(length).ok_or_else(bad)?;
    let body = whole.get(blank.saturating_add(1)..).ok_or_else(bad)?;
    let body = body.strip_suffix(b"\n").ok_or_else(bad)?;
    let equals = body.iter().position(|&byte| byte == b'=').ok_or_else(bad)?;
    let (key, value) = body.split_at_checked(equals).ok_or_else(bad)?;
    let value = value.get(1..).unwrap_or_default();
    let is_text = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname");
    if key.is_empty() || if is_text { value.contains(&0) } else { key.contains(&0) } {
        return Err(Fault::invalid("a pax record holds a NUL or has no name"));
    }
    Ok((key, value, rest))
}

impl SparseRecords {
    /// Whether these records make the entry a sparse file in Go's eyes.
    pub(super) fn is_sparse(&self) -> bool {
        match (self.major.as_slice(), self.minor.as_slice()) {
            (b"0", b"0" | b"1") | (b"1", b"0") => true,
            (b"", b"") => !self.map.is_empty(),
            _ => false,
        }
    }

    /// The apparent size, where the records give one, else the header's.
    pub(super) fn apparent_size(&self, of_header: i64) -> Result<i64, Fault> {
        let text = if self.size.is_empty() { &self.real_size } else { &self.size };
        if text.is_empty() {
            return Ok(of_header);
        }
        decimal(text).ok_or_else(|| Fault::invalid("the size of a sparse file is no number"))
    }
}

impl Records {
    /// Whether the records would change an entry. In a global header nothing may: Go ignores them.
    pub(super) fn change_entries(&self) -> bool {
        let numbers = [self.size, self.uid, self.gid, self.time];
        self.path.is_some()
            || self.link.is_some()
            || numbers.iter().any(Option::is_some)
            || !self.xattrs.is_empty()
            || self.sparse.is_sparse()
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        if let Some(name) = key.strip_prefix(XATTR) {
            if name.is_empty() {
                return Err(Fault::invalid(
                    "a pax record names an extended attribute with no name",
                ));
            }
            self.put_xattr(name, value);
            return Ok(());
        }
        // "Keep the original": of an emptied record nothing stays, an earlier one of this key included.
        let filled = (!value.is_empty()).then_some(value);
        let number = |read: fn(&[u8]) -> Option<i64>| match filled {
            None => Ok(None),
            Some(value) => {
                read(value).map(Some).ok_or_else(|| Fault::invalid("a pax record holds no number"))
            }
        };
        match key {
            b"path" => self.path = filled.map(<[u8]>::to_vec),
            b"linkpath" => self.link = filled.map(<[u8]>::to_vec),
            b"size" => self.size = number(decimal)?,
            b"uid" => self.uid = number(decimal)?,
            b"gid" => self.gid = number(decimal)?,
            b"mtime" => self.time = number(pax_time)?,
            b"atime" | b"ctime" => drop(number(pax_time)?),
            b"GNU.sparse.major" => self.sparse.major = value.to_vec(),
            b"GNU.sparse.minor" => self.sparse.minor = value.to_vec(),
            b"GNU.sparse.name" => self.sparse.name = value.to_vec(),
            b"GNU.sparse.size" => self.sparse.size = value.to_vec(),
            b"GNU.sparse.realsize" => self.sparse.real_size = value.to_vec(),
            b"GNU.sparse.numblocks" => self.sparse.blocks = value.to_vec(),
            b"GNU.sparse.map" => self.sparse.map = value.to_vec(),
            _ => {}
        }
        Ok(())
    }

    fn put_xattr(&mut self, name: &[u8], value: &[u8]) {
        match self.xattrs.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value.to_vec(),
            None => self.xattrs.push((name.to_vec(), value.to_vec())),
        }
    }
}
