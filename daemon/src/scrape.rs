//! The metrics' socket: optional, for collectors that ask over HTTP.
//!
//! `curl --unix-socket PATH http://orlop/metrics`. One answer a connection, whatever is asked for;
//! the socket is the user's alone, as the daemon's own is. Several are answered at a time, so that a
//! slow one holds nobody up, and one walk through the cache serves all of some seconds. Nothing here
//! keeps the daemon from being idle. Not here: the text ([`crate::verbs::metrics`]).

use std::io;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::listen;
use crate::services::control::{self, Sizes};
use crate::verbs::metrics;

/// How long a collector may take to ask, and as long again to read.
const PATIENCE: Duration = Duration::from_secs(5);
/// Collectors that are answered at a time.
const AT_ONCE: usize = 16;
/// How long what a walk through the cache found is told.
const KEPT: Duration = Duration::from_secs(10);
/// Pause before a socket that another process serves is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// Most bytes of a request that are read.
const REQUEST: usize = 8 << 10;

/// Answers collectors at `path` for ever. Where that cannot be, it is said in the log.
pub(crate) async fn serve(daemon: Daemon, path: &Path) {
    let mut is_told = false;
    let (listener, place) = loop {
        match bind(&daemon, path).await {
            Ok(Some(bound)) => break bound,
            // One that had the socket before may be ending: it is asked again whether it has gone.
            Ok(None) if is_told => {}
            Ok(None) => {
                tracing::warn!(path = %path.display(), "another process serves metrics there");
                is_told = true;
            }
            Err(error) => {
                tracing::warn!(error, path = %path.display(), "metrics are not served");
                return;
            }
        }
        drop(tokio::time::timeout(AGAIN, std::future::pending::<()>()).await);
    };
    let _removed = Removed(place);
    let walk = Walk::default();
    let mut answers = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if answers.len() < AT_ONCE => {
                answers.push(serve_one(&daemon, &walk, accepted.map(|(stream, _)| stream)));
            }
            Some(()) = answers.next() => {}
        }
    }
}

/// Answers one collector. Where none could be accepted its place is taken for a while all the same:
/// it is not asked for the next one without end.
async fn serve_one(daemon: &Daemon, walk: &Walk, accepted: io::Result<UnixStream>) {
    let Ok(stream) = accepted else {
        drop(tokio::time::timeout(PATIENCE, std::future::pending::<()>()).await);
        return;
    };
    let is_own = stream
        .peer_cred()
        .is_ok_and(|peer| [rustix::process::geteuid().as_raw(), 0].contains(&peer.uid()));
    if is_own && let Err(error) = answer(daemon, walk, stream).await {
        tracing::debug!(%error, "a collector of metrics went away");
    }
}

/// What the last walk through the cache found, and when. Held while one is under way, for which the
/// others wait.
#[derive(Debug, Default)]
struct Walk(Mutex<Option<(Instant, Sizes)>>);

impl Walk {
    async fn sizes(&self, daemon: &Daemon) -> Result<Sizes, Failure> {
        let mut last = self.0.lock().await;
        if let Some((_, sizes)) = last.filter(|(at, _)| at.elapsed() < KEPT) {
            return Ok(sizes);
        }
        let sizes = control::sizes(daemon).await?;
        *last = Some((Instant::now(), sizes));
        Ok(sizes)
    }
}

/// Binds the socket; `None` while another process answers there.
async fn bind(
    daemon: &Daemon,
    path: &Path,
) -> Result<Option<(UnixListener, listen::Place)>, String> {
    let path = path.to_owned();
    let bound = daemon.blocking("metrics", move || Ok(listen::bind(&path, false))).await;
    match bound.map_err(|failure| failure.to_string())?? {
        listen::Bound::Listening(listener, place) => listener
            .set_nonblocking(true)
            .and_then(|()| UnixListener::from_std(listener))
            .map(|listener| Some((listener, place)))
            .map_err(|cause| cause.to_string()),
        listen::Bound::Served => Ok(None),
    }
}

/// Removes the socket when the daemon ends.
struct Removed(listen::Place);

impl Drop for Removed {
    fn drop(&mut self) {
        self.0.remove();
    }
}

async fn answer(daemon: &Daemon, walk: &Walk, mut stream: UnixStream) -> io::Result<()> {
    let Some(request) = tokio::time::timeout(PATIENCE, read(&mut stream)).await?? else {
        return Ok(());
    };
    let calls = daemon.life.calls();
    let (status, text) = match walk.sizes(daemon).await {
        Ok(sizes) => ("200 OK", metrics::text(&control::status(daemon, calls, sizes))),
        Err(failure) => ("500 Internal Server Error", failure.to_string()),
    };
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        metrics::MEDIA_TYPE,
        text.len()
    );
    if !request.starts_with(b"HEAD ") {
        answer.push_str(&text);
    }
    let write = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    tokio::time::timeout(PATIENCE, write).await?
}

/// The request's head; `None` of somebody who only looked whether there is
/// anybody.
async fn read(stream: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while request.len() < REQUEST && !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece).await? {
            0 if request.is_empty() => return Ok(None),
            0 => break,
            count => request.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
    Ok(Some(request))
}
