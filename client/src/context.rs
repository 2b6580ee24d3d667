//! What every command has at hand: the environment, the output, places, and the daemon.
//!
//! The daemon is found or started when the first call needs it: a command on a local SIF never does.
//!
//! Not here: calls ([`crate::connection`]), options ([`crate::options`]).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use orlop_config::env::{self, Environment};
use orlop_config::paths::{CachePlace, FoundSocket, NoSocketPlace};
use orlop_config::{Face, Paths, Settings};
use orlop_credentials::Limits;
use orlop_credentials::programs::Surroundings;
use orlop_proto::v1;
use tonic::Status;
use tonic::transport::Channel;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::interrupt::Watch;
use crate::options::Options;
use crate::output::Output;
use crate::startup::Place;

/// What every command has at hand.
#[derive(Debug)]
pub(crate) struct Context {
    /// The environment, read once.
    pub(crate) environment: Environment,
    /// By which name the program was called.
    pub(crate) face: Face,
    /// Where words and data go.
    pub(crate) output: Output,
    /// Where this user's things are.
    pub(crate) paths: Paths,
    /// When the command began, Unix seconds.
    pub(crate) now: i64,
    request_id: String,
    /// What is said of a home that is not used.
    other_home: Option<String>,
    connection: Option<Connection>,
    /// What is wrong with places was said.
    told: bool,
    /// That the cache is not used was said.
    told_of_cache: bool,
    /// The socket's place, once it has been looked for.
    socket: Option<Option<PathBuf>>,
    /// The directory of sockets, once it has been looked for.
    socket_directory: Option<Option<PathBuf>>,
    no_cache: bool,
}

impl Context {
    /// Makes the context of a command.
    pub(crate) fn new(environment: Environment, face: Face, output: Output, now: i64) -> Self {
        let request_id = format!("{now:x}-{:x}", std::process::id());
        let uid = rustix::process::geteuid().as_raw();
        let other = home_of_another(&environment, uid);
        let paths = match &other {
            Some(_) => Paths::of(&environment.clone().with("HOME", ""), face, uid),
            None => Paths::of(&environment, face, uid),
        };
        Self {
            environment,
            face,
            output,
            paths,
            now,
            request_id,
            other_home: other,
            connection: None,
            told: false,
            told_of_cache: false,
            socket: None,
            socket_directory: None,
            no_cache: false,
        }
    }

    /// What is sent with each request.
    pub(crate) fn sent(&self) -> v1::Context {
        use std::os::unix::ffi::OsStrExt as _;
        let environment = self.paths.environment();
        let sent = environment.sent().into_iter().chain(environment.sent_to_helpers());
        v1::Context {
            variables: sent
                .map(|(name, value)| v1::Variable {
                    name: name.to_string_lossy().into_owned(),
                    value: value.as_bytes().to_vec(),
                })
                .collect(),
            face: match self.face {
                Face::Orlop => v1::Face::Orlop.into(),
                Face::Apptainer => v1::Face::Apptainer.into(),
            },
            request_id: self.request_id.clone(),
        }
    }

    /// The environment of credential helpers that this process starts; they end with the signal
    /// that ends the watch's command.
    pub(crate) fn around_helpers(&self, limits: Limits, watch: &Watch) -> Surroundings {
        let variables = self.environment.iter();
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let around = Surroundings::of(variables).within(limits);
        match watch.readable() {
            Some(signal) => around.stopped_by(signal),
            None => around,
        }
    }

    /// The limits on credential files and helpers that this process keeps itself.
    ///
    /// # Errors
    /// SETTINGS_INVALID.
    pub(crate) fn credential_limits(&self) -> Result<Limits, Failure> {
        let settings = Settings::load(&self.paths)
            .map_err(|error| Failure::caused(v1::Kind::SettingsInvalid, &error))?;
        Ok(Limits::from(&settings.limits))
    }

