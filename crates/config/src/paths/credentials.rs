//! The default credential files: which are read, in which order, and which one a login writes.
//!
//! Order: `contract.md` §3.1 row 5 and §3.2, `registry.md` §3.2. An explicit auth file replaces
//! all of them, and `DOCKER_AUTH_CONFIG` comes before them. `REGISTRY_AUTH_FILE`, by which podman's
//! tools are pointed to a file, is looked at first: whoever sets it means it. Not here: their
//! content (`orlop-credentials`).

use std::path::{Path, PathBuf};

use super::{Face, Paths};
use crate::env;

/// One default credential file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFile {
    /// Where it is, if it is.
    pub path: PathBuf,
    /// Whether the file itself is what elsewhere is the value of `auths` (`~/.dockercfg`).
    pub is_legacy: bool,
}

/// The default credential files of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFiles {
    /// Those to read, the first that has an answer counts. Each may be missing.
    pub read: Vec<CredentialFile>,
    /// Files that a login writes to if they exist, best first.
    pub write_if_present: Vec<PathBuf>,
    /// The file that a login writes, and makes, when none of those exists. `None` without a home
    /// directory.
    pub write: Option<PathBuf>,
    /// Orlop's own file, for logins that another file says `docker-credential-orlop` holds. It is
    /// read right after docker's. `None` without a home directory.
    pub own: Option<PathBuf>,
}

impl CredentialFiles {
    /// Returns the file that a login writes; `exists` says whether a file is there.
    pub fn to_write(&self, exists: impl Fn(&Path) -> bool) -> Option<&Path> {
        let present = self.write_if_present.iter().find(|path| exists(path));
        present.or(self.write.as_ref()).map(PathBuf::as_path)
    }
}

pub(super) fn credential_files(paths: &Paths) -> CredentialFiles {
    let home = paths.home.as_deref();
    let in_home = |name: &str| home.map(|home| home.join(name));
    let docker_default = in_home(".docker/config.json");
    let apptainer = paths.apptainer("the credential files").ok();
    let apptainer_file = apptainer.as_ref().map(|directory| directory.join("docker-config.json"));
    let podman = [
        Some(podman_runtime(paths)),
        paths
            .xdg(env::XDG_CONFIG_HOME, ".config")
            .map(|config| config.join("containers/auth.json")),
    ];
    let own_file =
        paths.config("the own logins").ok().map(|config| config.join("credentials.json"));
    let (read, write_if_present, write) = match paths.face {
        Face::Orlop => {
            let docker = paths.named(env::DOCKER_CONFIG).map(|config| config.join("config.json"));
            let docker = docker.or(docker_default);
            let [runtime, config] = podman;
            (vec![docker.clone(), own_file.clone(), runtime, config], Vec::new(), docker)
        }
        Face::Apptainer => {
            // An accident of Apptainer: with its variable set it writes `config.json` there.
            let is_named = paths.named(env::APPTAINER_CONFIG_DIRECTORY).is_some();
            let accident = apptainer.filter(|_| is_named).map(|path| path.join("config.json"));
            let own = [apptainer_file.clone(), accident];
            let [first, second] = own.clone();
            let [runtime, config] = podman;
            let docker = docker_default.clone();
            let read = vec![first, second, docker, own_file.clone(), runtime, config];
            (read, own.into_iter().flatten().collect(), docker_default)
        }
    };
    let plain = |path: PathBuf| CredentialFile { path, is_legacy: false };
    let named = paths.named(env::REGISTRY_AUTH_FILE);
    let mut read: Vec<_> = named.into_iter().chain(read.into_iter().flatten()).map(plain).collect();
    let legacy = in_home(".dockercfg").map(|path| CredentialFile { path, is_legacy: true });
    read.extend(legacy);
    if paths.face == Face::Orlop {
        read.extend(apptainer_file.map(plain));
    }
    CredentialFiles { read, write_if_present, write, own: own_file }
}

/// Where podman writes.
fn podman_runtime(paths: &Paths) -> PathBuf {
    let runtime = paths.environment.get(env::XDG_RUNTIME_DIR).map(Path::new);
    match runtime.filter(|path| path.is_absolute()) {
        Some(runtime) => runtime.join("containers/auth.json"),
        None => PathBuf::from(format!("/run/containers/{}/auth.json", paths.uid)),
    }
}
