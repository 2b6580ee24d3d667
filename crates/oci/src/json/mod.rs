//! Strict JSON: RFC 8259 text to a value, or the place where it stops being that.
//!
//! Stricter than common libraries where two readers could see two documents: a repeated key is an
//! error (CVE-2021-41190 is of that family), as are a byte order mark, text after the value and
//! invalid UTF-8. Nesting ends at [`DEPTH_MAX`]. Numbers keep their text, so that a size is never
//! rounded. Not here: what the members mean ([`crate::manifest`], [`crate::config`]).

use std::collections::BTreeMap;
use std::fmt::Write as _;

#[cfg(test)]
mod tests;

/// Deepest nesting of arrays and objects that is read.
pub const DEPTH_MAX: usize = 128;

/// A JSON value. Objects are sorted by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// The number's text as written.
    Number(String),
    /// A string, escapes undone.
    String(String),
    /// An array in order.
    Array(Vec<Self>),
    /// An object, each key once.
    Object(BTreeMap<String, Self>),
}

/// Why bytes are not strict JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at line {line} column {column}")]
pub struct JsonError {
    /// What is wrong.
    pub reason: JsonReason,
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1.
    pub column: usize,
}

/// What can be wrong with JSON text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonReason {
    /// A key came a second time in one object.
    #[error("duplicate key {0:?}")]
    DuplicateKey(String),
    /// Arrays and objects nested deeper than [`DEPTH_MAX`].
    #[error("nesting deeper than {DEPTH_MAX}")]
    Depth,
    /// Not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// The text ends inside a value.
    #[error("unexpected end")]
    End,
    /// Something else than the grammar allows.
    #[error("unexpected text, {0} expected")]
    Unexpected(&'static str),
}

impl Json {
    /// Parses a whole text.
    ///
    /// # Errors
    /// [`JsonError`] with the place, for everything that is not one strict JSON value.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| located(bytes, error.valid_up_to(), JsonReason::Utf8))?;
        let mut parser = Parser { text, at: 0 };
        let whole = |parser: &mut Parser<'_>| {
            let value = parser.value(0)?;
            parser.blanks();
            if parser.rest().is_empty() {
                Ok(value)
            } else {
                Err(JsonReason::Unexpected("end of text"))
            }
        };
        whole(&mut parser).map_err(|reason| located(bytes, parser.at, reason))
    }

    /// Returns the member `key` of an object; `None` also for `null`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(key).filter(|value| **value != Self::Null),
            _ => None,
        }
    }
}

