//! An image's stay in the cache: what keeps other nodes' collectors off it, and what is done when a
//! file of it no longer serves.
//!
//! `flock` keeps this node's collector off the files that are open. For those of other nodes, and for
//! what the image is found by, the holder has a lease file, which it holds, renews and in the end
//! removes. A segment that was removed on the server all the same
//! (ESTALE), or that is damaged, is opened anew by its name: the same name means the same bytes. A
//! damaged one without a successor is marked ([`DOUBTED`]): the daemon reads it whole before it is
//! used again, and has it made anew. Source: design, section 6; reliability, rows F34 and F48.
//!
//! Not here: collecting, verifying (`orlop-store`, the daemon).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use orlop_image::{DOUBTED, Mend};
use rustix::fs::{
    AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens, openat, statat,
    unlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// How often a lease is tried to be locked, a millisecond apart.
const TRIES: u32 = 20;

/// Where an image lies in a cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// What names of lease files begin with, relative to the cache's directory.
    pub lease: String,
    /// The image's files, relative to the cache's directory.
    pub files: Vec<String>,
    /// How many of the last of `files` are segments' data files, in the recipe's order.
    pub segments: usize,
    /// What the image is found by without a registry, relative to the cache's directory. It need not
    /// be there.
    pub found_by: Vec<String>,
    /// Milliseconds between two renewals of the lease.
    pub renew_ms: u64,
}

impl Names {
    /// Bytes of a message they may take.
    const MOST: usize = 64 << 10;

    /// Whether they are short enough for a message to the holder.
    pub(super) fn fit(&self) -> bool {
        let bytes = |sum: usize, name: &String| sum.saturating_add(name.len()).saturating_add(3);
        self.files.iter().chain(&self.found_by).fold(self.lease.len(), bytes) < Self::MOST
    }
}

/// The directory of a cache and the image's names in it.
#[derive(Debug)]
pub(super) struct Stay {
    cache: OwnedFd,
    names: Names,
}

/// A lease file, renewed until this is dropped; then it is removed.
#[derive(Debug)]
pub(super) struct Lease {
    stay: Arc<Stay>,
    name: String,
    /// Ends the renewal by going.
    stop: Option<Sender<()>>,
}

impl Stay {
    pub(super) fn new(cache: OwnedFd, names: Names) -> Arc<Self> {
        Arc::new(Self { cache, names })
    }

    /// Makes a lease file and renews it from a thread. A cache that cannot be written has none.
    ///
    /// # Errors
    /// `NotFound` when a file of the image is no longer there: it may be collected by another node
    /// at this moment.
    pub(super) fn lease(self: &Arc<Self>) -> io::Result<Lease> {
        let mut unique = [0; 8];
        let _zeros = rustix::rand::getrandom(&mut unique, rustix::rand::GetRandomFlags::NONBLOCK);
        let name = format!("{}.{:016x}", self.names.lease, u64::from_ne_bytes(unique));
        // Without a lease the image is used as any other file: at the other nodes' mercy.
        let mut written = self.renew(&name);
        let gone = self.names.files.iter().find(|file| {
            let found = statat(&self.cache, file.as_str(), AtFlags::SYMLINK_NOFOLLOW);
            matches!(found, Err(Errno::NOENT | Errno::STALE))
        });
        let mut lease = Lease { stay: Arc::clone(self), name, stop: None };
        if gone.is_some() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (stop, stopped) = channel();
        let (stay, name) = (Arc::clone(self), lease.name.clone());
        let pause = Duration::from_millis(self.names.renew_ms);
        std::thread::Builder::new().name("lease".to_owned()).spawn(move || {
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                // The one that is held is let go when there is another.
                if let Ok(renewed) = stay.renew(&name) {
                    written = Ok(renewed);
                }
            }
            drop(written);
        })?;
        lease.stop = Some(stop);
        Ok(lease)
    }

    /// Makes or renews a lease file, and holds it.
    fn renew(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.cache, name, flags, Mode::RUSR | Mode::WUSR)?;
        let file = File::from(file);
        lock(&file);
        let files = self.names.files.iter().chain(&self.names.found_by);
        let text: String = files.map(|file| format!("{file}\n")).collect();
        // The same bytes each time: a lease is whole at every moment after the first.
        std::os::unix::fs::FileExt::write_all_at(&file, text.as_bytes(), 0)?;
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        futimens(&file, &Timestamps { last_access: now, last_modification: now })?;
        Ok(file)
    }
}

