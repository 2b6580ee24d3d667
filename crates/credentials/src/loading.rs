//! From a path to a parsed credential file, with what its owner and mode say.
//!
//! A default file of somebody else is passed over, one that the user named is read; both are said.
//! A file that another program writes in place just now is looked at once more.
//! Rule: reliability rows S03 to S17. Takes no lock.
//!
//! Not here: opening without blocking ([`crate::reading`]), editing ([`crate::update`]), where the
//! files are (`orlop-config`).

use std::path::Path;

use orlop_config::env::{self, Environment};
use orlop_config::{Paths, limits::LIST_FILE_BYTES};
use rustix::event::{Timespec, poll};

use crate::docker_json::AuthFile;
use crate::remote_yaml::RemoteYaml;
use crate::{Error, Limits, reading};

/// Nanoseconds after which a file that did not parse is looked at once more.
const MOMENT: i64 = 20_000_000;

/// What kind of file is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The user named it (`--authfile`): read whoever owns it.
    Named,
    /// One of the default files: ignored when it belongs to somebody other than the user or root.
    Default,
    /// The same, and the document is what elsewhere is the value of `auths` (`~/.dockercfg`).
    Legacy,
}

/// Loads a credential file; `None` when it does not exist or is not to be trusted. What the user
/// should know is added to `warnings`, one sentence each.
///
/// # Errors
/// As [`reading::read`] and [`AuthFile::parse`].
pub fn auth_file(
    path: &Path,
    kind: Kind,
    limits: Limits,
    warnings: &mut Vec<String>,
) -> Result<Option<AuthFile>, Error> {
    let name = path.display().to_string();
    let Some(content) = reading::read(path, limits.file_bytes)? else {
        return Ok(None);
    };
    if !content.is_ours() {
        let owner = content.owner;
        if kind != Kind::Named {
            warnings.push(format!("{name} belongs to user {owner}; it is ignored"));
            return Ok(None);
        }
        warnings.push(format!("{name} belongs to user {owner}"));
    }
    if content.is_exposed() {
        warnings.push(format!("{name} is open to other users; `chmod 600 {name}` closes it"));
    }
    let file = settled(path, &name, kind, limits, &content.bytes)?;
    warnings.extend_from_slice(file.warnings());
    Ok(Some(file))
}

/// Loads what is read when no file is named: `DOCKER_AUTH_CONFIG`, then the default files in
/// order, those that exist.
///
/// # Errors
/// As [`auth_file`], of the first that cannot be used.
pub fn default_files(
    environment: &Environment,
    paths: &Paths,
    limits: Limits,
    warnings: &mut Vec<String>,
) -> Result<Vec<AuthFile>, Error> {
    let mut files = Vec::new();
    if let Some(text) = environment.get(env::DOCKER_AUTH_CONFIG) {
        files.push(AuthFile::parse(text.as_encoded_bytes(), "DOCKER_AUTH_CONFIG")?);
    }
    for file in paths.credential_files().read {
        let kind = if file.is_legacy { Kind::Legacy } else { Kind::Default };
        files.extend(auth_file(&file.path, kind, limits, warnings)?);
    }
    Ok(files)
}

/// Loads a credential file for an edit, without a word about its owner or mode.
///
/// # Errors
/// As [`auth_file`].
pub fn auth_file_as(path: &Path, name: &str, limits: Limits) -> Result<Option<AuthFile>, Error> {
    match reading::read(path, limits.file_bytes)? {
        Some(content) => settled(path, name, Kind::Named, limits, &content.bytes).map(Some),
        None => Ok(None),
    }
}

/// Loads the list file; `None` when it does not exist. `name` is how messages call it.
///
/// # Errors
/// As [`reading::read`] and [`RemoteYaml::parse`].
pub fn list_file(path: &Path, name: &str) -> Result<Option<RemoteYaml>, Error> {
    match reading::read(path, LIST_FILE_BYTES)? {
        Some(content) => RemoteYaml::parse(&content.bytes, name).map(Some),
        None => Ok(None),
    }
}

