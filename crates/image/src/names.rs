//! Names of a layer's entries: cleaned, bounded, whiteouts told from the rest.
//!
//! A cleaned path has no leading slash and no empty, `.` or `..` component; `..` is taken back
//! by text and stops at the root, as umoci does. Symbolic links in it are resolved later, in the
//! image's own tree ([`crate::merge`]). Whiteouts: image-spec, layer.md, "Whiteouts"; names that begin with
//! `.wh..wh.` are AUFS's own (moby: pkg/archive/whiteouts.go): kept, because hard links point at
//! them, and hidden by the merge.

use crate::limits::Limits;
use crate::tar::Fault;

const WHITEOUT: &[u8] = b".wh.";
const AUFS: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What an entry's name says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// An entry at this path; empty is the root.
    Plain(Vec<u8>),
    /// The name at this path goes, if a lower layer has it.
    Whiteout(Vec<u8>),
    /// All that lower layers have in this directory goes.
    Opaque(Vec<u8>),
}

/// Whether a component is one of AUFS's own.
pub(crate) fn is_hidden(component: &[u8]) -> bool {
    component.starts_with(AUFS)
}

/// Cleans a path by its text; the flag says that a `..` was there.
pub(crate) fn clean(raw: &[u8]) -> Result<(Vec<u8>, bool), Fault> {
    if raw.len() > Limits::PATH_BYTES {
        let limit = Limits::PATH_BYTES as u64;
        return Err(Fault::Limit { key: "path-bytes", limit, seen: raw.len() as u64 });
    }
    let mut path = Vec::with_capacity(raw.len());
    let mut upwards = false;
    for component in raw.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                upwards = true;
                let parent = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                path.truncate(parent);
            }
            _ if component.len() > Limits::NAME_BYTES => {
                return Err(Fault::invalid("a component of the path has more than 255 bytes"));
            }
            _ => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(component);
            }
        }
    }
    if path.contains(&0) {
        return Err(Fault::invalid("a path holds a NUL"));
    }
    Ok((path, upwards))
}

/// Cleans an entry's path and tells what it is; the flag says that a `..` was there.
pub(crate) fn classify(raw: &[u8]) -> Result<(Name, bool), Fault> {
    let (path, upwards) = clean(raw)?;
    let (parent, last) = split(&path);
    let reserved = |component: &[u8]| {
        component == OPAQUE || component.starts_with(WHITEOUT) && !is_hidden(component)
    };
    if parent.split(|&byte| byte == b'/').any(reserved) {
        return Err(Fault::invalid("a directory's name begins with .wh."));
    }
    let name = if last == OPAQUE {
        Name::Opaque(parent.to_vec())
    } else if is_hidden(last) {
        Name::Plain(path)
    } else if let Some(gone) = last.strip_prefix(WHITEOUT) {
        if matches!(gone, b"" | b"." | b"..") {
            return Err(Fault::invalid("a whiteout names no entry"));
        }
        Name::Whiteout(joined(parent, gone))
    } else {
        Name::Plain(path)
    };
    Ok((name, upwards))
}

/// A cleaned path as parent and last component.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        None => (&[], path),
        Some(slash) => {
            let (parent, rest) = path.split_at(slash);
            (parent, rest.get(1..).unwrap_or_default())
        }
    }
}

/// A path below a cleaned directory.
pub(crate) fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(path: &str) -> Name {
        Name::Plain(path.into())
    }

    #[test]
    fn paths_are_cleaned_as_in_a_chroot() {
        for (raw, path, upwards) in [
            ("/abs", "abs", false),
            ("./abs", "abs", false),
            ("//abs", "abs", false),
            ("../../esc", "esc", true),
            ("a/../../e2", "e2", true),
            ("a/./b", "a/b", false),
            ("a//b/", "a/b", false),
            ("a/b/../c", "a/c", true),
            (".", "", false),
            ("..", "", true),
            ("", "", false),
        ] {
            assert_eq!(classify(raw.as_bytes()).unwrap(), (plain(path), upwards), "{raw}");
        }
    }

    #[test]
    fn whiteouts_are_told_from_names() {
        for (raw, name) in [
            (".wh.f", Some(Name::Whiteout(b"f".into()))),
            ("a/.wh.f/", Some(Name::Whiteout(b"a/f".into()))),
            ("a/.wh..wh..opq", Some(Name::Opaque(b"a".into()))),
            (".wh..wh..opq", Some(Name::Opaque(b"".into()))),
            (".wh..wh.plnk/1.2", Some(plain(".wh..wh.plnk/1.2"))),
            (".wh..wh.aufs", Some(plain(".wh..wh.aufs"))),
            (".wh.", None),
            ("a/.wh..", None),
            ("a/.wh...", None),
            (".wh.a/x", None),
            ("a/.wh.f/in", None),
            ("a/.wh..wh..opq/in", None),
        ] {
            assert_eq!(classify(raw.as_bytes()).ok().map(|(name, _)| name), name, "{raw}");
        }
    }

    #[test]
    fn long_names_are_bounded() {
        assert!(classify(&[b'n'; 255]).is_ok());
        assert!(matches!(classify(&[b'n'; 256]), Err(Fault::Invalid(_))));
        let deep = [b"d/".repeat(2047).as_slice(), b"d"].concat();
        assert!(classify(&deep).is_ok());
        let deeper = [deep.as_slice(), b"/d"].concat();
        assert!(matches!(classify(&deeper), Err(Fault::Limit { key: "path-bytes", .. })));
    }
}
