//! Memory that is not needed any more goes back to the system.
//!
//! The allocator of glibc keeps what was freed, in a place of its own for each thread, and learns
//! from large pieces that were freed to keep those too: after the merge of a million files it kept
//! 250 MB. Large pieces get pages of their own instead, for as long as they live, threads share a
//! few places, and once nobody has asked for anything for a moment all that is free is given back.
//! With another allocator nothing is done. Not here: bounds on what is used, which each part keeps.

use std::path::Path;
use std::time::Duration;

use orlop_proto::v1::Kind;
use tokio::sync::watch;

use crate::failure::Failure;

/// Time without a call after which memory is given back.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// KiB of indexes that are merged at the same time.
pub(crate) const MERGES_KIB: u32 = 16 << 10;
/// How many times the bytes of its indexes a merge takes, about: all entries are held at once.
const MERGE_TIMES: u64 = 9;
/// Bytes of indexes from which on free memory is given back before they are merged.
const LARGE_MERGE: u64 = 2 << 20;

/// KiB of [`MERGES_KIB`] that the merge of indexes of so many bytes takes: never more than there
/// are, so that the largest merge has its turn alone.
pub(crate) fn merge_weight(bytes: u64) -> u32 {
    u32::try_from(bytes >> 10).unwrap_or(u32::MAX).clamp(1, MERGES_KIB)
}

/// Fails where a merge of indexes of so many bytes takes more memory than there is `room` for: the
/// system would end the process, or the job that it belongs to.
///
/// # Errors
/// LIMIT_EXCEEDED.
pub(crate) fn check_merge(bytes: u64, room: Option<u64>) -> Result<(), Failure> {
    let needed = bytes.saturating_mul(MERGE_TIMES);
    match room {
        Some(room) if needed > room => {
            let (needed, room) = (needed >> 20, room >> 20);
            let message = format!(
                "the image has so many files that merging its layers takes {needed} MiB of memory, \
                 and {room} MiB are free"
            );
            Err(Failure::of(Kind::LimitExceeded, message))
        }
        _ => Ok(()),
    }
}

/// Gives back what conversions left free, for a merge of indexes of so many bytes.
pub(crate) fn before_merge(bytes: u64) {
    if bytes >= LARGE_MERGE {
        give_back();
    }
}

/// Says how memory is to be kept. Called once, before there are threads.
#[cfg(target_env = "gnu")]
pub(crate) fn tune() {
    use nix::libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, mallopt};
    /// Bytes from which on a piece has pages of its own: no block or frame has as many.
    const LARGE: i32 = 2 << 20;
    /// Places that threads share.
    const PLACES: i32 = 4;
    for (parameter, value) in
        [(M_MMAP_THRESHOLD, LARGE), (M_TRIM_THRESHOLD, LARGE), (M_ARENA_MAX, PLACES)]
    {
        #[expect(unsafe_code, reason = "the allocator of the C library has no safe way to be set")]
        // SAFETY: takes two numbers and no pointer; both are in the ranges of mallopt(3), and one
        // that it does not like changes nothing.
        let _is_taken = unsafe { mallopt(parameter, value) };
    }
}

/// Says how memory is to be kept.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn tune() {}

/// Gives free memory back. Takes a few milliseconds.
#[cfg(target_env = "gnu")]
pub(crate) fn give_back() {
    #[expect(unsafe_code, reason = "the allocator of the C library has no safe way to be asked")]
    // SAFETY: takes a number; what is allocated stays where it is, and the allocator locks itself
    // against other threads.
    let _was_any = unsafe { nix::libc::malloc_trim(0) };
}

/// Gives free memory back.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back() {}

