//! Foreign text made fit to be shown: escaped and cut.
//!
//! Invalid UTF-8 becomes U+FFFD. Not here: which characters are escaped ([`orlop_oci::text`]),
//! which text is worth showing (`crate::message`).

use std::time::Duration;

use orlop_oci::text::push_shown;

/// Returns `text` without anything that a terminal obeys, at most `limit` bytes of it.
#[must_use]
pub fn shown(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        let before = out.len();
        push_shown(&mut out, letter);
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
