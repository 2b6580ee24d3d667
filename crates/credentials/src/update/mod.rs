//! Changing a credential file: lock, read again, edit, publish.
//!
//! Programs that know no lock are met by reading again under it. Where locks do not work the update
//! goes on without: publishing keeps the file whole all the same, and an edit that another one
//! undid is made again.
//!
//! Not here: what an edit does ([`crate::docker_json`], [`crate::remote_yaml`]).

use std::io::Write as _;
use std::path::{Path, PathBuf};

use orlop_config::Paths;
use orlop_publish::{Draft, Mode};
use rustix::fs::AtFlags;
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::docker_json::AuthFile;
use crate::lock::Lock;
use crate::remote_yaml::{self, RemoteYaml};
use crate::{Credential, Error, Limits, loading, reading};

/// How often an edit is made again when it is lost where locks do not work.
const UNLOCKED_TRIES: u32 = 5;

/// Which file is changed and what may be made for it.
#[derive(Clone, Debug)]
pub struct Target {
    /// The file.
    pub path: PathBuf,
    /// How messages call it: as the user typed it.
    pub name: String,
    /// It is a default file: its directory is made (0700) when missing.
    pub is_default: bool,
    /// Orlop's own file, for logins that this file says `docker-credential-orlop` holds.
    pub own: Option<PathBuf>,
    /// What holds for reading and locking it.
    pub limits: Limits,
}

impl Target {
    /// A file that the user named.
    #[must_use]
    pub fn named(path: &Path) -> Self {
        let name = path.display().to_string();
        let limits = Limits::default();
        Self { path: path.to_owned(), name, is_default: false, own: None, limits }
    }

    /// One of the default files.
    #[must_use]
    pub fn default_file(path: &Path) -> Self {
        Self { is_default: true, ..Self::named(path) }
    }

    /// The file to which a login goes when no variable and no flag names one; `None` without a home
    /// directory.
    #[must_use]
    pub fn of(paths: &Paths) -> Option<Self> {
        let files = paths.credential_files();
        let path = files.to_write(Path::exists)?;
        Some(Self { own: files.own.clone(), ..Self::default_file(path) })
    }

    /// The same file, with Orlop's own beside it.
    #[must_use]
    pub fn with_own(self, paths: &Paths) -> Self {
        Self { own: paths.credential_files().own, ..self }
    }

