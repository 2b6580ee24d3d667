//! What a cache consists of, at the top of its directory: a cache may lie among other things
//! (`ORLOP_CACHEDIR=/scratch/USER`), and who hides or looks after it tells it from those.
//!
//! Not here: where the directory is ([`crate::Paths::cache`]), what is in it (`orlop-store`).

/// Directories that hold nothing but what is the cache's.
pub const CACHE_DIRECTORIES: [&str; 10] = [
    "blobs", "claims", "layers", "leases", "partial", "pins", "recipes", "segments", "tags",
    "unpacked",
];

/// The directory in which unfinished files are, in [`CACHE_UNFINISHED`]: a user may have one of this
/// name too.
pub const CACHE_TMP: &str = "tmp";

/// What of [`CACHE_TMP`] is the cache's.
pub const CACHE_UNFINISHED: [&str; 2] = ["tmp/damaged", "tmp/.orlop"];

/// The file that says the cache's format.
pub const CACHE_VERSION: &str = "version";

/// The file that says to other programs that nothing but a cache is in a directory
/// (bford.info/cachedir).
pub const CACHE_TAG: &str = "CACHEDIR.TAG";
