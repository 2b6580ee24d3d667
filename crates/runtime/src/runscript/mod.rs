//! The runscript of an image that came from a registry: which command it would start.
//!
//! Two stored lists and a table (contract.md sections 6.5 and 6.6.8 of the design notes), so that an
//! image without a shell runs. Pure but for the variables that arguments may name.
//!
//! Not here: starting it ([`crate::exec`]); runscripts of another kind, which are executed.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use crate::script::{self, Shell, Unusable};

/// The line by which such a runscript is known, Apptainer's and Orlop's.
const MARK: &[u8] = b"\neval \"set ${SINGULARITY_OCI_RUN}\"\n";

/// ENTRYPOINT and CMD as a runscript stores them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    entrypoint: Vec<Vec<u8>>,
    command: Vec<Vec<u8>>,
}

/// Reads the two lists; nothing when the script is of another kind or holds them in another form.
pub(crate) fn read(text: &[u8]) -> Option<Stored> {
    find(text, MARK)?;
    Some(Stored {
        entrypoint: list(text, b"\nOCI_ENTRYPOINT=")?,
        command: list(text, b"\nOCI_CMD=")?,
    })
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn list(text: &[u8], variable: &[u8]) -> Option<Vec<Vec<u8>>> {
    let at = find(text, variable)? + variable.len();
    let mut shell = Shell::default();
    let word = script::parse_word(text.get(at..)?).ok()?;
    let stored = shell.joined(&word);
    let words = script::parse_words(&stored).ok()?;
    Some(shell.fields(&words))
}

/// An argument that only a shell can evaluate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NeedsShell {
    /// Text to stand between double quotes.
    pub(crate) text: Vec<u8>,
}

/// The command that the script would start, by the table of section 6.5.
///
/// `evaluate` is what happens to each argument: nothing with `--no-eval`, else [`evaluated`] or the
/// image's shell. Both lists empty and no argument: `/bin/sh`.
pub(crate) fn command<E>(
    stored: &Stored,
    arguments: &[OsString],
    mut evaluate: impl FnMut(&OsStr) -> Result<OsString, E>,
) -> Result<Vec<OsString>, E> {
    let own =
        |items: &[Vec<u8>]| items.iter().map(|item| OsString::from_vec(item.clone())).collect();
    let mut command: Vec<OsString> = own(&stored.entrypoint);
    if arguments.is_empty() {
        command.extend::<Vec<OsString>>(own(&stored.command));
    }
    for argument in arguments {
        command.push(evaluate(argument)?);
    }
    if command.is_empty() {
        command.push("/bin/sh".into());
    }
    Ok(command)
}

/// One more evaluation as between double quotes; a double quote in the text is a byte like others.
///
/// # Errors
/// [`NeedsShell`] when a command stands in it.
pub(crate) fn evaluated(text: &OsStr, shell: &mut Shell) -> Result<OsString, NeedsShell> {
    match script::parse_double_quoted(text.as_bytes()) {
        Ok(word) => Ok(OsString::from_vec(shell.joined(&word))),
        Err(Unusable::Broken { .. }) => Ok(text.to_owned()),
        Err(Unusable::NeedsShell { .. }) => Err(NeedsShell { text: quotable(text.as_bytes()) }),
    }
}

/// The text with a backslash before each double quote that has none, for a real shell.
fn quotable(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 8);
    let mut escaped = false;
    for byte in text {
        if *byte == b'"' && !escaped {
            out.push(b'\\');
        }
        out.push(*byte);
        escaped = *byte == b'\\' && !escaped;
    }
    if escaped {
        out.push(b'\\');
    }
    out
}

#[cfg(test)]
mod tests;
