//! Mount holders: one process per image and scope, whose FUSE mount every container of that scope
//! shares.
//!
//! [`join_or_start`] gives a caller the holder's user namespace and a fresh copy of its mount;
//! [`maybe_holder_main`] is what the re-executed program does. The two speak over a `SEQPACKET`
//! socket, `<socket directory>/holders/<key>.sock`.
//!
//! A holder takes joins while a joiner lives, and for a grace period more; then it detaches its own
//! mount and serves until no copy is left. (`design.md` §12.1.)
//!
//! Not here: entering the namespaces and mounting the copy (the caller), FUSE (`fuse`).

mod error;
mod image;
mod join;
mod key;
mod message;
mod namespace;
mod place;
mod process;
mod scope;
mod service;
mod stay;

pub use error::Error;
pub use image::Image;
pub use join::{Holder, Mapping, Options, Origin, join_or_start};
pub use scope::Scope;
pub use stay::Names;

use std::ffi::OsString;
use std::process::ExitCode;

/// First argument of a process that is to be a holder.
pub const HOLDER_ARGUMENT: &str = "--orlop-holder";

/// Runs a holder when the arguments (without the program's name) ask for one; nothing else.
///
/// To be called first thing in `main`, before any thread: a process of several threads can make no
/// user namespace.
#[must_use]
pub fn maybe_holder_main(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    (arguments.next()? == HOLDER_ARGUMENT).then(process::main)
}
