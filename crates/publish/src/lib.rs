//! Makes files visible: whole or not at all.
//!
//! A [`Draft`] is a file that no reader can see yet. Publishing it syncs its bytes, gives it its
//! name by one rename within one file system, and syncs the directory, so that after a crash the
//! name shows the old file or the new one, never a part. A [`DirectoryDraft`] is the same for a
//! directory with its files. [`sweep`] removes what killed processes left. Three owners need this that must not know
//! each other: the cache, credential files, output files.
//!
//! Not here: locks (credential files have theirs in `orlop-credentials`), which name a thing has
//! (`orlop-store`, `orlop-config`), what is in it.

mod directory;
mod draft;
mod error;
mod names;
mod sweep;

pub use directory::{DirectoryDraft, adopt, make_directories, move_aside, sync_name};
pub use draft::{Draft, Mode};
pub use error::{PublishError, is_disk_full};
pub use names::{is_made_by, is_temporary};
pub use sweep::sweep;
