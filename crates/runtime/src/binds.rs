//! Binds as users write them: `-B src[:dest[:opts]]` and `--mount type=bind,src=..,dst=..`.
//!
//! Pure: a text and the current directory in, [`Bind`]s out. Grammar and texts: contract.md
//! sections 2.3 and 8.3 of the design notes. Destinations are absolute; sources are made absolute.
//!
//! Not here: whether a source exists and where a destination leads ([`crate::enter`]).

use std::path::{Path, PathBuf};

/// One bind of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Absolute path on the host.
    pub source: PathBuf,
    /// Absolute path inside.
    pub at: PathBuf,
    /// Nothing can be written through it.
    pub read_only: bool,
}

/// Why a bind cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// An option that is none.
    #[error("while getting bind path: {0} is not a valid bind option")]
    Option(String),
    /// The path inside is relative.
    #[error("while getting bind path: destination must be an absolute path")]
    RelativeDestination,
    /// More than three parts.
    #[error("while getting bind path: {0} has too many elements")]
    TooManyParts(String),
    /// No path at all.
    #[error("while getting bind path: empty bind path")]
    Empty,
    /// Images as sources of a bind are not served.
    #[error("binding from inside an image ({0}) is not supported by Orlop: bind a directory")]
    ImageSource(String),
    /// A `--mount` of another type.
    #[error("unsupported mount type {0:?}, only 'bind' is supported")]
    MountType(String),
    /// A key of `--mount` that is none.
    #[error("invalid key {0:?} in mount specification")]
    MountKey(String),
    /// `--mount` without source or destination.
    #[error("mounts must specify a source and a destination")]
    MountIncomplete,
}

/// Reads the value of one `--bind`: binds separated by commas.
///
/// `\:` and `\,` stand for the characters themselves. Options follow the second colon and are
/// separated by commas too: a part that is a bare option continues the bind before it.
///
/// # Errors
/// [`BindError`].
pub fn parse_binds(text: &str, cwd: &Path) -> Result<Vec<Bind>, BindError> {
    let mut binds: Vec<Vec<String>> = Vec::new();
    for item in split(text, ',') {
        let parts: Vec<String> = split(&item, ':').iter().map(|part| unescape(part)).collect();
        match (parts.as_slice(), binds.last_mut()) {
            ([option], Some(before)) if before.len() == 3 && is_option(option) => {
                if let Some(options) = before.last_mut() {
                    options.push(',');
                    options.push_str(option);
                }
            }
            _ => binds.push(parts),
        }
    }
    binds.iter().map(|parts| bind(parts, cwd)).collect()
}

fn is_option(word: &str) -> bool {
    matches!(word, "ro" | "rw") || word.starts_with("image-src=") || word.starts_with("id=")
}

fn bind(parts: &[String], cwd: &Path) -> Result<Bind, BindError> {
    let (source, rest) = parts.split_first().ok_or(BindError::Empty)?;
    if source.is_empty() {
        return Err(BindError::Empty);
    }
    let at = rest.first().filter(|at| !at.is_empty()).unwrap_or(source);
    if parts.len() > 3 {
        return Err(BindError::TooManyParts(parts.join(":")));
    }
    let mut read_only = false;
    for option in rest.get(1).into_iter().flat_map(|options| options.split(',')) {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            option if is_option(option) => {
                return Err(BindError::ImageSource(option.to_owned()));
            }
            option => return Err(BindError::Option(option.to_owned())),
        }
    }
    if !at.starts_with('/') {
        return Err(BindError::RelativeDestination);
    }
    Ok(Bind { source: cwd.join(source), at: PathBuf::from(at), read_only })
}

/// Splits at a character that has no backslash before it; the backslashes stay.
fn split(text: &str, at: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for character in text.chars() {
        if character == at && !escaped {
            parts.push(String::new());
            continue;
        }
        escaped = character == '\\' && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(character);
        }
    }
    parts
}

/// Takes the backslash away before `:`, `,` and another backslash.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match characters.peek() {
            Some(&next) if character == '\\' && matches!(next, ':' | ',' | '\\') => {
                out.push(next);
                characters.next();
            }
            _ => out.push(character),
        }
    }
    out
}

/// Reads the value of one `--mount`: fields of one CSV line, or several lines of them.
///
/// # Errors
/// [`BindError`].
pub fn parse_mount(text: &str, cwd: &Path) -> Result<Vec<Bind>, BindError> {
    text.lines().filter(|line| !line.trim().is_empty()).map(|line| mount(line, cwd)).collect()
}

