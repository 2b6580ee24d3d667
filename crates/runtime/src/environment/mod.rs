//! The environment that a container starts from, before the image's own files have their say.
//!
//! Which of the caller's variables pass, which are set whatever the image says, and what Orlop
//! itself sets. Pure. Rules: contract.md section 8.6 of the design notes.
//!
//! Not here: the image's `env/*.sh` and what comes after them ([`crate::inside`]).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::script::{self, NoFiles, Shell};
use crate::wanted::{Action, Face, Notice, Wanted};

/// Where programs are looked for when neither image nor user says it.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Prefixes of variables that are set inside, the strongest first.
const FORWARDING: [&str; 3] = ["ORLOPENV_", "APPTAINERENV_", "SINGULARITYENV_"];

/// Prefixes of variables that steer the program and do not pass.
const STEERING: [&str; 3] = ["ORLOP_", "APPTAINER_", "SINGULARITY_"];

/// Logins that the program itself reads: a payload gets them by `APPTAINERENV_` or `--env` alone.
const LOGINS: [&str; 3] = ["DOCKER_USERNAME", "DOCKER_PASSWORD", "DOCKER_AUTH_CONFIG"];

/// What passes with a clean environment.
const CLEAN: [&str; 6] =
    ["TERM", "http_proxy", "https_proxy", "no_proxy", "all_proxy", "ftp_proxy"];

/// Variables set inside whatever the image says, and what the user should hear about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// Names and values, in order of name; each name once.
    pub variables: Vec<(String, OsString)>,
    /// Warnings and hints.
    pub notices: Vec<Notice>,
}

/// Gathers what `APPTAINERENV_` variables, environment files and `--env` set inside.
///
/// `files` are the variables of the environment files ([`read_env_file`]) in order, the later ones
/// win; `options` are the values of `--env`, which win over all.
#[must_use]
pub fn forwarded(
    environment: &[(OsString, OsString)],
    files: &[Vec<(String, OsString)>],
    options: &[String],
) -> Forwarded {
    let mut found = BTreeMap::new();
    let mut notices = Vec::new();
    for prefix in FORWARDING.iter().rev() {
        for (name, value) in environment {
            let Some(name) = name.to_str().and_then(|name| name.strip_prefix(prefix)) else {
                continue;
            };
            if *prefix == "SINGULARITYENV_" && !has_newer(environment, name) {
                notices.push(Notice::Info(format!(
                    "Environment variable SINGULARITYENV_{name} is set, but APPTAINERENV_{name} is \
                     preferred"
                )));
            }
            found.insert(name.to_owned(), value.clone());
        }
    }
    let options: Vec<(String, OsString)> =
        options.iter().flat_map(|text| assignments(text)).collect();
    for (name, value) in files.iter().flatten() {
        if options.iter().any(|(given, _)| given == name) {
            notices.push(Notice::Warning(format!(
                "Ignored environment file variable {name}: override from --env"
            )));
        }
        found.insert(name.clone(), value.clone());
    }
    found.extend(options);
    for name in ["HOME", "APPTAINER_SHELL", "APPTAINER_APPNAME"] {
        if found.remove(name).is_some() {
            notices.push(Notice::Warning(format!(
                "Overriding {name} environment variable with APPTAINERENV_{name} is not permitted"
            )));
        }
    }
    Forwarded { variables: found.into_iter().collect(), notices }
}

fn has_newer(environment: &[(OsString, OsString)], name: &str) -> bool {
    let newer = |prefix: &str| OsString::from(format!("{prefix}{name}"));
    let names = [newer("ORLOPENV_"), newer("APPTAINERENV_")];
    environment.iter().any(|(name, _)| names.contains(name))
}

/// Reads one `--env`: `A=1,B=2`, or one variable whose value keeps its commas.
fn assignments(text: &str) -> Vec<(String, OsString)> {
    let pieces =
        if text.matches('=').count() == 1 { vec![text] } else { text.split(',').collect() };
    let mut out: Vec<(String, OsString)> = Vec::new();
    for piece in pieces {
        match (piece.split_once('='), out.last_mut()) {
            (Some((name, value)), _) => out.push((name.to_owned(), value.into())),
            (None, Some((_, value))) => {
                value.push(",");
                value.push(piece);
            }
            (None, None) => {}
        }
    }
    out
}

/// Reads an environment file: shell code whose assignments count, `$NAME` taken from the caller.
///
/// # Errors
/// [`Error::EnvFile`] when it holds code that is more than assignments.
pub fn read_env_file(
    path: &Path,
    text: &[u8],
    environment: &[(OsString, OsString)],
) -> Result<Vec<(String, OsString)>, Error> {
    let bad = |reason: &str| Error::EnvFile { path: path.to_owned(), reason: reason.to_owned() };
    let mut shell = Shell::new(environment.iter().cloned());
    shell.forget_changes();
    let code = script::parse(text).map_err(|error| bad(&error.to_string()))?;
    match shell.run(&code, &NoFiles) {
        Ok(()) => Ok(shell.changes()),
        Err(stop) => Err(bad(&stop.to_string())),
    }
}

