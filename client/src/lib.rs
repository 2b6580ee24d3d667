//! `orlop`: the light client.
//!
//! Parses a command line (`invocation`, `options`), asks the daemon (`connection`) and writes
//! words (`output`, `words`). Output files and containers are the client's own; HTTP and the
//! cache are the daemon's.
//!
//! Not here: the daemon (`orlop-daemon`); namespaces and mounts (`orlop-runtime`).

mod access;
mod commands;
mod connection;
mod container;
mod context;
mod credential_helper;
mod description;
mod destination;
mod failure;
mod flags;
mod guard;
mod interrupt;
mod invocation;
mod metadata;
mod options;
mod output;
mod panics;
mod progress;
mod prompt;
mod pulling;
mod startup;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use orlop_config::env::Environment;

use crate::context::Context;
use crate::output::{Level, Output};

/// Runs one command: `arguments` with the program's name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if credential_helper::is_called(arguments.first()) {
        return credential_helper(arguments);
    }
    // Before any thread: this process may be meant to be a mount holder.
    if let Some(exit) = orlop_runtime::holder::maybe_holder_main(arguments.iter().skip(1).cloned())
    {
        return exit;
    }
    if has_foreign_rights() {
        let mut output = Output::new(output::DEFAULT_LEVEL, true);
        output.message(Level::Fatal, "orlop must not be setuid or setgid: remove the mode bit");
        return ExitCode::from(255);
    }
    let environment = Environment::from_process();
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    let exit = match invocation::parse(arguments, &environment) {
        Ok(invocation) => {
            let output = Output::new(invocation.level, invocation.no_colour);
            let mut context = Context::new(environment, invocation.face, output, now);
            panics::told(|| commands::dispatch(invocation, &mut context))
        }
        Err((face, words)) => {
            let program = invocation::program(face);
            Output::new(output::DEFAULT_LEVEL, true).complaint(&format!(
                "Error for command \"{program}\": {words}\n\n\
                 Run '{program} --help' for more detailed usage information.\n"
            ));
            1
        }
    };
    ExitCode::from(exit)
}

/// Answers another program's question for a login: `arguments` with the program's name first.
pub fn credential_helper(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = arguments.into_iter().skip(1).collect();
    ExitCode::from(credential_helper::main(&words, &Environment::from_process()))
}

/// Whether the program runs with rights that its caller does not have: then the caller's
/// environment must decide nothing.
fn has_foreign_rights() -> bool {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    getuid() != geteuid() || getgid() != getegid()
}
