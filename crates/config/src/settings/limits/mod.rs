//! Limits that a user may set: `[limits]` in `orlop.toml`, `ORLOP_LIMITS_<KEY>` in the environment.
//!
//! One row of the table below is one key; its default and the reason for it are the constant of
//! [`crate::limits`]. A variable is spelled as its key, in capitals and with `_` for `-`, and comes
//! before the file. Every value has a least, below which nothing could work. Table:
//! `reliability.md` §9. Not here: who enforces a limit (the crate that reads the foreign bytes);
//! bounds of protocols and formats, which are fixed.

use std::time::Duration;

use toml::de::DeValue;

use super::{distance, integer, is_near, parse_bytes, parse_duration};
use crate::env::{Environment, SENT_LIMITS as PREFIX};
use crate::error::Error;
use crate::limits as defaults;

#[cfg(test)]
mod tests;

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $key:literal $field:ident: $kind:ident = $default:expr,
        at least $least:expr;)+) => {
        /// All limits that can be set. `Default` is what holds without settings.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $field: limits!(@type $kind),)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        /// All keys there are, as in the file.
        pub const KEYS: &[&str] = &[$($key,)+];

        impl Limits {
            /// Sets one limit; `key` is one of [`KEYS`].
            fn put(&mut self, key: &str, value: &Written<'_>) -> Result<(), String> {
                match key {
                    $($key => self.$field = value.$kind($least)?,)+
                    _ => return Err(String::new()),
                }
                Ok(())
            }
        }
    };
    (@type bytes) => { u64 };
    (@type sent) => { u64 };
    (@type count) => { u64 };
    (@type time) => { Duration };
}

/// Shortest time that can be set.
const MS: Duration = Duration::from_millis(1);

