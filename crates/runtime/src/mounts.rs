//! The mount calls that are needed, each as one function over descriptors.
//!
//! New-style mounts (Linux 5.2; attributes 5.12): a mount is a descriptor first and gets its place
//! last, so that no path is followed twice.
//!
//! Not here: which mounts ([`crate::plan`]), places inside ([`crate::tree`]).

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::libc;
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

/// What a mount forbids.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attributes {
    pub(crate) read_only: bool,
    pub(crate) no_devices: bool,
    pub(crate) no_setuid: bool,
    pub(crate) no_exec: bool,
}

/// A bind's attributes: no setuid, no devices.
pub(crate) const BIND: Attributes =
    Attributes { read_only: false, no_devices: true, no_setuid: true, no_exec: false };

/// Makes every mount of this namespace private, so that nothing done here is seen elsewhere.
pub(crate) fn make_private() -> io::Result<()> {
    use nix::mount::{MsFlags, mount};
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&CStr>, c"/", None::<&CStr>, flags, None::<&CStr>).map_err(io::Error::from)
}

/// A copy of what is mounted at a path, and of all that is mounted below.
pub(crate) fn copy_tree(source: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(source, c"", flags)?)
}

/// A new file system of a kind, with options; a value of nothing is a flag.
pub(crate) fn new(
    kind: &str,
    options: &[(&str, Option<&Path>)],
    attributes: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        match value {
            Some(value) => fsconfig_set_string(context.as_fd(), *key, *value)?,
            None => fsconfig_set_flag(context.as_fd(), *key)?,
        }
    }
    fsconfig_create(context.as_fd())?;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Gives a mount its place.
pub(crate) fn attach(mount: BorrowedFd<'_>, at: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, c"", at, c"", flags)?)
}

/// Gives a mount its place on a path of the host.
pub(crate) fn attach_at(mount: BorrowedFd<'_>, at: &Path) -> io::Result<()> {
    Ok(move_mount(mount, c"", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// `struct mount_attr` of the kernel.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Forbids more to a mount; with `below`, to all mounts below it too.
#[expect(unsafe_code, reason = "no safe wrapper of mount_setattr")]
pub(crate) fn restrict(mount: BorrowedFd<'_>, what: Attributes, below: bool) -> io::Result<()> {
    let set = [
        (what.read_only, libc::MOUNT_ATTR_RDONLY),
        (what.no_setuid, libc::MOUNT_ATTR_NOSUID),
        (what.no_devices, libc::MOUNT_ATTR_NODEV),
        (what.no_exec, libc::MOUNT_ATTR_NOEXEC),
    ];
    let set = set.into_iter().filter(|(wanted, _)| *wanted).fold(0, |all, (_, flag)| all | flag);
    let attributes = MountAttr { set, ..MountAttr::default() };
    let flags = libc::AT_EMPTY_PATH | if below { libc::AT_RECURSIVE } else { 0 };
    let empty = CString::default();
    // SAFETY: the descriptor is open, the path is a C string and the structure has the size given;
    // the kernel only reads both.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            empty.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
