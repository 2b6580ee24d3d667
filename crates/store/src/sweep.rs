//! Sweeping: what dead processes left, and what is too old to be of use.
//!
//! Drafts in `tmp/.orlop/` that nobody holds, those of this node at once and others when they are
//! over an hour old; damaged entries of that age, downloads that nobody went on with for a week,
//! claims and leases that have gone silent. Ages are counted by the file system's clock. What has no name that
//! Orlop gives ([`crate::own`]) is not the cache's and stays.

use std::ffi::OsStr;
use std::fs::DirEntry;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use orlop_config::limits;

use crate::collect::remove_file;
use crate::files::{Lock, each, lock, time};
use crate::store::Store;
use crate::{Entry, Error, own};

impl Store {
    /// Sweeps the cache; returns how many files and directories went. Meant for the background
    /// after a start; ends early when `stop` is raised. However many there are, they are looked at
    /// one at a time.
    ///
    /// # Errors
    /// [`Error::Stopped`]; [`Error::Disk`] when a directory cannot be read; what cannot be removed
    /// stays.
    pub fn sweep(&self, stop: &AtomicBool) -> Result<u64, Error> {
        let sweeper = Sweeper { root: self.root(), now: self.file_system_time()?, stop };
        let layout = self.layout();
        let own = self.own()?;
        let is_due = |found: &DirEntry| {
            let is_own = own.as_ref().is_some_and(|own| own.has_made(&found.file_name()));
            is_own || sweeper.is_over(limits::STRAY_AGE, found)
        };
        let drafts = sweeper.walk("tmp/.orlop", is_due, remove_unlocked)?;
        let is_place = |path: &Path| path == layout.damaged() || path == layout.drafts();
        let older = sweeper.walk("tmp", is_due, |path| !is_place(path) && remove_unlocked(path))?;
        let is_stray = |found: &DirEntry| sweeper.is_over(limits::STRAY_AGE, found);
        let remove = |path: &Path| remove_file(path).is_ok();
        let damaged = sweeper.walk("tmp/damaged", is_stray, remove)?;
        let claims = sweeper.walk("claims", is_stray, remove)?;
        let is_silent = |found: &DirEntry| sweeper.is_over(limits::LEASE_HONOURED, found);
        // One that somebody holds counts on its node, however old it is.
        let leases = sweeper.walk("leases", is_silent, remove_unlocked)?;
        let partials =
            sweeper.walk("partial", is_stray, |path| self.sweep_partial(path, sweeper.now))?;
        Ok([drafts, older, damaged, claims, leases, partials].iter().sum())
    }

    /// Removes what killed processes of this node left in `tmp/.orlop/`, however young: drafts of
    /// segments and what was being removed, large both, that nobody holds. Returns how many went; none where
    /// locks do not work.
    ///
    /// # Errors
    /// [`Error::Stopped`], [`Error::DiskFull`], [`Error::Disk`]; what cannot be removed stays.
    pub(crate) fn sweep_own(&self, stop: &AtomicBool) -> Result<u64, Error> {
        let Some(own) = self.own()? else { return Ok(0) };
        let sweeper = Sweeper { root: self.root(), now: SystemTime::UNIX_EPOCH, stop };
        let is_own = |found: &DirEntry| own.has_made(&found.file_name());
        sweeper.walk("tmp/.orlop", is_own, remove_unlocked)
    }

    /// How this node's leavings are told; not at all where locks do not work.
    fn own(&self) -> Result<Option<Own>, Error> {
        let maker = self.maker();
        let is_told = maker != 0 && self.do_locks_work()?;
        Ok(is_told.then(|| Own { maker, gone: self.gone() }))
    }

    /// What the names begin with that this node's removals give to what they remove.
    pub(crate) fn gone(&self) -> String {
        format!("gone-{:08x}-", self.maker())
    }

    /// Removes a file of `partial/` that is over an hour old where it is of no use: a download that
    /// nobody went on with for a week, a mark without one.
    fn sweep_partial(&self, path: &Path, now: SystemTime) -> bool {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let named = |name: &str| crate::usage::by_digest(name).map(Entry::Partial);
        if let Some(marked) = name.strip_suffix(".mark").and_then(named) {
            return !self.own_path(&marked).exists() && remove_file(path).is_ok();
        }
        let Some(entry) = named(name) else { return false };
        let Some(info) = crate::usage::info(entry.clone(), path) else { return false };
        let ago = |then| now.duration_since(then).unwrap_or_default();
        ago(info.used) >= limits::PARTIAL_KEEP
            && !self.is_written_elsewhere(&entry, ago(info.created))
            && self.remove(&entry, true, false).unwrap_or(false)
    }

    /// Removes what was moved aside because it was damaged, however young; returns how many.
    ///
    /// # Errors
    /// [`Error::Disk`] when the directory cannot be read; what cannot be removed stays.
    pub fn forget_damaged(&self) -> Result<u64, Error> {
        let mut gone: u64 = 0;
        for path in own::own_in(self.root(), "tmp/damaged")? {
            gone = gone.saturating_add(u64::from(remove_file(&path).is_ok()));
        }
        Ok(gone)
    }
}

