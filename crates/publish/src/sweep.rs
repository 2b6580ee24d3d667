//! Removing what killed processes left: drafts that still have their temporary name.
//!
//! A living draft holds a shared `flock`; one on which an exclusive lock can be had belongs to
//! nobody. Where locks do not work nothing is removed.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};

use crate::names::{is_temporary, open_directory};

/// Removes the file drafts of dead processes from a directory; returns how many there were.
///
/// Only regular files of this user with a draft's name are touched. Never fails: what cannot be
/// read or removed stays for the next sweep.
#[must_use = "the number of drafts removed is worth a line in the log"]
pub fn sweep(directory: &Path) -> usize {
    let Ok(fd) = open_directory(directory) else { return 0 };
    let Ok(names) = Dir::read_from(&fd) else { return 0 };
    let mut removed = 0;
    for entry in names.flatten() {
        let name = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes());
        if !is_temporary(name) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(draft) = rustix::fs::openat(&fd, name, flags, Mode::empty()) else { continue };
        let ours = rustix::fs::fstat(&draft).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                && stat.st_uid == rustix::process::geteuid().as_raw()
        });
        if ours
            && rustix::fs::flock(&draft, FlockOperation::NonBlockingLockExclusive).is_ok()
            && rustix::fs::unlinkat(&fd, name, AtFlags::empty()).is_ok()
        {
            removed += 1;
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{DirectoryDraft, Draft, Mode as Permissions};

    #[test]
    fn drafts_of_the_dead_go_and_those_of_the_living_stay() {
        let root = tempfile::tempdir().unwrap();
        let dead = root.path().join(".orlop-0123456789abcdef");
        let other = root.path().join(".orlop-notes");
        fs::write(&dead, b"x").unwrap();
        fs::write(&other, b"x").unwrap();
        let mut draft = Draft::beside(&root.path().join("x"), Permissions::Exact(0o600)).unwrap();
        draft.give_name().unwrap();
        let directory = DirectoryDraft::within(root.path(), 7).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 4);
        assert_eq!(sweep(root.path()), 1);
        assert!(!dead.exists());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3);
        draft.replace().unwrap();
        drop(directory);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    }
}
