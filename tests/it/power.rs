//! Power cuts (row F36): all that the programs did to a disk is written down and played to a point
//! where the machine stops; of what no sync covered by then nothing, all, one part or some is lost.
//! What is there after that must be whole, hold what a command had promised, and be of use.
//!
//! A normal run takes a few of the points, one with `ORLOP_KIT_ROUNDS` as many as it says, or all for
//! 0. Not here: how the disk keeps its log ([`orlop_kit::disk`]).

use crate::world::{basic, bytes, log_in, programs, site};
use orlop_kit::disk::{Loss, WriteLog};
use orlop_kit::{Image, Layer, Registry, Site, tools};
use std::path::Path;

/// Whether a disk makes files without a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Usual,
    Plain,
}

/// A site whose home is a disk that writes down what is done to it.
fn recorded(registries: &[&Registry], kind: Kind) -> Option<Site> {
    let bare = Site::new(&programs());
    let home = bare.home();
    let mut site = bare.with_disk(&home)?;
    for registry in registries {
        site = site.insecure(registry);
    }
    if kind == Kind::Plain {
        site.disk().is_plain();
    }
    begin(&site);
    Some(site)
}

/// Power is cut from here on.
fn begin(site: &Site) {
    site.disk().settles();
    site.disk().mark("begin");
}

/// Checks that the programs wrote as they do on such a disk. Without root the kit has plain ones.
fn is_met(site: &Site, kind: Kind) {
    let is_usual = kind == Kind::Usual && rustix::process::geteuid().is_root();
    assert_eq!(site.disk().nameless() > 0, is_usual, "{kind:?} disk");
}

/// The losses that are tried at every point.
fn losses(seed: u64) -> [Loss; 7] {
    let some = |more| Loss::Some(seed.wrapping_mul(6).wrapping_add(more));
    [Loss::Nothing, Loss::All, Loss::Bytes, Loss::One(0), Loss::One(1), some(1), some(2)]
}

/// Points and losses, spread over all: `few` of them in a normal run.
fn crashes(log: &WriteLog, few: u64) -> Vec<(usize, Loss)> {
    let all: Vec<(usize, Loss)> = (log.last("begin")..=log.len())
        .flat_map(|cut| losses(cut as u64).map(|loss| (cut, loss)))
        .collect();
    let wanted = match usize::try_from(tools::rounds(few)).unwrap() {
        0 => all.len(),
        wanted => wanted.min(all.len()),
    };
    // The last is the whole log. A step of the number of losses would meet one of them alone.
    let step = all.len() / wanted;
    let step = if step.is_multiple_of(7) { step + 1 } else { step };
    tools::part(all.into_iter().rev().step_by(step).collect())
}

/// The same, and says how many there are of all operations.
fn told_crashes(log: &WriteLog, kind: Kind, of: &str, few: u64) -> Vec<(usize, Loss)> {
    let all = crashes(log, few);
    tools::say(&format!("{kind:?} disk: {} operations of {of}, {} cuts", log.len(), all.len()));
    all
}

/// A site on what a cut leaves. A claim that came through is that of a boot that is over: nobody
/// waits long for it.
fn left_by(log: &WriteLog, cut: usize, loss: Loss) -> Site {
    let bare = Site::new(&programs()).env("ORLOP_LIMITS_CLAIM_STALE", "1s");
    log.restore(cut, loss, &bare.home());
    bare
}

/// The names below `at` of the files that credentials are in, with their content.
fn logins(at: &Path) -> (Option<String>, Option<String>) {
    let read = |name: &str| std::fs::read_to_string(at.join(name)).ok();
    (read(".docker/config.json"), read(".config/orlop/remote.yaml"))
}

