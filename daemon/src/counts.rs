//! Counts: what happened since the daemon started.
//!
//! Numbers that only grow, for `status` and for whoever draws curves of them. Not here: the text
//! ([`crate::verbs::metrics`]).

use std::sync::atomic::{AtomicU64, Ordering};

use orlop_proto::v1;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// What it is now.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happened since the daemon started.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Pulls asked for.
    pub(crate) pulls: Count,
    /// Pulls that failed or were cancelled.
    pub(crate) pulls_failed: Count,
    /// Pulls that found everything in the cache.
    pub(crate) pulls_cached: Count,
    /// Bytes of blobs that came from registries.
    pub(crate) fetched_bytes: Count,
    /// Layers converted.
    pub(crate) layers_converted: Count,
    /// Images whose layers were merged.
    pub(crate) images_merged: Count,
    /// What other processes and nodes made while this one waited.
    pub(crate) made_elsewhere: Count,
    /// Registries asked for the digest of a reference.
    pub(crate) tags_asked: Count,
    /// Answers about a reference that callers shared.
    pub(crate) tags_shared: Count,
    /// Pulls answered from the cache because the registry could not be asked.
    pub(crate) fallbacks: Count,
    /// Entries found to be damaged.
    pub(crate) damaged: Count,
    /// Bytes collected and cleaned.
    pub(crate) removed_bytes: Count,
}

impl Counts {
    /// The counts as they travel.
    pub(crate) fn sent(&self) -> v1::Counts {
        v1::Counts {
            pulls: self.pulls.get(),
            pulls_failed: self.pulls_failed.get(),
            pulls_cached: self.pulls_cached.get(),
            fetched_bytes: self.fetched_bytes.get(),
            layers_converted: self.layers_converted.get(),
            made_elsewhere: self.made_elsewhere.get(),
            tags_asked: self.tags_asked.get(),
            tags_shared: self.tags_shared.get(),
            fallbacks: self.fallbacks.get(),
            damaged: self.damaged.get(),
            images_merged: self.images_merged.get(),
            removed_bytes: self.removed_bytes.get(),
        }
    }
}
