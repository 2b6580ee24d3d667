//! Names within an archive: cleaned, relative to its root, never above it.

/// The name without `.`, empty parts and a slash in front, `..` taken back; none where it leads
/// above the root.
pub(crate) fn clean(name: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

/// Where a symbolic link of this (clean) name leads; none where it leaves the archive.
pub(crate) fn target(link: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if target.starts_with(b"/") {
        return None;
    }
    let parent = link.iter().rposition(|&byte| byte == b'/').and_then(|end| link.get(..end));
    clean(&[parent.unwrap_or_default(), b"/", target].concat())
}

/// A name for messages.
pub(crate) fn shown(name: &[u8]) -> String {
    name.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_and_stay_below_the_root() {
        for (name, cleaned) in [
            ("a/b", Some("a/b")),
            ("./a//b/", Some("a/b")),
            ("/a", Some("a")),
            ("a/../b", Some("b")),
            ("", Some("")),
            ("../a", None),
            ("a/../../b", None),
        ] {
            assert_eq!(clean(name.as_bytes()).as_deref(), cleaned.map(str::as_bytes), "{name}");
        }
    }

    #[test]
    fn links_lead_from_their_directory() {
        let leads = |link: &str, to: &str| target(link.as_bytes(), to.as_bytes());
        assert_eq!(leads("id/layer.tar", "../other/layer.tar").unwrap(), b"other/layer.tar");
        assert_eq!(leads("layer.tar", "x").unwrap(), b"x");
        assert_eq!(leads("id/layer.tar", "../../etc/passwd"), None);
        assert_eq!(leads("id/layer.tar", "/etc/passwd"), None);
    }
}