    /// The list file that `--config` names, made absolute for the daemon; empty for the default.
    pub(crate) fn list_file(&self, options: &Options) -> String {
        let path = options.path("config").map(absolute);
        path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Uses no cache for this command: a private daemon keeps what it needs as long as it lives.
    pub(crate) fn without_cache(&mut self) {
        self.no_cache = true;
    }

    /// The cache's directory; none when it is switched off or nowhere.
    pub(crate) fn cache(&self) -> Option<PathBuf> {
        if self.no_cache { None } else { self.paths.cache().ok().map(|cache| cache.path) }
    }

    /// The daemon's socket, in a directory of this user alone; none when there is no such place.
    pub(crate) fn socket(&mut self) -> Option<PathBuf> {
        if self.socket.is_none() {
            self.socket = Some(self.find_socket());
        }
        self.socket.clone().flatten()
    }

    fn find_socket(&mut self) -> Option<PathBuf> {
        let cache = self.paths.cache().ok()?;
        let found = self.paths.socket(&cache).prepare(self.paths.uid());
        self.found(found, "Using a daemon for this command alone", false)
    }

    /// The directory of sockets, of this user alone: it needs no cache, and where the daemon has none
    /// it is another one.
    pub(crate) fn socket_directory(&mut self) -> Option<PathBuf> {
        if self.socket_directory.is_none() {
            self.socket_directory = Some(self.find_socket_directory());
        }
        self.socket_directory.clone().flatten()
    }

    fn find_socket_directory(&mut self) -> Option<PathBuf> {
        let is_told = self.paths.cache().is_ok();
        let socket = match self.socket() {
            Some(socket) => socket,
            None => {
                let nowhere = CachePlace { path: PathBuf::new(), is_default: true };
                let found = self.paths.socket(&nowhere).prepare_anywhere(self.paths.uid());
                self.found(found, "No directory for sockets", is_told)?
            }
        };
        socket.parent().map(Path::to_owned)
    }

    /// Says what is wrong with the places, unless that is told already.
    fn found(
        &mut self,
        found: Result<FoundSocket, NoSocketPlace>,
        otherwise: &str,
        is_told: bool,
    ) -> Option<PathBuf> {
        let (path, warnings) = match found {
            Ok(found) => (Some(found.path), found.warnings),
            Err(none) => (None, vec![format!("{otherwise}: {}", none.reasons.join("; "))]),
        };
        for warning in warnings.iter().filter(|_| !is_told) {
            self.output.warning(warning);
        }
        path
    }

    /// Where the daemon is, or would be.
    pub(crate) fn place(&mut self) -> Place {
        let socket = if self.no_cache { None } else { self.socket() };
        let cache = if self.no_cache { None } else { self.paths.cache().ok() };
        Place {
            socket: socket.map(|path| absolute(&path)),
            log: cache.as_ref().and_then(|cache| self.paths.log(cache).ok()),
            program: daemon_program(&self.environment),
            idle_exit: self.environment.raw("ORLOP_IDLE_EXIT").map(OsString::from),
            environment: self.daemon_environment(),
            cache: cache.map(|cache| cache.path),
        }
    }

    /// The daemon, found or started.
    ///
    /// # Errors
    /// DAEMON_UNAVAILABLE; SETTINGS_INVALID for a variable that a daemon cannot start with.
    pub(crate) fn daemon(&mut self) -> Result<&Connection, Failure> {
        if self.connection.is_none() {
            orlop_config::settings::cache_max_bytes(&self.paths.environment())
                .map_err(|error| Failure::caused(v1::Kind::SettingsInvalid, &error))?;
            if !std::mem::replace(&mut self.told, true) {
                self.tell_places();
            }
            let place = self.place();
            let connection = Connection::open(&place, &self.output)?;
            let is_nowhere = !self.told_of_cache && connection.hello().cache.is_empty();
            if let Some(cache) = place.cache.filter(|_| is_nowhere) {
                self.told_of_cache = true;
                let cache = cache.display();
                self.output
                    .warning(&format!("Cache disabled - cache location {cache} is not writable."));
            }
            self.connection = Some(connection);
        }
        // Set in the line before.
        self.connection.as_ref().ok_or_else(|| Failure::new(v1::Kind::Internal, "no connection"))
    }

    /// Says what is wrong with the environment that places follow from.
    pub(crate) fn tell_places(&mut self) {
        for warning in self.paths.warnings().iter().chain(&self.other_home) {
            self.output.warning(warning);
        }
        if !self.no_cache
            && let Err(nowhere) = self.paths.cache()
        {
            self.output.warning(&format!("Cache disabled - {nowhere}"));
        }
    }

    /// Variables that a daemon is started with.
    fn daemon_environment(&self) -> Vec<(&'static str, OsString)> {
        let named = [
            env::LOG,
            env::HOME,
            env::XDG_CONFIG_HOME,
            env::CACHE_MAX,
            env::METRICS_SOCKET,
            env::TEMPORARY_DIRECTORY,
        ];
        let environment = self.paths.environment();
        let set = named.into_iter().filter_map(|variable| {
            let (name, value) = environment.spelled(variable)?;
            let is_path = [env::TEMPORARY_DIRECTORY, env::METRICS_SOCKET].contains(&variable);
            let path = self.environment.absolute(value).filter(|_| is_path);
            Some((name, path.map_or_else(|| value.to_owned(), PathBuf::into_os_string)))
        });
        set.collect()
    }

    /// Makes a call; where the daemon ends under it, once more with another one. Says too whether
    /// it was made twice.
    ///
    /// # Errors
    /// As [`Connection::call`]; DAEMON_UNAVAILABLE when the second daemon ended as well.
    pub(crate) fn call<T>(
        &mut self,
        call: impl AsyncFn(Channel) -> Result<T, Status>,
    ) -> Result<(T, bool), Failure> {
        match self.daemon()?.call(&call) {
            Err(failure) if failure.is_lost_daemon() => self.hang_up(),
            outcome => return outcome.map(|done| (done, false)),
        }
        let again = self.daemon()?.call(&call).map(|done| (done, true));
        again.map_err(|failure| self.lost(failure))
    }

    /// Names the daemon's log where the daemon was lost.
    pub(crate) fn lost(&self, failure: Failure) -> Failure {
        let log = self.paths.cache().ok().and_then(|cache| self.paths.log(&cache).ok());
        match log.filter(|_| failure.is_lost_daemon()) {
            Some(log) => failure.hint(format!("its log is {}", log.display())),
            None => failure,
        }
    }

    /// The daemon and the output, side by side.
    ///
    /// # Errors
    /// DAEMON_UNAVAILABLE.
    pub(crate) fn daemon_and_output(&mut self) -> Result<(&Connection, &mut Output), Failure> {
        self.daemon()?;
        let connection = self.connection.as_ref();
        connection
            .map(|connection| (connection, &mut self.output))
            .ok_or_else(|| Failure::new(v1::Kind::Internal, "no connection"))
    }

    /// Ends the connection, so that no thread and no socket is left.
    pub(crate) fn hang_up(&mut self) {
        self.connection = None;
    }
}

/// Root makes nothing in the home of somebody else (`sudo -E`): says so where `HOME` is one.
fn home_of_another(environment: &Environment, uid: u32) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let home = environment.get(env::HOME).filter(|_| uid == 0)?;
    let owner = std::fs::metadata(home).ok()?.uid();
    let home = Path::new(home).display();
    (owner != uid).then(|| format!("HOME is not used: {home} belongs to user {owner}"))
}

/// A path that means the same in a process with another working directory.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// `ORLOP_DAEMON`, else `orlopd` beside this program.
fn daemon_program(environment: &Environment) -> PathBuf {
    if let Some(named) = environment.raw("ORLOP_DAEMON").filter(|named| !named.is_empty()) {
        return PathBuf::from(named);
    }
    let own = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    own.with_file_name("orlopd")
}
