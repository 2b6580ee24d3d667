//! Bytes on their way to the disk while more of them are written, so that the sync which makes a
//! file safe has little left to do: one helper thread for each file that is large.
//!
//! An error of a sync is told by the system once. It is kept here and given at the end, because the
//! sync that comes later may not hear of it. Not here: the sync that counts (`orlop-publish`).

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Bytes that are written between two syncs. A file that becomes smaller has no helper.
const STEP: u64 = 32 << 20;

/// What whoever writes tells of it.
#[derive(Debug, Default)]
pub(crate) struct Written {
    bytes: AtomicU64,
    due: Option<SyncSender<()>>,
}

impl Written {
    /// So many bytes more were written.
    pub(crate) fn add(&self, bytes: u64) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let steps = |bytes: u64| bytes.checked_div(STEP);
        if let Some(due) = &self.due
            && steps(before) != steps(before.saturating_add(bytes))
        {
            // One that is under way, or waits, will see these bytes or leaves them to the next.
            let _ = due.try_send(());
        }
    }
}

/// The helper of one file; it ends when its [`Written`] is dropped.
#[derive(Debug)]
pub(crate) struct Syncing<'scope>(Option<ScopedJoinHandle<'scope, io::Result<()>>>);

impl<'scope> Syncing<'scope> {
    /// Starts a helper for a file that will have about `size` bytes. Where the system refuses a
    /// thread there is none.
    pub(crate) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        file: &File,
        size: u64,
    ) -> (Written, Self) {
        if size < STEP {
            return (Written::default(), Self(None));
        }
        let Ok(file) = file.try_clone() else { return (Written::default(), Self(None)) };
        let (due, wanted) = sync_channel(1);
        let thread = Builder::new().name("sync".to_owned());
        match thread.spawn_scoped(scope, move || sync(&file, &wanted)) {
            Ok(thread) => (Written { due: Some(due), ..Written::default() }, Self(Some(thread))),
            Err(_) => (Written::default(), Self(None)),
        }
    }

    /// Waits for the last sync, after [`Written`] was dropped.
    ///
    /// # Errors
    /// The first error of a sync: bytes may be lost, the file is worthless.
    pub(crate) fn finish(self) -> io::Result<()> {
        let ended = self.0.map_or(Ok(Ok(())), ScopedJoinHandle::join);
        ended.unwrap_or_else(|_| Err(io::Error::other("the sync thread panicked")))
    }
}

fn sync(file: &File, wanted: &Receiver<()>) -> io::Result<()> {
    while wanted.recv().is_ok() {
        file.sync_data()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_sync_is_told_at_the_end() {
        // A pipe cannot be synced.
        let (_reader, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        let outcome = std::thread::scope(|scope| {
            let (written, syncing) = Syncing::start(scope, &file, STEP);
            written.add(STEP);
            drop(written);
            syncing.finish()
        });
        assert!(outcome.is_err());
    }

    #[test]
    fn a_small_file_and_a_few_bytes_are_not_synced() {
        let (_reader, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        for (size, bytes) in [(STEP - 1, STEP), (STEP, STEP - 1)] {
            let outcome = std::thread::scope(|scope| {
                let (written, syncing) = Syncing::start(scope, &file, size);
                written.add(bytes);
                drop(written);
                syncing.finish()
            });
            outcome.unwrap();
        }
    }
}
