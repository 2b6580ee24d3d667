//! Options: a command line and the variables behind its flags, read by a command's table.
//!
//! clap reads the line; what it does not know is added here: switches with a value, lists with CSV
//! quoting, values from `ORLOP_`, `APPTAINER_` and `SINGULARITY_` variables, and the words of
//! Apptainer's parser for what is wrong. Only the one command that is used is ever built.
//!
//! Not here: the tables ([`crate::flags`]), global flags ([`crate::invocation`]).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command, value_parser};
use orlop_config::env::Environment;
use orlop_config::settings::go_bool;
use orlop_proto::v1::Kind as FailureKind;

use crate::failure::Failure;
use crate::flags::{Count, Flag, Kind, Spec, Standing};
use crate::output::{Level, Output};

const PREFIXES: [&str; 3] = ["ORLOP_", "APPTAINER_", "SINGULARITY_"];
const POSITIONAL: &str = "\0arguments";

/// Why a command line cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// Help was asked for.
    Help,
    /// A flag is wrong, in these words.
    Flag(String),
    /// The number of arguments is wrong, in these words.
    Count(String),
}

/// What a command was asked for.
#[derive(Debug, Default)]
pub(crate) struct Options {
    values: BTreeMap<&'static str, Vec<OsString>>,
    /// Flags of the command line itself.
    named: BTreeSet<&'static str>,
    positional: Vec<OsString>,
}

impl Options {
    /// Reads the words after the command's name.
    ///
    /// # Errors
    /// [`Unusable`].
    pub(crate) fn parse(spec: &Spec, words: Vec<OsString>) -> Result<Self, Unusable> {
        let command = parser(spec);
        let mut matches =
            command.try_get_matches_from(words).map_err(|error| complaint(spec, &error))?;
        let mut options = Self::default();
        for flag in spec.flags() {
            if let Some(values) = matches.remove_many::<OsString>(flag.long) {
                options.values.insert(flag.long, values.collect());
                options.named.insert(flag.long);
            }
        }
        if let Some(positional) = matches.remove_many::<OsString>(POSITIONAL) {
            options.positional = positional.collect();
        }
        for flag in spec.flags().filter(|flag| flag.kind == Kind::Switch) {
            for value in options.values.get(flag.long).into_iter().flatten() {
                if go_bool(value).is_none() {
                    return Err(Unusable::Flag(format!(
                        "invalid argument \"{}\" for \"--{}\" flag: not a boolean",
                        value.display(),
                        flag.long
                    )));
                }
            }
        }
        let none = spec.count.none_with.is_some_and(|switch| options.is_on(switch));
        let count = if none { Count::exactly(0) } else { spec.count };
        match count.complaint(options.positional.len()) {
            Some(words) => Err(Unusable::Count(words)),
            None => Ok(options),
        }
    }

