//! What becomes of work when the daemon is told to end, and of commands without a daemon to share.

use crate::world::site;
use orlop_kit::{Image, Registry, layer, until_true};
use rustix::process::{Pid, Signal, kill_process};

fn tell(daemon: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(daemon).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[test]
fn f06_a_pull_ends_well_after_sigterm() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    let gate = registry.gate(layer(1));
    let pull = site.run(["pull", "a.sif", &registry.docker("a:1")]).start();
    gate.arrived(1);
    tell(site.daemons()[0], Signal::TERM);
    until_true("the socket is gone", || !site.runtime().join("orlop/orlopd.sock").exists());
    gate.open();
    pull.outcome().success();
    assert_eq!(registry.count(&layer(1)), 1, "{}", registry.log());
    until_true("the daemon ends", || site.daemons().is_empty());
}

#[test]
fn f06_a_second_sigterm_ends_the_daemon_and_the_pull_goes_on_with_another() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    let gate = registry.gate(layer(1));
    let pull = site.run(["pull", "a.sif", &registry.docker("a:1")]).start();
    gate.arrived(1);
    let first = site.daemons();
    tell(first[0], Signal::TERM);
    until_true("the socket is gone", || !site.runtime().join("orlop/orlopd.sock").exists());
    tell(first[0], Signal::TERM);
    until_true("it has ended", || !site.daemons().contains(&first[0]));
    gate.open();
    let outcome = pull.outcome().success();
    assert!(!outcome.stderr.contains("orlopd"), "{}", outcome.report());
    assert_ne!(site.daemons(), first);
}

#[test]
fn s50_a_cache_that_cannot_be_used_is_told_and_the_pull_works() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    site.run(["pull", "a.sif", &registry.docker("a:1")])
        .env("ORLOP_CACHEDIR", "/proc/nothing")
        .outcome()
        .success()
        .says("WARNING: Cache disabled - cache location /proc/nothing is not writable.");
    assert_eq!(site.tree(&site.work()), ["a.sif"]);
}

#[test]
fn without_a_cache_a_private_daemon_pulls_and_leaves_nothing() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    site.orlop(["pull", "--disable-cache", "a.sif", &registry.docker("a:1")]).success();
    assert_eq!(site.tree(&site.work()), ["a.sif"]);
    assert!(site.daemons().is_empty());
    assert!(!site.cache().exists(), "{:?}", site.tree(&site.cache()));
    let left = std::fs::read_dir(site.temp()).unwrap().count();
    assert_eq!(left, 0, "{:?}", site.tree(&site.temp()));
}
