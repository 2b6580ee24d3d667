//! What of this user must not be seen inside: credential files, lists of logins, cache, sockets.
//!
//! Of both faces, because the files are the same user's. (reliability.md section 10, number 7, of
//! the design notes.)
//!
//! Not here: hiding them (`orlop-runtime`).

use std::path::{Path, PathBuf};

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

/// The files and directories; they need not exist.
pub(super) fn masks(options: &Options, context: &mut Context) -> Vec<PathBuf> {
    let mut masks = Vec::new();
    for face in [Face::Orlop, Face::Apptainer] {
        let paths = Paths::of(&context.environment, face, context.paths.uid());
        let files = paths.credential_files();
        masks.extend(files.read.into_iter().map(|file| file.path));
        masks.extend(files.write_if_present);
        masks.extend(files.write);
        masks.extend(paths.list_file().ok());
        masks.extend(paths.state().ok());
        masks.extend(paths.cache().ok().map(|cache| cache.path));
    }
    let home = context.paths.home().map(Path::to_owned).ok();
    for home in home.iter() {
        masks.extend(IN_HOME.map(|below| home.join(below)));
    }
    masks.extend(context.environment.get(env::AUTHFILE).map(PathBuf::from));
    masks.extend(options.path("authfile").map(Path::to_owned));
    let socket = context.socket();
    masks.extend(socket.as_deref().and_then(Path::parent).map(Path::to_owned));
    let mut masks: Vec<PathBuf> = masks.iter().map(|path| absolute(path)).collect();
    masks.sort();
    masks.dedup();
    // A setting that names half of the file system must not take it away.
    masks.retain(|mask| {
        mask.components().count() > 2 && !home.as_ref().is_some_and(|home| home.starts_with(mask))
    });
    masks
}
