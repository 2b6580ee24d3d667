//! Commands: from text to [`Command`]s.
//!
//! Not here: quotes and parameters ([`super::word`]); running ([`super::run`]).

use super::word::{Cursor, continues_name, double_quoted, starts_name, unquoted};
use super::{Command, Part, Unusable, Word};

/// How deep commands may be nested.
const DEPTH: usize = 32;

/// How many commands `&&` and `||` may chain.
const CHAIN: usize = 64;

/// Words that begin or end a compound command where a command may begin.
const RESERVED: [&[u8]; 18] = [
    b"if",
    b"then",
    b"elif",
    b"else",
    b"fi",
    b"for",
    b"do",
    b"done",
    b"{",
    b"}",
    b"!",
    b"while",
    b"until",
    b"case",
    b"esac",
    b"in",
    b"function",
    b"[[",
];

/// Builtins that are known; anything else is a program and needs a shell.
const BUILTINS: [&[u8]; 13] = [
    b":",
    b"true",
    b"false",
    b"export",
    b"unset",
    b"test",
    b"[",
    b".",
    b"source",
    b"exit",
    b"echo",
    b"declare",
    b"readonly",
];

/// Parses a whole text.
///
/// # Errors
/// [`Unusable`] at the first construct that is not known here.
pub(crate) fn parse(text: &[u8]) -> Result<Vec<Command>, Unusable> {
    let mut parser = Parser { cursor: Cursor::new(text), depth: 0 };
    let commands = parser.list(&[])?;
    match parser.cursor.peek() {
        None => Ok(commands),
        Some(_) => Err(parser.cursor.broken("unexpected word")),
    }
}

/// Parses a file of `export` lines whose quoting may be broken (Apptainer 1.4.5 put two backslashes
/// before a quote): as a whole when that gives a command for each line, else line by line.
pub(crate) fn parse_exports(text: &[u8]) -> Vec<Command> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"export "));
    let suspicious = text.windows(3).any(|window| window == br#"\\""#);
    match parse(text) {
        Ok(commands) if !suspicious || commands.len() == lines.count() => commands,
        _ => parse_lines(text),
    }
}

/// Parses a text line by line and keeps what parses.
///
/// A piece begins at each line that begins with `export `, because values may hold newlines.
fn parse_lines(text: &[u8]) -> Vec<Command> {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match pieces.last_mut() {
            Some(piece) if !line.starts_with(b"export ") => piece.extend_from_slice(line),
            _ => pieces.push(line.to_vec()),
        }
    }
    pieces.iter().filter_map(|piece| parse(piece).ok()).flatten().collect()
}

/// Parses a text as if it stood between double quotes; a double quote in it is an ordinary byte.
///
/// # Errors
/// [`Unusable`] when a command stands in it.
pub(crate) fn parse_double_quoted(text: &[u8]) -> Result<Word, Unusable> {
    let mut word = vec![Part::Literal { bytes: Vec::new(), quoted: true }];
    double_quoted(&mut Cursor::new(text), &mut word, None)?;
    Ok(word)
}

/// Parses words separated by blanks: the arguments of `set` in a runscript.
///
/// # Errors
/// [`Unusable`].
pub(crate) fn parse_words(text: &[u8]) -> Result<Vec<Word>, Unusable> {
    let mut parser = Parser { cursor: Cursor::new(text), depth: 0 };
    let words = parser.words()?;
    match parser.cursor.peek() {
        None => Ok(words),
        Some(_) => Err(parser.cursor.broken("unexpected word")),
    }
}

/// Parses the one word that a text begins with.
///
/// # Errors
/// [`Unusable`].
pub(crate) fn parse_word(text: &[u8]) -> Result<Word, Unusable> {
    unquoted(&mut Cursor::new(text), false)
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    depth: usize,
}

