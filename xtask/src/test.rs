//! All checks and tests, in the order of what fails soonest.
//!
//! A check that fails does not keep the others from running; the last lines are the runner's
//! summary. Everything is built once: the same profile, features and targets throughout. Not
//! here: the tests.

use crate::Failed;
use crate::command::{self, cargo, line, works};
use crate::{members, packages, tools};
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Longest that the advisories' database may take to arrive, in seconds.
const DATABASE_PATIENCE: &str = "60";

/// Runs everything.
pub(crate) fn run(words: &[&str]) -> Result<(), Failed> {
    let install = match words {
        [] => true,
        ["--no-install"] => false,
        _ => return Err(format!("unknown words after test: {}", words.join(" "))),
    };
    packages::provide(install);
    let mut failed = Vec::new();
    let mut check = |done: Result<(), Failed>| {
        if let Err(words) = done {
            crate::eprint_line(&words);
            failed.push(words);
        }
    };
    check(members::take_the_lints());
    check(command::run(&mut cargo(["fmt", "--all", "--check"])));
    check(clippy());
    check(docs());
    check(borders(install));
    let runner = tools::nextest(install);
    if let Err(why) = &runner {
        println!("{why}: the tests are run by cargo test");
    }
    check(tests_in_docs());
    for words in &failed {
        println!("FAILED {}", words.lines().next().unwrap_or_default());
    }
    let tested = match runner {
        Ok(nextest) => with_nextest(&nextest),
        Err(_) => command::run(
            cargo(["test", "--locked", "--workspace", "--all-targets", "--no-fail-fast"])
                .env("INSTA_UPDATE", "no"),
        ),
    };
    tested.and_then(|()| match failed.len() {
        0 => Ok(()),
        count => Err(format!("{count} checks before the tests failed")),
    })
}

fn clippy() -> Result<(), Failed> {
    let words = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    command::run(&mut cargo(words))
}

fn docs() -> Result<(), Failed> {
    let mut command = cargo(["doc", "--locked", "--workspace", "--no-deps", "--quiet"]);
    command::run(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Examples in documentation; the runner of the others does not know them.
fn tests_in_docs() -> Result<(), Failed> {
    command::run(&mut cargo(["test", "--locked", "--workspace", "--doc", "--quiet"]))
}

/// cargo-deny: who may use what needs no network, known vulnerabilities need their database.
fn borders(install: bool) -> Result<(), Failed> {
    let deny = match tools::deny(install) {
        Ok(deny) => deny,
        Err(why) => {
            println!("SKIPPED borders, licences and advisories of dependencies: {why}");
            return Ok(());
        }
    };
    let root = command::root();
    let denying = |words: &[&str]| {
        let mut command = Command::new(&deny);
        command.args(["--locked", "--log-level", "error"]).args(words).current_dir(&root);
        command
    };
    command::run(&mut denying(&[
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))?;
    let fetched = works("timeout", &[DATABASE_PATIENCE, &deny.to_string_lossy(), "fetch", "db"]);
    if !fetched {
        println!("SKIPPED advisories: their database cannot be reached");
        return Ok(());
    }
    command::run(&mut denying(&["--offline", "check", "advisories"]))
}

/// Runs the tests; what they said they skip is shown before the summary, which stays last.
fn with_nextest(nextest: &Path) -> Result<(), Failed> {
    let notes = notes_path();
    let mut command = Command::new(nextest);
    command
        .args(["nextest", "run", "--locked", "--workspace", "--all-targets"])
        .current_dir(command::root())
        .env("INSTA_UPDATE", "no")
        .env("ORLOP_KIT_NOTES", &notes)
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    if std::io::stderr().is_terminal() {
        command.args(["--color", "always"]);
    }
    let words = line(&command);
    println!("$ {words}");
    let mut child = command.spawn().map_err(|cause| format!("{words}: {cause}"))?;
    let mut summary = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        for said in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&said).into_owned();
            if summary.is_empty() && !text.contains("Summary") {
                show(&text);
            } else {
                summary.push(text);
            }
        }
    }
    let status = child.wait().map_err(|cause| format!("{words}: {cause}"))?;
    let said = std::fs::read_to_string(&notes).unwrap_or_default();
    // It is there only if a test wrote it.
    let _removed = std::fs::remove_file(&notes);
    said.lines().for_each(show);
    summary.iter().for_each(|text| show(text));
    if status.success() { Ok(()) } else { Err(format!("{words}: {status}")) }
}

fn show(line: &str) {
    // Where standard error is closed nobody reads.
    let _said = writeln!(std::io::stderr(), "{line}");
}

fn notes_path() -> PathBuf {
    std::env::temp_dir().join(format!("orlop-notes-{}", std::process::id()))
}
