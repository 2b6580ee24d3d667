//! Disks that hang, as those of a file server that is gone (row F42): who needs none of it is
//! answered at once, who waits is told and can be interrupted.
//!
//! Not here: a daemon that says nothing at all (F13).

use crate::run::runnable;
use crate::world::{bytes, programs, site};
use orlop_kit::site::Running;
use orlop_kit::{Faults, Image, Outcome, Registry, Rule, Site, layer, tools};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// Much less than a disk that hangs takes, much more than anything here on a busy machine.
const SOON: Duration = Duration::from_secs(8);

/// A site with its cache on a disk of its own.
fn with_cache_on_disk(registry: &Registry) -> Option<Site> {
    let bare = Site::new(&programs());
    let at = bare.root().join("disk");
    let site = bare.with_disk(&at)?.insecure(registry);
    Some(site.env("ORLOP_CACHEDIR", at.join("cache")))
}

/// Interrupts a command that waits for a disk, as Ctrl-C does.
#[track_caller]
fn interrupted(running: Running<'_>) -> Outcome {
    let start = Instant::now();
    running.signal(Signal::INT);
    let outcome = running.outcome();
    let took = start.elapsed();
    tools::say(&format!("interrupted after {took:?}"));
    assert!(took < SOON, "{took:?}: {}", outcome.report());
    outcome.fails(130)
}

#[test]
fn f42_calls_that_need_no_disk_are_answered_while_the_caches_hangs() {
    let image = Image::two_layers();
    let registry = Registry::new().image("a:1", Image::tiny()).image("b:1", image).start();
    let Some(site) = with_cache_on_disk(&registry) else { return };
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    let full = site.orlop(["status", "--json"]).success();
    let gate = registry.gate(layer(1));
    let mut waiting = site.run(["pull", "b.sif", &registry.docker("b:1")]).start();
    gate.arrived(1);
    site.disk().hangs();
    gate.open();
    site.disk().is_waited_for();

    let answers: Vec<(Duration, Outcome)> = (0..5)
        .map(|_| {
            let start = Instant::now();
            let outcome = site.orlop(["status", "--json"]).success();
            (start.elapsed(), outcome)
        })
        .collect();
    let fastest = answers.iter().map(|(took, _)| *took).min().unwrap();
    tools::say(&format!("status while the disk hangs, best of 5: {fastest:?}"));
    // A tenth of a second is what it takes; a machine may be busy.
    assert!(fastest < Duration::from_secs(2), "{answers:?}");
    let json = |outcome: &Outcome| serde_json::from_slice::<serde_json::Value>(&outcome.bytes);
    let (before, now) = (json(&full).unwrap(), json(&answers[4].1).unwrap());
    assert_eq!(now["cache_bytes"], before["cache_bytes"], "as it was last known");
    let shown = site.orlop(["status"]).success();
    assert!(shown.stdout.contains("its disk has not answered for"), "{}", shown.report());

    // Who uses another cache is not concerned.
    let other = site.root().join("other");
    let pull = site.run(["pull", "other.sif", &registry.docker("a:1")]);
    pull.env("ORLOP_CACHEDIR", other).outcome().success();

    assert!(!waiting.ended());
    interrupted(waiting);
    site.disk().goes_on();
    site.orlop(["pull", "b.sif", &registry.docker("b:1")]).success();
    site.orlop(["cache", "verify"]).success();
}

// More than ten seconds, because that is when it is told.
#[test]
fn f42_a_command_that_waits_for_a_disk_tells_so_after_ten_seconds() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let Some(site) = with_cache_on_disk(&registry) else { return };
    let gate = registry.gate(layer(1));
    let mut waiting = site.run(["pull", "a.sif", &registry.docker("a:1")]).start();
    gate.arrived(1);
    site.disk().hangs();
    gate.open();
    let start = Instant::now();
    // Another one is blocked itself, by the disk of its output.
    let faults = Faults::watching(["fdatasync"]);
    faults.set([Rule::on("fdatasync").of("orlop").at(site.work().display().to_string()).holds()]);
    let can_hold = Faults::possible();
    let mut blocked = can_hold.then(|| {
        let pull = site.run(["pull", "b.sif", &registry.docker("a:1")]).under(&faults);
        let pull = pull.env("ORLOP_CACHEDIR", site.root().join("other")).start();
        faults.held(1);
        pull
    });
    let text = "has not answered for 10 seconds: waiting for it";
    let said = waiting.says(text);
    assert!(start.elapsed() >= Duration::from_secs(9), "{said}: {:?}", start.elapsed());
    assert!(said.starts_with("WARNING: The disk of "), "{said}");
    if let Some(blocked) = &mut blocked {
        let said = blocked.says(text);
        assert!(said.contains("b.sif"), "{said}");
    }
    site.disk().goes_on();
    faults.rest();
    waiting.outcome().success();
    if let Some(blocked) = blocked {
        blocked.outcome().success();
    }
}

/// FUSE lets no process go whose request its server has taken, unlike NFS, where every wait can be
/// ended: so it is the calls themselves that hang.
#[test]
fn f42_a_command_that_is_itself_blocked_by_a_disk_can_be_interrupted() {
    if !Faults::possible() {
        return;
    }
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    let uri = registry.docker("a:1");
    site.orlop(["pull", "a.sif", &uri]).success();
    let faults = Faults::watching(["openat", "pwrite64", "fdatasync", "copy_file_range"]);
    let out = site.work().display().to_string();
    let cache = site.cache().display().to_string();
    for (call, at) in [("openat", &cache), ("openat", &out), ("fdatasync", &out)] {
        faults.set([Rule::on(call).of("orlop").at(at.as_str()).holds()]);
        let waiting = site.run(["pull", "b.sif", &uri]).under(&faults).start();
        faults.held(1);
        interrupted(waiting);
        faults.rest();
        assert!(!site.work().join("b.sif").exists(), "{call} in {at}");
    }
    site.orlop(["pull", "b.sif", &uri]).success();
    assert!(bytes(&site, "a.sif") == bytes(&site, "b.sif"));
    assert_eq!(site.tree(&site.work()), ["a.sif", "b.sif"]);
}

#[test]
fn f42_a_container_whose_image_hangs_can_be_interrupted() {
    if !runnable() {
        return;
    }
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let Some(site) = with_cache_on_disk(&registry) else { return };
    let uri = registry.docker("a:1");
    let exec = ["exec", &uri, "/bin/probe", "cat", "/data/below"];
    site.orlop(exec).success();
    site.disk().hangs();
    let waiting = site.run(exec).start();
    site.disk().is_waited_for();
    interrupted(waiting);
    site.disk().goes_on();
    site.orlop(exec).success();
}

#[test]
fn f42_a_disk_that_answers_is_not_told_of() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = site(&registry);
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    let status = site.orlop(["status"]).success();
    assert!(!status.stdout.contains("Problem"), "{}", status.report());
}
