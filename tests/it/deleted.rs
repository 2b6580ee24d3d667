//! A cache that is deleted under whoever uses it (row F37).
//!
//! Not here: what the cache itself makes of it (`orlop-store`).

use crate::run::runnable;
use crate::world::{bytes, site};
use orlop_kit::{Image, Registry, layer};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// As `rm -r` until nothing is left: files come while it goes through.
fn delete(directory: &Path) {
    orlop_kit::until("it is gone", || match std::fs::remove_dir_all(directory) {
        Err(cause) if directory.exists() => Err(cause.to_string()),
        _ => Ok(()),
    });
}

#[test]
fn f37_a_cache_deleted_under_a_pull_costs_at_most_that_pull() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let whole = site(&registry);
    let uri = registry.docker("a:1");
    whole.orlop(["pull", "a.sif", &uri]).success();
    let golden = bytes(&whole, "a.sif");
    let site = site(&registry);
    for held in [layer(0), layer(1)] {
        let gate = registry.gate(held);
        let pull = site.run(["pull", "--force", "a.sif", &uri]).start();
        gate.arrived(1);
        delete(&site.cache());
        gate.open();
        let outcome = pull.outcome();
        match outcome.status {
            0 => assert!(bytes(&site, "a.sif") == golden, "{}", outcome.report()),
            255 => assert!(!site.work().join("a.sif").exists(), "{}", outcome.report()),
            _ => panic!("{}", outcome.report()),
        }
        site.invariants("the cache was deleted", &uri, &golden, &[]);
        let _removed = std::fs::remove_file(site.work().join("a.sif"));
        site.orlop(["cache", "clean", "--force"]).success();
    }
}

#[test]
fn f37_a_cache_deleted_under_a_container_leaves_it_running_and_the_next_ones_start() {
    if !runnable() {
        return;
    }
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = site(&registry);
    let uri = registry.docker("a:1");
    let running = site.run(["exec", &uri, "/bin/probe", "late", "/etc/motd"]).open_input().start();
    let mut running = running;
    assert_eq!(running.line(), "ready");
    for deleted in [site.cache(), site.runtime()] {
        delete(&deleted);
        if deleted == site.runtime() {
            std::fs::create_dir(&deleted).unwrap();
            std::fs::set_permissions(&deleted, PermissionsExt::from_mode(0o700)).unwrap();
            site.person().give(&deleted);
        }
        for words in [["args", "next"], ["cat", "/etc/motd"]] {
            let next = ["exec", &uri, "/bin/probe"].into_iter().chain(words);
            let outcome = site.orlop(next).success();
            assert!(!outcome.stdout.is_empty(), "{}", outcome.report());
        }
    }
    running.close_input();
    running.outcome().success().prints("It is made of one program and no shell.\n");
}
