//! Leases: what keeps a collector from an entry.
//!
//! On one node an open file with a shared `flock` is the lease: a collector removes only what it
//! can lock alone. For other nodes' collectors a file `leases/<host>.<boot>.<user>` says the same:
//! its lines are the paths, below the cache, of the files in use. It is renewed every
//! `limits::LEASE_RENEW` by whoever made it and honoured for `limits::LEASE_HONOURED`, by the file
//! system's clock. A holder makes its own, so that no daemon has to live as long as a container; it
//! names, too, what the image is found by and nobody has open, and holds the file by a lock: on its
//! own node it counts as long as it is held.
//!
//! Not here: the holder's leases (`orlop-runtime`).

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orlop_config::limits;
use rustix::event::{Timespec, poll};
use rustix::fs::{FileType, FlockOperation};
use rustix::io::Errno;

use crate::collect::files_of;
use crate::files::{Lock, each, lock, open_as_it_is, read_all, renew, time};
use crate::intact::Intact;
use crate::store::Store;
use crate::{Entry, Error};

/// Most bytes of a lease file that are looked at.
const LIMIT: u64 = 4 << 20;

/// How often a lock that a collector holds for an instant is tried, a millisecond apart.
const TRIES: u32 = 20;

/// An open file of the cache that no collector of this node removes while it is open.
#[derive(Debug)]
pub struct Leased {
    file: File,
    path: PathBuf,
    bytes: u64,
}

/// What was read of an entry.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) leased: Leased,
    /// `None` when there are more than were allowed.
    pub(crate) bytes: Option<Vec<u8>>,
}

/// What was found under a name.
#[derive(Debug)]
pub(crate) enum Opened {
    Leased(Leased),
    Missing,
    /// Something is there that is no readable file.
    Odd(Errno),
}

impl Leased {
    /// Takes over a file that this process just published or opened.
    pub(crate) fn take(file: File, path: &Path) -> Result<Self, Error> {
        let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared);
        let found = file.metadata().map_err(|cause| Error::disk("read", path, 0, cause))?;
        Ok(Self { file, path: path.to_owned(), bytes: found.len() })
    }

    /// Opens and leases a file. Never blocks for long.
    pub(crate) fn open(path: &Path, intact: &Intact) -> Result<Opened, Error> {
        for _ in 0..TRIES {
            let file = match open_as_it_is(path) {
                Ok(file) => file,
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Opened::Missing),
                Err(Errno::STALE) => continue,
                Err(cause @ (Errno::ACCESS | Errno::LOOP | Errno::NXIO)) => {
                    return Ok(Opened::Odd(cause));
                }
                Err(cause) => return Err(Error::errno("open", path, cause)),
            };
            let stat = match rustix::fs::fstat(&file) {
                Ok(stat) => stat,
                Err(Errno::STALE) => continue,
                Err(cause) => return Err(Error::errno("read", path, cause)),
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Ok(Opened::Odd(Errno::ISDIR));
            }
            lock_shared(&file);
            // Removed between opening and locking: perhaps there is a new one.
            if rustix::fs::fstat(&file).is_ok_and(|stat| stat.st_nlink == 0) {
                continue;
            }
            intact.touch(&file);
            match Self::take(file, path) {
                Err(error) if error.is_stale() => {}
                taken => return taken.map(Opened::Leased),
            }
        }
        Ok(Opened::Missing)
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The open file, for keeping: the lease ends when it and its copies are closed.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
    }

    /// Its name, under which other processes open it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size in bytes when it was opened.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Waits for at most the time a collector needs to remove a file; goes on without where locks do
/// not work.
fn lock_shared(file: &File) {
    for _ in 0..TRIES {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK | Errno::INTR) => {
                let wait = Timespec::try_from(Duration::from_millis(1)).ok();
                let _ = poll(&mut [], wait.as_ref());
            }
            _ => return,
        }
    }
}

impl Store {
    /// Opens and leases an entry's file; what is no file is moved aside.
    pub(crate) fn open_leased(&self, entry: &Entry) -> Result<Option<Leased>, Error> {
        match Leased::open(&self.own_path(entry), self.intact())? {
            Opened::Leased(leased) => Ok(Some(leased)),
            Opened::Missing => {
                match self
                    .under(entry)
                    .map(|path| Leased::open(&path, self.intact()))
                    .transpose()?
                {
                    Some(Opened::Leased(leased)) => Ok(Some(leased)),
                    _ => Ok(None),
                }
            }
            Opened::Odd(cause) => {
                self.move_aside(entry, &format!("cannot be read: {cause}"))?;
                Ok(None)
            }
        }
    }

