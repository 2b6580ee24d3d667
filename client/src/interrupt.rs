//! Signals that end a command, and readers that went away.
//!
//! Not here: the payload's signals (`orlop-runtime`).

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

/// How often it is looked whether stderr still has a reader.
const LOOK: Duration = Duration::from_secs(1);

/// Returns the number of the first signal that ends this command: SIGINT, SIGTERM, SIGHUP, or
/// SIGPIPE when nobody can read what it says any more (a workflow manager that was killed).
pub(crate) async fn ended() -> i32 {
    let ignored = ignored();
    let wait = async |kind: SignalKind| {
        let is_ignored = ignored >> (kind.as_raw_value() - 1) & 1 == 1;
        if !is_ignored && let Ok(mut signals) = signal(kind) {
            signals.recv().await;
        } else {
            std::future::pending::<()>().await;
        }
        kind.as_raw_value()
    };
    tokio::select! {
        number = wait(SignalKind::interrupt()) => number,
        number = wait(SignalKind::terminate()) => number,
        number = wait(SignalKind::hangup()) => number,
        () = unheard() => SignalKind::pipe().as_raw_value(),
    }
}

/// The signals that the caller had ignored (`nohup`): a bit each, SIGHUP is the lowest.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

async fn unheard() {
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        let stderr = std::io::stderr();
        let mut polled = [rustix::event::PollFd::from_borrowed_fd(
            stderr.as_fd(),
            rustix::event::PollFlags::empty(),
        )];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let found = rustix::event::poll(&mut polled, Some(&now));
        let [stderr] = &polled;
        if found.is_ok() && stderr.revents().contains(rustix::event::PollFlags::ERR) {
            return;
        }
    }
}

/// Remembers a signal that came during work that is not waited for asynchronously.
#[derive(Debug)]
pub(crate) struct Flag {
    number: Arc<AtomicI32>,
    watcher: Option<(tokio::runtime::Runtime, tokio::task::JoinHandle<()>)>,
}

impl Flag {
    /// Begins to watch, on a thread of its own, until dropped.
    pub(crate) fn watch() -> Self {
        let number = Arc::<AtomicI32>::default();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let watcher = runtime.ok().map(|runtime| {
            let number = Arc::clone(&number);
            let task = runtime.spawn(async move { number.store(ended().await, Ordering::Relaxed) });
            (runtime, task)
        });
        Self { number, watcher }
    }

    /// The signal that came.
    pub(crate) fn raised(&self) -> Option<i32> {
        Some(self.number.load(Ordering::Relaxed)).filter(|number| *number != 0)
    }
}

impl Drop for Flag {
    fn drop(&mut self) {
        if let Some((runtime, task)) = self.watcher.take() {
            task.abort();
            runtime.shutdown_background();
        }
    }
}
