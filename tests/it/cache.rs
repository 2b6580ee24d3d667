//! The cache's own commands: list, usage, clean, verify, pin, unpin; damage and unknown formats.

use crate::world::{bytes, json, secure};
use orlop_kit::site::end;
use orlop_kit::{Image, Registry, Site, blobs, until_true};
use rustix::process::Signal;
use std::os::unix::fs::FileExt as _;

/// A site whose cache holds `a:1`.
fn filled(image: Image) -> (Registry, Site, String) {
    let (registry, site) = secure(Registry::new().image("a:1", image));
    let uri = registry.docker("a:1");
    site.orlop(["pull", "a.sif", &uri]).success();
    (registry, site, uri)
}

/// The files of entries below one directory of the cache.
fn files(site: &Site, directory: &str) -> Vec<std::path::PathBuf> {
    let mut paths = site.tree(&site.cache());
    paths.retain(|path| path.starts_with(directory) && !path.ends_with('/'));
    paths.into_iter().map(|path| site.cache().join(path)).collect()
}

fn flip(path: &std::path::Path, at: u64) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

#[test]
fn the_list_reads_as_apptainers_and_json_has_every_entry() {
    let (_registry, site, _) = filled(Image::two_layers());
    let list = site.orlop(["cache", "list"]).success();
    let lines: Vec<&str> = list.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", list.report());
    assert!(lines[0].starts_with("There are 1 container file(s) using "), "{}", list.report());
    assert!(lines[0].contains(" oci blob file(s) using "), "{}", list.report());
    assert!(lines[1].starts_with("Total space used: "), "{}", list.report());
    let images = site.orlop(["cache", "list", "-T", "oci-tmp"]).success();
    assert!(
        images.stdout.starts_with("There are 1 container file(s) using "),
        "{}",
        images.report()
    );
    assert!(!images.stdout.contains("oci blob"), "{}", images.report());
    let blobs = site.orlop(["cache", "list", "-T", "blob"]).success();
    assert!(!blobs.stdout.contains("container file"), "{}", blobs.report());
    let entries = json(&site, &["cache", "list", "--json"]);
    let kinds =
        |kind: &str| entries.as_array().unwrap().iter().filter(|e| e["type"] == kind).count();
    assert_eq!(kinds("oci-tmp"), 1);
    let usage = json(&site, &["cache", "usage", "--json"]);
    assert_eq!(usage["path"], site.cache().display().to_string());
    assert_eq!(usage["images"], 1);
    let sum: u64 = entries.as_array().unwrap().iter().map(|e| e["bytes"].as_u64().unwrap()).sum();
    assert_eq!(usage["total_bytes"], sum);
    let shown = site.orlop(["cache", "usage"]).success();
    assert!(shown.stdout.contains("Total space used: "), "{}", shown.report());
}

#[test]
fn a_clean_empties_the_cache_and_a_dry_run_does_not() {
    let (registry, site, uri) = filled(Image::tiny());
    let dry = site.orlop(["cache", "clean", "-n"]).success();
    assert!(dry.stdout.starts_with("User requested a dry run."), "{}", dry.report());
    assert!(!files(&site, "segments/").is_empty());
    let refused = site.orlop(["cache", "clean"]).fails(255);
    assert!(refused.stderr.contains("could not prompt user"), "{}", refused.report());
    let no = site.run(["cache", "clean"]).input("n\n").outcome().success();
    assert!(no.stderr.contains("INFO:    Handle cleanup canceled"), "{}", no.report());
    let done = json(&site, &["cache", "clean", "--force", "--json"]);
    assert!(done["removed"].as_array().unwrap().len() >= 3, "{done}");
    for directory in ["segments/", "recipes/", "blobs/", "tags/", "tmp/damaged/"] {
        assert_eq!(files(&site, directory), [] as [std::path::PathBuf; 0], "{directory}");
    }
    let again = site.orlop(["cache", "clean", "--force"]).success();
    assert!(again.stderr.contains("No cached files to remove at"), "{}", again.report());
    registry.forget();
    site.orlop(["pull", "b.sif", &uri]).success();
    assert!(bytes(&site, "a.sif") == bytes(&site, "b.sif"));
    assert_eq!(registry.count(&blobs()), 2, "{}", registry.log());
}

