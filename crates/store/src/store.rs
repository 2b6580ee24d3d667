//! The handle of an open cache. What it can do is in the files of the nouns.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orlop_oci::Digest;

use crate::intact::Intact;
use crate::layout::Layout;
use crate::{Aside, Entry, Error};

/// Who uses the cache and how much it may hold.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this host: tells claims and leases of nodes apart.
    pub host: String,
    /// Process id of the user of the cache.
    pub pid: u32,
    /// Identity of this boot of the host; empty where it is not known. What was written but not
    /// synced under another one is not trusted.
    pub boot: String,
    /// Identity of the space of process ids that `pid` is of; empty where it is not known.
    pub processes: String,
    /// Bytes the cache may hold; `None` for the default part of the file system.
    pub cap_bytes: Option<u64>,
}

impl Settings {
    /// Settings of this process on this host with the default cap.
    #[must_use]
    pub fn of_this_process() -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let pid = std::process::id();
        let processes = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let processes = processes.to_string_lossy().into_owned();
        Self { host, pid, boot: boot.trim().to_owned(), processes, cap_bytes: None }
    }
}

/// An open cache. Clones are the same cache.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    layout: Layout,
    /// A cache that cannot be written: what is not in this one is looked for there.
    under: Option<Layout>,
    settings: Settings,
    /// Numbers of the claims that are held through this handle.
    held: Mutex<BTreeSet<u64>>,
    /// How many files were moved aside through this handle, and the last of them.
    aside: Mutex<(u64, Option<Aside>)>,
    intact: Intact,
}

impl Inner {
    fn new(layout: Layout, under: Option<Layout>, settings: Settings) -> Self {
        let (held, aside) = (Mutex::default(), Mutex::default());
        Self { layout, under, settings, held, aside, intact: Intact::default() }
    }
}

impl Store {
    /// Opens the cache in `root`, which is made (mode 0700) when missing.
    ///
    /// # Errors
    /// [`Error::Unusable`]: go on without a cache. [`Error::Format`]: a newer or unknown cache,
    /// untouched. [`Error::DiskFull`], [`Error::Disk`].
    pub fn open(root: &Path, settings: Settings) -> Result<Self, Error> {
        let layout = Layout::make(root)?;
        Ok(Self(Arc::new(Inner::new(layout, None, settings))))
    }

    /// Opens the cache in `root`, and under it one that cannot be written, to use what is in that.
    /// Nothing is made or changed there.
    ///
    /// # Errors
    /// [`Error::Unusable`] when there is no cache in `under` that this user may read;
    /// [`Error::Format`], [`Error::Disk`].
    pub fn open_over(root: &Path, under: &Path, settings: Settings) -> Result<Self, Error> {
        let under = Some(Layout::existing(under)?);
        let layout = Layout::make(root)?;
        Ok(Self(Arc::new(Inner::new(layout, under, settings))))
    }

