//! Tags: the last digest seen for a reference, for work offline and for when a registry is down.

use std::time::{Duration, SystemTime};

use orlop_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::lease::Read;
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
    /// Whose rights proved that the reference may be read; opaque here, never a secret.
    pub proofs: Vec<String>,
}

#[derive(Deserialize, Serialize)]
struct Stored {
    reference: String,
    digest: Digest,
    source: String,
    seen: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    proofs: Vec<String>,
    /// Digest of the rest, so that no flipped bit turns one digest into another.
    sum: Digest,
}

impl Stored {
    /// The tag, if this is what was stored under the entry's name.
    fn check(self, entry: &Entry) -> Option<ReadTag> {
        let seen = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.seen))?;
        let good =
            self.sum == self.expected_sum() && *entry == Entry::Tag(tag_key(&self.reference));
        let Self { reference, digest, source, proofs, .. } = self;
        let tag = Tag { digest, source, seen, proofs };
        good.then_some(ReadTag::Good { reference, tag })
    }

    fn expected_sum(&self) -> Digest {
        let Self { reference, digest, source, seen, proofs, .. } = self;
        let proofs: String = proofs.iter().map(|proof| format!("{proof}\n")).collect();
        Digest::sha256(format!("{reference}\n{digest}\n{source}\n{seen}\n{proofs}").as_bytes())
    }
}

impl Store {
    /// Remembers which digest a reference has.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`].
    pub fn put_tag(&self, reference: &str, tag: Tag) -> Result<(), Error> {
        let since = tag.seen.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let Tag { digest, source, proofs, .. } = tag;
        let (reference, sum) = (reference.to_owned(), digest.clone());
        let mut stored = Stored { reference, digest, source, seen: since.as_secs(), proofs, sum };
        stored.sum = stored.expected_sum();
        let reference = &stored.reference;
        let path = self.own_path(&Entry::Tag(tag_key(reference)));
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

    /// The entries under which these references are remembered.
    #[must_use]
    pub fn tag_entries(references: &[String]) -> Vec<Entry> {
        references.iter().map(|reference| Entry::Tag(tag_key(reference))).collect()
    }

    /// Reads a tag's file.
    pub(crate) fn read_tag(&self, entry: &Entry) -> Result<ReadTag, Error> {
        let Some(Read { bytes, .. }) = self.read_leased(entry, LIMIT)? else {
            return Ok(ReadTag::Missing);
        };
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

    fn tag(digest: &Digest, seen: SystemTime) -> Tag {
        Tag {
            digest: digest.clone(),
            source: "h/a".to_owned(),
            seen,
            proofs: vec!["anyone".to_owned()],
        }
    }

    #[test]
    fn the_last_digest_of_a_reference_is_remembered() {
        let (_directory, store) = store();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let (one, two) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
        assert_eq!(store.tag("h/a:1").unwrap(), None);
        store.put_tag("h/a:1", tag(&one, now)).unwrap();
        store.put_tag("h/a:1", tag(&two, now)).unwrap();
        assert_eq!(store.tag("h/a:1").unwrap(), Some(tag(&two, now)));
        assert_eq!(store.tag("h/a:2").unwrap(), None);
    }

    #[test]
    fn f34_a_damaged_tag_is_no_tag() {
        let (_directory, store) = store();
        let digest = Digest::sha256(b"1");
        store.put_tag("h/a:1", tag(&digest, SystemTime::UNIX_EPOCH)).unwrap();
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
