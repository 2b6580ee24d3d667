//! Directories: making those that are missing, a draft of one that becomes visible with all its
//! files at once, and moving a visible thing out of sight.
//!
//! The draft is a directory with a temporary name below `temporary`, held with a shared `flock` like
//! a file draft. Files are written into it by name, then all are synced, then the directory is
//! renamed. The name it gets must be free, or is kept by whoever was first.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::PublishError;
use crate::names::{
    directory_of, file_name_of, hold, is_gone, name_of, open_directory, sync_directory,
};

/// A directory that no reader can see yet. Dropping it removes it with its files.
#[derive(Debug)]
pub struct DirectoryDraft {
    /// The draft itself.
    fd: OwnedFd,
    /// The directory in which it has its temporary name.
    temporary: OwnedFd,
    named: Option<OsString>,
    files: Vec<(OsString, File)>,
    place: PathBuf,
}

impl DirectoryDraft {
    /// Begins a draft (mode 0700) in `temporary`, a directory of the target's file system. Its name
    /// says who makes it ([`crate::is_made_by`]).
    ///
    /// # Errors
    /// [`PublishError::Disk`] when the directory cannot be written.
    pub fn within(temporary: &Path, maker: u32) -> Result<Self, PublishError> {
        let disk = |cause: Errno| PublishError::disk(temporary, "create", cause);
        let parent = open_directory(temporary).map_err(disk)?;
        for _ in 0..16 {
            let name = name_of(maker).map_err(disk)?;
            match rustix::fs::mkdirat(&parent, &name, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(cause) => return Err(disk(cause)),
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = match rustix::fs::openat(&parent, &name, flags, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::NOENT) => continue,
                Err(cause) => {
                    // Best effort, as in `drop`.
                    let _ = rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR);
                    return Err(disk(cause));
                }
            };
            // A sweeper may have been faster than the lock.
            if hold(&fd) && !is_gone(&fd) {
                let place = temporary.join(&name);
                let named = Some(name);
                return Ok(Self { fd, temporary: parent, named, files: Vec::new(), place });
            }
            // Who had the lock may have looked alone.
            let _ = rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR);
        }
        Err(disk(Errno::EXIST))
    }

    /// Makes an empty file (mode 0600) in the draft, open for reading and writing. The file is held
    /// with a shared `flock`, also after it has become visible.
    ///
    /// # Errors
    /// [`PublishError::Disk`].
    pub fn create(&mut self, name: &str) -> Result<File, PublishError> {
        let disk = |cause: Errno| PublishError::disk(&self.place.join(name), "create", cause);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        let fd =
            rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR).map_err(disk)?;
        hold(&fd);
        let file = File::from(fd);
        match file.try_clone() {
            Ok(kept) => self.files.push((name.into(), kept)),
            Err(cause) => {
                // It is none of the draft's: nobody else would remove it.
                let _ = rustix::fs::unlinkat(&self.fd, name, AtFlags::empty());
                let target = self.place.join(name);
                return Err(PublishError::Disk { target, doing: "create", cause });
            }
        }
        Ok(file)
    }

    /// Publishes the directory under a name that is free. It is no draft any more then.
    ///
    /// # Errors
    /// [`PublishError::Exists`] when something has that name: the draft stays as it is.
    /// [`PublishError::Disk`]; nothing became visible, but that a failed sync of the directory
    /// around it leaves the whole new one visible.
    pub fn publish_new(&mut self, target: &Path) -> Result<(), PublishError> {
        let disk = |doing| move |cause: Errno| PublishError::disk(target, doing, cause);
        for (name, file) in &self.files {
            file.sync_all().map_err(|cause| PublishError::Disk {
                target: target.join(name),
                doing: "sync",
                cause,
            })?;
        }
        sync_directory(&self.fd).map_err(disk("sync"))?;
        let parent = open_directory(directory_of(target)).map_err(disk("open"))?;
        let name = file_name_of(target).map_err(disk("rename"))?;
        let named = self.named.clone().unwrap_or_default();
        rename_new(&self.temporary, &named, &parent, &name).map_err(|cause| match cause {
            Errno::EXIST | Errno::NOTEMPTY => PublishError::Exists { target: target.to_owned() },
            cause => PublishError::disk(target, "rename", cause),
        })?;
        self.named = None;
        sync_directory(&parent).map_err(disk("sync"))
    }
}

impl Drop for DirectoryDraft {
    fn drop(&mut self) {
        // Best effort: a sweeper finds what is left.
        let Some(named) = self.named.take() else { return };
        for (name, _) in &self.files {
            let _ = rustix::fs::unlinkat(&self.fd, name, AtFlags::empty());
        }
        let _ = rustix::fs::unlinkat(&self.temporary, &named, AtFlags::REMOVEDIR);
    }
}

/// Publishes a file that has a name on the same file system already: syncs it, gives it its new
/// name, replacing what is there, and syncs the directory. For downloads that grew under a name of
/// their own.
///
/// # Errors
/// [`PublishError::Disk`]; the file has its old name still, but that a failed sync of the directory
/// leaves it visible under the new one.
pub fn adopt(file: &File, from: &Path, to: &Path) -> Result<(), PublishError> {
    let disk = |doing| move |cause: Errno| PublishError::disk(to, doing, cause);
    file.sync_all().map_err(|cause| PublishError::Disk {
        target: to.to_owned(),
        doing: "sync",
        cause,
    })?;
    let parent = open_directory(directory_of(to)).map_err(disk("open"))?;
    let name = file_name_of(to).map_err(disk("rename"))?;
    rustix::fs::renameat(CWD, from, &parent, &name).map_err(disk("rename"))?;
    sync_directory(&parent).map_err(disk("sync"))
}