/// Parses what was read, and what is read a second time when that was no document.
fn settled(
    path: &Path,
    name: &str,
    kind: Kind,
    limits: Limits,
    bytes: &[u8],
) -> Result<AuthFile, Error> {
    let parse = |bytes: &[u8]| match kind {
        Kind::Legacy => AuthFile::parse_legacy(bytes, name),
        Kind::Named | Kind::Default => AuthFile::parse(bytes, name),
    };
    let first = match parse(bytes) {
        Ok(file) => return Ok(file),
        Err(first) => first,
    };
    // Whoever writes it now is done in a moment.
    let moment = Timespec { tv_sec: 0, tv_nsec: MOMENT };
    let _ = poll(&mut [], Some(&moment));
    match reading::read(path, limits.file_bytes)? {
        Some(again) if *again.bytes != *bytes => parse(&again.bytes),
        _ => Err(first),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn s13_a_loose_mode_is_a_warning_with_the_way_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        for (mode, warns) in [(0o600, 0), (0o400, 0), (0o644, 1), (0o660, 1)] {
            write(&path, "{}", mode);
            let mut warnings = Vec::new();
            assert!(
                auth_file(&path, Kind::Default, Limits::default(), &mut warnings)
                    .unwrap()
                    .is_some()
            );
            assert_eq!(warnings.len(), warns, "{mode:o}: {warnings:?}");
            assert!(warnings.iter().all(|text| text.contains("chmod 600")), "{warnings:?}");
        }
    }

    #[test]
    fn s12_a_foreign_default_file_is_ignored_and_a_foreign_named_one_read() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        write(&path, "{}", 0o600);
        std::os::unix::fs::chown(&path, Some(4711), None).unwrap();
        let mut warnings = Vec::new();
        assert!(
            auth_file(&path, Kind::Default, Limits::default(), &mut warnings).unwrap().is_none()
        );
        assert!(auth_file(&path, Kind::Named, Limits::default(), &mut warnings).unwrap().is_some());
        let name = path.display();
        assert_eq!(
            warnings,
            [
                format!("{name} belongs to user 4711; it is ignored"),
                format!("{name} belongs to user 4711")
            ]
        );
    }

    #[test]
    fn s01_s02_a_missing_file_is_silent() {
        let mut warnings = Vec::new();
        for kind in [Kind::Named, Kind::Default, Kind::Legacy] {
            assert!(
                auth_file(Path::new("/nonexistent/x"), kind, Limits::default(), &mut warnings)
                    .unwrap()
                    .is_none()
            );
        }
        assert!(warnings.is_empty());
    }

    #[test]
    fn s08_a_file_of_4_mib_is_read_and_one_byte_more_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        let mut text = r#"{"x":""#.to_owned() + &"y".repeat((4 << 20) - 8) + "\"}";
        write(&path, &text, 0o600);
        assert!(
            auth_file(&path, Kind::Named, Limits::default(), &mut Vec::new()).unwrap().is_some()
        );
        text.push('\n');
        write(&path, &text, 0o600);
        let error = auth_file(&path, Kind::Named, Limits::default(), &mut Vec::new()).unwrap_err();
        assert!(error.to_string().ends_with("(credential-file-bytes)"), "{error}");
        let error =
            auth_file(Path::new("/dev/zero"), Kind::Named, Limits::default(), &mut Vec::new())
                .unwrap_err();
        assert_eq!(error.to_string(), "/dev/zero is a device, not a regular file");
    }

    #[test]
    fn s04_no_byte_of_a_broken_file_is_in_the_message() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        for text in [
            "hunter2",
            "{\"auths\":{\"h\":{\"auth\":hunter2}}}",
            "[\"hunter2\"]",
            "{\"a\":\"hunter2",
        ] {
            write(&path, text, 0o600);
            let error =
                auth_file(&path, Kind::Named, Limits::default(), &mut Vec::new()).unwrap_err();
            assert!(matches!(error, Error::Invalid { .. }), "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn s17_a_file_that_was_being_written_is_read_once_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        write(&path, r#"{"auths":{"h":{}}}"#, 0o600);
        let cut = br#"{"auths":{"h"#;
        assert!(settled(&path, "f", Kind::Default, Limits::default(), cut).is_ok());
        write(&path, r#"{"auths":{"#, 0o600);
        let error = settled(&path, "f", Kind::Default, Limits::default(), cut).unwrap_err();
        assert!(error.to_string().starts_with("f:1:11: "), "the newer fault: {error}");
    }

    #[test]
    fn s05_a_byte_order_mark_is_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        write(&path, "\u{feff}{}", 0o600);
        let mut warnings = Vec::new();
        assert!(
            auth_file(&path, Kind::Default, Limits::default(), &mut warnings).unwrap().is_some()
        );
        assert!(warnings.concat().ends_with("begins with a byte order mark"), "{warnings:?}");
    }

    #[test]
    fn a_legacy_file_is_the_map_of_logins_itself() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".dockercfg");
        write(&path, r#"{"h.example":{"auth":"dTpw"}}"#, 0o600);
        let file =
            auth_file(&path, Kind::Legacy, Limits::default(), &mut Vec::new()).unwrap().unwrap();
        assert_eq!(file.keys(), ["h.example"]);
    }
}
