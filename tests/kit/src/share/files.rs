//! The server's side of a share: what the kernel asks, answered from a directory.
//!
//! An inode is a descriptor of the file behind it, so that it survives renames. Not here: what the
//! test tells the share ([`super`]).

use super::{Locks, Manner, State};
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use rustix::fs::{
    AtFlags, CWD, FileType as Kind, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT,
};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An inode that the kernel knows.
#[derive(Debug)]
struct Known {
    path: OwnedFd,
    lookups: u64,
    /// This node removed its last name: it stays readable here.
    is_removed_here: bool,
}

/// The directory and what the kernel knows of it.
#[derive(Debug)]
pub(super) struct Files {
    known: Mutex<BTreeMap<u64, Known>>,
    open: Mutex<BTreeMap<u64, Arc<File>>>,
    next: AtomicU64,
    manner: Manner,
    state: Arc<State>,
}

type Answer<T> = Result<T, Errno>;

fn errno(cause: rustix::io::Errno) -> Errno {
    Errno::from_i32(cause.raw_os_error())
}

impl Files {
    pub(super) fn new(directory: &Path, manner: Manner, state: Arc<State>) -> io::Result<Self> {
        let path = rustix::fs::open(directory, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let root = Known { path, lookups: 1, is_removed_here: false };
        Ok(Self {
            known: Mutex::new(BTreeMap::from([(INodeNo::ROOT.0, root)])),
            open: Mutex::default(),
            next: AtomicU64::new(1),
            manner,
            state,
        })
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<u64, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A descriptor of an inode; what another node removed is stale.
    fn find(&self, node: INodeNo) -> Answer<(OwnedFd, Stat)> {
        let known = self.known();
        let found = known.get(&node.0).ok_or(Errno::ESTALE)?;
        let stat = rustix::fs::fstat(&found.path).map_err(errno)?;
        if stat.st_nlink == 0 && !found.is_removed_here {
            return Err(Errno::ESTALE);
        }
        Ok((found.path.try_clone().map_err(Errno::from)?, stat))
    }

    fn path(&self, node: INodeNo) -> Answer<(PathBuf, OwnedFd)> {
        let (fd, _) = self.find(node)?;
        Ok((PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd())), fd))
    }

    /// Looks a name up and takes note of its inode.
    fn enter(&self, parent: INodeNo, name: &OsStr) -> Answer<FileAttr> {
        let (directory, _) = self.find(parent)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = rustix::fs::openat(&directory, name, flags, Mode::empty()).map_err(errno)?;
        let stat = rustix::fs::fstat(&path).map_err(errno)?;
        let mut known = self.known();
        let entry = known.entry(stat.st_ino);
        entry.or_insert(Known { path, lookups: 0, is_removed_here: false }).lookups += 1;
        Ok(attributes(&stat, stat.st_ino))
    }

    fn attributes(&self, node: INodeNo) -> Answer<FileAttr> {
        self.find(node).map(|(_, stat)| attributes(&stat, node.0))
    }

    fn file(&self, node: INodeNo, handle: FileHandle) -> Answer<Arc<File>> {
        self.find(node)?;
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(&handle.0).cloned().ok_or(Errno::EBADF)
    }

