//! Places inside the container: found, or made, by descriptor.
//!
//! Every path is resolved with the container's root as its root, so that no link of an image leads
//! to the host (`RESOLVE_IN_ROOT`; cases L86 to L88 of reliability.md in the design notes).
//!
//! Not here: what is mounted there ([`crate::enter`]).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, mkdirat, openat2, statat,
    symlinkat, unlinkat,
};
use rustix::io::Errno;

/// What a place must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
}

/// The container's tree while it is put together.
#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
}

impl Tree {
    pub(crate) const fn new(root: OwnedFd) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens what stands at a path, links followed within the root, as a mere place.
    pub(crate) fn find(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open(path, OFlags::PATH, ResolveFlags::IN_ROOT)
    }

    /// The same, but a link on the way is an error.
    pub(crate) fn find_unlinked(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open(path, OFlags::PATH, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)
    }

    fn open(&self, path: &Path, flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
        Ok(openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
    }

    /// Reads a regular file of at most `limit` bytes; a larger one or another type is an error.
    pub(crate) fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let place = self.find(path)?;
        if FileType::from_raw_mode(fstat(&place)?.st_mode) != FileType::RegularFile {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let file = File::from(self.open(path, flags, ResolveFlags::IN_ROOT)?);
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    /// The place at a path; made, with the directories above it, when nothing is there.
    ///
    /// `real`: when the last part is a link or of the wrong type, a real one takes its name.
    pub(crate) fn place(&self, path: &Path, kind: Kind, real: bool) -> io::Result<OwnedFd> {
        if real && let Some(place) = self.real(path, kind)? {
            return Ok(place);
        }
        match self.find(path) {
            Ok(place) => self.checked(place, kind),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make(path, kind),
            Err(error) => Err(error),
        }
    }

    fn checked(&self, place: OwnedFd, kind: Kind) -> io::Result<OwnedFd> {
        let is_directory = is_directory(&fstat(&place)?);
        match (is_directory, kind) {
            (true, Kind::Directory) | (false, Kind::File) => Ok(place),
            (true, Kind::File) => Err(Errno::ISDIR.into()),
            (false, Kind::Directory) => Err(Errno::NOTDIR.into()),
        }
    }

    /// The place when it is already real; otherwise what is there is taken away.
    fn real(&self, path: &Path, kind: Kind) -> io::Result<Option<OwnedFd>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let place = match self.open(path, flags, ResolveFlags::IN_ROOT) {
            Ok(place) => place,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let stat = fstat(&place)?;
        if is_directory(&stat) == (kind == Kind::Directory) && !is_link(&stat) {
            return Ok(Some(place));
        }
        let (parent, name) = self.parent(path)?;
        let flags = if is_directory(&stat) { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        unlinkat(parent, name, flags)?;
        Ok(None)
    }

    fn parent<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        Ok((self.find(path.parent().unwrap_or(Path::new("/")))?, name))
    }

    /// Makes a place and the directories above it, from the last one that is there.
    ///
    /// Nothing is made on trial: an exclusive creation makes a FUSE file system look again for
    /// every name that is there already.
    fn make(&self, path: &Path, kind: Kind) -> io::Result<OwnedFd> {
        let there = path.ancestors().skip(1).find(|above| self.find(above).is_ok());
        let mut above = there.unwrap_or(Path::new("/")).to_path_buf();
        let rest = path.strip_prefix(&above).unwrap_or(path);
        let mut parts = rest.components().peekable();
        while let Some(part) = parts.next() {
            let parent = self.find(&above)?;
            above.push(part);
            let name = part.as_os_str();
            if parts.peek().is_some() || kind == Kind::Directory {
                make_directory(&parent, name, parts.peek().is_some())?;
            } else {
                make_file(&parent, name)?;
            }
        }
        self.checked(self.find(path)?, kind)
    }

    /// A link at a path where nothing is; true when it was made.
    pub(crate) fn link(&self, path: &Path, to: &Path) -> io::Result<bool> {
        if self.open(path, OFlags::PATH | OFlags::NOFOLLOW, ResolveFlags::IN_ROOT).is_ok() {
            return Ok(false);
        }
        let above = path.parent().unwrap_or(Path::new("/"));
        let parent = self.place(above, Kind::Directory, false)?;
        let name = path.file_name().ok_or(Errno::INVAL)?;
        symlinkat(to, parent, name)?;
        Ok(true)
    }
}

fn make_file(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    let create = || rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop);
    match create() {
        // A link that leads nowhere.
        Err(Errno::LOOP) => {
            unlinkat(parent, name, AtFlags::empty())?;
            Ok(create()?)
        }
        other => Ok(other?),
    }
}

/// A link that leads nowhere is replaced, unless it is on the way to the place.
fn make_directory(parent: &OwnedFd, name: &OsStr, on_the_way: bool) -> io::Result<()> {
    let create = || mkdirat(parent, name, Mode::from_raw_mode(0o755));
    match create() {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => {
            let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if on_the_way || !is_link(&stat) {
                return Ok(());
            }
            unlinkat(parent, name, AtFlags::empty())?;
            Ok(create()?)
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
}

/// True when both are the same file.
pub(crate) fn same_file(left: &Stat, right: &Stat) -> bool {
    left.st_dev == right.st_dev && left.st_ino == right.st_ino
}
