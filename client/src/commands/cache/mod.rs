//! `orlop cache`: what is kept, in Apptainer's words where it has them (contract, section 9).

pub(crate) mod clean;
pub(crate) mod list;
pub(crate) mod pin;
pub(crate) mod usage;
pub(crate) mod verify;

use orlop_proto::v1::{Entry, EntryKind, Kind};

use crate::failure::Failure;

/// Most bytes of a listing that the daemon sends: some 500 000 entries.
pub(crate) const LISTING_BYTES: usize = 64 << 20;

/// Apptainer's names of kinds of entry, and which of ours they are.
pub(crate) fn kinds(names: &[String]) -> Result<Vec<EntryKind>, Failure> {
    let mut kinds = Vec::new();
    for name in names {
        kinds.extend_from_slice(match name.as_str() {
            "all" => return Ok(Vec::new()),
            // "oci" is what Apptainer's own help calls it.
            "oci-tmp" | "oci" => &[EntryKind::Recipe] as &[_],
            "oras" => &[EntryKind::Sif],
            "blob" => {
                &[EntryKind::Layer, EntryKind::Segment, EntryKind::Document, EntryKind::Partial]
            }
            "library" | "shub" | "net" | "ipfs" => &[],
            other => {
                return Err(Failure::new(Kind::SettingsInvalid, format!("invalid type {other}"))
                    .hint("types are: library, oci-tmp, shub, blob, oras, net, all"));
            }
        });
    }
    // A type that never has entries: nothing, not everything.
    if kinds.is_empty() && !names.is_empty() {
        kinds.push(EntryKind::Unspecified);
    }
    Ok(kinds)
}

/// The name of an entry's kind in listings.
pub(crate) fn name(entry: &Entry) -> &'static str {
    match entry.kind() {
        EntryKind::Recipe => "oci-tmp",
        EntryKind::Sif => "oras",
        EntryKind::Layer | EntryKind::Segment | EntryKind::Document => "blob",
        EntryKind::Partial => "partial",
        EntryKind::Pin => "pin",
        EntryKind::Unspecified => "other",
    }
}

/// Whether an entry counts as an image file rather than as a part of one.
pub(crate) fn is_image(entry: &Entry) -> bool {
    matches!(entry.kind(), EntryKind::Recipe | EntryKind::Sif)
}
