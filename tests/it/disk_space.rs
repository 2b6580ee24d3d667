//! Space on disk: what a pull takes at any moment, and outputs for which there is no room.
//!
//! Not here: a cache without room ([`crate::disks`]).

use crate::world::{bytes, programs, site};
use orlop_kit::{Artifact, Image, Layer, Outcome, Person, Registry, Site, blobs, tools};
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

/// A script in a mount namespace of its own, as root of it; `None` where that cannot be had.
fn mounting(site: &Site, words: &[&str], script: &str) -> Option<Outcome> {
    let [unshare] = tools::all(["unshare"])?;
    if words.contains(&"--user") && !tools::user_namespaces() {
        tools::skip("no user namespaces");
        return None;
    }
    let words = [words, &["--mount", "sh", "-c", script]].concat();
    let outcome = site.program(&unshare, words).outcome();
    if outcome.status == 77 {
        tools::skip("no such disk can be mounted");
        return None;
    }
    Some(outcome)
}

/// What a script printed after `NAME=`.
#[track_caller]
fn said<'o>(outcome: &'o Outcome, name: &str) -> &'o str {
    let line = outcome.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("{name}: {}", outcome.report()))
}

#[test]
fn what_nobody_uses_makes_room_for_a_pull_and_its_output_above_the_floor() {
    const MIB: u64 = 1 << 20;
    let image = |seed| Image::new().layer(Layer::noise("data", 4 << 20, seed));
    let registry = Registry::new().image("a:1", image(1)).image("b:1", image(2)).start();
    let site = site(&registry);
    site.write_home(".cache/orlop/.keep", b"");
    std::fs::remove_file(site.cache().join(".keep")).unwrap();
    // Of a disk of 200 MiB the floor is 4. 4 MiB of noise want 4 as they come, 4 as a segment, and
    // 4 more where the file goes to the same disk.
    for (free, output, is_kept) in [
        (13, "elsewhere", true),
        (11, "elsewhere", false),
        (17, "here", true),
        (15, "here", false),
        (10, "here", false),
    ] {
        let script = format!(
            "C={cache}; D=$(dirname $C); mount -t tmpfs -o size=200m,mode=700 none $D || exit 77\n\
             mkdir -m 700 $C; {orlop} pull --force before.sif {a} || exit 1\n\
             {orlop} daemon stop\n\
             A=$(stat -f -c '%a * %S' $D); fallocate -l $(($A - {room})) $D/ballast\n\
             {orlop} pull --force {to} {b}; echo pulled=$?\n\
             {orlop} daemon stop; rm -f $D/b.sif\n\
             echo segments=$(ls $C/segments | wc -l)\n\
             A=$(stat -f -c '%a * %S' $D); echo free=$(($A))\n\
             rm $D/ballast",
            cache = site.cache().display(),
            orlop = site.programs().orlop.display(),
            a = registry.docker("a:1"),
            b = registry.docker("b:1"),
            to = if output == "here" { "$D/b.sif" } else { "b.sif" },
            room = free * MIB,
        );
        let words = ["--user", "--map-root-user"];
        let Some(outcome) = mounting(&site, &words, &script) else { return };
        let row = format!("{free} MiB, {output}: {}", outcome.report());
        assert_eq!(said(&outcome, "pulled"), "0", "{row}");
        assert_eq!(said(&outcome, "segments"), if is_kept { "2" } else { "1" }, "{row}");
        let left: u64 = said(&outcome, "free").parse().unwrap();
        assert!(left >= 4 * MIB, "{row}");
    }
}

#[test]
fn a_pull_that_leaves_less_than_the_floor_works_where_nothing_can_go() {
    // Of 400 MiB the floor is 8; the image takes 5 of 12 MB at the end, and 10 on the way.
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    site.write_home(".cache/orlop/.keep", b"");
    std::fs::remove_file(site.cache().join(".keep")).unwrap();
    let script = format!(
        "C={cache}; D=$(dirname $C); mount -t tmpfs -o size=400m,mode=700 none $D || exit 77\n\
         mkdir -m 700 $C; A=$(stat -f -c '%a * %S' $D)\n\
         fallocate -l $(($A - 12000000)) $D/ballast\n\
         {orlop} pull a.sif {image}; echo pulled=$?; {orlop} daemon stop; rm $D/ballast",
        cache = site.cache().display(),
        orlop = site.programs().orlop.display(),
        image = registry.docker("a:1"),
    );
    let words = ["--user", "--map-root-user"];
    let Some(outcome) = mounting(&site, &words, &script) else { return };
    assert_eq!(said(&outcome, "pulled"), "0", "{}", outcome.report());
}

