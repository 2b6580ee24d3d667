//! Claims: "somebody is at it", so that other processes and nodes wait instead of doing the same.
//!
//! A claim is a file that its holder changes every few seconds. It is stale when its content has
//! not changed for a while by the observer's own monotonic clock: no other clock is believed, and a
//! pid only on its own host. A claim is a hint and no right: two that both work publish the same
//! bytes.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::files::random;
use crate::store::Store;
use crate::{Entry, Error};

/// Most bytes of a claim that are looked at.
const LIMIT: u64 = 4096;

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Stored {
    host: String,
    boot: String,
    /// Which space of process ids `pid` is of.
    #[serde(default)]
    space: String,
    pid: u32,
    /// Tells two claims of one process apart.
    nonce: u64,
    /// Goes up with each renewal.
    beat: u64,
}

/// What asking for a claim gave.
#[derive(Debug)]
pub enum Claimed {
    /// The work is this process's.
    Ours(Claim),
    /// Somebody else is at it: wait for the result, and look at the claim meanwhile.
    Theirs(Watch),
}

/// A claim of this process; dropping it gives it up.
#[derive(Debug)]
pub struct Claim {
    store: Store,
    path: PathBuf,
    stored: Stored,
}

/// Somebody else's claim as seen from here.
#[derive(Debug)]
pub struct Watch {
    store: Store,
    path: PathBuf,
    last: Vec<u8>,
    changed: Instant,
}

/// How a claim looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Somebody is at it.
    Alive,
    /// It is gone: look for the result, else do the work.
    Gone,
    /// Whoever held it is dead or stuck: take the work over.
    Stale,
}

impl Store {
    /// Claims the work of making an entry.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`].
    pub fn claim(&self, entry: &Entry, now: Instant) -> Result<Claimed, Error> {
        let path = self.layout().claims().join(entry.file_name());
        let stored = self.new_claim();
        let bytes = encode(&stored, &path)?;
        let failed = |cause| Error::disk("write", &path, 0, cause);
        // A hint need not survive a power cut: nothing is synced, and closing makes it visible to
        // other nodes.
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o600);
        let made = self.mended(|| match options.open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(cause) => Err(failed(cause)),
        })?;
        let Some(mut file) = made else {
            let last = read(&path).unwrap_or_default();
            let store = self.clone();
            return Ok(Claimed::Theirs(Watch { store, path, last, changed: now }));
        };
        let claim = Claim::held(self.clone(), path.clone(), stored);
        if let Err(cause) = file.write_all(&bytes) {
            // What has no content is nobody's: it is not given up by itself.
            drop(std::fs::remove_file(&path));
            return Err(failed(cause));
        }
        Ok(Claimed::Ours(claim))
    }

    fn new_claim(&self) -> Stored {
        let settings = self.settings();
        Stored {
            host: settings.host.clone(),
            boot: settings.boot.clone(),
            space: settings.processes.clone(),
            pid: settings.pid,
            nonce: random(),
            beat: 0,
        }
    }
}

impl Claim {
    fn held(store: Store, path: PathBuf, stored: Stored) -> Self {
        store.held().insert(stored.nonce);
        Self { store, path, stored }
    }

    /// Says that this process is still at it; false when it no longer holds the claim. To be called
    /// every `limits::CLAIM_RENEW`.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`]: worth a line in the log, the work goes on.
    pub fn renew(&mut self) -> Result<bool, Error> {
        let failed = |cause| Error::disk("read", &self.path, 0, cause);
        if !self.is_ours().map_err(failed)? {
            return Ok(false);
        }
        self.stored.beat = self.stored.beat.saturating_add(1);
        let bytes = encode(&self.stored, &self.path)?;
        // In place: the text only ever grows, and one that is half written differs from the last.
        File::options()
            .write(true)
            .open(&self.path)
            .and_then(|mut file| file.write_all(&bytes))
            .map_err(|cause| Error::disk("write", &self.path, 0, cause))?;
        Ok(true)
    }

    /// Whether the file still says that this process holds it.
    fn is_ours(&self) -> io::Result<bool> {
        let found = decode(&read(&self.path)?);
        Ok(found.is_some_and(|stored| stored.nonce == self.stored.nonce))
    }

