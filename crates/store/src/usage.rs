//! What is in the cache: all entries, and their sums. Nothing is read but directories.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use orlop_oci::{Algorithm, Digest};

use crate::files::{each, time};
use crate::store::Store;
use crate::{Entry, Error, Info, Key, Kind};

/// Sums over the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Recipes and SIF files.
    pub images: u64,
    /// Bytes of those.
    pub image_bytes: u64,
    /// Segments, kept layers, documents and tags.
    pub blobs: u64,
    /// Bytes of those.
    pub blob_bytes: u64,
    /// Unfinished downloads.
    pub partials: u64,
    /// Bytes of those.
    pub partial_bytes: u64,
}

impl Usage {
    /// Sums up entries.
    #[must_use]
    pub fn of(entries: &[Info]) -> Self {
        let mut usage = Self::default();
        for info in entries {
            let (count, bytes) = match info.kind {
                Kind::Recipe | Kind::Sif => (&mut usage.images, &mut usage.image_bytes),
                Kind::Layer | Kind::Segment | Kind::Document | Kind::Tag => {
                    (&mut usage.blobs, &mut usage.blob_bytes)
                }
                Kind::Partial => (&mut usage.partials, &mut usage.partial_bytes),
            };
            *count = count.saturating_add(1);
            *bytes = bytes.saturating_add(info.bytes);
        }
        usage
    }

    /// All bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.image_bytes.saturating_add(self.blob_bytes).saturating_add(self.partial_bytes)
    }
}

impl Store {
    /// Lists all entries, in no particular order. What has no entry's name is passed over, and so
    /// is what vanishes meanwhile.
    ///
    /// # Errors
    /// [`Error::Disk`] when a directory cannot be read.
    pub fn entries(&self) -> Result<Vec<Info>, Error> {
        let layout = self.layout();
        let mut entries = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let name = algorithm.name();
            walk(&layout.blobs().join(name), &mut entries, |hex| {
                format!("{name}:{hex}").parse().ok().map(Entry::Blob)
            })?;
        }
        walk(&layout.layers(), &mut entries, |name| by_digest(name).map(Entry::Layer))?;
        walk(&layout.segments(), &mut entries, |name| key(name).map(Entry::Segment))?;
        walk(&layout.recipes(), &mut entries, |name| key(name).map(Entry::Recipe))?;
        walk(&layout.tags(), &mut entries, |name| key(name).map(Entry::Tag))?;
        walk(&layout.partials(), &mut entries, |name| by_digest(name).map(Entry::Partial))?;
        Ok(entries)
    }

    /// Sums up the cache.
    ///
    /// # Errors
    /// As [`Store::entries`].
    pub fn usage(&self) -> Result<Usage, Error> {
        Ok(Usage::of(&self.entries()?))
    }
}

fn key(name: &str) -> Option<Key> {
    name.parse().ok()
}

pub(crate) fn by_digest(name: &str) -> Option<Digest> {
    name.replacen('-', ":", 1).parse().ok()
}

fn walk(
    directory: &Path,
    entries: &mut Vec<Info>,
    entry: impl Fn(&str) -> Option<Entry>,
) -> Result<(), Error> {
    each(directory, |found| {
        let name = found.file_name();
        if let Some(entry) = name.to_str().and_then(&entry) {
            entries.extend(info(entry, &found.path()));
        }
        Ok(())
    })
}

/// Looks at an entry's files; `None` when it is gone.
pub(crate) fn info(entry: Entry, path: &Path) -> Option<Info> {
    let (main, more) = match entry {
        Entry::Segment(_) => (path.join("data"), Some(path.join("index"))),
        _ => (path.to_owned(), None),
    };
    // A damaged segment may lack its data: its directory stands for it, so that it is seen.
    let stat = fs::symlink_metadata(&main).or_else(|_| fs::symlink_metadata(path)).ok()?;
    let more = more.and_then(|more| fs::symlink_metadata(more).ok()).map_or(0, |more| more.len());
    let kind = match &entry {
        Entry::Blob(_) if is_document(path, stat.len()) => Kind::Document,
        Entry::Blob(_) => Kind::Sif,
        Entry::Layer(_) => Kind::Layer,
        Entry::Segment(_) => Kind::Segment,
        Entry::Recipe(_) => Kind::Recipe,
        Entry::Tag(_) => Kind::Tag,
        Entry::Partial(_) => Kind::Partial,
    };
    Some(Info {
        kind,
        bytes: stat.len().saturating_add(more),
        created: time(stat.mtime(), stat.mtime_nsec()),
        used: time(stat.atime(), stat.atime_nsec()).max(time(stat.mtime(), stat.mtime_nsec())),
        entry,
    })
}

/// Documents are JSON objects; a SIF file never begins like one.
fn is_document(path: &Path, bytes: u64) -> bool {
    use std::io::Read as _;
    let mut first = [0];
    bytes <= orlop_config::limits::MANIFEST_BYTES
        && crate::files::open(path).and_then(|mut file| file.read(&mut first)).is_ok()
        && matches!(first, [b'{' | b' ' | b'\n' | b'\t' | b'\r'])
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::store::tests::{key, put_segment, store};

    #[test]
    fn every_kind_of_entry_is_listed_and_strays_are_not() {
        let (_directory, store) = store();
        let document = b"{}";
        store.put_document(&Digest::sha256(document), document).unwrap();
        let mut sif = store.partial(&Digest::sha256(b"#!sif"), 5).unwrap();
        sif.append(b"#!sif").unwrap();
        sif.publish().unwrap();
        let mut layer = store.partial(&Digest::sha256(b"layer"), 5).unwrap();
        layer.append(b"layer").unwrap();
        layer.publish_layer().unwrap();
        drop(put_segment(&store, 1, b"data", b"index"));
        store.put_recipe(&key(2), b"recipe").unwrap();
        let (digest, seen) = (Digest::sha256(b""), SystemTime::UNIX_EPOCH);
        store
            .put_tag("h/a:1", crate::Tag { digest, seen, proofs: Vec::new(), source: "h/a".into() })
            .unwrap();
        let mut partial = store.partial(&Digest::sha256(b"more"), 4).unwrap();
        partial.append(b"mo").unwrap();
        for stray in [
            "blobs/sha256/x",
            "layers/sha256-x",
            "segments/x",
            "recipes/.orlop-1",
            "partial/sha256-x",
        ] {
            fs::write(store.root().join(stray), b"stray").unwrap();
        }
        let mut kinds: Vec<_> =
            store.entries().unwrap().iter().map(|info| (info.kind, info.bytes)).collect();
        kinds.sort_unstable();
        let tag = kinds.iter().find(|(kind, _)| *kind == Kind::Tag).unwrap().1;
        assert_eq!(
            kinds,
            [
                (Kind::Recipe, 6),
                (Kind::Sif, 5),
                (Kind::Layer, 5),
                (Kind::Segment, 9),
                (Kind::Document, 2),
                (Kind::Tag, tag),
                (Kind::Partial, 2)
            ]
        );
        let usage = store.usage().unwrap();
        assert_eq!((usage.images, usage.image_bytes), (2, 11));
        assert_eq!((usage.blobs, usage.partials, usage.partial_bytes), (4, 1, 2));
        assert_eq!(usage.bytes(), 11 + 16 + tag + 2);
    }
}