/// Makes a directory (mode 0700) with its parents, those that are missing, so that they last: what
/// is published in a new directory goes with it in a power cut until the directory around it was
/// synced.
///
/// # Errors
/// [`PublishError::Disk`] with the path that could not be made or synced.
pub fn make_directories(path: &Path) -> Result<(), PublishError> {
    let mut missing = Vec::new();
    let mut at = path;
    while !is_directory(at) && missing.last() != Some(&at) {
        missing.push(at);
        at = directory_of(at);
    }
    for made in missing.into_iter().rev() {
        match rustix::fs::mkdirat(CWD, made, Mode::RWXU) {
            Ok(()) => {}
            Err(_) if is_directory(made) => {}
            Err(cause) => return Err(PublishError::disk(made, "create", cause)),
        }
        sync_name(made)?;
    }
    Ok(())
}

/// Makes the name of a file or directory that is there last. For directories that somebody else may
/// have made just now.
///
/// # Errors
/// [`PublishError::Disk`].
pub fn sync_name(path: &Path) -> Result<(), PublishError> {
    match open_directory(directory_of(path)) {
        Ok(parent) => {
            sync_directory(&parent).map_err(|cause| PublishError::disk(path, "sync", cause))
        }
        // One that may be passed through and not be read cannot be synced.
        Err(Errno::ACCESS) => Ok(()),
        Err(cause) => Err(PublishError::disk(path, "open", cause)),
    }
}

fn is_directory(path: &Path) -> bool {
    rustix::fs::stat(path)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Moves a file or directory out of sight, to a name that must be free, within one file system.
/// Nothing is synced: what is out of sight does not matter after a crash.
///
/// # Errors
/// [`PublishError::Exists`], [`PublishError::Disk`]; it is still where it was.
pub fn move_aside(from: &Path, to: &Path) -> Result<(), PublishError> {
    rename_new(CWD, from, CWD, to).map_err(|cause| match cause {
        Errno::EXIST | Errno::NOTEMPTY => PublishError::Exists { target: to.to_owned() },
        cause => PublishError::disk(from, "move", cause),
    })
}

/// Renames without replacing. Where the file system has no such call, a directory replaces at most
/// an empty one by a plain rename, and for a file the check and the rename are two steps.
fn rename_new(
    from: impl std::os::fd::AsFd,
    name: impl AsRef<Path>,
    to: impl std::os::fd::AsFd,
    new: impl AsRef<Path>,
) -> Result<(), Errno> {
    let (name, new) = (name.as_ref(), new.as_ref());
    let flags = RenameFlags::NOREPLACE;
    match rustix::fs::renameat_with(&from, name, &to, new, flags) {
        // A plain rename says so itself where it is another device indeed.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV) => {}
        other => return other,
    }
    if rustix::fs::statat(&to, new, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Err(Errno::EXIST);
    }
    rustix::fs::renameat(from, name, to, new)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_directory_becomes_visible_with_all_its_files() {
        let root = tempfile::tempdir().unwrap();
        let (tmp, target) = (root.path().join("tmp"), root.path().join("k"));
        fs::create_dir(&tmp).unwrap();
        let mut draft = DirectoryDraft::within(&tmp, 7).unwrap();
        draft.create("data").unwrap().write_all(b"d").unwrap();
        draft.create("index").unwrap().write_all(b"i").unwrap();
        assert!(!target.exists());
        draft.publish_new(&target).unwrap();
        assert_eq!(fs::read(target.join("data")).unwrap(), b"d");
        assert_eq!(fs::read(target.join("index")).unwrap(), b"i");
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
    }

    #[test]
    fn the_first_directory_stays_and_the_second_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("k");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("data"), b"first").unwrap();
        let mut draft = DirectoryDraft::within(root.path(), 7).unwrap();
        draft.create("data").unwrap().write_all(b"second").unwrap();
        let error = draft.publish_new(&target).unwrap_err();
        assert!(matches!(error, PublishError::Exists { .. }), "{error}");
        assert_eq!(fs::read(target.join("data")).unwrap(), b"first");
        // When the first one goes, the second can have its name.
        fs::remove_dir_all(&target).unwrap();
        draft.publish_new(&target).unwrap();
        assert_eq!(fs::read(target.join("data")).unwrap(), b"second");
        let mut draft = DirectoryDraft::within(root.path(), 7).unwrap();
        draft.create("data").unwrap();
        assert!(draft.publish_new(&target).is_err());
        drop(draft);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn missing_directories_are_made_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        make_directories(&path).unwrap();
        make_directories(&path).unwrap();
        for made in [root.path().join("a"), path.clone()] {
            assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
        }
        fs::write(path.join("file"), b"x").unwrap();
        let error = make_directories(&path.join("file/below")).unwrap_err();
        assert!(error.to_string().ends_with("file"), "{error}");
    }

    #[test]
    fn a_dropped_directory_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let mut draft = DirectoryDraft::within(root.path(), 7).unwrap();
        draft.create("data").unwrap().write_all(b"x").unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        drop(draft);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_moved_aside_replaces_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (a, b) = (root.path().join("a"), root.path().join("b"));
        fs::write(&a, b"a").unwrap();
        fs::write(&b, b"b").unwrap();
        assert!(matches!(move_aside(&a, &b), Err(PublishError::Exists { .. })));
        fs::remove_file(&b).unwrap();
        move_aside(&a, &b).unwrap();
        assert_eq!(fs::read(&b).unwrap(), b"a");
    }
}
