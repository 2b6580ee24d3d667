//! Output: the only writer to the terminal, labels, levels and colour included.
//!
//! Messages go to stderr, one line each: the label with its colon padded to eight columns, a blank,
//! the text (`INFO:    text`). Listings, help and data go to stdout. All text that may hold foreign
//! parts is escaped here, at the one place where it leaves the program.
//!
//! Not here: which words a failure gets ([`crate::words`]), bars ([`crate::progress`]).

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use orlop_oci::text::{is_control, push_shown};

/// How important a line is. The numbers are Apptainer's, because nested calls exchange them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// The last words of a command that failed.
    Fatal = -4,
    /// The user should know.
    Warning = -2,
    /// What is done.
    Info = 1,
    /// What is done, in detail.
    Verbose = 2,
}

impl Level {
    const fn label(self) -> &'static str {
        match self {
            Self::Fatal => "FATAL:",
            Self::Warning => "WARNING:",
            Self::Info => "INFO:",
            Self::Verbose => "VERBOSE:",
        }
    }

    const fn colour(self) -> Option<&'static str> {
        match self {
            Self::Fatal => Some("\x1b[31m"),
            Self::Warning => Some("\x1b[33m"),
            Self::Info => Some("\x1b[34m"),
            Self::Verbose => None,
        }
    }
}

/// Largest level that is shown when nothing else was asked for.
pub(crate) const DEFAULT_LEVEL: i8 = 1;

/// Where a command's words and data go.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    level: i8,
    colour: bool,
    stderr_is_terminal: bool,
    stdout_is_terminal: bool,
    broken_pipe: bool,
}

impl Output {
    /// Output to this process's stdout and stderr. `no_colour`: asked for by flag or `NO_COLOR`.
    pub(crate) fn new(level: i8, no_colour: bool) -> Self {
        let stderr_is_terminal = io::stderr().is_terminal();
        Self {
            level,
            colour: stderr_is_terminal && !no_colour,
            stderr_is_terminal,
            stdout_is_terminal: io::stdout().is_terminal(),
            broken_pipe: false,
        }
    }

    /// True when bars may be drawn: stderr is a terminal and information is wanted.
    pub(crate) const fn may_draw(&self) -> bool {
        self.stderr_is_terminal && self.level >= Level::Info as i8
    }

    /// One line to stderr, unless the level is not shown.
    pub(crate) fn message(&mut self, level: Level, text: &str) {
        if level as i8 > self.level {
            return;
        }
        let line = line(level, text, self.colour);
        // Nobody is left to be told when stderr is gone.
        drop(io::stderr().lock().write_all(line.as_bytes()));
    }

    pub(crate) fn info(&mut self, text: &str) {
        self.message(Level::Info, text);
    }

    pub(crate) fn warning(&mut self, text: &str) {
        self.message(Level::Warning, text);
    }

    pub(crate) fn verbose(&mut self, text: &str) {
        self.message(Level::Verbose, text);
    }

    /// A whole text of ours to stderr, such as a usage error: no label, no level.
    pub(crate) fn complaint(&mut self, text: &str) {
        drop(io::stderr().lock().write_all(text.as_bytes()));
    }

    /// One line of a listing to stdout; foreign parts are escaped.
    pub(crate) fn line(&mut self, text: &str) {
        let mut text = escape(text);
        text.push('\n');
        self.data(text.as_bytes());
    }

    /// Lines of a listing to stdout, as [`Output::line`], in one write.
    pub(crate) fn lines(&mut self, lines: &[String]) {
        let mut text = String::new();
        for line in lines {
            text.push_str(&escape(line));
            text.push('\n');
        }
        self.data(text.as_bytes());
    }

    /// A foreign document to stdout, byte for byte; a terminal gets no control byte.
    pub(crate) fn exactly(&mut self, bytes: &[u8]) {
        if self.stdout_is_terminal {
            self.text(&String::from_utf8_lossy(bytes));
        } else {
            self.data(bytes);
        }
    }

    /// A text of several lines to stdout. A terminal gets no control byte but newline and tab.
    pub(crate) fn text(&mut self, text: &str) {
        if self.stdout_is_terminal {
            let escaped = escape_but(text, &['\n', '\t']);
            self.data(escaped.as_bytes());
        } else {
            self.data(text.as_bytes());
        }
    }

    /// Lines of a state that is shown again and again: on a terminal they replace the ones before,
    /// elsewhere an empty line follows them.
    pub(crate) fn screen(&mut self, lines: &[String]) {
        let mut text = String::new();
        if self.stdout_is_terminal {
            text.push_str("\x1b[H\x1b[J");
        }
        for line in lines {
            text.push_str(&escape(line));
            text.push('\n');
        }
        if !self.stdout_is_terminal {
            text.push('\n');
        }
        self.data(text.as_bytes());
    }

