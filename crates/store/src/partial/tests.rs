//! Downloads gone on with after a kill, a boot and damage. Rows F01, F36 and R70 of
//! `reliability.md`, the id in the name; the others are the promises of [`super`].

use std::fs;

use super::*;
use crate::store::Settings;
use crate::store::tests::{on_host, store};

fn blob(bytes: usize) -> (Vec<u8>, Digest) {
    let bytes: Vec<u8> = (0..=250).cycle().take(bytes).collect();
    let digest = Digest::sha256(&bytes);
    (bytes, digest)
}

#[test]
fn a_whole_download_becomes_a_blob() {
    let (_directory, store) = store();
    let (bytes, digest) = blob(3_000_000);
    for hashing in [false, true] {
        let mut partial = store.partial(&digest, 3_000_000).unwrap();
        if hashing {
            partial = partial.hashing().unwrap();
        }
        for piece in bytes.chunks(1_000_000) {
            partial.append(piece).unwrap();
        }
        let blob = partial.publish().unwrap();
        assert_eq!(blob.bytes(), 3_000_000);
        assert_eq!(fs::read(store.path(&Entry::Blob(digest.clone()))).unwrap(), bytes);
        assert_eq!(fs::read_dir(store.root().join("partial")).unwrap().count(), 0);
        assert!(store.blob(&digest, 3_000_000).unwrap().is_some());
    }
}

#[test]
fn f01_a_killed_download_goes_on_before_the_last_mib() {
    let (_directory, store) = store();
    let (bytes, digest) = blob(3 << 20);
    let mut partial = store.partial(&digest, 3 << 20).unwrap();
    partial.append(&bytes[..5 << 19]).unwrap();
    drop(partial);
    let mut partial = store.partial(&digest, 3 << 20).unwrap();
    assert_eq!(partial.have(), 3 << 19);
    let mut there = Vec::new();
    partial.reader().unwrap().read_to_end(&mut there).unwrap();
    assert_eq!(there, bytes[..3 << 19]);
    partial.append(&bytes[3 << 19..]).unwrap();
    partial.publish().unwrap();
}

#[test]
fn f36_after_another_boot_only_what_was_synced_is_trusted() {
    let (directory, store) = store();
    let (bytes, digest) = blob(3 << 20);
    let mut partial = store.partial(&digest, 3 << 20).unwrap();
    partial.append(&bytes[..1000]).unwrap();
    partial.sync().unwrap();
    partial.append(&bytes[1000..5 << 19]).unwrap();
    drop(partial);
    let settings = Settings { boot: "another".to_owned(), ..Settings::of_this_process() };
    let rebooted = Store::open(store.root(), settings).unwrap();
    assert_eq!(rebooted.partial(&digest, 3 << 20).unwrap().have(), 1000);
    assert_eq!(on_host(&directory, "there").partial(&digest, 3 << 20).unwrap().have(), 1000);
}

#[test]
fn f44_a_node_whose_locks_are_not_seen_writes_on_into_a_file_of_its_own() {
    let (directory, frozen) = store();
    let (bytes, digest) = blob(3 << 20);
    let mut thawed = frozen.partial(&digest, 3 << 20).unwrap();
    thawed.append(&bytes[..2000]).unwrap();
    thawed.sync().unwrap();
    thawed.append(&bytes[2000..3000]).unwrap();
    // On a file system that grants every lock.
    rustix::fs::flock(&thawed.file, FlockOperation::Unlock).unwrap();
    let other = on_host(&directory, "there");
    let mut taken = other.partial(&digest, 3 << 20).unwrap();
    assert_eq!(taken.have(), 2000);
    assert!(matches!(other.partial(&digest, 3 << 20), Err(Error::Busy { .. })));
    taken.append(&bytes[2000..]).unwrap();
    // Whatever it writes, marks or throws away is its own.
    thawed.append(b"wrong").unwrap();
    thawed.sync().unwrap();
    drop(thawed.discard());
    let taken = taken.publish().unwrap();
    assert!(fs::read(taken.path()).unwrap() == bytes);
}

