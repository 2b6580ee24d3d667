//! Space on disk: what a pull takes at any moment, and outputs for which there is no room.
//!
//! Not here: a cache without room ([`crate::disks`]).

use crate::world::{bytes, site};
use orlop_kit::{Image, Registry, Site, blobs, tools};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Bytes that the file system keeps for the files below a directory.
fn allocated(site: &Site, directory: &Path) -> u64 {
    let size = |path: String| directory.join(path).symlink_metadata().map(|at| at.blocks() * 512);
    site.tree(directory).into_iter().filter_map(|path| size(path).ok()).sum()
}

#[test]
fn a_pull_takes_its_input_its_segment_and_its_output_and_keeps_no_layer() {
    const SIZE: u64 = 48 << 20;
    /// Documents, indexes and what file systems round up to.
    const ROOM: u64 = 4 << 20;
    let registry = Registry::new().image("a:1", Image::noise(SIZE)).start();
    let site = site(&registry);
    let mut pull = site.run(["pull", "a.sif", &registry.docker("a:1")]).start();
    let (mut most, mut most_kept) = (0, 0);
    while !pull.ended() {
        let kept = allocated(&site, &site.cache());
        most_kept = kept.max(most_kept);
        most = (kept + allocated(&site, &site.work())).max(most);
    }
    pull.outcome().success();
    assert!(most_kept <= 2 * SIZE + ROOM, "in the cache: {most_kept}");
    assert!(most <= 3 * SIZE + ROOM, "in all: {most}");
    let left = allocated(&site, &site.cache());
    assert!(left <= SIZE + ROOM, "the segment is all that is kept: {left}");
    assert!(allocated(&site, &site.cache().join("partial")) == 0);
    assert!(allocated(&site, &site.cache().join("blobs")) < ROOM);
}

#[test]
fn f24_an_output_without_room_is_named_with_its_bytes_and_elsewhere_nothing_is_fetched_again() {
    let Some([unshare]) = tools::all(["unshare"]) else { return };
    if !tools::user_namespaces() {
        return tools::skip("no user namespaces");
    }
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    let orlop = site.programs().orlop.display().to_string();
    let image = registry.docker("a:1");
    site.orlop(["pull", "whole.sif", &image]).success();
    let needed = bytes(&site, "whole.sif").len();
    registry.forget();
    for size in ["64k", "1m", "3m"] {
        let script = format!(
            "mkdir -p {work}/small; mount -t tmpfs -o size={size},mode=700 none {work}/small || exit 77\n\
             cd {work}/small; {orlop} pull a.sif {image}; echo first $?; ls -A; echo left\n\
             {orlop} pull --force {work}/b.sif {image}; echo second $?",
            work = site.work().display()
        );
        let words = ["--user", "--map-root-user", "--mount", "sh", "-c", &script];
        let outcome = site.program(&unshare, words).outcome();
        if outcome.status == 77 {
            return tools::skip("no tmpfs in a user namespace");
        }
        let said = outcome.stdout.as_str();
        assert_eq!(said, "first 255\nleft\nsecond 0\n", "{size}: {}", outcome.report());
        for part in [&format!("{}/small", site.work().display()), &format!("{needed} bytes")] {
            assert!(outcome.stderr.contains(part), "{size}, {part}: {}", outcome.report());
        }
        assert!(bytes(&site, "b.sif") == bytes(&site, "whole.sif"));
        assert_eq!(registry.count(&blobs()), 0, "{}", registry.log());
    }
}

#[test]
fn f24_files_that_may_not_grow_are_told_as_a_full_disk_and_nothing_is_left() {
    let Some([prlimit]) = tools::all(["prlimit"]) else { return };
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    let orlop = site.programs().orlop.display().to_string();
    let image = registry.docker("a:1");
    for is_daemon_limited in [true, false] {
        if !is_daemon_limited {
            site.stop();
            site.orlop(["status"]).success();
            site.orlop(["pull", "--force", "b.sif", &image]).success();
        }
        for bytes in [64_u64 << 10, 1 << 20] {
            let limit = format!("--fsize={bytes}");
            let words = [&limit, &orlop, "pull", "--force", "a.sif", &image];
            let outcome = site.program(&prlimit, words).outcome().fails(255);
            assert!(outcome.stderr.contains("bytes are needed"), "{bytes}: {}", outcome.report());
            assert!(!site.work().join("a.sif").exists(), "{:?}", site.tree(&site.work()));
        }
    }
    assert_eq!(site.tree(&site.work()), ["b.sif"]);
    site.orlop(["pull", "--force", "a.sif", &image]).success();
    site.orlop(["cache", "verify"]).success();
}
