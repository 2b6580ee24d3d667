//! The list file (`remote.yaml`): which registries a user is logged in to, without secrets.
//!
//! Apptainer's format: `Active`, `Remotes`, and `Credentials` with rows of `URI`, `Insecure` and,
//! for keyservers, `Auth`. Only rows of registries are Orlop's; all else is kept. This is the one
//! place that knows YAML.
//!
//! Not here: locks and replacing the file ([`crate::update`]).

use serde_yaml::{Mapping, Value};

use crate::{Error, keys};

/// One registry in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// `docker://host[:port]` or `oras://...`.
    pub uri: String,
    /// Plain http or unchecked certificates were asked for at login.
    pub insecure: bool,
}

impl Row {
    /// `host[:port]`, and `/namespace` where the login is for a part of the registry.
    #[must_use]
    pub fn place(&self) -> &str {
        self.uri.split_once("://").map_or(self.uri.as_str(), |(_, place)| place)
    }
}

/// A parsed list file.
#[derive(Debug)]
pub struct RemoteYaml {
    name: String,
    root: Mapping,
}

impl RemoteYaml {
    /// Parses a file's bytes; an empty file is an empty list. `name` is how messages call it.
    ///
    /// # Errors
    /// [`Error::Invalid`] with line and column.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, Error> {
        let invalid = |line: usize, column: usize, what: &str| Error::Invalid {
            file: name.to_owned(),
            line,
            column,
            what: what.to_owned(),
        };
        let text = std::str::from_utf8(bytes).map_err(|_| invalid(1, 1, "not UTF-8"))?;
        // Aliases can multiply: nobody writes them here by hand or program.
        if let Some((line, _)) = text.lines().enumerate().find(|(_, line)| has_alias(line)) {
            return Err(invalid(
                line.saturating_add(1),
                1,
                "YAML anchors, aliases and tags are not taken",
            ));
        }
        let value: Value = serde_yaml::from_str(text).map_err(|fault| {
            let (line, column) = fault.location().map_or((1, 1), |at| (at.line(), at.column()));
            invalid(line, column, "not a list of remotes in YAML")
        })?;
        let root = match value {
            Value::Null => Mapping::new(),
            Value::Mapping(root) => root,
            _ => return Err(invalid(1, 1, "the document is not a mapping")),
        };
        if root.get("Credentials").is_some_and(|rows| !rows.is_sequence() && !rows.is_null()) {
            return Err(invalid(1, 1, "`Credentials` is not a list"));
        }
        Ok(Self { name: name.to_owned(), root })
    }

    /// An empty list.
    #[must_use]
    pub fn empty(name: &str) -> Self {
        Self { name: name.to_owned(), root: Mapping::new() }
    }

    /// The registries, in order of login. Rows that are not registries' are left out.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.root
            .get("Credentials")
            .and_then(Value::as_sequence)
            .map(|rows| rows.iter().filter_map(row).collect())
            .unwrap_or_default()
    }

    /// Puts a registry at the end of the list, in place of its former row.
    pub fn insert(&mut self, new: &Row) {
        let mut rows = self.take_rows();
        let former = rows.iter().position(|old| row(old).is_some_and(|old| old.uri == new.uri));
        let mut entry = match former.map(|position| rows.remove(position)) {
            Some(Value::Mapping(entry)) => entry,
            _ => Mapping::new(),
        };
        entry.insert("URI".into(), new.uri.clone().into());
        entry.insert("Insecure".into(), new.insecure.into());
        rows.push(Value::Mapping(entry));
        self.root.insert("Credentials".into(), Value::Sequence(rows));
    }

    /// Removes every row of this `host[:port]`, whatever its scheme; returns their URIs.
    pub fn remove(&mut self, host: &str) -> Vec<String> {
        self.remove_where(|row| keys::is_same_place(row.place(), host))
    }

    /// Removes every row of a registry; returns their URIs.
    pub fn remove_all(&mut self) -> Vec<String> {
        self.remove_where(|_| true)
    }

    fn remove_where(&mut self, chosen: impl Fn(&Row) -> bool) -> Vec<String> {
        let mut gone = Vec::new();
        let mut rows = self.take_rows();
        rows.retain(|old| match row(old) {
            Some(old) if chosen(&old) => {
                gone.push(old.uri);
                false
            }
            _ => true,
        });
        if !rows.is_empty() || self.root.contains_key("Credentials") {
            self.root.insert("Credentials".into(), Value::Sequence(rows));
        }
        gone
    }

    /// The text to write.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a value cannot be written, which a parsed file does not have.
    pub fn to_text(&self) -> Result<String, Error> {
        serde_yaml::to_string(&self.root).map_err(|fault| Error::Invalid {
            file: self.name.clone(),
            line: 1,
            column: 1,
            what: fault.to_string(),
        })
    }

    fn take_rows(&mut self) -> Vec<Value> {
        match self.root.get_mut("Credentials") {
            Some(Value::Sequence(rows)) => std::mem::take(rows),
            _ => Vec::new(),
        }
    }
}

