//! `orlop shell`: Run a shell in the image.
//!
//! Not here: everything that it takes ([`crate::container`]).

use std::ffi::OsString;

use orlop_runtime::Action;

use crate::access;
use crate::commands::Command;
use crate::container::{self, flags};
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Spec};
use crate::options::Options;

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "shell",
        arguments: "<container>",
        about: "Run a shell in the image",
        long_about: "The container is a SIF file, a sandbox directory, or a reference such as docker://HOST/PATH:TAG.",
        count: Count::from(1),
        flags: &[flags::FILES, flags::PROCESS, flags::SHELL, flags::REFUSED, access::FLAGS],
        payload: true,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    if options.arguments().len() > 1 {
        context.output.warning("Parameters to shell command are ignored");
    }
    let program = options.value("shell").map(OsString::from);
    container::start(Action::Shell(program), options, context)
}
