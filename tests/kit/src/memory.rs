//! What processes take: their memory, threads and descriptors, as the kernel counts them.
//!
//! Not here: bounds (the tests'); ending processes ([`crate::site`]).

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
