//! Whether the cache's disk answers, and what was last known of it.
//!
//! A disk that hangs, as that of a file server that is gone, stops every thread that touches it. So
//! the file system is asked for its space by one thread at a time, and who only wants to know how
//! things are does not wait for more than an instant.
//!
//! Not here: work that needs the disk, which waits for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orlop_store::Store;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::services::control::Sizes;
use crate::tasks::Tasks;

/// How long a call that tells how things are waits for the disk.
const INSTANT: Duration = Duration::from_millis(50);

/// The cache's disk as it is known.
#[derive(Debug)]
pub(crate) struct Disk {
    /// Since when it has been asked and has not answered.
    asked: Arc<watch::Sender<Option<Instant>>>,
    sizes: Mutex<Sizes>,
}

impl Default for Disk {
    fn default() -> Self {
        Self { asked: Arc::new(watch::Sender::new(None)), sizes: Mutex::default() }
    }
}

impl Disk {
    /// Asks it, unless it has been asked and has not answered yet.
    pub(crate) fn ask(&self, tasks: &Tasks, store: &Store) {
        let is_new = self.asked.send_if_modified(|asked| {
            let is_new = asked.is_none();
            asked.get_or_insert_with(Instant::now);
            is_new
        });
        if is_new {
            let (asked, store) = (Arc::clone(&self.asked), store.clone());
            tasks.detached("disk", move || {
                // That it answers counts, not what.
                drop(store.space());
                asked.send_replace(None);
            });
        }
    }

    /// Whether it answers at once.
    pub(crate) async fn answers(&self, tasks: &Tasks, store: &Store) -> bool {
        self.ask(tasks, store);
        let mut asked = self.asked.subscribe();
        tokio::time::timeout(INSTANT, asked.wait_for(Option::is_none)).await.is_ok()
    }

    /// How long it has not answered; zero when it does.
    pub(crate) fn silent(&self) -> Duration {
        self.asked.borrow().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// A sentence about a disk that does not answer.
    pub(crate) fn problem(&self) -> Option<String> {
        let silent = self.silent();
        (silent >= INSTANT)
            .then(|| format!("its disk has not answered for {:.1} seconds", silent.as_secs_f32()))
    }

    /// What was last found in the cache.
    pub(crate) fn sizes(&self) -> Sizes {
        *self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what was found in the cache.
    pub(crate) fn note(&self, sizes: Sizes) {
        *self.sizes.lock().unwrap_or_else(PoisonError::into_inner) = sizes;
    }
}
