//! From the start environment to a payload: the image's files, what users set, what is run.
//!
//! The order is contract.md section 6.6 of the design notes. Runs inside, after the root has
//! changed and rights are gone; the image's files are evaluated by [`crate::script`], and only code
//! that is more than that goes to the image's own shell ([`crate::shell`]).
//!
//! Not here: the start environment ([`crate::environment`]), execve ([`crate::exec`]).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::environment::{DEFAULT_PATH, Start, complete_path, travel_name};
use crate::error::Error;
use crate::exec::Payload;
use crate::runscript;
use crate::script::{self, Command, Files, Shell, Stop, Unusable};
use crate::shell;
use crate::wanted::{Action, Face, Notice, Wanted};

const ENVIRONMENT: &str = "/.singularity.d/env";
const RUNSCRIPT: &str = "/.singularity.d/runscript";
const LIBRARIES: &str = "/.singularity.d/libs";

/// Largest script of an image that is read, in bytes.
const SCRIPT_LIMIT: u64 = 4 << 20;

/// Variables that are there while the image's files are evaluated.
const KEPT: [&str; 11] = [
    "PWD",
    "HOME",
    "OPTIND",
    "UID",
    "GID",
    "SINGULARITY_APPNAME",
    "SINGULARITY_SHELL",
    "APPTAINER_NAME",
    "APPTAINER_CONTAINER",
    "SINGULARITY_NAME",
    "SINGULARITY_CONTAINER",
];

/// The container's files, as running code may ask for them.
struct Container;

impl Files for Container {
    fn test(&self, operator: u8, path: &OsStr) -> Option<bool> {
        let metadata = fs::metadata(path);
        match operator {
            b'e' => Some(metadata.is_ok()),
            b'f' => Some(metadata.is_ok_and(|found| found.is_file())),
            b'd' => Some(metadata.is_ok_and(|found| found.is_dir())),
            b's' => Some(metadata.is_ok_and(|found| found.len() > 0)),
            b'r' => Some(accessible(path, nix::unistd::AccessFlags::R_OK)),
            b'x' => Some(accessible(path, nix::unistd::AccessFlags::X_OK)),
            b'L' | b'h' => Some(fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink())),
            _ => None,
        }
    }

    fn read(&self, path: &OsStr) -> Option<Vec<u8>> {
        read(Path::new(path)).ok()
    }
}

fn accessible(path: &OsStr, how: nix::unistd::AccessFlags) -> bool {
    nix::unistd::access(path, how).is_ok()
}

