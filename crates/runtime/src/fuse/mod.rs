//! A squashfs served by FUSE: [`mount`] makes a detached mount, [`Session`] answers the kernel.
//!
//! The kernel is told to keep all it learns for the life of the mount: what is served never
//! changes. So a file that was read once is read again without a request. (`design.md` §8.)
//!
//! Not here: whose mount it is and for how long (`holder`), the format (`orlop-squashfs`).

mod attributes;
mod blocks;
mod filesystem;
mod generations;
mod inodes;
mod maps;

use std::ffi::CStr;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::thread::JoinHandle;

use fuser::SessionACL;
use orlop_squashfs::Reader;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

pub(crate) use blocks::Blocks;
use filesystem::SquashfsFilesystem;

/// The device.
const DEVICE: &CStr = c"/dev/fuse";

/// How a squashfs is served.
#[derive(Clone, Debug)]
pub struct Options {
    /// Owner of everything, as the mount's user namespace numbers it.
    pub uid: u32,
    /// Group of everything, likewise.
    pub gid: u32,
    /// Threads that answer the kernel.
    pub threads: NonZeroUsize,
    /// Bytes of decompressed blocks to keep: what the kernel has not asked for yet.
    pub block_bytes: usize,
}

impl Options {
    /// Everything owned by `uid` and `gid`; a thread a processor, but two at least; 64 MiB.
    #[must_use]
    pub fn new(uid: u32, gid: u32) -> Self {
        let two = NonZeroUsize::MIN.saturating_add(1);
        let threads = std::thread::available_parallelism().map_or(two, |count| count.max(two));
        Self { uid, gid, threads, block_bytes: 64 << 20 }
    }
}

/// `/dev/fuse`, to be opened in the user namespace that the mount shall belong to.
///
/// # Errors
/// The system's: `NotFound`, `PermissionDenied` or ENODEV when there is no FUSE to be had.
pub fn open_device() -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

/// Mounts FUSE on `device`, attached nowhere: read-only, nosuid, nodev, open to every user of the
/// mount's user namespace. The kernel waits for [`Session::start`].
///
/// # Errors
/// The system's.
pub fn mount(device: &OwnedFd) -> io::Result<OwnedFd> {
    let context = fsopen(c"fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let context = context.as_fd();
    fsconfig_set_string(context, c"source", c"orlop")?;
    fsconfig_set_string(context, c"subtype", c"orlop")?;
    fsconfig_set_string(context, c"fd", device.as_raw_fd().to_string())?;
    fsconfig_set_string(context, c"rootmode", c"40000")?;
    // These two own the connection, not the files.
    fsconfig_set_string(context, c"user_id", rustix::process::getuid().as_raw().to_string())?;
    fsconfig_set_string(context, c"group_id", rustix::process::getgid().as_raw().to_string())?;
    fsconfig_set_flag(context, c"allow_other")?;
    fsconfig_set_flag(context, c"ro")?;
    fsconfig_create(context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// A squashfs being served, until no copy of its mount is left.
#[derive(Debug)]
pub struct Session {
    threads: JoinHandle<io::Result<()>>,
}

impl Session {
    /// Answers the kernel's requests on `device`, which is mounted, from threads of its own, and
    /// keeps `alive` until the last request is answered.
    ///
    /// # Errors
    /// The system's; `Unsupported` for a kernel that is too old.
    pub fn start<T: Send + 'static>(
        reader: Reader,
        device: OwnedFd,
        options: &Options,
        alive: T,
    ) -> io::Result<Self> {
        let mut config = fuser::Config::default();
        config.acl = SessionACL::All;
        config.n_threads = Some(options.threads.get());
        let filesystem = SquashfsFilesystem::new(reader, options);
        let session = fuser::Session::from_fd(filesystem, device, SessionACL::All, config)?;
        let threads = std::thread::Builder::new().name("fuse".to_owned()).spawn(move || {
            let outcome = session.run();
            drop(alive);
            outcome
        })?;
        Ok(Self { threads })
    }

    /// Waits until the kernel says that no copy of the mount is left.
    ///
    /// # Errors
    /// The system's, when the session ended for another reason.
    pub fn wait(self) -> io::Result<()> {
        self.threads.join().unwrap_or_else(|_| Err(io::Error::other("a FUSE thread panicked")))
    }
}
