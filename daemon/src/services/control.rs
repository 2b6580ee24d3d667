//! The service `Daemon`: versions, state, end.

use std::time::Duration;

use orlop_proto::v1::daemon_server::Daemon as Service;
use orlop_proto::v1::{
    Flight, HelloReply, HelloRequest, MetricsReply, MetricsRequest, ShutdownReply, ShutdownRequest,
    StatusReply, StatusRequest,
};
use tonic::{Request, Response, Status};

use crate::VERSION;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::verbs::metrics;

/// Serves the calls about the daemon itself.
#[derive(Debug)]
pub(crate) struct Control(pub(crate) Daemon);

#[tonic::async_trait]
impl Service for Control {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let _call = self.0.life.call();
        let caller = request.into_inner();
        tracing::debug!(version = caller.version, pid = caller.pid, "hello");
        self.0.still_without_cache().await?;
        // Somebody waits for work: perhaps for the disk.
        if self.0.life.calls() > 1 {
            self.0.disk.ask(&self.0.tasks, &self.0.store);
        }
        Ok(Response::new(HelloReply {
            version: VERSION.to_owned(),
            pid: std::process::id(),
            cache: self.0.cache(),
            activated: self.0.activated,
            disk_silent_ms: u64::try_from(self.0.disk.silent().as_millis()).unwrap_or(u64::MAX),
        }))
    }

    async fn status(
        &self,
        _request: Request<StatusRequest>,
    ) -> Result<Response<StatusReply>, Status> {
        let others = self.0.life.calls();
        let _call = self.0.life.call();
        Ok(Response::new(status(&self.0, others, sizes(&self.0).await?)))
    }

    async fn metrics(
        &self,
        _request: Request<MetricsRequest>,
    ) -> Result<Response<MetricsReply>, Status> {
        let others = self.0.life.calls();
        let _call = self.0.life.call();
        let text = metrics::text(&status(&self.0, others, sizes(&self.0).await?));
        Ok(Response::new(MetricsReply { text }))
    }

    async fn shutdown(
        &self,
        request: Request<ShutdownRequest>,
    ) -> Result<Response<ShutdownReply>, Status> {
        let unfinished = u32::try_from(self.0.life.calls()).unwrap_or(u32::MAX);
        self.0.resign().await?;
        if request.into_inner().now {
            self.0.life.end_now();
        }
        Ok(Response::new(ShutdownReply { unfinished }))
    }
}

/// How long a look at every entry may take: a disk may begin to hang under it.
const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// Bytes of the cache: in it, at most, and free beside it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sizes {
    used: u64,
    cap: u64,
    free: u64,
}

/// Looks at every entry of the cache; where its disk does not answer, what was last found.
///
/// # Errors
/// FILE_FAILED.
pub(crate) async fn sizes(daemon: &Daemon) -> Result<Sizes, Failure> {
    if !daemon.disk.answers(&daemon.tasks, &daemon.store).await {
        return Ok(daemon.disk.sizes());
    }
    let store = daemon.store.clone();
    let look = move || {
        let (used, cap, free) = (store.usage()?.bytes(), store.cap()?, store.space()?.free);
        Ok(Sizes { used, cap, free })
    };
    match tokio::time::timeout(LONGEST_LOOK, daemon.blocking("usage", look)).await {
        Ok(found) => found.inspect(|sizes| daemon.disk.note(*sizes)),
        Err(_) => Ok(daemon.disk.sizes()),
    }
}

/// The state of the daemon; `calls` are served beside this one.
pub(crate) fn status(daemon: &Daemon, calls: usize, sizes: Sizes) -> StatusReply {
    let flights = daemon.layers.list().into_iter().chain(daemon.blobs.list());
    let flights = flights.chain(daemon.web.list());
    let flights = flights.chain(daemon.verifications.list());
    let problem = daemon.refused.as_ref().map(|refused| refused.failure.to_string());
    let problem = problem.or_else(|| daemon.disk.problem());
    StatusReply {
        version: VERSION.to_owned(),
        pid: std::process::id(),
        started: daemon.started,
        socket: shown(daemon.socket.as_deref()),
        cache: daemon.cache(),
        cache_bytes: sizes.used,
        cache_cap_bytes: sizes.cap,
        free_bytes: sizes.free,
        flights: flights
            .map(|flight| Flight {
                what: flight.what().to_owned(),
                callers: flight.callers(),
                bytes: flight.bytes(),
                total: flight.total(),
                elsewhere: flight.is_elsewhere(),
            })
            .collect(),
        calls: u32::try_from(calls).unwrap_or(u32::MAX),
        idle_exit_seconds: daemon.life.idle_exit().as_secs(),
        log: daemon.log.place().to_owned(),
        log_dropped: daemon.log.dropped(),
        memory_peak_bytes: memory_bytes("VmHWM:"),
        memory_bytes: memory_bytes("VmRSS:"),
        activated: daemon.activated,
        cache_problem: problem.unwrap_or_default(),
        connections: u32::try_from(daemon.life.connections()).unwrap_or(u32::MAX),
        counts: Some(daemon.counts.sent()),
        background: u32::try_from(daemon.life.background()).unwrap_or(u32::MAX),
    }
}

fn shown(path: Option<&std::path::Path>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

/// Resident memory: `VmRSS:` now, `VmHWM:` at most so far; from the kernel's own count, in KiB.
fn memory_bytes(row: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(row));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or_default().saturating_mul(1024)
}
