//! The first words of a command line: by which name, with which global flags, which command.
//!
//! Global flags stand before the command; after it the same letters belong to the command
//! (contract of Apptainer's command line, section 1.1). Under the names `apptainer` and
//! `singularity` (or any path that ends so) Orlop takes on Apptainer's words.
//!
//! Not here: a command's own flags ([`crate::options`]).

use std::ffi::{OsStr, OsString};

use orlop_config::Face;
use orlop_config::env::Environment;

use crate::output::DEFAULT_LEVEL;
use orlop_config::settings::go_bool;

/// A command line, taken apart up to the command's own words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// Words and default files: Orlop's or Apptainer's.
    pub(crate) face: Face,
    /// The largest level of messages that is shown.
    pub(crate) level: i8,
    /// No colour.
    pub(crate) no_colour: bool,
    /// `--version` was asked for.
    pub(crate) version: bool,
    /// `--help` was asked for.
    pub(crate) help: bool,
    /// `--config FILE`.
    pub(crate) config: Option<OsString>,
    /// The command and all that follows.
    pub(crate) words: Vec<OsString>,
}

/// What the usage line calls the program.
pub(crate) const fn program(face: Face) -> &'static str {
    match face {
        Face::Orlop => "orlop",
        Face::Apptainer => "apptainer",
    }
}

/// A global flag without a value.
struct Switch {
    long: &'static str,
    short: Option<char>,
    /// What its variables are called after their prefix.
    key: Option<&'static str>,
}

const fn switch(long: &'static str, short: Option<char>, key: Option<&'static str>) -> Switch {
    Switch { long, short, key }
}

const SWITCHES: [Switch; 7] = [
    switch("--debug", Some('d'), Some("DEBUG")),
    switch("--verbose", Some('v'), Some("VERBOSE")),
    switch("--quiet", Some('q'), Some("QUIET")),
    switch("--silent", Some('s'), Some("SILENT")),
    switch("--nocolor", None, Some("NOCOLOR")),
    switch("--version", None, None),
    switch("--help", Some('h'), None),
];

/// The global flags so far.
struct Given {
    /// In the order of [`SWITCHES`].
    on: [bool; SWITCHES.len()],
    config: Option<OsString>,
}

impl Given {
    /// Those that the environment sets.
    fn of(environment: &Environment) -> Self {
        let on = SWITCHES.map(|switch| switch.key.is_some_and(|key| is_set(environment, key)));
        Self { on, config: None }
    }

    fn switch(&mut self, is_it: impl Fn(&Switch) -> bool) -> Option<&mut bool> {
        self.on.iter_mut().zip(&SWITCHES).find(|(_, switch)| is_it(switch)).map(|(on, _)| on)
    }

    /// Takes a long flag; a value may be in the words that follow.
    fn take(
        &mut self,
        name: &str,
        value: Option<&str>,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), String> {
        if name == "--config" {
            let given = value.map(OsString::from).or_else(|| rest.next());
            self.config = Some(given.ok_or("flag needs an argument: --config")?);
        }
        if ["--config", "--build-config"].contains(&name) {
            return Ok(());
        }
        let on = self.switch(|switch| switch.long == name);
        let on = on.ok_or_else(|| format!("unknown flag: {name}"))?;
        let value = value.unwrap_or("true");
        *on = go_bool(OsStr::new(value)).ok_or_else(|| {
            format!("invalid argument \"{value}\" for \"{name}\" flag: not a boolean")
        })?;
        Ok(())
    }

    /// Takes short flags that are written as one word.
    fn take_letters(
        &mut self,
        letters: &str,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), String> {
        if letters == "c" {
            self.config = Some(rest.next().ok_or("flag needs an argument: 'c' in -c")?);
            return Ok(());
        }
        for letter in letters.chars() {
            let on = self.switch(|switch| switch.short == Some(letter));
            *on.ok_or_else(|| format!("unknown shorthand flag: '{letter}' in -{letters}"))? = true;
        }
        Ok(())
    }
}

