//! The system calls that can be watched, by name, with which of their arguments are files.

use nix::libc;

/// Which argument names a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// A path, by its address.
    Path(usize),
    /// A descriptor.
    Fd(usize),
    /// Nothing.
    Nothing,
}

/// A system call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its name, as manuals have it.
    pub name: &'static str,
    /// Its number on this machine.
    pub number: i64,
    pub(super) files: [Names; 2],
}

impl Call {
    /// The call of this name.
    ///
    /// # Panics
    /// When there is none in [`CALLS`].
    #[must_use]
    pub fn named(name: &str) -> Self {
        let found = CALLS.iter().find(|call| call.name == name);
        *found.unwrap_or_else(|| panic!("{name} is no call that can be watched here"))
    }

    pub(super) fn numbered(number: i64) -> Option<Self> {
        CALLS.iter().find(|call| call.number == number).copied()
    }
}

macro_rules! calls {
    ($($(#[$only:meta])* $name:ident = $constant:ident: $first:expr, $second:expr;)*) => {
        &[$($(#[$only])* Call {
            name: stringify!($name), number: libc::$constant, files: [$first, $second],
        },)*]
    };
}

use Names::{Fd, Nothing, Path};

/// All calls that can be watched.
pub const CALLS: &[Call] = calls! {
    openat = SYS_openat: Path(1), Nothing;
    openat2 = SYS_openat2: Path(1), Nothing;
    read = SYS_read: Fd(0), Nothing;
    pread64 = SYS_pread64: Fd(0), Nothing;
    readv = SYS_readv: Fd(0), Nothing;
    preadv = SYS_preadv: Fd(0), Nothing;
    write = SYS_write: Fd(0), Nothing;
    pwrite64 = SYS_pwrite64: Fd(0), Nothing;
    writev = SYS_writev: Fd(0), Nothing;
    pwritev = SYS_pwritev: Fd(0), Nothing;
    copy_file_range = SYS_copy_file_range: Fd(2), Fd(0);
    sendfile = SYS_sendfile: Fd(0), Fd(1);
    splice = SYS_splice: Fd(2), Fd(0);
    ioctl = SYS_ioctl: Fd(0), Nothing;
    fsync = SYS_fsync: Fd(0), Nothing;
    fdatasync = SYS_fdatasync: Fd(0), Nothing;
    sync_file_range = SYS_sync_file_range: Fd(0), Nothing;
    syncfs = SYS_syncfs: Fd(0), Nothing;
    renameat2 = SYS_renameat2: Path(3), Path(1);
    renameat = SYS_renameat: Path(3), Path(1);
    linkat = SYS_linkat: Path(3), Path(1);
    symlinkat = SYS_symlinkat: Path(2), Path(0);
    unlinkat = SYS_unlinkat: Path(1), Nothing;
    mkdirat = SYS_mkdirat: Path(1), Nothing;
    ftruncate = SYS_ftruncate: Fd(0), Nothing;
    fallocate = SYS_fallocate: Fd(0), Nothing;
    flock = SYS_flock: Fd(0), Nothing;
    fcntl = SYS_fcntl: Fd(0), Nothing;
    close = SYS_close: Fd(0), Nothing;
    statx = SYS_statx: Path(1), Fd(0);
    newfstatat = SYS_newfstatat: Path(1), Fd(0);
    fstat = SYS_fstat: Fd(0), Nothing;
    statfs = SYS_statfs: Path(0), Nothing;
    fstatfs = SYS_fstatfs: Fd(0), Nothing;
    faccessat = SYS_faccessat: Path(1), Nothing;
    faccessat2 = SYS_faccessat2: Path(1), Nothing;
    readlinkat = SYS_readlinkat: Path(1), Nothing;
    fchmod = SYS_fchmod: Fd(0), Nothing;
    fchmodat = SYS_fchmodat: Path(1), Nothing;
    utimensat = SYS_utimensat: Path(1), Fd(0);
    fgetxattr = SYS_fgetxattr: Fd(0), Nothing;
    getdents64 = SYS_getdents64: Fd(0), Nothing;
    lseek = SYS_lseek: Fd(0), Nothing;
    chdir = SYS_chdir: Path(0), Nothing;
    fchdir = SYS_fchdir: Fd(0), Nothing;
    getcwd = SYS_getcwd: Nothing, Nothing;
    memfd_create = SYS_memfd_create: Nothing, Nothing;
    pipe2 = SYS_pipe2: Nothing, Nothing;
    dup = SYS_dup: Fd(0), Nothing;
    dup3 = SYS_dup3: Fd(0), Nothing;
    socket = SYS_socket: Nothing, Nothing;
    socketpair = SYS_socketpair: Nothing, Nothing;
    bind = SYS_bind: Fd(0), Nothing;
    listen = SYS_listen: Fd(0), Nothing;
    connect = SYS_connect: Fd(0), Nothing;
    accept4 = SYS_accept4: Fd(0), Nothing;
    sendto = SYS_sendto: Fd(0), Nothing;
    recvfrom = SYS_recvfrom: Fd(0), Nothing;
    sendmsg = SYS_sendmsg: Fd(0), Nothing;
    recvmsg = SYS_recvmsg: Fd(0), Nothing;
    getsockopt = SYS_getsockopt: Fd(0), Nothing;
    setsockopt = SYS_setsockopt: Fd(0), Nothing;
    getsockname = SYS_getsockname: Fd(0), Nothing;
    getpeername = SYS_getpeername: Fd(0), Nothing;
    shutdown = SYS_shutdown: Fd(0), Nothing;
    epoll_create1 = SYS_epoll_create1: Nothing, Nothing;
    epoll_ctl = SYS_epoll_ctl: Fd(2), Nothing;
    epoll_pwait = SYS_epoll_pwait: Fd(0), Nothing;
    ppoll = SYS_ppoll: Nothing, Nothing;
    eventfd2 = SYS_eventfd2: Nothing, Nothing;
    // Not mmap: where a thread gets no memory for its stack, the standard library itself aborts.
    clone = SYS_clone: Nothing, Nothing;
    clone3 = SYS_clone3: Nothing, Nothing;
    execve = SYS_execve: Path(0), Nothing;
    wait4 = SYS_wait4: Nothing, Nothing;
    waitid = SYS_waitid: Nothing, Nothing;
    pidfd_open = SYS_pidfd_open: Nothing, Nothing;
    mount = SYS_mount: Path(1), Path(0);
    umount2 = SYS_umount2: Path(0), Nothing;
    pivot_root = SYS_pivot_root: Path(0), Nothing;
    open_tree = SYS_open_tree: Path(1), Nothing;
    move_mount = SYS_move_mount: Path(3), Nothing;
    mount_setattr = SYS_mount_setattr: Path(1), Nothing;
    setns = SYS_setns: Fd(0), Nothing;
    unshare = SYS_unshare: Nothing, Nothing;
    getrandom = SYS_getrandom: Nothing, Nothing;
    #[cfg(target_arch = "x86_64")] open = SYS_open: Path(0), Nothing;
    #[cfg(target_arch = "x86_64")] stat = SYS_stat: Path(0), Nothing;
    #[cfg(target_arch = "x86_64")] lstat = SYS_lstat: Path(0), Nothing;
    #[cfg(target_arch = "x86_64")] access = SYS_access: Path(0), Nothing;
    #[cfg(target_arch = "x86_64")] readlink = SYS_readlink: Path(0), Nothing;
    #[cfg(target_arch = "x86_64")] rename = SYS_rename: Path(1), Path(0);
    #[cfg(target_arch = "x86_64")] link = SYS_link: Path(1), Path(0);
    #[cfg(target_arch = "x86_64")] symlink = SYS_symlink: Path(1), Path(0);
    #[cfg(target_arch = "x86_64")] unlink = SYS_unlink: Path(0), Nothing;
    #[cfg(target_arch = "x86_64")] mkdir = SYS_mkdir: Path(0), Nothing;
    #[cfg(target_arch = "x86_64")] rmdir = SYS_rmdir: Path(0), Nothing;
    #[cfg(target_arch = "x86_64")] chmod = SYS_chmod: Path(0), Nothing;
    #[cfg(target_arch = "x86_64")] poll = SYS_poll: Nothing, Nothing;
    #[cfg(target_arch = "x86_64")] epoll_wait = SYS_epoll_wait: Fd(0), Nothing;
    #[cfg(target_arch = "x86_64")] dup2 = SYS_dup2: Fd(0), Nothing;
};

/// Renames and links: after them a name shows something new.
pub(super) const NAMING: [&str; 5] = ["renameat2", "renameat", "linkat", "rename", "link"];

/// The calls that give away whether a name is there.
pub(super) const LOOKING: [&str; 10] = [
    "openat",
    "openat2",
    "statx",
    "newfstatat",
    "faccessat",
    "faccessat2",
    "open",
    "stat",
    "lstat",
    "access",
];

/// The call by which the standard library of Rust begins, before `main`.
#[cfg(target_arch = "x86_64")]
pub(super) const BEGINNING: i64 = libc::SYS_poll;
#[cfg(not(target_arch = "x86_64"))]
pub(super) const BEGINNING: i64 = libc::SYS_ppoll;
