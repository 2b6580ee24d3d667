//! Disks that are full or cannot be written: what is said, what is left, and that it goes on.

use crate::world::{bytes, secure, site};
use orlop_kit::{Image, Registry, blobs, image::probe, tools};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Sets the modes of all directories of a tree.
pub(crate) fn set_modes(at: &Path, mode: u32) {
    // Opened first: a directory that cannot be read cannot be walked.
    for entry in std::fs::read_dir(at).unwrap().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            set_modes(&entry.path(), mode);
        }
    }
    std::fs::set_permissions(at, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn f38_a_cache_that_cannot_be_written_is_told_and_used() {
    let (registry, site) =
        secure(Registry::new().image("a:1", Image::tiny()).image("b:1", Image::two_layers()));
    if site.person() == orlop_kit::Person::own() && rustix::process::geteuid().is_root() {
        return tools::skip("nothing is forbidden to root");
    }
    let (one, other) = (registry.docker("a:1"), registry.docker("b:1"));
    site.orlop(["pull", "a.sif", &one]).success();
    site.stop();
    set_modes(&site.cache(), 0o500);
    let before = site.tree(&site.cache());
    registry.forget();

    let warning = format!(
        "WARNING: Cache disabled - cache location {} is not writable.",
        site.cache().display()
    );
    site.orlop(["pull", "b.sif", &one]).success().says(&warning);
    assert!(bytes(&site, "a.sif") == bytes(&site, "b.sif"));
    assert_eq!(registry.count(&blobs()), 0, "{}", registry.log());
    site.orlop(["pull", "c.sif", &other]).success();
    for words in [vec!["cache", "pin", &one], vec!["cache", "unpin", "--all"]] {
        let refused = site.orlop(words).fails(255);
        refused.says("the cache cannot be written: a pin would be kept nowhere");
    }
    if !probe().is_empty() && tools::user_namespaces() {
        let ran = site.orlop(["exec", &one, "/bin/probe", "args", "here"]).success();
        ran.prints("here\n");
    }
    assert_eq!(site.tree(&site.cache()), before);
    set_modes(&site.cache(), 0o700);
}

#[test]
fn f30_a_full_disk_is_named_with_its_bytes_and_the_next_pull_works_after_room_is_made() {
    let Some([unshare]) = tools::all(["unshare"]) else { return };
    if !tools::user_namespaces() {
        return tools::skip("no user namespaces");
    }
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    site.write_home(".cache/orlop/.keep", b"");
    std::fs::remove_file(site.cache().join(".keep")).unwrap();
    let orlop = site.programs().orlop.display().to_string();
    let image = registry.docker("a:1");
    let layer = |number| registry.blob(&registry.layer_digest(number).unwrap()).unwrap().len();
    let layers = u64::try_from(layer(0) + layer(1)).unwrap();
    for size in ["64k", "512k", "1m", "3m", "5m"] {
        // All in one mount namespace, where a ballast leaves so little of the cache's disk.
        let script = format!(
            "C={cache}; W={work}; D=$(dirname $C)\n\
             mount -t tmpfs -o size=64m,mode=700 none $D || exit 77\n\
             mkdir -m 700 $C; truncate -s {size} $D/room; fallocate -l $(stat -c %s $D/room) $D/room\n\
             dd if=/dev/zero of=$D/ballast bs=64k 2>/dev/null; rm $D/room\n\
             {orlop} pull --force small.sif {image} 2>$W/said; echo first $?; cat $W/said >&2\n\
             find $C/recipes $C/tmp -type f | grep -v damaged; echo left\n\
             find $C/partial -type f ! -name '*.mark' -printf 'part %s\\n'\n\
             echo segments=$(ls $C/segments | wc -l)\n\
             df -k --output=avail $C | tail -1\n\
             N=$(sed -n 's/.* \\([0-9]*\\) bytes are needed.*/\\1/p' $W/said)\n\
             A=$(df --output=avail -B1 $C | tail -1); B=$(stat -c %s $D/ballast)\n\
             truncate -s $(( (B + A - ${{N:-33554432}}) / 4096 * 4096 )) $D/ballast\n\
             {orlop} pull --force large.sif {image}; echo second $?\n\
             {orlop} cache verify; echo third $?\n\
             {orlop} daemon stop",
            cache = site.cache().display(),
            work = site.work().display()
        );
        let words = ["--user", "--map-root-user", "--mount", "sh", "-c", &script];
        let outcome = site.program(&unshare, words).outcome();
        if outcome.status == 77 {
            return tools::skip("no tmpfs in a user namespace");
        }
        let lines: Vec<&str> = outcome.stdout.lines().collect();
        if lines.contains(&"first 0") {
            assert_ne!(size, "64k", "{}", outcome.report());
        } else {
            assert!(lines.contains(&"first 255"), "{}", outcome.report());
            assert!(outcome.stderr.contains("no space left in "), "{size}: {}", outcome.report());
            let first = lines.iter().position(|line| *line == "first 255").unwrap();
            let left = lines.iter().position(|line| *line == "left").unwrap();
            assert_eq!(left, first + 1, "{size}: nothing half-published: {}", outcome.report());
            // What has to be free: what did not come, a segment for each layer, and small files. With
            // so much free the second pull goes through.
            let parts = lines.iter().filter_map(|line| line.strip_prefix("part "));
            let came: u64 = parts.map(|bytes| bytes.parse::<u64>().unwrap()).sum();
            // One that had room is whole and stays.
            let is_none_whole = lines.contains(&"segments=0");
            let needed = if is_none_whole {
                (2 * layers - came + (256 << 10) + layers / 64).to_string()
            } else {
                String::new()
            };
            let needed = format!("{needed} bytes are needed");
            assert!(outcome.stderr.contains(&needed), "{size}, {needed}: {}", outcome.report());
        }
        assert!(lines.contains(&"second 0"), "{size}: {}", outcome.report());
        assert!(lines.contains(&"third 0"), "{size}: {}", outcome.report());
        site.stop();
    }
}
