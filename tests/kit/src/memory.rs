//! What processes take: their memory, threads and descriptors, as the kernel counts them.
//!
//! Not here: bounds (the tests'); ending processes ([`crate::site`]).

use crate::person::Person;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A field of `/proc/PID/status`, in bytes where it is a size; none once the process has ended.
fn field(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let mut words = line.split_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    Some(if words.next() == Some("kB") { number << 10 } else { number })
}

/// The most memory that the process has had so far, in bytes.
#[must_use]
pub fn peak(pid: u32) -> Option<u64> {
    field(pid, "VmHWM")
}

/// The memory that the process has now, in bytes.
#[must_use]
pub fn resident(pid: u32) -> Option<u64> {
    field(pid, "VmRSS")
}

/// The threads that the process has now.
#[must_use]
pub fn threads(pid: u32) -> Option<u64> {
    field(pid, "Threads")
}

/// The descriptors that the process has open now.
#[must_use]
pub fn descriptors(pid: u32) -> Option<u64> {
    Some(std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64)
}

/// The memory of its own, of no file, that the process has now, in bytes.
#[must_use]
pub fn anonymous(pid: u32) -> Option<u64> {
    field(pid, "RssAnon")
}

/// A bound on the memory of processes together, their files' pages included, by a control group;
/// it goes when it is dropped, once they have ended.
#[derive(Debug)]
pub struct Group {
    at: PathBuf,
}

impl Group {
    /// One of so many bytes that `person` may put processes into; none where that may not be done.
    #[must_use]
    pub fn new(bytes: u64, person: Person) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("orlop-kit-{}-{number}", std::process::id());
        let [(first, limit), other] =
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        let (top, limit) =
            if Path::new(first).join(limit).exists() { (first, limit) } else { other };
        let group = Self { at: Path::new(top).join(name) };
        std::fs::create_dir(&group.at).ok()?;
        std::fs::write(group.at.join(limit), bytes.to_string()).ok()?;
        person.give(&group.processes());
        Some(group)
    }

    fn processes(&self) -> PathBuf {
        self.at.join("cgroup.procs")
    }

    /// What starts a command within the group: these words stand before its own.
    #[must_use]
    pub fn words(&self) -> [String; 3] {
        let script = format!("echo $$ > {} && exec \"$0\" \"$@\"", self.processes().display());
        ["sh".to_owned(), "-c".to_owned(), script]
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Where a process is left the group stays, empty of meaning.
        let _removed = std::fs::remove_dir(&self.at);
    }
}
