//! Brief work: what most times looks at a few files and is done, for many callers at once.
//!
//! Going to a thread and back for each file costs more than the looking, and as many threads as there
//! are callers cost more than a queue. Such work is done by a thread for each processor, where all
//! that it does by [`Tasks::blocking`] is done on the spot, up to the first thing that it has to wait
//! for; from there it goes on as any other work. Where a disk is slow, whoever waits for too long adds
//! a thread; where it hangs, as many as there are callers.
//!
//! Not here: work that takes long from the start ([`Tasks::blocking`]).

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio::sync::oneshot;

use crate::tasks::Tasks;

/// How long brief work waits before it adds a thread.
const PATIENCE: Duration = Duration::from_millis(20);

/// Threads for each of [`THREADS`] while some work is begun now and then.
const SLOW: usize = 8;

/// Threads that do brief work while nobody waits for too long.
static THREADS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));

thread_local! {
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread does brief work just now, which may block.
pub(crate) fn may_block() -> bool {
    MAY_BLOCK.get()
}

/// Lets a thread block until it is dropped.
struct Blocking;

impl Blocking {
    fn begin() -> Self {
        MAY_BLOCK.set(true);
        Self
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        MAY_BLOCK.set(false);
    }
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    threads: usize,
    /// When some work was begun last.
    begun: Option<Instant>,
}

impl Queue {
    /// Threads that there may be while work waits for too long.
    fn most(&self) -> usize {
        let is_stuck = self.begun.is_none_or(|begun| begun.elapsed() > PATIENCE);
        if is_stuck { usize::MAX } else { THREADS.saturating_mul(SLOW) }
    }
}

/// The first part of brief work panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// How far work came on its first thread.
enum Begun<T> {
    Done(T),
    Waits(BoxFuture<'static, T>),
}

/// Brief work that is to be done, and who does it.
#[derive(Clone)]
pub(crate) struct Brief {
    tasks: Tasks,
    queue: Arc<Mutex<Queue>>,
}

impl std::fmt::Debug for Brief {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Brief").field("threads", &self.lock().threads).finish_non_exhaustive()
    }
}

impl Brief {
    /// Nothing to do yet.
    pub(crate) fn new(tasks: Tasks) -> Self {
        Self { tasks, queue: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the work up to its end, or to the first thing that it waits for, on a thread that may
    /// block; the rest wherever it is waited for. Work that nobody waits for any more is not begun.
    ///
    /// # Errors
    /// [`Panicked`].
    pub(crate) async fn begin<T: Send + 'static>(
        &self,
        mut work: BoxFuture<'static, T>,
    ) -> Result<T, Panicked> {
        let (sender, mut receiver) = oneshot::channel();
        let job = Box::new(move || {
            if sender.is_closed() {
                return;
            }
            // Whoever polls it next brings a waker.
            let begun = match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(done) => Begun::Done(done),
                Poll::Pending => Begun::Waits(work),
            };
            drop(sender.send(begun));
        });
        self.add(job);
        let begun = loop {
            match tokio::time::timeout(PATIENCE, &mut receiver).await {
                Ok(begun) => break begun,
                Err(_) => self.add_thread(Queue::most),
            }
        };
        match begun.map_err(|_| Panicked)? {
            Begun::Done(done) => Ok(done),
            Begun::Waits(work) => Ok(work.await),
        }
    }

    fn add(&self, job: Job) {
        self.lock().waiting.push_back(job);
        self.add_thread(|_| *THREADS);
    }

    /// Adds a thread where there is work and fewer than `most` do it.
    fn add_thread(&self, most: impl Fn(&Queue) -> usize) {
        let mut queue = self.lock();
        if queue.waiting.is_empty() || queue.threads >= most(&queue) {
            return;
        }
        queue.threads = queue.threads.saturating_add(1);
        drop(queue);
        let this = self.clone();
        self.tasks.detached("brief", move || this.work());
    }

    /// Works until there is nothing to do.
    fn work(&self) {
        let _blocking = Blocking::begin();
        while let Some(job) = self.next() {
            // Whoever waits for it learns of it by the channel that is gone.
            drop(std::panic::catch_unwind(AssertUnwindSafe(job)));
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        let job = queue.waiting.pop_front();
        match job {
            Some(_) => queue.begun = Some(Instant::now()),
            None => queue.threads = queue.threads.saturating_sub(1),
        }
        job
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn brief_work_blocks_on_one_thread_and_waits_on_none() {
        let tasks = Tasks::default();
        let brief = Brief::new(tasks.clone());
        let (inner, outer) = (tasks.clone(), std::thread::current().id());
        let thread = |tasks: Tasks| async move {
            tasks.blocking("look", |_| std::thread::current().id()).await.unwrap()
        };
        let work = async move {
            let (first, second) = (thread(inner.clone()).await, thread(inner.clone()).await);
            assert!(first == second && first != outer);
            assert_eq!(std::thread::current().id(), first);
            tokio::task::yield_now().await;
            assert_eq!(std::thread::current().id(), outer, "nobody's thread is held by waiting");
            assert_ne!(thread(inner).await, outer, "what waited blocks elsewhere again");
        };
        let done = brief.begin(Box::pin(work)).await;
        assert_eq!(done, Ok(()));
        tasks.finished().await;
    }

    #[tokio::test]
    async fn work_that_hangs_or_panics_holds_nobody_up() {
        let tasks = Tasks::default();
        let brief = Brief::new(tasks.clone());
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let hang = |_| {
            let held = Arc::clone(&held);
            let hangs = async move { drop(held.lock().map(|held| held.recv().ok())) };
            brief.begin(Box::pin(hangs))
        };
        let hanging = futures::future::join_all((0..*THREADS + 3).map(hang));
        let others = async {
            tokio::task::yield_now().await;
            let lost = brief.begin(Box::pin(async { panic!("as a test") })).await;
            assert_eq!(lost, Err::<(), _>(Panicked));
            assert_eq!(brief.begin(Box::pin(async { 7 })).await, Ok(7));
            drop(release);
        };
        let (all, ()) = tokio::join!(hanging, others);
        assert!(all.iter().all(Result::is_ok));
        tasks.finished().await;
        assert_eq!(brief.lock().threads, 0);
    }
}
