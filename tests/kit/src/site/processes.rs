//! Ending what a site started, by number, after making sure that it is still that process.

use crate::until::until_true;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Numbers of the processes whose command line, environment or directory names this directory.
#[must_use]
pub fn naming(directory: &Path) -> Vec<u32> {
    let wanted = directory.as_os_str().as_encoded_bytes();
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|pid| *pid != std::process::id() && names(*pid, wanted)).collect()
}

fn names(pid: u32, wanted: &[u8]) -> bool {
    let holds = |bytes: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
    let files = ["cmdline", "environ"];
    let in_files = files
        .iter()
        .any(|file| std::fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|bytes| holds(&bytes)));
    in_files
        || std::fs::read_link(format!("/proc/{pid}/cwd"))
            .is_ok_and(|cwd| holds(cwd.as_os_str().as_encoded_bytes()))
}

/// Sends a signal to a process and waits until all its threads have ended.
///
/// # Panics
/// When there is no such process, or it does not end.
pub fn end(pid: u32, signal: Signal) {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process's number");
    let held = pidfd_open(number, PidfdFlags::empty()).expect("the process is there");
    pidfd_send_signal(&held, signal).expect("it may be sent a signal");
    until_true("the process ends", || ended(&held));
}

/// Ends all that [`naming`] finds: asks, then insists after a few seconds.
pub(super) fn end_all(directory: &Path) {
    let held: Vec<OwnedFd> =
        naming(directory).into_iter().filter_map(|pid| open(pid, directory)).collect();
    for process in &held {
        // A process that is gone already needs no signal.
        let _asked = pidfd_send_signal(process, Signal::TERM);
    }
    let mut looks = 0;
    until_true("the site's processes end", || {
        looks += 1;
        if looks == 600 {
            for process in &held {
                let _killed = pidfd_send_signal(process, Signal::KILL);
            }
        }
        held.iter().all(ended)
    });
}

/// Holds a process, so that its number cannot become another's; `None` if it is one already.
fn open(pid: u32, directory: &Path) -> Option<OwnedFd> {
    let number = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let held = pidfd_open(number, PidfdFlags::empty()).ok()?;
    names(pid, directory.as_os_str().as_encoded_bytes()).then_some(held)
}

/// A pidfd becomes readable when the last thread of its process has ended.
fn ended(process: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut look = [PollFd::new(process, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut look, Some(&at_once)).is_ok_and(|count| count == 1)
}
