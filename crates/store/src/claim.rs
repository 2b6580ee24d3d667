//! Claims: "somebody is at it", so that other processes and nodes wait instead of doing the same.
//!
//! A claim is a file that its holder changes every few seconds. It is stale when its content has
//! not changed for a while by the observer's own monotonic clock: no other clock is believed, and a
//! pid only on its own host. A claim is a hint and no right: two that both work publish the same
//! bytes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use orlop_config::limits;
use orlop_publish::{Draft, Mode, PublishError};
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
        let settings = self.settings();
        let stored = Stored {
            host: settings.host.clone(),
            boot: settings.boot.clone(),
            pid: settings.pid,
            nonce: random(),
            beat: 0,
        };
        let bytes = encode(&stored, &path)?;
        let failed = |error| Error::publish(bytes.len() as u64, error);
        let tmp = self.layout().tmp();
        let begin = || Draft::within(&tmp, &path, Mode::Exact(0o600)).map_err(failed);
        let mut draft = self.mended(begin)?;
        draft.write_all(&bytes).map_err(|cause| Error::disk("write", &path, 0, cause))?;
        match draft.publish_new() {
            Ok(_) => Ok(Claimed::Ours(Claim { store: self.clone(), path, stored })),
            Err(PublishError::Exists { .. }) => {
                let last = read(&path).unwrap_or_default();
                let store = self.clone();
                Ok(Claimed::Theirs(Watch { store, path, last, changed: now }))
            }
            Err(error) => Err(failed(error)),
        }
    }
}

impl Claim {
    /// Says that this process is still at it. To be called every `limits::CLAIM_RENEW`.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`]: worth a line in the log, the work goes on.
    pub fn renew(&mut self) -> Result<(), Error> {
        self.stored.beat = self.stored.beat.saturating_add(1);
        let bytes = encode(&self.stored, &self.path)?;
        self.store.publish_bytes(&self.path, &bytes).map(drop)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Somebody may have taken it over meanwhile: then it is theirs.
        let ours = read(&self.path).and_then(|bytes| decode(&bytes)).is_some_and(|stored| {
            (stored.nonce, stored.pid) == (self.stored.nonce, self.stored.pid)
        });
        if ours {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

impl Watch {
    /// Looks at the claim. To be called every second or so.
    pub fn look(&mut self, now: Instant) -> Seen {
        let Some(bytes) = read(&self.path) else { return Seen::Gone };
        if bytes != self.last {
            self.last = bytes;
            self.changed = now;
        }
        let unchanged = now.saturating_duration_since(self.changed);
        if unchanged >= limits::CLAIM_STALE || self.is_holder_dead() {
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
        let settings = self.store.settings();
        let stored = Stored {
            host: settings.host.clone(),
            boot: settings.boot.clone(),
            pid: settings.pid,
            nonce: random(),
            beat: 0,
        };
        let bytes = encode(&stored, &self.path)?;
        self.store.publish_bytes(&self.path, &bytes)?;
        Ok(Claim { store: self.store, path: self.path, stored })
    }

    /// True when the holder was a process of this host's boot that has ended.
    fn is_holder_dead(&self) -> bool {
        let Some(stored) = decode(&self.last) else { return false };
        let settings = self.store.settings();
        let here = stored.host == settings.host && stored.boot == settings.boot;
        here && !settings.boot.is_empty() && is_dead(stored.pid)
    }
}

fn is_dead(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let file = std::fs::File::open(path).ok()?;
    crate::files::read_all(&file, LIMIT).ok().map(Option::unwrap_or_default)
}

fn decode(bytes: &[u8]) -> Option<Stored> {
    serde_json::from_slice(bytes).ok()
}

fn encode(stored: &Stored, path: &Path) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(stored).map_err(|cause| Error::disk("write", path, 0, cause.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Settings;
    use crate::store::tests::{key, on_host, store};

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
        assert_eq!(watch.look(now), Seen::Alive);
        drop(claim);
        assert_eq!(watch.look(now), Seen::Gone);
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
        assert_eq!(watch.look(after(29)), Seen::Alive);
        claim.renew().unwrap();
        assert_eq!(watch.look(after(31)), Seen::Alive);
        assert_eq!(watch.look(after(60)), Seen::Alive);
        assert_eq!(watch.look(after(61)), Seen::Stale);
        let taken = watch.take_over().unwrap();
        // The one that was frozen gives up what is no longer its own.
        drop(claim);
        assert_eq!(theirs(store.claim(&entry(), now).unwrap()).look(now), Seen::Alive);
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
        assert_eq!(theirs(store.claim(&entry(), now).unwrap()).look(now), Seen::Stale);
        drop(claim);
    }

    #[test]
    fn f34_a_damaged_claim_becomes_stale() {
        let (_directory, store) = store();
        let path = store.root().join("claims").join(entry().file_name());
        std::fs::write(path, b"{").unwrap();
        let now = Instant::now();
        let mut watch = theirs(store.claim(&entry(), now).unwrap());
        assert_eq!(watch.look(now), Seen::Alive);
        assert_eq!(watch.look(now + Duration::from_secs(30)), Seen::Stale);
        watch.take_over().unwrap();
    }
}
