//! Two nodes on one cache: one conversion for both, takeover, chances. A node is a daemon with a
//! runtime directory of its own (rows F43 to F50); loops are as long as `ORLOP_KIT_ROUNDS` says.

use crate::world::{Chance, bytes, json, site};
use orlop_kit::site::{Run, end};
use orlop_kit::{Answer, Digest, Image, Registry, Site, blobs, layer, tools, until_true};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// The runtime directory of the second node.
fn other(site: &Site) -> PathBuf {
    let at = site.root().join("run2");
    if !at.exists() {
        std::fs::create_dir(&at).unwrap();
        std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o700)).unwrap();
        site.person().give(&at);
    }
    at
}

/// `orlop` on one of the two nodes.
fn on<'a>(site: &'a Site, node: usize, words: &[&str]) -> Run<'a> {
    let run = site.run(words.iter().copied());
    if node == 0 { run } else { run.env("XDG_RUNTIME_DIR", other(site)) }
}

fn status(site: &Site, node: usize) -> serde_json::Value {
    let outcome = on(site, node, &["status", "--json"]).outcome().success();
    serde_json::from_slice(&outcome.bytes).unwrap()
}

fn waits(site: &Site, node: usize) -> bool {
    let status = status(site, node);
    let flights = status["flights"].as_array().map(Vec::as_slice).unwrap_or_default();
    flights.iter().any(|flight| flight["elsewhere"] == true)
}

#[test]
fn f43_both_pull_cold_and_one_converts() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    let image = registry.docker("a:1");
    let held = registry.gate(layer(1));
    let first = on(&site, 0, &["pull", "a.sif", &image]).start();
    held.arrived(1);
    let second = on(&site, 1, &["pull", "b.sif", &image]).start();
    until_true("the second node waits for the first", || waits(&site, 1));
    held.open();
    first.outcome().success();
    second.outcome().success();
    assert_eq!(site.daemons().len(), 2);
    assert_eq!(registry.count(&blobs()), 3, "{}", registry.log());
    assert!(bytes(&site, "a.sif") == bytes(&site, "b.sif"));
    let claims: Vec<_> =
        site.tree(&site.cache()).into_iter().filter(|path| path.starts_with("claims/")).collect();
    until_true("no claim is left", || {
        site.tree(&site.cache()).iter().filter(|path| path.starts_with("claims/")).count() == 1
    });
    assert!(!claims.is_empty(), "the directory itself");
}

#[test]
fn f44_the_other_takes_over_when_the_converting_node_is_killed() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    let image = registry.docker("a:1");
    let held = registry.gate(layer(1));
    let first = on(&site, 0, &["pull", "a.sif", &image]).start();
    held.arrived(1);
    let daemon = site.daemons()[0];
    let second = on(&site, 1, &["pull", "b.sif", &image]).start();
    until_true("the second node waits for the first", || waits(&site, 1));
    first.signal(Signal::KILL);
    end(daemon, Signal::KILL);
    held.open();
    second.outcome().success();
    on(&site, 1, &["cache", "verify"]).outcome().success();
    assert!(registry.count(&layer(0)) <= 2, "{}", registry.log());
}

#[test]
fn f44_a_download_that_a_stopped_daemon_holds_is_made_beside_it() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = site(&registry).env("ORLOP_LIMITS_CLAIM_STALE", "1s");
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    let image = registry.oras("sifs/a:1");
    site.orlop(["push", "a.sif", &image]).success();
    let whole = bytes(&site, "a.sif");
    site.orlop(["cache", "clean", "--force"]).success();
    // The rest comes a byte at a time.
    let most = u64::try_from(whole.len()).unwrap() - 60;
    let slow = Answer::Drip(most, std::time::Duration::from_millis(1));
    registry.forget();
    registry.script(blobs(), [slow, Answer::Whole]);
    let first = on(&site, 0, &["pull", "b.sif", &image]).start();
    until_true("most of it has come", || {
        let partials = std::fs::read_dir(site.cache().join("partial")).unwrap().flatten();
        partials.filter_map(|file| Some(file.metadata().ok()?.len())).any(|size| size >= most)
    });
    let daemon = i32::try_from(site.daemons()[0]).ok().and_then(rustix::process::Pid::from_raw);
    let signal = |signal| rustix::process::kill_process(daemon.unwrap(), signal).unwrap();
    signal(Signal::STOP);
    let second = on(&site, 1, &["pull", "c.sif", &image]).outcome();
    signal(Signal::CONT);
    second.success();
    first.outcome().success();
    assert!(bytes(&site, "b.sif") == whole && bytes(&site, "c.sif") == whole);
    assert_eq!(registry.count(&blobs()), 2, "{}", registry.log());
    on(&site, 1, &["cache", "verify"]).outcome().success();
}

