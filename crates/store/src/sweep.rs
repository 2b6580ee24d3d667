//! Sweeping: what dead processes left, and what is too old to be of use.
//!
//! Drafts in `tmp/` that nobody holds and that are over an hour old, damaged entries of that age,
//! downloads that nobody went on with for a week, claims and leases that have gone silent. Ages are
//! counted by the file system's clock.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use orlop_config::limits;
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::collect::remove_file;
use crate::files::{list, time};
use crate::store::Store;
use crate::{Error, Filter, Kind};

impl Store {
    /// Sweeps the cache; returns how many files and directories went. Meant for the background
    /// after a start.
    ///
    /// # Errors
    /// [`Error::Disk`] when a directory cannot be read; what cannot be removed stays.
    pub fn sweep(&self) -> Result<u64, Error> {
        let now = self.file_system_time()?;
        let layout = self.layout();
        let mut swept: u64 = 0;
        let mut sweep = |directory: &Path, age: Duration, locked: bool| -> Result<(), Error> {
            for path in old(directory, now, age)? {
                if path.file_name().is_some_and(|name| name == "damaged") {
                    continue;
                }
                let lock = if locked { alone(&path) } else { Some(None) };
                if lock.is_some() && remove_file(&path).is_ok() {
                    swept = swept.saturating_add(1);
                }
            }
            Ok(())
        };
        sweep(&layout.tmp(), limits::STRAY_AGE, true)?;
        sweep(&layout.damaged(), limits::STRAY_AGE, false)?;
        sweep(&layout.claims(), limits::STRAY_AGE, false)?;
        sweep(&layout.leases(), limits::LEASE_HONOURED, false)?;
        let partials = Filter {
            unused_since: now.checked_sub(limits::PARTIAL_KEEP),
            kinds: vec![Kind::Partial],
            dry_run: false,
        };
        let removed = self.clean(&partials, &false.into())?.removed.len() as u64;
        Ok(swept.saturating_add(removed))
    }

    /// Removes what was moved aside because it was damaged, however young; returns how many.
    ///
    /// # Errors
    /// [`Error::Disk`] when the directory cannot be read; what cannot be removed stays.
    pub fn forget_damaged(&self) -> Result<u64, Error> {
        let mut gone: u64 = 0;
        for found in list(&self.layout().damaged())? {
            gone = gone.saturating_add(u64::from(remove_file(&found.path()).is_ok()));
        }
        Ok(gone)
    }
}

/// What in a directory was last changed longer than `age` ago.
fn old(directory: &Path, now: SystemTime, age: Duration) -> Result<Vec<std::path::PathBuf>, Error> {
    let mut old = Vec::new();
    for found in list(directory)? {
        let Ok(stat) = found.metadata() else { continue };
        let changed = time(stat.mtime(), stat.mtime_nsec());
        if now.duration_since(changed).is_ok_and(|since| since > age) {
            old.push(found.path());
        }
    }
    Ok(old)
}

/// Locks a stray file or directory alone; `None` when somebody holds it, or that cannot be known.
fn alone(path: &Path) -> Option<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(fd) = rustix::fs::open(path, flags, Mode::empty()) else { return Some(None) };
    let locked = rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok();
    locked.then(|| Some(File::from(fd)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use orlop_oci::Digest;
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

    use super::*;
    use crate::Entry;
    use crate::store::tests::{key, store};

    fn age(path: &Path, seconds: i64) {
        let at = Timespec { tv_sec: fs::metadata(path).unwrap().mtime() - seconds, tv_nsec: 0 };
        let times = Timestamps { last_access: at, last_modification: at };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::empty()).unwrap();
    }

    #[test]
    fn f40_old_strays_go_and_what_is_young_or_held_stays() {
        let (_directory, store) = store();
        let root = store.root();
        let _draft = store.draft_segment(&key(1)).unwrap();
        let draft = fs::read_dir(root.join("tmp"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| !path.ends_with("damaged"))
            .unwrap();
        for name in
            ["tmp/old", "tmp/young", "tmp/damaged/x", "claims/old", "claims/young", "leases/x"]
        {
            fs::write(root.join(name), b"x").unwrap();
        }
        fs::create_dir(root.join("tmp/directory")).unwrap();
        fs::write(root.join("tmp/directory/data"), b"x").unwrap();
        for name in ["tmp/old", "tmp/directory", "tmp/damaged/x", "tmp/damaged", "claims/old"] {
            age(&root.join(name), 3700);
        }
        age(&root.join("leases/x"), 7300);
        age(&draft, 3700);
        assert_eq!(store.sweep().unwrap(), 5);
        for name in ["tmp/old", "tmp/directory", "tmp/damaged/x", "claims/old", "leases/x"] {
            assert!(!root.join(name).exists(), "{name}");
        }
        for name in ["tmp/young", "tmp/damaged", "claims/young"] {
            assert!(root.join(name).exists(), "{name}");
        }
        assert!(draft.exists(), "a living draft stays however old it is");
    }

    #[test]
    fn downloads_are_kept_for_a_week() {
        let (_directory, store) = store();
        let digest = Digest::sha256(b"x");
        store.partial(&digest, 10).unwrap().append(b"x").unwrap();
        let path = store.path(&Entry::Partial(digest));
        age(&path, 6 * 24 * 3600);
        assert_eq!(store.sweep().unwrap(), 0);
        age(&path, 2 * 24 * 3600);
        assert_eq!(store.sweep().unwrap(), 1);
        assert!(!path.exists());
    }

    #[test]
    fn f40_ten_thousand_strays_do_not_keep_the_cache_from_opening() {
        let (_directory, store) = store();
        for directory in ["tmp", "partial", "claims", "leases"] {
            for number in 0..2500 {
                fs::write(store.root().join(directory).join(format!("s{number}")), b"").unwrap();
            }
        }
        let start = Instant::now();
        Store::open(store.root(), crate::Settings::of_this_process()).unwrap();
        assert!(start.elapsed() < Duration::from_millis(100));
    }
}
