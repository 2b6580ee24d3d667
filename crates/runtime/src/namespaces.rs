//! Namespaces: a user namespace of one's own, or the holder's, and those beyond.
//!
//! Not here: mounts ([`crate::enter`]); the parent that waits ([`crate::supervise`]).

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Knob};
use crate::wanted::Namespaces;

/// The setting of this machine that keeps users from making user namespaces, if one does.
#[must_use]
pub fn refused_by() -> Option<Knob> {
    let is = |name: &str, value: &str| {
        fs::read_to_string(format!("/proc/sys/{name}")).is_ok_and(|text| text.trim() == value)
    };
    if is("kernel/unprivileged_userns_clone", "0") {
        Some(Knob::UnprivilegedClone)
    } else if is("user/max_user_namespaces", "0") {
        Some(Knob::MaxUserNamespaces)
    } else if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        Some(Knob::AppArmor)
    } else {
        None
    }
}

fn no_user_namespace(cause: impl Into<io::Error>) -> Error {
    Error::UserNamespaces { knob: refused_by(), cause: cause.into() }
}

/// A fault of a call that needs rights in the user namespace: with AppArmor's restriction the
/// namespace is made, but without any.
pub(crate) fn denied(what: &str, cause: impl Into<io::Error>) -> Error {
    let cause = cause.into();
    match refused_by() {
        Some(knob) if cause.kind() == io::ErrorKind::PermissionDenied => {
            Error::UserNamespaces { knob: Some(knob), cause }
        }
        _ => Error::setup(what, cause),
    }
}

/// Joins a holder's user namespace.
pub(crate) fn join_user(namespace: impl AsFd) -> Result<(), Error> {
    setns(namespace, CloneFlags::CLONE_NEWUSER)
        .map_err(|errno| Error::setup("cannot join the user namespace of the mount holder", errno))
}

/// Which numbers a new user namespace shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// The caller's own, unchanged.
    Own { uid: u32, gid: u32 },
    /// The caller is root.
    Root { uid: u32, gid: u32 },
}

/// Makes a user namespace and moves into it. Without `mount`, the mount namespace stays.
pub(crate) fn new_user(numbers: Numbers) -> Result<(), Error> {
    let all = (nix::unistd::geteuid().is_root() && matches!(numbers, Numbers::Own { .. }))
        .then(|| (identity("uid_map"), identity("gid_map")));
    unshare(CloneFlags::CLONE_NEWUSER).map_err(no_user_namespace)?;
    let own = own_directory()?;
    if let Some((Some(uids), Some(gids))) = all {
        // Root of this machine may show all the numbers that it sees itself.
        if write(&own, "uid_map", &uids).is_ok() {
            return write(&own, "gid_map", &gids);
        }
    }
    let (uid_map, gid_map) = match numbers {
        Numbers::Own { uid, gid } => (format!("{uid} {uid} 1\n"), format!("{gid} {gid} 1\n")),
        Numbers::Root { uid, gid } => (format!("0 {uid} 1\n"), format!("0 {gid} 1\n")),
    };
    write(&own, "setgroups", "deny")?;
    write(&own, "uid_map", &uid_map)?;
    write(&own, "gid_map", &gid_map)
}

/// `/proc/self`, which names this process after the root has changed as well.
pub(crate) fn own_directory() -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/proc/self", flags, Mode::empty())
        .map_err(|errno| Error::setup("/proc is not mounted", errno))
}

/// Moves into a user and a mount namespace below the ones that were put together, showing the same
/// numbers: who is root there cannot take a mount away that was made before, such as a mask.
///
/// `own`: [`own_directory`], from before the root was changed.
pub(crate) fn lock_mounts(own: &OwnedFd) -> Result<(), Error> {
    let maps = [("uid_map", map(own, "uid_map")?), ("gid_map", map(own, "gid_map")?)];
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).map_err(no_user_namespace)?;
    for (name, text) in maps {
        write(own, name, &text)?;
    }
    Ok(())
}

fn map(own: &OwnedFd, name: &str) -> Result<String, Error> {
    let read = || {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(own, name, flags, Mode::empty())?);
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(text)
    };
    let text =
        read().map_err(|cause: io::Error| Error::setup(format!("cannot read {name}"), cause))?;
    identity_of(&text).ok_or_else(|| Error::setup(format!("cannot read {name}"), Errno::EINVAL))
}

/// This process's own map, each number to itself.
fn identity(map: &str) -> Option<String> {
    identity_of(&fs::read_to_string(format!("/proc/self/{map}")).ok()?)
}

fn identity_of(text: &str) -> Option<String> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace();
        let (inside, _, count) = (fields.next()?, fields.next()?, fields.next()?);
        Some(format!("{inside} {inside} {count}\n"))
    };
    text.lines().map(line).collect()
}

fn write(own: &OwnedFd, name: &str, text: &str) -> Result<(), Error> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(own, name, flags, Mode::empty())
        .map_err(io::Error::from)
        .and_then(|file| File::from(file).write_all(text.as_bytes()))
        .map_err(|cause| denied(&format!("cannot write /proc/self/{name}"), cause))
}

/// Makes the further namespaces. The process itself never moves into a new pid namespace; its
/// children do.
pub(crate) fn new_others(wanted: &Namespaces) -> Result<(), Error> {
    let flags = [
        (wanted.pid, CloneFlags::CLONE_NEWPID),
        (wanted.ipc, CloneFlags::CLONE_NEWIPC),
        (wanted.uts, CloneFlags::CLONE_NEWUTS),
        (wanted.net, CloneFlags::CLONE_NEWNET),
    ];
    let flags = flags
        .into_iter()
        .filter(|(wanted, _)| *wanted)
        .fold(CloneFlags::empty(), |all, (_, flag)| all | flag);
    if !flags.is_empty() {
        unshare(flags).map_err(|errno| denied("cannot make namespaces", errno))?;
    }
    if wanted.net {
        raise_loopback()
            .map_err(|cause| Error::setup("cannot set up the loopback device", cause))?;
    }
    Ok(())
}

/// Makes a mount namespace of one's own, in which nothing is seen by others.
pub(crate) fn new_mount() -> Result<(), Error> {
    unshare(CloneFlags::CLONE_NEWNS)
        .map_err(|errno| denied("cannot make a mount namespace", errno))?;
    crate::mounts::make_private().map_err(|cause| denied("cannot make mounts private", cause))
}

/// Sets the host name of the own UTS namespace.
pub(crate) fn set_hostname(name: &str) -> Result<(), Error> {
    nix::unistd::sethostname(name).map_err(|errno| Error::setup("cannot set the host name", errno))
}

/// Brings `lo` up in the own network namespace.
#[expect(unsafe_code, reason = "an ioctl")]
fn raise_loopback() -> io::Result<()> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    use std::os::fd::AsRawFd as _;

    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut name = [0; libc::IFNAMSIZ];
    for (slot, byte) in name.iter_mut().zip(b"lo") {
        *slot = byte.cast_signed() as libc::c_char;
    }
    let up = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
    let request =
        libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: up } };
    // SAFETY: the socket is open and the request is an ifreq, as this ioctl wants it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
