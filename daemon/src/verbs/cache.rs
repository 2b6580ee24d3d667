//! The cache as its users see it: counts, entries, cleaning, verification. All of it blocks.
//!
//! Not here: what is done to files (`orlop-store`).

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orlop_image::{Recipe, SegmentIndex};
use orlop_proto::v1::{self, EntryKind};
use orlop_store::{Checks, Entry, Filter, Info, Key, Kind, Store};

use crate::daemon::Refused;
use crate::failure::Failure;

/// Counts of the cache.
///
/// # Errors
/// FILE_FAILED.
pub(crate) fn usage(store: &Store) -> Result<v1::UsageReply, Failure> {
    let (entries, pins) = (store.entries()?, store.pins()?);
    let usage = orlop_store::Usage::of(&entries);
    let kept: BTreeSet<&Entry> = pins.iter().flat_map(|pin| &pin.entries).collect();
    let pinned = entries.iter().filter(|info| kept.contains(&info.entry));
    let (pinned, pinned_bytes) = pinned.fold((0_u64, 0_u64), |(count, bytes), info| {
        (count.saturating_add(1), bytes.saturating_add(info.bytes))
    });
    Ok(v1::UsageReply {
        path: store.root().to_string_lossy().into_owned(),
        images: usage.images,
        image_bytes: usage.image_bytes,
        blobs: usage.blobs,
        blob_bytes: usage.blob_bytes,
        partials: usage.partials,
        partial_bytes: usage.partial_bytes,
        cap_bytes: store.cap()?,
        pinned,
        pinned_bytes,
        pins: pins.into_iter().map(|pin| pin.name).collect(),
    })
}

/// All entries.
///
/// # Errors
/// FILE_FAILED.
pub(crate) fn entries(store: &Store) -> Result<Vec<v1::Entry>, Failure> {
    let pins = store.pins()?;
    let kept: BTreeSet<&Entry> = pins.iter().flat_map(|pin| &pin.entries).collect();
    let entries = store.entries()?;
    let entries = entries.iter();
    Ok(entries
        .map(|info| v1::Entry { pinned: kept.contains(&info.entry), ..entry(info) })
        .collect())
}

/// An entry as it travels.
fn entry(info: &Info) -> v1::Entry {
    v1::Entry {
        kind: kind_sent(info.kind).into(),
        key: info.entry.key(),
        bytes: info.bytes,
        created: unix(info.created),
        used: unix(info.used),
        pinned: false,
    }
}

