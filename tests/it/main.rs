//! Integration tests: the two programs, against the kit's registries and in worlds of their own.
//!
//! One file a topic. A test says what is given, does one thing, and checks what is there then.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod addresses;
mod build;
mod cache;
mod calls;
mod certificates;
mod credential_disks;
mod credential_files;
mod credential_helper;
mod credential_helpers;
mod credential_locks;
mod credential_places;
mod credential_secrets;
mod crowds;
mod daemon;
mod daemon_ends;
mod deleted;
mod disk_calls;
mod disk_space;
mod disks;
mod environment;
mod explain;
mod explain_cases;
mod inspect;
mod large;
mod local_sources;
mod login;
mod login_proof;
mod logout;
mod many_logins;
mod memory;
mod nodes;
mod offline;
mod old_caches;
mod oras;
mod others;
mod places;
mod power;
mod proxies;
mod pull;
mod pull_faults;
mod push_rows;
mod real_mirrors;
mod reflink;
mod registry_rows;
mod rules;
mod run;
mod strays;
mod tags;
mod two_nodes;
mod web_sources;
mod words_outside;
mod world;