#[test]
fn f44_a_thawed_node_publishes_nothing_that_another_is_at() {
    let (directory, frozen) = store();
    let (bytes, digest) = blob(3000);
    let mut thawed = frozen.partial(&digest, 3000).unwrap();
    thawed.append(&bytes[..2000]).unwrap();
    rustix::fs::flock(&thawed.file, FlockOperation::Unlock).unwrap();
    let mut taken = on_host(&directory, "there").partial(&digest, 3000).unwrap();
    taken.append(&bytes[..10]).unwrap();
    thawed.append(&bytes[2000..]).unwrap();
    assert!(thawed.publish().unwrap_err().is_stale());
    taken.append(&bytes[10..]).unwrap();
    assert_eq!(taken.publish().unwrap().bytes(), 3000);
}

#[test]
fn wrong_bytes_are_gone_and_never_a_blob() {
    let (_directory, store) = store();
    let (bytes, digest) = blob(1000);
    for wrong in [&bytes[..999], &[0; 1000][..], &[&bytes[..], b"x"].concat()] {
        let mut partial = store.partial(&digest, 1000).unwrap();
        assert_eq!(partial.have(), 0);
        partial.append(wrong).unwrap();
        let error = partial.publish().unwrap_err();
        assert!(matches!(error, Error::NotTheBytes { .. }), "{error}");
        assert!(store.blob(&digest, 1000).unwrap().is_none());
        assert_eq!(fs::read_dir(store.root().join("partial")).unwrap().count(), 0);
    }
}

#[test]
fn bytes_changed_on_disk_are_found_when_gone_on() {
    let (_directory, store) = store();
    let (bytes, digest) = blob(3 << 20);
    let mut partial = store.partial(&digest, 3 << 20).unwrap();
    partial.append(&bytes[..5 << 19]).unwrap();
    drop(partial);
    let path = store.path(&Entry::Partial(digest.clone()));
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(b"X", 7).unwrap();
    let mut partial = store.partial(&digest, 3 << 20).unwrap().hashing().unwrap();
    let have = usize::try_from(partial.have()).unwrap();
    partial.append(&bytes[have..]).unwrap();
    assert!(matches!(partial.publish(), Err(Error::NotTheBytes { .. })));
}

#[test]
fn one_process_writes_a_download_at_a_time() {
    let (directory, store) = store();
    let (_, digest) = blob(10);
    let first = store.partial(&digest, 10).unwrap();
    let error = on_host(&directory, "other").partial(&digest, 10).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    drop(first);
    drop(store.partial(&digest, 10).unwrap().discard());
    assert!(!store.path(&Entry::Partial(digest)).exists());
}

#[test]
fn a_restart_begins_with_nothing() {
    let (_directory, store) = store();
    let (bytes, digest) = blob(1000);
    let mut partial = store.partial(&digest, 1000).unwrap().hashing().unwrap();
    partial.append(b"wrong").unwrap();
    partial.restart().unwrap();
    assert_eq!(partial.have(), 0);
    partial.append(&bytes).unwrap();
    partial.publish().unwrap();
}

#[test]
fn r70_a_sync_is_due_after_64_mib() {
    let (_directory, store) = store();
    let digest = Digest::sha256(b"");
    let mut partial = store.partial(&digest, 1 << 30).unwrap();
    let piece = vec![0; 32 << 20];
    partial.append(&piece).unwrap();
    assert!(!partial.is_sync_due());
    partial.append(&piece).unwrap();
    assert!(partial.is_sync_due());
    partial.sync().unwrap();
    assert!(!partial.is_sync_due());
    drop(partial);
    assert_eq!(store.partial(&digest, 1 << 30).unwrap().have(), 64 << 20);
}

#[test]
fn f44_a_download_that_another_node_published_or_removed_meanwhile_is_theirs_or_stale() {
    let (_directory, store) = store();
    let digest = Digest::sha256(b"bytes");
    let whole = || {
        let mut partial = store.partial(&digest, 5).unwrap();
        partial.append(b"bytes").unwrap();
        partial
    };
    let partial = whole();
    let path = partial.path.clone();
    let blob = store.path(&Entry::Blob(digest.clone()));
    orlop_publish::adopt(&partial.file, &path, &blob).unwrap();
    assert_eq!(partial.publish().unwrap().path(), blob);
    fs::remove_file(&blob).unwrap();
    let partial = whole();
    fs::remove_file(&path).unwrap();
    let error = partial.publish().unwrap_err();
    assert!(error.is_stale(), "{error}");
}
