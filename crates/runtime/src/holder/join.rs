//! The caller's side: join the holder of an image, or start one.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use super::image::Source;
use super::key::{Key, digest};
use super::message::{Answer, Join, Parts, Start, Step, receive, send};
use super::place::{Found, Place, is_gone};
use super::{Error, Image, Scope};

/// Holders that end just as they are asked, until it is given up.
const ATTEMPTS: usize = 8;

/// A joined holder. It counts this process as a user until the process ends, across `execve`.
#[derive(Debug)]
#[must_use]
pub struct Holder {
    /// The user namespace: the caller enters it (`setns`) before it makes a mount namespace of its
    /// own.
    pub user_namespace: OwnedFd,
    /// A detached copy of the image's mount, read-only, nosuid, nodev; for `move_mount`.
    pub mount: OwnedFd,
    /// How the holder came to be.
    pub origin: Origin,
    /// Whether the image is an unpacked directory of the cache, for want of `/dev/fuse`.
    pub is_unpacked: bool,
}

/// How a holder came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// It was there.
    Joined,
    /// This call started it.
    Started,
    /// This call started it, because the one that was there did not answer: worth a warning.
    Replaced,
}

/// Who the caller is inside the user namespace. One user and one group are mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// The caller's effective user id.
    pub uid: u32,
    /// The caller's effective group id.
    pub gid: u32,
    /// What `uid` is inside: the same, or 0.
    pub inside_uid: u32,
    /// What `gid` is inside: the same, or 0.
    pub inside_gid: u32,
}

impl Mapping {
    /// This process's effective ids, the same inside.
    #[must_use]
    pub fn of_caller() -> Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self { uid, gid, inside_uid: uid, inside_gid: gid }
    }
}

/// Where holders are and how they behave.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The socket directory: of the caller, mode 0700, checked by the caller. `holders/` is made
    /// in it.
    pub socket_directory: PathBuf,
    /// Who the caller is inside.
    pub mapping: Mapping,
    /// The cache, in whose `unpacked/` the image is unpacked when FUSE cannot be used. None:
    /// [`Error::NoFuse`] then.
    pub unpack_into: Option<PathBuf>,
    /// How long a holder takes joins after its last user. 60 s.
    pub grace: Duration,
    /// How long to wait for a holder's answer. 30 s.
    pub wait: Duration,
    /// Program to run as holder, and arguments that come before [`super::HOLDER_ARGUMENT`]. This
    /// program.
    pub program: (PathBuf, Vec<OsString>),
}

impl Options {
    /// The defaults, for holders in `socket_directory`.
    #[must_use]
    pub fn new(socket_directory: &Path, mapping: Mapping) -> Self {
        Self {
            socket_directory: socket_directory.to_owned(),
            mapping,
            unpack_into: None,
            grace: Duration::from_secs(60),
            wait: Duration::from_secs(30),
            program: (PathBuf::from("/proc/self/exe"), Vec::new()),
        }
    }
}

/// Joins the holder of `image` in `scope`, and starts it if there is none.
///
/// # Errors
/// Each of [`Error`]; nothing is left behind.
pub fn join_or_start(image: &Image, scope: &Scope, options: &Options) -> Result<Holder, Error> {
    let key = Key::new(image, options.mapping, scope)?;
    let place = Place::open(&options.socket_directory, key.as_str())?;
    let mut hangs = None;
    for _ in 0..ATTEMPTS {
        let found = if hangs.is_none() { place.connect(options.wait)? } else { Found::Nobody };
        let (connection, id) = match found {
            Found::Connection(connection, id) => (connection, id),
            Found::Nobody => match place.claim(hangs, options.wait)? {
                Err((connection, id)) => (connection, id),
                Ok(listener) => {
                    let origin = if hangs.is_some() { Origin::Replaced } else { Origin::Started };
                    return start(image, &place, &listener, options, origin);
                }
            },
        };
        match join(&connection, Origin::Joined) {
            Err(Error::Socket { cause, .. }) if is_gone(&cause) => hangs = None,
            Err(Error::Silent) => hangs = Some(id),
            other => return other,
        }
    }
    Err(Error::Silent)
}

/// Asks a holder for its mount.
fn join(connection: &OwnedFd, origin: Origin) -> Result<Holder, Error> {
    let pidfd = own_pidfd().map_err(|cause| Error::Start { cause })?;
    send(connection, &Join, &[pidfd.as_fd()]).map_err(lost)?;
    answer(connection, origin)
}

