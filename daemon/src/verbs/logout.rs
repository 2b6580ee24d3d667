//! Logouts: from the default files, from what helpers hold for them, and from the lists.
//!
//! A row of a list says that there is a login. Whichever name a login was made under, it lies in
//! the same file; so the rows of both default lists go with it, Orlop's and Apptainer's. Files that
//! are only read are named where they have a login as well.
//!
//! Not here: editing the files (`orlop-credentials`).

use std::path::PathBuf;

use orlop_credentials::login::{Gone, forget, forget_all};
use orlop_credentials::update::{self, Target};
use orlop_credentials::{keys, loading};
use orlop_proto::v1::Removed;

use super::login::{default_target, unlisted};
use crate::caller::Caller;
use crate::failure::Failure;

/// Which login is to go.
#[derive(Clone, Debug)]
pub(crate) struct Leaving {
    /// `host[:port]`, perhaps with `/namespace`; none for all.
    pub(crate) place: Option<String>,
    /// List file; none for the default ones.
    pub(crate) list_file: Option<PathBuf>,
}

/// What a logout did.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// What is gone, in order.
    pub(crate) removed: Vec<Removed>,
    /// Sentences for the user.
    pub(crate) warnings: Vec<String>,
}

/// Removes a login, or all, from the default files. Blocks.
///
/// # Errors
/// CREDENTIAL_FILE_INVALID, HELPER_FAILED: the file is as it was.
pub(crate) fn logout(caller: &Caller, which: &Leaving) -> Result<Left, Failure> {
    let target = default_target(caller)?;
    let around = caller.around_helpers(target.limits);
    let mut left = Left::default();
    let gone = match &which.place {
        Some(place) => {
            keys::check_place(place)?;
            forget(&target, place, &around)?
        }
        None => forget_all(&target, &around, &mut left.warnings)?,
    };
    let secrets = |Gone { from, keys }| Removed { from, keys, is_list: false };
    left.removed.extend(gone.into_iter().map(secrets));
    let lists =
        which.list_file.clone().map_or_else(|| caller.paths().list_files(), |list| vec![list]);
    for list in lists {
        let target = Target::default_file(&list).within(target.limits);
        let rows = match &which.place {
            Some(place) => update::remove_rows(&target, place),
            None => update::remove_all_rows(&target),
        };
        match rows {
            Ok(keys) if keys.is_empty() => {}
            Ok(keys) => left.removed.push(Removed { from: target.name, keys, is_list: true }),
            Err(error) => left.warnings.push(unlisted(error)),
        }
    }
    left.warnings.extend(elsewhere(caller, &target, which.place.as_deref()));
    Ok(left)
}

/// Names the files that are only read and have such a login too.
fn elsewhere(caller: &Caller, target: &Target, place: Option<&str>) -> Vec<String> {
    let files = caller.paths().credential_files();
    let is_written = |path: &PathBuf| *path == target.path || Some(path) == files.own.as_ref();
    let mut found = Vec::new();
    for file in files.read.iter().filter(|file| !is_written(&file.path)) {
        let kind = if file.is_legacy { loading::Kind::Legacy } else { loading::Kind::Default };
        // One that cannot be read has no login that counts.
        let Ok(Some(read)) = loading::auth_file(&file.path, kind, target.limits, &mut Vec::new())
        else {
            continue;
        };
        for (key, _) in read.users() {
            if place.is_none_or(|place| keys::is_login_of(&key, place)) {
                let place = keys::place_of(&key);
                let file = read.name();
                found.push(format!("a login to {place} stays in {file}, which Orlop only reads"));
            }
        }
    }
    found
}