/// Reads a regular file of at most [`SCRIPT_LIMIT`] bytes.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let file = fs::File::open(path)?;
    let mut bytes = Vec::new();
    file.take(SCRIPT_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SCRIPT_LIMIT {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// What is started, with its whole environment; nothing when there is nothing to do.
pub(crate) fn payload(
    wanted: &Wanted,
    start: Start,
    report: &mut dyn FnMut(Notice),
) -> Result<Option<Payload>, Error> {
    let mut shell = environment(wanted, &start)?;
    restore(&mut shell, &start);
    prompt(&mut shell, wanted.face);
    let Some(arguments) = action(wanted, &mut shell, report)? else { return Ok(None) };
    let mut environment: BTreeMap<OsString, OsString> =
        shell.environment().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    // A few names are kept for the image's files alone.
    if wanted.app.is_none() {
        environment.remove(OsStr::new("SINGULARITY_APPNAME"));
    }
    let path = shell.get("PATH").unwrap_or_default().to_vec();
    let path = OsString::from_vec(path);
    Ok(Some(Payload { arguments, environment, path }))
}

/// Evaluates the image's files and what users set, in their order.
fn environment(wanted: &Wanted, start: &Start) -> Result<Shell, Error> {
    let kept = KEPT.iter().filter_map(|name| start.get_key_value(OsStr::new(name)));
    let mut shell = Shell::new(kept.map(|(name, value)| (name.clone(), value.clone())));
    let files = scripts();
    let Some(files) = files else {
        if let Ok(text) = read(Path::new("/environment")) {
            source(&mut shell, Path::new("/environment"), &text)?;
        }
        fix_path(&mut shell);
        inject(&mut shell, wanted)?;
        runtime_variables(&mut shell);
        return Ok(shell);
    };
    let mut injected = false;
    for file in &files {
        let name = file.file_name().unwrap_or_default();
        if name == "90-environment.sh" && shell.get("PATH").is_none() {
            fix_path(&mut shell);
        }
        if name == "99-runtimevars.sh" && !injected {
            inject(&mut shell, wanted)?;
            injected = true;
        }
        if let Ok(text) = read(file) {
            source(&mut shell, file, &text)?;
        }
        if name == "10-docker2singularity.sh" || name == "10-docker.sh" {
            fix_path(&mut shell);
        }
        if name == "99-base.sh" {
            inject(&mut shell, wanted)?;
            injected = true;
        }
    }
    if !injected {
        inject(&mut shell, wanted)?;
    }
    if !files.iter().any(|file| file.ends_with("99-runtimevars.sh")) {
        runtime_variables(&mut shell);
    }
    Ok(shell)
}

/// The environment files in order of name; nothing when the image has no such directory.
fn scripts() -> Option<Vec<PathBuf>> {
    let entries = fs::read_dir(ENVIRONMENT).ok()?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension() == Some(OsStr::new("sh")))
        .collect();
    files.sort();
    Some(files)
}

fn fix_path(shell: &mut Shell) {
    let path = complete_path(shell.get("PATH").unwrap_or_default());
    shell.export(b"PATH", path);
}

/// What `99-runtimevars.sh` does, for images that are older than it.
fn runtime_variables(shell: &mut Shell) {
    let value = |shell: &Shell, name: &str| {
        shell.get(name).filter(|value| !value.is_empty()).map(<[u8]>::to_vec)
    };
    let mut path = shell.get("PATH").unwrap_or_default().to_vec();
    if let Some(before) = value(shell, "SING_USER_DEFINED_PREPEND_PATH") {
        path = [before, path].join(&b':');
    }
    if let Some(behind) = value(shell, "SING_USER_DEFINED_APPEND_PATH") {
        path = [path, behind].join(&b':');
    }
    if let Some(instead) = value(shell, "SING_USER_DEFINED_PATH") {
        path = instead;
    }
    for name in ["PATH", "PREPEND_PATH", "APPEND_PATH"] {
        shell.unset(travel_name(name));
    }
    shell.export(b"PATH", path);
}

/// Evaluates one file.
fn source(shell: &mut Shell, file: &Path, text: &[u8]) -> Result<(), Error> {
    let is_docker = file.file_name().is_some_and(|name| {
        name.as_bytes().starts_with(b"10-docker") && name.as_bytes().ends_with(b".sh")
    });
    let code: Result<Vec<Command>, Unusable> =
        if is_docker { Ok(script::parse_exports(text)) } else { script::parse(text) };
    let before = shell.clone();
    let stop = match code {
        Ok(code) => shell.run(&code, &Container).err(),
        Err(unusable) => Some(Stop::Unusable(unusable)),
    };
    match stop {
        None => {
            print(shell);
            Ok(())
        }
        Some(Stop::Exit { status }) => {
            print(shell);
            Err(Error::Ended { status })
        }
        Some(Stop::Unusable(_)) => {
            *shell = before;
            let path = file.as_os_str();
            shell::evaluate(shell, b". \"$ORLOP_SOURCE\"", &[("ORLOP_SOURCE", path)])
                .map_err(|reason| Error::Script { what: file.display().to_string(), reason })
        }
    }
}

/// Writes what `echo` said; nobody is left to be told when stdout is gone.
fn print(shell: &mut Shell) {
    let printed = shell.take_printed();
    if !printed.is_empty() {
        drop(io::stdout().lock().write_all(&printed));
    }
}

/// Sets what users forward, each value evaluated once as between double quotes.
fn inject(shell: &mut Shell, wanted: &Wanted) -> Result<(), Error> {
    if shell.get("PATH").is_none() {
        shell.export(b"PATH", DEFAULT_PATH.into());
    }
    for (name, value) in &wanted.environment.forwarded {
        if matches!(name.as_str(), "UID" | "GID") {
            continue;
        }
        let mut value =
            if wanted.environment.no_eval { value.clone() } else { evaluate(shell, name, value)? };
        if name == "LD_LIBRARY_PATH" {
            value.push(":");
            value.push(LIBRARIES);
        }
        shell.export(travel_name(name).as_bytes(), value.into_vec());
    }
    Ok(())
}

fn evaluate(shell: &mut Shell, what: &str, text: &OsStr) -> Result<OsString, Error> {
    match runscript::evaluated(text, shell) {
        Ok(value) => Ok(value),
        Err(runscript::NeedsShell { text }) => shell::expand(shell, &text)
            .map_err(|reason| Error::Script { what: what.to_owned(), reason }),
    }
}

/// Gives back the variables of the start that the image does not set.
fn restore(shell: &mut Shell, start: &Start) {
    for (name, value) in start {
        let Some(text) = name.to_str() else {
            shell.export(name.as_bytes(), value.as_bytes().to_vec());
            continue;
        };
        match shell.get(text) {
            None => shell.export(name.as_bytes(), value.as_bytes().to_vec()),
            Some(b"") if !KEPT.contains(&text) => shell.unset(text),
            Some(_) => {}
        }
    }
    let file = b"/.singularity.d/env/91-environment.sh";
    for name in ["APPTAINER_ENVIRONMENT", "SINGULARITY_ENVIRONMENT"] {
        if shell.get(name).is_none_or(<[u8]>::is_empty) {
            shell.export(name.as_bytes(), file.to_vec());
        }
    }
}

/// The prompt, and the one-time order that makes bash take it.
fn prompt(shell: &mut Shell, face: Face) {
    let ours: &[u8] = match face {
        Face::Orlop => b"Orlop> ",
        Face::Apptainer => b"Apptainer> ",
    };
    match shell.get("PS1") {
        None | Some(b"" | b"Apptainer> " | b"Singularity> ") => shell.export(b"PS1", ours.to_vec()),
        Some(_) => {}
    }
    let prompt = String::from_utf8_lossy(shell.get("PS1").unwrap_or_default()).into_owned();
    let command = match shell.get("PROMPT_COMMAND") {
        None | Some(b"") => format!("PS1=\"{prompt}\"; unset PROMPT_COMMAND"),
        Some(command) => {
            let command = String::from_utf8_lossy(command);
            format!(
                "{command}; PROMPT_COMMAND=\"${{PROMPT_COMMAND%%; PROMPT_COMMAND=*}}\"; \
                 PS1=\"{prompt}\""
            )
        }
    };
    shell.export(b"PROMPT_COMMAND", command.into_bytes());
}

/// What is started, by the action.
fn action(
    wanted: &Wanted,
    shell: &mut Shell,
    report: &mut dyn FnMut(Notice),
) -> Result<Option<Vec<OsString>>, Error> {
    match &wanted.action {
        Action::Exec(arguments) => Ok(Some(arguments.clone())),
        Action::Shell(program) => shell_action(program.as_deref(), shell).map(Some),
        Action::Run(arguments) => run_action(wanted, arguments, shell, report).map(Some),
        Action::Test(arguments) => test_action(wanted, arguments, report),
    }
}

fn with(program: impl Into<OsString>, arguments: &[OsString]) -> Vec<OsString> {
    let mut command = vec![program.into()];
    command.extend_from_slice(arguments);
    command
}

fn is_executable(path: &str) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn shell_action(program: Option<&OsStr>, shell: &mut Shell) -> Result<Vec<OsString>, Error> {
    if let Some(program) = program.filter(|program| program.to_str().is_some_and(is_executable)) {
        return Ok(vec![program.to_owned()]);
    }
    if is_executable("/bin/bash") {
        shell.export(b"SHELL", b"/bin/bash".to_vec());
        return Ok(vec!["/bin/bash".into(), "--norc".into()]);
    }
    if is_executable("/bin/sh") {
        shell.export(b"SHELL", b"/bin/sh".to_vec());
        return Ok(vec!["/bin/sh".into()]);
    }
    Err(Error::NothingToRun("/bin/sh does not exist in container".to_owned()))
}

fn run_action(
    wanted: &Wanted,
    arguments: &[OsString],
    shell: &mut Shell,
    report: &mut dyn FnMut(Notice),
) -> Result<Vec<OsString>, Error> {
    if let Some(app) = &wanted.app {
        let script = format!("/scif/apps/{app}/scif/runscript");
        if is_executable(&script) {
            return Ok(with(script, arguments));
        }
        return Err(Error::NothingToRun(format!("no runscript for contained app: {app}")));
    }
    if is_executable(RUNSCRIPT) {
        let stored = read(Path::new(RUNSCRIPT)).ok().and_then(|text| runscript::read(&text));
        let Some(stored) = stored else { return Ok(with(RUNSCRIPT, arguments)) };
        let no_eval = wanted.environment.no_eval;
        return runscript::command(&stored, arguments, |argument| {
            if no_eval { Ok(argument.to_owned()) } else { evaluate(shell, "an argument", argument) }
        });
    }
    if is_executable("/apptainer") {
        return Ok(with("/apptainer", arguments));
    }
    if is_executable("/bin/sh") {
        report(Notice::Info("No runscript found in container, executing /bin/sh".to_owned()));
        return Ok(with("/bin/sh", arguments));
    }
    let text = "No runscript and no /bin/sh executable found in container, aborting";
    Err(Error::NothingToRun(text.to_owned()))
}

fn test_action(
    wanted: &Wanted,
    arguments: &[OsString],
    report: &mut dyn FnMut(Notice),
) -> Result<Option<Vec<OsString>>, Error> {
    if let Some(app) = &wanted.app {
        let script = format!("/scif/apps/{app}/scif/test");
        if is_executable(&script) {
            return Ok(Some(with(script, arguments)));
        }
        return Err(Error::NothingToRun(format!("No tests for contained app: {app}")));
    }
    if is_executable("/.singularity.d/test") {
        return Ok(Some(with("/.singularity.d/test", arguments)));
    }
    report(Notice::Info("No test script found in container, exiting".to_owned()));
    Ok(None)
}
