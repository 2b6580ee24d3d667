//! The caller's side: join the holder of an image, or start one.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, Image, Scope};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// `unpacked/` of the cache, made when missing: where the image is unpacked when there is no
    /// `/dev/fuse`. None: [`Error::NoFuse`].
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
            grace: Duration::from_mins(1),
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
    let _ = (image, scope, options);
    Err(Error::Silent)
}