fn located(bytes: &[u8], at: usize, reason: JsonReason) -> JsonError {
    let before = bytes.get(..at).unwrap_or(bytes);
    let lines = before.split(|&byte| byte == b'\n');
    let last_len = lines.clone().next_back().map_or(0, <[u8]>::len);
    JsonError { reason, line: lines.count(), column: last_len.saturating_add(1) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Goes on by `count` bytes; callers have seen that they are there.
    fn skip(&mut self, count: usize) {
        self.at = self.at.saturating_add(count);
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.skip(1);
        }
    }

    fn unexpected(&self, wanted: &'static str) -> JsonReason {
        if self.rest().is_empty() { JsonReason::End } else { JsonReason::Unexpected(wanted) }
    }

    fn expect(&mut self, byte: u8, wanted: &'static str) -> Result<(), JsonReason> {
        if self.peek() == Some(byte) {
            self.skip(1);
            Ok(())
        } else {
            Err(self.unexpected(wanted))
        }
    }

    fn word(&mut self, word: &'static str, value: Json) -> Result<Json, JsonReason> {
        if self.rest().starts_with(word) {
            self.skip(word.len());
            Ok(value)
        } else {
            Err(self.unexpected("a value"))
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, JsonReason> {
        self.blanks();
        match self.peek() {
            Some(b'{') => self.object(deeper(depth)?),
            Some(b'[') => self.array(deeper(depth)?),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonReason> {
        let mut members = BTreeMap::new();
        self.skip(1);
        self.blanks();
        if self.peek() == Some(b'}') {
            self.skip(1);
            return Ok(Json::Object(members));
        }
        loop {
            self.blanks();
            let start = self.at;
            let key = self.string()?;
            if members.contains_key(&key) {
                self.at = start;
                return Err(JsonReason::DuplicateKey(key.chars().take(128).collect()));
            }
            self.blanks();
            self.expect(b':', "`:`")?;
            members.insert(key, self.value(depth)?);
            self.blanks();
            if self.peek() == Some(b',') {
                self.skip(1);
            } else {
                self.expect(b'}', "`,` or `}`")?;
                return Ok(Json::Object(members));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, JsonReason> {
        let mut items = Vec::new();
        self.skip(1);
        self.blanks();
        if self.peek() == Some(b']') {
            self.skip(1);
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.blanks();
            if self.peek() == Some(b',') {
                self.skip(1);
            } else {
                self.expect(b']', "`,` or `]`")?;
                return Ok(Json::Array(items));
            }
        }
    }

    fn number(&mut self) -> Result<Json, JsonReason> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.skip(1);
        }
        if self.peek() == Some(b'0') {
            self.skip(1);
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.skip(1);
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.skip(1);
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.skip(1);
            }
            self.digits()?;
        }
        Ok(Json::Number(self.text.get(start..self.at).unwrap_or_default().to_owned()))
    }

    fn digits(&mut self) -> Result<(), JsonReason> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.unexpected("a digit"));
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.skip(1);
        }
        Ok(())
    }

    fn string(&mut self) -> Result<String, JsonReason> {
        self.expect(b'"', "a string")?;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let plain = rest
                .bytes()
                .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
                .ok_or(JsonReason::End)?;
            out.push_str(rest.get(..plain).unwrap_or_default());
            self.skip(plain);
            match self.peek() {
                Some(b'"') => {
                    self.skip(1);
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.skip(1);
                    out.push(self.escape()?);
                }
                _ => return Err(JsonReason::Unexpected("an escaped control character")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonReason> {
        let simple = match self.peek() {
            Some(letter @ (b'"' | b'\\' | b'/')) => char::from(letter),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.skip(1);
                return self.unicode();
            }
            _ => return Err(self.unexpected("an escape")),
        };
        self.skip(1);
        Ok(simple)
    }

    fn unicode(&mut self) -> Result<char, JsonReason> {
        const LONE: JsonReason = JsonReason::Unexpected("a surrogate pair");
        let first = self.hex4()?;
        if !(0xd800..=0xdfff).contains(&first) {
            return char::from_u32(first).ok_or(LONE);
        }
        if !self.rest().starts_with("\\u") {
            return Err(LONE);
        }
        self.skip(2);
        let second = self.hex4()?;
        let units = [first, second].map(|unit| u16::try_from(unit).unwrap_or_default());
        char::decode_utf16(units).next().and_then(Result::ok).ok_or(LONE)
    }

    fn hex4(&mut self) -> Result<u32, JsonReason> {
        let digits =
            self.rest().get(..4).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let value = digits.and_then(|text| u32::from_str_radix(text, 16).ok());
        let value = value.ok_or_else(|| self.unexpected("four hex digits"))?;
        self.skip(4);
        Ok(value)
    }
}

fn deeper(depth: usize) -> Result<usize, JsonReason> {
    let depth = depth.saturating_add(1);
    if depth > DEPTH_MAX { Err(JsonReason::Depth) } else { Ok(depth) }
}

/// Appends `text` as a JSON string, escaped the way Go's `encoding/json` does by default, so that
/// documents written here have the bytes that Go programs write.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a String cannot fail.
                let _infallible = write!(out, "\\u{:04x}", u32::from(letter));
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
}

/// Returns a JSON object of `members`, whose values are JSON text already.
#[must_use]
pub fn object_text<'a>(members: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut out = String::from("{");
    for (key, value) in members {
        if out.len() > 1 {
            out.push(',');
        }
        push_string(&mut out, key);
        out.push(':');
        out.push_str(&value);
    }
    out.push('}');
    out
}

/// Returns `text` as a JSON string, see [`push_string`].
#[must_use]
pub fn string_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    push_string(&mut out, text);
    out
}