fn mount(line: &str, cwd: &Path) -> Result<Bind, BindError> {
    let mut source = None;
    let mut at = None;
    let mut read_only = false;
    for field in csv(line) {
        let (key, value) =
            field.split_once('=').map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
        match (key.trim(), value) {
            ("type", Some("bind")) | ("nonested", None) => {}
            ("type", kind) => return Err(BindError::MountType(kind.unwrap_or("").to_owned())),
            ("source" | "src", Some(value)) => source = Some(cwd.join(value)),
            ("destination" | "dst" | "target", Some(value)) => at = Some(PathBuf::from(value)),
            ("ro" | "readonly", value) => read_only = !matches!(value, Some("false" | "0")),
            ("image-src" | "id", _) => return Err(BindError::ImageSource(field.clone())),
            (key, _) => return Err(BindError::MountKey(key.to_owned())),
        }
    }
    match (source, at) {
        (Some(_), Some(at)) if !at.is_absolute() => Err(BindError::RelativeDestination),
        (Some(source), Some(at)) => Ok(Bind { source, at, read_only }),
        _ => Err(BindError::MountIncomplete),
    }
}

/// Fields of a CSV line: a field in double quotes keeps its commas, `""` in it is a quote.
fn csv(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        let Some(field) = fields.last_mut() else { break };
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => field.push(character),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Bind, BindError> {
        parse_binds(text, Path::new("/w")).map(|mut binds| binds.remove(0))
    }

    #[test]
    fn a_bind_is_a_source_a_destination_and_options() {
        let bind = |source: &str, at: &str, read_only| Bind {
            source: source.into(),
            at: at.into(),
            read_only,
        };
        for (text, wanted) in [
            ("/data", vec![bind("/data", "/data", false)]),
            ("/data:/d", vec![bind("/data", "/d", false)]),
            ("/data:/d:ro", vec![bind("/data", "/d", true)]),
            ("wd:/d", vec![bind("/w/wd", "/d", false)]),
            ("/a,/b:/c", vec![bind("/a", "/a", false), bind("/b", "/c", false)]),
            ("/a:/b:ro,rw", vec![bind("/a", "/b", false)]),
            ("/a:/b:ro,/c", vec![bind("/a", "/b", true), bind("/c", "/c", false)]),
            (r"/a\:b:/c\,d", vec![bind("/a:b", "/c,d", false)]),
            ("/a::ro", vec![bind("/a", "/a", true)]),
        ] {
            assert_eq!(parse_binds(text, Path::new("/w")).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn a_bad_bind_is_named_in_the_known_words() {
        assert_eq!(
            one("/a:/b:bad").unwrap_err().to_string(),
            "while getting bind path: bad is not a valid bind option"
        );
        assert_eq!(one("wd"), Err(BindError::RelativeDestination));
        assert_eq!(one("/a:b"), Err(BindError::RelativeDestination));
        assert_eq!(one(""), Err(BindError::Empty));
        assert!(matches!(one("/a:/b:image-src=/x"), Err(BindError::ImageSource(_))));
        assert!(matches!(one("/a:/b:ro:x"), Err(BindError::TooManyParts(_))));
    }

    #[test]
    fn a_mount_is_read_field_by_field() {
        let read = |text| parse_mount(text, Path::new("/w"));
        let bind = Bind { source: "/a".into(), at: "/b".into(), read_only: false };
        for text in [
            "type=bind,source=/a,destination=/b",
            "src=/a,dst=/b",
            "type=bind,src=/a,target=/b",
            "\"src=/a\",dst=/b",
        ] {
            assert_eq!(read(text).unwrap(), std::slice::from_ref(&bind), "{text}");
        }
        assert!(read("type=bind,src=/a,dst=/b,ro").unwrap()[0].read_only);
        assert_eq!(read("src=\"/a,b\",dst=/c").unwrap()[0].source, Path::new("/a,b"));
        assert_eq!(read("src=/a,dst=/b\nsrc=/c,dst=/d\n").unwrap().len(), 2);
        assert_eq!(
            read("type=tmpfs,destination=/x").unwrap_err().to_string(),
            "unsupported mount type \"tmpfs\", only 'bind' is supported"
        );
        assert_eq!(read("src=/a"), Err(BindError::MountIncomplete));
        assert!(matches!(read("src=/a,dst=/b,color=red"), Err(BindError::MountKey(_))));
    }
}
