//! Images in local files: OCI layouts, as directories and as archives, and what `docker save`
//! writes.
//!
//! An [`Archive`] is an open file or directory; [`Archive::choose`] finds the image that was named
//! in it, for a platform; a [`Chosen`] image gives its documents, and its layers as readers of
//! where they lie. Archives are read by seeking; compressed ones are unpacked first, into a file
//! without a name. Everything that has a digest is compared with it, here or by who reads the
//! layers. Names lead nowhere but into the archive. Spec: image spec, image-layout.md; Docker
//! image specification 1.2, "Combined Image JSON + Filesystem Changeset Format".
//!
//! All calls block. Not here: the tar format (`orlop-image`), converting layers (`orlop-image`),
//! what a URI means (`orlop-oci`), Docker's socket (`orlop-registry`).
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod archive;
mod chosen;
mod docker;
mod error;
mod layout;
mod limits;
mod local;
mod names;
mod spool;
mod tree;

pub use archive::{Archive, Form};
pub use chosen::Chosen;
pub use error::Error;
pub use limits::Limits;
pub use tree::Content;
