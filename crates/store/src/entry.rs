//! An entry: one thing in the cache, by name, and what is known of it without reading it.

use std::fmt;
use std::time::SystemTime;

use orlop_oci::Digest;

use crate::Key;

/// One thing in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entry {
    /// A manifest, config or SIF file.
    Blob(Digest),
    /// A layer as it came, kept where the user wants it.
    Layer(Digest),
    /// A converted layer.
    Segment(Key),
    /// A converted image.
    Recipe(Key),
    /// The last digest seen for a reference.
    Tag(Key),
    /// An unfinished download.
    Partial(Digest),
}

impl Entry {
    /// The name by which leases and damaged entries are called: one file name without a slash.
    #[must_use]
    pub(crate) fn file_name(&self) -> String {
        match self {
            Self::Blob(digest) => format!("blob-{}-{}", digest.algorithm().name(), digest.hex()),
            Self::Layer(digest) => format!("layer-{}-{}", digest.algorithm().name(), digest.hex()),
            Self::Segment(key) => format!("segment-{key}"),
            Self::Recipe(key) => format!("recipe-{key}"),
            Self::Tag(key) => format!("tag-{key}"),
            Self::Partial(digest) => {
                format!("partial-{}-{}", digest.algorithm().name(), digest.hex())
            }
        }
    }

    /// Reads what [`Entry::file_name`] made.
    pub(crate) fn from_file_name(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once('-')?;
        let digest = || rest.replacen('-', ":", 1).parse().ok();
        match kind {
            "blob" => digest().map(Self::Blob),
            "layer" => digest().map(Self::Layer),
            "partial" => digest().map(Self::Partial),
            "segment" => rest.parse().ok().map(Self::Segment),
            "recipe" => rest.parse().ok().map(Self::Recipe),
            "tag" => rest.parse().ok().map(Self::Tag),
            _ => None,
        }
    }

    /// The key or digest, as users see it.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Blob(digest) | Self::Layer(digest) | Self::Partial(digest) => digest.to_string(),
            Self::Segment(key) | Self::Recipe(key) | Self::Tag(key) => key.to_string(),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.file_name())
    }
}

/// Kinds of entry, as listings tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An image converted from layers.
    Recipe,
    /// A SIF file.
    Sif,
    /// A layer as it came.
    Layer,
    /// One converted layer.
    Segment,
    /// A manifest or config.
    Document,
    /// The last digest seen for a reference.
    Tag,
    /// An unfinished download.
    Partial,
}

impl Kind {
    /// The order in which kinds are collected: what is cheapest to lose first.
    pub(crate) const fn rank(self) -> u8 {
        match self {
            Self::Partial => 0,
            Self::Layer => 1,
            Self::Segment => 2,
            Self::Recipe | Self::Sif | Self::Document | Self::Tag => 3,
        }
    }
}

/// What is known of an entry without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Which entry.
    pub entry: Entry,
    /// Its kind.
    pub kind: Kind,
    /// Bytes of its files.
    pub bytes: u64,
    /// When it was published; for a partial, last written.
    pub created: SystemTime,
    /// When it was last used.
    pub used: SystemTime,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::key;

    #[test]
    fn a_file_name_leads_back_to_its_entry() {
        let digest = Digest::sha256(b"x");
        for entry in [
            Entry::Blob(digest.clone()),
            Entry::Layer(digest.clone()),
            Entry::Partial(digest),
            Entry::Segment(key(1)),
            Entry::Recipe(key(2)),
            Entry::Tag(key(3)),
        ] {
            assert_eq!(Entry::from_file_name(&entry.file_name()), Some(entry));
        }
        assert_eq!(Entry::from_file_name("recipe-x"), None);
    }
}
