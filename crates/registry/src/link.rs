//! `Link`: the address of the next page of a list.
//!
//! RFC 8288: `<address>; rel="next"`, several in one header or in several. What cannot be read is
//! no link. Not here: whether the address may be asked ([`crate::tags`]).

/// Returns the address of the first link whose relation is `next`.
pub(crate) fn next<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Option<&'a str> {
    headers.into_iter().filter_map(|header| std::str::from_utf8(header).ok()).find_map(next_of)
}

fn next_of(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (_, after) = rest.split_once('<')?;
        let (address, after) = after.split_once('>')?;
        let (is_next, left) = parameters(after);
        if is_next {
            return Some(address.trim());
        }
        rest = left;
    }
}

/// Reads the parameters of one link: whether one says that it leads to the next page, and what
/// comes after the comma that ends them. A comma or semicolon within quotes is text.
fn parameters(text: &str) -> (bool, &str) {
    let mut is_next = false;
    let mut rest = text;
    loop {
        let mut is_quoted = false;
        let mut is_escaped = false;
        let end = rest.char_indices().find(|&(_, letter)| {
            let ends = !is_quoted && matches!(letter, ';' | ',');
            match letter {
                _ if is_escaped => is_escaped = false,
                '\\' if is_quoted => is_escaped = true,
                '"' => is_quoted = !is_quoted,
                _ => {}
            }
            ends
        });
        let (at, letter) = end.unwrap_or((rest.len(), ','));
        is_next = is_next || says_next(rest.get(..at).unwrap_or_default());
        rest = rest.get(at..).and_then(|rest| rest.get(1..)).unwrap_or_default();
        if letter == ',' {
            return (is_next, rest);
        }
    }
}

fn says_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
    name.trim().eq_ignore_ascii_case("rel")
        && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_other_links() {
        let rows = [
            (r#"</v2/a/tags/list?last=z&n=9>; rel="next""#, Some("/v2/a/tags/list?last=z&n=9")),
            ("<x>;rel=next", Some("x")),
            (r#"<a>; rel="prev", <b,c>; title="x, <y>; rel=next"; REL="last Next""#, Some("b,c")),
            (r#"<a>; title="\", rel=next", <b>; rel=next"#, Some("b")),
            (r#"<a>; rel="prev""#, None),
            ("<a>", None),
            ("<a; rel=next", None),
            ("a; rel=next", None),
            (r#"<a>; rel="next"#, Some("a")),
            ("", None),
        ];
        for (header, expected) in rows {
            assert_eq!(next([header.as_bytes()]), expected, "{header}");
        }
        assert_eq!(next([&b"\xff"[..], b"<a>; rel=next"]), Some("a"));
    }

    #[test]
    fn no_header_is_too_odd_to_read() {
        let letters = ["<", ">", ";", ",", "\"", "\\", "rel", "=", "next", " ", "ä"];
        let mut number: usize = 1;
        for _ in 0..20_000 {
            let mut header = String::new();
            for _ in 0..12 {
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                header.push_str(letters[(number >> 33) % letters.len()]);
            }
            let _read = next([header.as_bytes()]);
        }
    }
}