    /// Removes the file, unless somebody has taken it over meanwhile: then it is theirs.
    fn give_up(&self) -> io::Result<()> {
        if self.is_ours()? { std::fs::remove_file(&self.path) } else { Ok(()) }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Once more where that failed: other processes wait for a claim that is left until it is
        // stale. This one knows that it holds it no more.
        let _removed = self.give_up().or_else(|_| self.give_up());
        self.store.held().remove(&self.stored.nonce);
    }
}

impl Watch {
    /// Looks at the claim, which is stale when it has not changed for so long. To be called every
    /// second or so.
    pub fn look(&mut self, now: Instant, stale: Duration) -> Seen {
        let bytes = match read(&self.path) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Seen::Gone,
            // What cannot be read has not changed.
            Err(_) => self.last.clone(),
        };
        if bytes != self.last {
            self.last = bytes;
            self.changed = now;
        }
        let unchanged = now.saturating_duration_since(self.changed);
        if unchanged >= stale || self.is_holder_dead() {
            return Seen::Stale;
        }
        Seen::Alive
    }

    /// Time since the claim was last seen to change.
    #[must_use]
    pub fn unchanged(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.changed)
    }

    /// Host and process that hold the claim, as it says.
    #[must_use]
    pub fn holder(&self) -> Option<(String, u32)> {
        decode(&self.last).map(|stored| (stored.host, stored.pid))
    }

    /// Takes a stale claim over. Of two that do so at once both get one; the bytes they publish are
    /// the same.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`].
    pub fn take_over(self) -> Result<Claim, Error> {
        let stored = self.store.new_claim();
        let bytes = encode(&stored, &self.path)?;
        if self.store.publish_bytes(&self.path, &bytes).is_err() {
            // What is there may be no file.
            crate::collect::remove_file(&self.path)?;
            self.store.publish_bytes(&self.path, &bytes)?;
        }
        Ok(Claim::held(self.store, self.path, stored))
    }

    /// True when the holder was a process of this host's boot that has ended, or this one, which
    /// holds it no more.
    fn is_holder_dead(&self) -> bool {
        let Some(stored) = decode(&self.last) else { return false };
        let settings = self.store.settings();
        let here = (&stored.host, &stored.boot, &stored.space)
            == (&settings.host, &settings.boot, &settings.processes);
        if !here || settings.boot.is_empty() {
            return false;
        }
        match stored.pid == settings.pid {
            true => !self.store.held().contains(&stored.nonce),
            false => is_dead(stored.pid),
        }
    }
}

/// True when no process of this number runs. One that has ended and that nobody has waited for, as
/// containers without an init keep them, runs no more (proc(5), `/proc/pid/stat`).
fn is_dead(pid: u32) -> bool {
    let number = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let Some(number) = number else { return false };
    if rustix::process::test_kill_process(number) == Err(rustix::io::Errno::SRCH) {
        return true;
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
    matches!(state, Some("Z" | "X"))
}

/// What a claim says; nothing where it says more than a claim can.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = crate::files::open(path)?;
    crate::files::read_all(&file, LIMIT).map(Option::unwrap_or_default)
}

fn decode(bytes: &[u8]) -> Option<Stored> {
    serde_json::from_slice(bytes).ok()
}

