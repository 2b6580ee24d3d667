//! Damage of any file of the cache, bit by bit and whole (rows F34 and F35): a verification finds
//! all of it, use gives right bytes or none, one request heals it. As many places of each file as
//! `ORLOP_KIT_ROUNDS` says, spread; all of the first 4 KiB and every 4096th byte for 0.
//!
//! Not here: what a holder does with damage ([`crate::cache`]).

use crate::world::{bytes, json, secure};
use orlop_kit::{Answer, Image, Layer, Registry, Site, any, blobs, tools, until_true};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Bytes of the file that containers show.
const KEPT: usize = 9_000;

/// A cached and pinned image, and what it is when it is whole.
struct World {
    registry: Registry,
    site: Site,
    image: String,
    golden: Vec<u8>,
}

fn world() -> World {
    let image = Image::tiny().layer(Layer::noise("data/kept", KEPT, 7));
    let (registry, site) = secure(Registry::new().image("a:1", image));
    // A registry that is down is asked once.
    let site = site.env("ORLOP_LIMITS_TRIES", "1");
    let image = registry.docker("a:1");
    site.orlop(["pull", "a.sif", &image]).success();
    let golden = bytes(&site, "a.sif");
    let world = World { registry, site, image, golden };
    world.is_whole_again(&[]);
    world.site.orlop(["cache", "pin", &world.image]).success();
    world
}

impl World {
    fn files(&self, directory: &str) -> Vec<PathBuf> {
        let mut paths = self.site.tree(&self.site.cache());
        paths.retain(|path| path.starts_with(directory) && !path.ends_with('/'));
        paths.into_iter().map(|path| self.site.cache().join(path)).collect()
    }

    /// One file of each entry: of segments the one of this name.
    fn one_of_each(&self, of_segments: &str) -> Vec<PathBuf> {
        let mut files = self.files("segments/");
        files.retain(|path| path.ends_with(of_segments));
        for directory in ["recipes/", "blobs/", "tags/", "pins/"] {
            files.extend(self.files(directory));
        }
        files
    }

    fn pull(&self) -> orlop_kit::Outcome {
        self.site.orlop(["pull", "--force", "b.sif", &self.image])
    }

    #[track_caller]
    fn is_golden(&self, after: &str) {
        assert!(bytes(&self.site, "b.sif") == self.golden, "{after}");
    }

    /// Waits for what the daemon writes though nobody waits: tags. What comes late would heal the
    /// next damage.
    fn is_whole_again(&self, files: &[PathBuf]) {
        until_true("the tags are remembered", || self.files("tags/").len() == 2);
        until_true("the daemon has nothing left to do", || {
            json(&self.site, &["status", "--json"])["background"] == 0
        });
        until_true("all is there again", || files.iter().all(|path| path.is_file()));
    }

    /// Has these files' damage found, each once, and healed by as little as can be.
    fn found_and_healed(&self, damaged: &[PathBuf], after: &str) {
        let found = self.site.orlop(["cache", "verify", "--json"]).fails(255);
        let said: serde_json::Value = serde_json::from_slice(&found.bytes).unwrap();
        let count = said["damaged"].as_array().unwrap().len();
        assert_eq!(count, damaged.len(), "{after}: {}", found.report());
        assert!(damaged.iter().all(|path| path.symlink_metadata().is_err()), "{after}");
        self.site.orlop(["cache", "verify"]).success();
        self.registry.forget();
        self.pull().success();
        self.is_golden(after);
        let (count, log) = (self.registry.count(&blobs()), self.registry.log());
        assert!(count <= 3, "{after}: one for each layer and the config: {log}");
        self.site.orlop(["cache", "pin", &self.image]).success();
        self.is_whole_again(damaged);
    }
}

/// Places of files of up to this length: few, spread, or all that the row names.
fn places(length: u64, few: u64) -> Vec<u64> {
    let all: Vec<u64> = (0..4096).chain((4096..length).step_by(4096)).collect();
    let count = match tools::rounds(few) {
        0 => all.len(),
        count => usize::try_from(count).unwrap().clamp(2, all.len()),
    };
    tools::part((0..count).map(|number| all[number * (all.len() - 1) / (count - 1)]).collect())
}

fn length(path: &Path) -> u64 {
    path.metadata().unwrap().len()
}

fn flip(path: &Path, at: u64) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << (at % 8))], at).unwrap();
}

/// As a disk damages: nothing of it shows from outside.
fn flip_unseen(path: &Path, at: u64) {
    let before = path.metadata().unwrap().modified().unwrap();
    flip(path, at);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(before).unwrap();
}

#[test]
fn f34_a_verification_finds_a_flipped_bit_in_every_file() {
    let world = world();
    let longest = |name: &str| world.one_of_each(name).iter().map(|path| length(path)).max();
    let mut flips = 0;
    for name in ["data", "index"] {
        for at in places(longest(name).unwrap(), 4) {
            // The same place of all files at once: each is an entry of its own.
            let mut files = world.one_of_each(name);
            files.retain(|path| at < length(path));
            files.iter().for_each(|path| flip(path, at));
            flips += files.len();
            world.found_and_healed(&files, &format!("byte {at}, {files:?}"));
        }
    }
    tools::say(&format!("{flips} flips found and healed"));
    assert!(flips >= 20, "{flips}");
}

