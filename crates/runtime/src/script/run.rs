//! Running commands: variables, tests, files that are sourced.
//!
//! Not here: parsing ([`super::parser`]). Nothing here starts a program.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use super::conditions::test;
use super::parser::{assignment, parse};
use super::{Command, Part, Rule, Unusable, Word};

/// How deep files may source each other.
const SOURCE_DEPTH: usize = 8;

/// What running code may ask about files.
pub(crate) trait Files {
    /// Answers `test -d path` and its like; `None` for an operator that is not known.
    fn test(&self, operator: u8, path: &OsStr) -> Option<bool>;
    /// Reads a file that is sourced.
    fn read(&self, path: &OsStr) -> Option<Vec<u8>>;
}

/// No files at all: for code that must not see any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoFiles;

impl Files for NoFiles {
    fn test(&self, _: u8, _: &OsStr) -> Option<bool> {
        None
    }
    fn read(&self, _: &OsStr) -> Option<Vec<u8>> {
        None
    }
}

/// Why running stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    /// Something needs a shell.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// `exit`.
    #[error("it ends with status {status}")]
    Exit {
        /// Exit status.
        status: u8,
    },
}

pub(super) const fn needs_shell(what: &'static str) -> Stop {
    Stop::Unusable(Unusable::NeedsShell { line: 0, what })
}

#[derive(Clone, Debug)]
struct Variable {
    value: Vec<u8>,
    exported: bool,
    changed: bool,
}

/// Variables, and the code that changes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shell {
    variables: BTreeMap<Vec<u8>, Variable>,
    printed: Vec<u8>,
    depth: usize,
}

