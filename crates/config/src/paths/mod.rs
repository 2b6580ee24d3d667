//! Where things are: cache, socket, state, settings, list file, credential files,
//! `registries.conf`, certificates.
//!
//! Follows from an [`Environment`], the [`Face`], the user's id and the passwd entry alone: nothing
//! here looks at a file, so the client and the daemon that got its environment agree. Sources:
//! `design.md` §2 and §12.2, `contract.md` §3.2 and §9, `registry.md` §3.2, §4.1, §5. Relative
//! `XDG_*` values count as unset, as the base directory specification says. Not here: whether a
//! socket's directory may be trusted ([`socket`]); reading any of the files.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use orlop_oci::Digest;

use crate::env::{self, Environment, Variable};

pub mod cache;
pub mod credentials;
pub mod passwd;
pub mod socket;
#[cfg(test)]
mod tests;

pub use credentials::{CredentialFile, CredentialFiles};
pub use socket::{FoundSocket, NoSocketPlace, SocketPlace};

/// As which program the client was called: decides default files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Face {
    /// As `orlop`.
    #[default]
    Orlop,
    /// As `apptainer` or `singularity`.
    Apptainer,
}

/// Why a place is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathsError {
    /// Neither `HOME` nor the passwd entry names a home directory.
    #[error("{what}: HOME is not set and user {uid} has no passwd entry")]
    NoHome {
        /// What was to be placed there.
        what: &'static str,
        /// The user.
        uid: u32,
    },
}

/// The cache that a caller uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePlace {
    /// Its directory, absolute.
    pub path: PathBuf,
    /// Whether it is the one that the plain `orlopd.sock` serves.
    pub is_default: bool,
}

/// The places of one user.
#[derive(Clone, Debug)]
pub struct Paths {
    environment: Environment,
    face: Face,
    uid: u32,
    home: Option<PathBuf>,
    system: PathBuf,
    warnings: Vec<String>,
}

impl Paths {
    /// Finds the places of the user `uid`. The passwd entry is asked only where `HOME` is of no
    /// use; batch systems and workflow managers give programs an empty environment.
    #[must_use]
    pub fn of(environment: &Environment, face: Face, uid: u32) -> Self {
        let needs_entry = home_in(environment).is_none();
        let entry = if needs_entry { passwd::home_of(uid) } else { None };
        Self::with_entry(environment, face, uid, entry)
    }

    /// The same with the passwd entry's home directory given.
    #[must_use]
    pub fn with_entry(
        environment: &Environment,
        face: Face,
        uid: u32,
        entry: Option<PathBuf>,
    ) -> Self {
        let mut warnings = Vec::new();
        let written = environment.get(env::HOME);
        if let Some(home) = written.filter(|home| !Path::new(home).is_absolute()) {
            warnings.push(format!("HOME is ignored: {home:?} is not an absolute path"));
        }
        let home = home_in(environment).or(entry).filter(|home| home.is_absolute());
        let environment = environment.clone();
        Self { environment, face, uid, home, system: PathBuf::from("/etc"), warnings }
    }

    /// Returns the same places with another directory than `/etc` for the system's settings.
    #[must_use]
    pub fn with_system(self, system: PathBuf) -> Self {
        Self { system, ..self }
    }

    /// Returns what the user should hear about the environment.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the environment that the places follow from, with `HOME` as it was decided: what a
    /// client sends is `paths.environment().sent()`.
    #[must_use]
    pub fn environment(&self) -> Environment {
        match &self.home {
            Some(home) => self.environment.clone().with("HOME", home),
            None => self.environment.clone(),
        }
    }

    /// Returns the face they were found for.
    #[must_use]
    pub const fn face(&self) -> Face {
        self.face
    }

    /// Returns the user's id.
    #[must_use]
    pub const fn uid(&self) -> u32 {
        self.uid
    }

    /// Returns the home directory.
    ///
    /// # Errors
    /// [`PathsError::NoHome`], as of every place below it.
    pub fn home(&self) -> Result<&Path, PathsError> {
        self.home_for("the home directory")
    }

