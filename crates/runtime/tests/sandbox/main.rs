//! Containers from a sandbox directory, end to end: the test program starts itself as the client.
//!
//! A container takes the place of the process that asks for it, so each one is asked for by a
//! child: this program again, with a request in its environment. The image is a directory with
//! Debian's static busybox. As root the same is tried as an ordinary user.

#![expect(clippy::disallowed_methods, reason = "a test program reads its own environment")]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test program")]
#![expect(clippy::exit, reason = "the client ends before the test harness begins")]
#![expect(unsafe_code, reason = "the client must begin before the harness has threads")]

mod isolation;
mod payload;
mod places;
mod site;

use std::ffi::OsString;
use std::path::PathBuf;

use orlop_runtime::{
    Action, Caller, EnvironmentRules, Face, Home, Namespaces, NoMount, Notice, Root, Wanted,
    Writable, forwarded, parse_binds,
};

const REQUEST: &str = "SANDBOX_TEST_REQUEST";

/// Options of a request, one a line: `word` or `word=value`.
fn wanted(request: &str) -> (Wanted, PathBuf) {
    let environment: Vec<(OsString, OsString)> =
        std::env::vars_os().filter(|(name, _)| name != REQUEST).collect();
    let caller = Caller::current(environment.clone());
    let value = |word: &str| {
        let prefix = format!("{word}=");
        request.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
    };
    let all = |word: &str| {
        let prefix = format!("{word}=");
        let lines = request.lines().filter_map(|line| line.strip_prefix(&prefix));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let has = |word: &str| request.lines().any(|line| line == word);
    let arguments: Vec<OsString> = all("arg").into_iter().map(OsString::from).collect();
    let action = match value("action").as_deref() {
        Some("run") => Action::Run(arguments),
        Some("shell") => Action::Shell(None),
        Some("test") => Action::Test(arguments),
        _ => Action::Exec(arguments),
    };
    let home = PathBuf::from(std::env::var_os("HOME").unwrap());
    let wanted = Wanted {
        face: if has("apptainer") { Face::Apptainer } else { Face::Orlop },
        action,
        app: value("app"),
        image: value("image").unwrap().into(),
        binds: all("bind")
            .iter()
            .flat_map(|text| parse_binds(text, &caller.cwd).unwrap())
            .collect(),
        system_binds: vec!["/etc/localtime".into(), "/etc/hosts".into()],
        home: Home { at: home.clone(), source: home, named: false, shown: !has("no-home") },
        cwd: value("cwd").map(PathBuf::from),
        contain: has("contain"),
        workdir: value("workdir").map(PathBuf::from),
        scratch: all("scratch").into_iter().map(PathBuf::from).collect(),
        writable: match value("writable").as_deref() {
            Some("tmpfs") => Writable::Tmpfs,
            Some(_) => Writable::Image,
            None => Writable::No,
        },
        no_mount: NoMount::default(),
        namespaces: Namespaces {
            pid: has("pid"),
            no_init: has("no-init"),
            ipc: has("ipc"),
            uts: value("hostname").is_some(),
            net: has("net"),
        },
        hostname: value("hostname"),
        dns: all("dns"),
        environment: EnvironmentRules {
            clean: has("clean"),
            forwarded: forwarded(&environment, &[], &all("env")).variables,
            withheld: Vec::new(),
            no_eval: has("no-eval"),
        },
        fakeroot: has("fakeroot"),
        umask: has("no-umask").then_some(0o022),
        masks: all("mask").into_iter().map(PathBuf::from).collect(),
        caller,
    };
    let image = PathBuf::from(&wanted.image);
    (wanted, image)
}

/// The client's part: runs before the test harness makes its threads, because a process with
/// several cannot make a user namespace.
extern "C" fn client() {
    let Ok(request) = std::env::var(REQUEST) else { return };
    let (wanted, image) = wanted(&request);
    let mut report = |notice: Notice| match notice {
        Notice::Warning(text) => eprintln!("WARNING: {text}"),
        Notice::Info(text) => eprintln!("INFO:    {text}"),
        Notice::Verbose(text) => eprintln!("VERBOSE: {text}"),
    };
    let status = match orlop_runtime::run(&wanted, Root::Sandbox(image), &mut report) {
        Ok(status) => i32::from(status),
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(one) = cause {
                text.push_str(&format!(": {one}"));
                cause = one.source();
            }
            eprintln!("FATAL:   {text}");
            255
        }
    };
    std::process::exit(status);
}

#[used]
#[unsafe(link_section = ".init_array")]
static CLIENT: extern "C" fn() = client;
