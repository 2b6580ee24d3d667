//! Memory that is not needed any more goes back to the system.
//!
//! The allocator of glibc keeps what was freed, in a place of its own for each thread, and learns
//! from large pieces that were freed to keep those too: after the merge of a million files it kept
//! 250 MB. Large pieces get pages of their own instead, for as long as they live, threads share a
//! few places, and once nobody has asked for anything for a moment all that is free is given back.
//! With another allocator nothing is done. Not here: bounds on what is used, which each part keeps.

use std::time::Duration;

use tokio::sync::watch;

/// Time without a call after which memory is given back.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// KiB of indexes that are merged at the same time: a merge takes about nine times its indexes.
pub(crate) const MERGES_KIB: u32 = 16 << 10;
/// Bytes of indexes from which on free memory is given back before they are merged.
const LARGE_MERGE: u64 = 2 << 20;

/// KiB of [`MERGES_KIB`] that the merge of indexes of so many bytes takes: never more than there
/// are, so that the largest merge has its turn alone.
pub(crate) fn merge_weight(bytes: u64) -> u32 {
    u32::try_from(bytes >> 10).unwrap_or(u32::MAX).clamp(1, MERGES_KIB)
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
