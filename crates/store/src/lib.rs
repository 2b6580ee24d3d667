//! The cache on disk: what was fetched and converted once, shared by everything that runs as the
//! user, on this node and on others that see the same directory.
//!
//! ```text
//! <cache>/
//!   CACHEDIR.TAG  version
//!   blobs/<algorithm>/<hex>   manifests, configs, SIF files
//!   layers/<algorithm>-<hex>  layers as they came, where the user keeps them
//!   segments/<key>/           data, index: one converted layer
//!   recipes/<key>             an image as tables and extents of segments
//!   tags/<key>                the last digest seen for a reference
//!   partial/<algorithm>-<hex> downloads to resume, each with a `.mark` of what was synced
//!   claims/<name>             "somebody is at it", for other processes and nodes
//!   leases/<name>.<host>      "in use on that host", for other nodes' collectors
//!   pins/<key>                what is never collected, by the name that a user pinned
//!   tmp/.orlop/               what is not whole yet, what is being removed
//!   tmp/damaged/              what did not match
//!   unpacked/<image>/         images as directories, where there is no FUSE (`orlop-runtime`)
//! ```
//!
//! What holds: everything outside `partial/` and `tmp/` is whole, because it got its name by one
//! rename after a sync. Correctness never rests on a lock or a clock: locks keep a collector from
//! what is in use, claims save work. Readers never map a file. Keys are opaque to this crate.
//! Spec: design, sections 6 and 12.2; reliability, sections 6.3 and 6.4.
//!
//! All calls block; none starts a thread. In reading order: [`Store`], [`Leased`], [`Segment`],
//! [`Partial`], [`Claim`], then collection and verification.
//!
//! Not here: fetching (`orlop-registry`), what is in a segment or recipe (`orlop-image`), who may
//! join a download (the daemon).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod claim;
mod collect;
mod document;
mod entry;
mod error;
mod files;
mod format;
mod intact;
mod key;
mod layout;
mod lease;
mod own;
mod partial;
mod pin;
mod recipe;
mod segment;
mod space;
mod store;
mod sweep;
mod tag;
mod usage;
mod verify;

pub use claim::{Claim, Claimed, Seen, Watch};
pub use collect::{Filter, Report};
pub use document::BlobDraft;
pub use entry::{Entry, Info, Kind};
pub use error::Error;
pub use intact::Look;
pub use key::{Key, KeyError};
pub use lease::Leased;
pub use partial::{Partial, PartialReader};
pub use pin::Pin;
pub use segment::{Segment, SegmentDraft};
pub use space::Space;
pub use store::{Settings, Store};
pub use tag::Tag;
pub use usage::Usage;
pub use verify::{Aside, Checks, Verified};
