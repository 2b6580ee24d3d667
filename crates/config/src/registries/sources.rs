//! From a reference to the sources it is pulled from, best first. Pure.
//!
//! Choice of the table: `registry.md` §4.3; rewriting and order: §4.4; blocked names: §4.5. Two
//! points differ from containers/image on purpose: a prefix may name a tag or digest, and a
//! wildcard is compared with the end of the host. Not here: trying the sources.

use std::cmp::Reverse;

use orlop_oci::{Host, Reference};

use super::{Mirror, Pulls, Registries, Table};
use crate::error::Error;

/// One place to pull from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What to ask for there.
    pub reference: Reference,
    /// Whether plain http and unchecked certificates are allowed there.
    pub insecure: bool,
    /// Whether it must not be contacted: it counts as failed.
    pub blocked: bool,
    /// Whether it is a mirror, whose failure is no more than a reason to try the next source.
    pub is_mirror: bool,
    /// The host of the reference that was named, where this source is to be told it (`?ns=`).
    pub namespace: Option<Host>,
}

impl Registries {
    /// Returns the sources of a reference in the order of trying, the registry itself last.
    ///
    /// # Errors
    /// [`Error::Rewrite`] when a rule makes something of the reference that is none: then no
    /// source is contacted.
    pub fn sources(&self, reference: &Reference) -> Result<Vec<Source>, Error> {
        let text = reference.canonical();
        let Some((table, rest)) = self.matching(reference.host().name(), &text) else {
            return Ok(vec![Source {
                reference: reference.clone(),
                insecure: false,
                blocked: self.blocks(reference),
                is_mirror: false,
                namespace: None,
            }]);
        };
        let mut sources = Vec::new();
        for mirror in table.mirrors.iter().filter(|mirror| table.serves(mirror, reference)) {
            let source = self.source(table, &text, &format!("{}{rest}", mirror.location))?;
            let namespace = mirror.is_told.then(|| reference.host().clone());
            let insecure = mirror.insecure;
            sources.push(Source { insecure, is_mirror: true, namespace, ..source });
        }
        let rewritten = if table.location.is_empty() {
            text.clone()
        } else {
            format!("{}{rest}", table.location)
        };
        let primary = self.source(table, &text, &rewritten)?;
        sources.push(Source { insecure: table.insecure, ..primary });
        Ok(sources)
    }

    /// Returns the table that is for a reference.
    #[must_use]
    pub fn table_of(&self, reference: &Reference) -> Option<&Table> {
        self.matching(reference.host().name(), &reference.canonical()).map(|(table, _)| table)
    }

    /// Says whether a name must not be contacted.
    #[must_use]
    pub fn blocks(&self, reference: &Reference) -> bool {
        let (host, text) = (reference.host().name(), reference.canonical());
        self.matching(host, &text).is_some_and(|(table, _)| table.blocked)
            || self.held.iter().any(|prefix| rest(prefix, host, &text).is_some())
    }

    /// Returns the mirrors of a reference's table that do not serve it, in order.
    #[must_use]
    pub fn passed_over(&self, reference: &Reference) -> Vec<&Mirror> {
        let Some(table) = self.table_of(reference) else { return Vec::new() };
        table.mirrors.iter().filter(|mirror| !table.serves(mirror, reference)).collect()
    }

    /// The longest prefix that matches, of equals the first in byte order, and the text after it.
    fn matching<'a>(&self, host: &str, text: &'a str) -> Option<(&Table, &'a str)> {
        let matching = self
            .tables
            .values()
            .filter_map(|table| Some((table, rest(&table.prefix, host, text)?)));
        matching.min_by_key(|(table, _)| Reverse(table.prefix.len()))
    }

    /// A rewritten name as a source. Blocked is what the rules say about the name that is
    /// contacted, so a blocked registry can be reached through its mirrors.
    fn source(&self, table: &Table, text: &str, rewritten: &str) -> Result<Source, Error> {
        let reference = Reference::parse_canonical(rewritten).map_err(|cause| Error::Rewrite {
            at: table.at.clone(),
            reference: text.into(),
            rewritten: rewritten.into(),
            cause: Box::new(cause),
        })?;
        let blocked = self.blocks(&reference);
        Ok(Source { reference, insecure: false, blocked, is_mirror: false, namespace: None })
    }
}

impl Table {
    /// Says whether one of its mirrors serves pulls of this reference. A digest decides, also
    /// beside a tag.
    fn serves(&self, mirror: &Mirror, reference: &Reference) -> bool {
        let has_digest = reference.digest().is_some();
        match mirror.pulls {
            Pulls::All => has_digest || !self.mirror_by_digest_only,
            Pulls::DigestOnly => has_digest,
            Pulls::TagOnly => !has_digest,
        }
    }
}

/// The text after the part that a prefix matches, `None` when it does not match.
fn rest<'a>(prefix: &str, host: &str, text: &'a str) -> Option<&'a str> {
    if let Some(domain) = prefix.strip_prefix('*').filter(|domain| domain.starts_with('.')) {
        // `.example.com` has to end the host and must not be all of it.
        let is_below = host.len() > domain.len() && host.ends_with(domain);
        return text.get(host.len()..).filter(|_| is_below);
    }
    let rest = text.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with(['/', ':', '@'])).then_some(rest)
}
