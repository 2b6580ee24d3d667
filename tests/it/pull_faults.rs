//! Pulls that meet faults: lying and breaking registries, interruptions.

use crate::world::{bytes, site};
use orlop_kit::site::end;
use orlop_kit::{Answer, Image, Registry, Site, blobs, config, layer, manifest, until_true};
use rustix::process::Signal;

/// Files of the cache that look whole: segments and recipes.
fn published(site: &Site) -> Vec<String> {
    let mut paths = site.tree(&site.cache());
    paths.retain(|path| {
        !path.ends_with('/') && (path.starts_with("segments/") || path.starts_with("recipes/"))
    });
    paths
}

/// The bytes that an undisturbed pull of the image gives under this site's registry's name.
fn undisturbed(registry: &Registry) -> Vec<u8> {
    let other = site(registry);
    other.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    bytes(&other, "a.sif")
}

#[test]
fn a_cut_layer_is_resumed_not_restarted() {
    let registry = Registry::new()
        .image("a:1", Image::two_layers())
        .answer(layer(0), [Answer::CutAfter(1_000_000), Answer::Whole])
        .start();
    let site = site(&registry);
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    assert_eq!(registry.ranges(&layer(0)), ["", "bytes=1000000-"], "{}", registry.log());
    registry.script(layer(0), [Answer::Whole]);
    assert!(bytes(&site, "a.sif") == undisturbed(&registry));
}

#[test]
fn a_registry_that_ignores_ranges_is_read_anew() {
    let registry = Registry::new()
        .image("a:1", Image::two_layers())
        .answer(layer(0), [Answer::ResetAfter(1_000_000), Answer::IgnoreRange])
        .start();
    let site = site(&registry);
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    assert!(bytes(&site, "a.sif") == undisturbed(&registry));
}

#[test]
fn a_layer_of_other_bytes_leaves_nothing_that_looks_whole() {
    for lie in [Answer::FlipBit(1_500_000), Answer::Shorter(7), Answer::Longer(7)] {
        let registry = Registry::new()
            .image("a:1", Image::two_layers())
            .answer(layer(1), [lie.clone()])
            .start();
        let site = site(&registry);
        let outcome = site.orlop(["pull", "a.sif", &registry.docker("a:1")]).fails(255);
        let wanted = "FATAL:   While making image from oci registry: ";
        assert!(outcome.stderr.contains(wanted), "{lie:?}: {}", outcome.report());
        assert!(site.tree(&site.work()).is_empty(), "{lie:?}");
        let recipes = published(&site).into_iter().filter(|path| path.starts_with("recipes/"));
        assert_eq!(recipes.count(), 0, "{lie:?}");

        registry.script(layer(1), [Answer::Whole]);
        site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
        assert!(bytes(&site, "a.sif") == undisturbed(&registry), "{lie:?}");
    }
}

#[test]
fn a_manifest_or_config_of_other_bytes_is_refused() {
    let digest = Image::tiny().build().digest();
    for route in [manifest(&format!("a@{digest}")), config()] {
        let registry = Registry::new()
            .image("a:1", Image::tiny())
            .answer(route.clone(), [Answer::FlipBit(20)])
            .start();
        let site = site(&registry);
        let image = registry.docker(&format!("a@{digest}"));
        site.orlop(["pull", "a.sif", &image]).fails(255);
        assert!(site.tree(&site.work()).is_empty(), "{route:?}");
    }
}

#[test]
fn a_registry_that_fails_for_a_moment_is_asked_again() {
    let registry = Registry::new()
        .image("a:1", Image::tiny())
        .answer(manifest("a:1"), [Answer::Status(503), Answer::Whole])
        .answer(layer(0), [Answer::Status(500), Answer::Close, Answer::Whole])
        .start();
    let site = site(&registry);
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    assert_eq!(registry.count(&layer(0)), 3, "{}", registry.log());
}