/// Takes a command line apart.
///
/// # Errors
/// A sentence about the global flag that is wrong.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &Environment,
) -> Result<Invocation, (Face, String)> {
    let mut rest = arguments.into_iter();
    let face = face(rest.next().as_deref());
    let mut words = Vec::new();
    let mut given = Given::of(environment);
    while let Some(word) = rest.next() {
        let text = word.to_string_lossy().into_owned();
        if !text.starts_with('-') || text == "-" {
            words.push(word);
            words.extend(rest);
            break;
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text.as_str(), None),
        };
        let taken = match name.starts_with("--") {
            true => given.take(name, value, &mut rest),
            false => given.take_letters(name.trim_start_matches('-'), &mut rest),
        };
        taken.map_err(|words| (face, words))?;
    }
    let [debug, verbose, quiet, silent, no_colour, version, help] = given.on;
    let config = given.config;
    let level = level(environment, debug, verbose, quiet, silent);
    let no_colour = no_colour || environment.raw("NO_COLOR").is_some_and(|value| !value.is_empty());
    Ok(Invocation { face, level, no_colour, version, help, config, words })
}

fn face(name: Option<&OsStr>) -> Face {
    let name = name.unwrap_or_default().to_string_lossy().into_owned();
    if name.ends_with("apptainer") || name.ends_with("singularity") {
        Face::Apptainer
    } else {
        Face::Orlop
    }
}

fn is_set(environment: &Environment, key: &str) -> bool {
    ["ORLOP_", "APPTAINER_", "SINGULARITY_"]
        .iter()
        .filter_map(|prefix| environment.raw(&format!("{prefix}{key}")))
        .find(|value| !value.is_empty())
        .and_then(go_bool)
        .unwrap_or(false)
}

fn level(environment: &Environment, debug: bool, verbose: bool, quiet: bool, silent: bool) -> i8 {
    match (debug, verbose, quiet, silent) {
        (true, ..) => 5,
        (_, true, ..) => 4,
        (_, _, true, _) => -1,
        (.., true) => -3,
        _ => {
            let set = ["ORLOP_MESSAGELEVEL", "APPTAINER_MESSAGELEVEL", "SINGULARITY_MESSAGELEVEL"];
            let set =
                set.iter().find_map(|name| environment.raw(name)?.to_str()?.parse::<i8>().ok());
            set.map_or(DEFAULT_LEVEL, |level| level.clamp(DEFAULT_LEVEL, 5))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, (Face, String)> {
        parse(line.split(' ').map(OsString::from), &Environment::default())
    }

    #[test]
    fn global_flags_end_at_the_command() {
        let found = parsed("orlop -d exec -c img.sif true").unwrap();
        assert_eq!((found.level, found.config), (5, None));
        assert_eq!(found.words, ["exec", "-c", "img.sif", "true"]);
        assert_eq!(parsed("orlop -qv pull x").unwrap().level, 4);
        assert_eq!(parsed("orlop --quiet=false -s pull x").unwrap().level, -3);
    }

    #[test]
    fn any_path_to_apptainer_takes_on_its_face() {
        assert_eq!(parsed("/opt/bin/singularity --version").unwrap().face, Face::Apptainer);
        assert_eq!(parsed("./apptainer help").unwrap().face, Face::Apptainer);
        assert_eq!(parsed("orlop help").unwrap().face, Face::Orlop);
    }

    #[test]
    fn unknown_global_flags_are_named() {
        assert_eq!(parsed("orlop --bogus x").unwrap_err().1, "unknown flag: --bogus");
        assert_eq!(
            parsed("orlop --debug=yes x").unwrap_err().1,
            "invalid argument \"yes\" for \"--debug\" flag: not a boolean"
        );
        assert_eq!(parsed("orlop -V").unwrap_err().1, "unknown shorthand flag: 'V' in -V");
        assert_eq!(parsed("orlop -c").unwrap_err().1, "flag needs an argument: 'c' in -c");
    }
}
