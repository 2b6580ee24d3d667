//! Two nodes on one directory as a file server gives it: rows F43 to F50 with hosts, boots, mounts,
//! process numbers and locks of their own. Loops are as long as `ORLOP_KIT_ROUNDS` says.
//!
//! Not here: two daemons of one host ([`crate::nodes`]).

use crate::run::runnable;
use crate::world::{Chance, bytes, script, site};
use orlop_kit::site::Running;
use orlop_kit::{
    Answer, Digest, Image, Locks, Manner, Nodes, Registry, Site, blobs, layer, tools, until_true,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a file system without locks answers.
const ENOLCK: i32 = rustix::io::Errno::NOLCK.raw_os_error();
const ENOSYS: i32 = rustix::io::Errno::NOSYS.raw_os_error();
/// After how long a claim is taken over in these tests.
const STALE: Duration = Duration::from_millis(1500);

/// Two nodes that reach a registry.
fn nodes(registry: &Registry, manner: Manner, world: impl Fn(Site) -> Site) -> Option<Nodes> {
    let address = registry.host().parse().unwrap();
    Nodes::two(manner, &[address], || {
        world(site(registry))
            .env("ORLOP_LIMITS_CLAIM_STALE", "1500ms")
            .env("ORLOP_LIMITS_CLAIM_RENEW", "300ms")
    })
}

fn two_layers() -> (Registry, String) {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let image = registry.docker("a:1");
    (registry, image)
}

fn pull<'a>(node: &'a Site, image: &str) -> Running<'a> {
    node.run(["pull", "--force", "a.sif", image]).start()
}

fn waits(site: &Site) -> bool {
    let outcome = site.orlop(["status", "--json"]).success();
    let status: serde_json::Value = serde_json::from_slice(&outcome.bytes).unwrap();
    let flights = status["flights"].as_array().map(Vec::as_slice).unwrap_or_default();
    flights.iter().any(|flight| flight["elsewhere"] == true)
}

/// Files below a directory of the server.
fn files(nodes: &Nodes, directory: &str) -> Vec<PathBuf> {
    let mut paths = nodes.node(0).tree(&nodes.shared());
    paths.retain(|path| path.starts_with(directory) && !path.ends_with('/'));
    paths.into_iter().map(|path| nodes.shared().join(path)).collect()
}

fn same_bytes(nodes: &Nodes) {
    assert!(bytes(nodes.node(0), "a.sif") == bytes(nodes.node(1), "a.sif"));
}

/// Both pull while the first is held at a layer; what comes of it.
fn both_pull_cold(registry: &Registry, image: &str, nodes: &Nodes) {
    let held = registry.gate(layer(1));
    let first = pull(nodes.node(0), image);
    held.arrived(1);
    let second = pull(nodes.node(1), image);
    until_true("the second node waits for the first", || waits(nodes.node(1)));
    held.open();
    first.outcome().success();
    second.outcome().success();
    assert_eq!(registry.count(&blobs()), 3, "{}", registry.log());
    same_bytes(nodes);
    until_true("no claim is left", || files(nodes, "claims/").is_empty());
    nodes.node(1).orlop(["cache", "verify"]).success();
}

/// The first node stops in the middle of a pull as `stop` says; the second takes its work over.
/// Returns the first one's pull.
fn taken_over<'a>(
    registry: &Registry,
    image: &str,
    nodes: &'a Nodes,
    stop: impl Fn(&Nodes),
) -> Running<'a> {
    let held = registry.gate(layer(1));
    let first = pull(nodes.node(0), image);
    held.arrived(1);
    let second = pull(nodes.node(1), image);
    until_true("the second node waits for the first", || waits(nodes.node(1)));
    stop(nodes);
    let since = Instant::now();
    held.open();
    second.outcome().success();
    let took = since.elapsed();
    assert!(took >= STALE - Duration::from_millis(400), "a live claim is honoured: {took:?}");
    assert!(took < STALE + Duration::from_secs(6), "{took:?}");
    nodes.node(1).orlop(["cache", "verify"]).success();
    assert!(registry.count(&blobs()) <= 5, "{}", registry.log());
    first
}

