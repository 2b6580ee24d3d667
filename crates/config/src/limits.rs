//! Every default number with its unit and its reason.
//!
//! Table: `reliability.md` §9; transfers: `registry.md` §8.2. Bytes are `u64` and carry `_BYTES`
//! in the name, times are `Duration`. A limit is a promise about memory, time or disk; reaching one
//! is an error that names it. Not here: who enforces it (the crate that reads the foreign bytes).

use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

// Documents of registries.

/// Bytes of a manifest, an index, a list of referrers or one page of tags: 4 MiB, as
/// containers/image and the distribution spec advise.
pub const MANIFEST_BYTES: u64 = 4 * MIB;
/// Bytes of an image's config: 4 MiB, as containers/image.
pub const CONFIG_BYTES: u64 = 4 * MIB;
/// Bytes of a token service's answer: 128 KiB.
pub const TOKEN_ANSWER_BYTES: u64 = 128 * KIB;
/// Bytes of one token: 64 KiB, what go-containerregistry reads.
pub const TOKEN_BYTES: u64 = 64 * KIB;
/// Bytes read of an error's body: 64 KiB.
pub const ERROR_BODY_BYTES: u64 = 64 * KIB;
/// Bytes shown of an error's body: 1 KiB.
pub const ERROR_SHOWN_BYTES: u64 = KIB;
/// Bytes of `Warning` headers shown in one command: 4 096, as containers/image.
pub const WARNING_BYTES: u64 = 4096;
/// Bytes of all headers of an answer: 64 KiB; curl's 300 KiB came after CVE-2023-38039.
pub const HEADER_BYTES: u64 = 64 * KIB;
/// Fields in the header of an answer: hyper's own default.
pub const HEADER_FIELDS: usize = 100;
/// Indexes within indexes.
pub const INDEX_DEPTH: usize = 3;
/// Manifests fetched to choose from one index, all levels together.
pub const INDEX_MANIFESTS: usize = 64;
/// Layers of one image; Docker stops at 125.
pub const LAYERS: usize = 1000;
/// Tags of one repository.
pub const TAGS: usize = 1_000_000;
/// Pages of a list of tags.
pub const TAG_PAGES: usize = 10_000;

// Requests.

/// Redirects of one request.
pub const REDIRECTS: usize = 10;
/// Tries for one object from one source, the first included.
pub const RETRY_TRIES: u32 = 5;
/// Pause after the first failed try; doubled with each, times a random part of one.
pub const RETRY_FIRST: Duration = Duration::from_millis(500);
/// Longest such pause.
pub const RETRY_CEILING: Duration = Duration::from_secs(30);
/// Progress after which tries are counted afresh: 1 MiB.
pub const RETRY_PROGRESS_BYTES: u64 = MIB;
/// Longest `Retry-After` that is waited for; more is a failure that says when.
pub const RETRY_AFTER: Duration = Duration::from_secs(300);
/// Shortest life of a token, whatever its service says: 60 s, as containers/image.
pub const TOKEN_LIFE_MIN: Duration = Duration::from_secs(60);
/// Longest life of a token, whatever its service says.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Time for a connection, TLS included.
pub const CONNECT_TIME: Duration = Duration::from_secs(10);
/// The same to a mirror: there is another source.
pub const MIRROR_CONNECT_TIME: Duration = Duration::from_secs(5);
/// Time between the tries of a host's addresses: RFC 8305.
pub const ADDRESS_PAUSE: Duration = Duration::from_millis(250);
/// Time from a request's last byte to its answer's whole header.
pub const HEADER_TIME: Duration = Duration::from_secs(30);
/// The same from a mirror.
pub const MIRROR_HEADER_TIME: Duration = Duration::from_secs(15);
/// Time from an upload's last byte to its answer: a store that copies what it was sent before it
/// answers takes minutes for a large image.
pub const COMMIT_TIME: Duration = Duration::from_secs(300);
/// Time within which [`STALL_BYTES`] have to come; else the transfer is broken and resumed.
pub const STALL_TIME: Duration = Duration::from_secs(60);
/// Bytes that have to come within [`STALL_TIME`]: 1 KiB.
pub const STALL_BYTES: u64 = KIB;
/// Failures one after the other that set a mirror aside.
pub const MIRROR_FAILURES: u32 = 3;
/// How long a mirror that was set aside is tried last.
pub const MIRROR_ASIDE: Duration = Duration::from_secs(60);

// Transfers.

