//! The entries of a layer, checked and written down one by one.
//!
//! Rules and their ids: reliability, sections 4.1 to 4.7. What depends on other layers (links,
//! symbolic links in a path, whiteouts of nothing) is left to the merge.
//! Not here: the tar format ([`crate::tar`]); names ([`crate::names`]).

use orlop_oci::digest::Digest;
use orlop_oci::media_type::Compression;

use crate::blocks::Blocks;
use crate::limits::Limits;
use crate::names::{self, Name};
use crate::segment::{self, Attributes, Builder, Kind};
use crate::tar::{self, Bytes, Fault, Reader};

/// Names and values of extended attributes.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The entries so far.
#[derive(Debug)]
pub(super) struct Entries {
    builder: Builder,
    limits: Limits,
    /// Apparent bytes of all files.
    bytes: u64,
    notes: Notes,
}

/// What was seen that a user may want to know; each is said once a layer.
#[derive(Debug, Default)]
pub(super) struct Notes {
    upwards: bool,
    times: bool,
    overlay_xattrs: u64,
    dropped_xattrs: u64,
    trailing: bool,
    padding: bool,
    global: bool,
    compression: Option<(Compression, Compression)>,
}

impl Entries {
    pub(super) fn new(limits: Limits) -> Self {
        Self { builder: Builder::default(), limits, bytes: 0, notes: Notes::default() }
    }

    /// Reads all entries up to the end of the tar.
    pub(super) fn read<B: Bytes>(
        &mut self,
        reader: &mut Reader<B>,
        blocks: &mut Blocks<'_>,
    ) -> Result<(), Fault> {
        while let Some(entry) = reader.next_entry()? {
            let limit = self.limits.entries;
            if self.builder.count() >= limit {
                return Err(Fault::Limit { key: "entries", limit, seen: limit.saturating_add(1) });
            }
            let offset = reader.entry_offset();
            let (name, upwards) = names::classify(&entry.name)?;
            self.notes.upwards |= upwards;
            let (path, kind) = match &name {
                Name::Whiteout(path) => (path, Kind::Whiteout),
                Name::Opaque(path) => (path, Kind::Opaque),
                Name::Plain(path) => {
                    self.plain(path, &entry, offset, reader, blocks)?;
                    continue;
                }
            };
            let attributes = Attributes::default();
            self.builder.push(&segment::Entry { path, offset, attributes, kind });
        }
        Ok(())
    }

    pub(super) fn finish(self) -> (Builder, Notes) {
        (self.builder, self.notes)
    }

    /// An entry that is no whiteout.
    fn plain<B: Bytes>(
        &mut self,
        path: &[u8],
        entry: &tar::Entry,
        offset: u64,
        reader: &mut Reader<B>,
        blocks: &mut Blocks<'_>,
    ) -> Result<(), Fault> {
        if path.is_empty() && entry.kind != tar::Kind::Directory {
            return Err(Fault::invalid("the root of the image can only be a directory"));
        }
        let target;
        let kind = match entry.kind {
            tar::Kind::Directory => Kind::Directory,
            tar::Kind::Fifo => Kind::Fifo,
            tar::Kind::Char => device(entry).map(|(major, minor)| Kind::Char(major, minor))?,
            tar::Kind::Block => device(entry).map(|(major, minor)| Kind::Block(major, minor))?,
            tar::Kind::Symlink => Kind::Symlink(symlink_target(&entry.link)?),
            tar::Kind::HardLink => {
                let upwards;
                (target, upwards) = names::clean(&entry.link)?;
                self.notes.upwards |= upwards;
                if target.is_empty() {
                    return Err(Fault::invalid("a hard link to the root directory"));
                }
                Kind::HardLink(&target)
            }
            tar::Kind::File => {
                self.count_bytes(entry.size)?;
                let file = blocks.begin(entry.size)?;
                reader.copy_content(blocks)?;
                blocks.end()?;
                Kind::File(file)
            }
        };
        let attributes = match kind {
            // L34: a link has its target's attributes, whatever its header says.
            Kind::HardLink(_) => Attributes::default(),
            _ => self.attributes(entry)?,
        };
        self.builder.push(&segment::Entry { path, offset, attributes, kind });
        Ok(())
    }

    fn count_bytes(&mut self, size: u64) -> Result<(), Fault> {
        self.bytes = self.bytes.saturating_add(size);
        let limit = self.limits.layer_bytes;
        if self.bytes > limit {
            return Err(Fault::Limit { key: "layer-bytes", limit, seen: self.bytes });
        }
        Ok(())
    }

