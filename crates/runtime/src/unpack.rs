//! An image unpacked into a directory, for machines without `/dev/fuse`.
//!
//! Everything belongs to the caller; modes are kept, except that the owner may read everything and
//! change directories (to remove them), and that nothing is setuid. Devices and extended attributes
//! are left out: the caller may make neither. The directory appears whole or not at all: it is made
//! in the cache's `tmp/.orlop/` and renamed. (`design.md` §8, §12.1: the one publisher beside
//! `orlop-publish`.)
//!
//! Not here: when this is done (`holder`), removing what nobody uses (`orlop-store`).

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use orlop_squashfs::{Inode, InodeRef, Kind, Position, Reader};
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, Timespec, Timestamps, fchmod,
    flock, fstat, linkat, mkdirat, mknodat, openat, renameat_with, statat, symlinkat, syncfs,
    utimensat,
};
use rustix::io::Errno;

use crate::fuse::Blocks;

/// Bytes of decompressed fragments to keep.
const KEPT_BYTES: usize = 16 << 20;
/// Between two calls of `progress`.
const PROGRESS: Duration = Duration::from_secs(1);
/// Directories removed by others just as they were found, until it is given up.
const ATTEMPTS: usize = 8;

/// The directory `unpacked/<name>` of a cache, made if it is missing, and leased (`flock`) until it
/// is closed. `progress` is called about once a second while it is made.
///
/// # Errors
/// The system's, and the reader's as the cause of `Other`; nothing is left then.
pub(crate) fn find_or_make(
    cache: &OwnedFd,
    name: &str,
    reader: &Reader,
    mut progress: impl FnMut(),
) -> io::Result<OwnedFd> {
    make_directory(cache, "unpacked")?;
    let unpacked = open_directory(cache, Path::new("unpacked"))?;
    for _ in 0..ATTEMPTS {
        if let Some(found) = find(&unpacked, name)? {
            return Ok(found);
        }
        make(cache, &unpacked, name, reader, &mut progress)?;
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// The directory, if it is there and stays there.
fn find(unpacked: &OwnedFd, name: &str) -> io::Result<Option<OwnedFd>> {
    let directory = match open_directory(unpacked, Path::new(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match flock(&directory, FlockOperation::NonBlockingLockShared) {
        // A file system without locks: other nodes' collectors wait by age.
        Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::BADF) => {}
        Err(errno) => return Err(errno.into()),
    }
    // It may have been removed before it was locked.
    let here = fstat(&directory)?;
    let is_same = statat(unpacked, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|there| there.st_ino == here.st_ino && there.st_dev == here.st_dev);
    Ok(is_same.then_some(directory))
}

/// Unpacks and publishes. That someone else did it meanwhile is as good.
fn make(
    cache: &OwnedFd,
    unpacked: &OwnedFd,
    name: &str,
    reader: &Reader,
    progress: &mut impl FnMut(),
) -> io::Result<()> {
    for directory in ["tmp", "tmp/.orlop"] {
        make_directory(cache, directory)?;
    }
    let tmp = open_directory(cache, Path::new("tmp/.orlop"))?;
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty())?;
    let draft = format!("unpacked-{name}-{:016x}", u64::from_ne_bytes(random));
    mkdirat(&tmp, &draft, Mode::RWXU)?;
    let outcome = open_directory(&tmp, Path::new(&draft)).and_then(|root| {
        Unpacking::new(reader, &root).run(progress)?;
        Ok(syncfs(&root)?)
    });
    let outcome = outcome.and_then(|()| {
        // Without the flag (an old NFS): a directory that is not empty is never replaced.
        match renameat_with(&tmp, &draft, unpacked, name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL) => Ok(rustix::fs::renameat(&tmp, &draft, unpacked, name)?),
            other => Ok(other?),
        }
    });
    if outcome.is_err() {
        let path = format!("/proc/self/fd/{}/{draft}", tmp.as_raw_fd());
        // What is left is swept with all that is old in tmp.
        let _left = std::fs::remove_dir_all(path);
    }
    match outcome {
        Err(error) if is_there_already(&error) => Ok(()),
        other => other,
    }
}

fn is_there_already(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty)
}

fn make_directory(parent: &OwnedFd, name: &str) -> io::Result<()> {
    match mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn open_directory(parent: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(openat(parent, path, flags, Mode::empty())?)
}

/// One unpacking under way.
struct Unpacking<'a> {
    reader: &'a Reader,
    root: &'a OwnedFd,
    blocks: Blocks,
    block_size: u64,
}

/// What the walk leaves to be done.
#[derive(Default)]
struct Rest {
    /// Regular files that wait for their content.
    files: Vec<(PathBuf, Inode)>,
    /// Names to be linked to the first name of the same file.
    links: Vec<(PathBuf, PathBuf)>,
    /// Directories and their times.
    times: Vec<(PathBuf, u32)>,
}

impl<'a> Unpacking<'a> {
    fn new(reader: &'a Reader, root: &'a OwnedFd) -> Self {
        let block_size = reader.superblock().block_size;
        let size = usize::try_from(block_size).unwrap_or(usize::MAX);
        let blocks = Blocks::new(size, KEPT_BYTES);
        Self { reader, root, blocks, block_size: block_size.into() }
    }

    fn run(&self, progress: &mut impl FnMut()) -> io::Result<()> {
        let rest = self.walk(progress)?;
        self.fill(&rest.files, progress)?;
        for (first, other) in &rest.links {
            linkat(self.root, first, self.root, other, AtFlags::empty())?;
        }
        for (path, time) in rest.times.iter().rev() {
            self.set_time(path, *time)?;
        }
        Ok(())
    }