#[test]
fn a_blob_elsewhere_is_fetched_without_the_credentials() {
    let storage = Registry::new().image("a:1", Image::tiny()).start();
    let auth = orlop_kit::Auth::Basic { user: "u".into(), secret: "s".into() };
    let digest = storage.layer_digest(0).unwrap();
    let at = format!("http://{}/v2/a/blobs/{digest}", storage.host());
    let registry = Registry::new()
        .image("a:1", Image::tiny())
        .auth(auth)
        .answer(layer(0), [Answer::Redirect(307, at)])
        .start();
    let site = site(&registry).watch(&storage);
    let image = registry.docker("a:1");
    let words = ["pull", "--docker-username", "u", "--docker-password", "s", "a.sif", &image];
    site.orlop(words).success();
    let moved = storage.of(&layer(0));
    assert_eq!(moved.len(), 1, "{}", storage.log());
    assert_eq!(moved[0].header("authorization"), None);
}

#[test]
fn an_interrupted_pull_leaves_nothing_and_stops_the_work() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let registry = Registry::new()
            .image("a:1", Image::two_layers())
            .answer(layer(1), [Answer::StallAfter(500_000)])
            .start();
        let site = site(&registry);
        let gate = registry.gate(layer(1));
        let pull = site.run(["pull", "a.sif", &registry.docker("a:1")]).start();
        gate.arrived(1);
        gate.open();

        pull.signal(signal);
        pull.outcome().fails(status);

        assert!(site.tree(&site.work()).is_empty(), "{:?}", site.tree(&site.work()));
        until_true("the daemon has no work", || {
            let status = site.orlop(["status", "--json"]).success();
            let json: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
            json["flights"].as_array().is_some_and(Vec::is_empty)
        });
        registry.script(layer(1), [Answer::Whole]);
        site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    }
}

#[test]
fn a_pull_that_others_wait_for_goes_on_when_one_is_interrupted() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    let image = registry.docker("a:1");
    let gate = registry.gate(layer(1));
    let one = site.run(["pull", "one.sif", &image]).start();
    let other = site.run(["pull", "other.sif", &image]).start();
    gate.arrived(1);
    until_true("both wait", || {
        let status = site.orlop(["status", "--json"]).success();
        let json: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
        let flights = json["flights"].as_array().cloned().unwrap_or_default();
        flights.iter().any(|flight| flight["callers"] == 2)
    });
    one.signal(Signal::INT);
    one.outcome().fails(130);
    gate.open();
    other.outcome().success();
    assert_eq!(site.tree(&site.work()), ["other.sif"]);
    assert_eq!(registry.count(&layer(1)), 1, "{}", registry.log());
}

#[test]
fn f01_a_daemon_that_is_killed_is_started_again_and_goes_on_and_the_client_says_nothing_of_it() {
    let registry = Registry::new()
        .image("a:1", Image::two_layers())
        .answer(layer(0), [Answer::StallAfter(1_000_000), Answer::Whole])
        .start();
    let site = site(&registry);
    let pull = site.run(["pull", "a.sif", &registry.docker("a:1")]).start();
    until_true("the layer is asked for", || registry.count(&layer(0)) == 1);
    let daemons = site.daemons();
    assert_eq!(daemons.len(), 1);
    let pid = rustix::process::Pid::from_raw(i32::try_from(daemons[0]).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    let outcome = pull.outcome().success();
    assert!(registry.count(&blobs()) >= 3);
    let said: std::collections::BTreeSet<&str> = outcome.stderr.lines().collect();
    assert!(said.len() >= 4, "{}", outcome.report());
    assert_eq!(outcome.stderr.lines().count(), said.len(), "{}", outcome.report());
    assert_ne!(site.daemons(), daemons);
}

#[test]
fn f19_what_a_killed_daemon_was_writing_goes_with_the_next() {
    let registry = Registry::new()
        .image("a:1", Image::two_layers())
        .answer(layer(1), [Answer::StallAfter(500_000), Answer::Whole])
        .start();
    let site = site(&registry);
    let pull = site.run(["pull", "a.sif", &registry.docker("a:1")]).start();
    let drafts = || {
        let names = site.tree(&site.cache().join("tmp/.orlop"));
        names.iter().filter(|name| name.starts_with(".orlop-") && name.ends_with("/data")).count()
    };
    until_true("a segment is being written", || registry.count(&layer(1)) == 1 && drafts() == 1);
    // The client must not start another daemon.
    pull.signal(Signal::STOP);
    end(site.daemons()[0], Signal::KILL);
    pull.signal(Signal::KILL);
    drop(pull.outcome());
    assert!(drafts() > 0, "{:?}", site.tree(&site.cache()));
    site.orlop(["cache", "usage"]).success();
    until_true("the next daemon has swept", || drafts() == 0);
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
}
