//! Documents and whole blobs: manifests, configs, SIF files and kept layers, named by their digest.
//!
//! A document is small and hashed at each reading. A SIF is compared with its size at each opening
//! and hashed by whoever uses it first ([`Store::verify_entry`]); a layer is hashed by whoever
//! converts it.

use std::fs::File;
use std::io::Write as _;

use orlop_config::limits;
use orlop_oci::{Algorithm, Digest};
use orlop_publish::{Draft, Mode};

use crate::lease::Read;
use crate::store::Store;
use crate::{Entry, Error, Leased};

/// A blob whose digest is known once all its bytes have come. Dropping it removes it.
#[derive(Debug)]
pub struct BlobDraft {
    store: Store,
    draft: Draft,
    algorithm: Algorithm,
    bytes: u64,
}

impl BlobDraft {
    /// Adds bytes at the end.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let written = self.draft.write_all(bytes);
        written.map_err(|cause| Error::disk("write", self.draft.target(), self.bytes, cause))
    }

    /// The file, for looking at what came so far.
    #[must_use]
    pub fn file(&self) -> &File {
        self.draft.file()
    }

    /// Publishes what came under its digest.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`]; nothing became visible.
    pub fn publish(self) -> Result<(Digest, Leased), Error> {
        let digest = self.draft.digest().unwrap_or_else(|| Digest::of(self.algorithm, b""));
        let path = self.store.layout().blob(&digest);
        let draft = self.draft.named(digest.hex());
        let file = draft.publish(&digest).map_err(|error| Error::publish(self.bytes, error))?;
        Ok((digest, Leased::take(file, &path)?))
    }
}

impl Store {
    /// Begins a blob of unknown digest, which is to be of this algorithm.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`].
    pub fn draft_blob(&self, algorithm: Algorithm) -> Result<BlobDraft, Error> {
        let tmp = self.layout().drafts();
        // Its directory is that of all blobs of this algorithm; the name is given at the end.
        let target = self.layout().blob(&Digest::of(algorithm, b""));
        let begin = || {
            let draft = Draft::within(&tmp, &target, Mode::Exact(0o600));
            draft.map_err(|error| Error::publish(0, error))
        };
        let draft = self.mended(begin)?.hashing(algorithm);
        Ok(BlobDraft { store: self.clone(), draft, algorithm, bytes: 0 })
    }

    /// Stores a document after comparing it with its digest.
    ///
    /// # Errors
    /// [`Error::NotTheBytes`], [`Error::DiskFull`], [`Error::Disk`].
    pub fn put_document(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        let actual = Digest::of(digest.algorithm(), bytes);
        if actual != *digest {
            return Err(Error::NotTheBytes { expected: digest.clone(), actual });
        }
        // Never written twice: most pulls find the documents of the last one.
        if self.document(digest)?.is_some_and(|there| there == bytes) {
            return Ok(());
        }
        self.publish_bytes(&self.layout().blob(digest), bytes).map(drop)
    }

    /// Reads a document; `None` when it is not there, or was damaged and has been moved aside.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn document(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        let entry = Entry::Blob(digest.clone());
        let read = self.read_leased(&entry, limits::STORED_DOCUMENT_BYTES)?;
        let Some(Read { leased, bytes: Some(bytes) }) = read else { return Ok(None) };
        if Digest::of(digest.algorithm(), &bytes) == *digest {
            return Ok(Some(bytes));
        }
        drop(leased);
        self.move_aside(&entry, "its bytes have another digest")?;
        Ok(None)
    }

    /// Opens a blob of `bytes` bytes; `None` when it is not there, or has another size and has been
    /// moved aside. Its content is not read: see [`Store::verify_entry`].
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn blob(&self, digest: &Digest, bytes: u64) -> Result<Option<Leased>, Error> {
        self.sized(&Entry::Blob(digest.clone()), bytes)
    }

    /// Opens a layer that was kept, likewise.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn layer(&self, digest: &Digest, bytes: u64) -> Result<Option<Leased>, Error> {
        self.sized(&Entry::Layer(digest.clone()), bytes)
    }

    fn sized(&self, entry: &Entry, bytes: u64) -> Result<Option<Leased>, Error> {
        match self.open_leased(entry)? {
            Some(leased) if leased.bytes() != bytes => {
                let found = leased.bytes();
                drop(leased);
                self.move_aside(entry, &format!("it has {found} bytes instead of {bytes}"))?;
                Ok(None)
            }
            found => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::tests::store;

    #[test]
    fn a_document_comes_back_and_a_wrong_one_is_not_stored() {
        let (_directory, store) = store();
        let digest = Digest::sha256(b"{}");
        assert!(store.document(&digest).unwrap().is_none());
        let error = store.put_document(&digest, b"{ }").unwrap_err();
        assert!(matches!(error, Error::NotTheBytes { .. }), "{error}");
        assert!(store.document(&digest).unwrap().is_none());
        store.put_document(&digest, b"{}").unwrap();
        store.put_document(&digest, b"{}").unwrap();
        assert_eq!(store.document(&digest).unwrap().unwrap(), b"{}");
        let name = format!("blobs/sha256/{}", digest.hex());
        assert!(store.root().join(name).is_file());
    }

    #[test]
    fn a_blob_of_unknown_digest_is_published_under_the_one_that_it_has() {
        let (_directory, store) = store();
        drop(store.draft_blob(Algorithm::Sha256).unwrap());
        for algorithm in [Algorithm::Sha256, Algorithm::Sha256, Algorithm::Sha512] {
            let mut draft = store.draft_blob(algorithm).unwrap();
            draft.append(b"some ").unwrap();
            draft.append(b"bytes").unwrap();
            let (digest, leased) = draft.publish().unwrap();
            assert_eq!(digest, Digest::of(algorithm, b"some bytes"));
            assert_eq!(leased.bytes(), 10);
            assert!(store.blob(&digest, 10).unwrap().is_some());
        }
        assert_eq!(fs::read_dir(store.root().join("tmp/.orlop")).unwrap().count(), 0);
    }

    #[test]
    fn f34_f35_a_damaged_document_is_moved_aside_and_stored_again() {
        let (_directory, store) = store();
        let digest = Digest::sha256(b"{\"a\":1}");
        let path = store.path(&Entry::Blob(digest.clone()));
        let damages: [&dyn Fn(); 4] = [
            &|| fs::write(&path, b"{\"a\":2}").unwrap(),
            &|| fs::write(&path, b"").unwrap(),
            &|| fs::write(&path, b"{\"a\":1}x").unwrap(),
            &|| {
                fs::remove_file(&path).unwrap();
                fs::create_dir(&path).unwrap();
            },
        ];
        for (number, damage) in damages.iter().enumerate() {
            store.put_document(&digest, b"{\"a\":1}").unwrap();
            damage();
            assert!(store.document(&digest).unwrap().is_none());
            let aside = fs::read_dir(store.root().join("tmp/damaged")).unwrap().count();
            assert_eq!(aside, number + 1);
        }
        store.put_document(&digest, b"{\"a\":1}").unwrap();
        assert!(store.document(&digest).unwrap().is_some());
    }
}
