//! Words: quotes, backslashes and parameters, one byte after another.
//!
//! Not here: what a parameter's value is ([`super::run`]), commands ([`super::parser`]).

use super::{Part, Rule, Unusable, Word};

/// How deep `${…}` may be nested.
const DEPTH: usize = 32;

/// Text and a place in it.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
    depth: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, line: 1, depth: 0 }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// What is not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn second(&self) -> Option<u8> {
        self.text.get(self.at + 1).copied()
    }

    pub(crate) fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        if byte == b'\n' {
            self.line += 1;
        }
        Some(byte)
    }

    pub(crate) const fn needs_shell(&self, what: &'static str) -> Unusable {
        Unusable::NeedsShell { line: self.line, what }
    }

    pub(crate) const fn broken(&self, what: &'static str) -> Unusable {
        Unusable::Broken { line: self.line, what }
    }
}

pub(crate) const fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

pub(crate) const fn continues_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn push(word: &mut Word, byte: u8, quoted: bool) {
    match word.last_mut() {
        Some(Part::Literal { bytes, quoted: same }) if *same == quoted => bytes.push(byte),
        _ => word.push(Part::Literal { bytes: vec![byte], quoted }),
    }
}

/// True where a `~` stands for a home directory: first, or after `=` or `:`.
fn may_be_home(word: &Word) -> bool {
    match word.last() {
        None => true,
        Some(Part::Literal { bytes, quoted: false }) => matches!(bytes.last(), Some(b'=' | b':')),
        Some(_) => false,
    }
}

fn mark_quoted(word: &mut Word) {
    word.push(Part::Literal { bytes: Vec::new(), quoted: true });
}

/// Reads a word up to a blank, an operator or a line's end that is not quoted.
///
/// `in_braces`: a `}` that is not quoted ends it as well, blanks and operators do not.
pub(crate) fn unquoted(cursor: &mut Cursor<'_>, in_braces: bool) -> Result<Word, Unusable> {
    let mut word = Word::new();
    while let Some(byte) = cursor.peek() {
        match byte {
            b'}' if in_braces => break,
            b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' if !in_braces => {
                break;
            }
            b'\'' => {
                cursor.next();
                single_quoted(cursor, &mut word)?;
            }
            b'"' => {
                cursor.next();
                mark_quoted(&mut word);
                double_quoted(cursor, &mut word, Some(b'"'))?;
            }
            b'\\' => {
                cursor.next();
                match cursor.next() {
                    Some(b'\n') => {}
                    Some(byte) => push(&mut word, byte, true),
                    None => push(&mut word, b'\\', true),
                }
            }
            b'$' => {
                cursor.next();
                dollar(cursor, &mut word, false)?;
            }
            b'`' => return Err(cursor.needs_shell("`command`")),
            b'~' if may_be_home(&word) => return Err(cursor.needs_shell("~")),
            byte => {
                cursor.next();
                push(&mut word, byte, false);
            }
        }
    }
    Ok(word)
}

fn single_quoted(cursor: &mut Cursor<'_>, word: &mut Word) -> Result<(), Unusable> {
    mark_quoted(word);
    loop {
        match cursor.next() {
            Some(b'\'') => return Ok(()),
            Some(byte) => push(word, byte, true),
            None => return Err(cursor.broken("a single quote is not closed")),
        }
    }
}

/// Reads what stands between double quotes, up to `end` (consumed); no end: the whole text.
///
/// Within `${…}` (`end` is `}`), further double quotes are taken away and keep a `}` from ending.
pub(crate) fn double_quoted(
    cursor: &mut Cursor<'_>,
    word: &mut Word,
    end: Option<u8>,
) -> Result<(), Unusable> {
    let mut inner = false;
    loop {
        let Some(byte) = cursor.next() else {
            return match end {
                None => Ok(()),
                Some(b'}') => Err(cursor.broken("a brace is not closed")),
                Some(_) => Err(cursor.broken("a double quote is not closed")),
            };
        };
        match byte {
            b'"' if end == Some(b'}') => inner = !inner,
            byte if Some(byte) == end && !inner => return Ok(()),
            b'\\' => match cursor.peek() {
                Some(b'\n') => drop(cursor.next()),
                Some(next @ (b'$' | b'`' | b'"' | b'\\')) => {
                    cursor.next();
                    push(word, next, true);
                }
                Some(b'}') if end == Some(b'}') => {
                    cursor.next();
                    push(word, b'}', true);
                }
                _ => push(word, b'\\', true),
            },
            b'`' => return Err(cursor.needs_shell("`command`")),
            b'$' => dollar(cursor, word, true)?,
            byte => push(word, byte, true),
        }
    }
}