    /// Adds what variables say about flags that the command line does not have.
    ///
    /// # Errors
    /// USAGE of a switch's variable that is no boolean, with exit status 255.
    pub(crate) fn add_environment(
        &mut self,
        spec: &Spec,
        environment: &Environment,
        output: &mut Output,
    ) -> Result<(), Failure> {
        for flag in spec.flags().filter(|flag| !flag.keys.is_empty()) {
            if self.values.contains_key(flag.long) && !flag.adds {
                continue;
            }
            for key in flag.keys {
                let Some((name, value)) = variable(environment, key, flag.bare, output) else {
                    continue;
                };
                if flag.kind == Kind::Switch && go_bool(value).is_none() {
                    return Err(Failure::new(
                        FailureKind::SettingsInvalid,
                        format!("{name}={} is not a boolean", value.display()),
                    )
                    .within("While parsing environment variables"));
                }
                self.values.entry(flag.long).or_default().push(value.to_owned());
                if !flag.adds {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Refuses what Orlop does not do, and warns of what is out of use.
    ///
    /// # Errors
    /// UNSUPPORTED, naming the flag and the reason.
    pub(crate) fn judge(&self, spec: &Spec, output: &mut Output) -> Result<(), Failure> {
        for flag in spec.flags().filter(|flag| self.is_given(flag)) {
            match flag.standing {
                Standing::Works | Standing::NoEffect => {}
                Standing::Deprecated(warning) => output.warning(warning),
                Standing::Refused(reason) => {
                    return Err(Failure::new(
                        FailureKind::Unsupported,
                        format!("--{} is not supported by Orlop: {reason}", flag.long),
                    ));
                }
            }
        }
        Ok(())
    }

    fn is_given(&self, flag: &Flag) -> bool {
        match flag.kind {
            Kind::Switch => self.is_on(flag.long),
            _ => self.values.contains_key(flag.long),
        }
    }

    /// True when the command line has a flag: variables do not count.
    pub(crate) fn is_named(&self, long: &str) -> bool {
        self.named.contains(long)
    }

    /// True when a switch is on.
    pub(crate) fn is_on(&self, long: &str) -> bool {
        self.last(long).and_then(go_bool).unwrap_or(false)
    }

    fn last(&self, long: &str) -> Option<&OsStr> {
        self.values.get(long).and_then(|values| values.last()).map(OsString::as_os_str)
    }

    /// The value of a flag; an empty one counts as none.
    pub(crate) fn value(&self, long: &str) -> Option<&OsStr> {
        self.last(long).filter(|value| !value.is_empty())
    }

    /// The value of a flag as a path.
    pub(crate) fn path(&self, long: &str) -> Option<&Path> {
        self.value(long).map(Path::new)
    }

    /// The value of a flag as text; bytes that are none are replaced.
    pub(crate) fn text(&self, long: &str) -> Option<String> {
        self.value(long).map(|value| value.to_string_lossy().into_owned())
    }

    /// All values of a flag that may be repeated, commas kept.
    pub(crate) fn all(&self, long: &str) -> Vec<String> {
        let values = self.values.get(long).into_iter().flatten();
        values.map(|value| value.to_string_lossy().into_owned()).collect()
    }

    /// All items of a list flag.
    pub(crate) fn list(&self, long: &str) -> Vec<String> {
        self.all(long).iter().flat_map(|text| csv(text)).collect()
    }

    /// The positional arguments.
    pub(crate) fn arguments(&self) -> &[OsString] {
        &self.positional
    }

    /// The positional argument at an index, as text.
    pub(crate) fn argument(&self, index: usize) -> String {
        let argument = self.positional.get(index).map(|text| text.to_string_lossy());
        argument.unwrap_or_default().into_owned()
    }

    /// The positional argument at an index, as a path.
    pub(crate) fn argument_path(&self, index: usize) -> PathBuf {
        self.positional.get(index).map(PathBuf::from).unwrap_or_default()
    }
}

/// The command as clap sees it when a line is read.
fn parser(spec: &Spec) -> Command {
    let mut command = Command::new(spec.name())
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(Arg::new("help").long("help").short('h').action(ArgAction::Help));
    for flag in spec.flags() {
        let argument = Arg::new(flag.long)
            .long(flag.long)
            .action(ArgAction::Append)
            .value_parser(value_parser!(OsString));
        let argument = match flag.short {
            Some(short) => argument.short(short),
            None => argument,
        };
        command = command.arg(if flag.kind == Kind::Switch {
            argument.num_args(0..=1).require_equals(true).default_missing_value("true")
        } else {
            argument.num_args(1).allow_hyphen_values(true)
        });
    }
    command.arg(
        Arg::new(POSITIONAL)
            .num_args(0..)
            .trailing_var_arg(spec.payload)
            .value_parser(value_parser!(OsString)),
    )
}

/// The command as help and completions show it.
pub(crate) fn shown(spec: &Spec, program: &'static str) -> Command {
    let mut command = Command::new(spec.name())
        .about(spec.about)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .override_usage(usage(spec, program));
    if !spec.long_about.is_empty() {
        command = command.long_about(format!("{}\n\n{}", spec.about, spec.long_about));
    }
    for flag in spec.flags() {
        let action = if flag.kind == Kind::Switch { ArgAction::SetTrue } else { ArgAction::Append };
        let mut argument = Arg::new(flag.long).long(flag.long).help(flag.help).action(action);
        if let Some(short) = flag.short {
            argument = argument.short(short);
        }
        if flag.kind != Kind::Switch {
            argument = argument.value_name(flag.value);
        }
        let refused = matches!(flag.standing, Standing::Refused(_));
        command = command.arg(argument.hide(flag.hidden || refused));
    }
    command
}

/// The usage line without the word before it.
pub(crate) fn usage(spec: &Spec, program: &str) -> String {
    let name = spec.name();
    let mut line = format!("{program} [global options...] {}", spec.path);
    if spec.flags().next().is_some() {
        line.push_str(&format!(" [{name} options...]"));
    }
    if !spec.arguments.is_empty() {
        line.push(' ');
        line.push_str(spec.arguments);
    }
    line
}

/// clap's complaint in the words that scripts know.
fn complaint(spec: &Spec, error: &clap::Error) -> Unusable {
    let named = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.first().cloned().unwrap_or_default(),
        _ => String::new(),
    };
    let flag = named.split([' ', '=', '[']).next().unwrap_or_default();
    match error.kind() {
        ErrorKind::DisplayHelp => Unusable::Help,
        ErrorKind::UnknownArgument if flag.starts_with("--") => {
            Unusable::Flag(format!("unknown flag: {flag}"))
        }
        ErrorKind::UnknownArgument => {
            let letter = flag.trim_start_matches('-');
            let first: String = letter.chars().take(1).collect();
            Unusable::Flag(format!("unknown shorthand flag: '{first}' in -{letter}"))
        }
        ErrorKind::InvalidValue | ErrorKind::WrongNumberOfValues => {
            Unusable::Flag(format!("flag needs an argument: {flag}"))
        }
        _ => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            Unusable::Flag(format!("{}: {first}", spec.name()))
        }
    }
}

/// The first spelling of a key that is set and not blank, with words about the old prefix.
fn variable<'a>(
    environment: &'a Environment,
    key: &str,
    bare: bool,
    output: &mut Output,
) -> Option<(String, &'a OsStr)> {
    let set = |name: &str| {
        let value = environment.raw(name)?;
        (!value.to_string_lossy().trim().is_empty()).then_some(value)
    };
    let [ours, current, old] = PREFIXES.map(|prefix| {
        let name = format!("{prefix}{key}");
        set(&name).map(|value| (name, value))
    });
    if ours.is_none() {
        match (&current, &old) {
            (None, Some((name, _))) => output.message(
                Level::Info,
                &format!("Environment variable {name} is set, but APPTAINER_{key} is preferred"),
            ),
            (Some((name, value)), Some((old, other))) if value != other => {
                output
                    .warning(&format!("{old} and {name} have different values, using the latter"));
            }
            _ => {}
        }
    }
    let plain = || set(key).filter(|_| bare).map(|value| (key.to_owned(), value));
    ours.or(current).or(old).or_else(plain)
}

/// Splits at commas; a part in double quotes keeps them, and two quotes in it are one.
fn csv(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut item = String::new();
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                item.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if item.is_empty() => quoted = true,
            ',' if !quoted => items.push(std::mem::take(&mut item)),
            other => item.push(other),
        }
    }
    items.push(item);
    items.retain(|item| !item.is_empty());
    items
}

#[cfg(test)]
mod tests;
