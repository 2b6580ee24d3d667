//! Pins: what no collection and no cleaning removes, by the name that a user pinned.
//!
//! A pin lists entries: those of an image, which others may share. An entry goes when the last pin
//! that lists it is gone. One that is damaged is moved aside all the same; the pin stays for the
//! next of its name.

use std::collections::BTreeSet;

use orlop_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::collect::remove_file;
use crate::files::{list, read_all};
use crate::store::Store;
use crate::{Entry, Error, Key};

/// Most bytes of a pin's file.
const LIMIT: u64 = 4 << 20;

/// What a user pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Under which name.
    pub name: String,
    /// What it keeps.
    pub entries: Vec<Entry>,
}

#[derive(Deserialize, Serialize)]
struct Stored {
    name: String,
    entries: Vec<String>,
}

impl Store {
    /// Keeps entries from being collected or cleaned, under a name; replaces a pin of that name.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`].
    pub fn pin(&self, name: &str, entries: &[Entry]) -> Result<(), Error> {
        let path = self.layout().pins().join(file_name(name).as_str());
        let entries = entries.iter().map(Entry::file_name).collect();
        let stored = Stored { name: name.to_owned(), entries };
        let bytes = serde_json::to_vec(&stored)
            .map_err(|cause| Error::disk("write", &path, 0, cause.into()))?;
        self.publish_bytes(&path, &bytes).map(drop)
    }

    /// Takes a pin away; false when there was none of that name.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn unpin(&self, name: &str) -> Result<bool, Error> {
        let path = self.layout().pins().join(file_name(name).as_str());
        let existed = std::fs::symlink_metadata(&path).is_ok();
        remove_file(&path)?;
        Ok(existed)
    }

    /// Lists all pins, by name. What is no pin is passed over.
    ///
    /// # Errors
    /// [`Error::Disk`] when the directory or a pin cannot be read: what that one keeps is not
    /// known, so nothing may be removed.
    pub fn pins(&self) -> Result<Vec<Pin>, Error> {
        let mut pins = Vec::new();
        for found in list(&self.layout().pins())? {
            let path = found.path();
            let bytes = match std::fs::File::open(&path).and_then(|file| read_all(&file, LIMIT)) {
                Ok(bytes) => bytes,
                // Taken away in between.
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => continue,
                Err(cause) => return Err(Error::disk("read", &path, 0, cause)),
            };
            let stored: Option<Stored> =
                bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            match stored {
                Some(Stored { name, entries }) => {
                    let entries = entries.iter().filter_map(|name| Entry::from_file_name(name));
                    pins.push(Pin { name, entries: entries.collect() });
                }
                None => tracing::warn!(path = %path.display(), "a file among the pins is none"),
            }
        }
        pins.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(pins)
    }

    /// All entries that a pin keeps.
    pub(crate) fn pinned(&self) -> Result<BTreeSet<Entry>, Error> {
        Ok(self.pins()?.into_iter().flat_map(|pin| pin.entries).collect())
    }
}

fn file_name(name: &str) -> Key {
    Key::of(&Digest::sha256(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{key, store};

    #[test]
    fn pins_are_listed_by_name_and_replaced() {
        let (_directory, store) = store();
        let (one, two) = (Entry::Recipe(key(1)), Entry::Segment(key(2)));
        store.pin("b", std::slice::from_ref(&one)).unwrap();
        store.pin("a", std::slice::from_ref(&one)).unwrap();
        store.pin("b", &[one.clone(), two.clone()]).unwrap();
        std::fs::write(store.root().join("pins/odd"), b"{").unwrap();
        let pins = store.pins().unwrap();
        let a = Pin { name: "a".to_owned(), entries: vec![one.clone()] };
        let b = Pin { name: "b".to_owned(), entries: vec![one, two] };
        assert_eq!(pins, [a, b]);
    }

    #[test]
    fn a_pin_that_cannot_be_read_lets_nothing_be_removed() {
        let (_directory, store) = store();
        store.pin("a", &[Entry::Recipe(key(1))]).unwrap();
        std::fs::create_dir(store.root().join("pins/unreadable")).unwrap();
        assert!(matches!(store.pinned(), Err(Error::Disk { .. })));
    }
}
