//! Disks that can little: no files without a name, no reflinks or copies of their own, names that
//! fold, closing that fails (rows S51, F32).
//!
//! The disk of the kit ([`orlop_kit::Disk`]) is the whole home, and so the place of cache,
//! credentials and output. Not here: locks that do not work (F49).

use crate::run::runnable;
use crate::world::{basic, bytes, log_in, programs, site, stored_secret};
use orlop_kit::{Image, Registry, Site};
use rustix::io::Errno;

/// A site whose home is a disk, and the SIF that any other disk would have.
fn with_plain_home(registry: &Registry) -> Option<(Site, Vec<u8>)> {
    let whole = site(registry);
    log_in(&whole, registry, &[]).success();
    whole.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    let golden = bytes(&whole, "a.sif");
    let bare = Site::new(&programs());
    let home = bare.home();
    let site = bare.with_disk(&home)?.insecure(registry);
    site.disk().is_plain();
    Some((site, golden))
}

#[test]
fn s51_a_disk_that_can_little_and_folds_names_holds_cache_logins_and_images() {
    let image = Image::two_layers();
    let registry = Registry::new().auth(basic()).image("a:1", image).start();
    let Some((site, golden)) = with_plain_home(&registry) else { return };
    site.disk().folds_names();
    let uri = registry.docker("a:1");
    log_in(&site, &registry, &[]).success();
    let sif = site.home().join("A.sif").display().to_string();
    site.orlop(["pull", &sif, &uri]).success();
    assert!(std::fs::read(&sif).unwrap() == golden);
    site.orlop(["pull", &sif, &uri]).fails(255).says("already exists");
    site.orlop(["pull", &sif.replace("A.sif", "a.SIF"), &uri]).fails(255).says("already exists");
    if runnable() {
        for image in [&sif, &uri] {
            let ran = site.orlop(["exec", image, "/bin/probe", "args", "here"]);
            ran.success().prints("here\n");
        }
    }
    let push = registry.docker("pushed:1").replace("docker://", "oras://");
    site.orlop(["push", &sif, &push]).success();
    std::fs::remove_file(&sif).unwrap();
    site.invariants("a plain disk", &uri, &golden, &[]);
}

#[test]
fn f32_closing_that_fails_makes_nothing_half() {
    let image = Image::two_layers();
    let registry = Registry::new().auth(basic()).image("a:1", image).start();
    for error in [Errno::IO, Errno::NOSPC, Errno::STALE] {
        let Some((site, golden)) = with_plain_home(&registry) else { return };
        let uri = registry.docker("a:1");
        site.disk().fails_to_close(Some(error));
        let login = log_in(&site, &registry, &[]);
        let file = site.read_home(".docker/config.json").unwrap_or_default();
        let is_stored = !file.is_empty() && stored_secret(&file, &registry.host()).is_some();
        assert!(login.status == 255 || is_stored, "{error}: {file:?} {}", login.report());
        let sif = site.home().join("a.sif");
        let pulled = site.orlop(["pull", &sif.display().to_string(), &uri]);
        match (pulled.status, std::fs::read(&sif)) {
            (0, Ok(there)) => assert!(there == golden, "{error}: {}", pulled.report()),
            (255, Ok(there)) => assert!(there == golden, "{error}: {}", pulled.report()),
            (255, Err(_)) => {}
            (_, there) => panic!("{error}: {there:?} {}", pulled.report()),
        }
        site.disk().fails_to_close(None);
        let _removed = std::fs::remove_file(&sif);
        log_in(&site, &registry, &[]).success();
        site.invariants(&format!("closing failed: {error}"), &uri, &golden, &[]);
    }
}