    fn opened(&self, file: File) -> FileHandle {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::new(file));
        FileHandle(number)
    }

    /// Remembers that this node takes a name away.
    fn removing(&self, directory: &OwnedFd, name: &OsStr) {
        if let Ok(stat) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
            && let Some(known) = self.known().get_mut(&stat.st_ino)
        {
            known.is_removed_here = true;
        }
    }

    fn set(
        &self,
        node: INodeNo,
        mode: Option<u32>,
        owner: (Option<u32>, Option<u32>),
        size: Option<u64>,
        times: (Option<TimeOrNow>, Option<TimeOrNow>),
    ) -> Answer<FileAttr> {
        let (path, _held) = self.path(node)?;
        if let Some(mode) = mode {
            let mode = Mode::from_raw_mode(mode & 0o7777);
            rustix::fs::chmodat(CWD, &path, mode, AtFlags::empty()).map_err(errno)?;
        }
        if owner.0.is_some() || owner.1.is_some() {
            std::os::unix::fs::chown(&path, owner.0, owner.1)?;
        }
        if let Some(size) = size {
            File::options().write(true).open(&path)?.set_len(size)?;
        }
        if times.0.is_some() || times.1.is_some() {
            let times = Timestamps { last_access: time(times.0), last_modification: time(times.1) };
            rustix::fs::utimensat(CWD, &path, &times, AtFlags::empty()).map_err(errno)?;
        }
        self.attributes(node)
    }

    fn make(
        &self,
        request: &Request,
        at: (INodeNo, &OsStr),
        mode: Option<u32>,
        flags: OFlags,
    ) -> Answer<(FileAttr, Option<File>)> {
        let (directory, _) = self.find(at.0)?;
        let bits = Mode::from_raw_mode(mode.unwrap_or(0o700) & 0o7777);
        let file = if flags.contains(OFlags::DIRECTORY) {
            rustix::fs::mkdirat(&directory, at.1, bits).map_err(errno)?;
            None
        } else {
            let flags = flags | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let fd = rustix::fs::openat(&directory, at.1, flags, bits).map_err(errno)?;
            Some(File::from(fd))
        };
        let owner =
            (rustix::fs::Uid::from_raw(request.uid()), rustix::fs::Gid::from_raw(request.gid()));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(&directory, at.1, Some(owner.0), Some(owner.1), flags)
            .map_err(errno)?;
        Ok((self.enter(at.0, at.1)?, file))
    }

    fn list(&self, node: INodeNo, offset: u64, reply: &mut ReplyDirectory) -> Answer<()> {
        let (path, _held) = self.path(node)?;
        let dots = [
            (OsStr::new(".").to_owned(), node.0, FileType::Directory),
            (OsStr::new("..").to_owned(), node.0, FileType::Directory),
        ];
        let mut all = Vec::from(dots);
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let kind = if entry.file_type()?.is_dir() {
                FileType::Directory
            } else {
                FileType::RegularFile
            };
            all.push((entry.file_name(), std::os::unix::fs::DirEntryExt::ino(&entry), kind));
        }
        // By inode: the order holds between the parts of a listing while others change it.
        all[2..].sort_by_key(|(_, inode, _)| *inode);
        for (number, (name, inode, kind)) in all.iter().enumerate() {
            let next = number as u64 + 1;
            if next > offset && reply.add(INodeNo(*inode), next, *kind, name) {
                break;
            }
        }
        Ok(())
    }
}

