//! Which files there are and reading them: main file, drop-ins, and whether they changed.
//!
//! Files and order: `registry.md` §4.1; broken ones: S40 to S42 of `reliability.md`. Not here:
//! keeping the old rules while a file is broken (`orlop-daemon`).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Registries, parse, salvage};
use crate::error::Error;
use crate::limits;
use crate::paths::Paths;
use crate::reading;

/// The rules of a user with what belongs to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The rules.
    pub registries: Registries,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    /// What the user should hear once.
    pub warnings: Vec<String>,
    /// The files as they were found, taken before they were read.
    pub stamp: Stamp,
}

/// Which files there are and in which state. While it stays equal, so do the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp(Vec<(PathBuf, Option<State>)>);

/// Device and inode, bytes, and the times of the last change of content and of anything, in
/// seconds and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The files to read, in order.
struct Files {
    /// The main file and whether it has to exist.
    main: (PathBuf, bool),
    drop_ins: Vec<PathBuf>,
}

/// Reads and merges a user's files.
///
/// # Errors
/// [`Error`] with file and line: one bad file fails every pull until it is mended.
pub fn load(paths: &Paths) -> Result<Loaded, Error> {
    let files = find(paths)?;
    let stamp = stamp_of(&files);
    let mut loaded = Loaded { stamp, ..Loaded::default() };
    let (main, must_exist) = &files.main;
    match reading::read_text(main, limits::SETTINGS_FILE_BYTES) {
        Ok(text) => loaded.lay_over(main, &text)?,
        Err(error) if !must_exist && reading::is_missing(&error) => {}
        Err(error) => return Err(error),
    }
    for path in &files.drop_ins {
        match reading::read_text(path, limits::SETTINGS_FILE_BYTES) {
            Ok(text) => loaded.lay_over(path, &text)?,
            // It vanished since it was listed, or is a link to nothing.
            Err(error) if reading::is_missing(&error) => {
                if path.is_symlink() {
                    loaded.warnings.push(format!("{} is a link to nothing", path.display()));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(loaded)
}

/// Returns what a user's files block while they cannot be used: what the good ones among them say,
/// and what can be read off the lines of the others. Files that cannot be read say nothing.
#[must_use]
pub fn seems_blocked(paths: &Paths) -> BTreeSet<String> {
    let Ok(files) = find(paths) else { return BTreeSet::new() };
    let mut good = Registries::default();
    let mut blocked = BTreeSet::new();
    for path in std::iter::once(&files.main.0).chain(&files.drop_ins) {
        let Ok(bytes) = reading::read(path, limits::SETTINGS_FILE_BYTES) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        match parse::parse(path, text.trim_start_matches('\u{feff}')) {
            Ok(file) => good.lay_over(file),
            Err(_) => blocked.append(&mut salvage::blocked(&text)),
        }
    }
    let tables = good.tables.into_values().filter(|table| table.blocked);
    blocked.extend(tables.map(|table| table.prefix));
    blocked
}

/// Says in which state a user's files are, without reading them.
///
/// # Errors
/// [`Error::Unreadable`] for a directory of drop-ins.
pub fn stamp(paths: &Paths) -> Result<Stamp, Error> {
    Ok(stamp_of(&find(paths)?))
}

impl Loaded {
    fn lay_over(&mut self, path: &Path, text: &str) -> Result<(), Error> {
        let mut file = parse::parse(path, text)?;
        self.warnings.append(&mut file.warnings);
        self.registries.lay_over(file);
        self.files.push(path.to_owned());
        Ok(())
    }
}

fn find(paths: &Paths) -> Result<Files, Error> {
    let user = paths.user_registries().filter(|path| match fs::metadata(path) {
        Ok(_) => true,
        // A file that cannot be looked at is there: reading it says why.
        Err(cause) => !reading::is_nothing(&cause),
    });
    let user_drop_ins = paths.user_drop_ins();
    let (main, has_system) = match (paths.registries_override(), user) {
        (Some((_, path)), _) => ((path, true), true),
        (None, Some(user)) => ((user, true), false),
        (None, None) => ((paths.system_registries(), false), true),
    };
    let directories = has_system.then(|| paths.system_drop_ins()).into_iter().chain(user_drop_ins);
    let mut drop_ins = Vec::new();
    for directory in directories {
        drop_ins.append(&mut list(&directory)?);
    }
    Ok(Files { main, drop_ins })
}

/// The `*.conf` of one directory in byte order.
fn list(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let unreadable = |cause| Error::Unreadable { path: directory.to_owned(), cause };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(cause) if reading::is_nothing(&cause) => return Ok(Vec::new()),
        Err(cause) => return Err(unreadable(cause)),
    };
    let mut names: Vec<OsString> = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !name.as_bytes().ends_with(b".conf") || is_directory {
            continue;
        }
        if names.len() >= limits::DROP_INS {
            return Err(Error::TooMany { path: directory.to_owned(), limit: limits::DROP_INS });
        }
        names.push(name);
    }
    names.sort();
    Ok(names.into_iter().map(|name| directory.join(name)).collect())
}

fn stamp_of(files: &Files) -> Stamp {
    let all = std::iter::once(&files.main.0).chain(&files.drop_ins);
    Stamp(all.map(|path| (path.clone(), state(path))).collect())
}

fn state(path: &Path) -> Option<State> {
    let found = fs::metadata(path).ok()?;
    Some(State {
        file: (found.dev(), found.ino()),
        bytes: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}
