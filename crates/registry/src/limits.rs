//! The limits that hold for talking to registries, as one value that a test can scale.
//!
//! The defaults are those of `orlop_config::limits`; a caller's settings replace them for its
//! session. Not here: limits on what is inside manifests and layers.

use std::time::Duration;

use orlop_config::{limits, settings};

/// Limits on requests, answers and waiting.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of a manifest or index.
    pub manifest_bytes: u64,
    /// Bytes of a config.
    pub config_bytes: u64,
    /// Tags of one repository.
    pub tags: usize,
    /// Pages of a list of tags.
    pub tag_pages: usize,
    /// Bytes of a token service's answer.
    pub token_bytes: u64,
    /// Bytes that are read of the body of an error.
    pub error_bytes: u64,
    /// Bytes of all header fields of an answer.
    pub header_bytes: u64,
    /// Bytes of `Warning` headers shown in a session.
    pub warning_bytes: u64,
    /// Indexes within indexes that are followed.
    pub index_depth: u64,
    /// Manifests fetched to choose from one index.
    pub index_manifests: u64,
    /// Layers of one image; none is fetched of an image with more.
    pub layers: u64,
    /// Requests for one object at one source, the first included.
    pub tries: u32,
    /// Longest delay before the second try; doubles with each, full jitter.
    pub backoff: Duration,
    /// Longest delay before any try.
    pub backoff_cap: Duration,
    /// Longest `Retry-After` that is waited for.
    pub retry_after: Duration,
    /// From the start of a connection to its end.
    pub connect_time: Duration,
    /// The same at a source that has another one behind it.
    pub connect_time_mirror: Duration,
    /// From sending a request to the end of the answer's header.
    pub header_time: Duration,
    /// The same at a source that has another one behind it.
    pub header_time_mirror: Duration,
    /// From the last byte of an upload to the registry's answer.
    pub commit_time: Duration,
    /// A body that brings less than `stall_bytes` in this time is broken.
    pub stall_time: Duration,
    /// See `stall_time`.
    pub stall_bytes: u64,
    /// Bytes after which a broken body counts as the first failure again.
    pub progress_bytes: u64,
    /// Bytes of a whole answer that are dropped to go on at an offset; beyond it what is there
    /// already is not used.
    pub skip_bytes: u64,
    /// Blobs at a time of one [`crate::Sources`].
    pub blobs_per_pull: usize,
    /// Blobs at a time from one host, for all callers together.
    pub blobs_per_host: usize,
    /// Connections to one host that are kept.
    pub connections_per_host: usize,
    /// Bytes of a blob from which on it is fetched in ranges.
    pub range_from: u64,
    /// Bytes of one range.
    pub range_chunk: u64,
    /// Ranges of one blob at a time; 1: none.
    pub range_connections: usize,
    /// How long the address that a redirect named is used again.
    pub redirect_keep: Duration,
    /// Bytes of one piece of a chunked upload.
    pub upload_chunk: u64,
    /// Largest such piece that a registry may ask for.
    pub upload_chunk_max: u64,
    /// How long a mirror that could not be reached is tried last.
    pub aside_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self::from(&settings::Limits::default())
    }
}

impl From<&settings::Limits> for Limits {
    fn from(set: &settings::Limits) -> Self {
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).min(MOST_PLACES);
        Self {
            manifest_bytes: set.manifest_bytes,
            config_bytes: set.config_bytes,
            token_bytes: set.token_bytes,
            error_bytes: set.error_bytes,
            header_bytes: set.header_bytes,
            warning_bytes: set.warning_bytes,
            tags: usize::try_from(set.tags).unwrap_or(usize::MAX),
            tag_pages: usize::try_from(set.tag_pages).unwrap_or(usize::MAX),
            index_depth: set.index_depth,
            index_manifests: set.index_manifests,
            layers: set.layers,
            tries: u32::try_from(set.tries).unwrap_or(u32::MAX),
            backoff: set.backoff,
            backoff_cap: set.backoff_cap,
            retry_after: set.retry_after,
            connect_time: set.connect_time,
            connect_time_mirror: set.mirror_connect_time,
            header_time: set.header_time,
            header_time_mirror: set.mirror_header_time,
            commit_time: set.commit_time,
            stall_time: set.stall_time,
            stall_bytes: set.stall_bytes,
            progress_bytes: set.progress_bytes,
            skip_bytes: set.skip_bytes,
            blobs_per_pull: count(set.blobs_per_pull),
            blobs_per_host: count(set.blobs_per_host),
            connections_per_host: limits::CONNECTIONS_PER_HOST,
            range_from: set.range_from,
            range_chunk: set.range_chunk,
            range_connections: count(set.range_connections),
            redirect_keep: set.redirect_keep,
            upload_chunk: set.upload_chunk,
            upload_chunk_max: set.upload_chunk_max,
            aside_time: set.mirror_aside,
        }
    }
}

/// More than a process has descriptors for.
const MOST_PLACES: usize = 1 << 16;
