//! The keys of a file of `registries.conf`: which there are, in whatever case they are written.
//!
//! containers/image's TOML library finds the field of a key without regard to case, so files with
//! `Location` or `[[Registry]]` work there, and a `Blocked = true` that is passed over would be
//! worse than none. The exact spelling counts before any other. Not here: values
//! ([`super::parse`]).

use toml::de::{DeTable, DeValue};

/// What a key's value holds.
#[derive(Clone, Copy)]
enum Inside {
    /// Nothing with keys that are known: a value, or names of the user's.
    Value,
    /// One table, or several, with these keys.
    Tables(&'static [(&'static str, Inside)]),
}

const FILE: &[(&str, Inside)] = &[
    ("unqualified-search-registries", Inside::Value),
    ("credential-helpers", Inside::Value),
    ("short-name-mode", Inside::Value),
    ("additional-layer-store-auth-helper", Inside::Value),
    ("registry", Inside::Tables(REGISTRY)),
    ("aliases", Inside::Value),
    ("registries", Inside::Tables(VERSION_1)),
];
const REGISTRY: &[(&str, Inside)] = &[
    ("prefix", Inside::Value),
    ("location", Inside::Value),
    ("insecure", Inside::Value),
    ("blocked", Inside::Value),
    ("mirror-by-digest-only", Inside::Value),
    ("pull-from-mirror", Inside::Value),
    ("mirror", Inside::Tables(MIRROR)),
];
const MIRROR: &[(&str, Inside)] = &[
    ("location", Inside::Value),
    ("insecure", Inside::Value),
    ("pull-from-mirror", Inside::Value),
    // Orlop's own.
    ("orlop-ns", Inside::Value),
];
const VERSION_1: &[(&str, Inside)] = &[
    ("search", Inside::Tables(LIST)),
    ("insecure", Inside::Tables(LIST)),
    ("block", Inside::Tables(LIST)),
];
const LIST: &[(&str, Inside)] = &[("registries", Inside::Value)];

/// Gives all known keys their own spelling. Returns those that are not known, with their places in
/// bytes, in the order of the file.
pub(super) fn settle(document: &mut DeTable<'_>) -> Vec<(usize, String)> {
    let mut unknown = Vec::new();
    settle_table(document, FILE, "", &mut unknown);
    unknown.sort_by_key(|(offset, _)| *offset);
    unknown
}

fn settle_table(
    table: &mut DeTable<'_>,
    known: &'static [(&'static str, Inside)],
    before: &str,
    unknown: &mut Vec<(usize, String)>,
) {
    for (name, inside) in known {
        respell(table, name);
        let Some(value) = table.get_mut(*name) else { continue };
        if let Inside::Tables(keys) = inside {
            settle_value(value.get_mut(), keys, &format!("{before}{name}."), unknown);
        }
    }
    for key in table.keys() {
        if !known.iter().any(|(name, _)| *name == key.get_ref().as_ref()) {
            unknown.push((key.span().start, format!("{before}{}", key.get_ref())));
        }
    }
}

fn settle_value(
    value: &mut DeValue<'_>,
    known: &'static [(&'static str, Inside)],
    before: &str,
    unknown: &mut Vec<(usize, String)>,
) {
    match value {
        DeValue::Table(table) => settle_table(table, known, before, unknown),
        DeValue::Array(array) => {
            for item in array.iter_mut() {
                settle_value(item.get_mut(), known, before, unknown);
            }
        }
        _ => {}
    }
}

/// Takes the first other spelling of a key, unless the exact one is there.
fn respell(table: &mut DeTable<'_>, name: &'static str) {
    if table.contains_key(name) {
        return;
    }
    let other = table.keys().find(|key| key.get_ref().eq_ignore_ascii_case(name)).cloned();
    let Some((key, value)) = other.and_then(|key| table.remove_entry(&key)) else { return };
    let span = key.span();
    table.insert(toml::Spanned::new(span, name.into()), value);
}