#[test]
fn f43_two_nodes_pull_cold_and_one_converts() {
    let (registry, image) = two_layers();
    let Some(nodes) = nodes(&registry, Manner::default(), |site| site) else { return };
    both_pull_cold(&registry, &image, &nodes);
    let hosts = |number: usize| {
        let leases = nodes.node(number).program(Path::new("/bin/hostname"), [""; 0]).outcome();
        leases.success().stdout
    };
    assert_ne!(hosts(0), hosts(1));
}

#[test]
fn f44_a_node_that_is_killed_is_followed_by_the_other() {
    let (registry, image) = two_layers();
    let Some(nodes) = nodes(&registry, Manner::default(), |site| site) else { return };
    let first = taken_over(&registry, &image, &nodes, |nodes| nodes.kill(0));
    assert_ne!(first.outcome().status, 0);
    // One that the dead node would have given up, having published, stays for the sweeper.
    until_true("no claim is left on what is missing", || {
        let is_there = |claim: &PathBuf| {
            let name = claim.file_name().and_then(|name| name.to_str()).unwrap();
            let key = name.strip_prefix("segment-").unwrap();
            nodes.shared().join("segments").join(key).exists()
        };
        files(&nodes, "claims/").iter().all(is_there)
    });
}

#[test]
fn f44_a_node_that_was_frozen_publishes_the_same_or_nothing() {
    let (registry, image) = two_layers();
    let Some(nodes) = nodes(&registry, Manner::default(), |site| site) else { return };
    let first = taken_over(&registry, &image, &nodes, |nodes| nodes.freeze(0));
    nodes.thaw(0);
    first.outcome().success();
    same_bytes(&nodes);
    nodes.node(0).orlop(["cache", "verify"]).success();
}

#[test]
fn f44_a_node_that_thaws_in_the_middle_of_a_download_gets_its_image() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let Some(nodes) = nodes(&registry, Manner::default(), |site| site) else { return };
    let (one, other) = (nodes.node(0), nodes.node(1));
    pull(one, &registry.docker("a:1")).outcome().success();
    let image = registry.oras("sifs/a:1");
    one.orlop(["push", "a.sif", &image]).success();
    let whole = bytes(one, "a.sif");
    one.orlop(["cache", "clean", "--force"]).success();
    // The rest comes a byte at a time.
    let most = u64::try_from(whole.len()).unwrap() - 60;
    registry.script(blobs(), [Answer::Drip(most, Duration::from_millis(1)), Answer::Whole]);
    let first = pull(one, &image);
    until_true("most of it has come", || {
        let partials = files(&nodes, "partial/").into_iter();
        partials.filter_map(|path| Some(path.metadata().ok()?.len())).any(|size| size >= most)
    });
    nodes.freeze(0);
    pull(other, &image).outcome().success();
    assert!(bytes(other, "a.sif") == whole);
    nodes.thaw(0);
    first.outcome().success();
    assert!(bytes(one, "a.sif") == whole);
    for node in [one, other] {
        node.orlop(["cache", "verify"]).success();
    }
    until_true("no download is left", || files(&nodes, "partial/").is_empty());
}

#[test]
fn f44_by_default_a_killed_node_is_followed_after_thirty_seconds() {
    // A long run alone: it waits for as long as the default says.
    if tools::rounds(u64::MAX) == u64::MAX {
        return;
    }
    let (registry, image) = two_layers();
    let address = registry.host().parse().unwrap();
    let Some(nodes) = Nodes::two(Manner::default(), &[address], || site(&registry)) else { return };
    let held = registry.gate(layer(1));
    let first = pull(nodes.node(0), &image);
    held.arrived(1);
    let second = pull(nodes.node(1), &image);
    until_true("the second node waits for the first", || waits(nodes.node(1)));
    nodes.kill(0);
    let since = Instant::now();
    held.open();
    second.outcome().success();
    let took = since.elapsed();
    tools::say(&format!("taken over after {took:?}"));
    assert!(took < Duration::from_secs(36), "{took:?}");
    assert_ne!(first.outcome().status, 0);
    nodes.node(1).orlop(["cache", "verify"]).success();
}