    /// Returns the cache: `ORLOP_CACHEDIR`; `cache/orlop` below `APPTAINER_CACHEDIR`, or as
    /// Apptainer below its settings directory; else `orlop` below `XDG_CACHE_HOME`.
    ///
    /// # Errors
    /// [`PathsError::NoHome`]: the cache is then disabled.
    pub fn cache(&self) -> Result<CachePlace, PathsError> {
        let default = self.xdg(env::XDG_CACHE_HOME, ".cache").map(|cache| cache.join("orlop"));
        let path = if let Some(path) = self.named(env::CACHE_DIRECTORY) {
            path
        } else if let Some(parent) = self.named(env::APPTAINER_CACHE_DIRECTORY) {
            parent.join("cache/orlop")
        } else if self.face == Face::Apptainer {
            self.apptainer("the cache")?.join("cache/orlop")
        } else {
            default.clone().ok_or_else(|| self.no_home("the cache"))?
        };
        // Without `.` and doubled slashes: one cache must not be served by two daemons.
        let path: PathBuf = path.components().collect();
        let is_default = default.is_some_and(|default| path == default);
        Ok(CachePlace { path, is_default })
    }

    /// Returns where the daemon of this cache may listen.
    #[must_use]
    pub fn socket(&self, cache: &CachePlace) -> SocketPlace {
        if let Some(path) = self.named(env::SOCKET) {
            return SocketPlace::Given(path);
        }
        let runtime = self.environment.get(env::XDG_RUNTIME_DIR).map(PathBuf::from);
        let temporary = self.environment.raw("TMPDIR").filter(|value| !value.is_empty());
        let temporary = temporary.and_then(|value| self.environment.absolute(value));
        let mut temporary: Vec<PathBuf> = temporary.into_iter().collect();
        temporary.extend(["/tmp", "/var/tmp"].map(PathBuf::from));
        temporary.dedup();
        let own = format!("orlop-{}", self.uid);
        SocketPlace::Searched {
            runtime,
            system_runtime: PathBuf::from(format!("/run/user/{}", self.uid)),
            temporary: temporary.into_iter().map(|temporary| temporary.join(&own)).collect(),
            name: format!("{}.sock", daemon_name(cache)),
        }
    }

    /// Returns the directory of logs and records: `orlop` below `XDG_STATE_HOME`.
    ///
    /// # Errors
    /// [`PathsError::NoHome`]
    pub fn state(&self) -> Result<PathBuf, PathsError> {
        let state = self.xdg(env::XDG_STATE_HOME, ".local/state");
        state.map(|state| state.join("orlop")).ok_or_else(|| self.no_home("the state directory"))
    }

    /// Returns the log file of the daemon that serves `cache`.
    ///
    /// # Errors
    /// [`PathsError::NoHome`]
    pub fn log(&self, cache: &CachePlace) -> Result<PathBuf, PathsError> {
        Ok(self.state()?.join(format!("{}.log", daemon_name(cache))))
    }

    /// Returns Orlop's own settings file.
    ///
    /// # Errors
    /// [`PathsError::NoHome`]
    pub fn settings(&self) -> Result<PathBuf, PathsError> {
        Ok(self.config("the settings")?.join("orlop.toml"))
    }

    /// Returns the list file, which names the registries a user is logged in to.
    ///
    /// # Errors
    /// [`PathsError::NoHome`]
    pub fn list_file(&self) -> Result<PathBuf, PathsError> {
        let what = "the list file";
        let directory = match self.face {
            Face::Orlop => self.config(what)?,
            Face::Apptainer => self.apptainer(what)?,
        };
        Ok(directory.join("remote.yaml"))
    }

    /// Returns the list files of both faces, this one's first: whichever name a login is made
    /// under, it is the same login.
    #[must_use]
    pub fn list_files(&self) -> Vec<PathBuf> {
        let other = match self.face {
            Face::Orlop => Face::Apptainer,
            Face::Apptainer => Face::Orlop,
        };
        let other = Self { face: other, ..self.clone() };
        [self.list_file(), other.list_file()].into_iter().flatten().collect()
    }

    /// Returns the default credential files.
    #[must_use]
    pub fn credential_files(&self) -> CredentialFiles {
        credentials::credential_files(self)
    }

    /// Returns the directory of temporary files, which must not be used for anything large.
    #[must_use]
    pub fn temporary(&self) -> PathBuf {
        self.named(env::TEMPORARY_DIRECTORY).unwrap_or_else(|| "/tmp".into())
    }

