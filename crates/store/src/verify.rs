//! Verification: reading entries and comparing them with what they must be; moving aside what
//! does not match.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use orlop_oci::{Digest, Hasher};
use orlop_publish::{PublishError, move_aside};

use crate::collect::files_of;
use crate::files::{is_gone, random, used_at};
use crate::layout::Layout;
use crate::lease::{Leased, Opened};
use crate::segment::Found;
use crate::store::Store;
use crate::tag::ReadTag;
use crate::{Entry, Error, Info, Key, Kind};

/// Bytes read at a time for hashing.
const PIECE: usize = 1 << 20;

/// What this crate cannot know: whether the content of a segment or recipe is what it must be.
pub trait Checks {
    /// Checks a segment by its own checksums.
    ///
    /// Ends early when `stop` is raised; the outcome is not looked at then.
    ///
    /// # Errors
    /// What is wrong, as part of a sentence.
    fn segment(
        &self,
        key: &Key,
        index: &[u8],
        data: &File,
        stop: &AtomicBool,
    ) -> Result<(), String>;

    /// Checks a recipe.
    ///
    /// # Errors
    /// What is wrong, as part of a sentence.
    fn recipe(&self, key: &Key, bytes: &[u8]) -> Result<(), String>;
}

/// The outcome of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Entries read.
    pub checked: u64,
    /// Entries that did not match and were moved aside.
    pub damaged: Vec<Info>,
    /// Files of pins that did not match and were moved aside, by name.
    pub damaged_pins: Vec<String>,
}

/// What was moved aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// What it was.
    pub name: String,
    /// Where it lies now.
    pub path: PathBuf,
}

impl Store {
    /// Reads every entry. `progress` is told the bytes of each after it was read. Ends early when
    /// `stop` is raised.
    ///
    /// # Errors
    /// [`Error::Stopped`]; [`Error::Disk`] when something cannot be read or moved aside.
    pub fn verify(
        &self,
        checks: &dyn Checks,
        progress: &mut dyn FnMut(u64),
        stop: &AtomicBool,
    ) -> Result<Verified, Error> {
        let damaged_pins = self.verify_pins()?;
        let mut verified = Verified { damaged_pins, ..Verified::default() };
        for info in self.entries()? {
            // A download is hashed when it is whole.
            if info.kind == Kind::Partial {
                continue;
            }
            if !self.verify_entry(&info.entry, checks, stop)? {
                verified.damaged.push(info.clone());
            } else if let Some(path) = files_of(&info.entry, &self.path(&info.entry)).first()
                && let Ok(file) = crate::files::open(path)
            {
                // To be verified is no use.
                self.intact().note(&file, |file| used_at(file, info.used));
            }
            verified.checked = verified.checked.saturating_add(1);
            progress(info.bytes);
        }
        Ok(verified)
    }

    /// Hashes a file that is called by its digest; false when it did not match and was moved aside.
    /// One that is not there is good.
    fn verify_digest(
        &self,
        entry: &Entry,
        digest: &Digest,
        stop: &AtomicBool,
    ) -> Result<bool, Error> {
        let wrong = match Leased::open(&self.path(entry), self.intact())? {
            Opened::Missing => return Ok(true),
            Opened::Odd(cause) => format!("cannot be read: {cause}"),
            Opened::Leased(leased) => match digest_of(leased.file(), digest, stop) {
                Ok(None) => return Err(Error::Stopped),
                Ok(Some(found)) if found == *digest => return Ok(true),
                Ok(Some(_)) => "its bytes have another digest".to_owned(),
                Err(_) if is_gone(leased.file()) => return Ok(true),
                Err(cause) => format!("cannot be read: {cause}"),
            },
        };
        self.move_aside(entry, &wrong)?;
        Ok(false)
    }