fn time(asked: Option<TimeOrNow>) -> Timespec {
    let special = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    match asked {
        None => special(UTIME_OMIT),
        Some(TimeOrNow::Now) => special(UTIME_NOW),
        Some(TimeOrNow::SpecificTime(at)) => {
            let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            Timespec { tv_sec: since.as_secs().cast_signed(), tv_nsec: since.subsec_nanos().into() }
        }
    }
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn attributes(stat: &Stat, node: u64) -> FileAttr {
    let at = |seconds: i64, nanoseconds: u64| {
        let since =
            Duration::new(seconds.try_into().unwrap_or(0), nanoseconds.try_into().unwrap_or(0));
        UNIX_EPOCH + since
    };
    let kind = match Kind::from_raw_mode(stat.st_mode) {
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        _ => FileType::RegularFile,
    };
    FileAttr {
        ino: INodeNo(node),
        size: stat.st_size.cast_unsigned(),
        blocks: stat.st_blocks.cast_unsigned(),
        atime: at(stat.st_atime, stat.st_atime_nsec),
        mtime: at(stat.st_mtime, stat.st_mtime_nsec),
        ctime: at(stat.st_ctime, stat.st_ctime_nsec),
        crtime: SystemTime::UNIX_EPOCH,
        kind,
        perm: u16::try_from(stat.st_mode & 0o7777).unwrap_or(0),
        nlink: small(stat.st_nlink),
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// Answers with what came of it.
macro_rules! answer {
    ($reply:expr, $done:expr, |$value:pat_param| $say:expr) => {
        match $done {
            Ok($value) => $say,
            Err(errno) => $reply.error(errno),
        }
    };
}

impl Filesystem for Files {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        if self.manner.locks != Locks::OfTheNode {
            let asked = config.add_capabilities(InitFlags::FUSE_FLOCK_LOCKS);
            asked.map_err(|_| io::ErrorKind::Unsupported)?;
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.state.pass();
        match self.enter(parent, name) {
            Ok(found) => {
                reply.entry_with_ttls(&Duration::ZERO, &self.manner.late, &found, Generation(0));
            }
            Err(errno) if errno == Errno::ENOENT && self.manner.late > Duration::ZERO => {
                // Node 0: it is not there, and that is believed for a while.
                let Ok(mut nothing) = self.attributes(INodeNo::ROOT) else {
                    return reply.error(errno);
                };
                nothing.ino = INodeNo(0);
                reply.entry(&self.manner.late, &nothing, Generation(0));
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn forget(&self, _: &Request, node: INodeNo, count: u64) {
        let mut known = self.known();
        if node != INodeNo::ROOT
            && let Some(found) = known.get_mut(&node.0)
        {
            found.lookups = found.lookups.saturating_sub(count);
            if found.lookups == 0 {
                known.remove(&node.0);
            }
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.state.pass();
        answer!(reply, self.attributes(node), |found| reply.attr(&Duration::ZERO, &found));
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.state.pass();
        let done = self.set(node, mode, (uid, gid), size, (atime, mtime));
        answer!(reply, done, |found| reply.attr(&Duration::ZERO, &found));
    }

    fn readlink(&self, _: &Request, node: INodeNo, reply: ReplyData) {
        self.state.pass();
        let done = self
            .find(node)
            .and_then(|(fd, _)| rustix::fs::readlinkat(&fd, "", Vec::new()).map_err(errno));
        answer!(reply, done, |target| reply.data(target.as_bytes()));
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        self.state.pass();
        let done = self.make(request, (parent, name), Some(mode & !umask), OFlags::DIRECTORY);
        answer!(reply, done, |(made, _)| reply.entry_with_ttls(
            &Duration::ZERO,
            &self.manner.late,
            &made,
            Generation(0)
        ));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        self.state.pass();
        let wanted =
            OFlags::from_bits_truncate(flags.cast_unsigned()) & (OFlags::EXCL | OFlags::TRUNC);
        let done = self.make(request, (parent, name), Some(mode & !umask), wanted | OFlags::RDWR);
        answer!(reply, done, |(made, file)| {
            let handle = file.map_or(FileHandle(0), |file| self.opened(file));
            reply.created(
                &Duration::ZERO,
                &made,
                Generation(0),
                handle,
                FopenFlags::FOPEN_DIRECT_IO,
            );
        });
    }

    fn open(&self, _: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.state.pass();
        let file = self.path(node).and_then(|(path, _held)| {
            // Append and the like are done by the kernel in front.
            let mut options = File::options();
            options.read(true).write(flags.acc_mode() != fuser::OpenAccMode::O_RDONLY);
            Ok(options.open(path)?)
        });
        answer!(reply, file, |file| reply.opened(self.opened(file), FopenFlags::FOPEN_DIRECT_IO));
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.state.pass();
        let done = self.file(node, handle).and_then(|file| {
            let mut bytes = vec![0; size as usize];
            let mut filled = 0;
            while filled < bytes.len() {
                match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
                    0 => break,
                    count => filled += count,
                }
            }
            bytes.truncate(filled);
            Ok(bytes)
        });
        answer!(reply, done, |bytes| reply.data(&bytes));
    }

    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.state.pass();
        let done = self.file(node, handle).and_then(|file| Ok(file.write_all_at(data, offset)?));
        answer!(reply, done, |()| reply.written(small(data.len() as u64)));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        self.state.pass();
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&handle.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, node: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        self.state.pass();
        answer!(reply, self.file(node, handle), |_| reply.ok());
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.state.pass();
        reply.ok();
    }

    fn readdir(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        self.state.pass();
        let done = self.list(node, offset, &mut reply);
        answer!(reply, done, |()| reply.ok());
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.state.pass();
        let done = self.find(parent).and_then(|(directory, _)| {
            self.removing(&directory, name);
            rustix::fs::unlinkat(&directory, name, AtFlags::empty()).map_err(errno)
        });
        answer!(reply, done, |()| reply.ok());
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.state.pass();
        let done = self.find(parent).and_then(|(directory, _)| {
            self.removing(&directory, name);
            rustix::fs::unlinkat(&directory, name, AtFlags::REMOVEDIR).map_err(errno)
        });
        answer!(reply, done, |()| reply.ok());
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.state.pass();
        let done = self.find(parent).and_then(|(from, _)| {
            let (to, _) = self.find(to)?;
            self.removing(&to, new);
            let flags = rustix::fs::RenameFlags::from_bits_truncate(flags.bits());
            rustix::fs::renameat_with(from.as_fd(), name, to.as_fd(), new, flags).map_err(errno)
        });
        answer!(reply, done, |()| reply.ok());
    }

    fn link(&self, _: &Request, node: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.state.pass();
        let done = self.path(node).and_then(|(path, _held)| {
            let (to, _) = self.find(parent)?;
            rustix::fs::linkat(CWD, &path, &to, name, AtFlags::SYMLINK_FOLLOW).map_err(errno)?;
            self.enter(parent, name)
        });
        answer!(reply, done, |made| reply.entry_with_ttls(
            &Duration::ZERO,
            &self.manner.late,
            &made,
            Generation(0)
        ));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.state.pass();
        let done =
            self.find(INodeNo::ROOT).and_then(|(fd, _)| rustix::fs::fstatvfs(fd).map_err(errno));
        answer!(reply, done, |found| reply.statfs(
            found.f_blocks,
            found.f_bfree,
            found.f_bavail,
            found.f_files,
            found.f_ffree,
            small(found.f_bsize),
            255,
            small(found.f_frsize)
        ));
    }

    fn setlk(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: LockOwner,
        _: u64,
        _: u64,
        _: i32,
        _: u32,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.state.pass();
        match self.manner.locks {
            Locks::Fail(number) => reply.error(Errno::from_i32(number)),
            _ => reply.ok(),
        }
    }
}
