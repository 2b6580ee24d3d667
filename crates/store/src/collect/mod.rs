//! Collection: making room by removing what nobody uses.
//!
//! An entry is removed only when its files can be locked alone and no other host's lease names it;
//! it is moved out of sight first, so that a reader sees all of it or nothing. Partials go first,
//! then kept layers, segments, and the rest, each least recently used first.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use orlop_config::limits;
use orlop_publish::{PublishError, is_disk_full, move_aside};

use crate::files::{Lock, lock, random};
use crate::store::Store;
use crate::{Entry, Error, Info, Kind};

/// Which entries a cleaning is about.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only entries that were not used since then.
    pub unused_since: Option<SystemTime>,
    /// Only these kinds; empty for all.
    pub kinds: Vec<Kind>,
    /// Nothing is removed, only said.
    pub dry_run: bool,
}

/// What a collection did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Entries removed, or that would be.
    pub removed: Vec<Info>,
    /// Entries kept because somebody uses them.
    pub in_use: u64,
    /// Entries kept because they are pinned.
    pub pinned: u64,
}

impl Report {
    /// Bytes removed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.removed.iter().map(|info| info.bytes).sum()
    }
}

impl Store {
    /// Removes all entries that a filter names and nobody uses or has pinned, and what killed
    /// processes of this node left. Ends early when `stop` is raised.
    ///
    /// # Errors
    /// [`Error::Stopped`], [`Error::Disk`]; what was removed before stays removed.
    pub fn clean(&self, filter: &Filter, stop: &AtomicBool) -> Result<Report, Error> {
        if !filter.dry_run {
            self.sweep_own(stop)?;
        }
        let mut entries = self.entries()?;
        entries.retain(|info| {
            (filter.kinds.is_empty() || filter.kinds.contains(&info.kind))
                && filter.unused_since.is_none_or(|since| info.used <= since)
        });
        self.remove_until(entries, filter.dry_run, stop, |_| false)
    }

    /// Removes entries until the cache has at most `cap` bytes.
    ///
    /// # Errors
    /// As [`Store::clean`].
    pub fn collect(&self, cap: u64) -> Result<Report, Error> {
        let entries = self.entries()?;
        let all: u64 = entries.iter().map(|info| info.bytes).sum();
        self.remove_until(entries, false, &AtomicBool::new(false), |gone| {
            all.saturating_sub(gone) <= cap
        })
    }

    /// Removes entries until `bytes` bytes are gone.
    pub(crate) fn collect_bytes(&self, bytes: u64) -> Result<Report, Error> {
        let never = AtomicBool::new(false);
        self.remove_until(self.entries()?, false, &never, |gone| gone >= bytes)
    }

    /// Removes what nobody uses until `bytes` bytes are gone, but what is `wanted` and no downloads:
    /// those that are wanted are among them. Returns when the file system has counted it: Btrfs gives
    /// a quota back what was removed with its next commit.
    ///
    /// # Errors
    /// As [`Store::clean`].
    pub fn collect_others(&self, bytes: u64, wanted: &[Entry]) -> Result<Report, Error> {
        let mut entries = self.entries()?;
        let large = [Kind::Layer, Kind::Segment, Kind::Recipe, Kind::Sif];
        entries.retain(|info| large.contains(&info.kind) && !wanted.contains(&info.entry));
        let report =
            self.remove_until(entries, false, &AtomicBool::new(false), |gone| gone >= bytes)?;
        if report.bytes() > 0
            && let Ok(root) = File::open(self.root())
        {
            // Where it cannot be, the next try tells.
            let _synced = rustix::fs::syncfs(&root);
        }
        Ok(report)
    }

