//! Bytes that a pull has yet to write on the cache's disk, by what is there already.
//!
//! The rule: of each layer without a segment, what has yet to be fetched and a segment as large as
//! the layer is as it comes, which is what segments come to (docs/performance.md); and the image
//! itself, as large as its segments, where the caller writes it to the same disk and that cannot
//! share pages between files. Where something is converted, a bound for the small files comes to it:
//! indexes, recipe, documents, marks and claims, each in whole blocks. It is counted before anything
//! is fetched, so that room is made, and again when the disk was full: then it is what has to be free
//! for the pull to go through.
//!
//! Not here: making room (`orlop-store`); what comes without a length ([`super::room`]).

use orlop_oci::Descriptor;
use orlop_proto::v1::Kind;
use orlop_store::{Entry, Store};

use super::convert::Layer;
use crate::daemon::Daemon;
use crate::failure::Failure;

/// Bytes of small files that any conversion writes at most, whatever the size of its layers.
const SMALL: u64 = 256 << 10;

/// What part of the layers indexes and recipe come to, as a power of two: a 64th.
const SMALL_SHIFT: u32 = 6;

/// What there is of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum There {
    /// Its segment, of so many bytes: nothing has to be done.
    Segment(u64),
    /// The layer as it came: nothing has to be fetched.
    Layer,
    /// So many bytes of a download.
    Part(u64),
}

impl There {
    /// Looks in the cache; `is_local` where the layer lies in a file of the caller's.
    ///
    /// # Errors
    /// FILE_FAILED.
    pub(super) fn look(store: &Store, layer: &Layer, is_local: bool) -> Result<Self, Failure> {
        if let Some(segment) = store.segment(&layer.key)? {
            return Ok(Self::Segment(segment.data.bytes().saturating_add(segment.index.bytes())));
        }
        let Descriptor { digest, size, .. } = &layer.descriptor;
        if is_local || store.layer(digest, *size)?.is_some() {
            return Ok(Self::Layer);
        }
        Ok(Self::Part(part(store, &layer.descriptor)))
    }

    pub(super) const fn is_converted(self) -> bool {
        matches!(self, Self::Segment(_))
    }

    /// True when the layer can be had without asking a source.
    pub(super) const fn is_whole(self) -> bool {
        matches!(self, Self::Segment(_) | Self::Layer)
    }
}

/// Bytes of a blob's download that are there.
fn part(store: &Store, descriptor: &Descriptor) -> u64 {
    let path = store.path(&Entry::Partial(descriptor.digest.clone()));
    let there = std::fs::symlink_metadata(path).map_or(0, |found| found.len());
    there.min(descriptor.size)
}

/// Bytes that have yet to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// To be fetched.
    fetched: u64,
    /// Of segments to be made.
    converted: u64,
    /// Of the image as the caller writes it.
    written: u64,
}

impl Needs {
    /// Of an image of layers, each with its size as it comes; `is_written`: to this disk.
    pub(super) fn of_layers(
        layers: impl IntoIterator<Item = (u64, There)>,
        is_written: bool,
    ) -> Self {
        let mut needs = Self::default();
        let mut image: u64 = 0;
        for (size, there) in layers {
            let segment = match there {
                There::Segment(bytes) => bytes,
                There::Layer | There::Part(_) => size,
            };
            image = image.saturating_add(segment);
            if !there.is_converted() {
                needs.converted = needs.converted.saturating_add(size);
            }
            if let There::Part(have) = there {
                needs.fetched = needs.fetched.saturating_add(size.saturating_sub(have));
            }
        }
        needs.written = if is_written { image } else { 0 };
        needs
    }

    /// Of a SIF that a registry has.
    pub(super) fn of_blob(store: &Store, descriptor: &Descriptor, is_written: bool) -> Self {
        let fetched = descriptor.size.saturating_sub(part(store, descriptor));
        let written = if is_written { descriptor.size } else { 0 };
        Self { fetched, converted: 0, written }
    }

    /// Of a file whose bytes are all that is known.
    pub(super) fn of_bytes(fetched: u64) -> Self {
        Self { fetched, converted: 0, written: 0 }
    }