limits! {
    /// Bytes of a manifest, an index or one page of tags.
    "manifest-bytes" manifest_bytes: bytes = defaults::MANIFEST_BYTES, at least 1;
    /// Bytes of an image's config.
    "config-bytes" config_bytes: bytes = defaults::CONFIG_BYTES, at least 1;
    /// Bytes of a token service's answer.
    "token-bytes" token_bytes: bytes = defaults::TOKEN_ANSWER_BYTES, at least 1;
    /// Bytes read of an error's body.
    "error-bytes" error_bytes: bytes = defaults::ERROR_BODY_BYTES, at least 0;
    /// Bytes of `Warning` headers shown in one command.
    "warning-bytes" warning_bytes: bytes = defaults::WARNING_BYTES, at least 0;
    /// Bytes of all headers of an answer.
    "header-bytes" header_bytes: bytes = defaults::HEADER_BYTES, at least 1024;
    /// Indexes within indexes.
    "index-depth" index_depth: count = defaults::INDEX_DEPTH as u64, at least 0;
    /// Manifests fetched to choose from one index.
    "index-manifests" index_manifests: count = defaults::INDEX_MANIFESTS as u64, at least 1;
    /// Layers of one image.
    "layers" layers: count = defaults::LAYERS as u64, at least 1;
    /// Tags of one repository.
    "tags" tags: count = defaults::TAGS as u64, at least 1;
    /// Pages of a list of tags.
    "tag-pages" tag_pages: count = defaults::TAG_PAGES as u64, at least 1;
    /// Tries for one object from one source, the first included.
    "tries" tries: count = u64::from(defaults::RETRY_TRIES), at least 1;
    /// Longest pause after the first failed try; doubles with each.
    "backoff" backoff: time = defaults::RETRY_FIRST, at least Duration::ZERO;
    /// Longest pause after any failed try.
    "backoff-cap" backoff_cap: time = defaults::RETRY_CEILING, at least Duration::ZERO;
    /// Longest `Retry-After` that is waited for.
    "retry-after" retry_after: time = defaults::RETRY_AFTER, at least Duration::ZERO;
    /// Time for a connection, TLS included.
    "connect-time" connect_time: time = defaults::CONNECT_TIME, at least MS;
    /// The same to a mirror.
    "mirror-connect-time" mirror_connect_time: time = defaults::MIRROR_CONNECT_TIME, at least MS;
    /// Time from a request's last byte to its answer's whole header.
    "header-time" header_time: time = defaults::HEADER_TIME, at least MS;
    /// The same from a mirror.
    "mirror-header-time" mirror_header_time: time = defaults::MIRROR_HEADER_TIME, at least MS;
    /// Time from an upload's last byte to its answer.
    "commit-time" commit_time: time = defaults::COMMIT_TIME, at least MS;
    /// Time within which `stall-bytes` have to come.
    "stall-time" stall_time: time = defaults::STALL_TIME, at least MS;
    /// Bytes that have to come within `stall-time`.
    "stall-bytes" stall_bytes: bytes = defaults::STALL_BYTES, at least 1;
    /// Progress after which tries are counted afresh.
    "progress-bytes" progress_bytes: bytes = defaults::RETRY_PROGRESS_BYTES, at least 1;
    /// How long a mirror that could not be reached is tried last.
    "mirror-aside" mirror_aside: time = defaults::MIRROR_ASIDE, at least Duration::ZERO;
    /// Blobs of one pull at a time.
    "blobs-per-pull" blobs_per_pull: count = defaults::BLOBS_PER_PULL as u64, at least 1;
    /// Blobs from one host at a time, of all callers together.
    "blobs-per-host" blobs_per_host: count = defaults::BLOBS_PER_HOST as u64, at least 1;
    /// Bytes of a blob from which on it is fetched in ranges.
    "range-from" range_from: bytes = defaults::RANGE_FROM_BYTES, at least 0;
    /// Bytes of one range.
    "range-chunk" range_chunk: bytes = defaults::RANGE_CHUNK_BYTES, at least 4096;
    /// Ranges of one blob at a time; 1 switches ranges off.
    "range-connections" range_connections: count = defaults::RANGE_CONNECTIONS as u64, at least 1;
    /// How long the address that a redirect named is used again.
    "redirect-keep" redirect_keep: time = defaults::REDIRECT_KEEP, at least Duration::ZERO;
    /// Bytes of a whole answer that are skipped to go on at an offset.
    "skip-bytes" skip_bytes: bytes = defaults::SKIP_BYTES, at least 0;
    /// Bytes of one piece of a chunked upload.
    "upload-chunk" upload_chunk: bytes = defaults::UPLOAD_CHUNK_BYTES, at least 4096;
    /// Largest such piece that a registry may ask for.
    "upload-chunk-max" upload_chunk_max: bytes = defaults::UPLOAD_CHUNK_MAX_BYTES, at least 4096;
    /// Bytes of the tar of one layer, of an archive, and of a file at a URL.
    "layer-bytes" layer_bytes: bytes = defaults::LAYER_BYTES, at least 512;
    /// Bytes of tar a byte of blob may give.
    "ratio" ratio: count = defaults::RATIO, at least 1;
    /// Window of a zstd frame.
    "zstd-window" zstd_window: bytes = 1 << defaults::ZSTD_WINDOW_LOG, at least 1024;
    /// Entries of one layer.
    "entries" entries: count = defaults::ENTRIES, at least 1;
    /// Entries of one image.
    "image-entries" image_entries: count = defaults::IMAGE_ENTRIES, at least 1;
    /// Bytes of one pax header, and of one GNU long name.
    "pax-bytes" pax_bytes: bytes = defaults::PAX_BYTES, at least 512;
    /// Extents in the map of a sparse file.
    "sparse-map" sparse_map: count = defaults::SPARSE_MAP_EXTENTS, at least 1;
    /// Apparent bytes of one file.
    "file-bytes" file_bytes: bytes = defaults::FILE_BYTES, at least 1;
    /// Bytes of one extended attribute's value.
    "xattr-bytes" xattr_bytes: bytes = defaults::XATTR_BYTES, at least 1;
    /// Bytes of a credential file.
    "credential-file-bytes" credential_file_bytes: sent = defaults::CREDENTIAL_FILE_BYTES,
        at least 2;
    /// Time for one call of a credential helper.
    "helper-time" helper_time: time = defaults::HELPER_TIME, at least MS;
    /// Time to wait for the lock of a credential file.
    "lock-time" lock_time: time = defaults::LOCK_TIME, at least Duration::ZERO;
    /// Time for a registry's answer about a tag whose last image is in the cache.
    "fallback-time" fallback_time: time = defaults::FALLBACK_TIME, at least MS;
    /// Time without a change after which another node's claim is dead.
    "claim-stale" claim_stale: time = defaults::CLAIM_STALE, at least MS;
    /// Time between renewals of a claim.
    "claim-renew" claim_renew: time = defaults::CLAIM_RENEW, at least MS;
}

