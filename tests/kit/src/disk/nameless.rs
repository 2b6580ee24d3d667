//! Files without a name (`O_TMPFILE`): what the kernel asks for them goes to the served files as a
//! making of `/`, which nothing else can be called.
//!
//! The FUSE library does not know this request (`FUSE_TMPFILE`, Linux 6.1), which is that of a
//! making (`FUSE_CREATE`) but for its number: each request is carried through a pair of sockets and
//! that number is changed on the way. Not here: the files ([`super::serve`]).

use crate::person::Person;
use fuser::{Config, SessionACL};
use nix::mount::MsFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::Arc;

/// What a file without a name is called in a request to make it (`vfs_tmpfile` in Linux).
pub(super) const NO_NAME: &str = "/";

/// Most bytes of a read or a write, so that each request and each answer is one packet.
pub(super) const MOST: u32 = 128 << 10;

/// Most bytes of a packet: those of a read or a write, and more than any header.
const PACKET: usize = MOST as usize + 4096;

const FUSE_CREATE: u32 = 35;
const FUSE_TMPFILE: u32 = 51;

/// Where a request has its number.
const NUMBER: std::ops::Range<usize> = 4..8;

/// Whether this process may mount without help, and so stand between the kernel and the library.
pub(super) fn is_possible() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a request to make this is one for a file without a name.
pub(super) fn is_nameless(name: &OsStr) -> bool {
    name == NO_NAME
}

/// Mounts the served files on a directory, for everybody where that is not this process's own user.
pub(super) fn mount<F: fuser::Filesystem + Send + 'static>(
    served: F,
    at: &Path,
    person: Person,
) -> std::io::Result<fuser::BackgroundSession> {
    let device = File::options().read(true).write(true).open("/dev/fuse")?;
    let all = if person == Person::own() { "" } else { ",allow_other" };
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,max_read={MOST}{all}",
        device.as_raw_fd()
    );
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    nix::mount::mount(Some("orlop-kit"), at, Some("fuse"), flags, Some(options.as_str()))?;
    let none = SockFlag::SOCK_CLOEXEC;
    let (library, own) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, none)?;
    carry(Arc::new(device), File::from(own))?;
    let mut config = Config::default();
    config.acl = if all.is_empty() { SessionACL::Owner } else { SessionACL::All };
    fuser::Session::from_fd(served, library, config.acl, config)?.spawn()
}

/// Carries requests and answers until the mount is gone.
fn carry(device: Arc<File>, own: File) -> std::io::Result<()> {
    let (answers, kernel) = (own.try_clone()?, Arc::clone(&device));
    let requests = move || {
        let mut packet = vec![0; PACKET];
        loop {
            match (&*device).read(&mut packet) {
                Ok(count) => {
                    change_number(&mut packet[..count]);
                    if (&own).write_all(&packet[..count]).is_err() {
                        break;
                    }
                }
                Err(cause) if is_passing(&cause) => {}
                Err(_) => break,
            }
        }
        // The library ends as it reads no more.
        let _ended = rustix::net::shutdown(&own, rustix::net::Shutdown::Both);
    };
    std::thread::Builder::new().name("disk-asks".to_owned()).spawn(requests)?;
    let answer = move || {
        let mut packet = vec![0; PACKET];
        while let Ok(count @ 1..) = (&answers).read(&mut packet) {
            // An answer to who was interrupted is wanted by nobody.
            let _answered = (&*kernel).write_all(&packet[..count]);
        }
    };
    std::thread::Builder::new().name("disk-answers".to_owned()).spawn(answer)?;
    Ok(())
}

/// Of a device: the request that was there is gone, or nothing came.
fn is_passing(cause: &std::io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(nix::libc::ENOENT | nix::libc::EINTR | nix::libc::EAGAIN))
}

fn change_number(request: &mut [u8]) {
    if let Some(number) = request.get_mut(NUMBER)
        && *number == FUSE_TMPFILE.to_ne_bytes()
    {
        number.copy_from_slice(&FUSE_CREATE.to_ne_bytes());
    }
}
