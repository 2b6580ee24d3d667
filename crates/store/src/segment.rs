//! Segments: a directory with `data` and `index`, which becomes visible with both at once.
//!
//! Not here: what is in them, and their checksums (`orlop-image`). A caller that finds an index or
//! data not to be what it must says so with [`Store::move_aside`].

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use orlop_publish::{DirectoryDraft, PublishError};

use crate::intact::Intact;
use crate::store::Store;
use crate::{Entry, Error, Key, Leased};

/// How often a segment is looked for or published that a collector takes away, or another makes, just
/// then.
const TRIES: u32 = 16;

/// A published segment, leased.
#[derive(Debug)]
pub struct Segment {
    /// Compressed blocks.
    pub data: Leased,
    /// What lies where in the data.
    pub index: Leased,
}

/// A segment that no reader can see yet. Dropping it removes it.
#[derive(Debug)]
pub struct SegmentDraft {
    store: Store,
    key: Key,
    draft: DirectoryDraft,
    data: File,
}

impl SegmentDraft {
    /// The data file, empty at first. It is synced when the segment is published.
    pub fn data(&mut self) -> &mut File {
        &mut self.data
    }

    /// Publishes the data with its index. Where somebody else was faster with the same bytes,
    /// theirs are kept.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`]; nothing became visible.
    pub fn publish(mut self, index: &[u8]) -> Result<Segment, Error> {
        let path = self.store.layout().segment(&self.key);
        let bytes = index.len() as u64;
        let failed = |error| Error::publish(bytes, error);
        let mut file = self.draft.create("index").map_err(failed)?;
        file.write_all(index)
            .map_err(|cause| Error::disk("write", &path.join("index"), bytes, cause))?;
        for _ in 0..TRIES {
            if let Some(theirs) = self.store.segment(&self.key)? {
                let data = self.data.metadata();
                let data = data.map_err(|cause| Error::disk("read", &path, 0, cause))?.len();
                if theirs.data.bytes() == data && theirs.index.read()? == index {
                    return Ok(theirs);
                }
                drop(theirs);
                let entry = Entry::Segment(self.key.clone());
                self.store.move_aside(&entry, "a new one has other bytes")?;
            }
            match self.draft.publish_new(&path) {
                Ok(()) => {
                    let data = Leased::take(self.data, &path.join("data"))?;
                    let index = Leased::take(file, &path.join("index"))?;
                    return Ok(Segment { data, index });
                }
                // Somebody was faster just now: theirs is taken, unless a collector was faster
                // still.
                Err(PublishError::Exists { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(PublishError::Exists { target: path }))
    }
}

impl Store {
    /// Begins a segment.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`].
    pub fn draft_segment(&self, key: &Key) -> Result<SegmentDraft, Error> {
        let failed = |error| Error::publish(0, error);
        let tmp = self.layout().drafts();
        let begin = || DirectoryDraft::within(&tmp, self.maker()).map_err(failed);
        let mut draft = self.mended(begin)?;
        let data = draft.create("data").map_err(failed)?;
        Ok(SegmentDraft { store: self.clone(), key: key.clone(), draft, data })
    }

    /// Opens a segment; `None` when it is not there, or lacks a file and has been moved aside.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn segment(&self, key: &Key) -> Result<Option<Segment>, Error> {
        match self.find_segment(key)? {
            Found::Whole(segment) => Ok(Some(segment)),
            Found::Missing => Ok(None),
            Found::Broken => {
                self.move_aside(&Entry::Segment(key.clone()), "a file of it is missing")?;
                Ok(None)
            }
        }
    }

    /// Looks for a segment's files.
    pub(crate) fn find_segment(&self, key: &Key) -> Result<Found, Error> {
        let entry = Entry::Segment(key.clone());
        if let Some(under) = self.under(&entry)
            && let (Some(data), Some(index)) = (
                open(&under.join("data"), self.intact())?,
                open(&under.join("index"), self.intact())?,
            )
            && !exists(&self.own_path(&entry))
        {
            return Ok(Found::Whole(Segment { data, index }));
        }
        let path = self.own_path(&entry);
        // A collector may take it away between the two files, and another make it anew.
        for _ in 0..TRIES {
            let open = |name: &str| open(&path.join(name), self.intact());
            let (data, index) = (open("data")?, open("index")?);
            if let (Some(data), Some(index)) = (data, index) {
                return Ok(Found::Whole(Segment { data, index }));
            }
            if !exists(&path) {
                return Ok(Found::Missing);
            }
        }
        Ok(Found::Broken)
    }
}

/// What was found of a segment.
pub(crate) enum Found {
    Whole(Segment),
    Missing,
    Broken,
}

fn open(path: &Path, intact: &Intact) -> Result<Option<Leased>, Error> {
    match Leased::open(path, intact)? {
        crate::lease::Opened::Leased(leased) => Ok(Some(leased)),
        crate::lease::Opened::Missing | crate::lease::Opened::Odd(_) => Ok(None),
    }
}

fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::tests::{key, put_segment, store};

    #[test]
    fn a_segment_becomes_visible_with_both_files() {
        let (_directory, store) = store();
        let mut draft = store.draft_segment(&key(1)).unwrap();
        draft.data().write_all(b"data").unwrap();
        assert!(store.segment(&key(1)).unwrap().is_none());
        draft.publish(b"index").unwrap();
        let segment = store.segment(&key(1)).unwrap().unwrap();
        assert_eq!(segment.index.read().unwrap(), b"index");
        assert_eq!(segment.data.bytes(), 4);
        assert_eq!(fs::read_dir(store.root().join("tmp/.orlop")).unwrap().count(), 0);
    }

    #[test]
    fn a_dropped_draft_leaves_nothing() {
        let (_directory, store) = store();
        drop(store.draft_segment(&key(1)).unwrap());
        assert_eq!(fs::read_dir(store.root().join("tmp/.orlop")).unwrap().count(), 0);
    }

    #[test]
    fn the_same_segment_twice_is_one() {
        let (_directory, store) = store();
        let first = put_segment(&store, 1, b"data", b"index");
        let inode = fs::metadata(first.data.path()).unwrap();
        let second = put_segment(&store, 1, b"data", b"index");
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!(fs::metadata(second.data.path()).unwrap().ino(), inode.ino());
    }

    #[test]
    fn f35_a_cut_segment_is_replaced_by_a_new_one() {
        let (_directory, store) = store();
        drop(put_segment(&store, 1, b"data", b"index"));
        fs::write(store.path(&Entry::Segment(key(1))).join("data"), b"da").unwrap();
        let healed = put_segment(&store, 1, b"data", b"index");
        assert_eq!(fs::read(healed.data.path()).unwrap(), b"data");
        fs::remove_file(healed.index.path()).unwrap();
        drop(healed);
        assert!(store.segment(&key(1)).unwrap().is_none());
        assert!(!store.path(&Entry::Segment(key(1))).exists());
        let aside = fs::read_dir(store.root().join("tmp/damaged")).unwrap().count();
        assert_eq!(aside, 2);
    }
}
