//! Who a user is at which registry: reading and editing the files that say so.
//!
//! Docker's config JSON ([`docker_json`]), Apptainer's list file ([`remote_yaml`]), credential
//! helpers ([`programs`]), the order of sources ([`precedence`]), and the one way a file is changed
//! ([`update`]): lock, read again, edit, publish. What callers need in one call each: [`loading`]
//! a file, [`login`] and logout, [`listing`]. A file that does not parse is never written, and
//! what Orlop does not know in a file stays as it is, to the byte.
//!
//! Not here: proving a login (`orlop-registry`), where the files are (`orlop-config`).

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod docker_json;
mod error;
mod json_text;
pub mod keys;
mod limits;
pub mod listing;
pub mod loading;
mod lock;
pub mod login;
pub mod precedence;
pub mod programs;
pub mod reading;
pub mod remote_yaml;
pub mod secret;
pub mod telling;
pub mod update;

pub use error::Error;
pub use limits::Limits;
pub use secret::{Credential, Secret};
