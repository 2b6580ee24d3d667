//! Files: opening and locking one, reading one whole with a limit, publishing a small one, the file
//! system's own time.

use std::fs::{DirEntry, File};
use std::io::{Read, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use orlop_publish::{Draft, Mode};
use rustix::fs::{FlockOperation, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

use crate::Error;
use crate::store::Store;

/// Reads an open file from its start; `None` when it has more than `limit` bytes. By offset: many
/// may read through one descriptor at once.
pub(crate) fn read_all(file: &File, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
    // One byte more than there is, so that its end is seen without another piece.
    let size = file.metadata()?.len().min(limit).saturating_add(1);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    let whole = FromStart { file, at: 0 };
    whole.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// Reads a file without its descriptor's own position.
struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at = self.at.saturating_add(count as u64);
        Ok(count)
    }
}

/// Says that a file was used just now. Not worth a failure.
pub(crate) fn touch(file: &File) {
    let (now, omit) = (timespec(UTIME_NOW), timespec(UTIME_OMIT));
    let times = Timestamps { last_access: now, last_modification: omit };
    let _ = rustix::fs::futimens(file, &times);
}

/// A number that nobody else has: for names. Where the kernel has no chance to give, the time does.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    let flags = rustix::rand::GetRandomFlags::empty();
    match rustix::rand::getrandom(&mut bytes, flags) {
        Ok(8) => u64::from_ne_bytes(bytes),
        _ => rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_nsec.unsigned_abs(),
    }
}

/// Lists a directory; one that is missing has nothing in it.
pub(crate) fn list(directory: &Path) -> Result<Vec<DirEntry>, Error> {
    let mut all = Vec::new();
    each(directory, |found| {
        all.push(found);
        Ok(())
    })?;
    Ok(all)
}

/// Goes through a directory, one name at a time: there may be a million. One that is missing has
/// nothing in it.
pub(crate) fn each(
    directory: &Path,
    mut visit: impl FnMut(DirEntry) -> Result<(), Error>,
) -> Result<(), Error> {
    let failed = |cause| Error::disk("read", directory, 0, cause);
    let found = match std::fs::read_dir(directory) {
        Ok(found) => found,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(failed(cause)),
    };
    for entry in found {
        visit(entry.map_err(failed)?)?;
    }
    Ok(())
}

/// Sets a file's modification time to now, by the file system's clock.
pub(crate) fn renew(file: &File) -> std::io::Result<()> {
    let now = timespec(UTIME_NOW);
    let times = Timestamps { last_access: now, last_modification: now };
    Ok(rustix::fs::futimens(file, &times)?)
}

fn timespec(nanoseconds: i64) -> Timespec {
    Timespec { tv_sec: 0, tv_nsec: nanoseconds }
}

/// Opens what is to be a file of the cache, or a directory: without following a link or waiting for
/// anybody (a FIFO that somebody put there would be waited for until it has a writer).
pub(crate) fn open_as_it_is(path: &Path) -> Result<File, Errno> {
    open_with(path, OFlags::empty())
}

/// The same for a look, which is no use of it: without changing when it was used.
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    // The owner's right alone.
    let opened = match open_with(path, OFlags::NOATIME) {
        Err(Errno::PERM) => open_as_it_is(path),
        opened => opened,
    };
    Ok(opened?)
}

fn open_with(path: &Path, more: OFlags) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(path, flags | more, rustix::fs::Mode::empty()).map(File::from)
}

/// What came of locking a file alone.
pub(crate) enum Lock {
    Ours(File),
    Held,
    /// Nothing there that could be in use.
    Nothing,
    /// Locks do not work here.
    Unknown,
}

/// Locks a file or directory alone, without waiting.
pub(crate) fn lock(path: &Path) -> Lock {
    let Ok(file) = open_as_it_is(path) else { return Lock::Nothing };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Lock::Ours(file),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Lock::Held,
        Err(_) => Lock::Unknown,
    }
}

/// Takes back that a file was used later than then. A use of the very moment is taken back too:
/// what is in use stays whatever its times say. Not worth a failure.
pub(crate) fn used_at(file: &File, then: SystemTime) {
    let since = then.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs().try_into().unwrap_or(i64::MAX);
    let last_access = Timespec { tv_sec: seconds, tv_nsec: since.subsec_nanos().into() };
    let times = Timestamps { last_access, last_modification: timespec(UTIME_OMIT) };
    let _ = rustix::fs::futimens(file, &times);
}

/// Opens a file for writing that is made when missing, without following a link.
pub(crate) fn open_or_make(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    Ok(File::from(rustix::fs::open(path, flags, mode)?))
}

impl Store {
    /// Publishes a small file, replacing what is there.
    pub(crate) fn publish_bytes(&self, path: &Path, bytes: &[u8]) -> Result<File, Error> {
        let failed = |error| Error::publish(bytes.len() as u64, error);
        let tmp = self.layout().drafts();
        let begin = || Draft::within(&tmp, path, Mode::Exact(0o600)).map_err(failed);
        let mut draft = self.mended(begin)?;
        draft
            .write_all(bytes)
            .map_err(|cause| Error::disk("write", path, bytes.len() as u64, cause))?;
        draft.replace().map_err(failed)
    }

    /// The file whose time is the file system's, and by which locks are tried. Nothing is in it: what
    /// cannot be opened is replaced.
    pub(crate) fn now_file(&self) -> Result<File, Error> {
        use std::io::ErrorKind as E;
        let path = self.layout().now();
        let open = || open_or_make(&path).map_err(|cause| Error::disk("write", &path, 0, cause));
        match self.mended(open) {
            Err(Error::Disk { cause, .. })
                if matches!(cause.kind(), E::IsADirectory | E::PermissionDenied) =>
            {
                crate::collect::remove_file(&path)?;
                open()
            }
            opened => opened,
        }
    }

    /// The time as the cache's file system sees it: that of a file touched just now. Ages of files
    /// are counted by it, so that no node's clock, nor a jump of it, makes anything old. Where no file
    /// can be touched for want of room (Btrfs counts times towards a quota), it is when one was last:
    /// nothing is older by it than it is.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`].
    pub fn file_system_time(&self) -> Result<SystemTime, Error> {
        let path = self.layout().now();
        let failed = |cause| Error::disk("write", &path, 0, cause);
        let file = self.now_file()?;
        match renew(&file) {
            Err(cause) if orlop_publish::is_disk_full(&cause) => {}
            renewed => renewed.map_err(failed)?,
        }
        let found = file.metadata().map_err(failed)?;
        Ok(time(found.mtime(), found.mtime_nsec()))
    }
}

/// Whether an open file's name is gone: somebody removed it, perhaps on another node.
pub(crate) fn is_gone(file: &File) -> bool {
    file.metadata().map_or(true, |found| found.nlink() == 0)
}

/// A file's time stamp; times before 1970 are 1970.
pub(crate) fn time(seconds: i64, nanoseconds: i64) -> SystemTime {
    let seconds = Duration::from_secs(seconds.try_into().unwrap_or_default());
    let nanoseconds = Duration::from_nanos(nanoseconds.try_into().unwrap_or_default());
    let since = seconds.saturating_add(nanoseconds);
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_read_one_descriptor_whole_at_once() {
        let file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        file.write_all_at(&content, 0).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    assert!(read_all(&file, u64::MAX).unwrap().as_deref() == Some(&*content));
                });
            }
        });
        assert_eq!(read_all(&file, 10).unwrap(), None);
    }
}