/// The environment inside before the image's files: variables in order of name.
pub(crate) type Start = BTreeMap<OsString, OsString>;

/// Makes the start environment. `binds`: where the user's binds are inside; `cwd`: where the
/// payload starts.
pub(crate) fn start(wanted: &Wanted, binds: &[PathBuf], cwd: &Path) -> Start {
    let mut start = passing(wanted);
    let rules = &wanted.environment;
    if let Some(path) = wanted.caller.variable("PATH").filter(|_| !rules.clean) {
        let mut user_path = path.clone();
        user_path.push(":/bin:/usr/bin:/sbin:/usr/sbin:/usr/local/bin:/usr/local/sbin");
        start.insert("USER_PATH".into(), user_path);
    }
    start.insert("HOME".into(), wanted.home.at.clone().into());
    start.insert("PWD".into(), cwd.into());
    let mut both = |name: &str, value: &OsStr| {
        let prefixes: &[&str] = match wanted.face {
            Face::Apptainer => &["APPTAINER_", "SINGULARITY_"],
            Face::Orlop => &["APPTAINER_", "SINGULARITY_", "ORLOP_"],
        };
        for prefix in prefixes {
            start.insert(format!("{prefix}{name}").into(), value.to_owned());
        }
    };
    both("CONTAINER", &wanted.image);
    both("NAME", base_name(&wanted.image));
    both("BIND", &join(binds));
    if rules.no_eval {
        both("NO_EVAL", OsStr::new("1"));
    }
    if let Action::Shell(Some(program)) = &wanted.action {
        both("SHELL", program);
    }
    start.insert("APPTAINER_COMMAND".into(), wanted.action.word().into());
    start.insert("APPTAINER_APPNAME".into(), wanted.app.clone().unwrap_or_default().into());
    if let Some(app) = &wanted.app {
        start.insert("SINGULARITY_APPNAME".into(), app.into());
    }
    start
}

/// What passes of the caller's own variables.
fn passing(wanted: &Wanted) -> Start {
    let rules = &wanted.environment;
    let mut start: Start = wanted
        .caller
        .environment
        .iter()
        .filter(|(name, _)| passes(name, rules.clean))
        .filter(|(name, _)| !rules.withheld.iter().any(|withheld| name == withheld.as_str()))
        .cloned()
        .collect();
    if rules.clean {
        start.insert("LANG".into(), "C".into());
    }
    start
}

fn passes(name: &OsStr, clean: bool) -> bool {
    let bytes = name.as_bytes();
    let begins =
        |prefixes: &[&str]| prefixes.iter().any(|prefix| bytes.starts_with(prefix.as_bytes()));
    if begins(&STEERING) || begins(&FORWARDING) || bytes.is_empty() {
        return false;
    }
    if LOGINS.iter().any(|login| bytes == login.as_bytes()) {
        return false;
    }
    if matches!(bytes, b"HOME" | b"PATH" | b"LD_LIBRARY_PATH") {
        return false;
    }
    let lower = bytes.to_ascii_lowercase();
    let upper = bytes.iter().all(|byte| !byte.is_ascii_lowercase());
    !clean
        || CLEAN.iter().any(|allowed| {
            bytes == allowed.as_bytes()
                || (upper && allowed.ends_with("_proxy") && lower == allowed.as_bytes())
        })
}

/// The last part of an image's path or reference.
fn base_name(image: &OsStr) -> &OsStr {
    let bytes = image.as_bytes();
    let start = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    OsStr::from_bytes(bytes.get(start..).unwrap_or_default())
}

fn join(paths: &[PathBuf]) -> OsString {
    let paths: Vec<&[u8]> = paths.iter().map(|path| path.as_os_str().as_bytes()).collect();
    OsString::from_vec(paths.join(&b','))
}

/// The name under which a forwarded variable travels through the image's files.
pub(crate) fn travel_name(name: &str) -> &str {
    match name {
        "PATH" => "SING_USER_DEFINED_PATH",
        "PREPEND_PATH" => "SING_USER_DEFINED_PREPEND_PATH",
        "APPEND_PATH" => "SING_USER_DEFINED_APPEND_PATH",
        name => name,
    }
}

/// `path` with the missing parts of [`DEFAULT_PATH`] behind it.
pub(crate) fn complete_path(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> =
        path.split(|byte| *byte == b':').filter(|part| !part.is_empty()).collect();
    for part in DEFAULT_PATH.as_bytes().split(|byte| *byte == b':') {
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts.join(&b':')
}

#[cfg(test)]
pub(crate) mod tests;
