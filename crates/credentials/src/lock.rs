//! The lock of a credential file: a file beside it (`<name>.lock`, 0600), because the file itself
//! is replaced by every update.
//!
//! Whoever holds the lock removes its file before letting go; a waiter that gets the lock of a
//! removed file starts again with the new one. So nothing is left beside a user's file, and a lock
//! file that is found unlocked is that of a dead process. Where locks do not work there is none,
//! and the caller is told.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::Error;

/// Longest time between two tries to take a lock that somebody holds.
const TRY_AGAIN: Duration = Duration::from_millis(8);

/// A lock that is held until it is dropped, or the knowledge that there are no locks here.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    held: Option<File>,
    /// The lock file was there before: its owner died, or others wait.
    pub(crate) was_there: bool,
}

impl Lock {
    /// Takes the lock of a file. Waits for as long as others make progress, and for one holder at
    /// most `limit`.
    ///
    /// # Errors
    /// [`Error::Locked`] when somebody holds it for longer; [`Error::NotOurs`] for a lock file of
    /// another user; [`Error::Disk`].
    pub(crate) fn take(target: &Path, limit: Duration) -> Result<Self, Error> {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".lock");
        let path = target.with_file_name(name);
        let failed =
            |cause: Errno| Error::Disk { doing: "lock", path: path.clone(), cause: cause.into() };
        let (mut file, mut was_there) = open(&path).map_err(failed)?;
        let mut since = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
            if matches!(locked, Err(Errno::NOLCK | Errno::NOSYS | Errno::OPNOTSUPP)) {
                return Ok(Self { path, held: None, was_there });
            }
            if !is_at(&file, &path) {
                // Its holder let go of it meanwhile: others come forward.
                (file, was_there) = open(&path).map_err(failed)?;
                since = Instant::now();
                continue;
            }
            match locked {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(cause) => return Err(failed(cause)),
            }
            if since.elapsed() >= limit {
                return Err(Error::Locked { holder: holder(&file), lock: path });
            }
            // A blocking flock has no time limit; the pauses are far shorter than an update.
            let wait = Timespec::try_from(pause).ok();
            let _ = poll(&mut [], wait.as_ref());
            pause = pause.saturating_mul(2).min(TRY_AGAIN);
        }
        let owner = rustix::fs::fstat(&file).map_err(failed)?.st_uid;
        if owner != rustix::process::geteuid().as_raw() {
            return Err(Error::NotOurs { file: path.display().to_string(), owner });
        }
        Ok(Self { path, held: Some(file), was_there })
    }

    /// True when nobody else can hold it now.
    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.held.is_some() {
            // Best effort: a lock file that stays is taken by the next.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Opens the lock file or makes it; says whether it was there.
fn open(path: &Path) -> Result<(File, bool), Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mode = Mode::RUSR | Mode::WUSR;
    loop {
        match rustix::fs::open(path, flags | OFlags::CREATE | OFlags::EXCL, mode) {
            Ok(fd) => return Ok((File::from(fd), false)),
            Err(Errno::EXIST) => {}
            Err(cause) => return Err(cause),
        }
        match rustix::fs::open(path, flags, mode) {
            Ok(fd) => return Ok((File::from(fd), true)),
            Err(Errno::NOENT) => {}
            // A lock file of ours that lost its mode gets it back.
            Err(Errno::ACCESS) => rustix::fs::chmod(path, mode)?,
            Err(cause) => return Err(cause),
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// The process that holds the lock, where the kernel tells.
fn holder(file: &File) -> Option<u32> {
    let found = file.metadata().ok()?;
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let device = (rustix::fs::major(found.dev()), rustix::fs::minor(found.dev()));
    holder_in(&locks, device, found.ino())
}

/// Finds the holder of a flock in the text of `/proc/locks`
/// (`1: FLOCK ADVISORY WRITE <pid> <major>:<minor>:<inode> 0 EOF`, device numbers in hex).
fn holder_in(locks: &str, (major, minor): (u32, u32), inode: u64) -> Option<u32> {
    let place = format!("{major:02x}:{minor:02x}:{inode}");
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, pid) = (words.next()?, words.nth(2)?);
        (kind == "FLOCK" && words.next()? == place).then(|| pid.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn a_lock_leaves_nothing_beside_the_file() {
        let home = tempfile::tempdir().unwrap();
        let lock = Lock::take(&home.path().join("f"), LONG).unwrap();
        assert!(lock.is_held() && !lock.was_there);
        assert!(home.path().join("f.lock").exists());
        drop(lock);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn s18_a_lock_held_for_too_long_names_its_file_and_holder() {
        let home = tempfile::tempdir().unwrap();
        let held = Lock::take(&home.path().join("f"), LONG).unwrap();
        let error = Lock::take(&home.path().join("f"), Duration::from_millis(20)).unwrap_err();
        let lock = home.path().join("f.lock");
        let said = format!("{} is locked by process {}", lock.display(), std::process::id());
        assert_eq!(error.to_string(), said);
        drop(held);
        Lock::take(&home.path().join("f"), Duration::from_millis(20)).unwrap();
    }

    #[test]
    fn s19_a_lock_file_left_by_a_dead_process_is_taken_whatever_its_mode() {
        let home = tempfile::tempdir().unwrap();
        for mode in [0o600, 0o000] {
            let lock = home.path().join("f.lock");
            fs::write(&lock, b"").unwrap();
            fs::set_permissions(&lock, fs::Permissions::from_mode(mode)).unwrap();
            let taken = Lock::take(&home.path().join("f"), LONG).unwrap();
            assert!(taken.was_there);
        }
    }

    #[test]
    fn s19_a_lock_file_of_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let lock = home.path().join("f.lock");
        fs::write(&lock, b"").unwrap();
        std::os::unix::fs::chown(&lock, Some(4711), None).unwrap();
        let error = Lock::take(&home.path().join("f"), LONG).unwrap_err();
        assert!(matches!(error, Error::NotOurs { owner: 4711, .. }), "{error}");
        assert!(lock.exists());
    }

    #[test]
    fn the_holder_is_found_among_the_kernels_locks() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 00:1a:5 0 EOF\n\
            1: -> FLOCK  ADVISORY  WRITE 12 00:1a:5 0 EOF\n\
            2: FLOCK  ADVISORY  WRITE 13 00:1a:55 0 EOF\n3: FLOCK  ADVISORY  READ  14 00:1a:5 0 EOF\n";
        assert_eq!(holder_in(locks, (0, 0x1a), 5), Some(14));
        assert_eq!(holder_in(locks, (8, 0x1a), 5), None);
    }
}