#[test]
fn f44_a_node_that_was_cut_from_the_disk_publishes_the_same_or_nothing() {
    let (registry, image) = two_layers();
    let Some(nodes) = nodes(&registry, Manner::default(), |site| site) else { return };
    let first = taken_over(&registry, &image, &nodes, |nodes| nodes.cut(0));
    nodes.heal(0);
    first.outcome().success();
    same_bytes(&nodes);
    nodes.node(0).orlop(["cache", "verify"]).success();
}

/// The library that gives programs another time, where the machine has it.
fn faketime() -> Option<PathBuf> {
    let places = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut found = places.map(|place| place.path().join("faketime/libfaketimeMT.so.1"));
    let found = found.find(|path| path.exists());
    if found.is_none() {
        tools::skip("faketime is not installed");
    }
    found
}

/// A world whose daemon and client live at another time: what a file says, whenever they ask.
fn with_clock(site: Site, library: &Path) -> Site {
    let clock = site.root().join("clock");
    std::fs::write(&clock, "+0\n").unwrap();
    site.person().give(&clock);
    let variables = format!(
        "LD_PRELOAD={} FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 \
         FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_DONT_RESET=1",
        library.display(),
        clock.display()
    );
    let daemon = site.programs().orlopd.display().to_string();
    let wrapper = script(&site, "orlopd", &format!("exec env {variables} {daemon} \"$@\""));
    site.env("ORLOP_DAEMON", wrapper)
}

fn set_clock(site: &Site, offset: &str) {
    std::fs::write(site.root().join("clock"), format!("{offset}\n")).unwrap();
}

#[test]
fn f45_clocks_that_differ_by_an_hour_or_a_year_change_nothing() {
    let Some(library) = faketime() else { return };
    for (one, other) in [("+1h", "+0"), ("+0", "+365d"), ("-365d", "+1h")] {
        let (registry, image) = two_layers();
        let world = |site| with_clock(site, &library);
        let Some(nodes) = nodes(&registry, Manner::default(), world) else { return };
        set_clock(nodes.node(0), one);
        set_clock(nodes.node(1), other);
        both_pull_cold(&registry, &image, &nodes);
        for number in [0, 1] {
            let days = nodes.node(number).orlop(["cache", "clean", "--force", "-D", "30"]);
            days.success();
        }
        assert_eq!(files(&nodes, "segments/").len(), 4, "nothing is 30 days old");
        nodes.node(1).orlop(["cache", "clean", "--force"]).success();
        registry.forget();
        taken_over(&registry, &image, &nodes, |nodes| nodes.kill(0));
    }
}

#[test]
fn f46_clocks_that_jump_take_no_lease_token_claim_or_entry_away() {
    let Some(library) = faketime() else { return };
    let registry = Registry::new().image("a:1", Image::two_layers());
    let registry = registry.auth(crate::world::bearer(true)).start();
    let image = registry.docker("a:1");
    let world = |site| with_clock(site, &library);
    let Some(nodes) = nodes(&registry, Manner::default(), world) else { return };
    for (number, jump) in ["+365d", "-365d", "+0"].iter().enumerate() {
        let held = registry.gate(layer(1));
        let first = pull(nodes.node(0), &image);
        held.arrived(1);
        let second = pull(nodes.node(1), &image);
        until_true("the second node waits for the first", || waits(nodes.node(1)));
        set_clock(nodes.node(0), jump);
        // Longer than a claim may go unchanged: it is still honoured.
        let since = Instant::now();
        until_true("time passes", || since.elapsed() > STALE + Duration::from_millis(700));
        assert!(waits(nodes.node(1)), "{jump}");
        held.open();
        first.outcome().success();
        second.outcome().success();
        // What was in use is kept by the cleaning before.
        assert!(registry.count(&blobs()) <= 3, "{jump}: {}", registry.log());
        assert_eq!(registry.count(&layer(1)), 1, "{jump}: {}", registry.log());
        let tokens = registry.count(&orlop_kit::token());
        assert!(tokens <= 4, "{jump}: {}", registry.log());
        same_bytes(&nodes);
        // Between pulls.
        set_clock(nodes.node(1), jump);
        registry.forget();
        pull(nodes.node(1), &image).outcome().success();
        assert_eq!(registry.count(&blobs()), 0, "{jump}: {}", registry.log());
        nodes.node(number % 2).orlop(["cache", "clean", "--force"]).success();
        registry.forget();
    }
}