/// A value as it was written.
enum Written<'a> {
    Text(&'a str),
    Number(u64),
    Neither,
}

impl Written<'_> {
    fn bytes(&self, least: u64) -> Result<u64, String> {
        let bytes = match self {
            Self::Text(text) => parse_bytes(text),
            Self::Number(number) => Some(*number),
            Self::Neither => None,
        };
        bytes
            .filter(|bytes| *bytes >= least)
            .ok_or_else(|| format!("bytes such as \"64MiB\", at least {least}"))
    }

    /// Bytes of what goes to the daemon in one message.
    fn sent(&self, least: u64) -> Result<u64, String> {
        let most = defaults::MESSAGE_BYTES as u64;
        let bytes = self.bytes(least).ok().filter(|bytes| *bytes <= most);
        bytes.ok_or_else(|| format!("bytes such as \"1MiB\", {least} to {most}"))
    }

    fn count(&self, least: u64) -> Result<u64, String> {
        let count = match self {
            Self::Text(text) => text.trim().parse().ok(),
            Self::Number(number) => Some(*number),
            Self::Neither => None,
        };
        count.filter(|count| *count >= least).ok_or_else(|| format!("a number, at least {least}"))
    }

    fn time(&self, least: Duration) -> Result<Duration, String> {
        let time = match self {
            Self::Text(text) => parse_duration(text),
            Self::Number(number) => Some(Duration::from_secs(*number)),
            Self::Neither => None,
        };
        // Longer waits overflow clocks.
        time.filter(|time| *time >= least && *time <= LONGEST)
            .ok_or_else(|| format!("a time such as \"250ms\" or \"5s\", at least {least:?}"))
    }
}

/// Ten years.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

impl Limits {
    /// Sets a limit from the file; `key` is what follows `limits.`. `None` for a key that there is
    /// not, else what was wrong with the value.
    pub(super) fn set(&mut self, key: &str, value: &DeValue<'_>) -> Option<Result<(), String>> {
        let written = match (value.as_str(), integer(value)) {
            (Some(text), _) => Written::Text(text),
            (None, Some(number)) => Written::Number(number),
            (None, None) => Written::Neither,
        };
        let put = |known| {
            let outcome = self.put(known, &written);
            outcome.map_err(|expected| format!("limits.{key} has to be {expected}"))
        };
        KEYS.iter().copied().find(|known| *known == key).map(put)
    }

    /// Sets what variables say.
    ///
    /// # Errors
    /// [`Error::Variable`] for a value that is none, and for a limit that there is not.
    pub(super) fn replace_by(&mut self, environment: &Environment) -> Result<(), Error> {
        for (name, value) in environment.starting_with(PREFIX) {
            if value.is_empty() {
                continue;
            }
            let failed = |problem| Error::Variable { name: name.to_owned().into(), problem };
            let key = name.strip_prefix(PREFIX).unwrap_or(name);
            let Some(key) = KEYS.iter().copied().find(|known| spelled(known) == key) else {
                let nearest = KEYS.iter().min_by_key(|known| distance(key, &spelled(known)));
                let nearest = nearest.map(|known| spelled(known)).unwrap_or_default();
                return Err(failed(if is_near(distance(key, &nearest), key) {
                    format!("there is no such limit; the nearest is {PREFIX}{nearest}")
                } else {
                    "there is no such limit".to_owned()
                }));
            };
            let written = value.to_str().map_or(Written::Neither, Written::Text);
            self.put(key, &written)
                .map_err(|expected| failed(format!("{value:?} is not {expected}")))?;
        }
        Ok(())
    }
}

/// A key as it is spelled in a variable, after the prefix.
fn spelled(key: &str) -> String {
    key.to_ascii_uppercase().replace('-', "_")
}
