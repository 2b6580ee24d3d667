//! Data files of segments that nobody has changed since this process made them or read them whole.
//!
//! Known by device, inode, size and both times. The time of the last change of the inode cannot be
//! set by anybody, so that bytes which were changed and dated back are noticed; but a use of a file,
//! which is noted on it for the collector, changes it too: what this process does so itself is
//! followed here. Where files are another machine's, or times are coarse, nothing is vouched for.
//! Source: decision 020; reliability, row F34.
//!
//! Not here: what is good ([`crate::Checks`]), what follows from it (the client).

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::time::{ClockId, clock_gettime};

use crate::files::touch;
use crate::store::Store;
use crate::{Entry, Leased};

/// Files that are followed at most.
const MOST: usize = 4096;
/// How a file looks from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Of the file system.
    pub device: u64,
    /// Of the file.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When bytes were last changed: seconds and nanoseconds.
    pub modified: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    fn of(file: &File) -> Option<Self> {
        let found = file.metadata().ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }

    fn id(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Whether a change from now on would show: two within one tick of the kernel's clock, by which
    /// files get their times, look alike.
    fn has_settled(&self) -> bool {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        let now = (now.tv_sec, now.tv_nsec);
        self.modified < now && self.changed < now
    }
}

#[derive(Debug)]
struct Known {
    look: Look,
    is_good: bool,
}

/// Files that are followed, by device and inode.
#[derive(Debug, Default)]
pub(crate) struct Intact(Mutex<BTreeMap<(u64, u64), Known>>);

impl Intact {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(u64, u64), Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes on a file that it is used now.
    pub(crate) fn touch(&self, file: &File) {
        self.note(file, touch);
    }

    /// Notes something on a file that changes none of its bytes.
    pub(crate) fn note(&self, file: &File, note: impl FnOnce(&File)) {
        // Held meanwhile: another use between the look and the note would pass for a change.
        let mut all = self.lock();
        let before = Look::of(file);
        note(file);
        if let Some(before) = before
            && let Some(known) = all.get_mut(&before.id()).filter(|known| known.look == before)
            && let Some(look) = Look::of(file)
            && (look.size, look.modified) == (before.size, before.modified)
        {
            known.look = look;
        }
    }

    /// Follows a file from now on; nothing is said of its bytes.
    fn follow(&self, file: &File) {
        let Some(look) = Look::of(file).filter(|_| is_local(file)) else { return };
        let mut all = self.lock();
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(look.id(), Known { look, is_good: false });
    }

    /// What was read of a file since it is followed is good.
    fn vouch(&self, file: &File) {
        let Some(look) = Look::of(file).filter(Look::has_settled) else { return };
        let mut all = self.lock();
        if let Some(known) = all.get_mut(&look.id()) {
            known.is_good = known.look == look;
        }
    }

    fn look(&self, file: &File) -> Option<Look> {
        let look = Look::of(file)?;
        let all = self.lock();
        all.get(&look.id()).filter(|known| known.is_good && known.look == look).map(|_| look)
    }
}

/// Whether a file's times are those of this machine's kernel, and as fine as its clock.
fn is_local(file: &File) -> bool {
    // linux/magic.h, and bcachefs_format.h: ext2 to 4, XFS, btrfs, tmpfs, F2FS, bcachefs.
    const LOCAL: [u64; 6] =
        [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0xf2f5_2010, 0xca45_1a4e];
    let found = rustix::fs::fstatfs(file);
    found.is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|kind| LOCAL.contains(&kind)))
}

impl Store {
    /// Before an entry is read whole.
    pub fn follow(&self, entry: &Entry) {
        self.data_of(entry).inspect(|file| self.intact().follow(file));
    }

    /// An entry was read whole since [`Store::follow`], or made by this process, and is good.
    pub fn vouch(&self, entry: &Entry) {
        self.data_of(entry).inspect(|file| self.intact().vouch(file));
    }

    /// How the data of a segment look which are as they were when they were last vouched for.
    #[must_use]
    pub fn intact_look(&self, data: &Leased) -> Option<Look> {
        self.intact().look(data.file())
    }

    fn data_of(&self, entry: &Entry) -> Option<File> {
        let Entry::Segment(_) = entry else { return None };
        crate::files::open(&self.path(entry).join("data")).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::store::tests::{key, put_segment, store};

    /// A segment whose data was last changed long ago.
    fn segment(store: &Store) -> (Entry, File) {
        let data = put_segment(store, 1, b"data", b"index").data;
        let path = data.path().to_owned();
        let file = File::options().write(true).open(path).unwrap();
        set_back(&file);
        (Entry::Segment(key(1)), file)
    }

    fn set_back(file: &File) {
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)).unwrap();
    }

    /// Follows and vouches, once the clock has ticked since the last change.
    fn vouch(store: &Store, entry: &Entry, file: &File) {
        while !Look::of(file).unwrap().has_settled() {
            std::thread::yield_now();
        }
        store.follow(entry);
        store.vouch(entry);
    }

    fn is_intact(store: &Store) -> bool {
        let data = store.segment(&key(1)).unwrap().unwrap().data;
        store.intact_look(&data).is_some()
    }

    #[test]
    fn f34_data_are_vouched_for_until_somebody_changes_them_whatever_their_time_says() {
        let (_directory, store) = store();
        let (entry, file) = segment(&store);
        if !is_local(&file) {
            return;
        }
        store.follow(&entry);
        assert!(!is_intact(&store), "nobody has read it");
        vouch(&store, &entry, &file);
        for _ in 0..3 {
            assert!(is_intact(&store), "its own uses change nothing");
        }
        file.write_all_at(b"dada", 0).unwrap();
        assert!(!is_intact(&store));
        set_back(&file);
        assert!(!is_intact(&store), "it was dated back");
    }

    #[test]
    fn what_changes_while_it_is_read_or_a_moment_before_is_not_vouched_for() {
        let (_directory, store) = store();
        let (entry, file) = segment(&store);
        store.follow(&entry);
        file.write_all_at(b"dada", 0).unwrap();
        set_back(&file);
        store.vouch(&entry);
        assert!(!is_intact(&store));
        store.follow(&entry);
        let ahead = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        file.set_modified(ahead).unwrap();
        store.follow(&entry);
        store.vouch(&entry);
        assert!(!is_intact(&store));
    }

    #[test]
    fn many_uses_at_once_do_not_pass_for_changes() {
        let (_directory, store) = store();
        let (entry, file) = segment(&store);
        if !is_local(&file) {
            return;
        }
        vouch(&store, &entry, &file);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..50).for_each(|_| drop(store.segment(&key(1)).unwrap())));
            }
        });
        assert!(is_intact(&store));
    }
}
