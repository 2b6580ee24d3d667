//! What a file that cannot be used seems to block, read off its lines.
//!
//! While files are broken the rules that were read before stay in force, but a block that somebody
//! has just written must not be lost over a missing quote. The text is cut into lines and, for
//! inline tables, at braces and commas; `blocked = true` holds for the `prefix` and `location` of
//! the same table. Too much is blocked rather than too little. Not here: when that counts
//! ([`super::load`]), proper reading ([`super::parse`]).

use std::collections::BTreeSet;

/// The table that a line belongs to.
#[derive(Default)]
struct Seen {
    names: Vec<String>,
    is_blocked: bool,
}

/// Returns the names of the tables that say, as far as can be told, that they are blocked.
pub(super) fn blocked(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut seen = Seen::default();
    // Keys of a mirror, or of a table that is none of a registry, say nothing about one.
    let mut is_registry = false;
    for line in text.lines() {
        let line = line.trim_start_matches('\u{feff}').trim();
        if let Some(header) = line.strip_prefix('[') {
            let (header, rest) =
                header.trim_start_matches('[').split_once(']').unwrap_or((header, ""));
            let header = header.trim_matches(|c: char| c == '[' || c.is_whitespace());
            let header = header.to_ascii_lowercase();
            let is_mirror = header.contains("mirror");
            if !is_mirror {
                seen.take(&mut found);
            }
            is_registry = header.starts_with("registry") && !is_mirror;
            for part in parts(rest) {
                seen.read(&part, is_registry);
            }
            continue;
        }
        for part in parts(line) {
            if part == "{" {
                seen.take(&mut found);
                is_registry = true;
            }
            seen.read(&part, is_registry);
        }
    }
    seen.take(&mut found);
    found
}

impl Seen {
    /// Ends the table.
    fn take(&mut self, found: &mut BTreeSet<String>) {
        let Self { names, is_blocked } = std::mem::take(self);
        if is_blocked {
            found.extend(names);
        }
    }

    fn read(&mut self, part: &str, is_registry: bool) {
        let Some((key, value)) = part.split_once(['=', ':']).filter(|_| is_registry) else {
            return;
        };
        // `registry = [{ location = …` has its last key where the value starts.
        let bare = |text: &str| {
            text.trim_matches(|c: char| c.is_whitespace() || "\"'[]{},;".contains(c)).to_owned()
        };
        let (key, value) = (bare(key).to_ascii_lowercase(), bare(value));
        match key.as_str() {
            "blocked" => {
                let value = value.to_ascii_lowercase();
                self.is_blocked |= !matches!(value.as_str(), "false" | "no" | "off" | "0");
            }
            "prefix" | "location" => {
                let name = value.split_once("://").map_or(value.as_str(), |(_, name)| name);
                let name = name.trim_end_matches('/');
                if !name.is_empty() {
                    self.names.push(name.to_owned());
                }
            }
            _ => {}
        }
    }
}

/// The parts of a line at braces and commas outside quotes, without a comment; an opening brace is
/// a part.
fn parts(line: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut quote = None;
    for character in line.chars() {
        match (character, quote) {
            ('#', None) => break,
            ('"' | '\'', None) => quote = Some(character),
            (character, Some(open)) if character == open => quote = None,
            ('{', None) => all.extend(["{".to_owned(), String::new()]),
            ('}' | ',', None) => all.push(String::new()),
            (character, _) => {
                if let Some(part) = all.last_mut() {
                    part.push(character);
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        blocked(text).into_iter().collect()
    }

    #[test]
    fn blocked_names_are_read_off_broken_files() {
        for (text, names) in [
            ("[[registry]]\nlocation = \"a.example\nblocked = true\n", vec!["a.example"]),
            ("[[registry]\nprefix = a.example/b\nblocked = true # now\n", vec!["a.example/b"]),
            ("[[registry]]\nblocked = tru\nlocation = 'https://a.example/'\n", vec!["a.example"]),
            ("\u{feff}[[Registry]]\r\nLocation='a'\r\nBLOCKED=\"true\"\r\nx\r\n", vec!["a"]),
            ("[[registry]] location = 'a.example' \nblocked: yes", vec!["a.example"]),
            ("registry = [{location = 'a', blocked = true}, {location = 'b'}\n", vec!["a"]),
            (
                "[[registry]]\nprefix='p'\nlocation='l'\nblocked=true\n[[registry]]\nlocation='o'\n\"",
                vec!["l", "p"],
            ),
            (
                "[[registry]]\nlocation='a'\n[[registry.mirror]]\nlocation='m'\nblocked=true\n[x",
                vec![],
            ),
            ("[[registry]]\nlocation='a'\nblocked=false\n?", vec![]),
            ("[[registry]]\n# blocked = true\nlocation='a'\n?", vec![]),
            ("[aliases]\nlocation = 'a'\nblocked = true\n?", vec![]),
            ("[[registry]]\nblocked = true\n?", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(found(text), names, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "(\\PC|\\n|[\\[\\]{},='\"#]){0,120}") {
            drop(blocked(&text));
        }
    }
}