/// Bytes of a manifest or config in the cache, whatever the limits were when it was fetched.
pub const STORED_DOCUMENT_BYTES: u64 = 256 << 20;
/// Blobs of one pull at a time.
pub const BLOBS_PER_PULL: usize = 4;
/// Blobs from one host at a time, of all callers together.
pub const BLOBS_PER_HOST: usize = 8;
/// Layers that are being converted at a time, of all callers together. Each has a blocking thread,
/// also while it waits for bytes; the runtime has 512 for all that blocks.
pub const CONVERSIONS: usize = 64;
/// Layers of one image that are being converted at a time, at least: as many as there are processors
/// where that is more. Each takes up to 3 MiB of memory, whatever its size.
pub const CONVERSIONS_PER_PULL: usize = 8;
/// Connections to one host.
pub const CONNECTIONS_PER_HOST: usize = 16;
/// Bytes of a blob from which on it is fetched in ranges: 64 MiB.
pub const RANGE_FROM_BYTES: u64 = 64 * MIB;
/// Bytes of one range: 16 MiB.
pub const RANGE_CHUNK_BYTES: u64 = 16 * MIB;
/// Ranges of one blob at a time.
pub const RANGE_CONNECTIONS: usize = 4;
/// How long the address that a redirect named is used again; signed ones end.
pub const REDIRECT_KEEP: Duration = Duration::from_secs(30);
/// Bytes of an unfinished blob between two syncs: 64 MiB.
pub const PARTIAL_SYNC_BYTES: u64 = 64 * MIB;
/// Bytes before the end of an unfinished blob that are fetched again: 1 MiB.
pub const PARTIAL_DISTRUST_BYTES: u64 = MIB;
/// How long an unfinished blob is kept.
pub const PARTIAL_KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// Bytes of a whole answer that are skipped to go on at an offset: 64 MiB; else from the start.
pub const SKIP_BYTES: u64 = 64 * MIB;
/// Bytes of one piece of a chunked upload: 64 MiB.
pub const UPLOAD_CHUNK_BYTES: u64 = 64 * MIB;
/// Largest such piece that a registry may ask for: 4 GiB.
pub const UPLOAD_CHUNK_MAX_BYTES: u64 = 4 * GIB;

// Layers and images.

/// Bytes of the tar of one layer: 1 TiB.
pub const LAYER_BYTES: u64 = TIB;
/// Bytes of tar a byte of blob may give; deflate cannot exceed 1 032.
pub const RATIO: u64 = 1100;
/// Bytes of tar from which on [`RATIO`] is looked at: 16 GiB.
pub const RATIO_FROM_BYTES: u64 = 16 * GIB;
/// Window of a zstd frame, as a power of two: 128 MiB, the decoder's default.
pub const ZSTD_WINDOW_LOG: u32 = 27;
/// Entries of one layer.
pub const ENTRIES: u64 = 10_000_000;
/// Entries of one image, all layers together.
pub const IMAGE_ENTRIES: u64 = 20_000_000;
/// Bytes of one pax header, and of one GNU long name: 1 MiB, as Go's archive/tar.
pub const PAX_BYTES: u64 = MIB;
/// Bytes of the map of a sparse file: 1 MiB, as Go since CVE-2025-58183.
pub const SPARSE_MAP_BYTES: u64 = MIB;
/// Extents in the map of a sparse file.
pub const SPARSE_MAP_EXTENTS: u64 = 65_536;
/// Apparent bytes of one file: 1 TiB; squashfs keeps 4 bytes a block, also for holes.
pub const FILE_BYTES: u64 = TIB;
/// Bytes of one extended attribute's value: Linux's limit.
pub const XATTR_BYTES: u64 = 64 * KIB;
/// Bytes of all extended attributes of one inode: 1 MiB.
pub const XATTRS_BYTES: u64 = MIB;
/// Bytes of an image's `/etc/passwd` or `/etc/group`: 16 MiB; more is not read, with a warning.
pub const ACCOUNT_FILE_BYTES: u64 = 16 * MIB;

// Local files.

/// Entries of an archive of whole images: layers of a thousand images and what describes them.
pub const ARCHIVE_ENTRIES: u64 = 100_000;
/// Bytes of `manifest.json`, `index.json` and the like in such an archive: 4 MiB, as a manifest.
pub const ARCHIVE_DOCUMENT_BYTES: u64 = 4 * MIB;
/// Symbolic and hard links followed to one file of an archive.
pub const ARCHIVE_LINKS: usize = 8;