#[test]
fn f44_f45_a_claim_that_does_not_change_is_taken_over_whatever_its_clock_says() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = site(&registry);
    let image = registry.docker("a:1");
    site.orlop(["pull", "a.sif", &image]).success();
    let tree = site.tree(&site.cache());
    let segment = tree.iter().find_map(|path| path.strip_prefix("segments/")?.strip_suffix('/'));
    let segment = segment.filter(|name| !name.is_empty()).unwrap().to_owned();
    let claim = site.cache().join(format!("claims/segment-{segment}"));
    for hours in [-9000_i64, -1, 0, 1, 9000] {
        site.orlop(["cache", "clean", "--force"]).success();
        let text = r#"{"host":"dead.example","boot":"b","space":"p","pid":1,"nonce":1,"beat":3}"#;
        std::fs::write(&claim, text).unwrap();
        site.person().give(&claim);
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        let at = rustix::fs::Timespec { tv_sec: now + hours * 3600, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: at, last_modification: at };
        let none = rustix::fs::AtFlags::empty();
        rustix::fs::utimensat(rustix::fs::CWD, &claim, &times, none).unwrap();
        let start = std::time::Instant::now();
        let pull = site.run(["pull", "--force", "b.sif", &image]);
        pull.env("ORLOP_LIMITS_CLAIM_STALE", "600ms").outcome().success();
        let waited = start.elapsed().as_millis();
        assert!((600..5_000).contains(&waited), "{hours} hours: {waited} ms");
        assert!(!claim.exists());
    }
}

#[test]
fn f50_pulls_cleanings_and_kills_at_random_leave_a_cache_that_verifies() {
    let registry =
        Registry::new().image("a:1", Image::two_layers()).image("b:1", Image::tiny()).start();
    let site = site(&registry);
    let images = [registry.docker("a:1"), registry.docker("b:1")];
    let golden: Vec<Digest> = images
        .iter()
        .map(|image| {
            site.orlop(["pull", "--force", "golden.sif", image]).success();
            Digest::of(&bytes(&site, "golden.sif"))
        })
        .collect();
    let seed = u64::from(std::process::id());
    let mut chance = Chance(seed);
    let rounds = tools::rounds(6);
    for round in 0..rounds {
        let count = 2 + chance.below(3);
        let mut pulls = Vec::new();
        let mut others = Vec::new();
        for number in 0..count {
            let (node, which) = (chance.below(2), chance.below(2));
            match chance.below(5) {
                0 => others.push(on(&site, node, &["cache", "clean", "--force"]).start()),
                1 => others.push(on(&site, node, &["cache", "verify"]).start()),
                _ => {
                    let name = format!("{number}.sif");
                    let words = ["pull", "--force", &name, &images[which]];
                    pulls.push((on(&site, node, &words).start(), name, which));
                }
            }
        }
        if chance.below(2) == 0 {
            let daemons = site.daemons();
            let at = chance.below(daemons.len().max(1));
            if let Some(daemon) = daemons.get(at) {
                end(*daemon, Signal::KILL);
            }
        }
        for (pull, name, which) in pulls {
            let outcome = pull.outcome();
            assert!(outcome.status == 0, "seed {seed}, round {round}: {}", outcome.report());
            let made = Digest::of(&bytes(&site, &name));
            assert!(made == golden[which], "seed {seed}, round {round}: {}", outcome.report());
        }
        for other in others {
            let outcome = other.outcome();
            assert!(outcome.status == 0, "seed {seed}, round {round}: {}", outcome.report());
        }
        let verified = on(&site, chance.below(2), &["cache", "verify"]).outcome();
        assert!(verified.status == 0, "seed {seed}, round {round}: {}", verified.report());
    }
}

#[test]
fn f39_pulls_and_collections_at_once_fail_nobody_and_keep_the_cap() {
    let registry =
        Registry::new().image("a:1", Image::two_layers()).image("b:1", Image::tiny()).start();
    // Less than both together.
    let site = site(&registry).env("ORLOP_CACHE_MAX", "4500000");
    let images = [registry.docker("a:1"), registry.docker("b:1")];
    for round in 0..usize::try_from(tools::rounds(4)).unwrap() {
        let names = ["0.sif", "1.sif", "2.sif"];
        let running: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(number, name)| {
                let image = &images[(number + round) % 2];
                site.run(["pull", "--force", name, image]).start()
            })
            .collect();
        let cleaning = (round % 2 == 0).then(|| site.run(["cache", "clean", "-f"]).start());
        for one in running.into_iter().chain(cleaning) {
            one.outcome().success();
        }
    }
    site.orlop(["cache", "verify"]).success();
    let used = || json(&site, &["cache", "usage", "--json"])["total_bytes"].as_u64().unwrap();
    until_true("the cap is kept", || used() <= 4_500_000);
}
