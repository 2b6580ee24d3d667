//! The draft: created, written, then published or dropped.
//!
//! Where the file system has `O_TMPFILE` the draft has no name at all until it is published, so a
//! killed process leaves nothing. Elsewhere, and for the instant before it replaces another file,
//! it is called `.orlop-<random>` and removed on drop.
//! A draft and the file it becomes are held with a shared `flock` until the last descriptor of them
//! is closed, so that sweepers ([`crate::sweep`]) and collectors leave it alone.
//! All steps go by directory descriptors: a directory that is renamed or replaced meanwhile does
//! not lead a draft astray.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use orlop_oci::{Algorithm, Digest, Hasher};
use rustix::fs::{AtFlags, CWD, Mode as Bits, OFlags};
use rustix::io::Errno;

use crate::PublishError;
use crate::names::{
    directory_of, file_name_of, hold, is_gone, open_directory, random_name, sync_directory,
};

/// Permissions of the file that becomes visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// These bits less the process's umask, as for a file that a user asked for.
    Masked(u32),
    /// Exactly these bits, whatever the umask is, as for a file with secrets.
    Exact(u32),
}

/// A file that no reader can see yet. Dropping it removes it.
#[derive(Debug)]
pub struct Draft {
    file: File,
    hash: Option<Hasher>,
    /// Where the draft has its temporary name, and the final name's directory.
    temporary: OwnedFd,
    directory: OwnedFd,
    /// The temporary name, while there is one to remove.
    named: Option<OsString>,
    name: OsString,
    target: PathBuf,
}

impl Draft {
    /// Begins a draft beside its target: same directory, hence same file system.
    ///
    /// # Errors
    /// [`PublishError::Disk`] when the directory cannot be opened or written.
    pub fn beside(target: &Path, mode: Mode) -> Result<Self, PublishError> {
        Self::within(directory_of(target), target, mode)
    }

    /// Begins a draft in `temporary`, a directory of the same file system as the target.
    ///
    /// # Errors
    /// [`PublishError::Disk`] when one of the directories cannot be opened or written.
    pub fn within(temporary: &Path, target: &Path, mode: Mode) -> Result<Self, PublishError> {
        let disk = |cause: Errno| PublishError::Disk {
            target: target.to_owned(),
            doing: "create",
            cause: cause.into(),
        };
        let name = file_name_of(target).map_err(disk)?;
        let directory = open_directory(directory_of(target)).map_err(disk)?;
        let temporary = open_directory(temporary).map_err(disk)?;
        let (file, named) = create(&temporary, mode).map_err(disk)?;
        Ok(Self { file, hash: None, temporary, directory, named, name, target: target.to_owned() })
    }

    /// Hashes all bytes written from now on, so that [`Draft::publish`] needs no second reading.
    #[must_use]
    pub fn hashing(mut self, algorithm: Algorithm) -> Self {
        self.hash = Some(Hasher::new(algorithm));
        self
    }

