//! Programs of the machine that some tests compare with.
//!
//! A test that needs one which is not there says so in one line and ends: the runner's output
//! names what was not checked. Not here: installing them (`xtask`).

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where programs are looked for besides `PATH`'s own places.
const PLACES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The program's path, if the machine has it.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    PLACES.iter().map(|place| Path::new(place).join(program)).find(|path| {
        path.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}

/// The paths of all the programs, or one line about the first missing one.
#[must_use]
pub fn all<const N: usize>(programs: [&str; N]) -> Option<[PathBuf; N]> {
    let mut paths = Vec::new();
    for program in programs {
        match find(program) {
            Some(path) => paths.push(path),
            None => {
                skip(&format!("{program} is not installed"));
                return None;
            }
        }
    }
    paths.try_into().ok()
}

/// How many rounds a loop of chances makes: `few` in a normal run, what `ORLOP_KIT_ROUNDS` says in
/// a long one.
#[must_use]
pub fn rounds(few: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the runner talks to tests by variables")]
    let asked = std::env::var("ORLOP_KIT_ROUNDS");
    asked.ok().and_then(|asked| asked.parse().ok()).unwrap_or(few)
}

/// The part of a long loop's positions that `ORLOP_KIT_PART` names: for `3/100` every hundredth from
/// the third on, so that each part is spread over all of them; else all.
///
/// # Panics
/// When the variable is no such fraction: a loop that goes over nothing would look well.
#[must_use]
pub fn part<T>(all: Vec<T>) -> Vec<T> {
    #[expect(clippy::disallowed_methods, reason = "the runner talks to tests by variables")]
    let Ok(asked) = std::env::var("ORLOP_KIT_PART") else { return all };
    let (number, parts) = fraction(&asked)
        .unwrap_or_else(|| panic!("ORLOP_KIT_PART is {asked:?}, and has to be as 3/100"));
    all.into_iter().skip(number - 1).step_by(parts).collect()
}

fn fraction(text: &str) -> Option<(usize, usize)> {
    let (number, parts) = text.split_once('/')?;
    let (number, parts) = (number.parse().ok()?, parts.parse().ok()?);
    (1..=parts).contains(&number).then_some((number, parts))
}

/// `small` in a normal run, `large` where `ORLOP_KIT_LARGE` is set: sizes that take minutes and
/// gigabytes.
#[must_use]
pub fn sized(small: u64, large: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the runner talks to tests by variables")]
    let is_large = std::env::var_os("ORLOP_KIT_LARGE").is_some();
    if is_large { large } else { small }
}

/// Says that the calling test does not check anything here, and why.
pub fn skip(why: &str) {
    let thread = std::thread::current();
    note(&format!("SKIPPED {}: {why}", thread.name().unwrap_or("test")));
}

/// Says what a test has measured.
pub fn say(what: &str) {
    let thread = std::thread::current();
    note(&format!("MEASURED {}: {what}", thread.name().unwrap_or("test")));
}

/// Writes a line to standard error, past the capture of a test's own output, and to the file
/// `ORLOP_KIT_NOTES` from which `cargo xtask test` tells it at the end.
pub fn note(line: &str) {
    use std::io::Write as _;
    #[expect(clippy::disallowed_methods, reason = "the runner talks to tests by variables")]
    let notes = std::env::var_os("ORLOP_KIT_NOTES");
    let notes =
        notes.and_then(|at| std::fs::File::options().append(true).create(true).open(at).ok());
    if let Some(mut notes) = notes {
        // One write, so that the lines of several tests do not mix.
        let _noted = notes.write_all(format!("{line}\n").as_bytes());
    }
    // Where standard error is closed nobody reads.
    let _said = writeln!(std::io::stderr(), "{line}");
}

/// Whether an unprivileged user can make user namespaces here: tried, not guessed.
#[must_use]
pub fn user_namespaces() -> bool {
    let unshare = Command::new("unshare").args(["--user", "--map-root-user", "true"]).output();
    unshare.is_ok_and(|done| done.status.success())
}

/// Runs a program to its end and returns what it printed.
///
/// # Panics
/// When it cannot be started or ends otherwise than well; the message holds what it said.
pub fn output(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|cause| panic!("{command:?}: {cause}"));
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{command:?}: {}\n{said}", done.status);
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[cfg(test)]
mod tests {
    use super::fraction;

    #[test]
    fn a_part_is_a_fraction_of_at_most_one() {
        assert_eq!(fraction("3/100"), Some((3, 100)));
        assert_eq!(fraction("1/1"), Some((1, 1)));
        for wrong in ["", "3", "0/4", "5/4", "a/b", "1/0", "-1/2", "1/2/3"] {
            assert_eq!(fraction(wrong), None, "{wrong:?}");
        }
    }
}
