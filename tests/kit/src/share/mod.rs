//! A directory as a file server gives it to one node: FUSE in front of a directory of the machine.
//!
//! What is as on NFS: locks hold on one node alone (or give an error, or are granted to everybody);
//! names are believed for a while, those that are not there as well; a file that another node
//! removed gives ESTALE to who has it open, while one's own stays readable; times that are "now" are
//! the server's. The node can be cut off: then every call waits.
//!
//! Not here: the nodes ([`crate::nodes`]).

mod files;

use files::Files;
use fuser::{Config, SessionACL};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Threads that answer: more calls than this wait for each other only where a node is cut off.
const THREADS: usize = 4;

/// What `flock` does on the share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locks {
    /// It holds between the processes of one node.
    #[default]
    OfTheNode,
    /// It fails with this number (`ENOLCK`, `ENOSYS`).
    Fail(i32),
    /// Everybody gets every lock.
    Always,
}

/// How a node sees the directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// What locks do.
    pub locks: Locks,
    /// How long a name is believed to be there, or not to be there, without asking the server.
    pub late: Duration,
}

/// A served directory.
#[derive(Debug)]
pub struct Share {
    state: Arc<State>,
    session: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    is_cut: Mutex<bool>,
    healed: Condvar,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self) {
        let mut is_cut = self.lock();
        while *is_cut {
            is_cut = self.healed.wait(is_cut).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Share {
    /// Serves a directory on `device`, which is mounted.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub(crate) fn serve(directory: &Path, device: OwnedFd, manner: Manner) -> Self {
        let state = Arc::new(State::default());
        let files =
            Files::new(directory, manner, Arc::clone(&state)).expect("the directory is there");
        let mut config = Config::default();
        config.acl = SessionACL::All;
        config.n_threads = Some(THREADS);
        let session = fuser::Session::from_fd(files, device, SessionACL::All, config);
        let session = session.expect("the kernel speaks FUSE");
        let run = move || {
            // It ends with the mount.
            let _ended = session.run();
        };
        let session = std::thread::Builder::new().name("share".to_owned()).spawn(run);
        Self { state, session: Some(session.expect("threads can be started")) }
    }

    /// Lets every call wait, or those that wait go on.
    pub fn cut(&self, is_cut: bool) {
        *self.state.lock() = is_cut;
        self.state.healed.notify_all();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.cut(false);
        if let Some(session) = self.session.take() {
            // The mount is gone with its node, or will be.
            drop(session);
        }
    }
}
