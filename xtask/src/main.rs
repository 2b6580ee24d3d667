//! Chores of the project: `cargo xtask test`, `cargo xtask demo`, `cargo xtask bench`.
//!
//! Few dependencies, so that it starts soon. What tests, demo and measurements need of registries
//! and images is the kit's, called as a program (`tests/kit/src/bin/orlop-kit.rs`).
#![expect(clippy::print_stdout, reason = "a chore talks to the person who started it")]
#![expect(clippy::disallowed_methods, reason = "cargo and the person talk to it by variables")]

mod bench;
mod command;
mod demo;
mod members;
mod packages;
mod served;
mod table;
mod test;
mod tools;

use std::process::ExitCode;

/// A chore that could not be done, in words for the person who started it.
type Failed = String;

const HELP: &str = "\
Usage: cargo xtask <CHORE>

  test                 Check and test everything
      --no-install     Install nothing; what is missing is skipped by name
  demo                 Log in, pull, run, push and pull back against a registry of its own
  bench                Measure beside the machine's limits and the peers that are there
      --help           What it measures, and all flags
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.split_first() {
        Some((&"test", rest)) => test::run(rest),
        Some((&"demo", [])) => demo::run(),
        Some((&"bench", rest)) => bench::run(rest),
        Some((&("help" | "--help" | "-h"), _)) | None => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some(_) => Err(format!("unknown words: {}\n\n{HELP}", words.join(" "))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprint_line(&failed);
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard error; where it is closed nobody reads.
fn eprint_line(line: &str) {
    use std::io::Write as _;
    let _said = writeln!(std::io::stderr(), "xtask: {line}");
}
