//! Collections and cleanings: what goes first, what stays while it is used, leased or pinned.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use orlop_oci::Digest;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use super::*;
use crate::store::tests::{key, on_host, put_segment, store};

/// Says that a file was last used and changed so many seconds after 1970.
fn used_at(path: &Path, seconds: i64) {
    let at = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: at, last_modification: at };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::empty()).unwrap();
}

fn segment(store: &Store, number: u32, used: i64) {
    drop(put_segment(store, number, &[0; 95], b"index"));
    let path = store.path(&Entry::Segment(key(number)));
    used_at(&path.join("data"), used);
    used_at(&path.join("index"), used);
}

fn left(store: &Store) -> Vec<Entry> {
    let mut left: Vec<_> = store.entries().unwrap().into_iter().map(|info| info.entry).collect();
    left.sort();
    left
}

#[test]
fn the_least_recently_used_go_until_the_cap_is_kept() {
    let (_directory, store) = store();
    for (number, used) in [(1, 30), (2, 10), (3, 20)] {
        segment(&store, number, used);
    }
    let report = store.collect(200).unwrap();
    assert_eq!(report.removed.len(), 1);
    assert_eq!((report.bytes(), report.in_use), (100, 0));
    assert_eq!(left(&store), [Entry::Segment(key(1)), Entry::Segment(key(3))]);
    store.collect(100).unwrap();
    assert_eq!(left(&store), [Entry::Segment(key(1))]);
    assert_eq!(store.collect(100).unwrap(), Report::default());
    assert_eq!(fs::read_dir(store.root().join("tmp/.orlop")).unwrap().count(), 0);
}

#[test]
fn partials_go_first_then_kept_layers_segments_and_the_rest() {
    let (_directory, store) = store();
    store.put_recipe(&key(9), &[0; 100]).unwrap();
    used_at(&store.path(&Entry::Recipe(key(9))), 1);
    segment(&store, 1, 2);
    let digest = Digest::sha256(b"x");
    store.partial(&digest, 100).unwrap().append(&[0; 100]).unwrap();
    let layer = Digest::sha256(&[1; 100]);
    let mut kept = store.partial(&layer, 100).unwrap();
    kept.append(&[1; 100]).unwrap();
    drop(kept.publish_layer().unwrap());
    let order = [
        Entry::Partial(digest),
        Entry::Layer(layer),
        Entry::Segment(key(1)),
        Entry::Recipe(key(9)),
    ];
    for (number, entry) in order.iter().enumerate() {
        let cap = 399_u64.saturating_sub(100 * number as u64);
        let report = store.collect(cap).unwrap();
        let gone: Vec<_> = report.removed.iter().map(|info| &info.entry).collect();
        assert_eq!(gone, [entry]);
    }
    assert_eq!(fs::read_dir(store.root().join("partial")).unwrap().count(), 0);
}

#[test]
fn f39_what_is_open_stays_and_using_it_makes_it_young() {
    let (_directory, store) = store();
    segment(&store, 1, 10);
    segment(&store, 2, 20);
    let open = store.segment(&key(1)).unwrap().unwrap();
    let report = store.collect(0).unwrap();
    assert_eq!((report.removed.len(), report.in_use), (1, 1));
    assert_eq!(left(&store), [Entry::Segment(key(1))]);
    drop(open.index);
    assert_eq!(store.collect(0).unwrap().in_use, 1, "its data is still open");
    let kept = fs::metadata(open.data.path()).unwrap();
    assert!(kept.atime() > 20);
    drop(open.data);
    assert_eq!(store.collect(0).unwrap().removed.len(), 1);
    assert!(left(&store).is_empty());
}

#[test]
fn f48_what_another_host_leases_stays_for_two_hours() {
    let (directory, store) = store();
    let other = on_host(&directory, "node-7.example");
    segment(&store, 1, 10);
    segment(&store, 2, 10);
    let lease = store.root().join(format!("{}.x", other.lease_stem()));
    assert!(lease.to_string_lossy().contains("leases/node-7_example."), "{}", lease.display());
    fs::write(&lease, format!("recipes/{0}\nsegments/{0}/data\n", key(1))).unwrap();
    let report = store.collect(0).unwrap();
    assert_eq!((report.removed.len(), report.in_use), (1, 1));
    assert_eq!(left(&store), [Entry::Segment(key(1))]);
    let now = fs::metadata(&lease).unwrap().mtime();
    used_at(&lease, now - 7100);
    assert_eq!(store.collect(0).unwrap().in_use, 1);
    used_at(&lease, now - 7300);
    assert_eq!(store.collect(0).unwrap().removed.len(), 1);
}

#[test]
fn f48_a_lease_of_the_own_host_says_nothing_that_locks_do_not_say_better() {
    let (_directory, store) = store();
    segment(&store, 1, 10);
    let lease = store.root().join(format!("{}.x", store.lease_stem()));
    fs::write(&lease, format!("segments/{}/data\n", key(1))).unwrap();
    assert_eq!(store.collect(0).unwrap().removed.len(), 1);
}

