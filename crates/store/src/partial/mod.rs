//! A partial: a download that can be gone on with, by this process or the next.
//!
//! One process writes it at a time (`flock`). Bytes that may not have reached the disk are not
//! taken for what they were: within one boot the page cache keeps what a killed process wrote, and
//! all but the last MiB is gone on from; under another boot or on another host only what the
//! `.mark` file says was synced, and in a file of its own: a node that was frozen and whose locks are
//! not seen here may write on into the one it has open. What a partial becomes is hashed from the
//! bytes on disk, all of them, whoever wrote them.
//!
//! Not here: asking a registry for the rest (`orlop-registry`), who waits for it (the daemon).

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use orlop_config::limits;
use orlop_oci::{Digest, Hasher};
use orlop_publish::{Draft, Mode, PublishError};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::files::open_or_make;
use crate::store::Store;
use crate::{Entry, Error, Leased};

/// Bytes read at a time for hashing.
const PIECE: usize = 1 << 20;

/// Since when a download must not have grown for nobody to be at it: a source that sends nothing
/// for a minute is given up.
const WRITTEN_LATELY: Duration = Duration::from_secs(2 * 60);

/// What is known to be on disk.
#[derive(Default, Deserialize, Serialize)]
struct Mark {
    /// Host and boot under which bytes past `synced` are still in memory.
    boot: String,
    /// Bytes that were synced.
    synced: u64,
}

/// An open download. Dropping it keeps what came, for the next time.
#[derive(Debug)]
pub struct Partial {
    store: Store,
    digest: Digest,
    size: u64,
    have: u64,
    synced: u64,
    file: File,
    path: PathBuf,
    /// The hash of all bytes so far, where they are hashed as they come.
    hash: Option<Hasher>,
}

impl Store {
    /// Opens the download of a blob of `size` bytes, with what came of it before.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process writes it; [`Error::DiskFull`], [`Error::Disk`].
    pub fn partial(&self, digest: &Digest, size: u64) -> Result<Partial, Error> {
        let path = self.layout().partial(digest);
        let failed = |cause| Error::disk("open", &path, size, cause);
        for _ in 0..8 {
            let file = self.mended(|| open_or_make(&path).map_err(failed))?;
            let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
            // Where locks do not work two may write the same bytes to the same places.
            if locked == Err(Errno::WOULDBLOCK) {
                return Err(Error::Busy { digest: digest.clone() });
            }
            // Published or collected between opening and locking: there is a new one to make.
            if is_at(&file, &path) {
                let synced = 0;
                let mut partial = Partial {
                    store: self.clone(),
                    digest: digest.clone(),
                    size,
                    have: 0,
                    synced,
                    file,
                    path,
                    hash: None,
                };
                partial.trust()?;
                return Ok(partial);
            }
        }
        Err(Error::Busy { digest: digest.clone() })
    }
}

impl Store {
    /// True for a download that another host, or another boot of this one, wrote to so lately that
    /// it may be at it still: its locks are not seen here.
    pub(crate) fn is_written_elsewhere(&self, entry: &Entry, ago: Duration) -> bool {
        let Entry::Partial(digest) = entry else { return false };
        ago < WRITTEN_LATELY && self.mark(digest).is_some_and(|mark| mark.boot != self.host_boot())
    }

    fn mark(&self, digest: &Digest) -> Option<Mark> {
        let file = crate::files::open(&self.layout().mark(digest)).ok()?;
        serde_json::from_slice(&crate::files::read_all(&file, 4096).ok()??).ok()
    }

    fn host_boot(&self) -> String {
        let settings = self.settings();
        format!("{} {}", settings.host, settings.boot)
    }
}

impl Partial {
    /// Bytes that are there: the download goes on from this offset.
    #[must_use]
    pub fn have(&self) -> u64 {
        self.have
    }

