//! `orlop run`: Run the image: its runscript, with arguments.
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
        path: "run",
        arguments: "<container> [args...]",
        about: "Run the image: its runscript, with arguments",
        long_about: "The container is a SIF file, a sandbox directory, or a reference such as docker://HOST/PATH:TAG.",
        count: Count::from(1),
        flags: &[flags::FILES, flags::PROCESS, flags::RUN, flags::REFUSED, access::FLAGS],
        payload: true,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    container::start(Action::Run(container::arguments(options)), options, context)
}