#[test]
fn help_on_the_cache_lists_its_commands_and_an_unknown_one_is_told_of_all() {
    let site = crate::world::bare_site();
    let help = site.orlop(["cache", "help"]).success();
    assert_eq!(help.stdout, site.orlop(["help", "cache"]).success().stdout);
    let unknown = site.orlop(["cache", "foo"]).fails(255);
    for command in ["list", "usage", "clean", "verify", "pin", "unpin"] {
        assert!(help.stdout.contains(&format!("  cache {command} ")), "{}", help.report());
        assert!(unknown.stderr.contains(&format!("`cache {command}`")), "{}", unknown.report());
    }
    let clean = site.orlop(["cache", "help", "clean"]).success();
    assert!(clean.stdout.contains("--dry-run"), "{}", clean.report());
}

#[test]
fn what_is_pinned_stays_and_serves_without_a_registry() {
    let (registry, site, uri) = filled(Image::two_layers());
    until_true("the tag is remembered", || files(&site, "tags/").len() == 2);
    let pin = site.orlop(["cache", "pin", &uri]).success().says("INFO:    Pinned docker://");
    let usage = json(&site, &["cache", "usage", "--json"]);
    assert_eq!(usage["pins"].as_array().unwrap().len(), 1, "{usage}");
    pin.says(&format!(": {} entries, ", usage["pinned"]));
    let cleaned = site.orlop(["cache", "clean", "--force"]).success();
    assert!(cleaned.stderr.contains(" entries are pinned and stay"), "{}", cleaned.report());

    registry.forget();
    site.orlop(["pull", "--offline", "b.sif", &uri]).success();
    assert!(bytes(&site, "a.sif") == bytes(&site, "b.sif"));
    assert_eq!(registry.requests().len(), 0, "{}", registry.log());

    site.orlop(["cache", "unpin", &uri]).success().says("INFO:    Unpinned docker://");
    site.orlop(["cache", "unpin", &uri]).fails(255).says("no pin is called");
    site.orlop(["cache", "clean", "--force"]).success();
    assert!(files(&site, "segments/").is_empty());
    site.orlop(["pull", "--offline", "c.sif", &uri]).fails(255).says("is not in the cache");
}

#[test]
fn a_key_of_the_list_can_be_pinned_and_an_unknown_one_cannot() {
    let (_registry, site, _) = filled(Image::tiny());
    let entries = json(&site, &["cache", "list", "--json"]);
    let recipe = entries.as_array().unwrap().iter().find(|e| e["type"] == "oci-tmp").unwrap();
    let short = &recipe["key"].as_str().unwrap()[..22];
    site.orlop(["cache", "pin", short]).success();
    site.orlop(["cache", "clean", "--force"]).success();
    assert_eq!(files(&site, "recipes/").len(), 1);
    assert_eq!(files(&site, "segments/").len(), 2, "data and index");
    for (word, status, says) in [
        ("0123456789", 255, "0123456789 is not in the cache: pull it first"),
        ("NOPE", 1, "\"NOPE\" is neither docker://... or oras://... nor 6 or more"),
        ("some-image", 1, "\"some-image\" is neither"),
        ("", 1, "name an image to pin"),
    ] {
        let refused = site.orlop(["cache", "pin", word]).fails(status).says(says);
        assert!(!refused.stderr.contains("login"), "{}", refused.report());
    }
    let refused = site.orlop(["cache", "unpin", "some-image"]).fails(255);
    assert!(!refused.stderr.contains("login"), "{}", refused.report());
    refused.says("no pin is called some-image").says("`cache usage` lists what is pinned");
    site.orlop(["cache", "unpin", ""]).fails(1).says("name one image to unpin");
    site.orlop(["cache", "unpin", "--all"]).success();
    site.orlop(["cache", "clean", "--force"]).success();
    assert!(files(&site, "recipes/").is_empty());
}

#[test]
fn f34_a_flipped_bit_anywhere_is_found_by_verify_and_healed_by_the_next_pull() {
    let (registry, site, uri) = filled(Image::tiny());
    let whole = bytes(&site, "a.sif");
    let mut flips = 0;
    for directory in ["segments/", "recipes/", "blobs/", "tags/"] {
        for path in files(&site, directory) {
            let length = path.metadata().unwrap().len();
            for at in [0, length / 3, length - 1] {
                flip(&path, at);
                flips += 1;
                let found = site.orlop(["cache", "verify", "--json"]).fails(255);
                let said: serde_json::Value = serde_json::from_slice(&found.bytes).unwrap();
                let damaged = said["damaged"].as_array().unwrap().len();
                assert_eq!(damaged, 1, "{} at {at}: {}", path.display(), found.report());
                assert!(!path.exists(), "{}", path.display());
                site.orlop(["cache", "verify"]).success();
                registry.forget();
                site.orlop(["pull", "--force", "b.sif", &uri]).success();
                assert!(bytes(&site, "b.sif") == whole, "{} at {at}", path.display());
                assert!(registry.count(&blobs()) <= 1, "{}", registry.log());
                until_true("what was damaged is there again", || path.exists());
            }
        }
    }
    assert!(flips >= 21, "{flips}");
}

