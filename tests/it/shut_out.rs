//! A cache that can be written no more while its daemon runs, and can be again: what is said, and
//! that the commands go on. Row F38.
//!
//! Not here: a cache that is so when the daemon starts ([`crate::disks`], [`crate::places`]).

use crate::disks::set_modes;
use crate::world::{bytes, secure, site};
use orlop_kit::{Image, Outcome, Registry, Site, blobs, until_true};
use orlop_kit::{image::probe, tools};

/// What is said of a cache that is not used.
fn warning(site: &Site) -> String {
    let cache = site.cache();
    format!("WARNING: Cache disabled - cache location {} is not writable.", cache.display())
}

fn says_nothing(outcome: Outcome) {
    assert!(!outcome.stderr.contains("Cache disabled"), "{}", outcome.report());
}

#[test]
fn f38_a_cache_that_is_closed_under_its_daemon_is_done_without_until_it_is_open_again() {
    let (registry, site) = secure(
        Registry::new()
            .image("a:1", Image::tiny())
            .image("b:1", Image::two_layers())
            .image("c:1", Image::tiny()),
    );
    if site.person() == orlop_kit::Person::own() && rustix::process::geteuid().is_root() {
        return tools::skip("nothing is forbidden to root");
    }
    let (one, other) = (registry.docker("a:1"), registry.docker("b:1"));
    site.orlop(["pull", "a.sif", &one]).success();
    let first = site.daemons();
    set_modes(&site.cache(), 0o500);
    let before = site.tree(&site.cache());
    registry.forget();

    // What is there is read on, whoever does it.
    site.orlop(["pull", "--force", "b.sif", &one]).success();
    site.orlop(["pull", "c.sif", &other]).success().says(&warning(&site));
    let gone = |pid: &u32| !site.daemons().contains(pid);
    until_true("the first daemon has ended", || first.iter().all(gone));
    site.orlop(["pull", "--force", "b.sif", &one]).success().says(&warning(&site));
    assert!(bytes(&site, "a.sif") == bytes(&site, "b.sif"));
    let pin = site.orlop(["cache", "pin", &one]).fails(255);
    pin.says("the cache cannot be written: a pin would be kept nowhere");
    if !probe().is_empty() && tools::user_namespaces() {
        let ran = site.orlop(["exec", &one, "/bin/probe", "args", "here"]).success();
        ran.prints("here\n");
    }
    assert_eq!(site.tree(&site.cache()), before);

    set_modes(&site.cache(), 0o700);
    says_nothing(site.orlop(["pull", "--force", "c.sif", &other]).success());
    registry.forget();
    says_nothing(site.orlop(["pull", "--force", "c.sif", &other]).success());
    assert_eq!(registry.count(&blobs()), 0, "{}", registry.log());
    site.orlop(["cache", "pin", &one]).success();
}

#[test]
fn f38_a_file_in_the_place_of_the_cache_under_its_daemon_is_as_no_cache() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = site(&registry);
    let image = registry.docker("a:1");
    site.orlop(["pull", "a.sif", &image]).success();
    let aside = site.home().join("aside");
    rustix::fs::rename(site.cache(), &aside).unwrap();
    std::fs::write(site.cache(), "x").unwrap();
    site.orlop(["pull", "b.sif", &image]).success().says(&warning(&site));
    site.orlop(["cache", "list"]).success().says(&warning(&site));
    assert_eq!(std::fs::read(site.cache()).unwrap(), b"x");

    std::fs::remove_file(site.cache()).unwrap();
    rustix::fs::rename(&aside, site.cache()).unwrap();
    registry.forget();
    says_nothing(site.orlop(["pull", "c.sif", &image]).success());
    assert_eq!(registry.count(&blobs()), 0, "{}", registry.log());
}

#[test]
fn f38_many_at_once_go_on_without_a_cache_that_was_closed_under_their_daemon() {
    let registry = Registry::new().image("a:1", Image::tiny()).image("b:1", Image::two_layers());
    let registry = registry.start();
    let site = site(&registry);
    if site.person().is_root() {
        return tools::skip("nothing is forbidden to root");
    }
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    set_modes(&site.cache(), 0o500);
    let pull = |number: u32| {
        let name = format!("{number}.sif");
        site.run(["pull", &name, &registry.docker("b:1")]).start()
    };
    let pulls: Vec<_> = (0..8).map(pull).collect();
    for pull in pulls {
        pull.outcome().success().says(&warning(&site));
    }
    set_modes(&site.cache(), 0o700);
}

#[test]
fn f38_a_disk_that_becomes_read_only_under_the_daemon_is_done_without_until_it_is_writable() {
    let Some([unshare]) = tools::all(["unshare"]) else { return };
    if !tools::user_namespaces() {
        return tools::skip("no user namespaces");
    }
    let registry =
        Registry::new().image("a:1", Image::tiny()).image("b:1", Image::two_layers()).start();
    let site = site(&registry);
    site.write_home(".cache/orlop/.keep", b"");
    std::fs::remove_file(site.cache().join(".keep")).unwrap();
    let script = format!(
        "C={cache}; O={orlop}\n\
         mount -t tmpfs -o size=64m,mode=700 none $C || exit 77\n\
         $O pull a.sif {a} || exit 1\n\
         mount -o remount,bind,ro $C || exit 78\n\
         $O pull c.sif {a} || exit 2; echo cached >&2\n\
         $O pull b.sif {b} || exit 3; echo without >&2\n\
         mount -o remount,bind,rw $C || exit 4\n\
         $O pull d.sif {b} || exit 5; echo again >&2\n\
         ls $C/segments | wc -l\n\
         $O daemon stop",
        cache = site.cache().display(),
        orlop = site.programs().orlop.display(),
        a = registry.docker("a:1"),
        b = registry.docker("b:1"),
    );
    let words = ["--user", "--map-root-user", "--mount", "sh", "-c", &script];
    let outcome = site.program(&unshare, words).outcome();
    match outcome.status {
        77 => return tools::skip("no tmpfs in a user namespace"),
        78 => return tools::skip("no mount that becomes read-only"),
        _ => {}
    }
    let outcome = outcome.success();
    let of =
        |step: &str, text: &str| text.split(step).next().unwrap().matches(&warning(&site)).count();
    let (cached, rest) = outcome.stderr.split_once("cached\n").unwrap();
    assert!(!cached.contains("Cache disabled"), "{}", outcome.report());
    assert_eq!(of("without\n", rest), 1, "{}", outcome.report());
    assert_eq!(rest.matches("Cache disabled").count(), 1, "{}", outcome.report());
    outcome.prints("3\n");
    assert!(bytes(&site, "b.sif") == bytes(&site, "d.sif"));
}