    /// The same file, with a caller's limits.
    #[must_use]
    pub fn within(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Orlop's own file as a target.
    ///
    /// # Errors
    /// [`Error::Unusable`] where there is no home directory.
    pub fn own(&self) -> Result<Self, Error> {
        let own = self.own.as_ref().ok_or_else(|| Error::Unusable {
            what: format!(
                "{} names Orlop as its helper, but there is no home directory",
                self.name
            ),
        })?;
        Ok(Self::default_file(own).within(self.limits))
    }
}

/// Says whether a login could be stored in this file, before anything is asked of a registry.
///
/// # Errors
/// Everything that [`store_login`] would stumble over later and that can be known now.
pub fn check(target: &Target) -> Result<(), Error> {
    let path = resolve(&target.path)?;
    loading::auth_file_as(&path, &target.name, target.limits)?;
    check_owner(&path, &target.name)?;
    let directory = parent(&path);
    let makes_directory = target.is_default && path == target.path;
    match rustix::fs::access(directory, rustix::fs::Access::WRITE_OK) {
        Err(Errno::NOENT) if makes_directory => Ok(()),
        Err(cause) => {
            Err(Error::Disk { doing: "write in", path: directory.to_owned(), cause: cause.into() })
        }
        Ok(()) => Ok(()),
    }
}

/// Stores a login under a key.
///
/// # Errors
/// Every [`Error`]; the file is as it was, or whole and new.
pub fn store_login(target: &Target, key: &str, credential: &Credential) -> Result<(), Error> {
    edit(target, |file| file.set(key, credential).map(Some)).map(drop)
}

/// Leaves the marker of a login that a helper holds.
///
/// # Errors
/// As [`store_login`].
pub fn store_marker(target: &Target, key: &str) -> Result<(), Error> {
    let mark = |file: &mut AuthFile| {
        file.set_marker(key);
        Ok(Some(()))
    };
    edit(target, mark).map(drop)
}

/// Removes all logins of `host[:port]` or `host/namespace`; returns their keys. A file without one
/// is not touched, a missing one not made.
///
/// # Errors
/// As [`store_login`].
pub fn remove_login(target: &Target, place: &str) -> Result<Vec<String>, Error> {
    remove(target, |file| file.remove(place))
}

/// Removes the entry under exactly this key; says whether there was one.
///
/// # Errors
/// As [`store_login`].
pub fn remove_key(target: &Target, key: &str) -> Result<bool, Error> {
    let gone = remove(target, |file| match file.remove_exact(key) {
        true => vec![key.to_owned()],
        false => Vec::new(),
    })?;
    Ok(!gone.is_empty())
}

/// Removes every login but those under the keys that `stays` names; returns their keys.
///
/// # Errors
/// As [`store_login`].
pub fn remove_all(target: &Target, stays: impl Fn(&str) -> bool) -> Result<Vec<String>, Error> {
    remove(target, |file| file.remove_where(|key| !stays(key)))
}

fn remove(
    target: &Target,
    gone: impl Fn(&mut AuthFile) -> Vec<String>,
) -> Result<Vec<String>, Error> {
    let path = resolve(&target.path)?;
    let Some(mut before) = loading::auth_file_as(&path, &target.name, target.limits)? else {
        return Ok(Vec::new());
    };
    if gone(&mut before).is_empty() {
        return Ok(Vec::new());
    }
    let removed = edit(target, |file| Ok(Some(gone(file)).filter(|keys| !keys.is_empty())))?;
    Ok(removed.unwrap_or_default())
}

/// Puts a row into the list file.
///
/// # Errors
/// As [`store_login`].
pub fn store_row(target: &Target, row: &remote_yaml::Row) -> Result<(), Error> {
    let insert = |list: &mut RemoteYaml| {
        list.insert(row);
        Some(())
    };
    edit_list(target, insert).map(drop)
}

/// Removes the rows of a host from the list file; returns their URIs.
///
/// # Errors
/// As [`store_login`].
pub fn remove_rows(target: &Target, host: &str) -> Result<Vec<String>, Error> {
    remove_from_list(target, |list| list.remove(host))
}

/// Removes all rows of registries from the list file; returns their URIs.
///
/// # Errors
/// As [`store_login`].
pub fn remove_all_rows(target: &Target) -> Result<Vec<String>, Error> {
    remove_from_list(target, RemoteYaml::remove_all)
}

fn remove_from_list(
    target: &Target,
    gone: impl Fn(&mut RemoteYaml) -> Vec<String>,
) -> Result<Vec<String>, Error> {
    let path = resolve(&target.path)?;
    let Some(mut before) = loading::list_file(&path, &target.name)? else {
        return Ok(Vec::new());
    };
    if gone(&mut before).is_empty() {
        return Ok(Vec::new());
    }
    let removed = edit_list(target, |list| Some(gone(list)).filter(|uris| !uris.is_empty()))?;
    Ok(removed.unwrap_or_default())
}

fn edit<T>(
    target: &Target,
    change: impl Fn(&mut AuthFile) -> Result<Option<T>, Error>,
) -> Result<Option<T>, Error> {
    locked(target, |path| {
        let file = loading::auth_file_as(path, &target.name, target.limits)?;
        let mut file = file.unwrap_or_else(|| AuthFile::empty(&target.name));
        Ok(change(&mut file)?.map(|done| (file.text().to_owned(), done)))
    })
}

fn edit_list<T>(
    target: &Target,
    change: impl Fn(&mut RemoteYaml) -> Option<T>,
) -> Result<Option<T>, Error> {
    locked(target, |path| {
        let list = loading::list_file(path, &target.name)?;
        let mut list = list.unwrap_or_else(|| RemoteYaml::empty(&target.name));
        match change(&mut list) {
            Some(done) => Ok(Some((list.to_text()?, done))),
            None => Ok(None),
        }
    })
}

/// Runs an edit under the file's lock and publishes the text it gives, if any. Returns what the
/// first try brought.
fn locked<T>(
    target: &Target,
    edited: impl Fn(&Path) -> Result<Option<(String, T)>, Error>,
) -> Result<Option<T>, Error> {
    let path = resolve(&target.path)?;
    // A link into a directory that is missing is a mistake, not a wish for that directory.
    if target.is_default && path == target.path {
        let failed = |cause| Error::Publish { file: target.name.clone(), cause };
        // Another login may have made it just now, and not have synced it yet.
        let made = match parent(&path).is_dir() {
            true => orlop_publish::sync_name(parent(&path)),
            false => orlop_publish::make_directories(parent(&path)),
        };
        made.map_err(failed)?;
    }
    let lock = Lock::take(&path, target.limits.lock_time)?;
    check_owner(&path, &target.name)?;
    // After a power cut a draft may be there without a lock; a default directory is a small one.
    if lock.was_there || target.is_default {
        let removed = orlop_publish::sweep(parent(&path));
        tracing::debug!(removed, "drafts of dead processes");
    }
    let mut outcome = None;
    // Without a lock somebody may have replaced the file with one that knows nothing of this edit.
    let tries = if lock.is_held() { 1 } else { UNLOCKED_TRIES };
    for _ in 0..tries {
        let Some((text, done)) = edited(&path)? else { break };
        let text = Zeroizing::new(text);
        if outcome.is_some() && is_content(&path, text.as_bytes(), target.limits)? {
            break;
        }
        publish(&path, &target.name, text.as_bytes())?;
        outcome.get_or_insert(done);
    }
    drop(lock);
    Ok(outcome)
}

fn is_content(path: &Path, bytes: &[u8], limits: Limits) -> Result<bool, Error> {
    let there = reading::read(path, limits.file_bytes)?;
    Ok(there.is_some_and(|there| *there.bytes == *bytes))
}

fn publish(path: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let failed = |cause| Error::Publish { file: name.to_owned(), cause };
    let mut draft = Draft::beside(path, Mode::Exact(0o600)).map_err(failed)?;
    draft.write_all(bytes).map_err(|cause| {
        failed(orlop_publish::PublishError::Disk { target: path.to_owned(), doing: "write", cause })
    })?;
    draft.replace().map_err(failed).map(drop)
}

/// Follows links to the file that is to be replaced, which need not exist.
fn resolve(path: &Path) -> Result<PathBuf, Error> {
    let mut path = path.to_owned();
    for _ in 0..40 {
        match std::fs::read_link(&path) {
            Ok(link) => path = parent(&path).join(link),
            Err(_) => return Ok(path),
        }
    }
    Err(Error::Disk { doing: "follow", path, cause: Errno::LOOP.into() })
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn check_owner(path: &Path, name: &str) -> Result<(), Error> {
    match rustix::fs::statat(rustix::fs::CWD, path, AtFlags::empty()) {
        Ok(stat) if stat.st_uid != rustix::process::geteuid().as_raw() => {
            Err(Error::NotOurs { file: name.to_owned(), owner: stat.st_uid })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