impl Shell {
    /// A shell whose environment holds these variables.
    pub(crate) fn new(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut shell = Self::default();
        for (name, value) in environment {
            shell.export(name.as_bytes(), value.into_vec());
        }
        shell
    }

    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.value(name.as_bytes())
    }

    fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.variables.get(name).map(|variable| variable.value.as_slice())
    }

    /// Sets a variable and exports it.
    pub(crate) fn export(&mut self, name: &[u8], value: Vec<u8>) {
        self.variables.insert(name.to_vec(), Variable { value, exported: true, changed: true });
    }

    fn assign(&mut self, name: &[u8], value: Vec<u8>) {
        match self.variables.get_mut(name) {
            Some(variable) => {
                variable.value = value;
                variable.changed = true;
            }
            None => {
                let variable = Variable { value, exported: false, changed: true };
                self.variables.insert(name.to_vec(), variable);
            }
        }
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.variables.remove(name.as_bytes());
    }

    /// The exported variables.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        let exported = self.variables.iter().filter(|(_, variable)| variable.exported);
        exported
            .map(|(name, variable)| (OsStr::from_bytes(name), OsStr::from_bytes(&variable.value)))
    }

    /// Counts all variables as unchanged.
    pub(crate) fn forget_changes(&mut self) {
        for variable in self.variables.values_mut() {
            variable.changed = false;
        }
    }

    /// Variables set since [`Shell::forget_changes`], exported or not.
    pub(crate) fn changes(&self) -> Vec<(String, OsString)> {
        let changed = self.variables.iter().filter(|(_, variable)| variable.changed);
        changed
            .map(|(name, variable)| {
                let name = String::from_utf8_lossy(name).into_owned();
                (name, OsString::from_vec(variable.value.clone()))
            })
            .collect()
    }

    /// What `echo` printed so far; the caller writes it to stdout.
    pub(crate) fn take_printed(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.printed)
    }

    /// Runs commands. On an error the variables are as the code left them.
    ///
    /// # Errors
    /// [`Stop`].
    pub(crate) fn run(&mut self, commands: &[Command], files: &dyn Files) -> Result<(), Stop> {
        self.list(commands, files).map(|_| ())
    }

    fn list(&mut self, commands: &[Command], files: &dyn Files) -> Result<bool, Stop> {
        let mut success = true;
        for command in commands {
            success = self.command(command, files)?;
        }
        Ok(success)
    }

    fn command(&mut self, command: &Command, files: &dyn Files) -> Result<bool, Stop> {
        match command {
            Command::Simple { assignments, words } => {
                for (name, value) in assignments {
                    let value = self.joined(value);
                    self.assign(name, value);
                }
                if words.is_empty() { Ok(true) } else { self.builtin(words, files) }
            }
            Command::Group(commands) => self.list(commands, files),
            Command::Not(command) => Ok(!self.command(command, files)?),
            Command::And(left, right) => {
                Ok(self.command(left, files)? && self.command(right, files)?)
            }
            Command::Or(left, right) => {
                Ok(self.command(left, files)? || self.command(right, files)?)
            }
            Command::If { branches, otherwise } => {
                for (condition, body) in branches {
                    if self.list(condition, files)? {
                        return self.list(body, files);
                    }
                }
                self.list(otherwise, files)
            }
            Command::For { name, words, body } => {
                let mut success = true;
                for value in self.fields(words) {
                    self.assign(name, value);
                    success = self.list(body, files)?;
                }
                Ok(success)
            }
        }
    }

    fn builtin(&mut self, words: &[Word], files: &dyn Files) -> Result<bool, Stop> {
        let Some((first, rest)) = words.split_first() else { return Ok(true) };
        let builtin = self.joined(first);
        match builtin.as_slice() {
            b"export" | b"declare" | b"readonly" => self.export_words(rest, &builtin),
            b":" | b"true" => {
                drop(self.fields(rest)); // `: ${A:=b}` assigns
                Ok(true)
            }
            b"false" => Ok(false),
            b"unset" => {
                for name in self.fields(rest) {
                    match name.as_slice() {
                        b"-v" => {}
                        b"-f" => return Err(needs_shell("unset -f")),
                        name => drop(self.variables.remove(name)),
                    }
                }
                Ok(true)
            }
            b"test" => {
                let arguments = self.fields(rest);
                test(&arguments, files)
            }
            b"[" => {
                let arguments = self.fields(rest);
                match arguments.split_last() {
                    Some((last, arguments)) if last == b"]" => test(arguments, files),
                    _ => Err(needs_shell("this test")),
                }
            }
            b"echo" => {
                let arguments = self.fields(rest);
                if arguments.first().is_some_and(|first| first.starts_with(b"-"))
                    || arguments.iter().flatten().any(|byte| *byte == b'\\')
                {
                    return Err(needs_shell("this echo"));
                }
                self.printed.extend(arguments.join(&b' '));
                self.printed.push(b'\n');
                Ok(true)
            }
            b"exit" => {
                let status = self
                    .fields(rest)
                    .first()
                    .map_or(Some(0), |status| std::str::from_utf8(status).ok()?.parse().ok());
                Err(Stop::Exit { status: status.unwrap_or(2) })
            }
            _ => self.source(rest, files),
        }
    }

    fn export_words(&mut self, words: &[Word], builtin: &[u8]) -> Result<bool, Stop> {
        for word in words {
            if let Some((name, value)) = assignment(word) {
                let value = self.joined(&value);
                if builtin == b"readonly" {
                    self.assign(&name, value);
                } else {
                    self.export(&name, value);
                }
                continue;
            }
            for name in self.fields(std::slice::from_ref(word)) {
                if builtin == b"declare" && matches!(name.as_slice(), b"-x" | b"-rx" | b"-ix") {
                    continue;
                }
                if name.first() == Some(&b'-') {
                    return Err(needs_shell("an option of export"));
                }
                if let Some(equals) = name.iter().position(|byte| *byte == b'=') {
                    let (name, value) = name.split_at(equals);
                    self.export(name, value.get(1..).unwrap_or_default().to_vec());
                } else if let Some(variable) = self.variables.get_mut(&name) {
                    variable.exported = true;
                    variable.changed = true;
                }
            }
        }
        Ok(true)
    }

    fn source(&mut self, words: &[Word], files: &dyn Files) -> Result<bool, Stop> {
        let Some(path) = self.fields(words).into_iter().next() else {
            return Err(needs_shell("a file without a name"));
        };
        let Some(text) = files.read(OsStr::from_bytes(&path)).filter(|_| self.depth < SOURCE_DEPTH)
        else {
            return Err(needs_shell("a file that cannot be read"));
        };
        let code = parse(&text)?;
        self.depth += 1;
        let success = self.list(&code, files);
        self.depth -= 1;
        success
    }

    /// The value of a word that is not split.
    pub(crate) fn joined(&mut self, word: &Word) -> Vec<u8> {
        let mut out = Vec::new();
        for part in word {
            match part {
                Part::Literal { bytes, .. } => out.extend_from_slice(bytes),
                Part::Parameter { name, rule, .. } => out.extend(self.parameter(name, rule)),
            }
        }
        out
    }

    /// The fields that words become: values that are not quoted are split at blanks.
    pub(crate) fn fields(&mut self, words: &[Word]) -> Vec<Vec<u8>> {
        let mut fields = Vec::new();
        for word in words {
            let mut field: Option<Vec<u8>> = None;
            for part in word {
                match part {
                    Part::Literal { bytes, .. } => {
                        field.get_or_insert_default().extend_from_slice(bytes);
                    }
                    Part::Parameter { name, rule, quoted: true } => {
                        let value = self.parameter(name, rule);
                        field.get_or_insert_default().extend(value);
                    }
                    Part::Parameter { name, rule, quoted: false } => {
                        let value = self.parameter(name, rule);
                        split_into(&value, &mut field, &mut fields);
                    }
                }
            }
            fields.extend(field);
        }
        fields
    }

    fn parameter(&mut self, name: &[u8], rule: &Rule) -> Vec<u8> {
        let value = self.value(name).map(<[u8]>::to_vec);
        let set = |empty: &bool| value.as_ref().is_some_and(|value| !(*empty && value.is_empty()));
        match rule {
            Rule::Value => value.unwrap_or_default(),
            Rule::Length => value.map_or(0, |value| value.len()).to_string().into_bytes(),
            Rule::Default { empty, .. } if set(empty) => value.unwrap_or_default(),
            Rule::Default { word, .. } => self.joined(word),
            Rule::Assign { empty, .. } if set(empty) => value.unwrap_or_default(),
            Rule::Assign { word, .. } => {
                let value = self.joined(word);
                self.assign(name, value.clone());
                value
            }
            Rule::Alternative { empty, word } if set(empty) => self.joined(word),
            Rule::Alternative { .. } => Vec::new(),
        }
    }
}

/// Splits a value at blanks: what is before the first one continues the field under way.
fn split_into(value: &[u8], field: &mut Option<Vec<u8>>, fields: &mut Vec<Vec<u8>>) {
    for byte in value {
        if matches!(byte, b' ' | b'\t' | b'\n') {
            fields.extend(field.take());
        } else {
            field.get_or_insert_default().push(*byte);
        }
    }
}