    /// Bytes of the whole blob.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Hashes from now on what comes, and what is there already by reading it once, so that
    /// publishing needs no reading at the end.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn hashing(mut self) -> Result<Self, Error> {
        let mut hash = Hasher::new(self.digest.algorithm());
        self.hash_into(&mut hash)?;
        self.hash = Some(hash);
        Ok(self)
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// [`Error::DiskFull`] naming what was still to come; [`Error::Disk`]. What was written before
    /// stays.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let left = self.size.saturating_sub(self.have);
        self.file
            .write_all_at(bytes, self.have)
            .map_err(|cause| Error::disk("write", &self.path, left, cause))?;
        self.have = self.have.saturating_add(bytes.len() as u64);
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        Ok(())
    }

    /// True when so much came since the last sync that another is due
    /// (`limits::PARTIAL_SYNC_BYTES`).
    #[must_use]
    pub fn is_sync_due(&self) -> bool {
        self.have.saturating_sub(self.synced) >= limits::PARTIAL_SYNC_BYTES
    }

    /// Brings what came to the disk, and notes that it is there. Blocks for as long as the disk
    /// takes.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`].
    pub fn sync(&mut self) -> Result<(), Error> {
        self.file.sync_data().map_err(|cause| Error::disk("sync", &self.path, 0, cause))?;
        self.synced = self.have;
        self.write_mark()
    }

    /// Forgets what came and starts from nothing: the bytes were not those asked for, or the source
    /// does not send the rest alone.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn restart(&mut self) -> Result<(), Error> {
        self.file.set_len(0).map_err(|cause| Error::disk("cut", &self.path, 0, cause))?;
        (self.have, self.synced) = (0, 0);
        if self.hash.is_some() {
            self.hash = Some(Hasher::new(self.digest.algorithm()));
        }
        self.write_mark()
    }

    /// Reads what is there from the start, up to what [`Partial::have`] says now.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn reader(&self) -> Result<PartialReader, Error> {
        let file = self.file.try_clone();
        let file = file.map_err(|cause| Error::disk("open", &self.path, 0, cause))?;
        Ok(PartialReader { file, at: 0, end: self.have })
    }

    /// Publishes the whole download as a blob after comparing size and digest. Where another node
    /// went on with it meanwhile and has published it, that is the blob.
    ///
    /// # Errors
    /// [`Error::NotTheBytes`]: the download is gone then. [`Error::DiskFull`], [`Error::Disk`]: it
    /// is kept, unless another node has removed it ([`Error::is_stale`]).
    pub fn publish(self) -> Result<Leased, Error> {
        let entry = Entry::Blob(self.digest.clone());
        self.publish_as(&entry)
    }

    /// Publishes the whole download as a layer that is kept, likewise.
    ///
    /// # Errors
    /// As [`Partial::publish`].
    pub fn publish_layer(self) -> Result<Leased, Error> {
        let entry = Entry::Layer(self.digest.clone());
        self.publish_as(&entry)
    }

    fn publish_as(mut self, entry: &Entry) -> Result<Leased, Error> {
        let hash = match self.hash.take() {
            Some(hash) => hash,
            None => {
                let mut hash = Hasher::new(self.digest.algorithm());
                self.hash_into(&mut hash)?;
                hash
            }
        };
        let actual = hash.finish();
        if actual != self.digest || self.have != self.size {
            let expected = self.digest.clone();
            drop(self.discard());
            return Err(Error::NotTheBytes { expected, actual });
        }
        let target = self.store.own_path(entry);
        if !is_at(&self.file, &self.path) {
            return self.theirs(entry);
        }
        match orlop_publish::adopt(&self.file, &self.path, &target) {
            Ok(()) => {}
            Err(PublishError::Disk { cause, .. }) if cause.kind() == ErrorKind::NotFound => {
                return self.theirs(entry);
            }
            Err(error) => return Err(Error::publish(0, error)),
        }
        // Best effort: a mark without its partial is swept.
        drop(std::fs::remove_file(self.store.layout().mark(&self.digest)));
        let file = self.file.try_clone();
        let file = file.map_err(|cause| Error::disk("open", &target, 0, cause))?;
        Leased::take(file, &target)
    }

    /// What another node has published that took this download over.
    fn theirs(&self, entry: &Entry) -> Result<Leased, Error> {
        let theirs = self.store.open_leased(entry)?;
        let theirs = theirs.filter(|leased| leased.bytes() == self.size);
        theirs.ok_or_else(|| Error::errno("publish", &self.path, Errno::STALE))
    }

    /// Removes the download: what was made of it is published, or it is worthless. Dropping the
    /// file that is left without a name gives its bytes back, which takes its time where there are
    /// many.
    #[must_use = "dropping it takes its time"]
    pub fn discard(self) -> File {
        // Another node may have taken it over.
        if is_at(&self.file, &self.path) {
            // Best effort: collection finds what is left.
            drop(std::fs::remove_file(&self.path));
            drop(std::fs::remove_file(self.store.layout().mark(&self.digest)));
        }
        self.file
    }

    /// Decides how much of what is there to go on from, and cuts the rest.
    fn trust(&mut self) -> Result<(), Error> {
        let failed = |cause| Error::disk("read", &self.path, 0, cause);
        let length = self.file.metadata().map_err(failed)?.len();
        let there = length.min(self.size);
        let mark = self.store.mark(&self.digest).unwrap_or_default();
        let same_boot =
            !self.store.settings().boot.is_empty() && mark.boot == self.store.host_boot();
        let kept = if same_boot { there.saturating_sub(limits::PARTIAL_DISTRUST_BYTES) } else { 0 };
        self.synced = mark.synced.min(there);
        self.have = kept.max(self.synced);
        if !same_boot && length > 0 {
            self.take_over()?;
            return self.write_mark();
        }
        // ext4 writes a file that was cut to nothing to the disk when it is closed, also one without
        // a name: hundreds of megabytes that nobody needs any more.
        if length != self.have {
            self.file.set_len(self.have).map_err(failed)?;
        }
        if !same_boot {
            self.write_mark()?;
        }
        Ok(())
    }

    /// Goes on in a file of one's own, with what is trusted of the other; with nothing where there
    /// is no room for both.
    fn take_over(&mut self) -> Result<(), Error> {
        let copied = match self.copy(self.have) {
            Err(Error::DiskFull { .. }) if self.have > 0 => {
                (self.have, self.synced) = (0, 0);
                self.copy(0)
            }
            copied => copied,
        };
        self.file = copied?;
        let locked = rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive);
        match locked {
            Err(Errno::WOULDBLOCK) => Err(Error::Busy { digest: self.digest.clone() }),
            _ => Ok(()),
        }
    }

    /// Puts a copy of the first `bytes` bytes in the file's place.
    fn copy(&self, bytes: u64) -> Result<File, Error> {
        let failed = |error| Error::publish(bytes, error);
        let tmp = self.store.layout().drafts();
        let draft = Draft::within(&tmp, &self.path, Mode::Exact(0o600)).map_err(failed)?;
        io::copy(&mut (&self.file).take(bytes), &mut draft.file())
            .map_err(|cause| Error::disk("write", &self.path, bytes, cause))?;
        draft.replace().map_err(failed)
    }

    fn write_mark(&self) -> Result<(), Error> {
        if !is_at(&self.file, &self.path) {
            return Ok(());
        }
        let path = self.store.layout().mark(&self.digest);
        let mark = Mark { boot: self.store.host_boot(), synced: self.synced };
        let bytes = serde_json::to_vec(&mark)
            .map_err(|cause| Error::disk("write", &path, 0, cause.into()))?;
        self.store.publish_bytes(&path, &bytes).map(drop)
    }

    fn hash_into(&self, hash: &mut Hasher) -> Result<(), Error> {
        let mut reader = self.reader()?;
        let mut buffer = vec![0; PIECE];
        loop {
            let got = reader
                .read(&mut buffer)
                .map_err(|cause| Error::disk("read", &self.path, 0, cause))?;
            match buffer.get(..got) {
                Some(bytes) if got > 0 => hash.update(bytes),
                _ => return Ok(()),
            }
        }
    }
}

/// Reads what a partial had when the reader was made.
#[derive(Debug)]
pub struct PartialReader {
    file: File,
    at: u64,
    end: u64,
}

impl Read for PartialReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let got = self.file.read_at(buffer.get_mut(..wanted).unwrap_or_default(), self.at)?;
        self.at = self.at.saturating_add(got as u64);
        Ok(got)
    }
}

/// True when the name still leads to this file.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => open.ino() == named.ino() && open.dev() == named.dev(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
