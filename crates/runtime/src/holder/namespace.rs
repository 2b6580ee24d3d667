//! The holder's own user and mount namespace.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags, fstatvfs, openat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change,
    mount_remount, move_mount, open_tree, unmount,
};
use rustix::thread::UnshareFlags;

use super::Mapping;

/// Enters a new user and mount namespace, with one user and one group mapped, and returns the user
/// namespace. The process must have one thread.
///
/// # Errors
/// The system's: EPERM, ENOSPC and EUSERS mean that the machine allows no user namespaces.
#[expect(unsafe_code, reason = "rustix's unshare")]
pub(super) fn enter(mapping: Mapping) -> io::Result<OwnedFd> {
    let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNS;
    // SAFETY: the table of descriptors, which alone threads could miss, is not among the flags.
    unsafe { rustix::thread::unshare_unsafe(flags)? };
    let Mapping { uid, gid, inside_uid, inside_gid } = mapping;
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("{inside_uid} {uid} 1"))?;
    write("/proc/self/gid_map", &format!("{inside_gid} {gid} 1"))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    Ok(openat(CWD, "/proc/self/ns/user", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// One `write`: the kernel takes a map in one piece.
fn write(path: &str, text: &str) -> io::Result<()> {
    let file = openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, text.as_bytes())?;
    Ok(())
}

/// Attaches a detached mount over the root directory: before Linux 6.15 a detached mount cannot be
/// copied. What this process looks up from `/` is still found below the mount. A directory that
/// somebody may remove, such as the cache, would take the mount with it (mount_namespaces(7),
/// "Restrictions on mount namespaces": what is removed is unmounted elsewhere).
///
/// # Errors
/// The system's.
pub(super) fn attach(mount: &OwnedFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(move_mount(mount, "", CWD, "/", flags)?)
}

/// Attaches a read-only, nosuid, nodev mount of a directory over the directory itself, and returns
/// it. The path is relative to the current directory.
///
/// # Errors
/// The system's.
pub(super) fn attach_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, path, flags)?;
    move_mount(&mount, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    // What another namespace locked must be kept.
    if fstatvfs(&mount)?.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        flags |= MountFlags::NOEXEC;
    }
    mount_remount(path, flags, "")?;
    Ok(mount)
}

/// A detached copy of a mount that [`attach`] attached.
///
/// # Errors
/// The system's.
pub(super) fn copy(mount: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(mount, "", flags)?)
}

/// Detaches a mount that [`attach`] attached, and forgets it: the copies go on.
///
/// # Errors
/// The system's.
pub(super) fn detach(mount: OwnedFd) -> io::Result<()> {
    Ok(unmount(format!("/proc/self/fd/{}", mount.as_raw_fd()), UnmountFlags::DETACH)?)
}
