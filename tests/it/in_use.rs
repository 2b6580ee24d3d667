//! An image that a container runs of stays usable whole, whatever is cleaned or collected.

use crate::run::runnable;
use crate::world::{json, site};
use orlop_kit::site::{Running, end};
use orlop_kit::{Answer, Image, Registry, Site, any, until_true};
use rustix::process::Signal;

/// A container of `a:1` that runs until its input ends.
fn running<'a>(site: &'a Site, uri: &str) -> Running<'a> {
    let words = ["exec", uri, "/bin/probe", "late", "/etc/motd"];
    let mut running = site.run(words).open_input().start();
    assert_eq!(running.line(), "ready");
    let tags = || {
        site.tree(&site.cache())
            .iter()
            .any(|path| path.starts_with("tags/") && !path.ends_with('/'))
    };
    until_true("the tag is remembered", tags);
    running
}

/// The registry is down: another container of the same image starts from what is in the cache.
fn starts_offline(site: &Site, uri: &str) {
    for flag in [Some("--offline"), None] {
        let words = ["exec"].into_iter().chain(flag);
        let words = words.chain([uri, "/bin/probe", "args", "next"]);
        site.run(words).env("ORLOP_LIMITS_TRIES", "1").outcome().success().prints("next\n");
    }
}

#[test]
fn what_a_running_image_is_found_by_stays_when_all_is_cleaned() {
    if !runnable() {
        return;
    }
    let registry = Registry::new().image("a:1", Image::tiny()).image("b:1", Image::two_layers());
    let registry = registry.start();
    let site = site(&registry);
    let uri = registry.docker("a:1");
    site.orlop(["pull", "b.sif", &registry.docker("b:1")]).success();
    let mut running = running(&site, &uri);
    // Also by a daemon that has not found the image itself.
    site.orlop(["daemon", "stop"]).success();
    let clean = site.orlop(["cache", "clean", "--force"]).success();
    assert!(clean.stderr.contains(" are in use and stay"), "{}", clean.report());
    assert!(clean.stderr.contains("Removing oci-tmp cache entry: "), "{}", clean.report());
    let clean = site.orlop(["cache", "clean", "--force"]).success();
    assert!(clean.stderr.contains("INFO:    Nothing was removed at "), "{}", clean.report());
    assert!(!clean.stderr.contains("No cached files"), "{}", clean.report());
    registry.script(any(), [Answer::Status(503)]);
    starts_offline(&site, &uri);
    site.orlop(["cache", "verify"]).success();
    running.close_input();
    running.outcome().success();
    // What was killed keeps nothing.
    for holder in crate::memory::holders(&site.cache()) {
        end(holder, Signal::KILL);
    }
    let clean = site.orlop(["cache", "clean", "--force"]).success();
    assert!(!clean.stderr.contains("in use"), "{}", clean.report());
}

#[test]
fn what_a_running_image_is_found_by_stays_when_the_cap_is_reached() {
    if !runnable() {
        return;
    }
    let registry = Registry::new().image("a:1", Image::tiny()).image("b:1", Image::two_layers());
    let registry = registry.start();
    let site = site(&registry);
    let uri = registry.docker("a:1");
    let mut running = running(&site, &uri);
    site.orlop(["daemon", "stop"]).success();
    let other = ["pull", "b.sif", &registry.docker("b:1")];
    site.run(other).env("ORLOP_CACHE_MAX", "1").outcome().success();
    let images = || {
        let list = json(&site, &["cache", "list", "--json"]);
        list.as_array().unwrap().iter().filter(|entry| entry["type"] == "oci-tmp").count()
    };
    until_true("the other image is gone", || images() == 1);
    registry.script(any(), [Answer::Status(503)]);
    starts_offline(&site, &uri);
    running.close_input();
    running.outcome().success();
}
