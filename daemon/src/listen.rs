//! The socket: bound once, accepted from with a check of the peer's uid.
//!
//! A socket file that nobody answers on is stale and replaced. Whoever binds holds the start lock
//! `<socket>.lock`: the client that starts the daemon, or the daemon itself when nobody did.
//! Source: design notes, section 2.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use orlop_config::limits::CALLERS;
use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tonic::transport::server::{Connected, UdsConnectInfo};

use crate::lifecycle::{Call, Lifecycle};

/// What binding came to.
#[derive(Debug)]
pub(crate) enum Bound {
    /// This process listens.
    Listening(StdListener, Place),
    /// Another daemon answers there already.
    Served,
}

/// A socket's file, to be recognised and removed later.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    path: PathBuf,
    /// Device, inode, and time of the last change: an inode number is used again.
    identity: (u64, u64, i64, i64),
}

impl Place {
    /// Recognises the file at a path.
    ///
    /// # Errors
    /// The operating system's answer when there is none.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let file = std::fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            identity: (file.dev(), file.ino(), file.ctime(), file.ctime_nsec()),
        })
    }

    /// The socket's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// True while the path still leads to this daemon's socket.
    pub(crate) fn is_ours(&self) -> bool {
        Self::of(&self.path).is_ok_and(|now| now.identity == self.identity)
    }

    /// Removes the file if it is this daemon's, so that the next client starts another daemon.
    pub(crate) fn remove(&self) {
        let _lock = lock(&self.path);
        if self.is_ours() {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Binds a socket, mode 0600, replacing a stale one.
///
/// # Errors
/// A sentence with the path: a directory that is not this user's alone to write, or what the
/// operating system said.
pub(crate) fn bind(path: &Path, starter_holds_lock: bool) -> Result<Bound, String> {
    let failed = |cause: io::Error| format!("cannot listen on {}: {cause}", path.display());
    let parent = path.parent().unwrap_or_else(|| Path::new("/"));
    make_directory(parent).map_err(failed)?;
    check_directory(parent)?;
    let _lock = if starter_holds_lock { None } else { lock(path) };
    // Reached through the open directory, so that a long path fits an address (row S48).
    let open = rustix::fs::open(parent, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let open = open.map_err(|cause| failed(cause.into()))?;
    let name = path.file_name().unwrap_or_default();
    let short = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
    let short = if short.exists() { short.join(name) } else { path.to_owned() };
    if StdStream::connect(&short).is_ok() {
        return Ok(Bound::Served);
    }
    remove_stale(path).map_err(failed)?;
    let listener = StdListener::bind(&short).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    let place = Place::of(path).map_err(failed)?;
    Ok(Bound::Listening(listener, place))
}

/// Removes the socket that nobody answers on, or a link to one. Anything else at the path is
/// somebody's file.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() || found.is_symlink() => {
            std::fs::remove_file(path)
        }
        Ok(_) => Err(io::Error::other("there is a file that is no socket")),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(cause),
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn check_directory(path: &Path) -> Result<(), String> {
    let refused = |what: &str| format!("the socket's directory {} {what}", path.display());
    let found = std::fs::symlink_metadata(path).map_err(|cause| refused(&cause.to_string()))?;
    if !found.is_dir() {
        return Err(refused("is not a directory"));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused(&format!("belongs to user {}", found.uid())));
    }
    if found.mode() & 0o022 != 0 {
        return Err(refused("can be written by other users"));
    }
    Ok(())
}

/// Waits for the start lock; `None` where locks do not work.
fn lock(socket: &Path) -> Option<File> {
    let mut name = socket.file_name()?.to_owned();
    name.push(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(socket.with_file_name(name))
        .ok()?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).ok()?;
    Some(file)
}

/// One client's connection; the daemon is not idle while it is open.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    _open: Call,
}

impl Connection {
    /// Wraps a stream whose peer has been checked, or that was inherited.
    pub(crate) fn new(stream: UnixStream, life: &Lifecycle) -> Self {
        Self { stream, _open: life.connection() }
    }
}

impl Connected for Connection {
    type ConnectInfo = UdsConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Accepts connections of this user's processes for ever; others are closed at once. After the
/// last call only those are let in that had connected by then; the queue of a socket that was
/// handed over is left to the next daemon.
pub(crate) fn accept(
    listener: UnixListener,
    life: Lifecycle,
    is_handed: bool,
) -> impl Stream<Item = io::Result<Connection>> {
    let porter = Porter { listener, life, is_handed, most: CALLERS };
    futures::stream::unfold(porter, |porter| async move {
        let connection = porter.next().await;
        Some((Ok(connection), porter))
    })
}

struct Porter {
    listener: UnixListener,
    life: Lifecycle,
    is_handed: bool,
    /// Connections that may be open at a time.
    most: usize,
}

impl Porter {
    async fn next(&self) -> Connection {
        loop {
            tokio::select! {
                biased;
                () = self.life.last_called() => return self.last().await,
                accepted = self.accept() => match accepted {
                    Ok((stream, _)) => {
                        if let Some(connection) = self.admit(stream) {
                            return connection;
                        }
                    }
                    // Descriptors are used up: the next one that is given back is waited for.
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept");
                        pause().await;
                    }
                }
            }
        }
    }

