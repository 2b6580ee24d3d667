//! A disk in memory, served by FUSE: it hangs, refuses and folds names on demand, and writes down
//! what was done to it so that power cuts can be played ([`WriteLog`]).
//!
//! It has files without a name where the kit is root, unless it is told to be plain, and neither
//! reflinks nor copies of its own. Not here: faults of single calls ([`crate::faults`]).

mod acts;
mod crash;
mod files;
mod nameless;
mod serve;

pub use crash::{Loss, WriteLog};

use crate::person::Person;
use files::{Files, Op};
use fuser::{BackgroundSession, Config, MountOption, SessionACL};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longest that a disk hangs by itself.
const PATIENCE: Duration = Duration::from_secs(120);

/// How the disk behaves.
#[derive(Clone, Copy, Debug, Default)]
struct Manner {
    hangs: bool,
    folds: bool,
    /// It makes no files without a name.
    is_plain: bool,
    /// What closing a file that was written gives.
    close: Option<Errno>,
}

#[derive(Debug)]
struct State {
    files: Files,
    log: Vec<Op>,
    manner: Manner,
    /// Requests that wait while it hangs.
    waiting: usize,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

/// A mounted disk; unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    shared: Shared,
    owner: (u32, u32),
    at: PathBuf,
    session: Option<BackgroundSession>,
}

impl Disk {
    /// Mounts an empty disk on a directory, owned by this person; `None` with a line of why where
    /// FUSE cannot be had.
    #[must_use]
    pub fn mount(at: &Path, person: Person) -> Option<Self> {
        let owner = (person.uid, person.gid);
        let state = State {
            files: Files::new(owner),
            log: Vec::new(),
            manner: Manner::default(),
            waiting: 0,
        };
        let shared: Shared = Arc::new((Mutex::new(state), Condvar::new()));
        let served = serve::Served::new(Arc::clone(&shared));
        let session = if nameless::is_possible() {
            nameless::mount(served, at, person)
        } else {
            let mut config = Config::default();
            config.mount_options = vec![MountOption::FSName("orlop-kit".to_owned())];
            if person != Person::own() {
                config.acl = SessionACL::All;
            }
            fuser::spawn_mount(served, at, &config)
        };
        match session {
            Ok(session) => {
                let at = at.to_owned();
                Some(Self { shared, owner, at, session: Some(session) })
            }
            Err(cause) => {
                crate::tools::skip(&format!("a disk cannot be mounted: {cause}"));
                None
            }
        }
    }

    /// From now on nothing is answered, for two minutes or until [`Disk::goes_on`].
    pub fn hangs(&self) {
        self.state().manner.hangs = true;
    }

    /// Answers again.
    pub fn goes_on(&self) {
        self.state().manner.hangs = false;
        self.shared.1.notify_all();
    }

    /// Waits until somebody waits for the disk.
    pub fn is_waited_for(&self) {
        crate::until("somebody waits for the disk", || {
            if self.state().waiting > 0 { Ok(()) } else { Err(()) }
        });
    }

    /// Files without a name are refused from now on.
    pub fn is_plain(&self) {
        self.state().manner.is_plain = true;
    }

    /// How many files were made without a name.
    #[must_use]
    pub fn nameless(&self) -> usize {
        self.state().log.iter().filter(|op| matches!(op, Op::Begin { .. })).count()
    }

    /// Names that differ in case alone are one.
    pub fn folds_names(&self) {
        self.state().manner.folds = true;
    }

    /// Closing a file that was written fails with this, or no longer.
    pub fn fails_to_close(&self, with: Option<Errno>) {
        self.state().manner.close = with;
    }

    /// What was done so far lasts, whoever forgot to sync it: a test begins there.
    pub fn settles(&self) {
        let mut state = self.state();
        let synced: Vec<Op> = (state.files.nodes.iter())
            .map(|(number, node)| match node.names {
                Some(_) => Op::SyncDirectory { node: *number },
                None => Op::SyncFile { node: *number },
            })
            .collect();
        state.log.extend(synced);
    }

    /// Writes a word of the test's into the log.
    pub fn mark(&self, word: &str) {
        self.state().log.push(Op::Mark(word.to_owned()));
    }

    /// What was done so far.
    #[must_use]
    pub fn log(&self) -> WriteLog {
        WriteLog { owner: self.owner, ops: self.state().log.clone() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.goes_on();
        drop(self.session.take());
        // A mount holder, which lives for a while after its last container, may have kept it busy.
        let _unmounted = nix::mount::umount2(&self.at, nix::mount::MntFlags::MNT_DETACH);
    }
}