    /// The digest of all bytes written so far, where they are hashed.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.hash.clone().map(Hasher::finish)
    }

    /// Gives the draft another name in its target's directory: of content that is named by its
    /// digest the name is known at the end alone.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self.target.set_file_name(name);
        self
    }

    /// The file, for writing at offsets or for reflinks. Bytes written past [`Write`] are not
    /// hashed.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The name the draft will have.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Publishes the draft under its name, replacing what is there, after checking its digest.
    ///
    /// # Errors
    /// [`PublishError::NotTheBytes`]: nothing became visible.
    /// [`PublishError::Disk`]: the same, but that a failed sync of the directory leaves the whole
    /// new file visible.
    pub fn publish(mut self, expected: &Digest) -> Result<File, PublishError> {
        let actual = match self.hash.take() {
            Some(hash) if expected.algorithm() == hash.algorithm() => hash.finish(),
            _ => self.read_digest(expected.algorithm())?,
        };
        if actual != *expected {
            return Err(PublishError::NotTheBytes { expected: expected.clone(), actual });
        }
        self.replace()
    }

    /// Publishes the draft under its name, replacing what is there.
    ///
    /// # Errors
    /// [`PublishError::Disk`], as for [`Draft::publish`].
    pub fn replace(mut self) -> Result<File, PublishError> {
        self.take_name()
    }

    fn take_name(&mut self) -> Result<File, PublishError> {
        self.sync()?;
        if self.named.is_none() && self.link_unnamed() == Ok(()) {
            return self.settle();
        }
        self.give_name()?;
        let named = self.named.clone().unwrap_or_default();
        rustix::fs::renameat(&self.temporary, &named, &self.directory, &self.name)
            .map_err(|cause| self.disk("rename", cause))?;
        self.named = None;
        self.settle()
    }

    /// Publishes the draft under its name unless that name is taken. It is no draft any more then.
    ///
    /// # Errors
    /// [`PublishError::Exists`] when the name is taken, by a dangling link too: the draft stays as it
    /// is. [`PublishError::Disk`], as for [`Draft::publish`].
    pub fn publish_new(&mut self) -> Result<File, PublishError> {
        self.sync()?;
        let linked = match self.named.clone() {
            None => self.link_unnamed(),
            Some(named) => rustix::fs::linkat(
                &self.temporary,
                &named,
                &self.directory,
                &self.name,
                AtFlags::empty(),
            ),
        };
        match linked {
            Ok(()) => self.settle(),
            Err(Errno::EXIST) => Err(PublishError::Exists { target: self.target.clone() }),
            // File systems without hard links: the check and the rename are two steps there.
            Err(cause) if is_refused(cause) => {
                if rustix::fs::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok()
                {
                    return Err(PublishError::Exists { target: self.target.clone() });
                }
                self.take_name()
            }
            Err(cause) => Err(self.disk("rename", cause)),
        }
    }

    /// Gives a draft without a name its own at once, which works only where the name is free.
    fn link_unnamed(&self) -> Result<(), Errno> {
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let follow = AtFlags::SYMLINK_FOLLOW;
        rustix::fs::linkat(CWD, own.as_str(), &self.directory, &self.name, follow)
    }

    fn settle(&self) -> Result<File, PublishError> {
        sync_directory(&self.directory).map_err(|cause| self.disk("sync", cause))?;
        self.file.try_clone().map_err(|cause| PublishError::Disk {
            target: self.target.clone(),
            doing: "open",
            cause,
        })
    }

    /// A file that failed to sync is never synced again: the kernel may have dropped its pages.
    fn sync(&mut self) -> Result<(), PublishError> {
        self.file.sync_all().map_err(|cause| PublishError::Disk {
            target: self.target.clone(),
            doing: "sync",
            cause,
        })
    }

    fn read_digest(&self, algorithm: Algorithm) -> Result<Digest, PublishError> {
        use std::os::unix::fs::FileExt as _;
        let mut hash = Hasher::new(algorithm);
        let mut buffer = vec![0; 1 << 17];
        let mut offset = 0;
        loop {
            let got = self.file.read_at(&mut buffer, offset).map_err(|cause| {
                PublishError::Disk { target: self.target.clone(), doing: "read", cause }
            })?;
            if got == 0 {
                return Ok(hash.finish());
            }
            hash.update(buffer.get(..got).unwrap_or_default());
            offset += got as u64;
        }
    }

    /// Gives an unnamed draft a temporary name, which a rename needs. Where the file system makes
    /// files without a name but cannot name them later, the draft is copied into one that has.
    pub(crate) fn give_name(&mut self) -> Result<(), PublishError> {
        if self.named.is_some() {
            return Ok(());
        }
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        for _ in 0..16 {
            let name = random_name().map_err(|cause| self.disk("create", cause))?;
            match rustix::fs::linkat(
                CWD,
                own.as_str(),
                &self.temporary,
                &name,
                AtFlags::SYMLINK_FOLLOW,
            ) {
                Ok(()) => {
                    self.named = Some(name);
                    return Ok(());
                }
                Err(Errno::EXIST) => {}
                Err(cause) if is_refused(cause) => return self.copy_into_named(),
                Err(cause) => return Err(self.disk("create", cause)),
            }
        }
        Err(self.disk("create", Errno::EXIST))
    }

    fn copy_into_named(&mut self) -> Result<(), PublishError> {
        let failed = |doing| {
            let target = self.target.clone();
            move |cause| PublishError::Disk { target, doing, cause }
        };
        let found = rustix::fs::fstat(&self.file).map_err(|cause| self.disk("read", cause))?;
        let bits = Bits::from_raw_mode(found.st_mode & 0o7777);
        let (fd, named) =
            create_named(&self.temporary, bits).map_err(|cause| self.disk("create", cause))?;
        let mut copy = File::from(fd);
        // From here on the copy is the draft, so that it goes with it.
        self.named = named;
        rustix::fs::fchmod(&copy, bits).map_err(|cause| self.disk("create", cause))?;
        let mut whole = FromStart { file: &self.file, at: 0 };
        io::copy(&mut whole, &mut copy).map_err(failed("write"))?;
        copy.sync_all().map_err(failed("sync"))?;
        self.file = copy;
        Ok(())
    }

    fn disk(&self, doing: &'static str, cause: Errno) -> PublishError {
        PublishError::disk(&self.target, doing, cause)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        if let Some(hash) = &mut self.hash {
            hash.update(bytes.get(..written).unwrap_or_default());
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(name) = self.named.take() {
            // Best effort: who sweeps the directory later knows the name's form.
            let _ = rustix::fs::unlinkat(&self.temporary, &name, AtFlags::empty());
        }
    }
}