    /// Accepts the next one, as soon as fewer are open than may be: more wait in the socket's queue.
    async fn accept(&self) -> io::Result<(UnixStream, tokio::net::unix::SocketAddr)> {
        self.life.room_for_connections(self.most).await;
        self.listener.accept().await
    }

    async fn last(&self) -> Connection {
        use rustix::net::SocketFlags;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        // Asked of the kernel itself: the runtime may not have heard of the newest yet.
        while !self.is_handed
            && let Ok(stream) = rustix::net::accept_with(&self.listener, flags)
        {
            let stream = UnixStream::from_std(StdStream::from(stream));
            if let Some(connection) = stream.ok().and_then(|stream| self.admit(stream)) {
                return connection;
            }
        }
        self.life.queue_is_empty();
        std::future::pending().await
    }

    fn admit(&self, stream: UnixStream) -> Option<Connection> {
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == rustix::process::geteuid().as_raw() => {
                return Some(Connection::new(stream, &self.life));
            }
            Ok(peer) => tracing::warn!(uid = peer.uid(), "connection of another user refused"),
            Err(error) => tracing::warn!(%error, "connection without credentials refused"),
        }
        None
    }
}

/// Nothing reports that descriptors are free again, so accepting tries again ten times a second.
async fn pause() {
    let never = std::future::pending::<()>();
    drop(tokio::time::timeout(std::time::Duration::from_millis(100), never).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_served_one_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/orlopd.sock");
        let Ok(Bound::Listening(listener, place)) = bind(&path, false) else { panic!() };
        assert!(matches!(bind(&path, false), Ok(Bound::Served)));
        assert!(place.is_ours());
        drop(listener);
        let Ok(Bound::Listening(_listener, second)) = bind(&path, true) else { panic!() };
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        place.remove();
        assert!(second.is_ours(), "another daemon's socket is not removed");
        second.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        std::fs::write(&path, "kept").unwrap();
        let error = bind(&path, false).unwrap_err();
        assert!(error.ends_with("there is a file that is no socket"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let error = bind(&directory.path().join("s"), false).unwrap_err();
        assert!(error.ends_with("can be written by other users"), "{error}");
    }

    #[tokio::test]
    async fn f07_who_connected_before_the_end_is_let_in_and_keeps_the_daemon() {
        use futures::StreamExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let Ok(Bound::Listening(listener, place)) = bind(&path, false) else { panic!() };
        listener.set_nonblocking(true).unwrap();
        let life = Lifecycle::new(std::time::Duration::ZERO);
        let listener = UnixListener::from_std(listener).unwrap();
        let mut incoming = std::pin::pin!(accept(listener, life.clone(), false));
        let client = StdStream::connect(&path).unwrap();
        place.remove();
        let let_in = {
            let mut empty = std::pin::pin!(life.call_last());
            let mut let_in = Vec::new();
            loop {
                tokio::select! {
                    biased;
                    connection = incoming.next() => let_in.push(connection.unwrap().unwrap()),
                    () = &mut empty => break let_in,
                }
            }
        };
        assert_eq!(let_in.len(), 1);
        assert!(futures::FutureExt::now_or_never(life.unused()).is_none());
        drop((client, let_in));
        life.unused().await;
    }

    #[tokio::test]
    async fn who_comes_when_all_places_are_taken_waits_for_one() {
        use futures::FutureExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let Ok(Bound::Listening(listener, _place)) = bind(&path, false) else { panic!() };
        listener.set_nonblocking(true).unwrap();
        let life = Lifecycle::new(std::time::Duration::ZERO);
        let listener = UnixListener::from_std(listener).unwrap();
        let porter = Porter { listener, life: life.clone(), is_handed: false, most: 2 };
        let clients: Vec<_> = (0..3).map(|_| StdStream::connect(&path).unwrap()).collect();
        let (first, second) = (porter.next().await, porter.next().await);
        assert_eq!(life.connections(), 2);
        assert!(porter.next().now_or_never().is_none());
        drop(first);
        let third = porter.next().await;
        assert_eq!(life.connections(), 2);
        drop((second, third, clients));
        assert_eq!(life.connections(), 0);
    }

    #[tokio::test]
    async fn the_queue_of_a_handed_socket_is_left_to_the_next_daemon() {
        use futures::StreamExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let Ok(Bound::Listening(kept, _place)) = bind(&path, false) else { panic!() };
        kept.set_nonblocking(true).unwrap();
        let life = Lifecycle::new(std::time::Duration::ZERO);
        let listener = UnixListener::from_std(kept.try_clone().unwrap()).unwrap();
        let mut incoming = Box::pin(accept(listener, life.clone(), true));
        let _client = StdStream::connect(&path).unwrap();
        tokio::select! {
            biased;
            () = life.call_last() => {}
            _ = incoming.next() => panic!("let in"),
        }
        drop(incoming);
        assert!(kept.accept().is_ok());
    }
}
