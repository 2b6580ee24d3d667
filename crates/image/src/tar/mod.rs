//! A tar stream, entry by entry.
//!
//! V7, ustar, star, GNU (`L`, `K`, `S`) and pax (`x`, sparse 0.0, 0.1, 1.0). Where Go's archive/tar and
//! POSIX read a stream differently this reads it as Go does, because every other OCI tool does: a
//! parser that sees other entries than they do is a smuggling hole (CVE-2025-62518). Nothing is
//! kept of an entry's data, and its headers are bounded.
//! [`members`] lists an archive that is a file. Not here: what names mean ([`crate::names`] cleans
//! them, [`crate::merge`] resolves them).

mod header;
mod members;
mod number;
mod pax;
mod sparse;
#[cfg(test)]
mod sparse_tests;
mod stream;
#[cfg(test)]
mod tests;

use crate::error::Error;
use crate::limits::Limits;
use header::{BLOCK, Block, Header};
use sparse::{Extent, Lines, OldGnu, Pax};
use stream::Stream;

pub use members::{Member, MemberKind, members};

/// What is wrong with a stream. The caller knows layer and entry.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The tar is invalid; the text is for the error.
    Invalid(String),
    /// A limit was reached.
    Limit { key: &'static str, limit: u64, seen: u64 },
    /// The bytes did not come, or could not be taken.
    Other(Error),
}

impl Fault {
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// The uncompressed bytes of a layer.
pub(crate) trait Bytes {
    /// The bytes at hand, more of them if there are none; empty at the end of the stream.
    fn fill(&mut self) -> Result<&[u8], Fault>;
    /// Drops `count` of the bytes that [`Self::fill`] gave.
    fn consume(&mut self, count: usize);
    /// Passes over up to `count` bytes without reading them; gives how many. None where they can
    /// only be read.
    fn pass(&mut self, count: u64) -> u64 {
        let _ = count;
        0
    }
}

/// Where a file's content goes.
pub(crate) trait Content {
    /// Takes bytes.
    fn data(&mut self, bytes: &[u8]) -> Result<(), Fault>;
    /// Takes so many zeros that the tar does not hold.
    fn hole(&mut self, length: u64) -> Result<(), Fault>;
}

/// Type of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Char,
    Block,
    Directory,
    Fifo,
}

/// One entry, pax and GNU headers applied. Names are as they came.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: i64,
    pub(crate) uid: i64,
    pub(crate) gid: i64,
    /// Seconds.
    pub(crate) time: i64,
    /// Apparent bytes of a file, holes included.
    pub(crate) size: u64,
    pub(crate) major: i64,
    pub(crate) minor: i64,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads a tar stream.
#[derive(Debug)]
pub(crate) struct Reader<B> {
    stream: Stream<B>,
    limits: Limits,
    /// Where the current entry's first header began.
    start: u64,
    /// Name of the entry under way as far as it is known.
    name: Vec<u8>,
    /// Bytes of the current entry's data that are still in the stream.
    stored: u64,
    /// Zeros after the current entry's data.
    padding: u64,
    /// Apparent size of the current file, and where its data are if it is sparse.
    size: u64,
    sparse: Option<Vec<Extent>>,
    global_ignored: bool,
    ended_in_padding: bool,
}

/// Headers that describe the entry after them.
#[derive(Debug, Default)]
struct Pending {
    pax: Option<pax::Records>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.name.is_none() && self.link.is_none()
    }
}

impl<B: Bytes> Reader<B> {
    pub(crate) fn new(bytes: B, limits: Limits) -> Self {
        Self {
            stream: Stream { bytes, position: 0 },
            limits,
            start: 0,
            name: Vec::new(),
            stored: 0,
            padding: 0,
            size: 0,
            sparse: None,
            global_ignored: false,
            ended_in_padding: false,
        }
    }

    /// Where the current entry's first header began, in bytes of the tar.
    pub(crate) fn entry_offset(&self) -> u64 {
        self.start
    }

    /// The name of the entry under way as far as it is known, for errors.
    pub(crate) fn entry_name(&self) -> &[u8] {
        &self.name
    }

    /// Bytes of the tar before the current entry's data, once its headers have been read.
    fn position(&self) -> u64 {
        self.stream.position
    }

    /// Whether the current file's data are stored with holes.
    fn is_sparse(&self) -> bool {
        self.sparse.is_some()
    }

    /// Whether a pax global header wanted to change entries; it was ignored.
    pub(crate) fn global_ignored(&self) -> bool {
        self.global_ignored
    }

    /// Whether the stream ended within the padding of its last file.
    pub(crate) fn ended_in_padding(&self) -> bool {
        self.ended_in_padding
    }

