//! Space: how much the file system has, how much the cache may take, room for what comes.

use std::sync::atomic::AtomicBool;

use orlop_config::limits;

use crate::store::Store;
use crate::{Error, Report};

/// Magic numbers of file systems on which files share pages: Btrfs and XFS (linux/magic.h).
const SHARING: [u32; 2] = [0x9123_683e, 0x5846_5342];

/// Bytes of the file system that the cache lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What this user may still write.
    pub free: u64,
}

impl Space {
    /// The default cap: a part of the file system, at most [`limits::CACHE_MAX_BYTES`].
    #[must_use]
    pub fn default_cap(&self) -> u64 {
        percent(self.total, limits::CACHE_PERCENT).min(limits::CACHE_MAX_BYTES)
    }

    /// Bytes that the cache leaves free where it can by collecting.
    #[must_use]
    pub fn floor(&self) -> u64 {
        percent(self.total, limits::CACHE_FLOOR_PERCENT).min(limits::CACHE_FLOOR_BYTES)
    }
}

impl Store {
    /// Asks the file system for its space.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn space(&self) -> Result<Space, Error> {
        let found = rustix::fs::statvfs(self.root())
            .map_err(|cause| Error::errno("measure", self.root(), cause))?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Space { total: bytes(found.f_blocks), free: bytes(found.f_bavail) })
    }

    /// Bytes the cache may hold before it is collected.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn cap(&self) -> Result<u64, Error> {
        match self.settings().cap_bytes {
            Some(cap) => Ok(cap),
            None => Ok(self.space()?.default_cap()),
        }
    }

    /// Sees to room for `all` more bytes: where the floor would be touched, what killed processes of
    /// this node left goes, and then entries are collected. The floor is no reason to fail: who has
    /// less than that free may still pull what fits.
    ///
    /// # Errors
    /// [`Error::DiskFull`] when there is no room for `least` of them even so; it names `all`.
    /// [`Error::Disk`].
    pub fn make_room(&self, least: u64, all: u64) -> Result<Report, Error> {
        let space = self.space()?;
        let directory = || self.root().to_owned();
        let full = || Error::DiskFull { directory: directory(), bytes: all, cause: None };
        // What no emptied cache makes room for empties none.
        if least > space.total {
            return Err(full());
        }
        let wanted = if all > space.total { least } else { all };
        let wanted = wanted.saturating_add(space.floor());
        if space.free >= wanted {
            return Ok(Report::default());
        }
        self.sweep_own(&AtomicBool::new(false))?;
        let report = self.collect_bytes(wanted.saturating_sub(self.space()?.free))?;
        if self.space()?.free < least { Err(full()) } else { Ok(report) }
    }

    /// Whether a file on the file system of this number (`st_dev`) takes room of the cache's, though
    /// its bytes are in the cache: it is the same one, and files there share no pages.
    #[must_use]
    pub fn is_room_taken_on(&self, device: u64) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let is_same = std::fs::metadata(self.root()).is_ok_and(|found| found.dev() == device);
        let shares = rustix::fs::statfs(self.root())
            .is_ok_and(|found| SHARING.iter().any(|kind| i64::from(*kind) == found.f_type));
        is_same && !shares
    }
}

fn percent(of: u64, percent: u64) -> u64 {
    of.checked_div(100).unwrap_or_default().saturating_mul(percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{key, put_segment, store};

    #[test]
    fn caps_and_floors_follow_the_file_system_up_to_a_bound() {
        let space = |total| Space { total, free: 0 };
        assert_eq!(space(1000 << 20).default_cap(), 200 << 20);
        assert_eq!(space(1 << 50).default_cap(), 100 << 30);
        assert_eq!(space(1000 << 20).floor(), 20 << 20);
        assert_eq!(space(1 << 50).floor(), 1 << 30);
    }

    #[test]
    fn f30_what_cannot_fit_is_named_with_its_bytes_and_directory() {
        let (_directory, store) = store();
        drop(put_segment(&store, 1, b"data", b"index"));
        let said = |bytes: u64| {
            format!("no space left in {}, {bytes} bytes are needed", store.root().display())
        };
        let error = store.make_room(1 << 60, 1 << 60).unwrap_err();
        assert_eq!(error.to_string(), said(1 << 60));
        assert!(store.segment(&key(1)).unwrap().is_some(), "nothing goes for what fits nowhere");
        let all = store.space().unwrap().total;
        // What fits nowhere but need not is no reason to empty the cache either.
        store.make_room(1, 1 << 60).unwrap();
        assert!(store.segment(&key(1)).unwrap().is_some());
        let error = store.make_room(all, all + 1).unwrap_err();
        assert_eq!(error.to_string(), said(all + 1));
        assert!(store.segment(&key(1)).unwrap().is_none(), "what nobody uses has made room");
    }
}
