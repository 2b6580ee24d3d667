//! Shell code without a shell: the part of POSIX sh that environment files are made of.
//!
//! Comments, assignments, `export`, `unset`, `test`, `if`, `for`, `.`, quotes and `${NAME:-word}`:
//! what Orlop, Apptainer and most people write into `.singularity.d/env/*.sh`. Code is parsed as a
//! whole before any of it runs; what is not of this part is [`Unusable`] and the caller's image has
//! a shell for it, or not. Grammar: POSIX.1-2017 Shell Command Language, sections 2.2 to 2.10.
//!
//! Not here: which files run in which order ([`crate::inside`]), the real shell ([`crate::shell`]).

mod conditions;
mod parser;
mod run;
mod word;

#[cfg(test)]
mod tests;

pub(crate) use parser::{parse, parse_double_quoted, parse_exports, parse_word, parse_words};
pub(crate) use run::{Files, NoFiles, Shell, Stop};

/// Why code cannot be taken without a shell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    /// It is more than the part that is known here.
    #[error("line {line}: {what} needs a shell")]
    NeedsShell {
        /// From 1.
        line: usize,
        /// The construct.
        what: &'static str,
    },
    /// It is not shell code at all.
    #[error("line {line}: {what}")]
    Broken {
        /// From 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Bytes as they are. `quoted`: a quote or backslash kept them together.
    Literal { bytes: Vec<u8>, quoted: bool },
    /// `$NAME` or `${NAME…}`.
    Parameter { name: Vec<u8>, rule: Rule, quoted: bool },
}

/// What `${NAME…}` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The value.
    Value,
    /// The value's length.
    Length,
    /// `-`: the word when unset; `:-` also when empty.
    Default { empty: bool, word: Word },
    /// `=` and `:=`: as before, and the variable is set.
    Assign { empty: bool, word: Word },
    /// `+` and `:+`: the word when set.
    Alternative { empty: bool, word: Word },
}

/// A word: its parts in order.
pub(crate) type Word = Vec<Part>;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Assignments, then words; either may be missing, not both.
    Simple { assignments: Vec<(Vec<u8>, Word)>, words: Vec<Word> },
    /// `if`, and each `elif`: condition and what follows; then what `else` says.
    If { branches: Vec<(Vec<Command>, Vec<Command>)>, otherwise: Vec<Command> },
    /// `for name in words`.
    For { name: Vec<u8>, words: Vec<Word>, body: Vec<Command> },
    /// `{ …; }`
    Group(Vec<Command>),
    /// `left && right`
    And(Box<Command>, Box<Command>),
    /// `left || right`
    Or(Box<Command>, Box<Command>),
    /// `! command`
    Not(Box<Command>),
}