#[test]
fn f24_f30_a_quota_is_told_as_a_full_disk_with_its_bytes() {
    if !rustix::process::geteuid().is_root() {
        return tools::skip("only root may mount a disk with quotas");
    }
    if tools::all(["mkfs.btrfs", "btrfs"]).is_none() {
        return;
    }
    let image = |seed, bytes| Image::new().layer(Layer::noise("data", bytes, seed));
    let registry = Registry::new().image("a:1", image(1, 6 << 20)).image("b:1", image(2, 10 << 20));
    let registry = registry.image("c:1", image(3, 5 << 20)).start();
    let site = Site::of(Person::own(), &programs()).insecure(&registry);
    let (disk, at) = (site.root().join("disk"), site.root().join("mounted"));
    // Free space says nothing of quotas: it is found when the disk refuses. The output's is met by
    // an image of another disk's cache: blocks that are shared are not refused at once.
    let script = format!(
        "truncate -s 300m {disk} && mkfs.btrfs -q {disk} >/dev/null && mkdir {at} || exit 1\n\
         mount -o loop {disk} {at} || exit 77\n\
         for S in cache output; do btrfs -q subvolume create {at}/$S >/dev/null || exit 1; done\n\
         btrfs quota enable {at} && btrfs qgroup limit 4m {at}/cache || exit 77\n\
         btrfs qgroup limit 1m {at}/output\n\
         export ORLOP_CACHEDIR={at}/cache/orlop; C=$ORLOP_CACHEDIR\n\
         {orlop} pull a.sif {image}; echo first=$?\n\
         echo left=$(find $C/segments $C/recipes $C/tmp -type f | wc -l)\n\
         echo came=$(find $C/partial -type f ! -name '*.mark' -printf '%s\\n')\n\
         btrfs qgroup limit none {at}/cache; {orlop} cache clean --force; {orlop} pull b.sif {other}\n\
         btrfs qgroup limit 14m {at}/cache; {orlop} pull c.sif {third}; echo others=$?\n\
         rm -f b.sif c.sif; btrfs qgroup limit none {at}/cache\n\
         env -u ORLOP_CACHEDIR {orlop} pull {at}/output/a.sif {image}; echo second=$?\n\
         echo output=$(find {at}/output -type f | wc -l)\n\
         {orlop} pull b.sif {image}; echo third=$?; {orlop} cache verify; echo fourth=$?\n\
         {orlop} daemon stop; env -u ORLOP_CACHEDIR {orlop} daemon stop",
        disk = disk.display(),
        at = at.display(),
        orlop = site.programs().orlop.display(),
        image = registry.docker("a:1"),
        other = registry.docker("b:1"),
        third = registry.docker("c:1"),
    );
    let words = ["--propagation", "private"];
    let Some(outcome) = mounting(&site, &words, &script) else { return };
    assert_eq!((said(&outcome, "first"), said(&outcome, "left")), ("255", "0"));
    let layer = registry.blob(&registry.layer_digest(0).unwrap()).unwrap().len() as u64;
    let came: u64 = said(&outcome, "came").parse().unwrap_or(0);
    let in_cache = format!(
        "no space left in {}/cache/orlop, {} bytes are needed: Disk quota exceeded",
        at.display(),
        2 * layer - came + (256 << 10) + layer / 64
    );
    assert!(outcome.stderr.contains(&in_cache), "{in_cache}: {}", outcome.report());
    assert_eq!((said(&outcome, "second"), said(&outcome, "output")), ("255", "0"));
    let sif = bytes(&site, "b.sif").len();
    for part in [format!("no space left in {}/output", at.display()), format!("{sif} bytes")] {
        assert!(outcome.stderr.contains(&part), "{part}: {}", outcome.report());
    }
    // What nobody uses goes when the quota is met, and the pull is made.
    assert_eq!(said(&outcome, "others"), "0", "{}", outcome.report());
    assert_eq!((said(&outcome, "third"), said(&outcome, "fourth")), ("0", "0"));
}

#[test]
fn f24_where_a_quota_is_met_sif_files_have_what_nobody_uses_go_too() {
    if !rustix::process::geteuid().is_root() {
        return tools::skip("only root may mount a disk with quotas");
    }
    if tools::all(["mkfs.btrfs", "btrfs"]).is_none() {
        return;
    }
    let image = |seed, bytes| Image::new().layer(Layer::noise("data", bytes, seed));
    let maker = Registry::new().image("a:1", image(1, 6 << 20)).start();
    let made = site(&maker);
    made.orlop(["pull", "a.sif", &maker.docker("a:1")]).success();
    let sif = bytes(&made, "a.sif");
    let artifact = Artifact::sif(sif.clone()).build();
    let blob = artifact.layers[0].clone();
    let registry = Registry::new().image("s:1", artifact).image("b:1", image(2, 10 << 20)).start();
    let site = Site::of(Person::own(), &programs()).insecure(&registry);
    let (disk, at) = (site.root().join("disk"), site.root().join("mounted"));
    let script = format!(
        "truncate -s 300m {disk} && mkfs.btrfs -q {disk} >/dev/null && mkdir {at} || exit 1\n\
         mount -o loop {disk} {at} || exit 77\n\
         btrfs -q subvolume create {at}/cache >/dev/null || exit 1\n\
         btrfs quota enable {at} || exit 77\n\
         export ORLOP_CACHEDIR={at}/cache/orlop; C=$ORLOP_CACHEDIR\n\
         for URI in {oras} {url}; do\n\
           btrfs qgroup limit none {at}/cache; {orlop} cache clean --force\n\
           {orlop} pull --force b.sif {other}; btrfs qgroup limit 14m {at}/cache || exit 78\n\
           {orlop} pull --force c.sif $URI; echo pulled=$?; cmp c.sif {made}; echo same=$?\n\
         done\n\
         btrfs qgroup limit none {at}/cache; {orlop} cache clean --force\n\
         btrfs qgroup limit 4m {at}/cache\n\
         {orlop} pull d.sif {oras}; echo full=$?\n\
         {orlop} daemon stop",
        disk = disk.display(),
        at = at.display(),
        orlop = site.programs().orlop.display(),
        oras = registry.oras("s:1"),
        url = format_args!("http://{}/v2/s/blobs/{blob}", registry.host()),
        other = registry.docker("b:1"),
        made = made.work().join("a.sif").display(),
    );
    let words = ["--propagation", "private"];
    let Some(outcome) = mounting(&site, &words, &script) else { return };
    let said: Vec<_> = outcome.stdout.lines().collect();
    let wanted = ["pulled=0", "same=0", "pulled=0", "same=0", "full=255"];
    assert_eq!(said, wanted, "{}", outcome.report());
    let full = format!("no space left in {}/cache/orlop, ", at.display());
    assert!(outcome.stderr.contains(&full), "{}", outcome.report());
}
