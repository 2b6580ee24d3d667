//! Pins: what no collection and no cleaning removes, by the name that a user pinned.
//!
//! A pin lists entries: those of an image, which others may share. An entry goes when the last pin
//! that lists it is gone. One that is damaged is moved aside all the same; the pin stays for the
//! next of its name. While a pin's own file is damaged nothing is removed, because nobody knows what
//! it kept; a verification moves it aside and says so.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use orlop_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::collect::remove_file;
use crate::files::{list, read_all};
use crate::layout::Layout;
use crate::store::Store;
use crate::{Entry, Error, Key, own};

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
    /// Digest of the rest, so that no flipped bit makes it keep something else.
    sum: Digest,
}

impl Stored {
    fn new(name: &str, entries: &[Entry]) -> Self {
        let name = name.to_owned();
        let entries: Vec<String> = entries.iter().map(Entry::file_name).collect();
        let sum = Self::sum(&name, &entries);
        Self { name, entries, sum }
    }

    fn sum(name: &str, entries: &[String]) -> Digest {
        Digest::sha256(format!("{name}\n{}\n", entries.join("\n")).as_bytes())
    }

    /// The pin, if this is what was stored under the file's name.
    fn check(self, path: &Path) -> Option<Pin> {
        let Self { name, entries, sum } = self;
        let is_good = sum == Self::sum(&name, &entries)
            && path.file_name()?.to_str()? == file_name(&name).as_str();
        let entries = entries.iter().map(|name| Entry::from_file_name(name));
        Some(Pin { name, entries: entries.collect::<Option<_>>()? }).filter(|_| is_good)
    }
}

/// What lies among the pins.
struct Found {
    pins: Vec<Pin>,
    /// What is no pin, and what it is.
    damaged: Vec<(PathBuf, io::Error)>,
}

impl Store {
    /// Keeps entries from being collected or cleaned, under a name; replaces a pin of that name.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`].
    pub fn pin(&self, name: &str, entries: &[Entry]) -> Result<(), Error> {
        let path = self.layout().pins().join(file_name(name).as_str());
        let bytes = serde_json::to_vec(&Stored::new(name, entries))
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
    /// [`Error::Disk`] when the directory cannot be read.
    pub fn pins(&self) -> Result<Vec<Pin>, Error> {
        let Found { mut pins, damaged } = self.find_pins()?;
        for (path, cause) in damaged {
            tracing::warn!(path = %path.display(), %cause, "a file among the pins is none");
        }
        pins.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(pins)
    }

    /// All entries that a pin keeps.
    ///
    /// # Errors
    /// [`Error::Disk`] when a pin is damaged or cannot be read: what it keeps is not known, so
    /// nothing may be removed.
    pub(crate) fn pinned(&self) -> Result<BTreeSet<Entry>, Error> {
        let Found { pins, mut damaged } = self.find_pins()?;
        match damaged.pop() {
            Some((path, cause)) => Err(Error::disk("read", &path, 0, cause)),
            None => Ok(pins.into_iter().flat_map(|pin| pin.entries).collect()),
        }
    }

    /// Moves what is no pin aside, also what is in the place of all of them; returns the names of the
    /// files.
    ///
    /// # Errors
    /// [`Error::Disk`], also where reading fails for a reason that may pass: a pin that is gone
    /// comes from nowhere again.
    pub(crate) fn verify_pins(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        let place = self.layout().pins();
        if std::fs::symlink_metadata(&place).is_ok() && !place.is_dir() {
            self.move_file_aside(&place, "pins", "it is no directory")?;
            Layout::make(self.root())?;
            names.push("pins".to_owned());
        }
        for (path, cause) in self.find_pins()?.damaged {
            use io::ErrorKind as E;
            if !matches!(cause.kind(), E::InvalidData | E::PermissionDenied) {
                return Err(Error::disk("read", &path, 0, cause));
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.move_file_aside(&path, &format!("pin-{name}"), &cause.to_string())?;
            names.push(name);
        }
        Ok(names)
    }

    fn find_pins(&self) -> Result<Found, Error> {
        let mut found = Found { pins: Vec::new(), damaged: Vec::new() };
        let all = list(&self.layout().pins()).map_err(|error| match error {
            Error::Disk { doing, path, cause } if cause.kind() == io::ErrorKind::NotADirectory => {
                Error::Disk { doing, path, cause: mendable(cause.kind(), "it is no directory") }
            }
            error => error,
        })?;
        // What has no pin's name is somebody else's.
        for file in all.iter().filter(|file| own::is_own("pins", &file.file_name())) {
            let path = file.path();
            match read_pin(&path) {
                Ok(pin) => found.pins.push(pin),
                // Taken away in between.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => found.damaged.push((path, cause)),
            }
        }
        Ok(found)
    }
}

/// Reads a pin; what is none says what it is.
fn read_pin(path: &Path) -> io::Result<Pin> {
    let damaged = |what: &str| mendable(io::ErrorKind::InvalidData, what);
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Err(damaged("it is no file"));
    }
    let file = crate::files::open(path).map_err(|cause| match cause.kind() {
        io::ErrorKind::PermissionDenied => mendable(cause.kind(), "it may not be read"),
        _ => cause,
    })?;
    let bytes = read_all(&file, LIMIT)?.unwrap_or_default();
    let stored: Option<Stored> = serde_json::from_slice(&bytes).ok();
    stored.and_then(|stored| stored.check(path)).ok_or_else(|| damaged("it is damaged"))
}

/// What is wrong with a pin and will not pass.
fn mendable(kind: io::ErrorKind, what: &str) -> io::Error {
    io::Error::new(kind, format!("{what}, and `orlop cache verify` moves it aside"))
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
    fn f34_f35_a_pin_that_is_damaged_lets_nothing_be_removed_until_it_is_moved_aside() {
        let (_directory, store) = store();
        store.pin("docker://h/a:1", &[Entry::Recipe(key(1)), Entry::Segment(key(2))]).unwrap();
        let path = store.layout().pins().join(file_name("docker://h/a:1").as_str());
        let good = std::fs::read(&path).unwrap();
        let is_found = |what: &str| {
            assert!(matches!(store.pinned(), Err(Error::Disk { .. })), "{what}");
            assert_eq!(store.pins().unwrap(), [], "{what}");
            assert_eq!(store.verify_pins().unwrap().len(), 1, "{what}");
            assert!(!path.exists() && store.pinned().unwrap().is_empty(), "{what}");
        };
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(&path, bad).unwrap();
            is_found(&format!("byte {at}"));
        }
        for bytes in [&good[..0], &good[..good.len() / 2], &[&good[..], b"x"].concat()] {
            std::fs::write(&path, bytes).unwrap();
            is_found(&format!("{} bytes", bytes.len()));
        }
        std::fs::create_dir(&path).unwrap();
        is_found("a directory");
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        is_found("a link");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        is_found("a FIFO");
        std::fs::write(&path, &good).unwrap();
        assert_eq!(store.pinned().unwrap().len(), 2);
        assert_eq!(store.verify_pins().unwrap(), [] as [String; 0]);
        let place = store.layout().pins();
        std::fs::remove_dir_all(&place).unwrap();
        std::fs::write(&place, b"x").unwrap();
        let said = std::error::Error::source(&store.pinned().unwrap_err()).unwrap().to_string();
        assert!(said.contains("`orlop cache verify`"), "{said}");
        assert_eq!(store.verify_pins().unwrap(), ["pins"]);
        store.pin("a", &[]).unwrap();
        assert_eq!(store.pinned().unwrap().len(), 0);
    }
}