    fn attributes(&mut self, entry: &tar::Entry) -> Result<Attributes, Fault> {
        let mtime = entry.time.clamp(0, i64::from(u32::MAX));
        self.notes.times |= mtime != entry.time;
        let kept = self.kept_xattrs(entry)?;
        Ok(Attributes {
            mode: u16::try_from(entry.mode & 0o7777).unwrap_or(0),
            uid: owner(entry.uid)?,
            gid: owner(entry.gid)?,
            mtime: u32::try_from(mtime).unwrap_or(0),
            xattrs: self.builder.xattr_set(&kept),
        })
    }

    /// L70, L80 to L82: `user.*` and file capabilities are kept, except what overlayfs would act on.
    fn kept_xattrs(&mut self, entry: &tar::Entry) -> Result<Pairs, Fault> {
        let mut kept = Vec::new();
        let mut total = 0_usize;
        for (name, value) in &entry.xattrs {
            let is_overlay =
                name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.");
            let has_user = matches!(entry.kind, tar::Kind::File | tar::Kind::Directory);
            let is_kept = name.starts_with(b"user.") && has_user || name == b"security.capability";
            if is_overlay || !is_kept {
                let count = match is_overlay {
                    true => &mut self.notes.overlay_xattrs,
                    false => &mut self.notes.dropped_xattrs,
                };
                *count = count.saturating_add(1);
                continue;
            }
            if name.len() > Limits::XATTR_NAME_BYTES {
                return Err(Fault::invalid("the name of an extended attribute is over 255 bytes"));
            }
            let limit = self.limits.xattr_bytes;
            if value.len() as u64 > limit {
                return Err(Fault::Limit { key: "xattr-bytes", limit, seen: value.len() as u64 });
            }
            total = total.saturating_add(name.len()).saturating_add(value.len());
            if total > Limits::XATTR_TOTAL_BYTES {
                let limit = Limits::XATTR_TOTAL_BYTES as u64;
                return Err(Fault::Limit { key: "xattr-bytes", limit, seen: total as u64 });
            }
            kept.push((name.clone(), value.clone()));
        }
        Ok(kept)
    }
}

/// L22: an owner is a u32 other than the one that means "none".
fn owner(id: i64) -> Result<u32, Fault> {
    u32::try_from(id)
        .ok()
        .filter(|&id| id != u32::MAX)
        .ok_or_else(|| Fault::invalid(format!("the owner {id} is no user or group id")))
}

/// L51: squashfs has 12 bits for the major number and 20 for the minor.
fn device(entry: &tar::Entry) -> Result<(u32, u32), Fault> {
    let part = |number: i64, most: u32| u32::try_from(number).ok().filter(|&part| part <= most);
    part(entry.major, 0xfff)
        .zip(part(entry.minor, 0xf_ffff))
        .ok_or_else(|| Fault::invalid("a device number is out of range"))
}

fn symlink_target(target: &[u8]) -> Result<&[u8], Fault> {
    if target.is_empty() {
        return Err(Fault::invalid("a symbolic link without a target"));
    }
    if target.len() > Limits::TARGET_BYTES {
        let limit = Limits::TARGET_BYTES as u64;
        return Err(Fault::Limit { key: "path-bytes", limit, seen: target.len() as u64 });
    }
    if target.contains(&0) {
        return Err(Fault::invalid("the target of a symbolic link holds a NUL"));
    }
    Ok(target)
}

impl Notes {
    pub(super) fn stream(&mut self, trailing: bool, padding: bool, global: bool) {
        (self.trailing, self.padding, self.global) = (trailing, padding, global);
    }

    pub(super) fn compression(&mut self, said: Option<Compression>, found: Option<Compression>) {
        self.compression = said.zip(found).filter(|(said, found)| said != found);
    }

    /// The lines to show.
    pub(super) fn lines(&self, layer: &Digest) -> Vec<String> {
        let mut lines = Vec::new();
        let mut say = |when: bool, what: &str| {
            if when {
                lines.push(format!("layer {layer}: {what}"));
            }
        };
        say(self.upwards, "names with .. were taken as in a chroot");
        say(self.times, "times outside 1970 to 2106 were moved into it");
        say(self.trailing, "bytes behind the end of the tar were ignored");
        say(self.padding, "the tar ends within the padding of its last file");
        say(self.global, "a pax global header was ignored");
        if self.overlay_xattrs > 0 {
            let count = self.overlay_xattrs;
            say(true, &format!("{count} extended attributes of overlayfs were dropped"));
        }
        if self.dropped_xattrs > 0 {
            let count = self.dropped_xattrs;
            say(true, &format!("{count} extended attributes were dropped"));
        }
        if let Some((said, found)) = self.compression {
            say(true, &format!("the media type says {said}, the bytes are {found}"));
        }
        lines
    }
}
