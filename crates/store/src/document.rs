//! Documents and whole blobs: manifests, configs and SIF files, named by their digest.
//!
//! A document is small and hashed at each reading. A SIF is compared with its size at each opening
//! and hashed in the background after its first ([`Store::is_first_use`]).

use orlop_config::limits;
use orlop_oci::Digest;

use crate::files::read_all;
use crate::store::Store;
use crate::{Entry, Error, Leased};

impl Store {
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
        let Some(leased) = self.open_leased(&entry)? else { return Ok(None) };
        let bytes = read_all(leased.file(), limits::MANIFEST_BYTES)
            .map_err(|cause| Error::disk("read", leased.path(), 0, cause))?;
        let Some(bytes) = bytes else { return Ok(None) };
        if Digest::of(digest.algorithm(), &bytes) == *digest {
            return Ok(Some(bytes));
        }
        drop(leased);
        self.move_aside(&entry, "its bytes have another digest")?;
        Ok(None)
    }

    /// Opens a blob of `bytes` bytes; `None` when it is not there, or has another size and has been
    /// moved aside. Its content is not read: see [`Store::verify_blob`].
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn blob(&self, digest: &Digest, bytes: u64) -> Result<Option<Leased>, Error> {
        let entry = Entry::Blob(digest.clone());
        match self.open_leased(&entry)? {
            Some(leased) if leased.bytes() != bytes => {
                let found = leased.bytes();
                drop(leased);
                self.move_aside(&entry, &format!("it has {found} bytes instead of {bytes}"))?;
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
