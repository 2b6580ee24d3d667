//! `orlopd`: the daemon of one user, node and cache.
//!
//! Owns the default credential files, registry connections, the cache, downloads and conversions.
//! Request message -> verb -> reply message: `services` hold no logic, `verbs` do the work,
//! `flights` let callers share it, `tasks` is the one place that starts anything.
//!
//! Not here: HTTP (`orlop-registry`), converting (`orlop-image`), the cache's files
//! (`orlop-store`), containers and output files (the client's).

mod arguments;
mod brief;
mod caller;
mod clock;
mod counts;
mod daemon;
mod disk;
mod failure;
mod flights;
mod headroom;
mod inherited;
mod lifecycle;
mod listen;
mod log;
mod memory;
mod opened;
mod protect;
mod rules;
mod scrape;
mod services;
mod start;
mod succession;
mod systemd;
mod tasks;
mod verbs;
mod whereabouts;

pub use start::main;

/// Version that is exchanged with clients.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
