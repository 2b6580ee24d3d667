//! The files of an archive or a layout by name, and their contents where they lie.
//!
//! In an archive the last entry of a name counts, as when it is unpacked, and links lead to other
//! entries of it alone. In a directory links are the owner's business, but only regular files are
//! opened. Not here: which names an image has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use orlop_config::limits::{ARCHIVE_ENTRIES, ARCHIVE_LINKS};
use orlop_image::MemberKind;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::limits::Limits;
use crate::local::Local;
use crate::names::{clean, shown, target};

/// Where files are looked up.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The caller's file or directory.
    pub(crate) local: Local,
    pub(crate) limits: Limits,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Directory,
    /// What the tar holds, by clean name.
    Archive {
        file: Arc<File>,
        entries: BTreeMap<Vec<u8>, MemberKind>,
    },
}

/// The bytes of one file.
#[derive(Clone, Debug)]
pub struct Content {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Content {
    /// So many bytes of a file from an offset on.
    pub(crate) fn new(file: Arc<File>, at: u64, size: u64) -> Self {
        Self { file, at, end: at.saturating_add(size) }
    }

    /// Bytes that are left.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.size()).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.at)?;
        self.at = self.at.saturating_add(got as u64);
        Ok(got)
    }
}

impl Tree {
    /// The files of a directory.
    pub(crate) fn directory(local: Local, limits: Limits) -> Self {
        Self { local, limits, kind: Kind::Directory }
    }

    /// The files of the tar in `file`: the caller's own, or what it was unpacked to.
    pub(crate) fn archive(local: Local, file: Arc<File>, limits: Limits) -> Result<Self, Error> {
        let members = orlop_image::members(&file, &limits.tar, ARCHIVE_ENTRIES);
        let members = members.map_err(|cause| tar_error(&local, cause))?;
        let entries = members
            .into_iter()
            .filter_map(|member| Some((clean(&member.name)?, member.kind)))
            .collect();
        Ok(Self { local, limits, kind: Kind::Archive { file, entries } })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.local.path
    }

    /// The content of the file of this name, none when there is no such name.
    pub(crate) fn content(&self, name: &str) -> Result<Option<Content>, Error> {
        match &self.kind {
            Kind::Directory => self.open(name),
            Kind::Archive { file, entries } => {
                let Some((at, size)) = self.find(entries, name)? else { return Ok(None) };
                Ok(Some(Content::new(Arc::clone(file), at, size)))
            }
        }
    }

    /// All bytes of a small file, none when there is no such name.
    pub(crate) fn read(
        &self,
        name: &str,
        key: &'static str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(content) = self.content(name)? else { return Ok(None) };
        if content.size() > limit {
            let (path, name) = (self.path().to_owned(), shown(name.as_bytes()));
            return Err(Error::Limit { path, name, key, limit });
        }
        let mut bytes = Vec::new();
        let size = content.size();
        let read = content.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|cause| Error::Read { path: self.path().to_owned(), cause })?;
        if bytes.len() as u64 == size {
            Ok(Some(bytes))
        } else {
            Err(Error::Changed { path: self.path().to_owned() })
        }
    }

    /// Offset and size of an entry's content, links followed.
    fn find(
        &self,
        entries: &BTreeMap<Vec<u8>, MemberKind>,
        name: &str,
    ) -> Result<Option<(u64, u64)>, Error> {
        let refused = |what| self.entry_error(name, what);
        let leaves = || refused("leads out of the archive");
        let mut at = clean(name.as_bytes()).ok_or_else(leaves)?;
        for _ in 0..=ARCHIVE_LINKS {
            at = match entries.get(&at) {
                None => return Ok(None),
                Some(MemberKind::File { offset, size }) => return Ok(Some((*offset, *size))),
                Some(MemberKind::Symlink(to)) => target(&at, to).ok_or_else(leaves)?,
                Some(MemberKind::HardLink(to)) => clean(to).ok_or_else(leaves)?,
                Some(MemberKind::Sparse) => return Err(refused("is stored with holes")),
                Some(MemberKind::Directory) => return Err(refused("is a directory")),
                Some(MemberKind::Special) => return Err(refused("is a device or FIFO")),
            };
        }
        Err(refused("is a link of too many links"))
    }

    /// Opens a regular file of the directory.
    fn open(&self, name: &str) -> Result<Option<Content>, Error> {
        let failed = |cause: Errno| Error::Read {
            path: self.path().join(name),
            cause: io::Error::from(cause),
        };
        let clean = clean(name.as_bytes()).filter(|name| !name.is_empty());
        let name_below =
            clean.ok_or_else(|| self.entry_error(name, "leads out of the directory"))?;
        let directory = &self.local.file;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let found = match rustix::fs::statat(directory, &*name_below, AtFlags::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            found => found.map_err(failed)?,
        };
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(self.entry_error(name, "is not a regular file"));
        }
        let opened = rustix::fs::openat(directory, &*name_below, flags, Mode::empty());
        let file = File::from(opened.map_err(failed)?);
        let path = self.path().join(name);
        let metadata = file.metadata().map_err(|cause| Error::Read { path, cause })?;
        if !metadata.is_file() {
            return Err(self.entry_error(name, "is not a regular file"));
        }
        Ok(Some(Content::new(Arc::new(file), 0, metadata.len())))
    }

    fn entry_error(&self, name: &str, what: &'static str) -> Error {
        Error::Entry { path: self.path().to_owned(), name: shown(name.as_bytes()), what }
    }
}

fn tar_error(local: &Local, cause: orlop_image::Error) -> Error {
    let path = local.path.clone();
    match cause {
        orlop_image::Error::ImageLimit { key, limit, .. } => {
            Error::Limit { path, name: "the archive".to_owned(), key, limit }
        }
        orlop_image::Error::Disk { cause, .. } => Error::Read { path, cause },
        cause => Error::Tar { path, cause },
    }
}
