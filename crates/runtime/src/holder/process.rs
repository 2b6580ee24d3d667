//! The process that becomes a holder.
//!
//! Its standard input is a socket to who started it: [`Start`] comes in, the first [`Answer`] goes
//! out. Nothing else that was inherited is kept: no descriptor, no directory, no terminal. It
//! leaves its parent, so that a payload that takes the starter's place finds no child of ours.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::ForkResult;
use orlop_image::{Recipe, VirtualSif};
use orlop_squashfs::{ReadAt, Reader, Window};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::message::{Answer, Parts, Start, Step, receive, send};
use super::place::Place;
use super::service::{Mount, Service};
use super::stay::{Lease, Segments, Stay};
use super::{Mapping, namespace};
use crate::{fuse, unpack};

/// Until a starter that says nothing is given up.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Characters of a failure that are told.
const MESSAGE_CHARS: usize = 2000;

/// What stopped a holder from becoming one.
struct Failure {
    step: Step,
    cause: Box<dyn std::error::Error>,
}

impl Failure {
    fn new(step: Step) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self { step, cause: cause.into() }
    }

    fn other(cause: impl Into<Box<dyn std::error::Error>>) -> Self {
        Self { step: Step::Other, cause: cause.into() }
    }

    fn system(errno: Errno) -> Self {
        Self::other(io::Error::from(errno))
    }

    fn answer(&self) -> Answer {
        let io_error = self.cause.downcast_ref::<io::Error>();
        let mut message = self.cause.to_string();
        let mut source = self.cause.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        let message = message.chars().take(MESSAGE_CHARS).collect();
        let errno = io_error.and_then(io::Error::raw_os_error);
        Answer::Failed { step: self.step, errno, message }
    }
}

/// Becomes a holder and serves until its last user is gone.
pub(super) fn main() -> ExitCode {
    let Ok(socket) = leave_starter() else { return ExitCode::FAILURE };
    let Some(socket) = socket else { return ExitCode::SUCCESS };
    match hold(socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[expect(unsafe_code, reason = "fork")]
/// Leaves session, terminal, directory and parent of the starter; nothing for the parent.
fn leave_starter() -> io::Result<Option<OwnedFd>> {
    // What std calls itself: the program's file, for this process.
    let _cosmetic = rustix::thread::set_name(c"orlop-holder");
    rustix::process::setsid()?;
    // SAFETY: the process has one thread, so the child may do anything.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { .. } => return Ok(None),
        ForkResult::Child => {}
    }
    close_inherited()?;
    rustix::process::chdir("/")?;
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::net::sockopt::set_socket_timeout(
        &socket,
        rustix::net::sockopt::Timeout::Recv,
        Some(START_LIMIT),
    )?;
    Ok(Some(socket))
}

/// Closes what the starter's caller gave it and it does not know of: pipes whose readers would
/// wait for this process.
fn close_inherited() -> io::Result<()> {
    // Nothing in this process owns a descriptor above 2 yet.
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&fd| fd > 2)
        .collect();
    for fd in open {
        // EBADF: the directory that was just listed.
        let _closed = nix::unistd::close(fd);
    }
    Ok(())
}

fn hold(socket: OwnedFd) -> io::Result<()> {
    let (start, descriptors) = receive::<Start>(&socket)?;
    match become_holder(&start, descriptors, &socket) {
        Err(failure) => {
            send(&socket, &failure.answer(), &[])?;
            Err(io::Error::other(failure.cause.to_string()))
        }
        Ok(Holding { mut service, starter, session, lease: _lease }) => {
            forget_standard_streams()?;
            // A starter that is gone is no user. The mount has to be detached all the same: the
            // session ends with it alone.
            let answered = service.answer(&socket, Some(starter));
            drop(socket);
            let (served, detached) = service.serve();
            detached?;
            // Whatever ended the joins: containers go on as long as they have the mount.
            session.map_or(Ok(()), fuse::Session::wait).and(served).and(answered)
        }
    }
}

/// What a holder is made of.
struct Holding {
    service: Service,
    /// The starter's pidfd.
    starter: OwnedFd,
    /// It may outlive the service.
    session: Option<fuse::Session>,
    /// Of an image in the cache.
    lease: Option<Lease>,
}