fn unix(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn kind_sent(kind: Kind) -> EntryKind {
    match kind {
        Kind::Recipe => EntryKind::Recipe,
        Kind::Sif => EntryKind::Sif,
        Kind::Layer => EntryKind::Layer,
        Kind::Segment => EntryKind::Segment,
        Kind::Document | Kind::Tag => EntryKind::Document,
        Kind::Partial => EntryKind::Partial,
    }
}

fn kinds(asked: &[EntryKind]) -> Vec<Kind> {
    let images = [Kind::Recipe, Kind::Sif];
    let parts = [Kind::Layer, Kind::Segment, Kind::Document, Kind::Tag, Kind::Partial];
    images.into_iter().chain(parts).filter(|kind| asked.contains(&kind_sent(*kind))).collect()
}

/// Removes a cache of a format that is not known, or says that it would.
///
/// # Errors
/// FILE_FAILED when the directory holds more than a cache.
pub(crate) fn destroy(refused: &Refused, dry_run: bool) -> Result<v1::CleanReply, Failure> {
    if !dry_run {
        Store::destroy(&refused.path)?;
        tracing::info!(path = %refused.path.display(), "the cache of another format was removed");
    }
    Ok(v1::CleanReply { unknown_format: refused.format.clone(), ..v1::CleanReply::default() })
}

/// Removes entries until `stop` is raised; days 0: whatever their age.
///
/// # Errors
/// FILE_FAILED.
pub(crate) fn clean(
    store: &Store,
    asked: &[EntryKind],
    days: u32,
    dry_run: bool,
    stop: &AtomicBool,
) -> Result<v1::CleanReply, Failure> {
    let kinds = kinds(asked);
    if kinds.is_empty() && !asked.is_empty() {
        // Kinds of Apptainer's cache that this one never holds.
        return Ok(v1::CleanReply::default());
    }
    let age = Duration::from_secs(u64::from(days).saturating_mul(24 * 3600));
    // By the file system's clock, which says when things were used: this node's may be wrong.
    let now = store.file_system_time()?;
    let unused_since = (days > 0).then(|| now.checked_sub(age).unwrap_or(UNIX_EPOCH));
    let is_all = unused_since.is_none() && kinds.is_empty() && !dry_run;
    let report = store.clean(&Filter { unused_since, kinds, dry_run }, stop)?;
    if is_all {
        store.forget_damaged()?;
    }
    Ok(v1::CleanReply {
        removed: report.removed.iter().map(entry).collect(),
        in_use: report.in_use,
        pinned: report.pinned,
        unknown_format: String::new(),
    })
}

/// Reads every entry and compares, until `stop` is raised. `progress` is told the bytes read so far.
///
/// # Errors
/// CANCELLED, FILE_FAILED.
pub(crate) fn verify(
    store: &Store,
    progress: &dyn Fn(u64),
    stop: &AtomicBool,
) -> Result<v1::VerifyReply, Failure> {
    let mut bytes = 0_u64;
    let mut read = |more: u64| {
        bytes = bytes.saturating_add(more);
        progress(bytes);
    };
    let verified = store.verify(&Content, &mut read, stop)?;
    let mut damaged: Vec<v1::Entry> = verified.damaged.iter().map(entry).collect();
    damaged.extend(verified.damaged_pins.into_iter().map(|key| v1::Entry {
        kind: EntryKind::Pin.into(),
        key,
        ..v1::Entry::default()
    }));
    Ok(v1::VerifyReply { checked: verified.checked, damaged, bytes })
}

/// Reads what an image is made of; what does not match is moved aside.
///
/// # Errors
/// CANCELLED, FILE_FAILED.
pub(crate) fn heal(store: &Store, key: &str, stop: &AtomicBool) -> Result<v1::HealReply, Failure> {
    let mut entries = Vec::new();
    if let Ok(key) = key.parse::<Key>() {
        if let Some(leased) = store.recipe(&key)?
            && let Ok(recipe) = Recipe::from_bytes(&leased.read()?)
        {
            let segments = recipe.segments().iter().filter_map(|key| key.as_str().parse().ok());
            entries.extend(segments.map(Entry::Segment));
        }
        entries.push(Entry::Recipe(key));
    } else if let Ok(digest) = key.parse() {
        entries.push(Entry::Blob(digest));
    }
    let infos = store.entries()?;
    let mut reply = v1::HealReply::default();
    // What another node has removed meanwhile has to be made anew, too.
    for missing in entries.iter().filter(|entry| infos.iter().all(|info| info.entry != **entry)) {
        reply.damaged.push(v1::Entry { key: missing.key(), ..v1::Entry::default() });
    }
    for info in infos.iter().filter(|info| entries.contains(&info.entry)) {
        if !store.verify_entry(&info.entry, &Content, stop)? {
            reply.damaged.push(entry(info));
        }
    }
    Ok(reply)
}

/// What segments and recipes must be.
pub(crate) struct Content;

impl Checks for Content {
    fn segment(
        &self,
        _key: &Key,
        index: &[u8],
        data: &File,
        stop: &AtomicBool,
    ) -> Result<(), String> {
        let index = SegmentIndex::from_bytes(index).map_err(|error| error.to_string())?;
        index.check_data(data, stop).map_err(|error| error.to_string())
    }

    fn recipe(&self, _key: &Key, bytes: &[u8]) -> Result<(), String> {
        Recipe::from_bytes(bytes).map(drop).map_err(|error| error.to_string())
    }
}
