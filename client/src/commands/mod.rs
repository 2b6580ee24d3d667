//! The commands: one file each, which parses, calls and prints.
//!
//! Not here: flags as tables ([`crate::flags`]); what a command does beyond that: the crates.

mod build;
mod cache;
mod daemon;
pub(crate) mod exec;
mod help;
mod inspect;
mod metrics;
pub(crate) mod pull;
mod push;
mod registry;
mod resolve;
mod run;
mod shell;
mod status;
mod tags;
mod test;
mod unsupported;
mod version;

use std::ffi::OsString;

use orlop_oci::{ImageUri, Transport};
use orlop_proto::v1::Kind;

use crate::context::Context;
use crate::failure::Failure;
use crate::flags::Spec;
use crate::invocation::{Invocation, program};
use crate::options::{self, Options, Unusable};
use crate::output::Level;

/// A command: its table and what it does. The number is the exit status.
pub(crate) struct Command {
    pub(crate) spec: &'static Spec,
    pub(crate) run: fn(&Options, &mut Context) -> Result<u8, Failure>,
}

/// All commands, in the order of help.
pub(crate) const ALL: &[Command] = &[
    run::COMMAND,
    exec::COMMAND,
    shell::COMMAND,
    test::COMMAND,
    pull::COMMAND,
    push::COMMAND,
    tags::COMMAND,
    resolve::COMMAND,
    inspect::COMMAND,
    build::COMMAND,
    registry::login::COMMAND,
    registry::logout::COMMAND,
    registry::list::COMMAND,
    registry::explain::COMMAND,
    cache::list::COMMAND,
    cache::usage::COMMAND,
    cache::clean::COMMAND,
    cache::verify::COMMAND,
    cache::pin::PIN,
    cache::pin::UNPIN,
    status::COMMAND,
    metrics::COMMAND,
    daemon::STOP,
    version::COMMAND,
    help::COMMAND,
];

/// The first argument, which has to name something at a registry.
///
/// # Errors
/// REFERENCE_INVALID, UNSUPPORTED.
fn registry_uri(options: &Options) -> Result<String, Failure> {
    let text = options.argument(0);
    match ImageUri::parse(&text).map_err(|error| pull::uri_failure(&error))? {
        ImageUri::Docker(_) | ImageUri::Oras(_) => Ok(text),
        ImageUri::Path(_) => {
            let text = crate::access::shown(&text);
            Err(Failure::new(Kind::ReferenceInvalid, format!("{text} names no transport"))
                .hint(format!("for an image of a registry, type docker://{text}")))
        }
        other => {
            let transport = other.transport().map(Transport::name).unwrap_or_default();
            let message = format!("{transport}: names nothing at a registry");
            Err(Failure::new(Kind::Unsupported, message).hint("use docker:// or oras://"))
        }
    }
}

/// Exit status of a wrong command line.
const USAGE: u8 = 1;

/// Runs the command that the words name; prints what goes wrong; returns the exit status.
pub(crate) fn dispatch(invocation: Invocation, context: &mut Context) -> u8 {
    let program = program(invocation.face);
    if invocation.version {
        return version::print(context);
    }
    let mut words = invocation.words;
    if words.is_empty() || invocation.help {
        return help::print(context, &words);
    }
    let Some((command, count)) = find(&words) else {
        return unknown(&words, program, context);
    };
    let rest = words.split_off(count);
    let outcome = Options::parse(command.spec, rest).map(|mut options| {
        options.add_environment(command.spec, &context.environment, &mut context.output)?;
        options.judge(command.spec, &mut context.output)?;
        (command.run)(&options, context)
    });
    match outcome {
        Ok(Ok(exit)) => exit,
        Ok(Err(failure)) => tell(&failure, context),
        Err(unusable) => complain(command.spec, unusable, program, context),
    }
}

/// Says what could not be done and what helps.
fn tell(failure: &Failure, context: &mut Context) -> u8 {
    if !failure.is_silent() {
        context.output.message(Level::Fatal, &failure.text());
        for hint in failure.hints() {
            context.output.info(&hint);
        }
    }
    failure.exit()
}

/// The command that the first one or two words name, and how many they are.
fn find(words: &[OsString]) -> Option<(&'static Command, usize)> {
    let word = |index: usize| words.get(index).and_then(|word| word.to_str()).unwrap_or_default();
    let path = format!("{} {}", alias(word(0)), word(1));
    let is_named = |command: &&Command| command.spec.path == path;
    if let Some(command) = ALL.iter().find(is_named) {
        return Some((command, 2));
    }
    ALL.iter().find(|command| command.spec.path == alias(word(0))).map(|command| (command, 1))
}

fn alias(word: &str) -> &str {
    match word {
        "siftool" => "sif",
        "keys" => "key",
        other => other,
    }
}

/// True when commands below this word exist.
fn is_group(word: &str) -> bool {
    ALL.iter()
        .any(|command| command.spec.path.split_once(' ').is_some_and(|(group, _)| group == word))
}

fn unknown(words: &[OsString], program: &str, context: &mut Context) -> u8 {
    let word = |index: usize| {
        words.get(index).map(|word| word.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let (first, second) = (word(0), word(1));
    if is_group(alias(&first)) && second == "help" {
        let mut asked = words.to_vec();
        asked.remove(1);
        return help::print(context, &asked);
    }
    if let Some(failure) = unsupported::refusal(alias(&first), &second) {
        return tell(&failure, context);
    }
    if is_group(alias(&first)) {
        if second.is_empty() || second == "--help" || second == "-h" {
            return help::print(context, words);
        }
        context.output.complaint(&format!(
            "Error for command \"{first}\": unknown command \"{second}\" for \"{program} {first}\"\n\n\
             Run '{program} help {first}' for more detailed usage information.\n"
        ));
        return USAGE;
    }
    context.output.complaint(&format!(
        "Error: unknown command \"{first}\" for \"{program}\"\n\n\
         Run '{program} --help' for more detailed usage information.\n"
    ));
    USAGE
}

fn complain(
    spec: &'static Spec,
    unusable: Unusable,
    program: &'static str,
    context: &mut Context,
) -> u8 {
    match unusable {
        Unusable::Help => {
            let help = options::shown(spec, program).render_long_help().to_string();
            context.output.text(&help);
            0
        }
        Unusable::Flag(words) => {
            let help = options::shown(spec, program).render_help().to_string();
            let flags = help.split_once("Options:").map_or("", |(_, flags)| flags);
            context.output.complaint(&format!(
                "Error for command \"{name}\": {words}\n\nOptions for {name} command:{flags}\n\
                 Run '{program} --help' for more detailed usage information.\n",
                name = spec.name(),
            ));
            USAGE
        }
        Unusable::Count(words) => {
            context.output.complaint(&format!(
                "Error for command \"{}\": {words}\n\nUsage:\n  {}\n\n\
                 Run '{program} --help' for more detailed usage information.\n",
                spec.name(),
                options::usage(spec, program),
            ));
            USAGE
        }
    }
}
