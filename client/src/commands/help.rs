//! `orlop help`, and what is printed where no command is named.

use std::ffi::OsString;

use crate::commands::{ALL, Command, alias, find, is_group};
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Spec};
use crate::invocation::program;
use crate::options::{self, Options};

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "help",
        arguments: "[command]",
        about: "Show help for a command",
        long_about: "",
        count: Count::from(0),
        flags: &[],
        payload: true,
    },
    run,
};

const GLOBAL: &str = "\
Global options:
  -d, --debug        Show debug messages
  -v, --verbose      Show more messages
  -q, --quiet        Show warnings and errors only, no progress
  -s, --silent       Show errors only
      --nocolor      Do not colour messages
  -c, --config FILE  Use this configuration file
      --version      Show the version
  -h, --help         Show help
";

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let words = options.arguments().to_vec();
    Ok(print(context, &words))
}

/// Prints help on the command or group that the words name, or on everything.
pub(crate) fn print(context: &mut Context, words: &[OsString]) -> u8 {
    let program = program(context.face);
    if let Some((command, _)) = find(words) {
        let help = options::shown(command.spec, program).render_long_help().to_string();
        context.output.text(&help);
        return 0;
    }
    let group = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    let group = alias(&group);
    let is_listed = |command: &&Command| {
        !is_group(group) || command.spec.path.starts_with(&format!("{group} "))
    };
    let listed: Vec<&Command> = ALL.iter().filter(is_listed).collect();
    let width = listed.iter().map(|command| command.spec.path.len()).max().unwrap_or_default();
    let mut text = if is_group(group) {
        format!("Usage: {program} [global options...] {group} <command>\n\nCommands:\n")
    } else {
        format!(
            "OCI images as SIF files: pull, push and run them without root\n\n\
             Usage: {program} [global options...] <command> [options...] [arguments...]\n\nCommands:\n"
        )
    };
    for command in listed {
        text.push_str(&format!("  {:width$}  {}\n", command.spec.path, command.spec.about));
    }
    text.push('\n');
    text.push_str(GLOBAL);
    text.push_str(&format!("\nRun '{program} help COMMAND' for the options of a command.\n"));
    context.output.text(&text);
    0
}
