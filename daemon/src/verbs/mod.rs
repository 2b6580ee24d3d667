//! What the calls do: each a noun's verb, in the words of the libraries. No message of the API but
//! those of events passes through here.
//!
//! Not here: request and reply messages ([`crate::services`]).

pub(crate) mod asking;
mod blob;
pub(crate) mod cache;
pub(crate) mod checks;
pub(crate) mod claims;
pub(crate) mod convert;
pub(crate) mod docker;
pub(crate) mod documents;
pub(crate) mod image;
pub(crate) mod inspect;
mod kept;
pub(crate) mod known;
mod landing;
pub(crate) mod local;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod lookup;
pub(crate) mod merge;
pub(crate) mod metrics;
mod needs;
pub(crate) mod pins;
pub(crate) mod pull;
pub(crate) mod push;
mod room;
mod spool;
pub(crate) mod tags;
pub(crate) mod web;
