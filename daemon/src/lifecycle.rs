//! When the daemon ends: idleness, a signal, a request, a socket that is gone.
//!
//! Holding a [`Busy`] keeps the daemon from being idle. Stopping has two steps: `drain` takes no
//! new work and finishes the old, `now` ends at once.
//!
//! Not here: accepting connections ([`crate::listen`]), starting tasks ([`crate::tasks`]).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Why the daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Nobody wanted anything for so long.
    Idle,
    /// A signal, or a client's request.
    Asked,
    /// The socket's file is gone or another daemon's.
    SocketLost,
    /// The one connection of a private daemon has ended.
    PrivateEnd,
}

/// The daemon's life. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Lifecycle {
    busy: Arc<watch::Sender<usize>>,
    calls: Arc<watch::Sender<usize>>,
    connections: Arc<watch::Sender<usize>>,
    last_call: CancellationToken,
    queue_empty: CancellationToken,
    drain: CancellationToken,
    now: CancellationToken,
    idle_exit: Duration,
}

/// Something is under way while one of these lives.
#[derive(Debug)]
pub(crate) struct Busy {
    count: Arc<watch::Sender<usize>>,
}

impl Busy {
    fn new(count: &Arc<watch::Sender<usize>>) -> Self {
        count.send_modify(|count| *count = count.saturating_add(1));
        Self { count: Arc::clone(count) }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.count.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// A call being served, or a connection that is open.
#[derive(Debug)]
pub(crate) struct Call {
    // Goes first, so that no more calls are counted than pieces of work.
    _call: Busy,
    _busy: Busy,
}

impl Lifecycle {
    /// A life that ends after `idle_exit` without work; zero for never.
    pub(crate) fn new(idle_exit: Duration) -> Self {
        Self {
            busy: Arc::new(watch::Sender::new(0)),
            calls: Arc::new(watch::Sender::new(0)),
            connections: Arc::new(watch::Sender::new(0)),
            last_call: CancellationToken::new(),
            queue_empty: CancellationToken::new(),
            drain: CancellationToken::new(),
            now: CancellationToken::new(),
            idle_exit,
        }
    }

    /// Keeps the daemon from being idle, without being a call.
    pub(crate) fn busy(&self) -> Busy {
        Busy::new(&self.busy)
    }

    /// Counts a call for as long as the value lives.
    pub(crate) fn call(&self) -> Call {
        Call { _busy: self.busy(), _call: Busy::new(&self.calls) }
    }

    /// Calls being served.
    pub(crate) fn calls(&self) -> usize {
        *self.calls.borrow()
    }

    /// Pieces of work for which no call waits.
    pub(crate) fn background(&self) -> usize {
        let waited_for = self.calls().saturating_add(self.connections());
        self.busy.borrow().saturating_sub(waited_for)
    }

    /// The number of calls being served, as it changes.
    pub(crate) fn watch_calls(&self) -> watch::Receiver<usize> {
        self.calls.subscribe()
    }

    /// Idleness after which the daemon ends; zero for never.
    pub(crate) fn idle_exit(&self) -> Duration {
        self.idle_exit
    }

    /// Lets in who has connected already and nobody after; returns when they are in.
    pub(crate) async fn call_last(&self) {
        self.last_call.cancel();
        self.queue_empty.cancelled().await;
    }

    /// Returns when [`Lifecycle::call_last`] was called.
    pub(crate) async fn last_called(&self) {
        self.last_call.cancelled().await;
    }

    /// Says that nobody waits to be let in any more.
    pub(crate) fn queue_is_empty(&self) {
        self.queue_empty.cancel();
    }

    /// Asks for an end: no new work, the old is finished within
    /// [`orlop_config::limits::DRAIN_TIME`].
    pub(crate) fn drain(&self) {
        self.drain.cancel();
    }

    /// Asks for an end at once.
    pub(crate) fn end_now(&self) {
        self.drain.cancel();
        self.now.cancel();
    }

    /// Returns when an end was asked for.
    pub(crate) async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Returns when an end at once was asked for.
    pub(crate) async fn ending_now(&self) {
        self.now.cancelled().await;
    }

    /// A connection that was let in.
    pub(crate) fn connection(&self) -> Call {
        Call { _busy: self.busy(), _call: Busy::new(&self.connections) }
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// Returns when fewer than `most` connections are open.
    pub(crate) async fn room_for_connections(&self, most: usize) {
        // The sender lives in self: waiting cannot fail.
        drop(self.connections.subscribe().wait_for(|count| *count < most).await.map(|_| ()));
    }

    /// Returns when nothing is under way.
    pub(crate) async fn unused(&self) {
        // The sender lives in self: waiting cannot fail.
        drop(self.busy.subscribe().wait_for(|count| *count == 0).await.map(|_| ()));
    }

    /// Returns when nothing has been under way for the idle time.
    pub(crate) async fn idle(&self) {
        if self.idle_exit.is_zero() {
            return std::future::pending().await;
        }
        let mut busy = self.busy.subscribe();
        loop {
            self.unused().await;
            let work = busy.wait_for(|count| *count > 0);
            if tokio::time::timeout(self.idle_exit, work).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn idleness_is_counted_from_the_end_of_the_last_work() {
        let life = Lifecycle::new(Duration::from_secs(10));
        let call = life.call();
        assert_eq!(life.calls(), 1);
        let limit = Duration::from_secs(100);
        assert!(tokio::time::timeout(limit, life.idle()).await.is_err());
        drop(call);
        let start = tokio::time::Instant::now();
        life.idle().await;
        assert_eq!(start.elapsed(), Duration::from_secs(10));
        assert_eq!(life.calls(), 0);
    }

    #[tokio::test]
    async fn an_end_at_once_is_an_end_too() {
        let life = Lifecycle::new(Duration::ZERO);
        life.end_now();
        life.draining().await;
        life.ending_now().await;
    }
}
