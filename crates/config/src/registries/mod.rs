//! `registries.conf`: which sources a reference is pulled from, in which order.
//!
//! Version 2 of the format, with drop-ins, as containers/image reads it: `registry.md` §4; cases:
//! `tests/data/registries-cases.toml`. Loading validates everything, so a bad file fails every
//! pull and not a random one; [`Registries::sources`] is pure. Version 1 is refused. Search lists,
//! aliases and the short-name mode are validated and not applied: names after `docker://` are
//! Docker's. Not here: trying the sources (`orlop-registry`); certificates ([`crate::certs`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Place;

mod fault;
mod keys;
mod load;
mod merge;
mod parse;
mod salvage;
mod sources;
#[cfg(test)]
mod tests;

pub use fault::Fault;
pub use load::{Loaded, Stamp, load, seems_blocked, stamp};
pub use sources::Source;

/// The rules of one user: all files merged and validated. `Default` is no rule at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registries {
    /// By prefix.
    tables: BTreeMap<String, Table>,
    search: Vec<String>,
    helpers: Option<Vec<String>>,
    aliases: BTreeMap<String, String>,
    /// Names that must not be contacted besides what the tables say ([`Registries::hold`]).
    held: BTreeSet<String>,
}

/// One `[[registry]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Start of the references it is for, or `*.` and the end of their host.
    pub prefix: String,
    /// What replaces the prefix; empty: nothing does.
    pub location: String,
    /// Whether the location may be contacted by plain http and without checking certificates.
    pub insecure: bool,
    /// Whether references that it matches may not be contacted.
    pub blocked: bool,
    /// Whether its mirrors are for references with a digest alone.
    pub mirror_by_digest_only: bool,
    /// Its mirrors in order.
    pub mirrors: Vec<Mirror>,
    /// Where it was written.
    pub at: Place,
}

/// One `[[registry.mirror]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// What replaces the prefix.
    pub location: String,
    /// Whether it may be contacted by plain http and without checking certificates.
    pub insecure: bool,
    /// Which pulls it is for.
    pub pulls: Pulls,
    /// Whether it is told which registry a pull names (`?ns=`): `orlop-ns`.
    pub is_told: bool,
}

/// Which pulls a mirror serves: `pull-from-mirror`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pulls {
    /// All.
    #[default]
    All,
    /// Those of references with a digest.
    DigestOnly,
    /// Those of references without one.
    TagOnly,
}

/// Rules of one text, `None` where it is none; what it blocks is looked for as well.
pub(crate) fn checked(text: &str) -> Option<Registries> {
    let mut rules = Registries::default();
    rules.hold(salvage::blocked(text));
    rules.lay_over(parse::parse(std::path::Path::new("registries.conf"), text).ok()?);
    Some(rules)
}

impl Registries {
    /// Returns the credential helpers to ask, in order, by the bare host. The word
    /// `containers-auth.json` stands for the credential files, and is all there is by default.
    #[must_use]
    pub fn credential_helpers(&self) -> Vec<&str> {
        match &self.helpers {
            Some(helpers) => helpers.iter().map(String::as_str).collect(),
            None => vec!["containers-auth.json"],
        }
    }

    /// Says whether a table of exactly this prefix blocks.
    #[must_use]
    pub fn has_blocked(&self, prefix: &str) -> bool {
        self.tables.get(prefix).is_some_and(|table| table.blocked)
    }

    /// Blocks these names too, each as a prefix: what [`seems_blocked`] found in broken files.
    pub fn hold(&mut self, names: BTreeSet<String>) {
        self.held.extend(names);
    }

    /// Returns the search list, which Orlop does not use.
    #[must_use]
    pub fn unqualified_search_registries(&self) -> &[String] {
        &self.search
    }

    /// Returns the aliases of short names, which Orlop does not use.
    #[must_use]
    pub const fn aliases(&self) -> &BTreeMap<String, String> {
        &self.aliases
    }
}
