//! What dead processes left in the cache, in any number (row F40).
//!
//! A normal run makes tens of thousands, one with `ORLOP_KIT_LARGE` a million.

use crate::world::site;
use orlop_kit::{Image, Registry, memory, tools};
use rustix::fs::{AtFlags, CWD, FlockOperation, Timespec, Timestamps};
use std::path::Path;
use std::time::Instant;

/// Sets a file's times to so many seconds before those that it has.
fn age(path: &Path, seconds: i64) {
    use std::os::unix::fs::MetadataExt as _;
    let at = path.symlink_metadata().unwrap().mtime() - seconds;
    let at = Timespec { tv_sec: at, tv_nsec: 0 };
    let times = Timestamps { last_access: at, last_modification: at };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A name that Orlop gives in this directory.
fn name(place: &str, number: u64) -> String {
    match place {
        "tmp" | "tmp/.orlop" => format!(".orlop-{number:016x}"),
        "partial" => format!("sha256-{number:064x}.mark"),
        "claims" => format!("tag-{number:064x}"),
        _ => format!("node.0a1b2c3d.{number:016x}"),
    }
}

#[test]
fn f40_strays_in_any_number_keep_nobody_waiting_and_are_swept_but_the_young_and_the_held() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = site(&registry);
    let uri = registry.docker("a:1");
    site.orlop(["pull", "a.sif", &uri]).success();
    let without = Instant::now();
    site.stop();
    site.orlop(["registry", "list"]).success();
    let without = without.elapsed();
    site.stop();
    let count = tools::sized(20_000, 1_000_000) / 4;
    let cache = site.cache();
    let places = ["tmp/.orlop", "partial", "claims", "leases"];
    for place in places {
        let first = cache.join(place).join(name(place, 0));
        std::fs::write(&first, b"x").unwrap();
        age(&first, 3 * 3600);
        site.person().give(&first);
        let mut last = first;
        for number in 1..count {
            let path = cache.join(place).join(name(place, number));
            // File systems have a limit of names for one file, of which 1000 is the lowest.
            if number % 500 == 0 {
                std::fs::write(&path, b"x").unwrap();
                age(&path, 3 * 3600);
                site.person().give(&path);
                last = path;
            } else {
                std::fs::hard_link(&last, &path).unwrap();
            }
        }
        let young = cache.join(place).join(name(place, count));
        std::fs::write(&young, b"x").unwrap();
        age(&young, 1800);
    }
    let held = cache.join("tmp/.orlop").join(name("tmp/.orlop", count + 1));
    std::fs::write(&held, b"x").unwrap();
    age(&held, 3 * 3600);
    let lock = std::fs::File::open(&held).unwrap();
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared).unwrap();

    if count > 100_000 {
        // What it takes to bring a million new names to the disk is the test's, not the strays'.
        rustix::fs::sync();
    }
    let start = Instant::now();
    site.orlop(["registry", "list"]).success();
    let usable = start.elapsed();
    let pulled = Instant::now();
    site.orlop(["pull", "--force", "a.sif", &uri]).success();
    let pulled = pulled.elapsed();
    let is_left = || {
        places.iter().any(|place| {
            let kept = [name(place, count), name(place, count + 1)];
            let mut names = std::fs::read_dir(cache.join(place)).unwrap().flatten();
            // By numbers below 2^32 nothing else is called.
            names.any(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                name.contains("00000000") && !kept.contains(&name)
            })
        })
    };
    assert!(is_left(), "it answered only when all was swept");
    let daemon = site.daemons()[0];
    let most = if count > 100_000 { 6000 } else { 600 };
    let mut looks = 0;
    while is_left() {
        looks += 1;
        assert!(looks < most, "strays are left after {:?}", start.elapsed());
        let _state = site.orlop(["status"]).success();
    }
    let peak = memory::peak(daemon).unwrap();
    tools::say(&format!(
        "{} strays: first command {usable:?} with them, {without:?} without; a cached pull \
         {pulled:?}; swept after {:?}; daemon {} MiB",
        count * 4,
        start.elapsed(),
        peak >> 20
    ));
    assert!(peak < 64 << 20, "{peak}");
    for place in places {
        assert!(cache.join(place).join(name(place, count)).exists(), "{place}");
    }
    assert!(held.exists());
}

#[test]
fn f40_a_cache_in_a_directory_with_other_things_harms_none_of_them() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = site(&registry);
    let uri = registry.docker("a:1");
    let scratch = site.home().join("scratch");
    let others = [
        "tmp/thesis/chapter",
        "tmp/notes",
        "partial/results.csv",
        "leases/x",
        "claims/x",
        "pins/x",
    ];
    for other in others {
        site.write_home(&format!("scratch/{other}"), b"mine");
        for path in scratch.join(other).ancestors().take_while(|path| *path != scratch) {
            age(path, 3 * 24 * 3600);
        }
    }
    let orlop = |words: &[&str]| {
        let ran = site.run(words.iter().copied()).env("ORLOP_CACHEDIR", &scratch);
        ran.outcome().success();
        for other in others {
            assert!(scratch.join(other).exists(), "{other} after {words:?}");
        }
    };
    orlop(&["pull", "a.sif", &uri]);
    // What can be swept here goes after what is looked at: the sweep has been then.
    let stray = scratch.join("tmp").join(name("tmp", 1));
    site.write_home(stray.strip_prefix(site.home()).unwrap().to_str().unwrap(), b"x");
    age(&stray, 3 * 24 * 3600);
    orlop(&["daemon", "stop"]);
    orlop(&["cache", "usage"]);
    orlop_kit::until_true("the stray is swept", || !stray.exists());
    orlop(&["cache", "verify"]);
    orlop(&["cache", "clean", "--force"]);
    assert!(!scratch.join("CACHEDIR.TAG").exists(), "backups go on");
}
