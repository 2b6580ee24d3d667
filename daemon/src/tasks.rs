//! The one spawner: every task has a name, an owner and an end.
//!
//! A handle that is dropped ends its task. Blocking work cannot be ended from outside: it gets a
//! [`Stop`] that it looks at, raised when the handle is dropped.
//!
//! Not here: threads of the converter (`orlop-image`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinError;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::Instrument as _;

use crate::brief;

/// Starts tasks and knows how many run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    running: TaskTracker,
}

/// Raised when nobody waits for a piece of blocking work any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// The flag, for code that knows nothing of this type.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.0
    }
}

/// Raises a [`Stop`] when it is dropped.
struct RaiseOnDrop(Stop);

impl Drop for RaiseOnDrop {
    fn drop(&mut self) {
        self.0.flag().store(true, Ordering::Relaxed);
    }
}

impl Tasks {
    /// Starts a task, which ends early when the handle is dropped.
    #[expect(clippy::disallowed_methods, reason = "the one home of tokio::spawn")]
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> AbortOnDropHandle<T> {
        let span = tracing::debug_span!("task", what);
        AbortOnDropHandle::new(tokio::spawn(self.running.track_future(work.instrument(span))))
    }

    /// Starts a task that nobody waits for, but the daemon's end.
    #[expect(clippy::disallowed_methods, reason = "the one home of tokio::spawn")]
    pub(crate) fn left_alone(
        &self,
        what: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let span = tracing::debug_span!("task", what);
        drop(tokio::spawn(self.running.track_future(work.instrument(span))));
    }

    /// Runs blocking work on a thread of its own and waits for it. Dropping the future raises the
    /// work's [`Stop`]; the thread ends when the work looks at it.
    ///
    /// # Errors
    /// [`JoinError`] when the work panicked.
    #[expect(clippy::disallowed_methods, reason = "the one home of spawn_blocking")]
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Stop) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let stop = Stop::default();
        if brief::may_block() {
            return Ok(work(&stop));
        }
        let raise = RaiseOnDrop(stop.clone());
        let span = tracing::debug_span!("blocking", what);
        let token = self.running.token();
        let landed = tokio::task::spawn_blocking(move || {
            let _token = token;
            span.in_scope(|| work(&stop))
        })
        .await;
        drop(raise);
        landed
    }

    /// Runs blocking work that nobody waits for, but the daemon's end.
    #[expect(clippy::disallowed_methods, reason = "the one home of spawn_blocking")]
    pub(crate) fn detached(&self, what: &'static str, work: impl FnOnce() + Send + 'static) {
        let span = tracing::debug_span!("blocking", what);
        let token = self.running.token();
        drop(tokio::task::spawn_blocking(move || {
            let _token = token;
            span.in_scope(work);
        }));
    }

    /// Returns when nothing runs any more.
    pub(crate) async fn finished(&self) {
        self.running.close();
        self.running.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_handle_ends_its_task_and_a_dropped_wait_raises_the_stop() {
        let tasks = Tasks::default();
        let (started, mut is_started) = tokio::sync::mpsc::channel(1);
        let (stopped, is_stopped) = tokio::sync::oneshot::channel();
        let blocking = {
            let inner = tasks.clone();
            tasks.spawn("outer", async move {
                inner
                    .blocking("inner", move |stop| {
                        started.blocking_send(()).ok();
                        while !stop.flag().load(Ordering::Relaxed) {
                            std::thread::yield_now();
                        }
                        stopped.send(()).ok();
                    })
                    .await
                    .ok();
            })
        };
        is_started.recv().await.unwrap();
        drop(blocking);
        is_stopped.await.unwrap();
        tasks.finished().await;
        assert!(tasks.running.is_empty());
    }
}
