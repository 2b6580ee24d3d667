//! The home directory that the system's user database gives.
//!
//! Through the C library, so that users of LDAP and SSSD are found. Not here: when it is asked
//! ([`crate::paths::Paths::of`]).

use std::path::PathBuf;

use nix::unistd::{Uid, User};

/// Returns the home directory of a user; `None` without an entry, or when it cannot be asked.
#[must_use]
pub fn home_of(uid: u32) -> Option<PathBuf> {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten()?;
    Some(user.dir).filter(|home| home.is_absolute())
}