fn become_holder(
    start: &Start,
    descriptors: Vec<OwnedFd>,
    socket: &OwnedFd,
) -> Result<Holding, Failure> {
    let mut descriptors = descriptors.into_iter();
    let mut next = || descriptors.next().ok_or_else(|| Failure::other("a descriptor is missing"));
    let (directory, listener, starter) = (next()?, next()?, next()?);
    let cache = start.unpacked.as_ref().map(|_| next()).transpose()?;
    let stay = match &start.stay {
        Some(names) => Some(Stay::new(next()?, names.clone())),
        None => None,
    };
    let files = descriptors.map(File::from).collect();
    let reader = open_image(start.image, files, stay.clone())?;

    // The current directory is the one descriptor that follows into the new mount namespace.
    if let Some(cache) = &cache {
        rustix::process::fchdir(cache).map_err(Failure::system)?;
    }
    let user_namespace =
        namespace::enter(start.mapping).map_err(Failure::new(Step::UserNamespace))?;
    let lease = stay.map(|stay| stay.lease()).transpose().map_err(Failure::new(Step::Gone))?;
    let place = Place { directory, socket: start.socket.clone() };
    let mut service = Service::new(place, listener, Duration::from_millis(start.grace_ms));
    let fuse = fuse::open_device().and_then(|device| Ok((fuse::mount(&device)?, device)));
    let session = match (fuse, cache.zip(start.unpacked.as_ref())) {
        (Ok((mount, device)), _) => {
            namespace::attach(&mount).map_err(Failure::other)?;
            service.has(Mount { user_namespace, mount, lease: None });
            Some(serve_image(&mut service, reader, device, start.mapping)?)
        }
        (Err(_), Some((cache, name))) => {
            let lease = unpack::find_or_make(&cache, name, &reader, || service.work(socket))
                .map_err(Failure::other)?;
            let path = Path::new("unpacked").join(name);
            let mount = namespace::attach_directory(&path).map_err(Failure::other)?;
            service.has(Mount { user_namespace, mount, lease: Some(lease) });
            None
        }
        (Err(cause), None) => return Err(Failure::new(Step::Fuse)(cause)),
    };
    rustix::process::chdir("/").map_err(Failure::system)?;
    Ok(Holding { service, starter, session, lease })
}

fn serve_image(
    service: &mut Service,
    reader: Reader,
    device: OwnedFd,
    mapping: Mapping,
) -> Result<fuse::Session, Failure> {
    let (ended, alive) = pipe_with(PipeFlags::CLOEXEC).map_err(Failure::system)?;
    service.ends_with(ended);
    let options = fuse::Options::new(mapping.inside_uid, mapping.inside_gid);
    fuse::Session::start(reader, device, &options, alive).map_err(Failure::other)
}

/// Opens the squashfs.
fn open_image(
    parts: Parts,
    mut files: Vec<File>,
    stay: Option<Arc<Stay>>,
) -> Result<Reader, Failure> {
    let (source, offset, length): (Arc<dyn ReadAt>, u64, u64) = match parts {
        Parts::File { offset, length } => {
            let file = files.pop().ok_or_else(|| Failure::other("the image's file is missing"))?;
            let window = Window::new(file, offset, length).map_err(Failure::other)?;
            (Arc::new(window), 0, length)
        }
        Parts::Recipe => {
            if files.is_empty() {
                return Err(Failure::other("the recipe is missing"));
            }
            let segments = files.split_off(1);
            let mut bytes = Vec::new();
            for recipe in files {
                // By offset: the position is shared with whoever else has the file open.
                let length = recipe.metadata().map_err(Failure::other)?.len();
                bytes.resize(usize::try_from(length).map_err(Failure::other)?, 0);
                recipe.read_exact_at(&mut bytes, 0).map_err(Failure::other)?;
            }
            let recipe = Recipe::from_bytes(&bytes).map_err(Failure::other)?;
            let mut sif = VirtualSif::new(recipe, segments).map_err(Failure::other)?;
            if let Some(stay) = stay {
                sif = sif.mended_by(Segments(stay));
            }
            let (offset, length) = sif.partition();
            (Arc::new(sif), offset, length)
        }
    };
    Reader::open(source, offset, length).map_err(Failure::other)
}

/// From now on this process says nothing to anyone who started it.
fn forget_standard_streams() -> io::Result<()> {
    let null = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(null.as_fd())?;
    rustix::stdio::dup2_stdout(null.as_fd())?;
    rustix::stdio::dup2_stderr(null.as_fd())?;
    Ok(())
}