/// Checks what credential files must hold after a cut, given what had been promised by then.
fn check_logins(at: &Path, promised: &[(&str, bool)], after: &str) {
    let (file, list) = logins(at);
    let (file, list) = (file.unwrap_or_default(), list.unwrap_or_default());
    if !file.is_empty() {
        let json: Result<serde_json::Value, _> = serde_json::from_str(&file);
        assert!(json.is_ok_and(|json| json.is_object()), "{after}: {file:?}");
    }
    assert!(list.is_empty() || list.ends_with('\n'), "{after}: {list:?}");
    for (host, is_in) in promised {
        assert_eq!(file.contains(host), *is_in, "{after}: {host} in {file:?}");
        assert_eq!(list.contains(host), *is_in, "{after}: {host} in {list:?}");
    }
}

#[test]
fn f36_a_login_that_said_so_is_there_after_a_power_cut_at_any_point() {
    cut_logins(Kind::Usual);
    cut_logins(Kind::Plain);
}

fn cut_logins(kind: Kind) {
    let one = Registry::new().auth(basic()).image("a:1", Image::tiny()).start();
    let two = Registry::new().auth(basic()).image("a:1", Image::tiny()).start();
    let Some(site) = recorded(&[&one, &two], kind) else { return };
    log_in(&site, &one, &[]).success();
    site.disk().mark("one is in");
    log_in(&site, &two, &[]).success();
    site.disk().mark("two is in");
    site.disk().mark("one goes");
    let uri = format!("docker://{}", one.host());
    site.orlop(["registry", "logout", &uri]).success();
    site.disk().mark("one is out");
    site.stop();
    is_met(&site, kind);

    let log = site.disk().log();
    let (host, other) = (one.host(), two.host());
    let promised = |cut| {
        let mut promised = Vec::new();
        if log.has("one is out", cut) {
            promised.push((host.as_str(), false));
        } else if log.has("one is in", cut) && !log.has("one goes", cut) {
            promised.push((host.as_str(), true));
        }
        if log.has("two is in", cut) {
            promised.push((other.as_str(), true));
        }
        promised
    };
    for (cut, loss) in told_crashes(&log, kind, "logins", 80) {
        let left = tempfile::tempdir().unwrap();
        log.restore(cut, loss, left.path());
        let after = format!("{kind:?} disk, a cut after {cut} operations, {loss:?} lost");
        check_logins(left.path(), &promised(cut), &after);
    }

    // The programs go on from what is left.
    for (cut, loss) in crashes(&log, 2) {
        let after = format!("{kind:?} disk, a cut after {cut} operations, {loss:?} lost");
        let bare = Site::new(&programs());
        log.restore(cut, loss, &bare.home());
        let next = bare.insecure(&one).insecure(&two).after_reboot();
        let listed = next.orlop(["registry", "list"]).success();
        for (host, is_in) in promised(cut) {
            assert_eq!(listed.stdout.contains(host), is_in, "{after}: {}", listed.report());
        }
        log_in(&next, &one, &[]).success();
        let mut promised = promised(cut);
        promised.retain(|(host, _)| *host != one.host());
        let host = one.host();
        promised.push((&host, true));
        check_logins(&next.home(), &promised, &after);
        let drafts = next.tree(&next.home());
        assert!(!drafts.iter().any(|name| name.contains(".docker/.orlop-")), "{after}: {drafts:?}");
    }
}

/// An image with more of each layer than is distrusted of a download.
fn image() -> Image {
    Image::new().layer(Layer::noise("a", 3 << 20, 1)).layer(Layer::noise("b", 70_000, 2))
}

#[test]
fn f36_a_pull_leaves_nothing_half_written_that_is_taken_for_whole() {
    let registry = Registry::new().image("a:1", image()).start();
    let uri = registry.docker("a:1");
    let golden = golden(&registry);
    cut_a_pull(Kind::Usual, &registry, &uri, &golden);
    cut_a_pull(Kind::Plain, &registry, &uri, &golden);
}