/// Reads what follows a `$`.
fn dollar(cursor: &mut Cursor<'_>, word: &mut Word, quoted: bool) -> Result<(), Unusable> {
    match cursor.peek() {
        Some(b'{') => {
            cursor.next();
            braces(cursor, word, quoted)
        }
        Some(b'(') => Err(cursor.needs_shell("$(command)")),
        Some(b'\'') if !quoted => {
            cursor.next();
            ansi_quoted(cursor, word)
        }
        Some(byte) if starts_name(byte) => {
            let name = name(cursor);
            word.push(Part::Parameter { name, rule: Rule::Value, quoted });
            Ok(())
        }
        Some(byte @ (b'0'..=b'9' | b'#' | b'@' | b'*')) => {
            // No arguments here: nothing, and a count of nothing.
            cursor.next();
            match byte {
                b'0' => return Err(cursor.needs_shell("$0")),
                b'#' => push(word, b'0', quoted),
                _ => {}
            }
            Ok(())
        }
        Some(b'?' | b'$' | b'!' | b'-') => Err(cursor.needs_shell("a special parameter")),
        _ => {
            push(word, b'$', quoted);
            Ok(())
        }
    }
}

fn name(cursor: &mut Cursor<'_>) -> Vec<u8> {
    let mut name = Vec::new();
    while let Some(byte) = cursor.peek().filter(|byte| continues_name(*byte)) {
        name.push(byte);
        cursor.next();
    }
    name
}

/// Reads `${…}` after its brace.
fn braces(cursor: &mut Cursor<'_>, word: &mut Word, quoted: bool) -> Result<(), Unusable> {
    let length = cursor.peek() == Some(b'#') && cursor.second().is_some_and(starts_name);
    if length {
        cursor.next();
    }
    if !cursor.peek().is_some_and(starts_name) {
        return Err(cursor.needs_shell("this form of ${…}"));
    }
    let name = name(cursor);
    let rule = match (length, cursor.next()) {
        (true, Some(b'}')) => Rule::Length,
        (false, Some(b'}')) => Rule::Value,
        (false, Some(b':')) => {
            let operator = cursor.next();
            operation(cursor, operator, true, quoted)?
        }
        (false, operator @ Some(b'-' | b'=' | b'+')) => operation(cursor, operator, false, quoted)?,
        (_, None) => return Err(cursor.broken("a brace is not closed")),
        _ => return Err(cursor.needs_shell("this form of ${…}")),
    };
    word.push(Part::Parameter { name, rule, quoted });
    Ok(())
}

fn operation(
    cursor: &mut Cursor<'_>,
    operator: Option<u8>,
    empty: bool,
    quoted: bool,
) -> Result<Rule, Unusable> {
    if !matches!(operator, Some(b'-' | b'=' | b'+')) {
        return Err(cursor.needs_shell("this form of ${…}"));
    }
    if cursor.depth > DEPTH {
        return Err(cursor.needs_shell("such nesting"));
    }
    cursor.depth += 1;
    let word = if quoted {
        let mut word = Word::new();
        double_quoted(cursor, &mut word, Some(b'}'))?;
        word
    } else {
        let word = unquoted(cursor, true)?;
        if cursor.next() != Some(b'}') {
            return Err(cursor.broken("a brace is not closed"));
        }
        word
    };
    cursor.depth -= 1;
    Ok(match operator {
        Some(b'-') => Rule::Default { empty, word },
        Some(b'=') => Rule::Assign { empty, word },
        _ => Rule::Alternative { empty, word },
    })
}

/// Reads `$'…'` after its quote, as shells write it when they list variables.
fn ansi_quoted(cursor: &mut Cursor<'_>, word: &mut Word) -> Result<(), Unusable> {
    mark_quoted(word);
    loop {
        match cursor.next() {
            Some(b'\'') => return Ok(()),
            Some(b'\\') => match cursor.next() {
                Some(b'n') => push(word, b'\n', true),
                Some(b't') => push(word, b'\t', true),
                Some(b'r') => push(word, b'\r', true),
                Some(b'a') => push(word, 7, true),
                Some(b'b') => push(word, 8, true),
                Some(b'e' | b'E') => push(word, 27, true),
                Some(b'f') => push(word, 12, true),
                Some(b'v') => push(word, 11, true),
                Some(digit @ b'0'..=b'7') => {
                    let mut value = u32::from(digit - b'0');
                    for _ in 0..2 {
                        let Some(digit @ b'0'..=b'7') = cursor.peek() else { break };
                        cursor.next();
                        value = value * 8 + u32::from(digit - b'0');
                    }
                    push(word, u8::try_from(value & 0xff).unwrap_or_default(), true);
                }
                Some(byte @ (b'\\' | b'\'' | b'"' | b'?')) => push(word, byte, true),
                Some(_) => return Err(cursor.needs_shell("this escape in $'…'")),
                None => return Err(cursor.broken("a single quote is not closed")),
            },
            Some(byte) => push(word, byte, true),
            None => return Err(cursor.broken("a single quote is not closed")),
        }
    }
}
