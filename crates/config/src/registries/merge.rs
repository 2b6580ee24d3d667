//! Files on top of each other: the main file, then drop-ins in order (`registry.md` §4.1).

use std::collections::BTreeMap;

use super::Registries;
use super::parse::RulesFile;

impl Registries {
    /// Lays `file` over what came before. A table of a prefix that is known replaces that one
    /// whole, its mirrors included.
    pub(super) fn lay_over(&mut self, file: RulesFile) {
        let mut tables = BTreeMap::new();
        for table in file.tables {
            // Within one file the first of two tables of one prefix counts.
            tables.entry(table.prefix.clone()).or_insert(table);
        }
        self.tables.append(&mut tables);
        if let Some(search) = file.search {
            self.search = search;
        }
        if file.helpers.is_some() {
            self.helpers = file.helpers;
        }
        for (name, value) in file.aliases {
            if value.is_empty() {
                self.aliases.remove(&name);
            } else {
                self.aliases.insert(name, value);
            }
        }
    }
}
