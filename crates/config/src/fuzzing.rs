//! A door for fuzzers into what reads `registries.conf`. Not a part of the interface.
//!
//! Not here: the fuzzers (`tests/fuzz`).

use orlop_oci::Reference;

use crate::registries;

/// A file of any bytes: as rules with their sources, and as a broken file with what it blocks.
pub fn registries_conf(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Some(rules) = registries::checked(&text) else { return };
    for name in ["docker.io/library/a:1", "h.example:5000/a/b", "a.b.example/c:1"] {
        let Ok(reference) = Reference::parse(name) else { continue };
        if let Ok(sources) = rules.sources(&reference) {
            debug_assert!(sources.last().is_some_and(|source| !source.is_mirror));
        }
    }
}