/// An anchor (`&x`), alias (`*x`) or tag (`!x`) where a value begins.
fn has_alias(line: &str) -> bool {
    let starts = |text: &str| text.trim_start().starts_with(['&', '*', '!']);
    if line.trim_start().starts_with('#') {
        return false;
    }
    let inside = line.match_indices([':', '-', '[', ',', '?', '{']).any(|(at, mark)| {
        let rest = line.get(at..).and_then(|rest| rest.get(1..)).unwrap_or_default();
        // In a flow collection a value may follow at once, elsewhere after a blank.
        (rest.starts_with(' ') || matches!(mark, "[" | "," | "{")) && starts(rest)
    });
    inside || starts(line)
}

fn row(value: &Value) -> Option<Row> {
    let uri = value.get("URI")?.as_str()?;
    if !uri.starts_with("docker://") && !uri.starts_with("oras://") {
        return None;
    }
    let insecure = value.get("Insecure").and_then(Value::as_bool).unwrap_or(false);
    Some(Row { uri: uri.to_owned(), insecure })
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPTAINERS: &str = "Active: DefaultRemote
Remotes:
    DefaultRemote:
        URI: cloud.apptainer.org
        System: true
        Exclusive: false
Credentials:
    - URI: docker://localhost:5056
      Insecure: false
    - URI: https://keys.example
      Auth: Basic eDp5
      Insecure: false
";

    fn row(uri: &str, insecure: bool) -> Row {
        Row { uri: uri.to_owned(), insecure }
    }

    #[test]
    fn registries_are_listed_and_other_rows_kept() {
        let mut list = RemoteYaml::parse(APPTAINERS.as_bytes(), "f").unwrap();
        assert_eq!(list.rows(), [row("docker://localhost:5056", false)]);
        list.insert(&row("docker://b", true));
        list.insert(&row("docker://localhost:5056", false));
        let text = list.to_text().unwrap();
        let again = RemoteYaml::parse(text.as_bytes(), "f").unwrap();
        assert_eq!(again.rows(), [row("docker://b", true), row("docker://localhost:5056", false)]);
        for kept in
            ["cloud.apptainer.org", "System: true", "Auth: Basic eDp5", "Active: DefaultRemote"]
        {
            assert!(text.contains(kept), "{kept} in {text}");
        }
    }

    #[test]
    fn a_logout_removes_all_rows_of_the_host() {
        let mut list = RemoteYaml::empty("f");
        for uri in ["docker://h:1", "oras://h:1", "docker://h:2", "docker://docker.io"] {
            list.insert(&row(uri, false));
        }
        assert_eq!(list.remove("h:1"), ["docker://h:1", "oras://h:1"]);
        assert_eq!(list.remove("index.docker.io"), ["docker://docker.io"]);
        assert_eq!(list.rows(), [row("docker://h:2", false)]);
    }

    #[test]
    fn bombs_and_odd_documents_are_refused() {
        let mut bomb = "a: &a [x,x]\n".to_owned();
        for (one, two) in ["ab", "bc", "cd"].iter().map(|pair| pair.split_at(1)) {
            bomb.push_str(&format!("{two}: &{two} [*{one},*{one}]\n"));
        }
        for text in [
            bomb.as_str(),
            "- a\n",
            "a: b\na: c\n",
            "Credentials: 5\n",
            "\ta: b",
            "a: 1\n---\nb: 2\n",
            "a: [&a x,*a]\n",
            "a: !!str b\n",
        ] {
            assert!(RemoteYaml::parse(text.as_bytes(), "f").is_err(), "{text}");
        }
        assert!(RemoteYaml::parse(b"", "f").unwrap().rows().is_empty());
    }
}
