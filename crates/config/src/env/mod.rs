//! The environment as a value, and every variable that Orlop reads with all its spellings.
//!
//! Read once, by [`Environment::from_process`], and passed on: the daemon's own environment
//! decides nothing for a caller, so a request carries [`Environment::sent`] (`design.md` §4,
//! §12.2). Variables that stand for flags (`APPTAINER_BIND`) are read with [`Environment::raw`]
//! under names made from the flag. Not here: the places that follow from it ([`crate::paths`]);
//! the environment inside a container (`orlop-runtime`).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

mod login;
mod names;
#[cfg(test)]
mod tests;

pub use login::NamedLogin;
pub use names::*;

/// One thing that the environment can say, with its spellings, the first preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable(pub &'static [&'static str]);

impl Variable {
    /// Returns the preferred spelling, for messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.first().copied().unwrap_or_default()
    }
}

/// The variables of one process and the directory it was in. Values can hold secrets: `Debug`
/// shows names alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    /// What relative paths in variables are relative to.
    directory: Option<PathBuf>,
}

impl Environment {
    /// Reads the environment of this process. Called once, by `main`.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one reader of the environment")]
    pub fn from_process() -> Self {
        Self { variables: std::env::vars_os().collect(), directory: std::env::current_dir().ok() }
    }

    /// Makes an environment of names and values, as a request brings them. Relative paths in it
    /// stand for nothing until [`Environment::in_directory`] is called.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self { variables: pairs.into_iter().collect(), directory: None }
    }

    /// Returns the same variables seen from the directory `directory`.
    #[must_use]
    pub fn in_directory(self, directory: PathBuf) -> Self {
        Self { directory: Some(directory), ..self }
    }

    /// Returns the same environment with one variable set.
    #[must_use]
    pub fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Returns the first spelling that is set and not empty.
    #[must_use]
    pub fn get(&self, variable: Variable) -> Option<&OsStr> {
        self.spelled(variable).map(|(_, value)| value)
    }

    /// Returns the first spelling that is set and not empty, with that spelling.
    #[must_use]
    pub fn spelled(&self, variable: Variable) -> Option<(&'static str, &OsStr)> {
        let spelled = variable.0.iter().filter_map(|name| Some((*name, self.raw(name)?)));
        spelled.into_iter().find(|(_, value)| !value.is_empty())
    }

    /// Returns all spellings that are set and not empty, the one that counts first.
    #[must_use]
    pub fn all_spelled(&self, variable: Variable) -> Vec<(&'static str, &OsStr)> {
        let spelled = variable.0.iter().filter_map(|name| Some((*name, self.raw(name)?)));
        spelled.filter(|(_, value)| !value.is_empty()).collect()
    }

    /// Returns the value of exactly this name, also when it is empty.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// Returns the names that start so, with their values, sorted by name.
    pub fn starting_with(&self, prefix: &str) -> impl Iterator<Item = (&str, &OsStr)> {
        let from = self.variables.range(OsString::from(prefix)..);
        let names = from.map_while(move |(name, value)| {
            name.as_bytes().starts_with(prefix.as_bytes()).then_some((name.to_str(), value))
        });
        names.filter_map(|(name, value)| Some((name?, value.as_os_str())))
    }

    /// Returns all names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Returns what a path in a variable means: the path, seen from the process's directory when
    /// it is relative. `None` for a relative one where the directory is not known.
    #[must_use]
    pub fn absolute(&self, path: &OsStr) -> Option<PathBuf> {
        let path = Path::new(path);
        if path.is_absolute() {
            return Some(path.to_owned());
        }
        self.directory.as_ref().map(|directory| directory.join(path))
    }

    /// Returns the variables of [`SENT`] and [`SENT_PATHS`] and those of limits that are set, for a
    /// request. Paths are made absolute: the daemon is in another directory.
    #[must_use]
    pub fn sent(&self) -> Vec<(OsString, OsString)> {
        let text = |name: &&'static str| Some((OsString::from(*name), self.raw(name)?.to_owned()));
        let path = |name: &&'static str| {
            let value = self.raw(name)?;
            let path = self.absolute(value).filter(|_| !value.is_empty());
            Some((OsString::from(*name), path.map_or(value.to_owned(), PathBuf::into_os_string)))
        };
        let texts = SENT.iter().filter_map(text);
        let limits = self.starting_with(SENT_LIMITS).take(SENT_LIMITS_MOST);
        let limits = limits.map(|(name, value)| (name.into(), value.to_owned()));
        texts.chain(SENT_PATHS.iter().filter_map(path)).chain(limits).collect()
    }

    /// Returns the variables that credential helpers may need besides [`SENT`]: those whose names
    /// start as in [`SENT_TO_HELPERS`]. They are secrets.
    #[must_use]
    pub fn sent_to_helpers(&self) -> Vec<(OsString, OsString)> {
        let is_for_helpers = |name: &OsStr| {
            SENT_TO_HELPERS.iter().any(|start| name.as_bytes().starts_with(start.as_bytes()))
        };
        let chosen = self.variables.iter().filter(|(name, _)| is_for_helpers(name));
        chosen.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.variables.keys().collect();
        out.debug_struct("Environment")
            .field("names", &names)
            .field("directory", &self.directory)
            .finish()
    }
}
