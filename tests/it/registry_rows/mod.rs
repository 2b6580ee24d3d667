//! Hostile and broken registries, row by row: a pull of the built programs against the scripted
//! registry, and what it ends in.
//!
//! A row says what the registry answers, what the command says, how many requests came and what
//! is left; its id begins its test's name. Base of all: an image of two layers under one tag of one
//! registry with TLS, an empty cache, nobody logged in; an undisturbed pull is six requests, and
//! seven with a token. Rows of several variants loop over them and name each. Not here: faults of
//! the machine itself (`pull_faults`).

mod blobs;
mod canary;
mod certificates;
mod challenge;
mod config;
mod http2;
mod index;
mod manifest;
mod mirrors;
mod networks;
mod ping;
mod proxies;
mod redirects;
mod row;
mod stage;
mod token;
mod transport;
mod waits;
