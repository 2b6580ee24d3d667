//! Getting a daemon: connect to the one that listens, or start one.
//!
//! Starting happens under the lock `<socket>.lock`, so that any number of clients at once get one
//! daemon; the daemon writes one byte on an inherited pipe when it listens, and a stale socket is
//! replaced by it. Where no place for a socket can be had, a private daemon serves this one
//! command over a socketpair. Source: design notes, section 2; reliability rows S47 to S53.
//!
//! Not here: calls ([`crate::connection`]); where the socket lies (`orlop-config`).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use orlop_config::limits::{ANSWER_TIME, ANSWER_WARNING};
use orlop_proto::v1::Kind;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::failure::Failure;
use crate::output::Output;

/// What a daemon is started with, and where.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The socket, absolute; none: a private daemon.
    pub(crate) socket: Option<PathBuf>,
    /// The cache; none: a cache that goes with the daemon.
    pub(crate) cache: Option<PathBuf>,
    /// Where the daemon's log goes.
    pub(crate) log: Option<PathBuf>,
    /// The daemon's program.
    pub(crate) program: PathBuf,
    /// Seconds after which an idle daemon ends, when the user set any.
    pub(crate) idle_exit: Option<OsString>,
    /// The daemon's environment: its own settings and places follow from it, nothing of a request.
    pub(crate) environment: Vec<(&'static str, OsString)>,
}

/// A connection to a daemon.
#[derive(Debug)]
pub(crate) struct Link {
    /// The connection.
    pub(crate) stream: UnixStream,
    /// The daemon itself, when it is this command's own.
    pub(crate) private: Option<Child>,
}

impl Place {
    /// Directory and name of the socket.
    fn parts(&self) -> Option<(&Path, &OsStr)> {
        let socket = self.socket.as_ref()?;
        Some((socket.parent()?, socket.file_name()?))
    }

    /// Connects to a daemon that listens, without starting one.
    ///
    /// # Errors
    /// DAEMON_UNAVAILABLE when another user serves there.
    pub(crate) fn running(&self) -> Result<Option<Link>, Failure> {
        let Some((directory, name)) = self.parts() else { return Ok(None) };
        let Ok(open) = open_directory(directory) else { return Ok(None) };
        let stream = connect(&short(&open, directory, name));
        stream.map(|stream| checked(stream, directory)).transpose()
    }

    /// Connects to a daemon; starts one when there is none.
    ///
    /// # Errors
    /// DAEMON_UNAVAILABLE: it could not be started, or another user serves there.
    pub(crate) fn reach(&self, output: &Output) -> Result<Link, Failure> {
        if let Some(link) = self.running()? {
            return Ok(link);
        }
        let Some((directory, name)) = self.parts() else { return self.private() };
        let failed = |doing: &str, cause: &io::Error| {
            Failure::new(Kind::DaemonUnavailable, format!("cannot {doing} {}", directory.display()))
                .because(crate::failure::system_words(cause))
        };
        let open = open_directory(directory).map_err(|cause| failed("open", &cause))?;
        let mut lock_name = name.to_owned();
        lock_name.push(".lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(short(&open, directory, &lock_name))
            .map_err(|cause| failed("lock", &cause))?;
        // The mask of the process may have taken the user's own rights.
        let _ = rustix::fs::fchmod(&lock, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR);
        // Where locks do not work the daemons themselves sort out who serves.
        let _ = rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive);
        if let Some(link) = self.running()? {
            return Ok(link);
        }
        // One that was killed before it said anything is followed by another, once.
        let mut listened = false;
        for _ in 0..2 {
            listened = self.start(&directory.join(name), output)?;
            if let Some(link) = self.running()? {
                return Ok(link);
            }
        }
        drop(lock);
        Err(self.unavailable(match listened {
            true => "orlopd was started but does not answer on its socket",
            false => "orlopd ended before it listened",
        }))
    }

    /// Starts a daemon; false when it ended without a word before it listened.
    fn start(&self, socket: &Path, output: &Output) -> Result<bool, Failure> {
        let (mut ready, theirs) = io::pipe().map_err(|cause| self.not_started(&cause))?;
        let theirs = OwnedFd::from(theirs);
        let mut command = self.command();
        command.arg("--socket").arg(socket);
        command.arg("--ready-fd").arg(theirs.as_raw_fd().to_string());
        let child = self.spawn(&mut command, theirs)?;
        self.wait_for(&ready, output)?;
        let mut byte = [0];
        match ready.read(&mut byte) {
            Ok(1) => Ok(true),
            _ => {
                let words = last_words(child);
                if words.is_empty() {
                    return Ok(false);
                }
                Err(self.unavailable("orlopd ended before it listened").because(words))
            }
        }
    }

