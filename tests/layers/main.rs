//! Layers of every kind, converted by the built program and compared with what others make of them.
//!
//! Each row of the table of odd layers is a list of entries over one base ([`rows`]); an image of
//! both is pulled, and the tree in the SIF is read by Orlop's own reader, unpacked by
//! squashfs-tools, and laid beside the tree that umoci unpacks ([`beside`]). Random layers go the
//! same way ([`chances`]); what an image brings along is run ([`brought`]).
//! Not here: rows that one crate decides alone (`crates/image`: merge and tar); the forms in which
//! images come (`tests/it`).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod beside;
mod brought;
mod chances;
mod made;
mod rows;
mod tree;