    /// Reads one entry and compares; false when it did not match and was moved aside. One that is
    /// not there is good.
    ///
    /// # Errors
    /// [`Error::Stopped`] when `stop` was raised meanwhile; [`Error::Disk`].
    pub fn verify_entry(
        &self,
        entry: &Entry,
        checks: &dyn Checks,
        stop: &AtomicBool,
    ) -> Result<bool, Error> {
        let wrong = match entry {
            Entry::Blob(digest) | Entry::Layer(digest) => {
                return self.verify_digest(entry, digest, stop);
            }
            Entry::Partial(_) => return Ok(true),
            Entry::Segment(key) => match self.find_segment(key)? {
                Found::Whole(segment) => {
                    let index = match segment.index.read() {
                        Err(error) if error.is_stale() => return Ok(true),
                        index => index?,
                    };
                    let checked = checks.segment(key, &index, segment.data.file(), stop);
                    if checked.is_err() && is_gone(segment.data.file()) {
                        return Ok(true);
                    }
                    checked
                }
                Found::Missing => return Ok(true),
                Found::Broken => Err("a file of it is missing".to_owned()),
            },
            Entry::Recipe(_) | Entry::Tag(_) => {
                match Leased::open(&self.path(entry), self.intact())? {
                    Opened::Missing => return Ok(true),
                    Opened::Odd(cause) => Err(format!("cannot be read: {cause}")),
                    Opened::Leased(leased) => match entry {
                        Entry::Recipe(key) => match leased.read() {
                            Err(error) if error.is_stale() => return Ok(true),
                            bytes => checks.recipe(key, &bytes?),
                        },
                        _ => match self.read_tag(entry)? {
                            ReadTag::Damaged => Err("it is not a tag".to_owned()),
                            ReadTag::Good { .. } | ReadTag::Missing => Ok(()),
                        },
                    },
                }
            }
        };
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        match wrong {
            Ok(()) => Ok(true),
            Err(what) => {
                self.move_aside(entry, &what)?;
                Ok(false)
            }
        }
    }

    /// Takes back the doubt about an entry that [`Store::verify_entry`] found good: it counts as
    /// changed now.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn trust(&self, entry: &Entry) -> Result<(), Error> {
        let path = match entry {
            Entry::Segment(_) => self.own_path(entry).join("data"),
            _ => self.own_path(entry),
        };
        let failed = |cause| Error::disk("write", &path, 0, cause);
        crate::files::renew(&crate::files::open(&path).map_err(failed)?).map_err(failed)
    }

    /// Moves a damaged entry out of the way, to `tmp/damaged`, where it stays for an hour. To be
    /// called by whoever finds that an entry is not what it must be; who has it open goes on.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn move_aside(&self, entry: &Entry, why: &str) -> Result<(), Error> {
        // What lies in a cache that cannot be written stays there.
        self.move_file_aside(&self.own_path(entry), &entry.file_name(), why)
    }

    /// The same for any file of the cache that is called `name`.
    pub(crate) fn move_file_aside(&self, path: &Path, name: &str, why: &str) -> Result<(), Error> {
        for _ in 0..4 {
            let aside = self.layout().damaged().join(format!("{name}-{:016x}", random()));
            match move_aside(path, &aside) {
                Ok(()) => {
                    tracing::warn!(entry = name, why, "damaged cache entry moved aside");
                    self.note_aside(Aside { name: name.to_owned(), path: aside });
                    return Ok(());
                }
                Err(PublishError::Exists { .. }) => {}
                Err(PublishError::Disk { cause, .. })
                    if cause.kind() == std::io::ErrorKind::NotFound =>
                {
                    if std::fs::symlink_metadata(path).is_err() {
                        return Ok(());
                    }
                    Layout::make(self.root())?;
                }
                Err(error) => return Err(Error::publish(0, error)),
            }
        }
        crate::collect::remove_file(path)
    }
}

