//! Tags: the last digest seen for a reference, for work offline and for when a registry is down.

use std::time::{Duration, SystemTime};

use orlop_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::files::read_all;
use crate::store::Store;
use crate::{Entry, Error, Key};

/// Most bytes of a tag's file.
const LIMIT: u64 = 64 << 10;

/// What was last seen for a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Digest of the top document (manifest or index).
    pub digest: Digest,
    /// `host/path` of the source that said so: the registry itself or a mirror of it.
    pub source: String,
    /// When the registry said so, by the clock of the host that asked; whole seconds.
    pub seen: SystemTime,
}

#[derive(Deserialize, Serialize)]
struct Stored {
    reference: String,
    digest: Digest,
    source: String,
    seen: u64,
    /// Digest of the four, so that no flipped bit turns one digest into another.
    sum: Digest,
}

impl Stored {
    /// The tag, if this is what was stored under the entry's name.
    fn check(self, entry: &Entry) -> Option<ReadTag> {
        let seen = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.seen))?;
        let good = self.sum == Self::sum(&self.reference, &self.digest, &self.source, self.seen)
            && *entry == Entry::Tag(tag_key(&self.reference));
        let tag = Tag { digest: self.digest, source: self.source, seen };
        good.then_some(ReadTag::Good { reference: self.reference, tag })
    }

    fn sum(reference: &str, digest: &Digest, source: &str, seen: u64) -> Digest {
        Digest::sha256(format!("{reference}\n{digest}\n{source}\n{seen}\n").as_bytes())
    }
}

impl Store {
    /// Remembers which digest a reference has at `now`, as `source` (`host/path`) says.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`].
    pub fn put_tag(
        &self,
        reference: &str,
        digest: &Digest,
        source: &str,
        now: SystemTime,
    ) -> Result<(), Error> {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seen = since.as_secs();
        let sum = Stored::sum(reference, digest, source, seen);
        let (digest, source) = (digest.clone(), source.to_owned());
        let stored = Stored { reference: reference.to_owned(), digest, source, seen, sum };
        let path = self.path(&Entry::Tag(tag_key(reference)));
        let bytes = serde_json::to_vec(&stored)
            .map_err(|cause| Error::disk("write", &path, 0, cause.into()))?;
        self.publish_bytes(&path, &bytes).map(drop)
    }

    /// The last digest seen for a reference; `None` when there is none, or what there is makes no
    /// sense and has been moved aside.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn tag(&self, reference: &str) -> Result<Option<Tag>, Error> {
        let entry = Entry::Tag(tag_key(reference));
        match self.read_tag(&entry)? {
            ReadTag::Good { reference: stored, tag } if stored == reference => Ok(Some(tag)),
            ReadTag::Missing => Ok(None),
            ReadTag::Good { .. } | ReadTag::Damaged => {
                self.move_aside(&entry, "it is not a tag")?;
                Ok(None)
            }
        }
    }

    /// Reads a tag's file.
    pub(crate) fn read_tag(&self, entry: &Entry) -> Result<ReadTag, Error> {
        let Some(leased) = self.open_leased(entry)? else { return Ok(ReadTag::Missing) };
        let bytes = read_all(leased.file(), LIMIT)
            .map_err(|cause| Error::disk("read", leased.path(), 0, cause))?;
        let stored: Option<Stored> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(stored.and_then(|stored| stored.check(entry)).unwrap_or(ReadTag::Damaged))
    }
}

/// What a tag's file says.
pub(crate) enum ReadTag {
    Missing,
    Damaged,
    Good { reference: String, tag: Tag },
}

/// The name of a reference's tag.
fn tag_key(reference: &str) -> Key {
    Key::of(&Digest::sha256(reference.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

    #[test]
    fn the_last_digest_of_a_reference_is_remembered() {
        let (_directory, store) = store();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let (one, two) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
        assert_eq!(store.tag("h/a:1").unwrap(), None);
        store.put_tag("h/a:1", &one, "h/a", now).unwrap();
        store.put_tag("h/a:1", &two, "m/a", now).unwrap();
        assert_eq!(
            store.tag("h/a:1").unwrap(),
            Some(Tag { digest: two, source: "m/a".into(), seen: now })
        );
        assert_eq!(store.tag("h/a:2").unwrap(), None);
    }

    #[test]
    fn f34_a_damaged_tag_is_no_tag() {
        let (_directory, store) = store();
        let digest = Digest::sha256(b"1");
        store.put_tag("h/a:1", &digest, "h/a", SystemTime::UNIX_EPOCH).unwrap();
        let path = store.path(&Entry::Tag(tag_key("h/a:1")));
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                std::fs::write(&path, bad).unwrap();
                assert_eq!(store.tag("h/a:1").unwrap(), None, "byte {at}, bit {bit}");
                assert!(!path.exists());
            }
        }
    }
}