/// Bytes of a credential file: 4 MiB.
pub const CREDENTIAL_FILE_BYTES: u64 = 4 * MIB;
/// Bytes of `remote.yaml`: 1 MiB.
pub const LIST_FILE_BYTES: u64 = MIB;
/// Bytes of one file of `registries.conf` or of Orlop's settings: 1 MiB.
pub const SETTINGS_FILE_BYTES: u64 = MIB;
/// Files in one directory of drop-ins.
pub const DROP_INS: usize = 1000;
/// Bytes of one certificate or key file of certs.d: 1 MiB.
pub const CERTIFICATE_FILE_BYTES: u64 = MIB;
/// Bytes of a password or token: 64 KiB.
pub const SECRET_BYTES: u64 = 64 * KIB;
/// Bytes of a user name: 1 KiB.
pub const USERNAME_BYTES: u64 = KIB;
/// Time for one call of a credential helper; its process group is killed after it.
pub const HELPER_TIME: Duration = Duration::from_secs(30);
/// Bytes of a credential helper's answer: 1 MiB.
pub const HELPER_ANSWER_BYTES: u64 = MIB;
/// Time to wait for the lock of a credential file.
pub const LOCK_TIME: Duration = Duration::from_secs(10);

// Daemon and client.

/// Bytes of one gRPC message: 4 MiB, tonic's default.
pub const MESSAGE_BYTES: usize = 4 << 20;
/// Bytes of one piece of a pushed file: 1 MiB.
pub const PUSH_PIECE_BYTES: usize = 1 << 20;
/// Calls on one connection to the daemon at a time.
pub const CALLS_PER_CONNECTION: u32 = 128;
/// Connections to the daemon at a time.
pub const CALLERS: usize = 4096;
/// Bytes of a failure on the wire: 8 KiB; causes are cut from the end.
pub const FAILURE_BYTES: usize = 8 << 10;
/// Bytes of a failure's message: 2 KiB.
pub const FAILURE_MESSAGE_BYTES: usize = 2 << 10;
/// Causes of a failure.
pub const FAILURE_CAUSES: usize = 16;
/// Bytes of events that wait for a slow caller: 64 KiB; progress is merged beyond.
pub const EVENT_BYTES: usize = 64 << 10;
/// Requests that wait in one daemon.
pub const REQUESTS: usize = 10_000;
/// Time without an answer after which a client says so.
pub const ANSWER_WARNING: Duration = Duration::from_secs(10);
/// Time without an answer after which a client gives the daemon up.
pub const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Time between signs of life on a connection to the daemon.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Time for a daemon to start.
pub const DAEMON_START: Duration = Duration::from_secs(5);
/// Time without a request or work after which the daemon exits.
pub const IDLE_EXIT: Duration = Duration::from_secs(600);
/// Time for work under way when the daemon is told to stop.
pub const DRAIN_TIME: Duration = Duration::from_secs(30);
/// Bytes of the daemon's log file: 8 MiB; then it is rotated.
pub const LOG_BYTES: u64 = 8 * MIB;
/// Old log files that are kept.
pub const LOGS_KEPT: usize = 3;
/// Bytes of one log line: 4 KiB; cut beyond.
pub const LOG_LINE_BYTES: usize = 4 << 10;
/// Bytes of an instance's log: 64 MiB; one old one is kept.
pub const INSTANCE_LOG_BYTES: u64 = 64 * MIB;

// Cache and holders.

/// How long a registry is waited for that says which image a tag is, when the last one is in the
/// cache.
pub const FALLBACK_TIME: Duration = Duration::from_secs(20);
/// Age of a claim's last renewal at which another node takes the work over.
pub const CLAIM_STALE: Duration = Duration::from_secs(30);
/// Time between renewals of a claim.
pub const CLAIM_RENEW: Duration = Duration::from_secs(5);
/// Time between renewals of a lease file.
pub const LEASE_RENEW: Duration = Duration::from_secs(30 * 60);
/// How long a lease file that is not renewed is honoured.
pub const LEASE_HONOURED: Duration = Duration::from_secs(2 * 3600);
/// Age at which a stray file in `tmp/` is removed.
pub const STRAY_AGE: Duration = Duration::from_secs(3600);
/// Part of the file system, in percent, that the cache may take by default.
pub const CACHE_PERCENT: u64 = 20;
/// Bytes that the cache may take by default, however large the file system: 100 GiB.
pub const CACHE_MAX_BYTES: u64 = 100 * GIB;
/// Free bytes that the cache leaves, unless [`CACHE_FLOOR_PERCENT`] of the file system is less.
pub const CACHE_FLOOR_BYTES: u64 = GIB;
/// Free part of the file system, in percent, that the cache leaves.
pub const CACHE_FLOOR_PERCENT: u64 = 2;
/// Fewest threads of a holder; at most one for each core.
pub const HOLDER_THREADS_MIN: usize = 2;
/// Bytes of decompressed blocks that a holder keeps: 64 MiB.
pub const HOLDER_CACHE_BYTES: u64 = 64 * MIB;
/// How long a holder outlives its last user.
pub const HOLDER_GRACE: Duration = Duration::from_secs(60);
/// Time to join a holder; an own one is started after it.
pub const HOLDER_JOIN: Duration = Duration::from_secs(30);