#[test]
fn f47_names_that_are_seen_late_may_cost_a_conversion_and_nothing_else() {
    let (registry, image) = two_layers();
    let late = Duration::from_secs(5);
    let manner = Manner { late, ..Manner::default() };
    let Some(nodes) = nodes(&registry, manner, |site| site) else { return };
    let both = [pull(nodes.node(0), &image), pull(nodes.node(1), &image)];
    for one in both {
        one.outcome().success();
    }
    same_bytes(&nodes);
    for number in [0, 1] {
        // At once: before the other's names are seen.
        pull(nodes.node(number), &image).outcome().success();
        nodes.node(number).orlop(["cache", "verify"]).success();
    }
    nodes.node(0).orlop(["cache", "clean", "--force"]).success();
    pull(nodes.node(1), &image).outcome().success();
    same_bytes(&nodes);
}

/// A container on the first node that shows `/data/below` when its input ends.
fn container<'a>(nodes: &'a Nodes, image: &str) -> Running<'a> {
    let words = ["exec", image, "/bin/probe", "late", "/data/kept"];
    let mut running = nodes.node(0).run(words).open_input().start();
    assert_eq!(running.line(), "ready");
    running
}

/// An image with a program, and a file that a container reads late.
fn image_with_a_late_file() -> (Registry, String) {
    let image = Image::tiny().layer(orlop_kit::Layer::noise("data/kept", 300_000, 7));
    let registry = Registry::new().image("a:1", image).start();
    let image = registry.docker("a:1");
    (registry, image)
}

#[test]
fn f48_what_another_node_runs_stays_though_no_daemon_lives_there() {
    if !runnable() {
        return;
    }
    let (registry, image) = image_with_a_late_file();
    let Some(nodes) = nodes(&registry, Manner::default(), |site| site) else { return };
    let running = container(&nodes, &image);
    for daemon in nodes.node(0).daemons() {
        orlop_kit::site::end(daemon, rustix::process::Signal::KILL);
    }
    let leases = files(&nodes, "leases/");
    let is_holders = |path: &&PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("node1_test.00000001.") && !name.ends_with(".daemon")
    };
    let lease = leases.iter().find(is_holders);
    let text = std::fs::read_to_string(lease.unwrap()).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("segments/")).count(), 2, "{text}");
    let clean = nodes.node(1).orlop(["cache", "clean", "--force"]).success();
    assert!(clean.stderr.contains("in use"), "{}", clean.report());
    assert_eq!(files(&nodes, "segments/").len(), 4);
    let shown = running.outcome().success();
    assert_eq!(shown.bytes.len(), 300_000);
    registry.forget();
    pull(nodes.node(1), &image).outcome().success();
    assert_eq!(registry.count(&layer(0)) + registry.count(&layer(1)), 0, "{}", registry.log());
}

#[test]
fn f48_what_was_removed_on_the_server_is_opened_anew_or_fetched() {
    if !runnable() {
        return;
    }
    let (registry, image) = image_with_a_late_file();
    let Some(nodes) = nodes(&registry, Manner::default(), |site| site) else { return };
    let remove = || {
        for segment in files(&nodes, "segments/") {
            std::fs::remove_file(&segment).unwrap();
        }
    };
    let running = container(&nodes, &image);
    remove();
    pull(nodes.node(1), &image).outcome().success();
    let shown = running.outcome().success();
    assert_eq!(shown.bytes.len(), 300_000);
    // Nobody has made it again: the container fails, the next command fetches. (Of the first image
    // the kernel has kept what was read.)
    registry.put("b:1", Image::tiny().layer(orlop_kit::Layer::noise("data/kept", 300_000, 8)));
    let image = registry.docker("b:1");
    let running = container(&nodes, &image);
    remove();
    assert_ne!(running.outcome().status, 0);
    let words = ["exec", &image, "/bin/probe", "cat", "/data/kept"];
    let shown = nodes.node(0).orlop(words).success();
    assert_eq!(shown.bytes.len(), 300_000);
}

