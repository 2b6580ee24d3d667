//! Foreign text made fit to be shown: what a terminal obeys becomes escapes.
//!
//! Control characters (C0, DEL, C1), line and paragraph separators, marks of bidirectional text and
//! letters without width. Rule: `reliability.md` R144 and §10.12. Not here: which text is worth
//! showing (`orlop-registry`), lines and colours (`orlop-client`).

use std::fmt::Write as _;

/// Says whether a terminal may obey this character, or shows nothing in its place.
#[must_use]
pub const fn is_control(letter: char) -> bool {
    matches!(letter, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Appends a character as it may be shown: `\n`, `\x1b`, `\u{202e}`, or itself.
pub fn push_shown(out: &mut String, letter: char) {
    match letter {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        letter if is_control(letter) && letter.is_ascii() => {
            write!(out, "\\x{:02x}", u32::from(letter)).unwrap_or_default();
        }
        letter if is_control(letter) => {
            write!(out, "\\u{{{:x}}}", u32::from(letter)).unwrap_or_default();
        }
        letter => out.push(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_shown_as_it_is() {
        let mut out = String::new();
        "a\x1b\n\t\u{9b}\u{200b}\u{202e}\u{2029}\u{feff}\u{7f}ü ✓"
            .chars()
            .for_each(|letter| push_shown(&mut out, letter));
        assert_eq!(out, r"a\x1b\n\t\u{9b}\u{200b}\u{202e}\u{2029}\u{feff}\x7fü ✓");
        assert!(('\0'..=char::MAX).all(|letter| !letter.is_control() || is_control(letter)));
    }
}
