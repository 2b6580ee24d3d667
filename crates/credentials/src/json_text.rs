//! JSON as text: where each value lies in it, so that an edit leaves every other byte alone.
//!
//! Strict: RFC 8259 without duplicate keys, depth at most 128, valid UTF-8, nothing after the
//! value. A leading byte order mark is kept and reported. serde_json cannot do this: it keeps
//! neither the escapes of strings nor white space, and other programs' keys must survive.
//!
//! Not here: what the members mean ([`crate::docker_json`]).

use std::ops::Range;

/// Nesting beyond this is refused.
const DEPTH: usize = 128;

/// A fault in the text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Byte offset.
    pub at: usize,
    /// What is wrong there.
    pub what: String,
}

/// A value and where it lies.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Bytes of the value in the text.
    pub span: Range<usize>,
    /// What it is.
    pub value: Value,
}

/// What a value is. Numbers, `true`, `false` and `null` are kept as text only.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Members in order.
    Object(Vec<Member>),
    /// An array; its items are of no interest here.
    Array,
    /// A string, unescaped.
    Text(String),
    /// Number or literal.
    Other,
}

/// One member of an object.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Name, unescaped.
    pub key: String,
    /// Bytes of the name in the text, quotes included.
    pub key_span: Range<usize>,
    /// The value.
    pub node: Node,
}

impl Node {
    /// The members, if this is an object.
    pub(crate) fn members(&self) -> Option<&[Member]> {
        match &self.value {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The member of that name.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.members()?.iter().find(|member| member.key == key).map(|member| &member.node)
    }

    /// The string, if this is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Parses a whole document.
///
/// # Errors
/// The first fault, with its place.
pub(crate) fn parse(text: &str) -> Result<Node, Fault> {
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut parser = Parser { bytes: text.as_bytes(), text, at: start };
    parser.blank();
    let node = parser.value(0)?;
    parser.blank();
    if parser.at < parser.bytes.len() {
        return Err(parser.fault("text after the end of the document"));
    }
    Ok(node)
}

/// Line and column, both from 1, of a byte offset.
pub(crate) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
    (line, column)
}

/// A JSON string with quotes and escapes.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

struct Parser<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn fault(&self, what: impl Into<String>) -> Fault {
        Fault { at: self.at, what: what.into() }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn advance(&mut self, by: usize) {
        self.at = self.at.saturating_add(by);
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.advance(1);
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.peek() == Some(byte) {
            self.advance(1);
            return Ok(());
        }
        Err(match self.peek() {
            None => self.fault("the document ends too early"),
            Some(_) => self.fault(format!("`{}` expected", char::from(byte))),
        })
    }

    fn value(&mut self, depth: usize) -> Result<Node, Fault> {
        if depth >= DEPTH {
            return Err(self.fault("nested too deeply"));
        }
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => Value::Object(self.object(depth)?),
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Value::Text(self.string()?),
            Some(_) => self.scalar()?,
            None => return Err(self.fault("the document ends too early")),
        };
        Ok(Node { span: start..self.at, value })
    }

