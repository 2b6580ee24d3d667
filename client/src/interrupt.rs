//! Signals that end a command, and readers that went away.
//!
//! While a [`Watch`] lives the signals are held back and read by it, so that what is half done can
//! be undone. When it is dropped they do again what they did before: one that came unread, or comes
//! later, ends the process. No handler is installed, none is left behind. A file that may not grow
//! (`RLIMIT_FSIZE`) is an error of the write meanwhile, and ends nothing. A thread that a disk keeps
//! from looking has a guard, which ends the process for it ([`Watch::guarded`]).
//!
//! Not here: the payload's signals (`orlop-runtime`).

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::guard::Guard;
use crate::output::Output;

/// How often it is looked whether stderr still has a reader.
const LOOK: Duration = Duration::from_secs(1);
/// The signals that end a command.
pub(crate) const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Holds back the signals that end a command, for this thread and those that it starts meanwhile.
#[derive(Debug)]
pub(crate) struct Watch {
    held: Option<(SignalFd, SigSet)>,
    number: AtomicI32,
    guard: Option<Guard>,
}

impl Watch {
    /// Begins to watch. Signals that the caller had ignored (`nohup`) stay ignored.
    pub(crate) fn start() -> Self {
        let ignored = ignored();
        let mut mask = SigSet::empty();
        for signal in ENDING {
            if ignored >> (signal as i32 - 1) & 1 == 0 {
                mask.add(signal);
            }
        }
        let mut blocked = mask;
        blocked.add(Signal::SIGXFSZ);
        // Without a descriptor for it the signals end the process as they always do.
        let held = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .and_then(|reader| Ok((reader, blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK)?)))
            .ok();
        Self { held, number: AtomicI32::new(0), guard: None }
    }

    /// The same for a thread that reads or writes a file of `place` meanwhile, whose disk may hang:
    /// a signal ends the process then, and it is told that it waits.
    pub(crate) fn guarded(place: &str, output: &Output) -> Self {
        let mut this = Self::start();
        let signals = this.readable();
        this.guard = signals.and_then(|signals| Guard::start(signals, place, output));
        this
    }

    /// The number of the first signal that came: SIGINT, SIGTERM, SIGHUP, or SIGPIPE when nobody
    /// can read what the command says any more (a workflow manager that was killed).
    pub(crate) fn raised(&self) -> Option<i32> {
        if let Some(guard) = &self.guard {
            guard.looked();
        }
        let known = self.number.load(Ordering::Relaxed);
        if known != 0 {
            return Some(known);
        }
        let read = self.held.as_ref().and_then(|(reader, _)| reader.read_signal().ok().flatten());
        let number = read.and_then(|read| i32::try_from(read.ssi_signo).ok());
        let number = number.or_else(|| is_unheard().then_some(Signal::SIGPIPE as i32))?;
        self.number.store(number, Ordering::Relaxed);
        if let Some(guard) = &self.guard {
            guard.raised(number);
        }
        Some(number)
    }

    /// A descriptor that is readable while a signal waits to be read, if there is one.
    pub(crate) fn readable(&self) -> Option<OwnedFd> {
        let (reader, _) = self.held.as_ref()?;
        reader.as_fd().try_clone_to_owned().ok()
    }

    /// Returns the number of the first signal, as [`Watch::raised`], when it comes.
    pub(crate) async fn ended(&self) -> i32 {
        let reader = self.held.as_ref().map(|(reader, _)| reader.as_fd());
        #[expect(deprecated, reason = "the borrow says that the descriptor is and stays open")]
        let register = |reader| AsyncFd::with_interest(reader, Interest::READABLE).ok();
        let readable = reader.and_then(register);
        let mut looks = tokio::time::interval(LOOK);
        loop {
            if let Some(number) = self.raised() {
                return number;
            }
            match &readable {
                Some(readable) => tokio::select! {
                    ready = readable.readable() => {
                        if let Ok(mut ready) = ready {
                            ready.clear_ready();
                        }
                    }
                    _ = looks.tick() => {}
                },
                None => drop(looks.tick().await),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.guard.take());
        if let Some((_, before)) = &self.held {
            if !before.contains(Signal::SIGXFSZ) {
                forget_file_size();
            }
            let _ = before.thread_set_mask();
        }
    }
}

/// Takes the signal away that a write beyond the limit of a file's size has left: the write's own
/// error has said it.
fn forget_file_size() {
    let mut only = SigSet::empty();
    only.add(Signal::SIGXFSZ);
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    if let Ok(reader) = SignalFd::with_flags(&only, flags) {
        let _ = reader.read_signal();
    }
}

/// The signals that the caller had ignored: a bit each, SIGHUP is the lowest.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

/// True when stderr is a pipe that nobody reads.
fn is_unheard() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stderr = std::io::stderr();
    let mut polled = [PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::empty())];
    let found = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    let [stderr] = &polled;
    found.is_ok() && stderr.revents().contains(PollFlags::ERR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::raise;

    #[test]
    fn a_signal_is_held_back_and_read_and_the_mask_is_as_before_afterwards() {
        let before = SigSet::thread_get_mask().unwrap();
        let watch = Watch::start();
        assert_eq!(watch.raised(), None);
        raise(Signal::SIGTERM).unwrap();
        assert_eq!(watch.raised(), Some(15));
        assert_eq!(watch.raised(), Some(15), "it is remembered");
        drop(watch);
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }

    #[test]
    fn a_limit_of_a_files_size_ends_nothing_while_signals_are_held_back() {
        let watch = Watch::start();
        raise(Signal::SIGXFSZ).unwrap();
        assert_eq!(watch.raised(), None);
        drop(watch);
        assert!(!SigSet::thread_get_mask().unwrap().contains(Signal::SIGXFSZ));
    }

    #[test]
    fn a_second_watch_hears_signals_as_the_first_did() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for signal in [Signal::SIGINT, Signal::SIGHUP] {
            let watch = Watch::start();
            let ended = runtime.block_on(async {
                let mut ended = std::pin::pin!(watch.ended());
                assert!(futures::FutureExt::now_or_never(&mut ended).is_none());
                raise(signal).unwrap();
                ended.await
            });
            assert_eq!(ended, signal as i32);
        }
    }
}
