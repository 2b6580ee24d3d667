//! The service `Daemon`: versions, state, end.

use orlop_proto::v1::daemon_server::Daemon as Service;
use orlop_proto::v1::{
    Flight, HelloReply, HelloRequest, ShutdownReply, ShutdownRequest, StatusReply, StatusRequest,
};
use tonic::{Request, Response, Status};

use crate::VERSION;
use crate::daemon::Daemon;

/// Serves the calls about the daemon itself.
#[derive(Debug)]
pub(crate) struct Control(pub(crate) Daemon);

#[tonic::async_trait]
impl Service for Control {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let _call = self.0.life.call();
        let caller = request.into_inner();
        tracing::debug!(version = caller.version, pid = caller.pid, "hello");
        Ok(Response::new(HelloReply {
            version: VERSION.to_owned(),
            pid: std::process::id(),
            cache: self.cache(),
            activated: self.0.activated,
        }))
    }

    async fn status(
        &self,
        _request: Request<StatusRequest>,
    ) -> Result<Response<StatusReply>, Status> {
        let others = self.0.life.calls();
        let _call = self.0.life.call();
        let store = self.0.store.clone();
        let sizes = move || Ok((store.usage()?.bytes(), store.cap()?));
        let (cache_bytes, cache_cap_bytes) = self.0.blocking("usage", sizes).await?;
        let flights = self.0.layers.list().into_iter().chain(self.0.blobs.list());
        Ok(Response::new(StatusReply {
            version: VERSION.to_owned(),
            pid: std::process::id(),
            started: self.0.started,
            socket: shown(self.0.socket.as_deref()),
            cache: self.cache(),
            cache_bytes,
            cache_cap_bytes,
            flights: flights
                .map(|flight| Flight {
                    what: flight.what().to_owned(),
                    callers: flight.callers(),
                    bytes: flight.bytes(),
                    total: flight.total(),
                })
                .collect(),
            calls: u32::try_from(others).unwrap_or(u32::MAX),
            idle_exit_seconds: self.0.life.idle_exit().as_secs(),
            log: self.0.log.place().to_owned(),
            log_dropped: self.0.log.dropped(),
            memory_peak_bytes: memory_peak_bytes(),
            activated: self.0.activated,
        }))
    }

    async fn shutdown(
        &self,
        request: Request<ShutdownRequest>,
    ) -> Result<Response<ShutdownReply>, Status> {
        let unfinished = u32::try_from(self.0.life.calls()).unwrap_or(u32::MAX);
        // Before the answer: the next client finds no socket and starts another daemon.
        if let Some(place) = self.0.place.clone() {
            let give_up = move || {
                place.remove();
                Ok(())
            };
            self.0.blocking("socket", give_up).await?;
        }
        if request.into_inner().now {
            self.0.life.end_now();
        } else {
            self.0.life.drain();
        }
        Ok(Response::new(ShutdownReply { unfinished }))
    }
}

impl Control {
    /// The cache's directory; empty when it goes with the daemon.
    fn cache(&self) -> String {
        if self.0.cache_is_private { String::new() } else { shown(Some(self.0.store.root())) }
    }
}

fn shown(path: Option<&std::path::Path>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

/// Most resident memory so far, from the kernel's own count (`VmHWM`, in KiB).
fn memory_peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or_default().saturating_mul(1024)
}
