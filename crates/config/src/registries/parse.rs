//! One file of `registries.conf`: text to a validated [`RulesFile`], or a fault and its line.
//!
//! Keys: `registry.md` §4.2; checks: §4.6, in containers/image's order. Keys are matched whatever
//! the case of their letters, as its TOML library does ([`super::keys`]). Keys that are not known
//! are ignored with one warning a file. Not here: reading it ([`super::load`]); other files
//! ([`super::merge`]).

use std::collections::BTreeMap;
use std::path::Path;

use orlop_oci::{Host, Reference};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, Deserializer};

use super::{Fault, Mirror, Pulls, Table, keys};
use crate::error::{Error, Place};

/// What one file says, validated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RulesFile {
    /// In file order; one prefix may come twice.
    pub(super) tables: Vec<Table>,
    pub(super) search: Option<Vec<String>>,
    pub(super) helpers: Option<Vec<String>>,
    /// An empty value removes the alias.
    pub(super) aliases: BTreeMap<String, String>,
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawFile {
    unqualified_search_registries: Option<Vec<Spanned<String>>>,
    credential_helpers: Option<Vec<String>>,
    short_name_mode: Option<Spanned<String>>,
    #[expect(dead_code, reason = "its type is checked; layers come from registries alone")]
    additional_layer_store_auth_helper: Option<String>,
    #[serde(default)]
    registry: Vec<Spanned<RawTable>>,
    #[serde(default)]
    aliases: BTreeMap<String, Spanned<String>>,
    /// Version 1.
    #[serde(default)]
    registries: RawVersion1,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawVersion1 {
    search: Option<Spanned<RawList>>,
    insecure: Option<Spanned<RawList>>,
    block: Option<Spanned<RawList>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawList {
    registries: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[derive(Default)]
struct RawTable {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    pull_from_mirror: String,
    mirror: Vec<Spanned<RawMirror>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[derive(Default)]
struct RawMirror {
    location: String,
    insecure: bool,
    pull_from_mirror: String,
    orlop_ns: bool,
}

/// A fault and the byte where it is.
struct Found {
    fault: Fault,
    offset: usize,
}

/// Parses and validates one file's text; `path` is its name for messages.
pub(super) fn parse(path: &Path, text: &str) -> Result<RulesFile, Error> {
    let file = Text { path, text };
    let mut document = DeTable::parse(text)
        .map_err(|cause| file.parser_error(&cause, Fault::TomlSyntax(cause.message().into())))?;
    let unknown = keys::settle(document.get_mut());
    let warnings = file.unknown_keys(unknown);
    let raw = RawFile::deserialize(Deserializer::from(document))
        .map_err(|cause| file.parser_error(&cause, Fault::Type(cause.message().into())))?;
    file.validate(raw, warnings).map_err(|found| file.error(found))
}

struct Text<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Text<'_> {
    fn place(&self, offset: usize) -> Place {
        Place::of(self.path, self.text, offset)
    }

    fn error(&self, found: Found) -> Error {
        Error::Registries { at: self.place(found.offset), fault: found.fault }
    }

    fn parser_error(&self, cause: &toml::de::Error, fault: Fault) -> Error {
        let at = match cause.span() {
            Some(span) => self.place(span.start),
            None => Place { path: self.path.to_owned(), line: None },
        };
        Error::Registries { at, fault }
    }

    /// One warning that names all keys Orlop does not know.
    fn unknown_keys(&self, unknown: Vec<(usize, String)>) -> Vec<String> {
        let Some((offset, _)) = unknown.first() else { return Vec::new() };
        let names: Vec<_> = unknown.iter().map(|(_, name)| name.as_str()).collect();
        vec![format!("{}: unknown keys are ignored: {}", self.place(*offset), names.join(", "))]
    }

    fn validate(&self, raw: RawFile, mut warnings: Vec<String>) -> Result<RulesFile, Found> {
        let RawVersion1 { search, insecure, block } = raw.registries;
        let mut lists = [search, insecure, block].into_iter().flatten();
        if let Some(list) = lists.find(|list| list.get_ref().registries.is_some()) {
            return Err(Found { fault: Fault::V1Format, offset: list.span().start });
        }
        let mut tables = Vec::new();
        for table in raw.registry {
            let offset = table.span().start;
            tables.push((offset, self.validate_table(offset, table.into_inner())?));
        }
        check_conflicts(&tables)?;
        let search = raw.unqualified_search_registries.map(|entries| {
            entries.into_iter().map(validate_search_entry).collect::<Result<Vec<_>, _>>()
        });
        let search = search.transpose()?;
        if let Some(mode) = &raw.short_name_mode
            && !matches!(mode.get_ref().as_str(), "" | "enforcing" | "permissive" | "disabled")
        {
            let fault = Fault::ShortNameMode(mode.get_ref().clone());
            return Err(Found { fault, offset: mode.span().start });
        }
        for (offset, table) in &tables {
            warnings.extend(self.check_wildcard(*offset, &table.prefix)?);
        }
        for (name, value) in &raw.aliases {
            let offset = value.span().start;
            validate_alias(name, value.get_ref()).map_err(|fault| Found { fault, offset })?;
        }
        Ok(RulesFile {
            tables: tables.into_iter().map(|(_, table)| table).collect(),
            search,
            helpers: raw.credential_helpers,
            aliases: raw
                .aliases
                .into_iter()
                .map(|(name, value)| (name, value.into_inner()))
                .collect(),
            warnings,
        })
    }

    /// Refuses a wildcard with more than a host; warns of a `*` that stands for nothing, which
    /// containers/image reads and never finds in a name.
    fn check_wildcard(&self, offset: usize, prefix: &str) -> Result<Option<String>, Found> {
        if prefix.starts_with("*.") && prefix.contains(['/', '@', ':']) {
            return Err(Found { fault: Fault::WildcardPrefix(prefix.to_owned()), offset });
        }
        let matches_nothing = match prefix.strip_prefix("*.") {
            Some(domain) => domain.parse::<Host>().is_err(),
            None => prefix.is_empty() || prefix.contains('*'),
        };
        Ok(matches_nothing.then(|| {
            let at = self.place(offset);
            format!("{at}: the prefix {prefix:?} matches nothing; a wildcard is like *.example.com")
        }))
    }

    fn validate_table(&self, offset: usize, raw: RawTable) -> Result<Table, Found> {
        let found = |fault| Found { fault, offset };
        let location = trim_location(&raw.location).map_err(found)?;
        let mut prefix = trim_location(&raw.prefix).map_err(found)?;
        match (raw.prefix.is_empty(), location.is_empty()) {
            (true, true) => return Err(found(Fault::NoPrefixNoLocation)),
            (true, false) => prefix.clone_from(&location),
            (false, true) if !prefix.starts_with("*.") => return Err(found(Fault::LocationUnset)),
            (false, _) => {}
        }
        if !raw.pull_from_mirror.is_empty() {
            return Err(found(Fault::PullFromMirrorMisplaced(prefix)));
        }
        let mut mirrors = Vec::new();
        for mirror in raw.mirror {
            let offset = mirror.span().start;
            let mirror = mirror.into_inner();
            let mirror = validate_mirror(&prefix, raw.mirror_by_digest_only, &mirror);
            mirrors.push(mirror.map_err(|fault| Found { fault, offset })?);
        }
        Ok(Table {
            prefix,
            location,
            insecure: raw.insecure,
            blocked: raw.blocked,
            mirror_by_digest_only: raw.mirror_by_digest_only,
            mirrors,
            at: self.place(offset),
        })
    }
}

/// Drops final slashes; refuses URLs.
fn trim_location(text: &str) -> Result<String, Fault> {
    if text.contains("://") {
        return Err(Fault::Scheme(text.to_owned()));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn validate_mirror(prefix: &str, by_digest_only: bool, raw: &RawMirror) -> Result<Mirror, Fault> {
    let location = trim_location(&raw.location)?;
    if location.is_empty() {
        return Err(Fault::MirrorLocationUnset);
    }
    if by_digest_only && !raw.pull_from_mirror.is_empty() {
        let prefix = prefix.to_owned();
        return Err(Fault::PullFromMirrorConflict { prefix, mirror: location });
    }
    let pulls = match raw.pull_from_mirror.as_str() {
        "" | "all" => Pulls::All,
        "digest-only" => Pulls::DigestOnly,
        "tag-only" => Pulls::TagOnly,
        value => {
            let value = value.to_owned();
            return Err(Fault::PullFromMirrorValue { value, mirror: location });
        }
    };
    Ok(Mirror { location, insecure: raw.insecure, pulls, is_told: raw.orlop_ns })
}

/// Two tables of one location must agree, also when one of them is not used in the end.
fn check_conflicts(tables: &[(usize, Table)]) -> Result<(), Found> {
    let mut first: BTreeMap<&str, &Table> = BTreeMap::new();
    for (offset, table) in tables {
        let key = if table.location.is_empty() { &table.prefix } else { &table.location };
        let other = *first.entry(key).or_insert(table);
        let fault = if other.insecure != table.insecure {
            Fault::ConflictInsecure(key.clone())
        } else if other.blocked != table.blocked {
            Fault::ConflictBlocked(key.clone())
        } else {
            continue;
        };
        return Err(Found { fault, offset: *offset });
    }
    Ok(())
}

fn validate_search_entry(entry: Spanned<String>) -> Result<String, Found> {
    let offset = entry.span().start;
    let text = trim_location(entry.get_ref()).map_err(|fault| Found { fault, offset })?;
    if text.parse::<Host>().is_err() {
        return Err(Found { fault: Fault::SearchEntry(text), offset });
    }
    Ok(text)
}

/// A short name stands for a repository of a host; neither has a tag or digest.
fn validate_alias(name: &str, value: &str) -> Result<(), Fault> {
    let refuse = |alias: &str, reason| Err(Fault::Alias { alias: alias.to_owned(), reason });
    for text in [name, value] {
        if text.is_empty() && !name.is_empty() {
            continue;
        }
        if text.contains('@') {
            return refuse(text, "must not contain digest");
        }
        if text.rsplit('/').next().is_some_and(|last| last.contains(':')) {
            return refuse(text, "must not contain tag");
        }
        if Reference::parse(text).is_err() {
            return refuse(text, "must be a name of a repository");
        }
    }
    let has_host = |text: &str| {
        let first = text.split_once('/').map(|(first, _)| first);
        first.is_some_and(|first| first == "localhost" || first.contains(['.', ':']))
    };
    if has_host(name) {
        return refuse(name, "must not contain registry");
    }
    if !value.is_empty() && !has_host(value) {
        return refuse(value, "must contain registry");
    }
    Ok(())
}