#[test]
fn f49_without_locks_or_with_locks_for_everybody_all_is_well() {
    for locks in [Locks::Fail(ENOLCK), Locks::Fail(ENOSYS), Locks::Always] {
        let (registry, image) = two_layers();
        let manner = Manner { locks, ..Manner::default() };
        let Some(nodes) = nodes(&registry, manner, |site| site) else { return };
        both_pull_cold(&registry, &image, &nodes);
        let pulls = [pull(nodes.node(0), &image), pull(nodes.node(1), &image)];
        let cleaning = nodes.node(1).run(["cache", "clean", "--force"]).start();
        for one in pulls {
            one.outcome().success();
        }
        cleaning.outcome().success();
        same_bytes(&nodes);
        nodes.node(0).orlop(["cache", "verify"]).success();
    }
}

/// What a command of the loop was, and what it must show.
enum Expected {
    Sif(usize),
    Shown(usize),
    Done,
}

#[test]
fn f50_pulls_runs_cleanings_and_kills_on_two_nodes_leave_a_cache_that_verifies() {
    if !runnable() {
        return;
    }
    let registry = Registry::new()
        .image("a:1", Image::tiny().layer(orlop_kit::Layer::noise("data/kept", 40_000, 7)))
        .image("b:1", Image::tiny().layer(orlop_kit::Layer::noise("data/kept", 400_000, 8)))
        .start();
    let images = [registry.docker("a:1"), registry.docker("b:1")];
    let Some(nodes) = nodes(&registry, Manner::default(), |site| site) else { return };
    let golden: Vec<Digest> = images
        .iter()
        .map(|image| {
            pull(nodes.node(0), image).outcome().success();
            Digest::of(&bytes(nodes.node(0), "a.sif"))
        })
        .collect();
    let seed = u64::from(std::process::id());
    let mut chance = Chance(seed);
    for round in 0..tools::rounds(4) {
        let mut running = Vec::new();
        for number in 0..2 + chance.below(3) {
            let (node, which) = (nodes.node(chance.below(2)), chance.below(2));
            let name = format!("{number}.sif");
            let image = &images[which];
            let (words, expected) = match chance.below(6) {
                0 => (vec!["cache", "clean", "--force"], Expected::Done),
                1 => (vec!["cache", "verify"], Expected::Done),
                2 | 3 => {
                    let words = vec!["exec", image, "/bin/probe", "cat", "/data/kept"];
                    (words, Expected::Shown([40_000, 400_000][which]))
                }
                _ => (vec!["pull", "--force", &name, image], Expected::Sif(which)),
            };
            running.push((node, node.run(words).start(), name, expected));
        }
        if chance.below(2) == 0 {
            let daemons = nodes.node(chance.below(2)).daemons();
            if let Some(daemon) = daemons.first() {
                orlop_kit::site::end(*daemon, rustix::process::Signal::KILL);
            }
        }
        for (node, one, name, expected) in running {
            let outcome = one.outcome();
            let good = outcome.status == 0
                && match expected {
                    Expected::Done => true,
                    Expected::Shown(length) => outcome.bytes.len() == length,
                    Expected::Sif(which) => Digest::of(&bytes(node, &name)) == golden[which],
                };
            assert!(good, "seed {seed}, round {round}: {}", outcome.report());
        }
        let verified = nodes.node(chance.below(2)).orlop(["cache", "verify"]);
        assert!(verified.status == 0, "seed {seed}, round {round}: {}", verified.report());
    }
}
