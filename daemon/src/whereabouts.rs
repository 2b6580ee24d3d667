//! Whereabouts: which repositories have which blobs, as far as pushes and pulls of this daemon
//! showed.
//!
//! A hint that saves an upload: a registry is asked to take a file from there, and may refuse.
//! Kept in memory, the newest few thousand. Not here: the asking (`orlop-registry`).

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use orlop_oci::Digest;

/// Entries that are kept.
const KEPT: usize = 4096;
/// Repositories named for one blob.
const NAMED: usize = 2;

/// Which repositories have which blobs.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts(Mutex<VecDeque<(String, Digest)>>);

impl Whereabouts {
    /// Notes that the repository `host/path` has a blob.
    pub(crate) fn note(&self, repository: &str, digest: &Digest) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(name, blob)| name != repository || blob != digest);
        if known.len() >= KEPT {
            known.pop_front();
        }
        known.push_back((repository.to_owned(), digest.clone()));
    }

    /// Paths at `host` that have a blob, the newest first.
    pub(crate) fn paths(&self, host: &str, digest: &Digest) -> Vec<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at_host =
            known.iter().rev().filter(|(_, blob)| blob == digest).filter_map(|(name, _)| {
                let (at, path) = name.split_once('/')?;
                (at == host).then(|| path.to_owned())
            });
        at_host.take(NAMED).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_repositories_of_a_host_are_named_first() {
        let known = Whereabouts::default();
        let (one, other) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
        for name in ["h/a", "h/b/c", "i/d", "h/a"] {
            known.note(name, &one);
        }
        known.note("h/e", &other);
        assert_eq!(known.paths("h", &one), ["a", "b/c"]);
        assert_eq!(known.paths("i", &one), ["d"]);
        assert!(known.paths("j", &one).is_empty());
    }

    #[test]
    fn old_entries_go() {
        let known = Whereabouts::default();
        let digest = Digest::sha256(b"1");
        known.note("h/first", &Digest::sha256(b"2"));
        for number in 0..KEPT {
            known.note(&format!("h/{number}"), &digest);
        }
        assert!(known.paths("h", &Digest::sha256(b"2")).is_empty());
        assert_eq!(known.paths("h", &digest), ["4095", "4094"]);
    }
}