/// What this node's processes make in `tmp/.orlop/`, by their names.
struct Own {
    maker: u32,
    gone: String,
}

impl Own {
    fn has_made(&self, name: &OsStr) -> bool {
        orlop_publish::is_made_by(name, self.maker)
            || name.to_str().is_some_and(|name| name.starts_with(&self.gone))
    }
}

/// One sweep.
struct Sweeper<'a> {
    root: &'a Path,
    now: SystemTime,
    stop: &'a AtomicBool,
}

impl Sweeper<'_> {
    /// Goes through a directory of the cache; returns how much went of what is due and the cache's
    /// own, as `goes` says of each. A link in its place is not followed.
    fn walk(
        &self,
        directory: &str,
        is_due: impl Fn(&DirEntry) -> bool,
        goes: impl Fn(&Path) -> bool,
    ) -> Result<u64, Error> {
        let mut swept: u64 = 0;
        let path = self.root.join(directory);
        if !own::is_directory(&path) {
            return Ok(swept);
        }
        each(&path, |found| {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            if own::is_own(directory, &found.file_name()) && is_due(&found) && goes(&found.path()) {
                swept = swept.saturating_add(1);
            }
            Ok(())
        })?;
        Ok(swept)
    }

    /// Whether something was last changed longer than `age` ago.
    fn is_over(&self, age: Duration, found: &DirEntry) -> bool {
        found.metadata().is_ok_and(|stat| {
            let changed = time(stat.mtime(), stat.mtime_nsec());
            self.now.duration_since(changed).is_ok_and(|since| since > age)
        })
    }
}

