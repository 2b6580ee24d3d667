//! Hostile and broken registries, row by row: a pull of the built programs against the scripted
//! registry, and what it ends in.
//!
//! A row's id begins its test's name. Base of all: an image of two layers under one tag of one
//! registry with TLS, an empty cache, nobody logged in; an undisturbed pull is six requests. Rows
//! of several variants loop over them and name each. Not here: faults of the machine itself
//! (`pull_faults`).

mod blobs;
mod certificates;
mod http2;
mod mirrors;
mod redirects;
mod stage;
mod transport;