    /// Opens, leases and reads an entry's file; anew where another node removes it meanwhile.
    pub(crate) fn read_leased(&self, entry: &Entry, limit: u64) -> Result<Option<Read>, Error> {
        for _ in 0..TRIES {
            let Some(leased) = self.open_leased(entry)? else { return Ok(None) };
            match read_all(leased.file(), limit) {
                Ok(bytes) => return Ok(Some(Read { leased, bytes })),
                Err(cause) if cause.kind() == std::io::ErrorKind::StaleNetworkFileHandle => {}
                Err(cause) => return Err(Error::disk("read", leased.path(), 0, cause)),
            }
        }
        Ok(None)
    }

    /// The beginning of the names of this host's lease files, below the cache's directory: a dot and
    /// something of one's own follow.
    #[must_use]
    pub fn lease_stem(&self) -> String {
        let boot: String = self.settings().boot.chars().take(8).collect();
        format!("leases/{}.{boot}", self.host_name())
    }

    /// Says to collectors of other nodes which entries somebody on this host has open now. To be
    /// called every `limits::LEASE_RENEW`, and at the end.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`].
    pub fn renew_leases(&self) -> Result<(), Error> {
        let path = self.root().join(format!("{}.daemon", self.lease_stem()));
        let mut text = String::new();
        for info in self.entries()? {
            if self.is_open_here(&info.entry) {
                self.names_of(&info.entry).iter().for_each(|name| {
                    text.push_str(name);
                    text.push('\n');
                });
            }
        }
        if text.is_empty() {
            // Best effort: it dies of age otherwise.
            drop(std::fs::remove_file(&path));
            return Ok(());
        }
        let file = self.publish_bytes(&path, text.as_bytes())?;
        renew(&file).map_err(|cause| Error::disk("write", &path, 0, cause))
    }

    /// The same at the end of a process, where it left a lease.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`].
    pub fn end_leases(&self) -> Result<(), Error> {
        match self.root().join(format!("{}.daemon", self.lease_stem())).exists() {
            true => self.renew_leases(),
            false => Ok(()),
        }
    }

    /// The paths, below the cache's directory, that others have leased. Where locks tell what is in
    /// use on this host, its leases count while somebody holds them.
    pub(crate) fn leased(&self, do_locks_work: bool) -> Result<BTreeSet<String>, Error> {
        let now = self.file_system_time()?;
        let stem = self.lease_stem();
        let own = format!("{}.", stem.strip_prefix("leases/").unwrap_or(&stem));
        let mut leased = BTreeSet::new();
        each(&self.layout().leases(), |found| {
            let Ok(name) = found.file_name().into_string() else { return Ok(()) };
            if name == ".now" {
                return Ok(());
            }
            let Ok(file) = crate::files::open(&found.path()) else { return Ok(()) };
            let Ok(stat) = file.metadata() else { return Ok(()) };
            let renewed = time(stat.mtime(), stat.mtime_nsec());
            let is_old = now.duration_since(renewed).is_ok_and(|age| age >= limits::LEASE_HONOURED);
            let is_over = match do_locks_work && name.starts_with(&own) {
                true => !matches!(lock(&found.path()), Lock::Held),
                false => is_old,
            };
            if is_over {
                return Ok(());
            }
            if let Ok(Some(bytes)) = read_all(&file, LIMIT) {
                leased.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
            }
            Ok(())
        })?;
        Ok(leased)
    }

    /// True when a lease names a file of the entry.
    pub(crate) fn is_leased(&self, leased: &BTreeSet<String>, entry: &Entry) -> bool {
        self.names_of(entry).iter().any(|name| leased.contains(name))
    }

    /// The paths of an entry's files below the cache's directory.
    fn names_of(&self, entry: &Entry) -> Vec<String> {
        let files = files_of(entry, &self.own_path(entry));
        let names = files.iter().filter_map(|path| path.strip_prefix(self.root()).ok()?.to_str());
        names.map(str::to_owned).collect()
    }

    /// Whether a second lock on a file is refused here, as it has to be: there are file systems that
    /// grant every one.
    pub(crate) fn do_locks_work(&self) -> Result<bool, Error> {
        let both = [self.now_file()?, self.now_file()?];
        let alone = FlockOperation::NonBlockingLockExclusive;
        // Somebody else who looks at the same time is refused, or refuses: both prove it.
        Ok(both.iter().any(|file| rustix::fs::flock(file, alone) == Err(Errno::WOULDBLOCK)))
    }

    /// The host's name as part of a file name.
    pub(crate) fn host_name(&self) -> String {
        let host = &self.settings().host;
        let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        host.chars().take(64).map(safe).collect()
    }
}