#[test]
fn f35_a_verification_finds_files_that_are_cut_grown_closed_or_no_files() {
    let world = world();
    let resize = |path: &Path, length: u64| {
        std::fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
    };
    let damages: [&dyn Fn(&Path); 5] = [
        &|path| resize(path, 0),
        &|path| resize(path, length(path) / 2),
        &|path| resize(path, length(path) + 9),
        &|path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
        },
        &|path| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o0)).unwrap();
        },
    ];
    for (number, damage) in damages.iter().enumerate() {
        let files = world.one_of_each(if number % 2 == 0 { "data" } else { "index" });
        for path in &files {
            damage(path);
            world.site.person().give(path);
        }
        world.found_and_healed(&files, &format!("damage {number}, {files:?}"));
        // Without a verification before.
        for path in files.iter().filter(|path| !path.starts_with(world.site.cache().join("pins"))) {
            damage(path);
            world.site.person().give(path);
            world.pull().success();
            world.is_golden(&format!("damage {number}, {}", path.display()));
            world.is_whole_again(&files);
        }
    }
    world.site.orlop(["cache", "verify"]).success();
}

#[test]
fn f34_a_container_sees_right_bytes_or_none_and_the_next_all() {
    if !crate::run::runnable() {
        return;
    }
    let world = world();
    let words = ["exec", &world.image, "/bin/probe", "cat", "/data/kept"];
    let show = || world.site.orlop(words);
    let right = show().success().bytes;
    assert_eq!(right.len(), KEPT);
    let mut number = 0;
    for directory in ["segments/", "recipes/", "blobs/", "tags/"] {
        for path in world.files(directory) {
            for at in places(length(&path), 2) {
                number += 1;
                let at = at.min(length(&path) - 1);
                let after = format!("byte {at} of {}", path.display());
                if number % 2 == 0 {
                    flip_unseen(&path, at);
                } else {
                    flip(&path, at);
                    world.site.stop();
                }
                let met = show();
                assert!(met.status != 0 || met.bytes == right, "{after}: {}", met.report());
                world.registry.forget();
                let healed = show().success();
                assert!(healed.bytes == right, "{after}");
                let log = world.registry.log();
                assert!(world.registry.count(&blobs()) <= 1, "{after}: {log}");
                // What is not read by a run is found by a verification.
                let _found = world.site.orlop(["cache", "verify"]);
                world.pull().success();
                world.is_golden(&after);
                world.is_whole_again(std::slice::from_ref(&path));
            }
        }
    }
}

#[test]
fn f34_without_a_registry_damage_is_told_and_kept_for_a_look() {
    let world = world();
    let aside = || world.files("tmp/damaged/").len();
    let mut told = 0;
    for directory in ["segments/", "recipes/", "blobs/", "tags/"] {
        for (number, path) in world.files(directory).into_iter().enumerate() {
            let at = length(&path) / 2;
            let after = format!("byte {at} of {}", path.display());
            let before = aside();
            world.registry.script(any(), [Answer::Status(503)]);
            // Seen by its time, or met as it is read.
            let is_seen = number % 4 < 2;
            if is_seen {
                flip(&path, at);
            } else {
                flip_unseen(&path, at);
            }
            let words = ["pull", "--force", "b.sif", &world.image, "--offline"];
            let outcome = world.site.orlop(words[..4 + number % 2].iter().copied());
            if outcome.status == 0 {
                // A recipe is made of segments; an index, or a digest's tag, may not be asked for.
                world.is_golden(&after);
                let is_needed = path.ends_with("data") || directory == "blobs/" || is_seen;
                let is_made = ["recipes/", "tags/"].contains(&directory);
                assert!(is_made || !is_needed, "{after}: {}", outcome.report());
            } else {
                let outcome = outcome.fails(255).says("the cache is damaged");
                outcome.says("the same command fetches it again");
                assert!(aside() > before && !path.exists(), "{after}");
                told += 1;
            }
            world.registry.undisturbed(|| world.pull().success());
            world.is_golden(&after);
            let _found = world.registry.undisturbed(|| world.site.orlop(["cache", "verify"]));
            world.registry.undisturbed(|| world.pull().success());
            world.is_whole_again(std::slice::from_ref(&path));
        }
    }
    assert!(told >= 5, "{told}");
}

#[test]
fn f34_f35_damaged_claims_and_leases_keep_nobody_from_working() {
    let world = world();
    let site = &world.site;
    let segment = world.files("segments/").remove(0);
    let key = segment.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let claim = site.cache().join(format!("claims/segment-{key}"));
    let now = site.cache().join("leases/.now");
    let lease = site.cache().join("leases/node_test.01234567.1");
    let text = r#"{"host":"a.example","boot":"b","space":"p","pid":1,"nonce":1,"beat":3}"#;
    let damages: [&dyn Fn(&Path); 4] = [
        &|path| std::fs::write(path, b"").unwrap(),
        &|path| std::fs::write(path, format!("{}\u{1}", &text[..40])).unwrap(),
        &|path| std::fs::create_dir(path).unwrap(),
        &|path| {
            std::fs::write(path, text).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o0)).unwrap();
        },
    ];
    for (number, damage) in damages.iter().enumerate() {
        site.orlop(["cache", "unpin", "--all"]).success();
        site.orlop(["cache", "clean", "--force"]).success();
        for path in [&claim, &now, &lease] {
            let _file = std::fs::remove_file(path);
            let _directory = std::fs::remove_dir(path);
            damage(path);
            site.person().give(path);
        }
        let pull = site.run(["pull", "--force", "b.sif", &world.image]);
        pull.env("ORLOP_LIMITS_CLAIM_STALE", "300ms").outcome().success();
        world.is_golden(&format!("damage {number}"));
        site.orlop(["cache", "clean", "--force"]).success();
        world.pull().success();
        site.orlop(["cache", "verify"]).success();
    }
}