    fn remove_until(
        &self,
        mut entries: Vec<Info>,
        dry_run: bool,
        stop: &AtomicBool,
        enough: impl Fn(u64) -> bool,
    ) -> Result<Report, Error> {
        let mut report = Report::default();
        let mut gone: u64 = 0;
        if enough(gone) {
            return Ok(report);
        }
        entries.sort_by(|a, b| {
            (a.kind.rank(), a.used, &a.entry).cmp(&(b.kind.rank(), b.used, &b.entry))
        });
        let do_locks_work = self.do_locks_work()?;
        let (leased, pinned) = (self.leased(do_locks_work)?, self.pinned()?);
        let now = self.file_system_time()?;
        for info in entries {
            if enough(gone) {
                break;
            }
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            if pinned.contains(&info.entry) {
                report.pinned = report.pinned.saturating_add(1);
                continue;
            }
            let unused = now.duration_since(info.used).unwrap_or_default();
            // Where locks do not work, what was not used for as long as a lease is honoured is free.
            let is_free_unlocked = unused >= limits::LEASE_HONOURED;
            let written = now.duration_since(info.created).unwrap_or_default();
            if self.is_leased(&leased, &info.entry)
                || self.is_written_elsewhere(&info.entry, written)
                || (!do_locks_work && !is_free_unlocked)
                || !self.remove(&info.entry, is_free_unlocked, dry_run)?
            {
                report.in_use = report.in_use.saturating_add(1);
                continue;
            }
            gone = gone.saturating_add(info.bytes);
            report.removed.push(info);
        }
        if !dry_run && !report.removed.is_empty() {
            tracing::debug!(entries = report.removed.len(), bytes = gone, "collected");
        }
        Ok(report)
    }

    /// Removes one entry; false when somebody on this node uses it.
    pub(crate) fn remove(
        &self,
        entry: &Entry,
        is_free_unlocked: bool,
        dry_run: bool,
    ) -> Result<bool, Error> {
        let path = self.own_path(entry);
        let Some(locks) = lock_all(&files_of(entry, &path), is_free_unlocked) else {
            return Ok(false);
        };
        if dry_run {
            return Ok(true);
        }
        match entry {
            Entry::Segment(_) => self.move_out(&path)?,
            _ => remove_file(&path)?,
        }
        if let Entry::Partial(digest) = entry {
            remove_file(&self.layout().mark(digest))?;
        }
        drop(locks);
        Ok(true)
    }

    /// Takes a directory out of sight at once and then removes it.
    fn move_out(&self, path: &Path) -> Result<(), Error> {
        let tmp = self.layout().drafts();
        for _ in 0..4 {
            let aside = tmp.join(format!("{}{:016x}", self.gone(), random()));
            match move_aside(path, &aside) {
                Ok(()) => {
                    // Best effort: a sweep finds what is left.
                    drop(fs::remove_dir_all(&aside));
                    return Ok(());
                }
                Err(PublishError::Exists { .. }) => {}
                Err(PublishError::Disk { cause, .. })
                    if cause.kind() == std::io::ErrorKind::NotFound =>
                {
                    return Ok(());
                }
                // Btrfs counts a new name towards a quota, but lets the old ones go. What others see
                // meanwhile lacks a file: it is no segment.
                Err(PublishError::Disk { cause, .. }) if is_disk_full(&cause) => {
                    return remove_file(path);
                }
                Err(error) => return Err(Error::publish(0, error)),
            }
        }
        Ok(())
    }

    /// True when a process of this node has a file of the entry open and leased.
    pub(crate) fn is_open_here(&self, entry: &Entry) -> bool {
        let path = self.own_path(entry);
        files_of(entry, &path).iter().any(|file| matches!(lock(file), Lock::Held))
    }
}

pub(crate) fn files_of(entry: &Entry, path: &Path) -> Vec<PathBuf> {
    match entry {
        Entry::Segment(_) => vec![path.join("data"), path.join("index")],
        _ => vec![path.to_owned()],
    }
}

/// Locks all files alone; `None` when one of them is in use, or cannot be locked though nothing else
/// says that it is free.
fn lock_all(files: &[PathBuf], is_free_unlocked: bool) -> Option<Vec<File>> {
    let mut locks = Vec::new();
    for file in files {
        match lock(file) {
            Lock::Ours(file) => locks.push(file),
            Lock::Held => return None,
            Lock::Unknown if !is_free_unlocked => return None,
            Lock::Nothing | Lock::Unknown => {}
        }
    }
    Some(locks)
}

pub(crate) fn remove_file(path: &Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        _ => fs::remove_file(path),
    };
    match removed {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::disk("remove", path, 0, cause))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
