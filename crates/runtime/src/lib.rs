//! Running: namespaces, mounts, the environment inside, and the payload in place.
//!
//! A container is wanted ([`Wanted`], a value), planned (`plan`, pure) and entered (the only part
//! with system calls). The payload takes the caller's place: same process, terminal, cgroup, exit
//! status. Everything here expects a process with one thread.
//!
//! Not here: finding or fetching an image, words for errors, flags (the client's).

mod accounts;
mod binds;
mod caller;
mod enter;
mod environment;
mod error;
mod exec;
pub mod fuse;
pub mod holder;
mod inside;
mod masks;
mod mounts;
mod namespaces;
mod plan;
mod runscript;
mod script;
mod shell;
mod signals;
mod supervise;
mod tree;
mod unpack;
mod wanted;

pub use binds::{Bind, BindError, parse_binds, parse_mount};
pub use caller::{Account, Caller};
pub use enter::{Root, run};
pub use environment::{Forwarded, forwarded, read_env_file};
pub use error::{Error, Knob};
pub use namespaces::refused_by;
pub use wanted::{
    Action, EnvironmentRules, Face, Home, Namespaces, NoMount, Notice, Wanted, Writable,
};