/// Removes a file or directory that nobody holds; says whether it went.
fn remove_unlocked(path: &Path) -> bool {
    match lock(path) {
        Lock::Ours(_) | Lock::Nothing => remove_file(path).is_ok(),
        // That nobody holds it cannot be known.
        Lock::Held | Lock::Unknown => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use orlop_oci::Digest;
    use rustix::fs::{AtFlags, CWD, FlockOperation, Timespec, Timestamps};

    use super::*;
    use crate::store::tests::{key, store};

    fn age(path: &Path, seconds: i64) {
        let at = Timespec { tv_sec: fs::metadata(path).unwrap().mtime() - seconds, tv_nsec: 0 };
        let times = Timestamps { last_access: at, last_modification: at };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::empty()).unwrap();
    }

    #[test]
    fn f40_what_is_old_goes_and_what_is_young_or_held_stays() {
        let (_directory, store) = store();
        let root = store.root();
        let _draft = store.draft_segment(&key(1)).unwrap();
        let draft = fs::read_dir(root.join("tmp/.orlop"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| !path.ends_with("damaged"))
            .unwrap();
        let [old, young, directory] =
            [1, 2, 3].map(|number| root.join(format!("tmp/.orlop/.orlop-{number:016x}")));
        let damaged = root.join(format!("tmp/damaged/tag-{}-{:016x}", key(1), 1));
        let claims = [1, 2].map(|number| root.join(format!("claims/tag-{}", key(number))));
        let leases = [1, 2].map(|number| root.join(format!("leases/h.0a1b2c3d.{number:016x}")));
        for path in [&old, &young, &damaged].into_iter().chain(&claims).chain(&leases) {
            fs::write(path, b"x").unwrap();
        }
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("data"), b"x").unwrap();
        for path in [&old, &directory, &damaged, &root.join("tmp/damaged"), &claims[0]] {
            age(path, 3700);
        }
        leases.iter().for_each(|lease| age(lease, 7300));
        let held = File::open(&leases[1]).unwrap();
        rustix::fs::flock(&held, FlockOperation::NonBlockingLockShared).unwrap();
        age(&draft, 3700);
        assert_eq!(store.sweep(&false.into()).unwrap(), 5);
        for path in [&old, &directory, &damaged, &claims[0], &leases[0]] {
            assert!(!path.exists(), "{}", path.display());
        }
        for path in [&young, &root.join("tmp/damaged"), &claims[1], &leases[1]] {
            assert!(path.exists(), "{}", path.display());
        }
        assert!(draft.exists(), "a living draft stays however old it is");
    }

    #[test]
    fn f40_what_has_no_name_of_the_cache_is_swept_nowhere_and_no_link_is_followed() {
        let (directory, store) = store();
        let root = store.root();
        for place in ["tmp", "tmp/.orlop", "tmp/damaged", "partial", "claims", "leases"] {
            for name in ["notes", "data.1.csv", "gone-with-the-wind", ".orlop-notes"] {
                fs::create_dir(root.join(place).join(name)).unwrap();
                age(&root.join(place).join(name), 30 * 24 * 3600);
            }
        }
        assert_eq!(store.sweep(&false.into()).unwrap(), 0);
        assert_eq!(store.forget_damaged().unwrap(), 0);
        store.clean(&crate::Filter::default(), &false.into()).unwrap();
        assert!(root.join("tmp/notes").exists() && root.join("leases/data.1.csv").exists());
        // Elsewhere even what looks like a draft is somebody else's.
        let elsewhere = directory.path().join("elsewhere");
        fs::remove_dir_all(root.join("tmp")).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, root.join("tmp")).unwrap();
        let draft = elsewhere.join(format!(".orlop-{:08x}{:08x}", store.maker(), 1));
        fs::write(&draft, b"x").unwrap();
        age(&draft, 3700);
        assert_eq!(store.sweep(&false.into()).unwrap(), 0);
        store.clean(&crate::Filter::default(), &false.into()).unwrap();
        assert!(draft.exists());
    }

    #[test]
    fn f19_what_a_killed_process_of_this_node_left_goes_at_once_and_elsewhere_after_an_hour() {
        let (directory, store) = store();
        let other = crate::store::tests::on_host(&directory, "there");
        let living = store.draft_segment(&key(1)).unwrap();
        let tmp = store.layout().drafts();
        let left = |store: &Store, number: u32| {
            let path = tmp.join(format!(".orlop-{:08x}{number:08x}", store.maker()));
            fs::create_dir(&path).unwrap();
            fs::write(path.join("data"), b"data").unwrap();
            path
        };
        let (own, theirs) = (left(&store, 1), left(&other, 2));
        let gone = tmp.join(format!("{}{:016x}", store.gone(), 1));
        fs::create_dir(&gone).unwrap();
        assert_ne!(store.maker(), other.maker());
        assert!(matches!(store.sweep_own(&true.into()), Err(Error::Stopped)));
        assert_eq!(store.sweep_own(&false.into()).unwrap(), 2);
        assert!(!own.exists() && !gone.exists() && theirs.exists());
        drop(living.publish(b"index").unwrap());
        // A cleaning, and a want of room, do the same.
        let own = left(&store, 3);
        store.clean(&crate::Filter::default(), &false.into()).unwrap();
        assert!(!own.exists() && theirs.exists());
        let own = left(&store, 4);
        // Whether there is room for them even so is no matter here.
        let free = store.space().unwrap().free;
        drop(store.make_room(free, free));
        assert!(!own.exists() && theirs.exists());
        age(&theirs, 3700);
        assert_eq!(store.sweep(&false.into()).unwrap(), 1);
    }

    #[test]
    fn downloads_are_kept_for_a_week() {
        let (_directory, store) = store();
        let digest = Digest::sha256(b"x");
        store.partial(&digest, 10).unwrap().append(b"x").unwrap();
        let path = store.path(&Entry::Partial(digest));
        age(&path, 6 * 24 * 3600);
        assert_eq!(store.sweep(&false.into()).unwrap(), 0);
        age(&path, 2 * 24 * 3600);
        assert_eq!(store.sweep(&false.into()).unwrap(), 1);
        assert!(!path.exists());
    }

    #[test]
    fn f40_marks_go_with_their_downloads() {
        let (_directory, store) = store();
        let (kept, none) = (Digest::sha256(b"x"), Digest::sha256(b"none"));
        store.partial(&kept, 10).unwrap().append(b"x").unwrap();
        let (mark, orphan) = (store.layout().mark(&kept), store.layout().mark(&none));
        fs::write(&orphan, b"x").unwrap();
        let all = [mark.clone(), orphan.clone()];
        for path in &all {
            age(path, 3500);
        }
        assert_eq!(store.sweep(&false.into()).unwrap(), 0);
        for path in &all {
            age(path, 200);
        }
        assert!(matches!(store.sweep(&true.into()), Err(Error::Stopped)));
        assert_eq!(store.sweep(&false.into()).unwrap(), 1);
        assert!(!orphan.exists() && mark.exists());
    }

    #[test]
    fn f40_ten_thousand_strays_do_not_keep_the_cache_from_opening() {
        let (_directory, store) = store();
        let strays: Vec<_> = (0..2500_u32)
            .flat_map(|number| {
                let key = key(number);
                [
                    format!("tmp/.orlop/.orlop-{number:016x}"),
                    format!("partial/sha256-{key}"),
                    format!("claims/tag-{key}"),
                    format!("leases/h.0a1b2c3d.{number:016x}"),
                ]
            })
            .map(|name| store.root().join(name))
            .collect();
        for stray in &strays {
            fs::write(stray, b"").unwrap();
            age(stray, 30 * 24 * 3600);
        }
        Store::open(store.root(), crate::Settings::of_this_process()).unwrap();
        // Opening looks at none of them; a sweep takes them all.
        assert!(strays.iter().all(|stray| stray.exists()));
        assert_eq!(store.sweep(&false.into()).unwrap(), 10_000);
    }
}
