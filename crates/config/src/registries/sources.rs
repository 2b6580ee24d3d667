//! From a reference to the sources it is pulled from, best first. Pure.
//!
//! Choice of the table: `registry.md` §4.3; rewriting and order: §4.4; blocked names: §4.5. Two
//! points differ from containers/image on purpose: a prefix may name a tag or digest, and a
//! wildcard is compared with the end of the host. Not here: trying the sources.

use std::cmp::Reverse;

use orlop_oci::Reference;

use super::{Pulls, Registries, Table};
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
                blocked: false,
                is_mirror: false,
            }]);
        };
        let has_digest = reference.digest().is_some();
        let serves = |pulls: Pulls| match pulls {
            Pulls::All => has_digest || !table.mirror_by_digest_only,
            Pulls::DigestOnly => has_digest,
            Pulls::TagOnly => !has_digest,
        };
        let mut sources = Vec::new();
        for mirror in table.mirrors.iter().filter(|mirror| serves(mirror.pulls)) {
            let source = self.source(table, &text, &format!("{}{rest}", mirror.location))?;
            sources.push(Source { insecure: mirror.insecure, is_mirror: true, ..source });
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

    /// The longest prefix that matches, of equals the first in byte order, and the text after it.
    fn matching<'a>(&self, host: &str, text: &'a str) -> Option<(&Table, &'a str)> {
        let matching =
            self.tables.values().filter_map(|table| Some((table, rest(table, host, text)?)));
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
        let blocked = self.table_of(&reference).is_some_and(|table| table.blocked);
        Ok(Source { reference, insecure: false, blocked, is_mirror: false })
    }
}

/// The text after the part that a table matches, `None` when it does not match.
fn rest<'a>(table: &Table, host: &str, text: &'a str) -> Option<&'a str> {
    if let Some(domain) = table.prefix.strip_prefix('*') {
        // `.example.com` has to end the host and must not be all of it.
        let is_below = host.len() > domain.len() && host.ends_with(domain);
        return text.get(host.len()..).filter(|_| is_below);
    }
    let rest = text.strip_prefix(table.prefix.as_str())?;
    (rest.is_empty() || rest.starts_with(['/', ':', '@'])).then_some(rest)
}
