//! The handle of an open cache. What it can do is in the files of the nouns.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::layout::Layout;
use crate::{Entry, Error};

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
        Self { host, pid, boot: boot.trim().to_owned(), cap_bytes: None }
    }
}

/// An open cache. Clones are the same cache.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    layout: Layout,
    settings: Settings,
    /// Entries that were looked at since the start of this process.
    used: Mutex<BTreeSet<Entry>>,
}

impl Store {
    /// Opens the cache in `root`, which is made (mode 0700) when missing.
    ///
    /// # Errors
    /// [`Error::Unusable`]: go on without a cache. [`Error::Format`]: a newer or unknown cache,
    /// untouched. [`Error::DiskFull`], [`Error::Disk`].
    pub fn open(root: &Path, settings: Settings) -> Result<Self, Error> {
        let layout = Layout::make(root)?;
        Ok(Self(Arc::new(Inner { layout, settings, used: Mutex::default() })))
    }

    /// The cache's directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.0.layout.root()
    }

    /// The file or directory of an entry, whether it is there or not.
    #[must_use]
    pub fn path(&self, entry: &Entry) -> PathBuf {
        self.0.layout.entry(entry)
    }

    /// True the first time it is asked for an entry in this process: callers then verify its
    /// content in the background.
    #[must_use]
    pub fn is_first_use(&self, entry: &Entry) -> bool {
        self.0.used.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.clone())
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.0.layout
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }
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
    fn an_entry_is_used_for_the_first_time_once() {
        let (_directory, store) = store();
        let entry = Entry::Recipe(key(1));
        assert!(store.is_first_use(&entry));
        assert!(!store.is_first_use(&entry));
    }
}