impl Parser<'_> {
    /// Blanks, line continuations and comments.
    fn skip_blanks(&mut self) {
        loop {
            match (self.cursor.peek(), self.cursor.second()) {
                (Some(b' ' | b'\t'), _) => drop(self.cursor.next()),
                (Some(b'\\'), Some(b'\n')) => {
                    self.cursor.next();
                    self.cursor.next();
                }
                (Some(b'#'), _) => {
                    while self.cursor.peek().is_some_and(|byte| byte != b'\n') {
                        self.cursor.next();
                    }
                }
                _ => return,
            }
        }
    }

    fn skip_lines(&mut self) {
        loop {
            self.skip_blanks();
            match self.cursor.peek() {
                Some(b'\n' | b'\r') => drop(self.cursor.next()),
                _ => return,
            }
        }
    }

    /// The reserved word that stands here, without taking it.
    fn reserved(&mut self) -> Option<&'static [u8]> {
        self.skip_blanks();
        RESERVED.iter().copied().find(|word| self.stands(word))
    }

    fn stands(&self, word: &[u8]) -> bool {
        let rest = self.cursor.rest();
        rest.starts_with(word)
            && rest.get(word.len()).is_none_or(|byte| {
                matches!(
                    byte,
                    b' ' | b'\t' | b'\n' | b'\r' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')'
                )
            })
    }

    fn take(&mut self, word: &[u8]) -> Result<(), Unusable> {
        self.skip_lines();
        if !self.stands(word) {
            return Err(self.cursor.broken("a compound command is not closed"));
        }
        for _ in word {
            self.cursor.next();
        }
        Ok(())
    }

    /// Commands up to one of the reserved words or the end.
    fn list(&mut self, ends: &[&[u8]]) -> Result<Vec<Command>, Unusable> {
        if self.depth > DEPTH {
            return Err(self.cursor.needs_shell("such nesting"));
        }
        self.depth += 1;
        let mut commands = Vec::new();
        loop {
            self.skip_lines();
            if self.cursor.peek().is_none()
                || self.reserved().is_some_and(|word| ends.contains(&word))
            {
                break;
            }
            commands.push(self.and_or()?);
            self.skip_blanks();
            match self.cursor.peek() {
                Some(b';') if self.cursor.second() != Some(b';') => drop(self.cursor.next()),
                Some(b'\n' | b'\r') | None => {}
                Some(b'|' | b'&' | b'<' | b'>' | b'(') => {
                    return Err(self.cursor.needs_shell("a pipe, redirection or function"));
                }
                Some(_) if self.reserved().is_some_and(|word| ends.contains(&word)) => {}
                Some(_) => return Err(self.cursor.broken("unexpected word")),
            }
        }
        self.depth -= 1;
        Ok(commands)
    }

    fn and_or(&mut self) -> Result<Command, Unusable> {
        let mut left = self.command()?;
        for _ in 0..CHAIN {
            self.skip_blanks();
            let operator = match (self.cursor.peek(), self.cursor.second()) {
                (Some(b'&'), Some(b'&')) => b'&',
                (Some(b'|'), Some(b'|')) => b'|',
                _ => return Ok(left),
            };
            self.cursor.next();
            self.cursor.next();
            self.skip_lines();
            let right = Box::new(self.command()?);
            left = match operator {
                b'&' => Command::And(Box::new(left), right),
                _ => Command::Or(Box::new(left), right),
            };
        }
        Err(self.cursor.needs_shell("such a chain"))
    }

    fn command(&mut self) -> Result<Command, Unusable> {
        match self.reserved() {
            None => self.simple(),
            Some(b"!") => {
                self.take(b"!")?;
                self.skip_blanks();
                if self.reserved() == Some(b"!") {
                    return Err(self.cursor.needs_shell("! !"));
                }
                Ok(Command::Not(Box::new(self.command()?)))
            }
            Some(b"{") => {
                self.take(b"{")?;
                let commands = self.list(&[b"}"])?;
                self.take(b"}")?;
                Ok(Command::Group(commands))
            }
            Some(b"if") => self.conditional(),
            Some(b"for") => self.loop_over(),
            Some(b"while" | b"until" | b"case" | b"function" | b"[[") => {
                Err(self.cursor.needs_shell("this command"))
            }
            Some(_) => Err(self.cursor.broken("a word out of place")),
        }
    }

    fn conditional(&mut self) -> Result<Command, Unusable> {
        let mut branches = Vec::new();
        let mut otherwise = Vec::new();
        self.take(b"if")?;
        loop {
            let condition = self.list(&[b"then"])?;
            self.take(b"then")?;
            let body = self.list(&[b"elif", b"else", b"fi"])?;
            branches.push((condition, body));
            match self.reserved() {
                Some(b"elif") => self.take(b"elif")?,
                Some(b"else") => {
                    self.take(b"else")?;
                    otherwise = self.list(&[b"fi"])?;
                    break;
                }
                _ => break,
            }
        }
        self.take(b"fi")?;
        Ok(Command::If { branches, otherwise })
    }

    fn loop_over(&mut self) -> Result<Command, Unusable> {
        self.take(b"for")?;
        self.skip_blanks();
        let mut name = Vec::new();
        while let Some(byte) = self.cursor.peek().filter(|byte| continues_name(*byte)) {
            name.push(byte);
            self.cursor.next();
        }
        self.take(b"in")?;
        let words = self.words()?;
        if words.iter().any(has_pattern) {
            return Err(self.cursor.needs_shell("a pattern"));
        }
        self.skip_blanks();
        if self.cursor.peek() == Some(b';') {
            self.cursor.next();
        }
        self.take(b"do")?;
        let body = self.list(&[b"done"])?;
        self.take(b"done")?;
        Ok(Command::For { name, words, body })
    }

    /// Words up to the end of the command.
    fn words(&mut self) -> Result<Vec<Word>, Unusable> {
        let mut words = Vec::new();
        loop {
            self.skip_blanks();
            match self.cursor.peek() {
                None | Some(b'\n' | b'\r' | b';') => return Ok(words),
                Some(b'&') if self.cursor.second() == Some(b'&') => return Ok(words),
                Some(b'|') if self.cursor.second() == Some(b'|') => return Ok(words),
                Some(b'&' | b'|' | b'<' | b'>' | b'(' | b')') => {
                    return Err(self.cursor.needs_shell("a pipe, redirection or function"));
                }
                Some(_) => words.push(unquoted(&mut self.cursor, false)?),
            }
        }
    }

    fn simple(&mut self) -> Result<Command, Unusable> {
        let mut assignments = Vec::new();
        let mut words = self.words()?.into_iter().peekable();
        while let Some((name, value)) = words.peek().and_then(assignment) {
            assignments.push((name, value));
            words.next();
        }
        let words: Vec<Word> = words.collect();
        if let Some(first) = words.first() {
            let known = match first.as_slice() {
                [Part::Literal { bytes, quoted: false }] => BUILTINS.contains(&bytes.as_slice()),
                _ => false,
            };
            if !known || !assignments.is_empty() {
                return Err(self.cursor.needs_shell("a program"));
            }
            if words.iter().any(|word| assignment(word).is_none() && has_pattern(word)) {
                return Err(self.cursor.needs_shell("a pattern"));
            }
        } else if assignments.is_empty() {
            return Err(self.cursor.broken("a command is missing"));
        }
        Ok(Command::Simple { assignments, words })
    }
}

/// True when file names would be looked for.
fn has_pattern(word: &Word) -> bool {
    word.iter().any(|part| {
        matches!(part, Part::Literal { bytes, quoted: false }
            if bytes.iter().any(|byte| matches!(byte, b'*' | b'?')))
    })
}

/// Splits `NAME=word`.
pub(crate) fn assignment(word: &Word) -> Option<(Vec<u8>, Word)> {
    let (first, rest) = word.split_first()?;
    let Part::Literal { bytes, quoted: false } = first else { return None };
    let equals = bytes.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (bytes.get(..equals)?, bytes.get(equals + 1..)?);
    if !name.first().copied().is_some_and(starts_name) || !name.iter().copied().all(continues_name)
    {
        return None;
    }
    let mut parts = vec![Part::Literal { bytes: value.to_vec(), quoted: true }];
    parts.extend_from_slice(rest);
    Some((name.to_vec(), parts))
}