/// The digest of a file; `None` when `stop` was raised.
fn digest_of(file: &File, like: &Digest, stop: &AtomicBool) -> std::io::Result<Option<Digest>> {
    use std::os::unix::fs::FileExt as _;
    let mut hash = Hasher::new(like.algorithm());
    let mut buffer = vec![0; PIECE];
    let mut at: u64 = 0;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let got = file.read_at(&mut buffer, at)?;
        match buffer.get(..got) {
            Some(bytes) if got > 0 => hash.update(bytes),
            _ => return Ok(Some(hash.finish())),
        }
        at = at.saturating_add(got as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use super::*;
    use crate::store::tests::{key, put_segment, store};

    /// Segments and recipes are good when they say so.
    struct Says;

    impl Checks for Says {
        fn segment(
            &self,
            _: &Key,
            index: &[u8],
            data: &File,
            _: &AtomicBool,
        ) -> Result<(), String> {
            let bytes = crate::files::read_all(data, 100).unwrap().unwrap();
            if index == b"index" && bytes == b"data" { Ok(()) } else { Err("bad".to_owned()) }
        }

        fn recipe(&self, _: &Key, bytes: &[u8]) -> Result<(), String> {
            if bytes == b"recipe" { Ok(()) } else { Err("bad".to_owned()) }
        }
    }

    fn fill(store: &Store) {
        store.put_document(&Digest::sha256(b"{}"), b"{}").unwrap();
        let mut sif = store.partial(&Digest::sha256(b"#!sif"), 5).unwrap();
        sif.append(b"#!sif").unwrap();
        sif.publish().unwrap();
        drop(put_segment(store, 1, b"data", b"index"));
        store.put_recipe(&key(2), b"recipe").unwrap();
        let (digest, seen) = (Digest::sha256(b""), SystemTime::UNIX_EPOCH);
        store
            .put_tag("h/a:1", crate::Tag { digest, seen, proofs: Vec::new(), source: "h/a".into() })
            .unwrap();
    }

    fn files(store: &Store) -> Vec<PathBuf> {
        let entries = store.entries().unwrap();
        let files = entries.iter().flat_map(|info| match &info.entry {
            Entry::Segment(_) => {
                let path = store.path(&info.entry);
                vec![path.join("data"), path.join("index")]
            }
            entry => vec![store.path(entry)],
        });
        files.collect()
    }

    #[test]
    fn a_good_cache_is_read_whole_and_kept() {
        let (_directory, store) = store();
        fill(&store);
        let mut bytes = 0;
        let verified = store.verify(&Says, &mut |more| bytes += more, &false.into()).unwrap();
        assert_eq!((verified.checked, verified.damaged.len()), (5, 0));
        assert_eq!(bytes, store.usage().unwrap().bytes());
    }

    #[test]
    fn a_verification_that_is_called_off_moves_nothing() {
        let (_directory, store) = store();
        fill(&store);
        for path in files(&store) {
            fs::write(path, b"damaged").unwrap();
        }
        let stopped = store.verify(&Says, &mut |_| (), &true.into()).unwrap_err();
        assert!(matches!(stopped, Error::Stopped), "{stopped}");
        assert!(files(&store).iter().all(|path| path.exists()));
    }

    #[test]
    fn a_damaged_entry_goes_though_its_place_was_deleted() {
        let (_directory, store) = store();
        drop(put_segment(&store, 1, b"data", b"index"));
        fs::remove_dir_all(store.root().join("tmp")).unwrap();
        let entry = Entry::Segment(key(1));
        store.move_aside(&entry, "of a test").unwrap();
        assert!(!store.path(&entry).exists());
        store.move_aside(&entry, "of a test").unwrap();
    }

    #[test]
    fn a_verification_and_a_list_are_no_use_of_an_entry() {
        let (_directory, store) = store();
        fill(&store);
        let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        for path in files(&store) {
            let times = fs::FileTimes::new().set_accessed(then).set_modified(then);
            File::open(&path).unwrap().set_times(times).unwrap();
        }
        store.verify(&Says, &mut |_| (), &false.into()).unwrap();
        let entries = store.entries().unwrap();
        assert_eq!(entries.len(), 5);
        for info in entries.into_iter().chain(store.entries().unwrap()) {
            assert_eq!(info.used, then, "{}", info.entry);
        }
    }

    #[test]
    fn f35_a_fifo_in_place_of_an_entry_keeps_nobody_waiting() {
        let (_directory, store) = store();
        let digest = Digest::sha256(b"{}");
        store.put_document(&digest, b"{}").unwrap();
        let entry = Entry::Blob(digest.clone());
        let path = store.path(&entry);
        fs::remove_file(&path).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        drop(store.entries().unwrap());
        let never = AtomicBool::new(false);
        assert!(!store.verify_entry(&entry, &Says, &never).unwrap());
        assert!(!path.exists());
        assert!(store.document(&digest).unwrap().is_none());
    }

    #[test]
    fn f34_f35_every_flipped_bit_and_every_cut_is_found() {
        let (_directory, store) = store();
        fill(&store);
        let count = files(&store).len();
        assert_eq!(count, 6);
        let damages: [fn(&mut Vec<u8>); 4] = [
            |bytes| bytes[0] ^= 1,
            |bytes| *bytes.last_mut().unwrap() ^= 0x80,
            |bytes| bytes.truncate(1),
            |bytes| bytes.push(b'x'),
        ];
        for number in 0..count {
            for (which, damage) in damages.iter().enumerate() {
                let path = files(&store).remove(number);
                let mut bytes = fs::read(&path).unwrap();
                damage(&mut bytes);
                fs::write(&path, bytes).unwrap();
                let verified = store.verify(&Says, &mut |_| (), &false.into()).unwrap();
                assert_eq!(verified.damaged.len(), 1, "{} {which}", path.display());
                assert!(!path.exists());
                fill(&store);
                assert_eq!(
                    store.verify(&Says, &mut |_| (), &false.into()).unwrap().damaged.len(),
                    0
                );
            }
        }
    }
}
