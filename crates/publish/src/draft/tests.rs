//! Drafts on a real file system: what is visible before, after and instead of publishing.
//!
//! Rules: the promises of [`super`].

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use super::*;

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_published_draft_has_its_bytes_and_leaves_no_other_name() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("blob");
    let mut draft = Draft::beside(&target, Mode::Exact(0o600)).unwrap().hashing(Algorithm::Sha256);
    draft.write_all(b"hello").unwrap();
    draft.publish(&Digest::sha256(b"hello")).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"hello");
    assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(names(directory.path()), ["blob"]);
}

#[test]
fn wrong_bytes_never_become_visible() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("blob");
    fs::write(&target, b"old").unwrap();
    let mut draft = Draft::beside(&target, Mode::Exact(0o600)).unwrap();
    draft.write_all(b"hellO").unwrap();
    let error = draft.publish(&Digest::sha256(b"hello")).unwrap_err();
    assert!(matches!(error, PublishError::NotTheBytes { .. }), "{error:?}");
    assert_eq!(fs::read(&target).unwrap(), b"old");
    assert_eq!(names(directory.path()), ["blob"]);
}

#[test]
fn bytes_written_at_offsets_are_hashed_by_reading() {
    use std::os::unix::fs::FileExt as _;
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("blob");
    let draft = Draft::beside(&target, Mode::Masked(0o777)).unwrap();
    draft.file().write_all_at(b"lo", 3).unwrap();
    draft.file().write_all_at(b"hel", 0).unwrap();
    draft.publish(&Digest::sha256(b"hello")).unwrap();
}

#[test]
fn a_dropped_draft_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut draft = Draft::beside(&directory.path().join("x"), Mode::Exact(0o600)).unwrap();
    draft.write_all(b"hello").unwrap();
    draft.give_name().unwrap();
    assert_eq!(names(directory.path()).len(), 1);
    drop(draft);
    assert!(names(directory.path()).is_empty());
}

#[test]
fn a_taken_name_is_not_replaced_when_asked_so() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("out.sif");
    symlink("nowhere", &target).unwrap();
    let mut draft = Draft::beside(&target, Mode::Masked(0o777)).unwrap();
    assert!(matches!(draft.publish_new(), Err(PublishError::Exists { .. })));
    assert_eq!(names(directory.path()), ["out.sif"]);
    fs::remove_file(&target).unwrap();
    let mut draft = Draft::beside(&target, Mode::Masked(0o777)).unwrap();
    draft.write_all(b"sif").unwrap();
    draft.publish_new().unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"sif");
}

#[test]
fn a_symlink_is_replaced_and_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let (target, other) = (directory.path().join("out"), directory.path().join("other"));
    fs::write(&other, b"kept").unwrap();
    symlink(&other, &target).unwrap();
    let mut draft = Draft::beside(&target, Mode::Masked(0o777)).unwrap();
    draft.write_all(b"new").unwrap();
    draft.replace().unwrap();
    assert_eq!(fs::read(&other).unwrap(), b"kept");
    assert!(!fs::symlink_metadata(&target).unwrap().is_symlink());
}

#[test]
fn a_moved_directory_still_gets_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let (before, after) = (directory.path().join("a"), directory.path().join("b"));
    fs::create_dir(&before).unwrap();
    let draft = Draft::beside(&before.join("x"), Mode::Exact(0o600)).unwrap();
    rustix::fs::rename(&before, &after).unwrap();
    draft.replace().unwrap();
    assert_eq!(names(&after), ["x"]);
}

#[test]
fn a_missing_directory_is_named() {
    let error = Draft::beside(Path::new("/nonexistent/x"), Mode::Exact(0o600)).unwrap_err();
    assert_eq!(error.to_string(), "cannot create /nonexistent/x");
    assert!(!error.is_disk_full());
}