/// Whether a file system says that it has no such link.
fn is_refused(cause: Errno) -> bool {
    matches!(
        cause,
        Errno::PERM
            | Errno::OPNOTSUPP
            | Errno::MLINK
            | Errno::NOSYS
            | Errno::INVAL
            | Errno::XDEV
            | Errno::NOTTY
    )
}

/// A file's bytes from its start, without its descriptor's own position.
struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl io::Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt as _;
        let count = self.file.read_at(buffer, self.at)?;
        self.at = self.at.saturating_add(count as u64);
        Ok(count)
    }
}

fn create(directory: &OwnedFd, mode: Mode) -> Result<(File, Option<OsString>), Errno> {
    let bits = match mode {
        Mode::Masked(bits) | Mode::Exact(bits) => Bits::from_raw_mode(bits & 0o7777),
    };
    let (fd, name) = match create_unnamed(directory, bits) {
        Ok(fd) => (fd, None),
        Err(_) => create_named(directory, bits)?,
    };
    hold(&fd);
    if let Mode::Exact(_) = mode {
        rustix::fs::fchmod(&fd, bits)?;
    }
    Ok((File::from(fd), name))
}

/// Fails where `O_TMPFILE` or the way to name such a file later does not exist.
fn create_unnamed(directory: &OwnedFd, bits: Bits) -> Result<OwnedFd, Errno> {
    rustix::fs::access("/proc/self/fd", rustix::fs::Access::READ_OK)?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::openat(directory.as_fd(), ".", flags, bits)
}

fn create_named(directory: &OwnedFd, bits: Bits) -> Result<(OwnedFd, Option<OsString>), Errno> {
    for _ in 0..16 {
        let name = random_name()?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(directory.as_fd(), &name, flags, bits) {
            Ok(fd) => {
                // A sweeper may have been faster than the lock.
                if hold(&fd) && !is_gone(&fd) {
                    return Ok((fd, Some(name)));
                }
                // Who had the lock may have looked alone.
                let _ = rustix::fs::unlinkat(directory, &name, AtFlags::empty());
            }
            Err(Errno::EXIST) => {}
            Err(cause) => return Err(cause),
        }
    }
    Err(Errno::EXIST)
}

#[cfg(test)]
mod tests;
