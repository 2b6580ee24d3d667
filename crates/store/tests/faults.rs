//! A full disk and killed processes, with real ones.
//!
//! Each test starts this program again for the part of the one that suffers; its directory says
//! where it is, because tests read no environment.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;

use orlop_oci::Digest;
use orlop_store::{Checks, Entry, Error, Filter, Key, Settings, Store, Tag};

fn key(number: u32) -> Key {
    format!("{number:064x}").parse().unwrap()
}

fn open(root: &Path) -> Store {
    Store::open(root, Settings::of_this_process()).unwrap()
}

/// This program again, running one ignored test in a directory.
fn part(mut command: Command, name: &str, directory: &Path) -> Child {
    command
        .args(["--ignored", "--exact", "--nocapture", name])
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn in_own_namespace() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount"]).arg(std::env::current_exe().unwrap());
    command
}

#[test]
fn f30_a_full_disk_is_named_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let works = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        return;
    }
    let ended = part(in_own_namespace(), "on_a_small_disk", directory.path());
    let ended = ended.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
#[ignore = "a part of another test"]
fn on_a_small_disk() {
    let here = std::env::current_dir().unwrap();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &here, "tmpfs", flags, Some(c"size=1m,mode=700")).unwrap();
    let root = here.join("cache");
    let store = open(&root);
    let free = store.space().unwrap().free;
    let whole = vec![7; 2 << 20];

    // A download: what came is kept, and what was still to come is named.
    let digest = Digest::sha256(&whole);
    let mut partial = store.partial(&digest, 2 << 20).unwrap();
    let failed = whole.chunks(64 << 10).find_map(|piece| partial.append(piece).err()).unwrap();
    let (at, bytes) = match failed {
        Error::DiskFull { directory, bytes, cause: Some(_) } => (directory, bytes),
        other => panic!("{other:?}"),
    };
    assert_eq!(at, root.join("partial"));
    assert_eq!(bytes, (2 << 20) - partial.have());
    drop(partial);
    assert!(store.path(&Entry::Partial(digest.clone())).exists());

    // A segment, a recipe and a document on the full disk: nothing becomes visible.
    let full = |error: Error| assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
    match store.draft_segment(&key(1)) {
        Ok(mut draft) => match draft.data().write_all(&whole) {
            Ok(()) => panic!("a full disk took it"),
            Err(cause) => assert_eq!(cause.kind(), std::io::ErrorKind::StorageFull),
        },
        Err(error) => full(error),
    }
    full(store.put_recipe(&key(2), &whole).unwrap_err());
    full(store.put_document(&digest, &whole).unwrap_err());
    assert!(store.segment(&key(1)).unwrap().is_none());
    assert!(store.recipe(&key(2)).unwrap().is_none());
    full(store.make_room(4 << 20, 4 << 20).unwrap_err());
    store.make_room(512 << 10, 512 << 10).unwrap();

    // Making room has collected what nobody uses: it is as before, without cleaning by hand.
    assert!(store.space().unwrap().free + (64 << 10) >= free);
    assert_eq!(fs::read_dir(root.join("tmp/.orlop")).unwrap().count(), 0);
    store.put_recipe(&key(2), &whole[..256 << 10]).unwrap();
}

#[test]
fn f01_killed_writers_leave_only_whole_entries() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("cache");
    let store = open(&root);
    let program = std::env::current_exe().unwrap();
    for round in 0..40_u64 {
        store.clean(&Filter::default(), &false.into()).unwrap();
        let mut child = part(Command::new(&program), "writes_until_killed", directory.path());
        // Killed after it has written something, each time at another point.
        let mut polls = 0;
        while store.entries().unwrap().len() < 3 || polls < (round * 37) % 50 {
            polls += 1;
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        check_whole(&store);
    }
    // What the killed left goes with a sweep once it is an hour old; none of it is an entry.
    let left = fs::read_dir(root.join("tmp/.orlop")).unwrap().count();
    assert!(left <= 40, "{left}");
}

/// Blobs are hashed without help.
struct Nothing;

impl Checks for Nothing {
    fn segment(&self, _: &Key, _: &[u8], _: &fs::File, _: &AtomicBool) -> Result<(), String> {
        Ok(())
    }

    fn recipe(&self, _: &Key, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

fn check_whole(store: &Store) {
    for info in store.entries().unwrap() {
        match &info.entry {
            Entry::Segment(key) => {
                let segment = store.segment(key).unwrap().unwrap();
                assert_eq!(segment.index.read().unwrap(), key.as_str().as_bytes());
                assert_eq!(segment.data.bytes(), 100_000);
            }
            Entry::Recipe(key) => {
                let recipe = store.recipe(key).unwrap().unwrap();
                assert_eq!(recipe.read().unwrap(), key.as_str().repeat(1000).as_bytes());
            }
            Entry::Blob(_) | Entry::Layer(_) => {
                assert!(store.verify_entry(&info.entry, &Nothing, &false.into()).unwrap());
            }
            Entry::Tag(_) => assert!(store.tag("h/a:1").unwrap().is_some()),
            Entry::Partial(_) => {}
        }
    }
    assert_eq!(fs::read_dir(store.root().join("tmp/damaged")).unwrap().count(), 0);
}

#[test]
#[ignore = "a part of another test"]
fn writes_until_killed() {
    let store = open(&std::env::current_dir().unwrap().join("cache"));
    for round in 0_u32.. {
        let key = key(round % 50);
        let mut draft = store.draft_segment(&key).unwrap();
        draft.data().write_all(&[7; 100_000]).unwrap();
        drop(draft.publish(key.as_str().as_bytes()).unwrap());
        store.put_recipe(&key, key.as_str().repeat(1000).as_bytes()).unwrap();
        let bytes = key.as_str().repeat(2000).into_bytes();
        let digest = Digest::sha256(&bytes);
        let size = bytes.len() as u64;
        let mut partial = store.partial(&digest, size).unwrap();
        for piece in bytes.chunks(1000).skip(usize::try_from(partial.have()).unwrap() / 1000) {
            partial.append(piece).unwrap();
        }
        partial.publish().unwrap();
        let seen = std::time::SystemTime::UNIX_EPOCH;
        store
            .put_tag("h/a:1", Tag { digest, seen, proofs: Vec::new(), source: "h/a".into() })
            .unwrap();
        if round % 7 == 0 {
            store.collect(1_000_000).unwrap();
        }
    }
}
