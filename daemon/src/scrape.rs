//! The metrics' socket: optional, for collectors that ask over HTTP.
//!
//! `curl --unix-socket PATH http://orlop/metrics`. One answer a connection, whatever is asked for;
//! the socket is the user's alone, as the daemon's own is. Nothing here keeps the daemon from being
//! idle. Not here: the text ([`crate::verbs::metrics`]).

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use crate::daemon::Daemon;
use crate::listen;
use crate::services::control;
use crate::verbs::metrics;

/// How long a collector may take to ask and to read.
const PATIENCE: Duration = Duration::from_secs(5);
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
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            drop(tokio::time::timeout(PATIENCE, std::future::pending::<()>()).await);
            continue;
        };
        let is_own = stream
            .peer_cred()
            .is_ok_and(|peer| [rustix::process::geteuid().as_raw(), 0].contains(&peer.uid()));
        if is_own
            && let Ok(Err(error)) = tokio::time::timeout(PATIENCE, answer(&daemon, stream)).await
        {
            tracing::debug!(%error, "a collector of metrics went away");
        }
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

async fn answer(daemon: &Daemon, mut stream: UnixStream) -> io::Result<()> {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while request.len() < REQUEST && !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece).await? {
            // Somebody looked whether there is anybody.
            0 if request.is_empty() => return Ok(()),
            0 => break,
            count => request.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
    let calls = daemon.life.calls();
    let (status, text) = match control::status(daemon, calls).await {
        Ok(status) => ("200 OK", metrics::text(&status)),
        Err(failure) => ("500 Internal Server Error", failure.to_string()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        metrics::MEDIA_TYPE,
        text.len()
    );
    stream.write_all(head.as_bytes()).await?;
    if !request.starts_with(b"HEAD ") {
        stream.write_all(text.as_bytes()).await?;
    }
    stream.shutdown().await
}