    /// Makes directories, symbolic links, pipes and sockets.
    fn walk(&self, progress: &mut impl FnMut()) -> io::Result<Rest> {
        let mut rest = Rest::default();
        let mut first_names = HashMap::new();
        let mut seen = HashSet::new();
        let root = self.reader.inode(self.reader.root()).map_err(io::Error::other)?;
        let mut directories = vec![(PathBuf::new(), root)];
        while let Some((path, directory)) = directories.pop() {
            // A directory that is reached twice would hold itself.
            if !seen.insert(directory.reference) {
                return Err(io::Error::other("damaged squashfs: a directory has two places"));
            }
            if seen.len().is_multiple_of(1000) {
                progress();
            }
            let open = open_directory(self.root, &non_empty(&path))?;
            fchmod(&open, Mode::from_raw_mode(u32::from(directory.mode) & 0o777 | 0o700))?;
            rest.times.push((non_empty(&path), directory.mtime));
            let entries = self.reader.entries(&directory, Position::START);
            for entry in entries.map_err(io::Error::other)? {
                let entry = entry.map_err(io::Error::other)?;
                let name = OsStr::from_bytes(&entry.name);
                let path = path.join(name);
                let inode = self.reader.inode(entry.inode).map_err(io::Error::other)?;
                if matches!(inode.kind, Kind::Directory(_)) {
                    mkdirat(&open, name, Mode::RWXU)?;
                    directories.push((path, inode));
                } else {
                    self.make_file(&open, name, path, inode, &mut rest, &mut first_names)?;
                }
            }
        }
        Ok(rest)
    }

    fn make_file(
        &self,
        directory: &OwnedFd,
        name: &OsStr,
        path: PathBuf,
        inode: Inode,
        rest: &mut Rest,
        first_names: &mut HashMap<InodeRef, PathBuf>,
    ) -> io::Result<()> {
        if inode.nlink > 1 && !matches!(inode.kind, Kind::BlockDevice(_) | Kind::CharDevice(_)) {
            if let Some(first) = first_names.get(&inode.reference) {
                rest.links.push((first.clone(), path));
                return Ok(());
            }
            first_names.insert(inode.reference, path.clone());
        }
        let mode = Mode::from_raw_mode(u32::from(inode.mode) & 0o777 | 0o400);
        match &inode.kind {
            Kind::File(_) => rest.files.push((path, inode)),
            Kind::Symlink(target) => {
                symlinkat(OsStr::from_bytes(target), directory, name)?;
                self.set_time(&path, inode.mtime)?;
            }
            Kind::Fifo => mknodat(directory, name, FileType::Fifo, mode, 0)?,
            Kind::Socket => mknodat(directory, name, FileType::Socket, mode, 0)?,
            Kind::Directory(_) | Kind::BlockDevice(_) | Kind::CharDevice(_) => {}
        }
        Ok(())
    }

    /// Writes the files' contents, on every processor.
    fn fill(&self, files: &[(PathBuf, Inode)], progress: &mut impl FnMut()) -> io::Result<()> {
        let next = Mutex::new(files.iter());
        let take = || next.lock().unwrap_or_else(PoisonError::into_inner).next();
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        std::thread::scope(|scope| {
            let (done, finished) = channel::<()>();
            let workers: Vec<ScopedJoinHandle<'_, io::Result<()>>> = (0..threads)
                .map(|_| {
                    let done = done.clone();
                    scope.spawn(move || {
                        let _done = done;
                        while let Some((path, inode)) = take() {
                            if let Err(error) = self.fill_file(path, inode) {
                                while take().is_some() {}
                                return Err(error);
                            }
                        }
                        Ok(())
                    })
                })
                .collect();
            drop(done);
            while finished.recv_timeout(PROGRESS) == Err(RecvTimeoutError::Timeout) {
                progress();
            }
            let panicked = || Err(io::Error::other("an unpacking thread panicked"));
            workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| panicked()))
        })
    }

    fn fill_file(&self, path: &Path, inode: &Inode) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = File::from(openat(self.root, path, flags, Mode::RUSR | Mode::WUSR)?);
        let map = self.reader.file_map(inode).map_err(io::Error::other)?;
        file.set_len(map.size())?;
        let mut buffer = Vec::new();
        for number in 0..map.pieces() {
            let Some(piece) = map.piece(number) else { break };
            if piece.block.is_hole() {
                continue;
            }
            if u64::from(piece.length) == self.block_size {
                self.reader.read_piece(&piece, &mut buffer).map_err(io::Error::other)?;
                file.write_all_at(&buffer, piece.start)?;
                continue;
            }
            let skip = usize::try_from(piece.skip).unwrap_or(usize::MAX);
            let end = skip.saturating_add(usize::try_from(piece.length).unwrap_or(usize::MAX));
            let written = self.blocks.with(self.reader, &piece.block, |bytes| {
                let part = bytes.get(skip..end).ok_or(io::ErrorKind::UnexpectedEof)?;
                file.write_all_at(part, piece.start)
            });
            written.map_err(io::Error::other)??;
        }
        fchmod(&file, Mode::from_raw_mode(u32::from(inode.mode) & 0o777 | 0o400))?;
        self.set_time(path, inode.mtime)
    }

    fn set_time(&self, path: &Path, seconds: u32) -> io::Result<()> {
        let time = Timespec { tv_sec: seconds.into(), tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        Ok(utimensat(self.root.as_fd(), path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

fn non_empty(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}