fn encode(stored: &Stored, path: &Path) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(stored).map_err(|cause| Error::disk("write", path, 0, cause.into()))
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;
    use crate::store::Settings;
    use crate::store::tests::{key, on_host, store};

    const STALE: Duration = orlop_config::limits::CLAIM_STALE;

    fn entry() -> Entry {
        Entry::Segment(key(1))
    }

    fn ours(claimed: Claimed) -> Claim {
        match claimed {
            Claimed::Ours(claim) => claim,
            Claimed::Theirs(watch) => panic!("{watch:?}"),
        }
    }

    fn theirs(claimed: Claimed) -> Watch {
        match claimed {
            Claimed::Theirs(watch) => watch,
            Claimed::Ours(claim) => panic!("{claim:?}"),
        }
    }

    #[test]
    fn f43_a_second_claim_waits_until_the_first_is_given_up() {
        let (directory, store) = store();
        let other = on_host(&directory, "there");
        let now = Instant::now();
        let claim = ours(store.claim(&entry(), now).unwrap());
        let mut watch = theirs(other.claim(&entry(), now).unwrap());
        assert_eq!(watch.look(now, STALE), Seen::Alive);
        drop(claim);
        assert_eq!(watch.look(now, STALE), Seen::Gone);
        ours(other.claim(&entry(), now).unwrap());
    }

    #[test]
    fn f44_f45_a_claim_is_stale_when_it_has_not_changed_for_30_s_of_the_observers_clock() {
        let (directory, store) = store();
        let now = Instant::now();
        let mut claim = ours(store.claim(&entry(), now).unwrap());
        let other = on_host(&directory, "there");
        let mut watch = theirs(other.claim(&entry(), now).unwrap());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(watch.look(after(29), STALE), Seen::Alive);
        assert!(claim.renew().unwrap());
        assert_eq!(watch.look(after(31), STALE), Seen::Alive);
        assert_eq!(watch.look(after(60), STALE), Seen::Alive);
        assert_eq!(watch.look(after(61), STALE), Seen::Stale);
        let taken = watch.take_over().unwrap();
        // The one that was frozen neither renews nor gives up what is no longer its own.
        assert!(!claim.renew().unwrap());
        drop(claim);
        assert_eq!(theirs(store.claim(&entry(), now).unwrap()).look(now, STALE), Seen::Alive);
        drop(taken);
        ours(store.claim(&entry(), now).unwrap());
    }

    #[test]
    fn a_dead_process_of_this_host_holds_nothing() {
        let (_directory, store) = store();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let settings = Settings { pid: child.id(), ..store.settings().clone() };
        let dead = Store::open(store.root(), settings).unwrap();
        let now = Instant::now();
        let claim = ours(dead.claim(&entry(), now).unwrap());
        assert_eq!(theirs(store.claim(&entry(), now).unwrap()).look(now, STALE), Seen::Stale);
        drop(claim);
    }

    #[test]
    fn a_dead_process_that_nobody_has_waited_for_holds_nothing() {
        let (_directory, store) = store();
        let mut child = std::process::Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let settings = Settings { pid: child.id(), ..store.settings().clone() };
        let there = Store::open(store.root(), settings).unwrap();
        let now = Instant::now();
        let _claim = ours(there.claim(&entry(), now).unwrap());
        let mut watch = theirs(store.claim(&entry(), now).unwrap());
        assert_eq!(watch.look(now, STALE), Seen::Alive);
        // Ended, and waited for only after the look: WNOWAIT leaves it as it is.
        drop(child.stdin.take());
        let pid = rustix::process::Pid::from_child(&child);
        let options =
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).unwrap();
        assert_eq!(watch.look(now, STALE), Seen::Stale);
        child.wait().unwrap();
    }

    #[test]
    fn f29_a_claim_that_could_not_be_given_up_is_not_waited_for_by_its_own_process() {
        let (_directory, store) = store();
        let now = Instant::now();
        let claim = ours(store.claim(&entry(), now).unwrap());
        let path = claim.path.clone();
        let text = std::fs::read(&path).unwrap();
        assert_eq!(theirs(store.claim(&entry(), now).unwrap()).look(now, STALE), Seen::Alive);
        drop(claim);
        std::fs::write(&path, text).unwrap();
        let mut watch = theirs(store.claim(&entry(), now).unwrap());
        assert_eq!(watch.look(now, STALE), Seen::Stale);
        let taken = watch.take_over().unwrap();
        assert_eq!(theirs(store.claim(&entry(), now).unwrap()).look(now, STALE), Seen::Alive);
        drop(taken);
        assert!(!path.exists());
    }

    #[test]
    fn a_process_of_another_container_is_not_known_to_be_dead() {
        let (_directory, store) = store();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let processes = "pid:[1]".to_owned();
        let settings = Settings { pid: child.id(), processes, ..store.settings().clone() };
        let there = Store::open(store.root(), settings).unwrap();
        let now = Instant::now();
        let _claim = ours(there.claim(&entry(), now).unwrap());
        assert_eq!(theirs(store.claim(&entry(), now).unwrap()).look(now, STALE), Seen::Alive);
    }

    #[test]
    fn f34_a_damaged_claim_becomes_stale() {
        let (_directory, store) = store();
        let path = store.root().join("claims").join(entry().file_name());
        std::fs::write(path, b"{").unwrap();
        let now = Instant::now();
        let mut watch = theirs(store.claim(&entry(), now).unwrap());
        assert_eq!(watch.look(now, STALE), Seen::Alive);
        assert_eq!(watch.look(now + Duration::from_secs(30), STALE), Seen::Stale);
        watch.take_over().unwrap();
    }
}
