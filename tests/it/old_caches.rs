//! Caches of an older format (row F41): made anew, and never read as if they were of this one.
//!
//! Caches of a newer or unknown format are in [`crate::cache`].

use crate::world::{bytes, programs, secure};
use orlop_kit::disk::Loss;
use orlop_kit::{Image, Registry, Site, blobs, tools};
use std::path::{Path, PathBuf};

/// What every file of the older cache holds.
const OLD: &[u8] = b"as an older program wrote it";

/// The files below the directories of a cache that hold what can be made again.
fn content(site: &Site, cache: &Path) -> Vec<PathBuf> {
    let mut names = site.tree(cache);
    let of = ["segments/", "recipes/", "blobs/", "tags/", "pins/"];
    names.retain(|name| of.iter().any(|of| name.starts_with(of)) && !name.ends_with('/'));
    names.into_iter().map(|name| cache.join(name)).collect()
}

/// Turns a cache of this format into one that differs in every file, and says so.
fn make_old(site: &Site, cache: &Path) -> Vec<PathBuf> {
    site.stop();
    let files = content(site, cache);
    for path in &files {
        std::fs::write(path, OLD).unwrap();
    }
    std::fs::write(cache.join("version"), "0\n").unwrap();
    files
}

fn is_old(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes == OLD)
}

#[test]
fn f41_an_older_cache_is_made_anew_and_what_is_not_its_own_stays() {
    let (registry, site) = secure(Registry::new().image("a:1", Image::two_layers()));
    let uri = registry.docker("a:1");
    site.orlop(["pull", "a.sif", &uri]).success();
    let cache = site.cache();
    let old = make_old(&site, &cache);
    assert!(old.len() > 5, "{old:?}");
    std::fs::write(cache.join("mine"), b"a user's").unwrap();
    registry.forget();

    let pulled = site.orlop(["pull", "b.sif", &uri]).success();
    assert!(!pulled.stderr.contains("WARNING"), "{}", pulled.report());
    assert!(bytes(&site, "a.sif") == bytes(&site, "b.sif"));
    assert_eq!(registry.count(&blobs()), 3, "{}", registry.log());
    assert!(!content(&site, &cache).iter().any(|path| is_old(path)));
    assert_eq!(std::fs::read(cache.join("version")).unwrap(), b"1\n");
    assert!(cache.join("mine").exists());
    site.orlop(["cache", "verify"]).success();
}

#[test]
fn f41_an_upgrade_cut_at_any_step_leaves_the_old_format_or_the_new_one() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let uri = registry.docker("a:1");
    let bare = Site::new(&programs());
    let home = bare.home();
    let Some(site) = bare.with_disk(&home) else { return };
    let site = site.insecure(&registry);
    site.orlop(["pull", "a.sif", &uri]).success();
    let golden = bytes(&site, "a.sif");
    let old: Vec<PathBuf> = make_old(&site, &site.cache())
        .iter()
        .map(|path| path.strip_prefix(&home).unwrap().to_owned())
        .collect();
    site.disk().settles();
    let begin = site.disk().log().len();
    site.orlop(["cache", "list"]).success();
    site.stop();

    let log = site.disk().log();
    let (mut states, mut last) = (Vec::new(), String::new());
    let losses = [Loss::Nothing, Loss::All, Loss::One(0), Loss::One(1), Loss::Some(7)];
    let many = if tools::rounds(2) == 2 { 2 } else { losses.len() };
    for cut in begin..=log.len() {
        for loss in losses.into_iter().take(many) {
            let after = format!("a cut after {cut} operations, {loss:?} lost");
            let left = tempfile::tempdir().unwrap();
            log.restore(cut, loss, left.path());
            let version = left.path().join(".cache/orlop/version");
            let version = std::fs::read_to_string(version).unwrap();
            let there = old.iter().filter(|path| is_old(&left.path().join(path))).count();
            match version.as_str() {
                "0\n" => assert_eq!(there, old.len(), "{after}: part of it is gone"),
                "1\n" => assert_eq!(there, 0, "{after}: old files among the new"),
                "1 unfinished\n" => {}
                other => panic!("{after}: {other:?}"),
            }
            if version != last {
                states.push((cut, loss));
                last = version;
            }
        }
    }
    assert!(states.len() >= 3, "{states:?}");
    tools::say(&format!("{} operations of an upgrade, {} states", log.len() - begin, states.len()));
    // A daemon goes on from wherever the other one stopped.
    let rounds = usize::try_from(tools::rounds(2)).unwrap();
    let step = (log.len() - begin).div_ceil(rounds.max(1)).max(1);
    let spread = (begin..=log.len()).step_by(step).map(|cut| (cut, Loss::Nothing));
    for (cut, loss) in spread.chain(states.into_iter().take(2)) {
        let next = Site::new(&programs());
        log.restore(cut, loss, &next.home());
        let next = next.insecure(&registry);
        next.goes_on(&format!("a cut after {cut} operations, {loss:?} lost"), &uri, &golden);
    }
}