    /// Waits until the daemon listens or has ended: its cache may lie on a disk that hangs.
    fn wait_for(&self, ready: &io::PipeReader, output: &Output) -> Result<(), Failure> {
        let said = |within: Duration| {
            let mut polled = [PollFd::new(ready, PollFlags::IN)];
            let within = Timespec::try_from(within).ok();
            rustix::event::poll(&mut polled, within.as_ref()) != Ok(0)
        };
        if said(ANSWER_WARNING) {
            return Ok(());
        }
        let slow = ANSWER_WARNING.as_secs();
        output.clone().warning(&format!("orlopd has not started within {slow} seconds: waiting"));
        if said(ANSWER_TIME.saturating_sub(ANSWER_WARNING)) {
            return Ok(());
        }
        let message = format!("orlopd has not started within {} seconds", ANSWER_TIME.as_secs());
        Err(self.unavailable(&message).for_good())
    }

    /// Starts a daemon for this command alone.
    ///
    /// # Errors
    /// DAEMON_UNAVAILABLE.
    pub(crate) fn private(&self) -> Result<Link, Failure> {
        let (ours, theirs) = UnixStream::pair().map_err(|cause| self.not_started(&cause))?;
        let theirs = OwnedFd::from(theirs);
        let mut command = self.command();
        command.arg("--private-fd").arg(theirs.as_raw_fd().to_string());
        let child = self.spawn(&mut command, theirs)?;
        Ok(Link { stream: ours, private: Some(child) })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        match &self.cache {
            Some(cache) => command.arg("--cache").arg(cache),
            None => command.arg("--no-cache"),
        };
        if let Some(log) = &self.log {
            command.arg("--log").arg(log);
        }
        if let Some(seconds) = &self.idle_exit {
            command.arg("--idle-exit").arg(seconds);
        }
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn spawn(&self, command: &mut Command, inherited: OwnedFd) -> Result<Child, Failure> {
        let cleared = clear_cloexec(inherited.as_fd());
        cleared.map_err(|cause| self.not_started(&cause))?;
        let child = command.spawn().map_err(|cause| self.not_started(&cause))?;
        drop(inherited);
        Ok(child)
    }

    fn not_started(&self, cause: &io::Error) -> Failure {
        let program = self.program.display();
        Failure::new(Kind::DaemonUnavailable, format!("cannot start {program}"))
            .because(crate::failure::system_words(cause))
            .hint("put orlopd beside orlop, or name it in ORLOP_DAEMON")
    }

    /// The daemon does not do its part.
    pub(crate) fn unavailable(&self, message: &str) -> Failure {
        let failure = Failure::new(Kind::DaemonUnavailable, message);
        match &self.log {
            Some(log) => failure.hint(format!("its log is {}", log.display())),
            None => failure,
        }
    }
}

/// Waits for a daemon that ends; returns what it said.
pub(crate) fn last_words(mut child: Child) -> String {
    let mut words = String::new();
    if let Some(stderr) = &mut child.stderr {
        drop(stderr.read_to_string(&mut words));
    }
    drop(child.wait());
    words.trim().trim_start_matches("orlopd: ").to_owned()
}

fn open_directory(directory: &Path) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(directory, flags, Mode::empty())?)
}

/// A path below a directory that is open: fits a socket address however long the directory's is.
/// Without `/proc` it is the whole path.
fn short(open: &OwnedFd, directory: &Path, name: &OsStr) -> PathBuf {
    let short = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
    if short.exists() { short.join(name) } else { directory.join(name) }
}

fn connect(path: &Path) -> Option<UnixStream> {
    UnixStream::connect(path).ok()
}

/// Says nothing to a daemon that another user runs.
fn checked(stream: UnixStream, directory: &Path) -> Result<Link, Failure> {
    let peer = rustix::net::sockopt::socket_peercred(&stream).ok().map(|peer| peer.uid.as_raw());
    let own = rustix::process::geteuid().as_raw();
    if peer == Some(own) {
        return Ok(Link { stream, private: None });
    }
    let who = peer.map_or_else(|| "an unknown user".to_owned(), |uid| format!("user {uid}"));
    let message = format!("the socket in {} is served by {who}", directory.display());
    Err(Failure::new(Kind::DaemonUnavailable, message)
        .hint("remove the socket, or name another directory with ORLOP_SOCKET"))
}

fn clear_cloexec(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?)
}