    /// The stream, to be read to its end once there are no more entries.
    pub(crate) fn into_bytes(self) -> B {
        self.stream.bytes
    }

    /// The next entry; `None` after the end blocks or at the end of the stream.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, Fault> {
        let mut pending = Pending::default();
        self.finish_data()?;
        loop {
            if pending.is_empty() {
                self.start = self.stream.position;
                self.name.clear();
            }
            let Some((header, block)) = self.header()? else {
                if pending.is_empty() {
                    return Ok(None);
                }
                return Err(Fault::invalid("the tar ends behind a header that describes an entry"));
            };
            self.name.clone_from(&header.name);
            match header.kind {
                b'x' if pending.pax.is_some() => {
                    return Err(Fault::invalid("two pax headers for one entry"));
                }
                b'x' => pending.pax = Some(pax::parse(&self.special(&header)?)?),
                b'g' => {
                    let records = pax::parse(&self.special(&header)?)?;
                    self.global_ignored |= records.change_entries();
                    // Go hands a global header out as an entry, so what came before it is lost.
                    pending = Pending::default();
                }
                b'L' => pending.name = Some(number::text(&self.special(&header)?).to_vec()),
                b'K' => pending.link = Some(number::text(&self.special(&header)?).to_vec()),
                _ => return self.entry(header, &block, pending).map(Some),
            }
        }
    }

    /// Gives the current file's content to `content`, all of it.
    pub(crate) fn copy_content(&mut self, content: &mut dyn Content) -> Result<(), Fault> {
        let Some(extents) = self.sparse.take() else {
            let length = std::mem::take(&mut self.size);
            return self.copy_data(length, content);
        };
        let mut position = 0;
        for extent in &extents {
            let hole = extent.offset.saturating_sub(position);
            if hole > 0 {
                content.hole(hole)?;
            }
            self.copy_data(extent.length, content)?;
            position = extent.offset.saturating_add(extent.length);
        }
        let hole = self.size.saturating_sub(position);
        if hole > 0 {
            content.hole(hole)?;
        }
        self.size = 0;
        if self.stored > 0 {
            return Err(Fault::invalid("a sparse file has more data than its map says"));
        }
        Ok(())
    }

    fn copy_data(&mut self, length: u64, content: &mut dyn Content) -> Result<(), Fault> {
        self.stored = self
            .stored
            .checked_sub(length)
            .ok_or_else(|| Fault::invalid("a sparse file has less data than its map says"))?;
        let mut left = length;
        while left > 0 {
            let at_hand = self.stream.bytes.fill()?;
            if at_hand.is_empty() {
                return Err(Fault::invalid("the tar is cut off in a file's data"));
            }
            let count = at_hand.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            content.data(at_hand.get(..count).unwrap_or_default())?;
            self.stream.consumed(count);
            left = left.saturating_sub(count as u64);
        }
        Ok(())
    }

    /// Skips what is left of the current entry's data, and its padding.
    fn finish_data(&mut self) -> Result<(), Fault> {
        let stored = std::mem::take(&mut self.stored);
        let padding = std::mem::take(&mut self.padding);
        self.sparse = None;
        self.size = 0;
        if !self.stream.skip(stored)? {
            return Err(Fault::invalid("the tar is cut off in a file's data"));
        }
        // As Go: a stream that ends within padding has just ended.
        if !self.stream.skip(padding)? {
            self.ended_in_padding = true;
        }
        Ok(())
    }

    fn data_follow(&mut self, bytes: u64) {
        self.stored = bytes;
        self.padding = bytes.wrapping_neg() & (BLOCK as u64).wrapping_sub(1);
    }

    /// The next header; `None` at the end: of the stream, or two blocks of zeros, or one of them
    /// at the very end.
    fn header(&mut self) -> Result<Option<(Header, Block)>, Fault> {
        let Some(block) = self.stream.block()? else { return Ok(None) };
        if !header::is_zero(&block) {
            return Ok(Some((header::parse(&block)?, block)));
        }
        match self.stream.block()? {
            None => Ok(None),
            Some(second) if header::is_zero(&second) => Ok(None),
            Some(_) => Err(Fault::invalid("a block of zeros, then an entry")),
        }
    }

    /// The data of a pax or GNU header.
    fn special(&mut self, header: &Header) -> Result<Vec<u8>, Fault> {
        let size = unsigned(header.size, "size")?;
        let limit = self.limits.pax_bytes;
        if size > limit {
            return Err(Fault::Limit { key: "pax-bytes", limit, seen: size });
        }
        self.data_follow(size);
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        if !self.stream.append(&mut bytes, std::mem::take(&mut self.stored))? {
            return Err(Fault::invalid("the tar is cut off in a header's data"));
        }
        self.finish_data()?;
        Ok(bytes)
    }

    /// Puts header and pending headers together, in Go's order: pax beats the header, GNU long
    /// names beat pax.
    fn entry(
        &mut self,
        mut header: Header,
        block: &Block,
        pending: Pending,
    ) -> Result<Entry, Fault> {
        let pax = pending.pax.unwrap_or_default();
        let over = |value: &mut i64, with: Option<i64>| *value = with.unwrap_or(*value);
        over(&mut header.size, pax.size);
        over(&mut header.uid, pax.uid);
        over(&mut header.gid, pax.gid);
        over(&mut header.time, pax.time);
        let given = |name: Option<Vec<u8>>| name.filter(|name| !name.is_empty());
        for name in [pax.path, given(pending.name)].into_iter().flatten() {
            header.name = name;
        }
        // Go tells files from directories before it knows a sparse file's real name.
        let kind = kind(&header)?;
        if pax.sparse.is_sparse() && !pax.sparse.name.is_empty() {
            header.name.clone_from(&pax.sparse.name);
        }
        for link in [pax.link, given(pending.link)].into_iter().flatten() {
            header.link = link;
        }
        self.name.clone_from(&header.name);
        let stored = unsigned(header.size, "size")?;
        self.data_follow(if kind == Kind::File { stored } else { 0 });
        self.size = if kind == Kind::File { stored } else { 0 };
        self.read_sparse(&header, block, kind, &pax.sparse)?;
        if self.size > self.limits.file_bytes {
            let limit = self.limits.file_bytes;
            return Err(Fault::Limit { key: "file-bytes", limit, seen: self.size });
        }
        Ok(Entry {
            name: header.name,
            link: header.link,
            kind,
            mode: header.mode,
            uid: header.uid,
            gid: header.gid,
            time: header.time,
            size: self.size,
            major: header.major,
            minor: header.minor,
            xattrs: pax.xattrs,
        })
    }

    /// Reads the map of a sparse file, if the entry is one.
    fn read_sparse(
        &mut self,
        header: &Header,
        block: &Block,
        kind: Kind,
        records: &pax::SparseRecords,
    ) -> Result<(), Fault> {
        let limit = self.limits.sparse_map;
        let (pairs, size) = if header.kind == b'S' {
            let (mut map, size) = OldGnu::start(header, block)?;
            while map.more {
                map.extend(&self.map_block()?, limit)?;
            }
            (map.pairs, size)
        } else {
            let format = sparse::pax_format(records, limit)?;
            if format == Pax::Dense {
                return Ok(());
            }
            if kind != Kind::File {
                return Err(Fault::invalid("a sparse map on an entry that is no file"));
            }
            let size = records.apparent_size(header.size)?;
            match format {
                Pax::InHeader(pairs) => (pairs, size),
                Pax::InData | Pax::Dense => (self.map_in_data(limit)?, size),
            }
        };
        self.size = unsigned(size, "size of a sparse file")?;
        let mut map = sparse::checked(&pairs, self.size)?;
        map.retain(|extent| extent.length > 0);
        self.sparse = Some(map);
        Ok(())
    }

    /// An extension block of the old GNU map: between header and data, not counted in the size.
    fn map_block(&mut self) -> Result<Block, Fault> {
        self.stream.block()?.ok_or_else(|| Fault::invalid("the tar is cut off in a sparse map"))
    }

    /// The map of pax 1.0: whole blocks at the start of the data.
    fn map_in_data(&mut self, limit: u64) -> Result<Vec<(i64, i64)>, Fault> {
        let mut lines = Lines::default();
        let mut read = 0_u64;
        loop {
            let block = if self.stored >= BLOCK as u64 {
                self.map_block()?
            } else {
                return Err(Fault::invalid("the map of a sparse file does not end"));
            };
            self.stored = self.stored.saturating_sub(BLOCK as u64);
            read = read.saturating_add(BLOCK as u64);
            if lines.take(&block, limit)? {
                return Ok(lines.pairs());
            }
            if read >= self.limits.pax_bytes {
                let limit = self.limits.pax_bytes;
                return Err(Fault::Limit { key: "sparse-map", limit, seen: read });
            }
        }
    }
}

/// The type, as Go's reader and image tools take it.
fn kind(header: &Header) -> Result<Kind, Fault> {
    Ok(match header.kind {
        0 if header.name.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::Char,
        b'4' => Kind::Block,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => {
            let shown = char::from(other).escape_default();
            return Err(Fault::invalid(format!("entries of type '{shown}' are unknown")));
        }
    })
}

fn unsigned(number: i64, what: &str) -> Result<u64, Fault> {
    u64::try_from(number).map_err(|_| Fault::invalid(format!("the {what} is negative")))
}
