//! The format of a cache: what its `version` file says, and making one of an older format anew.
//!
//! The file holds one number. A cache of a higher one, or with another text, is refused. One of a
//! lower one is given up: `version` says first that this is under way, in words that every other
//! program refuses, then the old directories go out of sight, and the number comes last. So a
//! program that dies at any step leaves the old format, or the new one, or something that only a
//! program of the new one touches, which goes on where the other stopped.
//!
//! Not here: the directories ([`crate::layout`]).

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use orlop_publish::{Draft, Mode, PublishError, move_aside, sync_name};
use rustix::fs::{FlockOperation, OFlags};

use crate::files::{random, read_all, renew};
use crate::layout::{DIRECTORIES, VERSION};
use crate::{Error, layout::Layout, own};

/// The format of this program. A cache of a newer one is refused.
pub(crate) const FORMAT: u32 = 1;

/// Most bytes of a `version` file.
const LIMIT: u64 = 4096;

/// What follows the number while a cache is being made anew.
const UNFINISHED: &str = "unfinished";

/// What a `version` file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Nothing: there is none.
    None,
    /// The format of this program.
    This,
    /// One of a lower number, or one whose making was cut off.
    Older,
}

/// Reads the format of a cache.
///
/// # Errors
/// [`Error::Format`] for all that is not known; [`Error::Disk`].
pub(crate) fn look(root: &Path) -> Result<Format, Error> {
    let path = root.join(VERSION);
    let unknown = |found| Err(Error::Format { path: root.to_owned(), found, known: FORMAT });
    let text = match std::fs::symlink_metadata(&path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Format::None),
        // A FIFO, a link, a directory: not looked at any further.
        Ok(found) if !found.is_file() => return unknown("(`version` is not a file)".to_owned()),
        _ => match crate::files::open(&path).and_then(|file| read_all(&file, LIMIT)) {
            Ok(bytes) => String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned(),
            Err(cause) => return Err(Error::disk("read", &path, 0, cause)),
        },
    };
    let text = text.trim_end();
    match text.parse::<u32>() {
        Ok(FORMAT) => return Ok(Format::This),
        Ok(number) if number < FORMAT => return Ok(Format::Older),
        _ if text == unfinished() => return Ok(Format::Older),
        _ => {}
    }
    let found: String = text.chars().take(32).flat_map(char::escape_debug).collect();
    let found = if found.is_empty() { "\"\"".to_owned() } else { found };
    unknown(found)
}

fn unfinished() -> String {
    format!("{FORMAT} {UNFINISHED}")
}

/// Makes a cache of an older format anew, up to the number, which [`finish`] writes. What was in it
/// lies in `tmp/` until it is swept: containers of other nodes may run from it. What is no cache's
/// stays where it is.
///
/// # Errors
/// [`Error::Format`], [`Error::DiskFull`], [`Error::Disk`].
pub(crate) fn set_old_aside(layout: &Layout) -> Result<Upgrade, Error> {
    let root = layout.root();
    let lock = lock(root);
    // Somebody else may have done it meanwhile.
    if look(root)? != Format::Older {
        return Ok(Upgrade { is_due: false, _lock: lock });
    }
    tracing::info!(root = %root.display(), "a cache of an older format is made anew");
    layout.make_directory("tmp")?;
    layout.make_directory("tmp/.orlop")?;
    write(layout, &unfinished())?;
    for old in old(root)? {
        let aside = layout.drafts().join(format!("gone-{:016x}", random()));
        match move_aside(&old, &aside) {
            // Its age in the sweeper's eyes begins now.
            Ok(()) => drop(crate::files::open(&aside).and_then(|directory| renew(&directory))),
            Err(PublishError::Disk { cause, .. })
                if cause.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::publish(0, error)),
        }
    }
    for moved in [layout.drafts().join("gone"), root.join("segments")] {
        sync_name(&moved).map_err(|error| Error::publish(0, error))?;
    }
    Ok(Upgrade { is_due: true, _lock: lock })
}

/// What an older cache is made of: its directories, and of one that holds other things too what is
/// the cache's own.
fn old(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut old = Vec::new();
    for top in DIRECTORIES.iter().filter(|name| !name.contains('/') && **name != "tmp") {
        let parts: Vec<_> =
            DIRECTORIES.iter().filter(|name| Path::new(name).starts_with(top)).collect();
        let mut is_mixed = false;
        for part in &parts {
            is_mixed |= own::other_in(root, part)?.is_some();
        }
        if !is_mixed {
            old.push(root.join(top));
            continue;
        }
        for part in parts {
            old.extend(own::own_in(root, part)?);
        }
    }
    Ok(old)
}

/// A cache that is being made anew, for this process alone where locks work.
#[derive(Debug)]
pub(crate) struct Upgrade {
    is_due: bool,
    _lock: Option<File>,
}

impl Upgrade {
    /// Says that the new cache is whole.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`].
    pub(crate) fn finish(self, layout: &Layout) -> Result<(), Error> {
        if self.is_due { write(layout, &FORMAT.to_string()) } else { Ok(()) }
    }
}

/// Waits for others that make the same cache anew. Two that both do, where locks do not work, lose
/// at most what one of them has put there already.
fn lock(root: &Path) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(root, flags, rustix::fs::Mode::empty()).ok()?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&directory, FlockOperation::LockExclusive))
        .ok()?;
    Some(File::from(directory))
}

fn write(layout: &Layout, text: &str) -> Result<(), Error> {
    let path = layout.root().join(VERSION);
    let bytes = format!("{text}\n");
    let failed = |error| Error::publish(bytes.len() as u64, error);
    let mut draft = Draft::within(&layout.drafts(), &path, Mode::Exact(0o600)).map_err(failed)?;
    draft.write_all(bytes.as_bytes()).map_err(|cause| Error::disk("write", &path, 0, cause))?;
    draft.replace().map_err(failed).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn f41_an_older_cache_is_set_aside_whole_and_what_is_not_its_own_stays() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        Layout::make(root).unwrap();
        let key = "a0".repeat(32);
        let recipe = root.join("recipes").join(&key);
        for path in [root.join("segments").join(&key), root.join("mine")] {
            fs::write(path, b"old").unwrap();
        }
        for text in ["0\n", "1 unfinished\n"] {
            fs::write(&recipe, b"old").unwrap();
            fs::write(root.join(VERSION), text).unwrap();
            Layout::existing(root).unwrap_err();
            Layout::make(root).unwrap();
            assert_eq!(fs::read_to_string(root.join(VERSION)).unwrap(), "1\n");
            for directory in ["segments", "recipes"] {
                assert_eq!(fs::read_dir(root.join(directory)).unwrap().count(), 0, "{text}");
            }
            assert!(root.join("mine").exists() && root.join("blobs/sha256").exists());
        }
        let gone = fs::read_dir(root.join("tmp/.orlop")).unwrap();
        let old = gone.filter(|entry| entry.as_ref().unwrap().path().join(&key).exists());
        assert_eq!(old.count(), 3);
    }
}