    /// Returns the `registries.conf` that the environment names, with the variable's name.
    #[must_use]
    pub fn registries_override(&self) -> Option<(&'static str, PathBuf)> {
        let mut names = env::REGISTRIES_CONF.0.iter();
        let (name, value) = names.find_map(|name| Some((*name, self.environment.raw(name)?)))?;
        if value.is_empty() {
            return None;
        }
        Some((name, self.environment.absolute(value).unwrap_or_else(|| value.into())))
    }

    /// Returns the user's `registries.conf`; where it exists the system's directory is not read.
    #[must_use]
    pub fn user_registries(&self) -> Option<PathBuf> {
        Some(self.containers_of_user()?.join("registries.conf"))
    }

    /// Returns the system's `registries.conf`.
    #[must_use]
    pub fn system_registries(&self) -> PathBuf {
        self.system.join("containers/registries.conf")
    }

    /// Returns the directory of the user's drop-ins.
    #[must_use]
    pub fn user_drop_ins(&self) -> Option<PathBuf> {
        Some(self.containers_of_user()?.join("registries.conf.d"))
    }

    /// Returns the directory of the system's drop-ins.
    #[must_use]
    pub fn system_drop_ins(&self) -> PathBuf {
        self.system.join("containers/registries.conf.d")
    }

    /// Returns the directories that hold one directory of certificates for each host; the first
    /// one that has the host counts.
    #[must_use]
    pub fn certificate_directories(&self) -> Vec<PathBuf> {
        let user = self.containers_of_user().map(|containers| containers.join("certs.d"));
        let system = ["containers/certs.d", "docker/certs.d"].map(|path| self.system.join(path));
        user.into_iter().chain(system).collect()
    }

    /// containers/image looks below `$HOME/.config`, whatever `XDG_CONFIG_HOME` says.
    fn containers_of_user(&self) -> Option<PathBuf> {
        Some(self.home.as_ref()?.join(".config/containers"))
    }

    /// Orlop's own directory of settings.
    fn config(&self, what: &'static str) -> Result<PathBuf, PathsError> {
        let config = self.xdg(env::XDG_CONFIG_HOME, ".config");
        config.map(|config| config.join("orlop")).ok_or_else(|| self.no_home(what))
    }

    /// Apptainer's directory of a user's settings.
    fn apptainer(&self, what: &'static str) -> Result<PathBuf, PathsError> {
        match self.named(env::APPTAINER_CONFIG_DIRECTORY) {
            Some(directory) => Ok(directory),
            None => Ok(self.home_for(what)?.join(".apptainer")),
        }
    }

    /// A path that a variable names; relative ones are seen from the caller's directory.
    fn named(&self, variable: Variable) -> Option<PathBuf> {
        self.environment.absolute(self.environment.get(variable)?)
    }

    fn xdg(&self, variable: Variable, below_home: &str) -> Option<PathBuf> {
        let named = self.environment.get(variable).map(Path::new);
        match named.filter(|path| path.is_absolute()) {
            Some(path) => Some(path.to_owned()),
            None => Some(self.home.as_ref()?.join(below_home)),
        }
    }

    fn home_for(&self, what: &'static str) -> Result<&Path, PathsError> {
        self.home.as_deref().ok_or_else(|| self.no_home(what))
    }

    const fn no_home(&self, what: &'static str) -> PathsError {
        PathsError::NoHome { what, uid: self.uid }
    }
}

/// `HOME`, where it is of use.
fn home_in(environment: &Environment) -> Option<PathBuf> {
    let home = environment.get(env::HOME).map(Path::new);
    home.filter(|home| home.is_absolute()).map(Path::to_owned)
}

/// `orlopd` for the default cache, else with a hash of the cache's path.
fn daemon_name(cache: &CachePlace) -> String {
    if cache.is_default {
        return "orlopd".to_owned();
    }
    let digest = Digest::sha256(as_bytes(cache.path.as_os_str()));
    let hash: String = digest.hex().chars().take(16).collect();
    format!("orlopd-{hash}")
}

fn as_bytes(text: &OsStr) -> &[u8] {
    use std::os::unix::ffi::OsStrExt as _;
    text.as_bytes()
}
