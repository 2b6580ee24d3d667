//! `orlop exec`: Run a program in the image.
//!
//! Not here: everything that it takes ([`crate::container`]).

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
        path: "exec",
        arguments: "<container> <command> [args...]",
        about: "Run a program in the image",
        long_about: "The container is a SIF file, a sandbox directory, or a reference such as docker://HOST/PATH:TAG.",
        count: Count::from(2),
        flags: &[flags::FILES, flags::PROCESS, flags::REFUSED, access::FLAGS],
        payload: true,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    container::start(Action::Exec(container::arguments(options)), options, context)
}
