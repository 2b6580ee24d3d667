//! What of this user must not be seen inside: credential files, lists of logins, cache, sockets.
//!
//! Of both faces, because the files are the same user's. (reliability.md section 10, number 7, of
//! the design notes.)
//!
//! Not here: hiding them (`orlop-runtime`).

use std::path::{Path, PathBuf};

use orlop_config::paths::cache;
use orlop_config::{Face, Paths, env};

use crate::context::{Context, absolute};
use crate::options::Options;

/// Below the home directory, wherever settings point.
const IN_HOME: [&str; 9] = [
    ".docker/config.json",
    ".dockercfg",
    ".config/containers/auth.json",
    ".config/orlop",
    ".cache/orlop",
    ".apptainer/docker-config.json",
    ".apptainer/remote.yaml",
    ".singularity/docker-config.json",
    ".singularity/remote.yaml",
];

/// The files and directories but for the cache; they need not exist.
pub(super) fn masks(options: &Options, context: &mut Context) -> Vec<PathBuf> {
    let mut masks = Vec::new();
    let home = context.paths.home().map(Path::to_owned).ok();
    for face in [Face::Orlop, Face::Apptainer] {
        let paths = Paths::of(&context.environment, face, context.paths.uid());
        let files = paths.credential_files();
        masks.extend(files.read.into_iter().map(|file| file.path));
        masks.extend(files.write_if_present);
        masks.extend(files.write);
        masks.extend(paths.list_file().ok());
        masks.extend(paths.state().ok());
    }
    for home in home.iter() {
        masks.extend(IN_HOME.map(|below| home.join(below)));
    }
    masks.extend(context.environment.get(env::AUTHFILE).map(PathBuf::from));
    masks.extend(options.path("authfile").map(Path::to_owned));
    masks.extend(context.socket_directory());
    let mut masks: Vec<PathBuf> = masks.iter().map(|path| absolute(path)).collect();
    masks.sort();
    masks.dedup();
    // A setting that names half of the file system must not take it away.
    masks.retain(|mask| !is_too_much(mask, home.as_deref()));
    masks
}

/// The cache: its directory, or of one that holds other things too what is the cache's, for a job
/// works there. Looks at the disk, which may hang: of an image that the daemon brings this is asked
/// when it has brought it.
pub(super) fn of_cache(context: &Context) -> Vec<PathBuf> {
    let home = context.paths.home().ok();
    let is_named = context.environment.get(env::CACHE_DIRECTORY).is_some();
    let mut caches: Vec<PathBuf> = [Face::Orlop, Face::Apptainer]
        .into_iter()
        .filter_map(|face| Paths::of(&context.environment, face, context.paths.uid()).cache().ok())
        .map(|cache| absolute(&cache.path))
        .collect();
    caches.dedup();
    let of_one = |directory: PathBuf| {
        if is_too_much(&directory, home) || (is_named && holds_a_cache_and_more(&directory)) {
            let parts = cache::CACHE_DIRECTORIES.iter().chain(&cache::CACHE_UNFINISHED);
            parts.chain([&cache::CACHE_VERSION]).map(|part| directory.join(part)).collect()
        } else {
            vec![directory]
        }
    };
    caches.into_iter().flat_map(of_one).collect()
}

/// Whether a cache was made in a directory that held other things: it has no tag then. Where parts
/// of the cache are missing, they would be seen once they are made: all of the directory is hidden.
fn holds_a_cache_and_more(directory: &Path) -> bool {
    let is_there = |part: &&str| std::fs::symlink_metadata(directory.join(part)).is_ok();
    let mut parts = cache::CACHE_DIRECTORIES.iter().chain(&cache::CACHE_UNFINISHED);
    !is_there(&cache::CACHE_TAG) && is_there(&cache::CACHE_VERSION) && parts.all(is_there)
}

/// Whether so much lies in a directory that it cannot be hidden.
fn is_too_much(directory: &Path, home: Option<&Path>) -> bool {
    directory.components().count() <= 2 || home.is_some_and(|home| home.starts_with(directory))
}
