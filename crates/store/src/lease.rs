//! Leases: what keeps a collector from an entry.
//!
//! On one node an open file with a shared `flock` is the lease: a collector removes only what it
//! can lock alone. For other nodes' collectors a file `leases/<entry>.<host>` says the same; it is
//! renewed and honoured for a while, by the file system's clock.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orlop_config::limits;
use rustix::event::{Timespec, poll};
use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::files::{list, open_or_make, renew, time, touch};
use crate::store::Store;
use crate::{Entry, Error};

/// How often a lock that a collector holds for an instant is tried, a millisecond apart.
const TRIES: u32 = 20;

/// An open file of the cache that no collector of this node removes while it is open.
#[derive(Debug)]
pub struct Leased {
    file: File,
    path: PathBuf,
    bytes: u64,
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
    pub(crate) fn open(path: &Path) -> Result<Opened, Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        for _ in 0..TRIES {
            let fd = match rustix::fs::open(path, flags, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Opened::Missing),
                Err(Errno::STALE) => continue,
                Err(cause @ (Errno::ACCESS | Errno::LOOP | Errno::NXIO)) => {
                    return Ok(Opened::Odd(cause));
                }
                Err(cause) => return Err(Error::errno("open", path, cause)),
            };
            let stat = rustix::fs::fstat(&fd).map_err(|cause| Error::errno("read", path, cause))?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Ok(Opened::Odd(Errno::ISDIR));
            }
            let file = File::from(fd);
            lock_shared(&file);
            // Removed between opening and locking: perhaps there is a new one.
            if rustix::fs::fstat(&file).is_ok_and(|stat| stat.st_nlink == 0) {
                continue;
            }
            touch(&file);
            return Self::take(file, path).map(Opened::Leased);
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
        match Leased::open(&self.own_path(entry))? {
            Opened::Leased(leased) => Ok(Some(leased)),
            Opened::Missing => {
                match self.under(entry).map(|path| Leased::open(&path)).transpose()? {
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

    /// Says to collectors of other nodes that an entry is in use on this host.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`].
    pub fn lease(&self, entry: &Entry) -> Result<(), Error> {
        let path = self.lease_path(entry);
        let failed = |cause| Error::disk("write", &path, 0, cause);
        let file = self.mended(|| open_or_make(&path).map_err(failed))?;
        renew(&file).map_err(failed)
    }

    /// Renews this host's lease files of entries that somebody on it has open, and removes the
    /// others. To be called every `limits::LEASE_RENEW`.
    ///
    /// # Errors
    /// [`Error::Disk`] when the directory cannot be read.
    pub fn renew_leases(&self) -> Result<(), Error> {
        for info in self.entries()? {
            if self.is_open_here(&info.entry) {
                self.lease(&info.entry)?;
            } else {
                // Best effort: it dies of age otherwise.
                drop(std::fs::remove_file(self.lease_path(&info.entry)));
            }
        }
        Ok(())
    }

    /// True when a collector of another host must leave the entry alone.
    pub(crate) fn is_leased_elsewhere(&self, leases: &[(String, Duration)], entry: &Entry) -> bool {
        let prefix = format!("{}.", entry.file_name());
        let own = self.lease_name(entry);
        leases.iter().any(|(name, age)| {
            name.starts_with(&prefix) && *name != own && *age < limits::LEASE_HONOURED
        })
    }

    /// Names of all lease files and how long ago each was renewed.
    pub(crate) fn leases(&self) -> Result<Vec<(String, Duration)>, Error> {
        let now = self.file_system_time()?;
        let directory = self.layout().leases();
        let mut leases = Vec::new();
        for found in list(&directory)? {
            let Ok(name) = found.file_name().into_string() else { continue };
            let Ok(stat) = found.metadata() else { continue };
            let renewed = time(stat.mtime(), stat.mtime_nsec());
            leases.push((name, now.duration_since(renewed).unwrap_or_default()));
        }
        Ok(leases)
    }

    fn lease_path(&self, entry: &Entry) -> PathBuf {
        self.layout().leases().join(self.lease_name(entry))
    }

    fn lease_name(&self, entry: &Entry) -> String {
        format!("{}.{}", entry.file_name(), self.host_name())
    }

    /// The host's name as part of a file name.
    pub(crate) fn host_name(&self) -> String {
        let host = &self.settings().host;
        let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        host.chars().take(64).map(safe).collect()
    }
}
