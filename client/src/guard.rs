//! The guard of a thread that a disk may keep from looking at signals.
//!
//! A second thread sees the signals that are held back for the first. Where one has come and the
//! first has neither read it nor undone in time what was half done, the guard ends the process by
//! the same signal, as it would have ended without anybody who watches. It also tells when the
//! first has not looked for long.
//!
//! Not here: reading signals ([`crate::interrupt`]).

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, raise};
use orlop_config::limits::ANSWER_WARNING;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::connection::slow_disk;
use crate::interrupt::ENDING;
use crate::output::Output;

/// How long the guarded thread may take from a signal to its end.
const GRACE: Duration = Duration::from_millis(700);
/// How often it is looked whether it still looks.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is looked whether a thread that has ended is gone.
const YIELDS: u32 = 10_000;

/// A thread that ends the process where its first one cannot. It goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Guard {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// Wakes the guard.
    bell: OwnedFd,
    is_over: AtomicBool,
    /// The signal that the guarded thread has read.
    number: AtomicI32,
    /// How often that thread has looked for signals.
    looks: AtomicU64,
    /// The guard's number, once it runs.
    thread: AtomicI32,
}

impl Guard {
    /// Guards the calling thread; `signals` is readable while one waits to be read. `None` where
    /// there is no thread to be had.
    pub(crate) fn start(signals: OwnedFd, place: &str, output: &Output) -> Option<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let shared = Arc::new(Shared {
            bell: eventfd(0, flags).ok()?,
            is_over: AtomicBool::new(false),
            number: AtomicI32::new(0),
            looks: AtomicU64::new(0),
            thread: AtomicI32::new(0),
        });
        let (its, output, place) = (Arc::clone(&shared), output.clone(), place.to_owned());
        let thread = std::thread::Builder::new().name("guard".to_owned());
        let thread = thread.spawn(move || its.watch(&signals, &place, output)).ok()?;
        Some(Self { shared, thread: Some(thread) })
    }

    /// The guarded thread has read this signal, and goes about its end.
    pub(crate) fn raised(&self, number: i32) {
        self.shared.number.store(number, Ordering::Relaxed);
        self.shared.ring();
    }

    /// The guarded thread is alive.
    pub(crate) fn looked(&self) {
        self.shared.looks.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.shared.ring();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        // It counts as a thread for a moment more, and a process of several gets no user namespace.
        let number = self.shared.thread.load(Ordering::Relaxed);
        let task = format!("/proc/self/task/{number}");
        for _ in 0..YIELDS {
            if number == 0 || std::fs::symlink_metadata(&task).is_err() {
                return;
            }
            std::thread::yield_now();
        }
    }
}

impl Shared {
    fn ring(&self) {
        // Full or not, it rings.
        let _rung = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    fn watch(&self, signals: &OwnedFd, place: &str, output: Output) {
        self.thread.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Relaxed);
        let mut output = Some(output);
        let mut signalled: Option<Instant> = None;
        let mut silence = Silence::default();
        loop {
            let left = signalled.map_or(LOOK, |since| GRACE.saturating_sub(since.elapsed()));
            let start = Instant::now();
            let is_signalled = self.wait(signals, signalled.is_some(), left);
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            if is_signalled {
                signalled.get_or_insert_with(Instant::now);
            }
            if signalled.is_some_and(|since| since.elapsed() >= GRACE) {
                end(self.number.load(Ordering::Relaxed));
            }
            let now = self.looks.load(Ordering::Relaxed);
            if silence.after(now, start.elapsed()) >= ANSWER_WARNING
                && let Some(mut output) = output.take()
            {
                output.warning(&slow_disk(place));
            }
        }
    }

    /// Waits for the bell, or for a signal unless one has come already; says whether one has.
    fn wait(&self, signals: &OwnedFd, is_signalled: bool, left: Duration) -> bool {
        let bell = PollFd::new(&self.bell, PollFlags::IN);
        let limit = Timespec::try_from(left).ok();
        let is_waiting = if is_signalled {
            let _woken = poll(&mut [bell], limit.as_ref());
            true
        } else {
            let mut both = [bell, PollFd::new(signals, PollFlags::IN)];
            let _woken = poll(&mut both, limit.as_ref());
            let [_, signals] = &both;
            signals.revents().contains(PollFlags::IN)
        };
        let _drained = rustix::io::read(&self.bell, &mut [0_u8; 8]);
        is_waiting || self.number.load(Ordering::Relaxed) != 0
    }
}

/// How long the guarded thread has not looked while it could have.
#[derive(Debug, Default)]
struct Silence {
    looks: u64,
    time: Duration,
}

impl Silence {
    /// Counts a wait for it, at whose end it has looked so often. The clock runs on while the
    /// process is stopped: no wait counts for more than one is meant to take.
    fn after(&mut self, looks: u64, waited: Duration) -> Duration {
        let is_same = looks == self.looks;
        self.looks = looks;
        self.time = if is_same { self.time + waited.min(LOOK) } else { Duration::ZERO };
        self.time
    }
}

/// Ends the process by the signal that waits, or by the one that was read.
fn end(number: i32) {
    let held: SigSet = ENDING.into_iter().collect();
    // One that waits ends the process in this call.
    let _ended = held.thread_unblock();
    for signal in [Signal::try_from(number).unwrap_or(Signal::SIGKILL), Signal::SIGKILL] {
        let _ended = raise(signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f42_a_process_that_was_stopped_for_long_is_not_told_of_its_disk() {
        let mut silence = Silence::default();
        assert_eq!(silence.after(1, LOOK), Duration::ZERO);
        assert_eq!(silence.after(1, Duration::from_secs(3_600)), LOOK);
        assert_eq!(silence.after(2, LOOK), Duration::ZERO);
        let waits = (1..).map(|_| silence.after(2, LOOK));
        assert_eq!(waits.take_while(|silent| *silent < ANSWER_WARNING).count(), 9);
    }
}
