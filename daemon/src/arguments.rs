//! The daemon's command line. Parses, nothing else.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Usage: orlopd [OPTIONS]

The daemon of Orlop. Clients start it when they need it; systemd may by its socket.

Options:
      --socket PATH        Listen on this socket
      --cache PATH         Keep the cache in this directory
      --no-cache           Keep everything in a private directory that goes with the daemon
      --log FILE           Write the log to this file, except under systemd
      --idle-exit SECONDS  End after so long without work; 0 for never [default: 600]
      --ready-fd N         Write one byte to this descriptor when listening
      --private-fd N       Serve the one connection on this descriptor, then end
      --version            Print the version
      --help               Print this help
";

/// A parsed command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Socket to listen on; none: the default one, or what systemd hands over.
    pub(crate) socket: Option<PathBuf>,
    /// Directory of the cache; none: the default one.
    pub(crate) cache: Option<PathBuf>,
    /// Nothing is kept beyond the daemon's life.
    pub(crate) no_cache: bool,
    /// File for log lines; none: the default one.
    pub(crate) log: Option<PathBuf>,
    /// Idleness after which the daemon ends; zero for never.
    pub(crate) idle_exit: Option<Duration>,
    /// Gets one byte when the daemon listens.
    pub(crate) ready_fd: Option<RawFd>,
    /// Connection of a private daemon.
    pub(crate) private_fd: Option<RawFd>,
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Serve.
    Serve(Arguments),
    /// Print the version.
    Version,
    /// Print the help.
    Help,
}

/// Parses the arguments after the program's name.
///
/// # Errors
/// One sentence that names the argument.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, String> {
    let mut parsed = Arguments::default();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        let (name, attached) = split(&argument);
        let mut value = || {
            attached.clone().or_else(|| rest.next()).ok_or_else(|| format!("{name} needs a value"))
        };
        match name.as_str() {
            "--socket" => parsed.socket = Some(absolute(&name, value()?)?),
            "--cache" => parsed.cache = Some(absolute(&name, value()?)?),
            "--log" => parsed.log = Some(absolute(&name, value()?)?),
            "--no-cache" => parsed.no_cache = true,
            "--idle-exit" => {
                parsed.idle_exit = Some(Duration::from_secs(number(&name, &value()?)?));
            }
            "--ready-fd" => parsed.ready_fd = Some(number(&name, &value()?)?),
            "--private-fd" => parsed.private_fd = Some(number(&name, &value()?)?),
            "--version" => return Ok(Asked::Version),
            "--help" | "-h" => return Ok(Asked::Help),
            _ => return Err(format!("unknown argument: {name}")),
        }
    }
    Ok(Asked::Serve(parsed))
}

fn split(argument: &OsStr) -> (String, Option<OsString>) {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = argument.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) if bytes.starts_with(b"--") => {
            let (name, value) = bytes.split_at(at);
            let value = OsStr::from_bytes(value.get(1..).unwrap_or_default());
            (String::from_utf8_lossy(name).into_owned(), Some(value.to_owned()))
        }
        _ => (argument.to_string_lossy().into_owned(), None),
    }
}

/// The daemon leaves its directory, so a relative path would mean another place later.
fn absolute(name: &str, value: OsString) -> Result<PathBuf, String> {
    let path = PathBuf::from(value);
    if path.is_absolute() { Ok(path) } else { Err(format!("{name} needs an absolute path")) }
}

fn number<N: std::str::FromStr>(name: &str, value: &OsStr) -> Result<N, String> {
    let parsed = value.to_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| format!("{name} needs a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Asked, String> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn both_spellings_of_a_value_are_taken() {
        for arguments in [
            &["--socket", "/s", "--cache=/c", "--idle-exit", "5", "--ready-fd=3"][..],
            &["--socket=/s", "--cache", "/c", "--idle-exit=5", "--ready-fd", "3"],
        ] {
            let Ok(Asked::Serve(found)) = parsed(arguments) else { panic!("{arguments:?}") };
            assert_eq!(found.socket, Some("/s".into()));
            assert_eq!(found.cache, Some("/c".into()));
            assert_eq!(found.idle_exit, Some(Duration::from_secs(5)));
            assert_eq!(found.ready_fd, Some(3));
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (arguments, what) in [
            (&["--socket"][..], "--socket needs a value"),
            (&["--socket", "s"], "--socket needs an absolute path"),
            (&["--idle-exit", "x"], "--idle-exit needs a number"),
            (&["serve"], "unknown argument: serve"),
        ] {
            assert_eq!(parsed(arguments), Err(what.to_owned()));
        }
    }
}