#[test]
fn f34_damage_is_found_on_use_and_healed_within_the_command() {
    let (registry, site, uri) = filled(Image::two_layers());
    let whole = bytes(&site, "a.sif");
    for (directory, is_daemon_new) in
        [("segments/", false), ("segments/", true), ("recipes/", false), ("blobs/", true)]
    {
        for path in files(&site, directory) {
            let before = path.metadata().unwrap();
            flip(&path, before.len() / 2);
            if path.ends_with("data") && !is_daemon_new {
                // The daemon has made it, and copying it unread would be faster.
                let file = std::fs::File::options().write(true).open(&path).unwrap();
                file.set_modified(before.modified().unwrap()).unwrap();
            }
            if is_daemon_new {
                site.stop();
            }
            registry.forget();
            let outcome = site.orlop(["pull", "--force", "b.sif", &uri]).success();
            assert!(bytes(&site, "b.sif") == whole, "{}: {}", path.display(), outcome.report());
            assert!(registry.count(&blobs()) <= 1, "{}", registry.log());
        }
    }
    site.orlop(["cache", "verify"]).success();
}

#[test]
fn f35_a_cut_grown_or_replaced_file_is_made_anew() {
    let (_registry, site, uri) = filled(Image::tiny());
    let whole = bytes(&site, "a.sif");
    let damages: [fn(&std::path::Path); 4] = [
        |path| std::fs::write(path, b"").unwrap(),
        |path| {
            let length = path.metadata().unwrap().len();
            std::fs::File::options().write(true).open(path).unwrap().set_len(length / 2).unwrap();
        },
        |path| {
            let length = path.metadata().unwrap().len();
            std::fs::File::options().write(true).open(path).unwrap().set_len(length + 9).unwrap();
        },
        |path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
        },
    ];
    for directory in ["segments/", "recipes/", "blobs/", "tags/"] {
        for path in files(&site, directory) {
            for damage in damages {
                damage(&path);
                site.person().give(&path);
                site.orlop(["pull", "--force", "b.sif", &uri]).success();
                assert!(bytes(&site, "b.sif") == whole, "{}", path.display());
                until_true("it is a file again", || path.is_file());
            }
        }
    }
    site.orlop(["cache", "verify"]).success();
}

#[test]
fn an_interrupted_verify_or_clean_stops_in_the_daemon_too() {
    let (_registry, site, _) = filled(Image::tiny());
    // A blob that takes minutes to hash: nothing but holes, under a digest that is not its own.
    let huge = site.cache().join("blobs/sha256").join("7".repeat(64));
    let file = std::fs::File::create(&huge).unwrap();
    file.set_len(1 << 40).unwrap();
    site.person().give(&huge);
    let status = |part: &str| {
        let status = json(&site, &["status", "--json"]);
        status[part].clone()
    };
    let running = site.run(["cache", "verify"]).start();
    until_true("the verification runs", || status("flights").as_array().unwrap().len() == 1);
    assert_eq!(status("flights")[0]["what"], "cache verify");
    running.signal(Signal::INT);
    running.outcome().fails(130);
    until_true("the daemon has stopped it", || {
        status("flights").as_array().unwrap().is_empty() && status("calls") == 0
    });
    // Its thread is gone too: the daemon ends at once when it is asked to.
    let daemon = site.daemons()[0];
    let start = std::time::Instant::now();
    end(daemon, Signal::TERM);
    assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(huge.exists(), "what was not read is not moved");
}

