//! A site's user, processes and failure texts, with programs of the system.

use super::{Programs, Site};
use std::path::Path;

/// A world whose programs are never started.
fn site() -> Site {
    let shell = Path::new("/bin/sh");
    Site::new(&Programs::new(shell, shell))
}

#[test]
fn a_command_runs_as_an_ordinary_user_in_its_own_home() {
    let site = site();
    let told = site.program(Path::new("/bin/sh"), ["-c", "id -u; echo ~; pwd; touch ~/made"]);
    let outcome = told.outcome().success();
    let home = site.home();
    let wanted = format!("{}\n{}\n{}\n", site.person().uid, home.display(), site.work().display());
    assert_eq!(outcome.stdout, wanted);
    assert!(!site.person().is_root() && home.join("made").exists());
}

#[test]
fn what_a_command_leaves_behind_ends_with_the_site() {
    let site = site();
    let root = site.root().to_owned();
    let leaving = "(exec sleep 1000) >/dev/null 2>&1 & echo $!";
    let outcome = site.program(Path::new("/bin/sh"), ["-c", leaving]).outcome().success();
    let pid: u32 = outcome.stdout.trim().parse().unwrap();
    assert_eq!(site.processes(), [pid]);
    drop(site);
    assert!(super::naming(&root).is_empty() && !root.exists());
}

#[test]
#[should_panic(
    expected = "status 0 was expected\n$ sh -c echo why >&2; exit 3\nstatus 3\n--- stderr\nwhy\n"
)]
fn a_check_that_fails_shows_what_was_said() {
    let command = ["-c", "echo why >&2; exit 3"];
    let site = site();
    let outcome = site.program(Path::new("/bin/sh"), command).outcome();
    drop(site);
    outcome.success();
}