    fn object(&mut self, depth: usize) -> Result<Vec<Member>, Fault> {
        self.expect(b'{')?;
        let mut members: Vec<Member> = Vec::new();
        let mut seen = std::collections::BTreeMap::new();
        self.blank();
        if self.peek() == Some(b'}') {
            self.advance(1);
            return Ok(members);
        }
        loop {
            self.blank();
            let start = self.at;
            let key = self.string()?;
            if let Some(first) = seen.insert(key.clone(), start) {
                let (line, _) = place(self.text, first);
                let what = format!("the key {} is there twice, first in line {line}", quoted(&key));
                return Err(Fault { at: start, what });
            }
            let key_span = start..self.at;
            self.blank();
            self.expect(b':')?;
            self.blank();
            let node = self.value(depth.saturating_add(1))?;
            members.push(Member { key, key_span, node });
            self.blank();
            if self.peek() != Some(b',') {
                self.expect(b'}')?;
                return Ok(members);
            }
            self.advance(1);
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Fault> {
        self.expect(b'[')?;
        self.blank();
        if self.peek() == Some(b']') {
            self.advance(1);
            return Ok(Value::Array);
        }
        loop {
            self.blank();
            self.value(depth.saturating_add(1))?;
            self.blank();
            if self.peek() != Some(b',') {
                self.expect(b']')?;
                return Ok(Value::Array);
            }
            self.advance(1);
        }
    }

    fn string(&mut self) -> Result<String, Fault> {
        let start = self.at;
        self.expect(b'"')?;
        loop {
            match self.peek() {
                Some(b'"') => break self.advance(1),
                Some(b'\\') => self.advance(2),
                Some(_) => self.advance(1),
                None => return Err(self.fault("a string has no end")),
            }
        }
        let raw = self.text.get(start..self.at).unwrap_or_default();
        serde_json::from_str(raw).map_err(|_| Fault { at: start, what: "a bad string".to_owned() })
    }

    fn scalar(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        while matches!(
            self.peek(),
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'+' | b'-' | b'.')
        ) {
            self.advance(1);
        }
        let raw = self.text.get(start..self.at).unwrap_or_default();
        let good = !raw.is_empty() && serde_json::from_str::<serde_json::Value>(raw).is_ok();
        if good {
            Ok(Value::Other)
        } else {
            Err(Fault { at: start, what: "not a value".to_owned() })
        }
    }
}

/// Sets a member of an object: replaces its value, or adds it at the end in the text's own style.
///
/// `value` is JSON text for a member one level inside `object`; with line breaks in it, further
/// lines are indented by the caller with [`Style`].
pub(crate) fn set_member(text: &mut String, object: &Node, key: &str, value: &str, style: &Style) {
    let members = object.members().unwrap_or_default();
    if let Some(member) = members.iter().find(|member| member.key == key) {
        text.replace_range(member.node.span.clone(), value);
        return;
    }
    let inside = style.inside(text, object);
    if let Some(last) = members.last() {
        text.insert_str(
            last.node.span.end,
            &format!(",{inside}{}{}{value}", quoted(key), style.colon),
        );
    } else {
        let after = style.outside(text, object);
        let whole = format!("{{{inside}{}{}{value}{after}}}", quoted(key), style.colon);
        text.replace_range(object.span.clone(), &whole);
    }
}

/// Removes a member of an object; does nothing where there is none.
pub(crate) fn remove_member(text: &mut String, object: &Node, key: &str) {
    let members = object.members().unwrap_or_default();
    let Some(position) = members.iter().position(|member| member.key == key) else { return };
    let Some(member) = members.get(position) else { return };
    let before = position.checked_sub(1).and_then(|before| members.get(before));
    let after = position.checked_add(1).and_then(|after| members.get(after));
    let cut = match (before, after) {
        (Some(before), _) => before.node.span.end..member.node.span.end,
        (None, Some(after)) => member.key_span.start..after.key_span.start,
        (None, None) => {
            text.replace_range(object.span.clone(), "{}");
            return;
        }
    };
    text.replace_range(cut, "");
}

/// How a text is laid out: learnt from its first members.
#[derive(Debug)]
pub(crate) struct Style {
    /// One level of indentation; `None` where everything is on one line.
    unit: Option<String>,
    /// What stands between a key and its value.
    colon: &'static str,
}

impl Style {
    /// Learns the style of a document from its root object. An empty one gets docker's: tabs.
    pub(crate) fn of(text: &str, root: &Node) -> Self {
        let Some(first) = root.members().and_then(<[Member]>::first) else {
            return Self { unit: Some("\t".to_owned()), colon: ": " };
        };
        let lead = text.get(root.span.start.saturating_add(1)..first.key_span.start);
        let unit =
            lead.and_then(|lead| lead.rsplit_once('\n')).map(|(_, indent)| indent.to_owned());
        let between = text.get(first.key_span.end..first.node.span.start).unwrap_or(": ");
        Self { unit, colon: if between == ":" { ":" } else { ": " } }
    }

    /// White space before a member of this object.
    pub(crate) fn inside(&self, text: &str, object: &Node) -> String {
        self.unit.as_ref().map_or_else(String::new, |unit| self.outside(text, object) + unit)
    }

    /// White space before the end of this object: a line break and the indentation of the line
    /// that the object begins in.
    fn outside(&self, text: &str, object: &Node) -> String {
        if self.unit.is_none() {
            return String::new();
        }
        let before = text.get(..object.span.start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        let indent: String = line.chars().take_while(|c| matches!(c, ' ' | '\t')).collect();
        format!("\n{indent}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_from_one() {
        assert_eq!(place("ab\ncd", 0), (1, 1));
        assert_eq!(place("ab\ncd", 4), (2, 2));
    }

    #[test]
    fn faults_are_found() {
        for (text, at) in [
            ("", 0),
            ("{", 1),
            ("{\"a\":1,}", 7),
            ("[1,]", 3),
            ("{} x", 3),
            ("{\"a\" 1}", 5),
            ("{\"a\":01}", 5),
            ("{\"a\":tru}", 5),
            ("\"\\q\"", 0),
            ("\"\n\"", 0),
            ("NaN", 0),
            ("{\"a\":1,\"a\":2}", 7),
            ("\"abc", 4),
            ("{'a':1}", 1),
        ] {
            let fault = parse(text).expect_err(text);
            assert_eq!(fault.at, at, "{text}: {}", fault.what);
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert!(parse(&"[".repeat(100_000)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_serde_json(text in r#"[\[\]{}",:0-9a-f\\ tn.eE+-]{0,24}"#) {
            let ours = parse(&text);
            let theirs: Result<serde_json::Value, _> = serde_json::from_str(&text);
            // Duplicate keys are the one thing refused here and taken there.
            if ours.is_ok() { proptest::prop_assert!(theirs.is_ok(), "{}", text); }
            if let (Err(fault), Ok(_)) = (&ours, &theirs) {
                proptest::prop_assert!(fault.what.contains("twice"), "{}: {}", text, fault.what);
            }
        }
    }
}