#[test]
fn a_lease_of_what_is_open_is_renewed_until_nothing_is() {
    let (directory, store) = store();
    let other = on_host(&directory, "other");
    segment(&store, 1, 10);
    let open = store.segment(&key(1)).unwrap().unwrap();
    store.renew_leases().unwrap();
    let entry = Entry::Segment(key(1));
    assert!(other.is_leased(&other.leased(true).unwrap(), &entry));
    assert!(!store.is_leased(&store.leased(true).unwrap(), &entry), "its own");
    assert!(store.is_leased(&store.leased(false).unwrap(), &entry));
    drop(open);
    store.renew_leases().unwrap();
    assert!(other.leased(true).unwrap().is_empty());
    assert_eq!(other.collect(0).unwrap().removed.len(), 1);
}

#[test]
fn f49_locks_are_known_to_work_where_they_do() {
    let (_directory, store) = store();
    assert!(store.do_locks_work().unwrap());
    assert!(store.do_locks_work().unwrap());
}

#[test]
fn a_partial_that_is_being_written_stays() {
    let (_directory, store) = store();
    let partial = store.partial(&Digest::sha256(b"x"), 100).unwrap();
    assert_eq!(store.collect(0).unwrap().removed.len(), 0);
    drop(partial);
}

#[test]
fn a_cleaning_that_is_called_off_removes_nothing_more() {
    let (_directory, store) = store();
    segment(&store, 1, 1000);
    let stopped = store.clean(&Filter::default(), &true.into()).unwrap_err();
    assert!(matches!(stopped, Error::Stopped), "{stopped}");
    assert_eq!(left(&store).len(), 1);
}

#[test]
fn f39_what_is_pinned_stays_until_its_last_pin_goes() {
    let (_directory, store) = store();
    segment(&store, 1, 1000);
    segment(&store, 2, 1000);
    let shared = Entry::Segment(key(1));
    store.pin("docker://h/a:1", std::slice::from_ref(&shared)).unwrap();
    store.pin("docker://h/b:1", std::slice::from_ref(&shared)).unwrap();
    let report = store.clean(&Filter::default(), &false.into()).unwrap();
    assert_eq!((report.removed.len(), report.pinned, report.in_use), (1, 1, 0));
    assert_eq!(store.collect(0).unwrap().pinned, 1);
    assert!(store.unpin("docker://h/a:1").unwrap());
    assert!(!store.unpin("docker://h/a:1").unwrap(), "once");
    assert_eq!(store.collect(0).unwrap().pinned, 1);
    assert!(store.unpin("docker://h/b:1").unwrap());
    assert_eq!(store.collect(0).unwrap().removed.len(), 1);
}

#[test]
fn a_cleaning_keeps_to_its_filter() {
    let (_directory, store) = store();
    segment(&store, 1, 1000);
    segment(&store, 2, 2000);
    store.put_recipe(&key(3), b"r").unwrap();
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1500);
    let filter = Filter { unused_since: Some(since), kinds: vec![Kind::Segment], dry_run: true };
    assert_eq!(store.clean(&filter, &false.into()).unwrap().removed.len(), 1);
    assert_eq!(left(&store).len(), 3, "a dry run removes nothing");
    store.clean(&Filter { dry_run: false, ..filter }, &false.into()).unwrap();
    assert_eq!(left(&store), [Entry::Segment(key(2)), Entry::Recipe(key(3))]);
    let report = store.clean(&Filter::default(), &false.into()).unwrap();
    assert_eq!(report.removed.len(), 2);
    assert!(left(&store).is_empty());
}

#[test]
fn f39_readers_and_a_collector_at_once_see_all_or_nothing() {
    let (_directory, store) = store();
    let stop = AtomicBool::new(false);
    let (store, stop) = (&store, &stop);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(move || {
                    for _ in 0..200 {
                        let segment = match store.segment(&key(1)).unwrap() {
                            Some(segment) => segment,
                            None => put_segment(store, 1, &[7; 4096], b"index"),
                        };
                        assert_eq!(segment.index.read().unwrap(), b"index");
                        assert_eq!(segment.data.bytes(), 4096);
                        let again = fs::read(segment.data.path()).unwrap();
                        assert_eq!(again, [7; 4096], "a leased entry keeps its name");
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                store.collect(0).unwrap();
            }
        });
        for reader in readers {
            let joined = reader.join();
            stop.store(true, Ordering::Relaxed);
            joined.unwrap();
        }
    });
    assert_eq!(fs::read_dir(store.root().join("tmp/damaged")).unwrap().count(), 0);
}

#[test]
fn f50_a_download_that_another_host_writes_stays_while_it_grows() {
    let (directory, store) = store();
    let other = on_host(&directory, "other");
    let digest = Digest::sha256(b"x");
    let mut partial = other.partial(&digest, 100).unwrap();
    partial.append(&[0; 50]).unwrap();
    // Its lock is not seen on this node.
    drop(partial);
    assert_eq!(store.collect(0).unwrap().removed.len(), 0);
    let path = store.path(&Entry::Partial(digest.clone()));
    let now = fs::metadata(&path).unwrap().mtime();
    used_at(&path, now - 130);
    assert_eq!(store.collect(0).unwrap().removed.len(), 1);
    let mut own = store.partial(&digest, 100).unwrap();
    own.append(&[0; 50]).unwrap();
    drop(own);
    assert_eq!(store.collect(0).unwrap().removed.len(), 1, "its own");
}