    /// True when nobody reads stdout any more.
    pub(crate) const fn is_broken(&self) -> bool {
        self.broken_pipe
    }

    /// A value as JSON, indented by tabs as Apptainer does it, and a newline.
    pub(crate) fn json(&mut self, value: &impl serde::Serialize) {
        let mut bytes = Vec::new();
        let format = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, format);
        // Values are made of strings, numbers and maps with string keys: none can fail.
        if value.serialize(&mut serializer).is_ok() {
            bytes.push(b'\n');
            let text = String::from_utf8(bytes).unwrap_or_default();
            self.data(escape_json(&text).as_bytes());
        }
    }

    /// True once nobody reads stdout any more.
    pub(crate) const fn is_closed(&self) -> bool {
        self.broken_pipe
    }

    /// Bytes to stdout, as they are.
    pub(crate) fn data(&mut self, bytes: &[u8]) {
        let mut stdout = io::stdout().lock();
        if stdout.write_all(bytes).and_then(|()| stdout.flush()).is_err() {
            self.broken_pipe = true;
        }
    }
}

fn line(level: Level, text: &str, colour: bool) -> String {
    let label = level.label();
    let text = escape(text.trim_end_matches('\n'));
    match level.colour().filter(|_| colour) {
        Some(colour) => format!("{colour}{label:8}\x1b[0m {text}\n"),
        None => format!("{label:8} {text}\n"),
    }
}

/// Makes foreign text harmless to a terminal, as [`push_shown`] does.
pub(crate) fn escape(text: &str) -> String {
    escape_but(text, &[])
}

fn escape_but(text: &str, kept: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if kept.contains(&character) {
            out.push(character);
        } else {
            push_shown(&mut out, character);
        }
    }
    out
}

/// Makes JSON text harmless to a terminal as well. What is escaped can be within strings alone, and
/// means the same escaped; the serializer has escaped the other control characters.
fn escape_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        // White space stands between strings too.
        if is_control(character) && !matches!(character, '\n' | '\t' | '\r') {
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    out
}

/// A byte count for people, in powers of 1024: `0.65 KiB`, `4.13 MiB`.
#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
pub(crate) fn size(bytes: u64) -> String {
    const KIB: f64 = 1024.0;
    let bytes = bytes as f64;
    let units = [("KiB", KIB), ("MiB", KIB * KIB), ("GiB", KIB * KIB * KIB)];
    for (unit, scale) in units {
        if bytes < scale * KIB {
            return format!("{:.2} {unit}", bytes / scale);
        }
    }
    format!("{:.2} TiB", bytes / (KIB * KIB * KIB * KIB))
}

/// Unix seconds as `2026-11-24 10:54:20` in UTC.
pub(crate) fn date(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400);
    let rest = seconds.rem_euclid(86_400);
    // Days to civil date by 400-year eras of 146 097 days that begin on 1 March.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_padded_and_only_they_are_coloured() {
        assert_eq!(line(Level::Info, "text\n\n", false), "INFO:    text\n");
        assert_eq!(line(Level::Warning, "text", false), "WARNING: text\n");
        assert_eq!(line(Level::Fatal, "text", false), "FATAL:   text\n");
        assert_eq!(line(Level::Verbose, "text", true), "VERBOSE: text\n");
        assert_eq!(line(Level::Info, "text", true), "\x1b[34mINFO:   \x1b[0m text\n");
    }

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        assert_eq!(
            escape("a\x1b[2Jb\nc\r\u{202e}d\u{9b}e\x7f\u{feff}"),
            r"a\x1b[2Jb\nc\r\u{202e}d\u{9b}e\x7f\u{feff}"
        );
        assert_eq!(escape_but("a\n\tb\x07", &['\n', '\t']), "a\n\tb\\x07");
        assert_eq!(escape("grün ✓"), "grün ✓");
        assert_eq!(escape_json("\"a\u{9b}\u{202e}\x7fü\""), r#""a\u009b\u202e\u007fü""#);
    }

    #[test]
    fn sizes_and_dates_read_as_apptainers() {
        assert_eq!(size(665), "0.65 KiB");
        assert_eq!(size(4_330_619), "4.13 MiB");
        assert_eq!(size(5 << 40), "5.00 TiB");
        assert_eq!(date(0), "1970-01-01 00:00:00");
        assert_eq!(date(1_795_517_660), "2026-11-24 10:54:20");
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(date(-1), "1969-12-31 23:59:59");
    }
}