#[test]
fn s52_a_cache_of_another_format_is_refused_untouched_and_a_clean_removes_it() {
    for format in ["9\n", "", "garbage\u{7}\n"] {
        let (_registry, site, uri) = filled(Image::tiny());
        site.stop();
        std::fs::write(site.cache().join("version"), format).unwrap();
        let before = site.tree(&site.cache());
        for words in [
            vec!["pull", "b.sif", &uri],
            vec!["pull", "--offline", "b.sif", &uri],
            vec!["cache", "list"],
            vec!["cache", "verify"],
        ] {
            let refused = site.orlop(words.clone()).fails(255);
            refused.clone().says("knows format 1").says("orlop cache clean");
            if format == "9\n" {
                refused.says("format 9");
            }
        }
        let status = site.orlop(["status"]).success();
        assert!(status.stdout.contains("knows format 1"), "{}", status.report());
        assert_eq!(site.tree(&site.cache()), before);
        site.orlop(["cache", "clean", "-n"]).success();
        assert_eq!(site.tree(&site.cache()), before);

        site.orlop(["cache", "clean", "--force"]).success().says("Removing the whole cache at");
        site.orlop(["pull", "b.sif", &uri]).success();
        assert!(bytes(&site, "a.sif") == bytes(&site, "b.sif"));
        assert_eq!(std::fs::read(site.cache().join("version")).unwrap(), b"1\n");
    }
}

#[test]
fn a_cap_that_cannot_be_read_ends_what_tells_of_it() {
    let site = crate::world::bare_site();
    site.write_home(".config/orlop/orlop.toml", b"[cache]\nmax = \"abc\"\n");
    let told = site.orlop(["cache", "usage"]).fails(255);
    told.says("orlop.toml:2: cache.max has to be bytes");
    site.write_home(".config/orlop/orlop.toml", b"[cache]\nmax = \"1GiB\"\n");
    site.orlop(["cache", "usage"]).success();
}

#[test]
fn s52_a_clean_leaves_a_directory_that_is_no_cache_alone() {
    let site = crate::world::bare_site();
    site.write_home("project/version", b"2.1.0\n");
    site.write_home("project/tmp/mine", b"mine");
    site.write_home("project/src/main", b"mine");
    let at = site.home().join("project");
    let before = site.tree(&at);
    let clean = site.run(["cache", "clean", "--force"]).env("ORLOP_CACHEDIR", &at);
    clean.outcome().fails(255).says("which is no cache's");
    assert_eq!(site.tree(&at), before);
}

#[test]
fn f34_damage_that_a_container_meets_is_healed_by_the_next_command() {
    if !crate::run::runnable() {
        return;
    }
    let image = Image::tiny().layer(orlop_kit::Layer::noise("data/kept", 600_000, 7));
    let (registry, site, uri) = filled(image);
    let show = || site.orlop(["exec", &uri, "/bin/probe", "cat", "/data/kept"]);
    let segment = files(&site, "segments/").into_iter().filter(|path| path.ends_with("data"));
    let segment = segment.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let before = segment.metadata().unwrap();
    flip(&segment, before.len() / 2);
    // As a disk damages: nothing of it shows from outside, and the daemon knows the file.
    std::fs::File::options()
        .write(true)
        .open(&segment)
        .unwrap()
        .set_modified(before.modified().unwrap())
        .unwrap();
    let met = show();
    assert_ne!(met.status, 0, "{}", met.report());
    registry.forget();
    let healed = show().success();
    assert_eq!(healed.bytes.len(), 600_000);
    assert_eq!(registry.count(&blobs()), 1, "{}", registry.log());
    let log = site.tree(&site.home()).into_iter().find(|path| path.ends_with("orlopd.log"));
    let log = site.read_home(&log.unwrap()).unwrap();
    assert!(log.contains("damaged cache entry moved aside"), "{log}");
    show().success();
    assert_eq!(registry.count(&blobs()), 1, "{}", registry.log());
    site.orlop(["cache", "verify"]).success();
}

#[test]
fn a_cap_that_was_lowered_is_kept_by_the_next_daemon() {
    let (_registry, site, _) = filled(Image::two_layers());
    let used = || json(&site, &["cache", "usage", "--json"])["total_bytes"].as_u64().unwrap();
    assert!(used() > 100_000);
    site.orlop(["daemon", "stop"]).success();
    site.write_home(".config/orlop/orlop.toml", b"[cache]\nmax = 100000\n");
    until_true("the cap is kept", || used() <= 100_000);
}

#[test]
fn a_cap_that_is_no_number_of_bytes_is_refused() {
    let (_registry, site) = secure(Registry::new());
    for wrong in ["much", "-5", "10%", "99999999999999T"] {
        let mut run = site.run(["cache", "usage"]);
        run = run.env("ORLOP_CACHE_MAX", wrong);
        run.outcome().fails(255).says("ORLOP_CACHE_MAX").says("50GiB");
    }
}
