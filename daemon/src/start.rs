//! `main` of the daemon: protect, listen, serve, end.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use orlop_config::env::{self, Environment};
use orlop_config::limits;
use orlop_config::paths::CachePlace;
use orlop_config::settings::Settings;
use orlop_config::{Face, Paths};
use orlop_image::Workers;
use orlop_registry::{Clock, Limits, Pool};
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;

use crate::arguments::{self, Arguments, Asked};
use crate::brief::Brief;
use crate::daemon::{Collecting, Daemon, Shared};
use crate::disk::Disk;
use crate::flights::Flights;
use crate::inherited::Handed;
use crate::lifecycle::{Lifecycle, Reason};
use crate::listen::{self, Bound, Connection, Place};
use crate::log::Log;
use crate::opened::Opened;
use crate::rules::Rules;
use crate::tasks::Tasks;
use crate::verbs::checks::Checked;
use crate::verbs::known::Known;
use crate::whereabouts::Whereabouts;
use crate::{VERSION, clock, memory, protect, scrape, services, systemd};

/// Threads that run tasks: they wait for sockets; the converter has its own.
const RUNTIME_THREADS: usize = 2;
/// Time after which a thread of blocking work without any ends.
const THREAD_KEEP: Duration = Duration::from_secs(2);
/// How often the daemon looks whether its socket's file is still there.
const SOCKET_CHECK: Duration = Duration::from_secs(10);

/// Where requests come from.
enum Door {
    /// A socket that was bound here.
    Socket(StdListener, Place),
    /// A socket of the service manager, who keeps its file.
    Activated(StdListener),
    /// One connection.
    Private(StdStream),
}

