//! Orlop's own settings file, `orlop.toml`: what a user decides for all commands.
//!
//! ```toml
//! [image]
//! compression = "zstd"   # or "gzip", for readers that know nothing newer
//! level = 3
//! [cache]
//! max = "50GiB"
//! keep-layers = true     # as they came, besides what they are converted to
//! [daemon]
//! idle-exit = "10min"    # or a number of seconds
//! [registry]
//! oras-mirrors = true    # mirrors of registries.conf serve oras:// too
//! foreign-layers = true  # from the places that images name
//! [network]
//! proxy = "http://proxy.example:3128"   # where the environment names none
//! no-proxy = "example.com,10.0.0.0/8"
//! [limits]
//! stall-time = "2min"    # see [`Limits`]
//! ```
//!
//! A key that is not known is an error with file, line and the nearest key: a setting that is
//! silently ignored is worse than none. Not here: settings of other programs
//! ([`crate::registries`]).

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::env::{self, Environment};
use crate::error::{Error, Place};
use crate::limits as defaults;
use crate::paths::Paths;
use crate::reading;

mod amounts;
mod limits;
mod network;
#[cfg(test)]
mod tests;

pub use amounts::{parse_bytes, parse_duration};
pub use limits::{KEYS as LIMIT_KEYS, Limits};
pub use network::Network;

/// How the blocks of new images are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Fast and small.
    #[default]
    Zstd,
    /// Readable by every squashfs.
    Gzip,
}

impl Compression {
    /// The levels it has, from fastest to smallest.
    #[must_use]
    pub const fn levels(self) -> std::ops::RangeInclusive<u32> {
        match self {
            Self::Zstd => 1..=19,
            Self::Gzip => 1..=12,
        }
    }
}

/// What the user has decided. `Default` is what holds without a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How the blocks of new images are compressed.
    pub compression: Compression,
    /// How hard; `None` is the compressor's default in Orlop.
    pub level: Option<u32>,
    /// Bytes that the cache may take; `None` is [`crate::limits::CACHE_PERCENT`] of its file system, at
    /// most [`crate::limits::CACHE_MAX_BYTES`].
    pub cache_max_bytes: Option<u64>,
    /// Whether layers are kept as they came, besides what they are converted to.
    pub keep_layers: bool,
    /// Time without work after which the daemon exits; zero: never.
    pub idle_exit: Duration,
    /// Whether mirrors of `registries.conf` serve `oras://` pulls too.
    pub oras_mirrors: bool,
    /// Whether layers that a registry need not have may come from the places that images name.
    pub foreign_layers: bool,
    /// How hosts are reached where the environment says nothing of it.
    pub network: Network,
    /// Bounds on what is read and waited for.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            level: None,
            cache_max_bytes: None,
            keep_layers: false,
            idle_exit: defaults::IDLE_EXIT,
            oras_mirrors: false,
            foreign_layers: false,
            network: Network::default(),
            limits: Limits::default(),
        }
    }
}

impl Settings {
    /// Reads the settings file, if there is one, and the variables that replace a setting.
    ///
    /// # Errors
    /// [`Error::Settings`] with file and line, [`Error::Variable`], and what reading can meet.
    pub fn load(paths: &Paths) -> Result<Self, Error> {
        let mut settings = Self::default();
        // Without a home directory there is no file.
        if let Ok(path) = paths.settings() {
            match reading::read_text(&path, defaults::SETTINGS_FILE_BYTES) {
                Ok(text) => settings = Self::parse(&path, &text)?,
                Err(error) if reading::is_missing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        settings.replace_by(&paths.environment())?;
        Ok(settings)
    }

    /// Parses a settings file; `path` is its name for messages.
    ///
    /// # Errors
    /// [`Error::Settings`] with the line.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let failure = |offset: Option<usize>, problem: String| Error::Settings {
            at: match offset {
                Some(offset) => Place::of(path, text, offset),
                None => Place { path: path.to_owned(), line: None },
            },
            problem,
        };
        let document = DeTable::parse(text).map_err(|cause| {
            failure(cause.span().map(|span| span.start), cause.message().to_owned())
        })?;
        let mut settings = Self::default();
        let mut level_at = None;
        for (section, table) in document.get_ref() {
            let Some(table) = table.get_ref().as_table() else {
                let problem = unknown(section.get_ref());
                return Err(failure(Some(section.span().start), problem));
            };
            for (key, value) in table {
                let name = format!("{}.{}", section.get_ref(), key.get_ref());
                let offset = Some(key.span().start);
                settings.set(&name, value.get_ref()).map_err(|problem| failure(offset, problem))?;
                if name == "image.level" {
                    level_at = offset;
                }
            }
        }
        let levels = settings.compression.levels();
        match settings.level {
            Some(level) if !levels.contains(&level) => {
                let (first, last) = (levels.start(), levels.end());
                let problem =
                    format!("image.level: {level} is not one of the levels {first} to {last}");
                Err(failure(level_at, problem))
            }
            _ => Ok(settings),
        }
    }

