//! Where a holder listens: `holders/<key>.sock` in the socket directory.
//!
//! Whoever starts a holder binds the socket itself and hands it over, so the next caller connects
//! at once and waits there instead of starting another. A lock guards only the moment in which a
//! dead socket is replaced or a living one taken away; nothing waits while it holds it.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, flock, fstat, mkdirat, openat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

use super::Error;

/// Callers that may wait for a holder to answer, more or less: the kernel's `somaxconn` limits it.
const BACKLOG: i32 = 4096;

/// The name of a holder's socket, in its directory.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: OwnedFd,
    pub(super) socket: String,
}

/// Tells one socket file from its successor of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SocketId(u64);

/// What [`Place::connect`] found.
#[derive(Debug)]
pub(super) enum Found {
    /// A holder, or one that is being started, or one that hangs.
    Connection(OwnedFd, SocketId),
    /// No socket, or one that nobody listens on.
    Nobody,
}

impl Place {
    /// The place of this key; makes `holders/` where it is missing.
    ///
    /// # Errors
    /// [`Error::Socket`].
    pub(super) fn open(socket_directory: &Path, key: &str) -> Result<Self, Error> {
        let failed = |errno: Errno| Error::Socket {
            what: "opening the directory of the mount holders' sockets",
            cause: errno.into(),
        };
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY | OFlags::NOFOLLOW;
        let path = socket_directory.join("holders");
        let directory = match openat(CWD, &path, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                match mkdirat(CWD, &path, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(failed(errno)),
                }
                openat(CWD, &path, flags, Mode::empty())
            }
            other => other,
        };
        let directory = directory.map_err(failed)?;
        let status = fstat(&directory).map_err(failed)?;
        if status.st_uid != rustix::process::geteuid().as_raw() {
            return Err(failed(Errno::PERM));
        }
        Ok(Self { directory, socket: format!("{key}.sock") })
    }

    /// Connects, if anyone listens. `wait` is the time limit of connecting and of each answer.
    ///
    /// # Errors
    /// [`Error::Socket`].
    pub(super) fn connect(&self, wait: Duration) -> Result<Found, Error> {
        self.try_connect(wait).map_err(|cause| Error::Socket {
            what: "connecting to the mount holder",
            cause: cause.into(),
        })
    }

    fn try_connect(&self, wait: Duration) -> Result<Found, Errno> {
        let Some(id) = self.id() else { return Ok(Found::Nobody) };
        let socket = new_socket()?;
        set_socket_timeout(&socket, Timeout::Send, Some(wait))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(wait))?;
        match connect(&socket, &self.address()?) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::CONNREFUSED) => return Ok(Found::Nobody),
            Err(errno) => return Err(errno),
        }
        // Whoever called listen: another user cannot, in a directory of mode 0700.
        if socket_peercred(&socket)?.uid != rustix::process::geteuid() {
            return Err(Errno::PERM);
        }
        Ok(Found::Connection(socket, id))
    }

    /// Binds the socket, in place of one that nobody listens on or of the one that `hangs`, unless
    /// someone else was faster.
    ///
    /// # Errors
    /// [`Error::Socket`].
    pub(super) fn claim(
        &self,
        hangs: Option<SocketId>,
        wait: Duration,
    ) -> Result<Result<OwnedFd, (OwnedFd, SocketId)>, Error> {
        let failed = |errno: Errno| Error::Socket {
            what: "making the mount holder's socket",
            cause: errno.into(),
        };
        let _lock = self.lock().map_err(failed)?;
        if (hangs.is_none() || hangs != self.id())
            && let Found::Connection(connection, id) = self.connect(wait)?
        {
            return Ok(Err((connection, id)));
        }
        self.bind().map(Ok).map_err(failed)
    }

    fn bind(&self) -> Result<OwnedFd, Errno> {
        match unlinkat(&self.directory, &self.socket, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        let listener = new_socket()?;
        bind(&listener, &self.address()?)?;
        listen(&listener, BACKLOG)?;
        Ok(listener)
    }

    /// The lock of all sockets of the directory, until the descriptor is closed.
    pub(super) fn lock(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lock = openat(&self.directory, "lock", flags, Mode::RUSR | Mode::WUSR)?;
        rustix::io::retry_on_intr(|| flock(&lock, FlockOperation::LockExclusive))?;
        Ok(lock)
    }

    /// The socket file that has the name now.
    pub(super) fn id(&self) -> Option<SocketId> {
        let status = statat(&self.directory, &self.socket, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(SocketId(status.st_ino))
    }

    /// Removes the socket file, if it is this one. The caller has the lock.
    pub(super) fn remove(&self, id: Option<SocketId>) {
        if id.is_some() && id == self.id() {
            // Left behind it is a dead socket, which the next starter replaces.
            let _left = unlinkat(&self.directory, &self.socket, AtFlags::empty());
        }
    }

    /// By the directory's descriptor: a socket's path has 107 bytes at most.
    fn address(&self) -> Result<SocketAddrUnix, Errno> {
        let directory = self.directory.as_raw_fd();
        SocketAddrUnix::new(format!("/proc/self/fd/{directory}/{}", self.socket))
    }
}

fn new_socket() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Whether an error says that the other side went away.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
    )
}
