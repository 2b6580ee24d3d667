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

use crate::options::go_bool;
use crate::output::DEFAULT_LEVEL;

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
    let [mut debug, mut verbose, mut quiet, mut silent, mut no_colour] =
        ["DEBUG", "VERBOSE", "QUIET", "SILENT", "NOCOLOR"].map(|key| is_set(environment, key));
    let (mut version, mut help, mut config) = (false, false, None);
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
        let on = match value {
            Some(value) => go_bool(OsStr::new(value)),
            None => Some(true),
        };
        let slot = match name {
            "--debug" => &mut debug,
            "--verbose" => &mut verbose,
            "--quiet" => &mut quiet,
            "--silent" => &mut silent,
            "--nocolor" => &mut no_colour,
            "--version" => &mut version,
            "--help" => &mut help,
            "--build-config" => continue,
            "--config" => {
                let given = value.map(OsString::from).or_else(|| rest.next());
                config = Some(given.ok_or((face, "flag needs an argument: --config".to_owned()))?);
                continue;
            }
            _ if name.starts_with("--") => return Err((face, format!("unknown flag: {name}"))),
            bundle => {
                let letters = bundle.trim_start_matches('-');
                for letter in letters.chars() {
                    match letter {
                        'd' => debug = true,
                        'v' => verbose = true,
                        'q' => quiet = true,
                        's' => silent = true,
                        'h' => help = true,
                        'c' if letters == "c" => {
                            let needs = (face, "flag needs an argument: 'c' in -c".to_owned());
                            config = Some(rest.next().ok_or(needs)?);
                        }
                        letter => {
                            let words = format!("unknown shorthand flag: '{letter}' in -{letters}");
                            return Err((face, words));
                        }
                    }
                }
                continue;
            }
        };
        *slot = on.ok_or_else(|| {
            (
                face,
                format!(
                    "invalid argument \"{}\" for \"{name}\" flag: not a boolean",
                    value.unwrap_or_default()
                ),
            )
        })?;
    }
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
        assert_eq!(parsed("orlop -V").unwrap_err().1, "unknown shorthand flag: 'V' in -V");
        assert_eq!(parsed("orlop -c").unwrap_err().1, "flag needs an argument: 'c' in -c");
    }
}