    fn set(&mut self, name: &str, value: &DeValue<'_>) -> Result<(), String> {
        if let Some(key) = name.strip_prefix("limits.") {
            return self.limits.set(key, value).unwrap_or_else(|| Err(unknown(name)));
        }
        if let Some(key) = name.strip_prefix("network.") {
            return self.network.set(key, value).unwrap_or_else(|| Err(unknown(name)));
        }
        let wrong = |expected: &str| format!("{name} has to be {expected}");
        match name {
            "image.compression" => {
                self.compression = match value.as_str() {
                    Some("zstd") => Compression::Zstd,
                    Some("gzip") => Compression::Gzip,
                    _ => return Err(wrong("\"zstd\" or \"gzip\"")),
                };
            }
            "image.level" => {
                let level = integer(value).and_then(|level| u32::try_from(level).ok());
                self.level = Some(level.ok_or_else(|| wrong("a number"))?);
            }
            "cache.max" => {
                let bytes = integer(value).or_else(|| parse_bytes(value.as_str()?));
                let expected = "bytes such as \"50GiB\"";
                self.cache_max_bytes = Some(bytes.ok_or_else(|| wrong(expected))?);
            }
            "cache.keep-layers" => {
                self.keep_layers = value.as_bool().ok_or_else(|| wrong("true or false"))?;
            }
            "daemon.idle-exit" => {
                let seconds = integer(value).map(Duration::from_secs);
                let time = seconds.or_else(|| parse_duration(value.as_str()?));
                self.idle_exit = time.ok_or_else(|| wrong("a time such as \"10min\""))?;
            }
            "registry.foreign-layers" => {
                self.foreign_layers = value.as_bool().ok_or_else(|| wrong("true or false"))?;
            }
            "registry.oras-mirrors" => {
                self.oras_mirrors = value.as_bool().ok_or_else(|| wrong("true or false"))?;
            }
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    fn replace_by(&mut self, environment: &Environment) -> Result<(), Error> {
        if let Some(bytes) = cache_max_bytes(environment)? {
            self.cache_max_bytes = Some(bytes);
        }
        if let Some((name, value)) = environment.spelled(env::CACHE_KEEP_LAYERS) {
            self.keep_layers = go_bool(value).ok_or_else(|| Error::Variable {
                name: name.into(),
                problem: format!("{value:?} has to be true or false"),
            })?;
        }
        self.limits.replace_by(environment)
    }
}

/// A boolean in the spellings of Go, as Apptainer reads them of variables and flags.
#[must_use]
pub fn go_bool(value: &OsStr) -> Option<bool> {
    match value.to_str()? {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Bytes the cache may hold as `ORLOP_CACHE_MAX` says, where it is set. The variable reaches a daemon
/// only when a client starts it: each client looks whether it can be read.
///
/// # Errors
/// [`Error::Variable`].
pub fn cache_max_bytes(environment: &Environment) -> Result<Option<u64>, Error> {
    let Some((name, value)) = environment.spelled(env::CACHE_MAX) else { return Ok(None) };
    let bytes = value.to_str().and_then(parse_bytes);
    bytes.map(Some).ok_or_else(|| Error::Variable {
        name: name.into(),
        problem: format!("{value:?} is not a number of bytes such as 50GiB"),
    })
}

/// All keys there are but those of limits.
const KEYS: &[&str] = &[
    "image.compression",
    "image.level",
    "cache.max",
    "cache.keep-layers",
    "daemon.idle-exit",
    "registry.oras-mirrors",
    "registry.foreign-layers",
    "network.proxy",
    "network.no-proxy",
];

fn integer(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn unknown(name: &str) -> String {
    let name: String = name.chars().take(80).collect();
    // A key may have been written without its section.
    let last = |key: &str| key.rsplit('.').next().map_or(0, |last| distance(&name, last));
    let keys = KEYS.iter().map(|key| (*key).to_owned());
    let keys = keys.chain(LIMIT_KEYS.iter().map(|key| format!("limits.{key}")));
    let far = |key: &String| distance(&name, key).min(last(key));
    match keys.min_by_key(far).filter(|key| is_near(far(key), &name)) {
        Some(nearest) => format!("there is no setting {name:?}; the nearest is {nearest:?}"),
        None => format!("there is no setting {name:?}"),
    }
}

/// True where so few letters differ that a word may have been meant for the other.
fn is_near(distance: usize, word: &str) -> bool {
    distance <= (word.chars().count() / 3).max(2)
}

/// Letters to insert, remove or replace to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, wanted) in row.iter_mut().skip(1).zip(other.chars()) {
            let replaced = diagonal.saturating_add(usize::from(letter != wanted));
            diagonal = *cell;
            left = replaced.min(left.min(diagonal).saturating_add(1));
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}