fn start(
    image: &Image,
    place: &Place,
    listener: &OwnedFd,
    options: &Options,
    origin: Origin,
) -> Result<Holder, Error> {
    let started = spawn(options).and_then(|socket| {
        set_socket_timeout(&socket, Timeout::Recv, Some(options.wait))?;
        set_socket_timeout(&socket, Timeout::Send, Some(options.wait))?;
        send_start(&socket, image, place, listener, options)?;
        Ok(socket)
    });
    let socket = started.map_err(|cause| Error::Start { cause })?;
    match answer(&socket, origin) {
        Err(Error::Socket { cause, .. }) => Err(Error::Start { cause }),
        other => other,
    }
}

/// Runs the program as a holder that is no child of this process; its end of the socket is its
/// standard input.
fn spawn(options: &Options) -> io::Result<OwnedFd> {
    let (socket, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let (program, arguments) = &options.program;
    let mut child = Command::new(program)
        .arg0("orlop")
        .args(arguments)
        .arg(super::HOLDER_ARGUMENT)
        .env_clear()
        .stdin(theirs)
        .stdout(Stdio::null())
        .spawn()?;
    // It forks and ends at once. Where SIGCHLD is ignored there is nothing to wait for.
    let _reaped = child.wait();
    Ok(socket)
}

/// The cache, made with its parents when missing. None where that cannot be:
/// with FUSE it is not needed.
fn open_or_make(path: &Path) -> Option<File> {
    use std::os::unix::fs::DirBuilderExt as _;
    File::open(path)
        .or_else(|_| {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            File::open(path)
        })
        .ok()
}

fn send_start(
    socket: &OwnedFd,
    image: &Image,
    place: &Place,
    listener: &OwnedFd,
    options: &Options,
) -> io::Result<()> {
    let pidfd = own_pidfd()?;
    let mut descriptors = vec![place.directory.as_fd(), listener.as_fd(), pidfd.as_fd()];
    let cache = options.unpack_into.as_deref().and_then(open_or_make);
    descriptors.extend(cache.as_ref().map(AsFd::as_fd));
    let stay = image.stay.as_ref();
    descriptors.extend(stay.map(|(directory, _)| directory.as_fd()));
    let parts = match &image.source {
        Source::File { file, offset, length } => {
            descriptors.push(file.as_fd());
            Parts::File { offset: *offset, length: *length }
        }
        Source::Recipe { recipe, segments } => {
            descriptors.extend(std::iter::once(recipe).chain(segments).map(AsFd::as_fd));
            Parts::Recipe
        }
    };
    let start = Start {
        socket: place.socket.clone(),
        mapping: options.mapping,
        grace_ms: u64::try_from(options.grace.as_millis()).unwrap_or(u64::MAX),
        unpacked: cache.is_some().then(|| digest(&image.identity)),
        image: parts,
        stay: stay.map(|(_, names)| names.clone()),
    };
    send(socket, &start, &descriptors)
}

/// Waits for what a holder says.
fn answer(socket: &OwnedFd, origin: Origin) -> Result<Holder, Error> {
    loop {
        let (answer, descriptors) = receive::<Answer>(socket).map_err(lost)?;
        match answer {
            Answer::Working => {}
            Answer::Failed { step, errno, message } => return Err(failed(step, errno, message)),
            Answer::Ready { is_unpacked } => {
                let mut descriptors = descriptors.into_iter();
                return match (descriptors.next(), descriptors.next()) {
                    (Some(user_namespace), Some(mount)) => {
                        Ok(Holder { user_namespace, mount, origin, is_unpacked })
                    }
                    _ => Err(lost(io::ErrorKind::InvalidData.into())),
                };
            }
        }
    }
}

fn failed(step: Step, errno: Option<i32>, message: String) -> Error {
    let cause = errno.map(io::Error::from_raw_os_error);
    match (step, cause) {
        (Step::UserNamespace, Some(cause)) => Error::UserNamespace { cause },
        (Step::Fuse, Some(cause)) => Error::NoFuse { cause },
        (Step::Gone, _) => Error::Gone,
        _ => Error::Holder { message },
    }
}

fn lost(cause: io::Error) -> Error {
    if cause.kind() == io::ErrorKind::WouldBlock {
        return Error::Silent;
    }
    Error::Socket { what: "talking to the mount holder", cause }
}

fn own_pidfd() -> io::Result<OwnedFd> {
    Ok(pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?)
}
