//! The kit: what Orlop's tests, demo and measurements stand on.
//!
//! Scripted and real registries, images from entries, and a user's world of its own. It uses no
//! crate of the product, so that what it makes is made without the code under test, and it works
//! on threads: a test is a story told in order. Waiting is done with [`until`] alone. Not here:
//! tests of the two programs (`tests/it`).

pub mod digest;
pub mod disk;
pub mod docker;
pub mod faults;
pub mod image;
pub mod measure;
pub mod memory;
pub mod network;
pub mod nodes;
pub mod person;
pub mod proxy;
pub mod real;
pub mod registry;
pub mod share;
pub mod site;
pub mod tls;
pub mod tools;
mod until;

pub use digest::Digest;
pub use disk::Disk;
pub use docker::Docker;
pub use faults::{Faults, Positions, Rule};
pub use image::{Artifact, Built, Compression, Entry, Image, Index, Layer, Names, Schema};
pub use network::own_network;
pub use nodes::Nodes;
pub use person::Person;
pub use real::{RealRegistry, free_address};
pub use registry::route::{
    any, blob, blobs, config, head, head_blobs, layer, manifest, ping, tags, token, upload,
};
pub use registry::{
    Answer, Auth, Blob, Gate, Piece, Registry, Request, Route, Signer, Step, Upload,
};
pub use share::{Locks, Manner, Share};
pub use site::{Outcome, Programs, Site};
pub use tls::{Flaw, Identity, Version};
pub use until::{Seen, until, until_true};