/// Runs the daemon to its end.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let outcome = match arguments::parse(arguments) {
        Ok(Asked::Serve(arguments)) => serve(&arguments),
        Ok(Asked::Help) => return print(arguments::HELP),
        Ok(Asked::Version) => return print(&format!("orlopd {VERSION}\n")),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "the daemon cannot serve");
            drop(writeln!(std::io::stderr(), "orlopd: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(arguments: &Arguments) -> Result<(), String> {
    protect::protect()?;
    memory::tune();
    let Handed { activated, ready, private } = Handed::take(arguments)?;
    let environment = Environment::from_process();
    let paths = Paths::of(&environment, Face::Orlop, rustix::process::geteuid().as_raw());
    let own_cache = paths.cache().ok();
    let log = start_log(arguments, &environment, &paths, own_cache.as_ref(), activated.is_some());
    protect::hide_panics();
    let door = match (activated, private) {
        (Some(listener), _) => Door::Activated(listener),
        (None, Some(connection)) => Door::Private(connection.into()),
        (None, None) => {
            let own_socket = || own_cache.as_ref().and_then(|cache| socket_of(&paths, cache));
            match bind(arguments.socket.clone().or_else(own_socket), ready.is_some())? {
                Some((listener, place)) => Door::Socket(listener, place),
                None => return tell_ready(ready, None),
            }
        }
    };
    let own_cache = own_cache.map(|cache| cache.path);
    let cache = arguments.cache.clone().or(own_cache).filter(|_| !arguments.no_cache);
    let settings = Settings::load(&paths);
    let settings = settings.inspect_err(|error| tracing::warn!(%error, "settings are ignored"));
    let settings = settings.unwrap_or_default();
    let opened = Opened::new(cache, settings.cache_max_bytes, &paths)?;
    let idle_exit = arguments.idle_exit.unwrap_or(settings.idle_exit);
    let (shared, _until_the_end) = shared(&settings, idle_exit, log, &door, opened);
    let metrics_socket = environment.get(env::METRICS_SOCKET).map(PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .thread_name("orlopd")
        .thread_keep_alive(THREAD_KEEP)
        .enable_all()
        .build()
        .map_err(|cause| format!("cannot start: {cause}"))?;
    let outcome = runtime.block_on(run(Daemon::new(shared), door, ready, metrics_socket));
    // Blocking work that was not waited for goes with the process.
    runtime.shutdown_background();
    outcome
}

/// Starts the log: where the arguments say, else of the cache.
fn start_log(
    arguments: &Arguments,
    environment: &Environment,
    paths: &Paths,
    cache: Option<&CachePlace>,
    is_activated: bool,
) -> Log {
    let filter = environment.get(env::LOG).map(|filter| filter.to_string_lossy().into_owned());
    let file = arguments.log.clone().or_else(|| paths.log(cache?).ok());
    Log::start(filter.as_deref().unwrap_or("info"), is_activated, file.as_deref())
}

/// What all requests share, and the directory of a cache that goes with the daemon.
fn shared(
    settings: &Settings,
    idle_exit: Duration,
    log: Log,
    door: &Door,
    opened: Opened,
) -> (Shared, Option<TempDir>) {
    let Opened { store, temporary_directory, unused, refused } = opened;
    let tasks = Tasks::default();
    let shared = Shared {
        life: Lifecycle::new(idle_exit),
        log,
        started: clock::unix_seconds(),
        socket: match door {
            Door::Socket(_, place) => Some(place.path().to_owned()),
            Door::Activated(listener) => listener
                .local_addr()
                .ok()
                .and_then(|address| Some(address.as_pathname()?.to_owned())),
            Door::Private(_) => None,
        },
        place: match door {
            Door::Socket(_, place) => Some(place.clone()),
            _ => None,
        },
        cache_is_private: temporary_directory.is_some(),
        unused,
        looks: Arc::new(Semaphore::new(1)),
        disk: Disk::default(),
        refused,
        checked: Checked::default(),
        known: Known::default(),
        counts: Arc::default(),
        store,
        pool: Pool::new(Clock::new(clock::now, clock::chance), Limits::from(&settings.limits)),
        workers: Workers::new(std::thread::available_parallelism().map_or(1, usize::from)),
        conversions: Semaphore::new(limits::CONVERSIONS),
        merges: Semaphore::new(memory::MERGES_KIB as usize),
        recipes: Flights::new(tasks.clone()),
        rules: Rules::default(),
        whereabouts: Whereabouts::default(),
        layers: Flights::new(tasks.clone()),
        collecting: Collecting::default(),
        documents: Flights::new(tasks.clone()),
        blobs: Flights::new(tasks.clone()),
        tags: Flights::new(tasks.clone()),
        checks: Flights::new(tasks.clone()),
        verifications: Flights::new(tasks.clone()),
        web: Flights::new(tasks.clone()),
        brief: Brief::new(tasks.clone()),
        tasks,
        activated: matches!(door, Door::Activated(_)),
    };
    (shared, temporary_directory)
}

/// The socket of the default cache, when a daemon is started by hand.
fn socket_of(paths: &Paths, cache: &CachePlace) -> Option<PathBuf> {
    Some(paths.socket(cache).prepare(paths.uid()).ok()?.path)
}

fn bind(
    socket: Option<PathBuf>,
    starter_holds_lock: bool,
) -> Result<Option<(StdListener, Place)>, String> {
    let path = socket.ok_or("there is no place for a socket: name one with --socket")?;
    match listen::bind(&path, starter_holds_lock)? {
        Bound::Listening(listener, place) => Ok(Some((listener, place))),
        Bound::Served => Ok(None),
    }
}

/// Says that a daemon listens, be it this one or the one that did already. What is said from then
/// on goes to `words`.
fn tell_ready(ready: Option<OwnedFd>, words: Option<File>) -> Result<(), String> {
    if let Some(ready) = ready {
        // The starter reads what is said until then, and goes.
        let null = || File::options().write(true).open("/dev/null");
        drop(words.map_or_else(null, Ok).map(|to| rustix::stdio::dup2_stderr(&to)));
        rustix::io::write(&ready, b"1").map_err(|cause| format!("nobody waits: {cause}"))?;
    }
    Ok(())
}

async fn run(
    daemon: Daemon,
    door: Door,
    ready: Option<OwnedFd>,
    metrics_socket: Option<PathBuf>,
) -> Result<(), String> {
    let place = match &door {
        Door::Socket(_, place) => Some(place.clone()),
        _ => None,
    };
    let private = matches!(door, Door::Private(_));
    let router = services::router(&daemon).await;
    let life = daemon.life.clone();
    let shutdown = {
        let life = life.clone();
        async move { life.draining().await }
    };
    let mut signals = Signals::catch()?;
    let incoming = incoming(door, &life).map_err(|cause| format!("cannot serve: {cause}"))?;
    let server =
        daemon.tasks.spawn("server", router.serve_with_incoming_shutdown(incoming, shutdown));
    let upkeep = daemon.clone();
    let metrics = metrics_socket.map(|path| {
        let daemon = daemon.clone();
        let serve = async move { scrape::serve(daemon, &path).await };
        upkeep.tasks.spawn("metrics", serve)
    });
    let upkeep_task = daemon.tasks.spawn("upkeep", async move { upkeep.keep_up().await });
    let small = daemon.clone();
    let memory_task = daemon.tasks.spawn("memory", async move { small.keep_small().await });
    systemd::ready();
    tracing::info!(version = VERSION, pid = std::process::id(), "serving");
    drop(tell_ready(ready, daemon.log.last_words()));
    let reason = ended(&daemon, place.as_ref(), private, &mut signals).await;
    tracing::info!(?reason, "ending");
    systemd::stopping();
    let finish = async {
        give_up(&daemon, place).await;
        if matches!(reason, Reason::Idle | Reason::SocketLost) {
            // Whoever had connected before the socket went is served to the end.
            life.call_last().await;
            life.unused().await;
        }
        life.drain();
        drop((upkeep_task, memory_task, metrics));
        drop(server.await);
        daemon.end_leases().await;
        daemon.tasks.finished().await;
    };
    tokio::select! {
        ended = tokio::time::timeout(limits::DRAIN_TIME, finish) => {
            if ended.is_err() {
                tracing::info!("work is left unfinished");
            }
        }
        () = signals.caught() => tracing::info!("ending at once"),
        () = life.ending_now() => tracing::info!("ending at once"),
        () = keep_alive() => {}
    }
    Ok(())
}

/// The connections that are served.
fn incoming(
    door: Door,
    life: &Lifecycle,
) -> std::io::Result<BoxStream<'static, std::io::Result<Connection>>> {
    let (listener, is_handed) = match door {
        Door::Socket(listener, _) => (listener, false),
        Door::Activated(listener) => (listener, true),
        Door::Private(connection) => {
            connection.set_nonblocking(true)?;
            let connection = Connection::new(UnixStream::from_std(connection)?, life);
            // A stream that ends would end its connections too.
            let one = futures::stream::iter([Ok(connection)]);
            return Ok(one.chain(futures::stream::pending()).boxed());
        }
    };
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    Ok(listen::accept(listener, life.clone(), is_handed).boxed())
}

/// Removes the socket's file, under the start lock, for which a client may make it wait.
async fn give_up(daemon: &Daemon, place: Option<Place>) {
    let Some(place) = place else { return };
    let removed = daemon.blocking("socket", move || {
        place.remove();
        Ok(())
    });
    if let Err(error) = removed.await {
        tracing::warn!(%error, "the socket is left");
    }
}

/// Waits for a reason to end.
async fn ended(
    daemon: &Daemon,
    place: Option<&Place>,
    private: bool,
    signals: &mut Signals,
) -> Reason {
    tokio::select! {
        () = signals.caught() => Reason::Asked,
        () = daemon.life.draining() => Reason::Asked,
        () = daemon.life.unused(), if private => Reason::PrivateEnd,
        () = daemon.life.idle(), if !private => Reason::Idle,
        () = socket_lost(place) => Reason::SocketLost,
        () = keep_alive() => Reason::Asked,
    }
}

/// The signals that end the daemon. Kept from its start to its end, so that none is lost.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Caught so that a write beyond `RLIMIT_FSIZE` is an error of that write alone.
    _file_size: Signal,
}

impl Signals {
    fn catch() -> Result<Self, String> {
        let failed = |cause: std::io::Error| format!("cannot wait for signals: {cause}");
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            _file_size: signal(SignalKind::from_raw(nix::libc::SIGXFSZ)).map_err(failed)?,
        })
    }

    /// Returns at the next one.
    async fn caught(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Returns when the socket's file is not this daemon's any more: nobody can come then.
async fn socket_lost(place: Option<&Place>) {
    let Some(place) = place else { return std::future::pending().await };
    let mut ticks = tokio::time::interval(SOCKET_CHECK);
    loop {
        ticks.tick().await;
        if !place.is_ours() {
            return;
        }
    }
}

/// Feeds the service manager's watchdog, for ever.
async fn keep_alive() {
    let Some(interval) = systemd::watchdog_interval() else {
        return std::future::pending().await;
    };
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        systemd::alive();
    }
}
