//! What is the cache's own: names that Orlop gives, in each directory. Everything else below the
//! cache's directory is somebody else's and stays: `ORLOP_CACHEDIR` may name a directory that holds
//! other things, also in a `tmp` or `partial` of its own.
//!
//! A format that gives other names than an older one has to know those too.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::files::each;
use crate::layout::{DIRECTORIES, TAG, VERSION};
use crate::usage::by_digest;
use crate::{Entry, Error, Key};

/// Whether Orlop gives this name to something in this directory, one of [`DIRECTORIES`].
pub(crate) fn is_own(directory: &str, name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let is_key = || name.parse::<Key>().is_ok();
    match directory {
        "blobs" => matches!(name, "sha256" | "sha512"),
        "blobs/sha256" => by_digest(&format!("sha256-{name}")).is_some(),
        "blobs/sha512" => by_digest(&format!("sha512-{name}")).is_some(),
        "layers" => by_digest(name).is_some(),
        "partial" => by_digest(name.strip_suffix(".mark").unwrap_or(name)).is_some(),
        "segments" | "recipes" | "tags" | "pins" => is_key(),
        "claims" => Entry::from_file_name(name).is_some(),
        "leases" => is_lease(name),
        "tmp" => matches!(name, "damaged" | ".orlop") || is_unfinished(name),
        "tmp/.orlop" => is_unfinished(name),
        "unpacked" => is_hex(name, 32),
        "tmp/damaged" => is_damaged(name),
        _ => false,
    }
}

/// `<host>.<boot>.<who>`: who is the daemon or a holder, by 16 digits.
fn is_lease(name: &str) -> bool {
    let mut parts = name.rsplitn(3, '.');
    let (who, boot) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_whole = parts.next().is_some_and(|host| !host.is_empty());
    name == ".now"
        || is_whole && (who == "daemon" || is_hex(who, 16)) && (boot.is_empty() || is_hex(boot, 8))
}

/// A draft of a file, of a segment or of an unpacked image, or what is being removed.
fn is_unfinished(name: &str) -> bool {
    let unpacked = name.strip_prefix("unpacked-").and_then(|rest| rest.split_once('-'));
    is_gone(name)
        || orlop_publish::is_temporary(name.as_ref())
        || unpacked.is_some_and(|(image, number)| is_hex(image, 32) && is_hex(number, 16))
}

/// What is being removed, or was when its process died.
fn is_gone(name: &str) -> bool {
    let Some(number) = name.strip_prefix("gone-") else { return false };
    let maker = number.split_once('-');
    is_hex(number, 16) || maker.is_some_and(|(maker, rest)| is_hex(maker, 8) && is_hex(rest, 16))
}

/// What was moved aside, by what it was.
fn is_damaged(name: &str) -> bool {
    let Some((what, number)) = name.rsplit_once('-') else { return false };
    let is_pin = what.strip_prefix("pin-").is_some_and(|pin| pin.parse::<Key>().is_ok());
    is_hex(number, 16) && (what == "pins" || is_pin || Entry::from_file_name(what).is_some())
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether this is a directory and no link to one: what lies behind a link is not the cache's.
pub(crate) fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// What is the cache's own in one of [`DIRECTORIES`], but for those below it.
///
/// # Errors
/// [`Error::Disk`].
pub(crate) fn own_in(root: &Path, directory: &str) -> Result<Vec<PathBuf>, Error> {
    let path = root.join(directory);
    let mut own = Vec::new();
    if !is_directory(&path) {
        return Ok(own);
    }
    each(&path, |found| {
        let name = found.file_name();
        let below = Path::new(directory).join(&name);
        let is_place = DIRECTORIES.iter().any(|place| Path::new(place) == below);
        if is_own(directory, &name) && !is_place {
            own.push(found.path());
        }
        Ok(())
    })?;
    Ok(own)
}

/// Something in one of [`DIRECTORIES`] that is not the cache's own.
///
/// # Errors
/// [`Error::Disk`].
pub(crate) fn other_in(root: &Path, directory: &str) -> Result<Option<PathBuf>, Error> {
    let path = root.join(directory);
    let mut other = None;
    if is_directory(&path) {
        each(&path, |found| {
            if !is_own(directory, &found.file_name()) {
                other = Some(found.path());
            }
            Ok(())
        })?;
    }
    Ok(other)
}

/// Something in the cache's directory itself that is not the cache's own.
///
/// # Errors
/// [`Error::Disk`].
pub(crate) fn other_at(root: &Path) -> Result<Option<PathBuf>, Error> {
    let failed = |cause| Error::disk("read", root, 0, cause);
    for found in fs::read_dir(root).map_err(failed)? {
        let name = found.map_err(failed)?.file_name();
        let mut known = DIRECTORIES.iter().chain(&[TAG, VERSION]);
        if !known.any(|known| *known == name) {
            return Ok(Some(root.join(name)));
        }
    }
    Ok(None)
}

/// Whether nothing but a cache is in a directory. One that gets its first `version` may be somebody's
/// who has a `tmp` too: what is in the directories says so, and the tag that it gets keeps it.
///
/// # Errors
/// [`Error::Disk`].
pub(crate) fn is_alone(root: &Path) -> Result<bool, Error> {
    if other_at(root)?.is_some() {
        return Ok(false);
    }
    if root.join(TAG).exists() || root.join(VERSION).exists() {
        return Ok(root.join(TAG).exists());
    }
    for directory in DIRECTORIES {
        if other_in(root, directory)?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_orlop_gives_are_its_own() {
        let (hex, number) = ("a0".repeat(32), "0123456789abcdef");
        let own = [
            ("blobs", "sha512".to_owned()),
            ("blobs/sha256", hex.clone()),
            ("blobs/sha512", hex.repeat(2)),
            ("layers", format!("sha256-{hex}")),
            ("partial", format!("sha256-{hex}")),
            ("partial", format!("sha256-{hex}.mark")),
            ("segments", hex.clone()),
            ("pins", hex.clone()),
            ("claims", format!("segment-{hex}")),
            ("leases", ".now".to_owned()),
            ("leases", "node-1.0a1b2c3d.daemon".to_owned()),
            ("leases", format!("node_1..{number}")),
            ("tmp", "damaged".to_owned()),
            ("tmp", format!(".orlop-{number}")),
            ("tmp", format!("gone-{number}")),
            ("tmp", format!("gone-01234567-{number}")),
            ("tmp", ".orlop".to_owned()),
            ("tmp/.orlop", format!(".orlop-{number}")),
            ("tmp/.orlop", format!("gone-01234567-{number}")),
            ("tmp/.orlop", format!("unpacked-{}-{number}", "a0".repeat(16))),
            ("unpacked", "a0".repeat(16)),
            ("tmp/damaged", format!("recipe-{hex}-{number}")),
            ("tmp/damaged", format!("pin-{hex}-{number}")),
        ];
        for (directory, name) in own {
            assert!(is_own(directory, name.as_ref()), "{directory}/{name}");
        }
        let names =
            ["notes.txt", "a.tar.gz", "results.2024.csv", "gone-x", "damaged-1", "x-0", ".orlop-x"];
        for (directory, name) in DIRECTORIES.iter().flat_map(|at| names.map(|name| (at, name))) {
            assert!(!is_own(directory, name.as_ref()), "{directory}/{name}");
        }
        assert!(!is_own("leases", OsStr::new("data.0a1b2c3d.csv")));
    }
}