#[test]
fn f36_a_pull_of_a_sif_leaves_nothing_half_written_that_is_taken_for_whole() {
    let registry = Registry::new().image("a:1", image()).start();
    let uri = registry.oras("sif:1");
    let golden = golden(&registry);
    let whole = site(&registry);
    std::fs::write(whole.work().join("a.sif"), &golden).unwrap();
    whole.orlop(["push", "a.sif", &uri]).success();
    cut_a_pull(Kind::Usual, &registry, &uri, &golden);
    cut_a_pull(Kind::Plain, &registry, &uri, &golden);
}

/// What an undisturbed pull of [`image`] gives.
fn golden(registry: &Registry) -> Vec<u8> {
    let whole = site(registry);
    whole.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    bytes(&whole, "a.sif")
}

fn cut_a_pull(kind: Kind, registry: &Registry, uri: &str, golden: &[u8]) {
    let Some(site) = recorded(&[registry], kind) else { return };
    let sif = site.home().join("a.sif").display().to_string();
    site.orlop(["pull", &sif, uri]).success();
    site.disk().mark("pulled");
    site.orlop(["cache", "pin", uri]).success();
    site.disk().mark("pinned");
    site.stop();
    is_met(&site, kind);

    let log = site.disk().log();
    for (cut, loss) in told_crashes(&log, kind, uri, 3) {
        let after = format!("{kind:?} disk, a cut after {cut} operations, {loss:?} lost");
        let bare = left_by(&log, cut, loss);
        let left = std::fs::read(bare.home().join("a.sif")).ok();
        assert!(left.as_ref().is_none_or(|left| left == golden), "{after}: half a SIF");
        assert!(left.is_some() || !log.has("pulled", cut), "{after}: the SIF is lost");
        let next = bare.insecure(registry).after_reboot();
        let listed = next.orlop(["cache", "list", "--json"]).success();
        if log.has("pinned", cut) {
            assert!(listed.stdout.contains("\"pinned\": true"), "{after}: {}", listed.report());
        }
        next.goes_on(&after, uri, golden);
    }
}

#[test]
fn f36_a_push_and_a_pull_of_it_leave_nothing_half_written_that_is_taken_for_whole() {
    cut_a_push(Kind::Usual);
    cut_a_push(Kind::Plain);
}

fn cut_a_push(kind: Kind) {
    let registry = Registry::new().image("a:1", image()).start();
    let (uri, pushed) = (registry.docker("a:1"), registry.oras("pushed:1"));
    let Some(site) = recorded(&[&registry], kind) else { return };
    let [a, b] = ["a.sif", "b.sif"].map(|name| site.home().join(name).display().to_string());
    site.orlop(["pull", &a, &uri]).success();
    let golden = std::fs::read(&a).unwrap();
    begin(&site);
    site.orlop(["push", &a, &pushed]).success();
    site.orlop(["pull", &b, &pushed]).success();
    site.disk().mark("back");
    site.stop();
    is_met(&site, kind);

    let log = site.disk().log();
    for (cut, loss) in told_crashes(&log, kind, "a push", 2) {
        let after = format!("{kind:?} disk, a cut after {cut} operations, {loss:?} lost");
        let bare = left_by(&log, cut, loss);
        let read = |name: &str| std::fs::read(bare.home().join(name)).ok();
        assert!(read("a.sif").is_some_and(|left| left == golden), "{after}: what was pushed");
        let left = read("b.sif");
        assert!(left.as_ref().is_none_or(|left| *left == golden), "{after}: half a SIF");
        assert!(left.is_some() || !log.has("back", cut), "{after}: the SIF is lost");
        let next = bare.insecure(&registry).after_reboot();
        let a = next.home().join("a.sif").display().to_string();
        next.orlop(["push", &a, &pushed]).success();
        next.orlop(["pull", "--force", "c.sif", &pushed]).success();
        assert!(bytes(&next, "c.sif") == golden, "{after}: the SIF that was pushed");
        std::fs::remove_file(next.work().join("c.sif")).unwrap();
        next.goes_on(&after, &uri, &golden);
    }
}
