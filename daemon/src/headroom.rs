//! How much memory this process may still take: what the system has, and what its control groups
//! leave it.
//!
//! A process that takes more is killed, or its job is. What has to be held at once is compared with
//! this before, so that a user reads a sentence instead. Pages of files count as free: the kernel
//! gives them up. Not here: bounds of Orlop's own ([`crate::memory`]).

use std::path::Path;

/// Where control groups are mounted: both versions, and the second beside the first.
const MEMORY_V1: &str = "/sys/fs/cgroup/memory";
const UNIFIED: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// Names of a group's files: its limit, what is taken, and the row of `memory.stat` that says how
/// much of it is pages of files.
type Names = (&'static str, &'static str, &'static str);
const V1: Names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache");
const V2: Names = ("memory.max", "memory.current", "file");

/// Bytes that may still be taken; `None` where nothing says.
pub(crate) fn bytes() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let system = read("/proc/meminfo").and_then(|text| available(&text));
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    groups.lines().filter_map(left_by).chain(system).min()
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib = line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?;
    Some(kib.saturating_mul(1024))
}

/// What the group of a line of `/proc/self/cgroup`, and those that it is in, leave.
fn left_by(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let is_first = controllers.split(',').any(|name| name == "memory");
    let (tops, names) = match (is_first, controllers) {
        (true, _) => (&[MEMORY_V1][..], V1),
        (false, "") => (&UNIFIED[..], V2),
        _ => return None,
    };
    let groups = Path::new(path.trim_start_matches('/')).ancestors();
    groups
        .flat_map(|group| tops.iter().map(move |top| Path::new(top).join(group)))
        .filter_map(|group| left_in(&group, names))
        .min()
}

/// What one group leaves; `None` where it has no limit.
fn left_in(group: &Path, (limit, taken, files): Names) -> Option<u64> {
    let read = |name: &str| std::fs::read_to_string(group.join(name)).ok();
    let number = |name| read(name)?.trim().parse::<u64>().ok();
    let stat = read("memory.stat").unwrap_or_default();
    let row = |line: &str| line.strip_prefix(files)?.strip_prefix(' ')?.parse::<u64>().ok();
    let pages = stat.lines().find_map(row).unwrap_or_default();
    Some(number(limit)?.saturating_sub(number(taken)?.saturating_sub(pages)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_has_is_read_in_bytes() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:     12 kB\n"), Some(12 << 10));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
        assert!(bytes().is_some_and(|bytes| bytes > 0));
    }

    #[test]
    fn a_group_leaves_its_limit_less_what_is_no_page_of_a_file() {
        let group = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(group.path().join(name), text).unwrap();
        assert_eq!(left_in(group.path(), V2), None);
        write("memory.current", "70\n");
        write("memory.max", "max\n");
        assert_eq!(left_in(group.path(), V2), None, "it has no limit");
        write("memory.max", "100\n");
        write("memory.stat", "anon 30\nfile_mapped 1\nfile 40\n");
        assert_eq!(left_in(group.path(), V2), Some(70));
        write("memory.current", "170\n");
        assert_eq!(left_in(group.path(), V2), Some(0));
    }

    #[test]
    fn lines_without_memory_say_nothing() {
        for line in ["", "x", "3:cpuset:/", "9:name=systemd:/a"] {
            assert_eq!(left_by(line), None, "{line}");
        }
    }
}
