//! The crate through its public door, against the kit's scripted registry on loopback.
//!
//! Counts are the registry's own log. Not here: parsing and deciding, which are tested beside the
//! functions.

#![expect(clippy::unwrap_used, reason = "a test")]

mod blobs;
mod login;
mod manifests;
mod mirrors;
mod parts;
mod site;
mod tokens;
mod uploads;