    /// Looks whether the cache in `root` can be opened, and makes what of it is missing.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn look(root: &Path) -> Result<(), Error> {
        Layout::make(root).map(drop)
    }

    /// Removes a cache of whatever format, so that the next opening makes a new one.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the directory holds other things too: it is left as it is.
    /// [`Error::Disk`].
    pub fn destroy(root: &Path) -> Result<(), Error> {
        Layout::remove(root)
    }

    /// Does something that writes; where the cache was deleted under this process, it is made anew
    /// and the thing is tried once more.
    pub(crate) fn mended<T>(&self, act: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
        match act() {
            Err(Error::Disk { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => {
                tracing::warn!(root = %self.root().display(), "the cache was deleted");
                Layout::make(self.root())?;
                act()
            }
            done => done,
        }
    }

    /// The cache's directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.0.layout.root()
    }

    /// The directory for files without a name, such as an archive while it is unpacked: it is on
    /// the cache's file system.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.0.layout.drafts()
    }

    /// The file or directory of an entry, whether it is there or not.
    #[must_use]
    pub fn path(&self, entry: &Entry) -> PathBuf {
        let own = self.0.layout.entry(entry);
        match self.under(entry) {
            Some(under) if !is_there(&own) && is_there(&under) => under,
            _ => own,
        }
    }

    /// The file or directory that an entry has in the cache that can be written.
    pub(crate) fn own_path(&self, entry: &Entry) -> PathBuf {
        self.0.layout.entry(entry)
    }

    /// The same in the cache under it that cannot.
    pub(crate) fn under(&self, entry: &Entry) -> Option<PathBuf> {
        self.0.under.as_ref().map(|under| under.entry(entry))
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.0.layout
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// How many damaged files were moved aside through this handle and its clones since it was
    /// opened, and the last of them.
    #[must_use]
    pub fn moved_aside(&self) -> (u64, Option<Aside>) {
        self.0.aside.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note_aside(&self, moved: Aside) {
        let mut aside = self.0.aside.lock().unwrap_or_else(PoisonError::into_inner);
        *aside = (aside.0.saturating_add(1), Some(moved));
    }

    /// Who makes drafts here, in their names: processes that see each other's locks and whose names
    /// for processes are the same. Zero, which is nobody, where this boot has no identity.
    pub(crate) fn maker(&self) -> u32 {
        let Settings { host, boot, processes, .. } = self.settings();
        if boot.is_empty() {
            return 0;
        }
        let digest = Digest::sha256(format!("{host}\0{boot}\0{processes}").as_bytes());
        digest.hex().get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or_default()
    }

    /// Files that are as they were when they were good.
    pub(crate) fn intact(&self) -> &Intact {
        &self.0.intact
    }

    /// Numbers of the claims that are held through this handle and its clones.
    pub(crate) fn held(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::{Key, Segment};

    pub(crate) fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = on_host(&directory, "here");
        (directory, store)
    }

    /// The same cache as another host sees it.
    pub(crate) fn on_host(directory: &tempfile::TempDir, host: &str) -> Store {
        let root = directory.path().join("cache");
        let settings = Settings { host: host.to_owned(), ..Settings::of_this_process() };
        Store::open(&root, settings).unwrap()
    }

    pub(crate) fn key(number: u32) -> Key {
        format!("{number:064x}").parse().unwrap()
    }

    pub(crate) fn put_segment(store: &Store, number: u32, data: &[u8], index: &[u8]) -> Segment {
        let mut draft = store.draft_segment(&key(number)).unwrap();
        draft.data().write_all(data).unwrap();
        draft.publish(index).unwrap()
    }

    #[test]
    fn f37_a_cache_deleted_under_the_process_is_made_anew() {
        let (_directory, store) = store();
        let digest = Digest::sha256(b"{}");
        let delete = || std::fs::remove_dir_all(store.root()).unwrap();
        delete();
        assert!(store.entries().unwrap().is_empty());
        assert!(store.document(&digest).unwrap().is_none());
        store.put_document(&digest, b"{}").unwrap();
        delete();
        drop(put_segment(&store, 1, b"data", b"index"));
        delete();
        store.partial(&digest, 2).unwrap().append(b"{}").unwrap();
        delete();
        assert!(store.clean(&crate::Filter::default(), &false.into()).unwrap().removed.is_empty());
        assert_eq!(store.sweep(&false.into()).unwrap(), 0);
        assert!(store.root().join("version").exists());
    }

    #[test]
    fn f37_a_cache_deleted_under_a_draft_fails_or_publishes_and_the_next_works() {
        let (_directory, store) = store();
        let mut draft = store.draft_segment(&key(1)).unwrap();
        draft.data().write_all(b"data").unwrap();
        std::fs::remove_dir_all(store.root()).unwrap();
        let error = draft.publish(b"index").unwrap_err();
        assert!(matches!(error, Error::Disk { .. }), "{error}");
        drop(put_segment(&store, 1, b"data", b"index"));
        assert!(store.segment(&key(1)).unwrap().is_some());
    }

    #[test]
    fn f38_a_cache_that_cannot_be_written_is_read() {
        let (_directory, store) = store();
        let digest = Digest::sha256(b"{}");
        store.put_document(&digest, b"{}").unwrap();
        drop(put_segment(&store, 1, b"data", b"index"));
        store.put_recipe(&key(2), b"recipe").unwrap();
        let settings = Settings::of_this_process();
        let own = tempfile::tempdir().unwrap();
        let over = |under: &Path| Store::open_over(own.path(), under, settings.clone());

        let reader = over(store.root()).unwrap();
        assert_eq!(reader.document(&digest).unwrap().unwrap(), b"{}");
        let segment = reader.segment(&key(1)).unwrap().unwrap();
        assert!(segment.data.path().starts_with(store.root()));
        let recipe = Entry::Recipe(key(2));
        assert_eq!(reader.path(&recipe), store.path(&recipe));
        // What is damaged there stays there and is made anew here.
        reader.move_aside(&recipe, "of a test").unwrap();
        assert!(store.path(&recipe).exists());
        reader.put_recipe(&key(2), b"new").unwrap();
        assert_eq!(reader.recipe(&key(2)).unwrap().unwrap().read().unwrap(), b"new");
        assert_eq!(store.recipe(&key(2)).unwrap().unwrap().read().unwrap(), b"recipe");

        let none = over(&store.root().join("none")).unwrap_err();
        assert!(matches!(none, Error::Unusable { .. }), "{none}");
        assert!(!store.root().join("none").exists());
    }
}