/// Lets go of the pages of this program's code: those that are needed again are found where they
/// are, in the page cache. A daemon that waits runs through little of it, and without this all that
/// its last work went through counts as its memory: 9 of 16 MB.
pub(crate) fn forget_code() {
    let Ok(program) = std::fs::read_link("/proc/self/exe") else { return };
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, length) in code(&maps, &program) {
        let start = std::ptr::with_exposed_provenance_mut(start);
        #[expect(unsafe_code, reason = "no safe way to let go of pages of code")]
        // SAFETY: the range is a mapping of this program's file that nobody can write to, as the
        // kernel lists it, and mappings of the program are never taken away: each page of it reads
        // the same after this as before, from the file.
        let _is_done = unsafe { nix::libc::madvise(start, length, nix::libc::MADV_DONTNEED) };
    }
}

/// Where code of this program is mapped: addresses and lengths, from `/proc/self/maps`. Not what can
/// be written, nor what could be while the program was loaded: such pages are not those of the file.
fn code(maps: &str, program: &Path) -> Vec<(usize, usize)> {
    let mapping = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let mut words = rest.split_ascii_whitespace();
        let is_code = words.next()? == "r-xp";
        let path = line.split_once('/').map(|(_, path)| Path::new("/").join(path));
        let (start, end) = range.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        let (start, end) = (number(start)?, number(end)?);
        (is_code && path.as_deref() == Some(program)).then(|| (start, end.saturating_sub(start)))
    };
    maps.lines().filter_map(mapping).collect()
}

/// Returns when there were calls, and then none for a while. `calls` counts those being served.
pub(crate) async fn quiet(calls: &mut watch::Receiver<usize>) {
    // The sender lives as long as the daemon: waiting does not fail before its end.
    drop(calls.changed().await);
    loop {
        drop(calls.wait_for(|count| *count == 0).await.map(|_| ()));
        if tokio::time::timeout(PAUSE, calls.changed()).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_merge_takes_is_refused_where_there_is_less() {
        check_merge(1 << 20, Some(9 << 20)).unwrap();
        check_merge(u64::MAX, None).unwrap();
        let failure = check_merge(100 << 20, Some(899 << 20)).unwrap_err();
        assert_eq!(failure.kind(), Kind::LimitExceeded);
        let said = failure.to_string();
        assert!(said.ends_with("takes 900 MiB of memory, and 899 MiB are free"), "{said}");
    }

    #[test]
    fn code_is_what_is_mapped_of_the_program_to_be_run_and_it_goes_on_without() {
        let maps = "1000-3000 r-xp 00001000 08:01 7    /opt/o d/orlopd\n\
                    3000-4000 r--p 00001000 08:01 7    /opt/o d/orlopd\n\
                    5000-6000 r-xp 00000000 08:01 8    /lib/libc.so.6\n\
                    7000-8000 rwxp 00000000 00:00 0\n\
                    9000-a000 r-xp 00001000 08:01 7    /opt/o d/orlopd (deleted)\n";
        assert_eq!(code(maps, Path::new("/opt/o d/orlopd")), [(0x1000, 0x2000)]);
        forget_code();
        assert_eq!(merge_weight(1 << 20), 1 << 10);
    }

    #[test]
    fn every_merge_has_its_turn_and_large_ones_alone() {
        assert_eq!(merge_weight(0), 1);
        assert_eq!(merge_weight(5 << 20), 5 << 10);
        assert_eq!(merge_weight(u64::MAX), MERGES_KIB);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_quiet_once_after_the_last_of_several_calls() {
        let (calls, mut seen) = watch::channel(0_usize);
        let mut waits = Box::pin(quiet(&mut seen));
        let none = tokio::time::timeout(PAUSE * 3, &mut waits).await;
        assert!(none.is_err(), "nobody called yet");
        for count in [1, 0, 1, 2, 1] {
            calls.send_replace(count);
            assert!(tokio::time::timeout(PAUSE / 2, &mut waits).await.is_err(), "{count}");
        }
        calls.send_replace(0);
        tokio::time::timeout(PAUSE * 2, &mut waits).await.unwrap();
    }
}
