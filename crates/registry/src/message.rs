//! A registry's own words: from the body of an error, a `Warning` header, a quota header.
//!
//! Error bodies: distribution spec, "Error codes"; `detail` is never shown, because it may echo
//! what was sent. All text leaves escaped and cut. Cases R143, R145, R147.

use serde::Deserialize;

use crate::text;

/// Bytes of a registry's words that are shown.
const SHOWN: usize = 1024;

#[derive(Deserialize)]
struct Body {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What is said in the body of an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// Codes, as written.
    codes: Vec<String>,
    /// Text to show, escaped; may be empty.
    text: String,
    /// True when the body is the pull quota's, or the abuse limit's, of the Docker Hub.
    is_quota: bool,
}

impl Words {
    pub(crate) fn read(body: &[u8]) -> Self {
        let lower = String::from_utf8_lossy(body).to_ascii_lowercase();
        let is_quota = lower.contains("toomanyrequests") || lower.contains("hap429");
        let Ok(Body { errors }) = serde_json::from_slice(body) else {
            return Self { codes: Vec::new(), text: title(body, &lower), is_quota };
        };
        let one = |entry: &Entry| match (entry.code.as_str(), entry.message.as_str()) {
            (code, "") => code.to_owned(),
            ("", message) => message.to_owned(),
            (code, message) => format!("{code}: {message}"),
        };
        let text = errors.iter().map(one).collect::<Vec<_>>().join("; ");
        let codes = errors.into_iter().map(|entry| entry.code).collect();
        Self { codes, text: text::shown(text.trim(), SHOWN), is_quota }
    }

    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.codes.iter().any(|found| found.eq_ignore_ascii_case(code))
    }

    pub(crate) const fn is_quota(&self) -> bool {
        self.is_quota
    }

    /// The text as it goes at the end of a sentence: `: text`, or nothing.
    pub(crate) fn ending(&self) -> String {
        if self.text.is_empty() { String::new() } else { format!(": {}", self.text) }
    }
}

/// The title of a web page; plain text of one line as it is.
fn title(body: &[u8], lower: &str) -> String {
    let text = String::from_utf8_lossy(body);
    if let Some(start) = lower.find("<title>").and_then(|at| at.checked_add(7)) {
        let rest = text.get(start..).unwrap_or_default();
        let end = rest.find('<').unwrap_or(rest.len());
        return text::shown(rest.get(..end).unwrap_or_default().trim(), SHOWN);
    }
    let line = text.trim();
    if line.starts_with(['<', '{', '[']) || line.contains('\n') || line.len() > SHOWN {
        return String::new();
    }
    text::shown(line, SHOWN)
}

/// The text of a `Warning: 299 - "text"` header, `None` for another form or with control
/// characters in it.
pub(crate) fn warning(header: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(header).ok()?.trim();
    let quoted = text.strip_prefix("299 - \"")?.strip_suffix('"')?;
    let mut out = String::new();
    let mut letters = quoted.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return None,
            '\\' => out.push(letters.next()?),
            letter => out.push(letter),
        }
    }
    (!out.chars().any(orlop_oci::text::is_control)).then_some(out)
}

/// The number of `ratelimit-limit: 100;w=21600`: before the first `;`, of the first policy.
pub(crate) fn quota(header: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(header).ok()?;
    text.split([';', ',']).next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_messages_are_shown_and_details_are_not() {
        let words = Words::read(
            br#"{"errors":[{"code":"DENIED","message":"no\u001b[0m","detail":"Bearer hunter2"}]}"#,
        );
        assert_eq!(words.ending(), r": DENIED: no\x1b[0m");
        assert!(words.has_code("denied"));
    }

    #[test]
    fn of_a_web_page_the_title_is_shown() {
        let words = Words::read(b"<html><head><TITLE>502 Bad Gateway</TITLE>...");
        assert_eq!(words.ending(), ": 502 Bad Gateway");
        assert_eq!(Words::read(b"<html>...").ending(), "");
        assert_eq!(Words::read(b"").ending(), "");
    }

    #[test]
    fn both_limits_of_the_docker_hub_are_quotas() {
        assert!(Words::read(br#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#).is_quota());
        assert!(Words::read(b"Too Many Requests (HAP429).").is_quota());
        assert!(!Words::read(b"slow down").is_quota());
    }

    #[test]
    fn warnings_are_read_and_control_characters_refused() {
        assert_eq!(warning(br#"299 - "old \"tag\"""#).as_deref(), Some("old \"tag\""));
        for bad in [&b"299 - \"a\x1b\""[..], b"199 - \"x\"", b"299 - x", b"299 - \"a\xff\""] {
            assert_eq!(warning(bad), None);
        }
    }

    #[test]
    fn quotas_that_are_no_numbers_are_ignored() {
        assert_eq!(quota(b"100;w=21600"), Some(100));
        assert_eq!(quota(b"76, 90;w=1"), Some(76));
        for bad in [&b"x;w="[..], b"-5", b"1000000000000000000000000000000", b""] {
            assert_eq!(quota(bad), None);
        }
    }
}
