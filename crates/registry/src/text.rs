//! Foreign text made fit to be shown: escaped and cut.
//!
//! Control characters (C0, DEL, C1), line and paragraph separators and bidirectional controls
//! become escapes; invalid UTF-8 becomes U+FFFD. Rule: `reliability.md` R144 and §10.12. Not here:
//! which text is worth showing (`crate::message`).

use std::fmt::Write as _;
use std::time::Duration;

/// Returns `text` without anything that a terminal obeys, at most `limit` bytes of it.
#[must_use]
pub fn shown(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        let before = out.len();
        push(&mut out, letter);
        if out.len() > limit {
            out.truncate(before);
            out.push_str("...");
            break;
        }
    }
    out
}

/// As [`shown`], for bytes of any encoding.
#[must_use]
pub fn shown_bytes(bytes: &[u8], limit: usize) -> String {
    shown(&String::from_utf8_lossy(bytes), limit)
}

/// Says whether a terminal may obey this character.
#[must_use]
pub fn is_control(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Says how far away a moment is, in the unit that makes a number to remember.
pub(crate) fn in_a_while(time: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match time.as_secs() {
        seconds @ ..120 => format!("in {seconds} s"),
        seconds if seconds < 2 * HOUR => format!("in {} min", seconds.div_ceil(MINUTE)),
        seconds if seconds < 2 * DAY => format!("in {} hours", seconds.div_ceil(HOUR)),
        seconds if seconds <= 400 * DAY => format!("in {} days", seconds.div_ceil(DAY)),
        _ => "in more than a year".to_owned(),
    }
}

fn push(out: &mut String, letter: char) {
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
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(shown("a\u{1b}[31mb\n\u{202e}c\u{9b}", 99), r"a\x1b[31mb\n\u{202e}c\u{9b}");
        assert_eq!(shown_bytes(b"\xffok", 99), "\u{fffd}ok");
    }

    #[test]
    fn times_are_told_in_a_fitting_unit() {
        let told = |seconds| in_a_while(Duration::from_secs(seconds));
        assert_eq!(told(90), "in 90 s");
        assert_eq!(told(3600), "in 60 min");
        assert_eq!(told(86_000), "in 24 hours");
        assert_eq!(told(365 * 86_400), "in 365 days");
        assert_eq!(told(u64::MAX), "in more than a year");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(shown("ääää", 5), "ää...");
        assert_eq!(shown("abc", 3), "abc");
    }
}
