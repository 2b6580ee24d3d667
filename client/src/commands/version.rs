//! `orlop version` and `--version`: without a daemon, in the words of the name it was called by.

use orlop_config::Face;

use crate::commands::Command;
use crate::connection::VERSION;
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Flag, Spec};
use crate::options::Options;

/// The Apptainer whose behaviour is offered.
pub(crate) const APPTAINER: &str = "1.4.5";

const FLAGS: &[Flag] = &[Flag::switch("json", "print both versions as JSON").short('j')];

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "version",
        arguments: "",
        about: "Show the version",
        long_about: "",
        count: Count::exactly(0),
        flags: &[FLAGS],
        payload: false,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    if options.is_on("json") {
        context.output.json(&serde_json::json!({ "orlop": VERSION, "apptainer": APPTAINER }));
        return Ok(0);
    }
    let version = match context.face {
        Face::Orlop => VERSION,
        Face::Apptainer => APPTAINER,
    };
    context.output.line(version);
    Ok(0)
}

/// What `--version` prints.
pub(crate) fn print(context: &mut Context) -> u8 {
    let line = match context.face {
        Face::Orlop => format!("orlop version {VERSION}"),
        Face::Apptainer => format!("apptainer version {APPTAINER}"),
    };
    context.output.line(&line);
    0
}