    /// All of them, and what small files take beside segments that are to be made.
    pub(super) fn all(self) -> u64 {
        let small = match self.converted {
            0 => 0,
            converted => SMALL.saturating_add(converted >> SMALL_SHIFT),
        };
        let large = self.fetched.saturating_add(self.converted).saturating_add(self.written);
        large.saturating_add(small)
    }

    /// Without which the pull is not worth beginning. A download goes on though it cannot be kept,
    /// and the image may find room that is made meanwhile.
    fn least(self) -> u64 {
        if self.converted > 0 { self.converted } else { self.fetched }
    }

    /// Sees to room before anything is asked for.
    ///
    /// # Errors
    /// DISK_FULL.
    pub(super) async fn make_room(self, daemon: &Daemon) -> Result<(), Failure> {
        make_room(daemon, self.least(), self.all()).await
    }
}

/// Sees to room for `all` bytes; fails where there is none for `least` of them.
///
/// # Errors
/// DISK_FULL.
pub(super) async fn make_room(daemon: &Daemon, least: u64, all: u64) -> Result<(), Failure> {
    if all == 0 {
        return Ok(());
    }
    let store = daemon.store.clone();
    daemon.blocking("room", move || Ok(store.make_room(least, all).map(drop)?)).await
}

/// After a full disk: whether something went of what nobody uses and this pull does not want, so that
/// one more try is worth it.
/// A quota refuses though the file system has room, which shows only so.
pub(super) async fn is_room_made_of(
    daemon: &Daemon,
    failure: &Failure,
    wanted: Vec<Entry>,
    count: impl FnOnce(&Store) -> Result<Needs, Failure> + Send + 'static,
) -> bool {
    if failure.kind() != Kind::DiskFull {
        return false;
    }
    let store = daemon.store.clone();
    let collect = move || Ok(store.collect_others(count(&store)?.all(), &wanted)?.bytes());
    let collected = daemon.blocking("room", collect).await;
    collected.inspect_err(|error| tracing::info!(%error, "no room is made")).is_ok_and(|n| n > 0)
}

/// Says of a full disk what has to be free for the pull to go through; `count` counts it now.
pub(super) async fn told(
    daemon: &Daemon,
    failure: Failure,
    count: impl FnOnce(&Store) -> Result<Needs, Failure> + Send + 'static,
) -> Failure {
    if failure.kind() != Kind::DiskFull {
        return failure;
    }
    let store = daemon.store.clone();
    match daemon.blocking("needs", move || count(&store)).await {
        Ok(needs) if needs.all() > 0 => failure.needing(daemon.store.root(), needs.all()),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f30_what_has_yet_to_be_written_is_counted_by_what_is_there() {
        const M: u64 = 1 << 20;
        /// What it is; the layers; what has to be fetched, converted and written.
        type Row = (&'static str, &'static [(u64, There)], [u64; 3]);
        let rows: [Row; 7] = [
            (
                "nothing is there",
                &[(10 * M, There::Part(0)), (5 * M, There::Part(0))],
                [15 * M, 15 * M, 15 * M],
            ),
            ("a part came", &[(10 * M, There::Part(4 * M))], [6 * M, 10 * M, 10 * M]),
            ("all of it came", &[(10 * M, There::Part(10 * M))], [0, 10 * M, 10 * M]),
            ("it is kept", &[(10 * M, There::Layer)], [0, 10 * M, 10 * M]),
            ("it is converted", &[(10 * M, There::Segment(9 * M))], [0, 0, 9 * M]),
            (
                "a parent is there",
                &[(10 * M, There::Segment(9 * M)), (M, There::Part(0))],
                [M, M, 10 * M],
            ),
            (
                "it claims to be endless",
                &[(u64::MAX, There::Part(0)), (M, There::Part(0))],
                [u64::MAX; 3],
            ),
        ];
        for (row, layers, [fetched, converted, written]) in rows {
            let needs = Needs::of_layers(layers.iter().copied(), true);
            assert_eq!(needs, Needs { fetched, converted, written }, "{row}");
            let elsewhere = Needs::of_layers(layers.iter().copied(), false);
            assert_eq!(elsewhere, Needs { written: 0, ..needs }, "{row}");
            let small = if converted > 0 { SMALL.saturating_add(converted / 64) } else { 0 };
            let all = fetched.saturating_add(converted).saturating_add(small);
            assert_eq!(elsewhere.all(), all, "{row}");
        }
    }
}
