//! The limits that hold for talking to registries, as one value that a test can scale.
//!
//! The defaults are those of `orlop_config::limits`. Not here: limits on what is inside manifests
//! and layers.

use std::time::Duration;

use orlop_config::limits;

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
    /// Blobs at a time from one host, for all callers together.
    pub blobs_per_host: usize,
    /// Bytes of one piece of a chunked upload.
    pub upload_chunk: u64,
    /// Largest such piece that a registry may ask for.
    pub upload_chunk_max: u64,
    /// How long a mirror that could not be reached is tried last.
    pub aside_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: limits::MANIFEST_BYTES,
            config_bytes: limits::CONFIG_BYTES,
            tags: limits::TAGS,
            tag_pages: limits::TAG_PAGES,
            token_bytes: limits::TOKEN_ANSWER_BYTES,
            error_bytes: limits::ERROR_BODY_BYTES,
            header_bytes: limits::HEADER_BYTES,
            warning_bytes: limits::WARNING_BYTES,
            tries: limits::RETRY_TRIES,
            backoff: limits::RETRY_FIRST,
            backoff_cap: limits::RETRY_CEILING,
            retry_after: limits::RETRY_AFTER,
            connect_time: limits::CONNECT_TIME,
            connect_time_mirror: limits::MIRROR_CONNECT_TIME,
            header_time: limits::HEADER_TIME,
            header_time_mirror: limits::MIRROR_HEADER_TIME,
            // A store that copies what it was sent before it answers: minutes for a large image.
            commit_time: Duration::from_secs(300),
            stall_time: limits::STALL_TIME,
            stall_bytes: limits::STALL_BYTES,
            progress_bytes: limits::RETRY_PROGRESS_BYTES,
            blobs_per_host: limits::BLOBS_PER_HOST,
            upload_chunk: limits::UPLOAD_CHUNK_BYTES,
            upload_chunk_max: limits::UPLOAD_CHUNK_MAX_BYTES,
            aside_time: limits::MIRROR_ASIDE,
        }
    }
}
