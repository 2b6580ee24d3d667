//! A holder's life once it holds: joins, users that end, grace, leaving.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{SocketFlags, accept_with};

use super::message::{Answer, Join, receive, send};
use super::namespace;
use super::place::{Place, SocketId};

/// Between two messages that it is still at work.
const WORKING: Duration = Duration::from_secs(1);

/// What users get.
#[derive(Debug)]
pub(super) struct Mount {
    pub(super) user_namespace: OwnedFd,
    pub(super) mount: OwnedFd,
    /// Of an unpacked image: keeps the directory in the cache.
    pub(super) lease: Option<OwnedFd>,
}

/// A holder's users, and who wants to be one.
#[derive(Debug)]
pub(super) struct Service {
    place: Place,
    id: Option<SocketId>,
    listener: OwnedFd,
    mount: Option<Mount>,
    /// Readable when the FUSE session ended, where there is one.
    ended: Option<OwnedFd>,
    grace: Duration,
    /// The pidfds of the users that live.
    users: Vec<OwnedFd>,
    /// Callers that connected and said nothing yet.
    callers: Vec<OwnedFd>,
    /// When the last user ended, while there is none.
    unused_since: Option<Instant>,
    /// When callers were last told to wait on.
    told: Instant,
}

impl Service {
    pub(super) fn new(place: Place, listener: OwnedFd, grace: Duration) -> Self {
        let id = place.id();
        let now = Instant::now();
        Self {
            place,
            id,
            listener,
            mount: None,
            ended: None,
            grace,
            users: Vec::new(),
            callers: Vec::new(),
            unused_since: Some(now),
            told: now,
        }
    }

    /// What users get from now on.
    pub(super) fn has(&mut self, mount: Mount) {
        self.mount = Some(mount);
    }

    /// The descriptor that becomes readable when the mount is served no more.
    pub(super) fn ends_with(&mut self, ended: OwnedFd) {
        self.ended = Some(ended);
    }

    /// Tells those that wait, once a second, that there will be something.
    pub(super) fn work(&mut self, starter: &OwnedFd) {
        if self.told.elapsed() < WORKING {
            return;
        }
        self.told = Instant::now();
        // Who is gone needs no word; the others find out at their time limit.
        let _gone = self.accept();
        for waiting in std::iter::once(starter).chain(&self.callers) {
            let _gone = send(waiting, &Answer::Working, &[]);
        }
    }

    /// Gives a caller the mount and counts it as a user.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn answer(&mut self, socket: &OwnedFd, user: Option<OwnedFd>) -> io::Result<()> {
        let mount = self.mount.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let copy = match namespace::copy(&mount.mount) {
            Ok(copy) => copy,
            Err(cause) => {
                self.retire();
                return Err(cause);
            }
        };
        let answer = Answer::Ready { is_unpacked: mount.lease.is_some() };
        send(socket, &answer, &[mount.user_namespace.as_fd(), copy.as_fd()])?;
        if let Some(user) = user {
            self.users.push(user);
            self.unused_since = None;
        }
        Ok(())
    }

    /// Serves joins until the grace period after the last user is over, or something fails, then
    /// detaches the mount. The session may go on for what is left of its copies; it ends never where
    /// the mount, as the second outcome says, could not be detached.
    pub(super) fn serve(mut self) -> (io::Result<()>, io::Result<()>) {
        let served = self.serve_until_unused();
        let detached = self.mount.map_or(Ok(()), |mount| namespace::detach(mount.mount));
        (served, detached)
    }

    fn serve_until_unused(&mut self) -> io::Result<()> {
        loop {
            let left = self.unused_since.map(|since| self.grace.saturating_sub(since.elapsed()));
            if left == Some(Duration::ZERO) && self.leave()? {
                return Ok(());
            }
            let ready = self.wait(left)?;
            if ready.has_ended {
                self.place.remove(self.id);
                return Ok(());
            }
            self.drop_ended(&ready.users);
            self.hear(&ready.callers);
            if ready.has_callers {
                self.accept()?;
            }
        }
    }

    fn wait(&self, left: Option<Duration>) -> io::Result<Ready> {
        let watch = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut watched = vec![watch(self.listener.as_fd())];
        watched.extend(self.users.iter().chain(&self.callers).map(|fd| watch(fd.as_fd())));
        watched.extend(self.ended.as_ref().map(|fd| watch(fd.as_fd())));
        let limit = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut watched, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            // Containers live by this process: what the system lacks just now ends none of them.
            Err(Errno::NOMEM | Errno::AGAIN) => pause(),
            Err(errno) => return Err(errno.into()),
        }
        let mut ready = watched.iter().map(|fd| !fd.revents().is_empty());
        Ok(Ready {
            has_callers: ready.next().unwrap_or(false),
            users: ready.by_ref().take(self.users.len()).collect(),
            callers: ready.by_ref().take(self.callers.len()).collect(),
            has_ended: ready.next().unwrap_or(false),
        })
    }

    fn drop_ended(&mut self, ended: &[bool]) {
        let mut ended = ended.iter();
        self.users.retain(|_| ended.next() != Some(&true));
        if self.users.is_empty() && self.unused_since.is_none() {
            self.unused_since = Some(Instant::now());
        }
    }

    /// Answers the callers that said something; forgets those that went.
    fn hear(&mut self, spoke: &[bool]) {
        let mut spoke = spoke.iter();
        let (speakers, silent) = std::mem::take(&mut self.callers)
            .into_iter()
            .partition::<Vec<_>, _>(|_| spoke.next() == Some(&true));
        self.callers = silent;
        for caller in speakers {
            // A caller that goes before it is answered, or talks nonsense, is no user.
            if let Ok((Join, mut descriptors)) = receive::<Join>(&caller) {
                let _went = self.answer(&caller, descriptors.pop());
            }
        }
    }

    /// Takes the socket away: the mount is gone with the directory that it lay over, and the next
    /// caller starts another holder. Those that use it go on.
    fn retire(&mut self) {
        if let Ok(_lock) = self.place.lock() {
            self.place.remove(self.id.take());
        }
    }

    /// Lets callers in. Those that cannot be let in now are tried again by the next turn.
    fn accept(&mut self) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&self.listener, true)?;
        loop {
            match accept_with(&self.listener, SocketFlags::CLOEXEC) {
                Ok(caller) if is_ours(caller.as_fd()) => self.callers.push(caller),
                Ok(_) | Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => {
                    pause();
                    return Ok(());
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Takes the socket away, unless a caller came before that. One that came long ago and never
    /// spoke does not count.
    fn leave(&mut self) -> io::Result<bool> {
        let _lock = self.place.lock()?;
        let before = self.callers.len();
        self.accept()?;
        if self.callers.len() > before {
            self.unused_since = Some(Instant::now());
            return Ok(false);
        }
        self.place.remove(self.id);
        Ok(true)
    }
}

/// Waits for a moment: what the system lacks may be there then.
fn pause() {
    let moment = Timespec::try_from(Duration::from_millis(10)).ok();
    let _ = poll(&mut [], moment.as_ref());
}

/// What a wait ended with.
struct Ready {
    has_callers: bool,
    users: Vec<bool>,
    callers: Vec<bool>,
    has_ended: bool,
}

/// Whether the other side is of the one user that is mapped here.
fn is_ours(caller: BorrowedFd<'_>) -> bool {
    socket_peercred(caller).is_ok_and(|peer| peer.uid == rustix::process::getuid())
}