/// Locks a lease. A collector that tries whether somebody does holds it for an instant.
fn lock(file: &File) {
    for _ in 0..TRIES {
        match rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK | Errno::INTR) => {
                let wait = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
                let _ = rustix::event::poll(&mut [], Some(&wait));
            }
            // Where locks do not work, the lease counts by its age.
            _ => return,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Where this fails it dies of age.
        let _removed = unlinkat(&self.stay.cache, self.name.as_str(), AtFlags::empty());
    }
}

/// The image's segments as they can be mended.
#[derive(Debug)]
pub(super) struct Segments(pub(super) Arc<Stay>);

impl Mend for Segments {
    fn open(&self, number: usize) -> io::Result<File> {
        let names = &self.0.names;
        let first = names.files.len().saturating_sub(names.segments);
        let name = names.files.get(first.saturating_add(number)).ok_or(io::ErrorKind::NotFound)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(self.0.cache.as_fd(), name.as_str(), flags, Mode::empty())?;
        // As the first one was: for this node's collector.
        let _locked = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared);
        Ok(File::from(file))
    }

    fn damaged(&self, _number: usize, file: &File) {
        let doubted = Timespec { tv_sec: DOUBTED, tv_nsec: 0 };
        let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps { last_access: omit, last_modification: doubted };
        // Where it cannot be marked, the next check of the daemon finds it.
        let _marked = futimens(file, &times);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;

    use super::*;

    fn stay(cache: &Path, renew_ms: u64) -> Arc<Stay> {
        let names = Names {
            lease: "leases/here.boot".to_owned(),
            files: vec!["recipes/r".to_owned(), "segments/0".to_owned(), "segments/1".to_owned()],
            segments: 2,
            found_by: vec!["tags/t".to_owned()],
            renew_ms,
        };
        Stay::new(OwnedFd::from(File::open(cache).expect("a directory")), names)
    }

    fn cache() -> tempfile::TempDir {
        let cache = tempfile::tempdir().expect("a directory");
        for name in ["leases", "recipes", "segments"] {
            std::fs::create_dir(cache.path().join(name)).expect("made");
        }
        for name in ["recipes/r", "segments/0", "segments/1"] {
            std::fs::write(cache.path().join(name), name).expect("written");
        }
        cache
    }

    fn leases(cache: &Path) -> Vec<std::path::PathBuf> {
        let found = std::fs::read_dir(cache.join("leases")).expect("listed");
        found.map(|entry| entry.expect("an entry").path()).collect()
    }

    /// Whether somebody has a lock on a file that is there. It has none between its making and its lock.
    fn is_held(path: &Path) -> bool {
        let alone = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        File::open(path).is_ok_and(|file| rustix::fs::flock(file, alone) == Err(Errno::WOULDBLOCK))
    }

    #[test]
    fn f48_a_lease_names_the_files_is_renewed_and_goes_at_the_end() {
        let cache = cache();
        let lease = stay(cache.path(), 5).lease().expect("leased");
        let path = leases(cache.path()).pop().expect("a lease");
        let text = std::fs::read_to_string(&path).expect("read");
        assert_eq!(text, "recipes/r\nsegments/0\nsegments/1\ntags/t\n");
        // Swept, as a node that slept for long finds it.
        std::fs::remove_file(&path).expect("removed");
        let start = std::time::Instant::now();
        while !is_held(&path) {
            assert!(start.elapsed() < Duration::from_secs(10), "it is made again and held");
            std::thread::yield_now();
        }
        drop(lease);
        // A renewal that was under way may come after the removal: then it dies of age.
        assert!(leases(cache.path()).len() <= 1);
    }

    #[test]
    fn f48_files_that_another_node_removed_before_the_lease_are_missed() {
        let cache = cache();
        std::fs::remove_file(cache.path().join("segments/1")).expect("removed");
        let lease = stay(cache.path(), 1_000_000).lease();
        assert_eq!(lease.expect_err("gone").kind(), io::ErrorKind::NotFound);
        assert!(leases(cache.path()).is_empty());
    }

    #[test]
    fn f34_a_damaged_segment_is_marked_and_another_is_opened_by_its_name() {
        let cache = cache();
        let segments = Segments(stay(cache.path(), 1_000_000));
        let file = segments.open(1).expect("opened");
        segments.damaged(1, &file);
        let path = cache.path().join("segments/1");
        assert_eq!(std::fs::metadata(path).expect("there").mtime(), DOUBTED);
        assert!(segments.open(2).is_err());
    }
}
