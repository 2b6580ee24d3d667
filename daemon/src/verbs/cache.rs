//! The cache as its users see it: counts, entries, cleaning, verification. All of it blocks.
//!
//! Not here: what is done to files (`orlop-store`).

use std::fs::File;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orlop_image::{Recipe, SegmentIndex};
use orlop_proto::v1::{self, EntryKind};
use orlop_store::{Checks, Filter, Info, Key, Kind, Store};

use crate::failure::Failure;

/// An entry as it travels.
pub(crate) fn entry(info: &Info) -> v1::Entry {
    v1::Entry {
        kind: kind_sent(info.kind).into(),
        key: info.entry.key(),
        bytes: info.bytes,
        created: unix(info.created),
        used: unix(info.used),
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
        Kind::Segment => EntryKind::Segment,
        Kind::Document | Kind::Tag => EntryKind::Document,
        Kind::Partial => EntryKind::Partial,
    }
}

fn kinds(asked: &[EntryKind]) -> Vec<Kind> {
    let all = [Kind::Recipe, Kind::Sif, Kind::Segment, Kind::Document, Kind::Tag, Kind::Partial];
    all.into_iter().filter(|kind| asked.contains(&kind_sent(*kind))).collect()
}

/// Removes entries; days 0: whatever their age.
///
/// # Errors
/// FILE_FAILED.
pub(crate) fn clean(
    store: &Store,
    asked: &[EntryKind],
    days: u32,
    dry_run: bool,
    now: SystemTime,
) -> Result<v1::CleanReply, Failure> {
    let kinds = kinds(asked);
    if kinds.is_empty() && !asked.is_empty() {
        // Kinds of Apptainer's cache that this one never holds.
        return Ok(v1::CleanReply::default());
    }
    let age = Duration::from_secs(u64::from(days).saturating_mul(24 * 3600));
    let unused_since = (days > 0).then(|| now.checked_sub(age).unwrap_or(UNIX_EPOCH));
    let report = store.clean(&Filter { unused_since, kinds, dry_run })?;
    Ok(v1::CleanReply {
        removed: report.removed.iter().map(entry).collect(),
        in_use: report.in_use,
    })
}

/// Reads every entry and compares.
///
/// # Errors
/// FILE_FAILED.
pub(crate) fn verify(store: &Store) -> Result<v1::VerifyReply, Failure> {
    let verified = store.verify(&Content, &mut |_| {})?;
    Ok(v1::VerifyReply {
        checked: verified.checked,
        damaged: verified.damaged.iter().map(entry).collect(),
    })
}

/// What segments and recipes must be.
struct Content;

impl Checks for Content {
    fn segment(&self, _key: &Key, index: &[u8], data: &File) -> Result<(), String> {
        let index = SegmentIndex::from_bytes(index).map_err(|error| error.to_string())?;
        index.check_data(data).map_err(|error| error.to_string())
    }

    fn recipe(&self, _key: &Key, bytes: &[u8]) -> Result<(), String> {
        Recipe::from_bytes(bytes).map(drop).map_err(|error| error.to_string())
    }
}
