//! Running containers: mount holders and their FUSE server, namespaces, mounts, environment, exec.

pub mod fuse;
pub mod holder;
mod unpack;
