//! The limits on credential files and helpers that hold for one caller.
//!
//! The defaults are those of `orlop_config::limits`; a caller's settings replace them. Limits:
//! `reliability.md` §9. Not here: limits on what is inside a file, which are fixed.

use std::time::Duration;

use orlop_config::settings;

/// Limits on reading credential files, locking them and asking helpers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a credential file.
    pub file_bytes: u64,
    /// Time for one call of a helper.
    pub helper_time: Duration,
    /// Time to wait for one holder of the lock of a credential file.
    pub lock_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self::from(&settings::Limits::default())
    }
}

impl From<&settings::Limits> for Limits {
    fn from(set: &settings::Limits) -> Self {
        Self {
            file_bytes: set.credential_file_bytes,
            helper_time: set.helper_time,
            lock_time: set.lock_time,
        }
    }
}
