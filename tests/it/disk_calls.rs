//! Calls of disks that fail once, are missing, or do half (rows F21, F25, F26, F27, F31 to F33,
//! S51): what is visible is whole, and the next command goes on. Not here: every call of every
//! command (`calls`), disks that are full (`disks`).

use crate::world::{SECRET, basic, bytes, site, stored_secret};
use orlop_kit::faults::Hit;
use orlop_kit::{Entry, Faults, Image, Layer, Registry, Rule, Site};
use rustix::io::Errno;
use rustix::process::Signal;

/// Calls that make bytes last.
const SYNCS: [&str; 2] = ["fsync", "fdatasync"];

/// Calls that give a file its name.
#[cfg(target_arch = "x86_64")]
const NAMINGS: [&str; 5] = ["renameat2", "renameat", "rename", "linkat", "link"];
#[cfg(not(target_arch = "x86_64"))]
const NAMINGS: [&str; 3] = ["renameat2", "renameat", "linkat"];

/// Calls of a disk.
const DISK: [&str; 20] = [
    "openat",
    "read",
    "pread64",
    "write",
    "pwrite64",
    "copy_file_range",
    "ioctl",
    "fsync",
    "fdatasync",
    "renameat2",
    "renameat",
    "linkat",
    "unlinkat",
    "mkdirat",
    "ftruncate",
    "fallocate",
    "flock",
    "fchmod",
    "statx",
    "getdents64",
];

struct World {
    faults: Faults,
    site: Site,
    image: String,
    golden: Vec<u8>,
    _registry: Registry,
}

/// A site whose disk calls are decided, with what an undisturbed pull gives.
fn world(image: Image) -> Option<World> {
    if !Faults::possible() {
        return None;
    }
    let registry = Registry::new().image("a:1", image).start();
    let mut calls = DISK.to_vec();
    #[cfg(target_arch = "x86_64")]
    calls.extend(["open", "rename", "link", "unlink", "mkdir", "rmdir"]);
    let faults = Faults::watching(calls);
    let site = site(&registry).under(&faults);
    let image = registry.docker("a:1");
    site.orlop(["pull", "golden.sif", &image]).success();
    let golden = bytes(&site, "golden.sif");
    Some(World { faults, site, image, golden, _registry: registry })
}

/// Few bytes, for what takes them one by one.
fn smallest() -> Image {
    let first = Layer::new()
        .entries([Entry::dir("etc"), Entry::file("etc/motd", "It is made of two files.\n")]);
    Image::new().layer(first).layer(Layer::noise("noise", 3000, 5))
}

impl World {
    /// A pull into an empty cache.
    fn clean(&self) {
        self.faults.rest();
        self.site.orlop(["cache", "clean", "--force"]).success();
    }

    #[track_caller]
    fn is_golden(&self, after: &str) {
        assert!(bytes(&self.site, "a.sif") == self.golden, "{after}");
    }

    fn invariants(&self, after: &str) {
        self.faults.rest();
        self.site.invariants(after, &self.image, &self.golden, &[]);
    }
}

#[test]
fn f31_a_draft_whose_sync_failed_is_thrown_away_and_never_synced_again() {
    let Some(world) = world(Image::tiny()) else { return };
    let mut failed = 0;
    for number in 1.. {
        world.clean();
        world.faults.set([
            Rule::on_any(SYNCS).nth(number).fails(Errno::IO),
            Rule::on_any(SYNCS).is_noted(),
            // A file without a name begins: its number may be that of one that was thrown away.
            Rule::on("openat").at_end("/.").is_noted(),
        ]);
        let outcome = world.site.orlop(["pull", "--force", "a.sif", &world.image]);
        // Those of the next pull belong to it: what failed must not be synced there either.
        let next = world.site.orlop(["pull", "--force", "b.sif", &world.image]);
        // It may be the one that meets the fault.
        assert!(outcome.status == 0 || next.status == 0, "{}", next.report());
        let notes = world.faults.hits();
        let is_sync = |hit: &Hit| SYNCS.contains(&hit.call);
        let wanted = usize::try_from(number).unwrap() - 1;
        let found = notes.iter().enumerate().filter(|(_, hit)| is_sync(hit)).nth(wanted);
        let Some((at, hit)) = found else { break };
        let after = format!("sync {number}, {hit:?}");
        let is_directory = std::path::Path::new(&hit.path).is_dir();
        let mut later = notes[at + 1..].iter().take_while(|later| {
            let begun = later.path.trim_end_matches('.');
            is_sync(later) || later.program != hit.program || !hit.path.starts_with(begun)
        });
        let again = later.any(|later| later.path == hit.path);
        assert!(is_directory || !again, "{after}: synced again: {notes:?}");
        if outcome.status == 0 {
            world.is_golden(&after);
        } else {
            let outcome = outcome.fails(255);
            assert!(outcome.stderr.contains("nput/output error"), "{after}: {}", outcome.report());
            failed += 1;
        }
        world.invariants(&after);
        assert!(number < 60, "the syncs of a pull are counted");
    }
    assert!(failed >= 3, "{failed}");
}

#[test]
fn f32_where_naming_or_syncing_a_directory_fails_it_is_not_published_or_whole() {
    let Some(world) = world(Image::tiny()) else { return };
    let errors = [Errno::IO, Errno::NOSPC, Errno::STALE];
    let mut failed = 0;
    for number in 1..60 {
        let error = errors[usize::try_from(number).unwrap() % 3];
        world.clean();
        world.faults.set([Rule::on_any(NAMINGS).nth(number).fails(error)]);
        let outcome = world.site.orlop(["pull", "--force", "a.sif", &world.image]);
        let hits = world.faults.hits();
        let after = format!("name {number}, {error:?}, {hits:?}");
        if hits.is_empty() {
            break;
        }
        if outcome.status == 0 {
            world.is_golden(&after);
        } else {
            assert!(outcome.status == 255, "{after}: {}", outcome.report());
            failed += 1;
        }
        world.invariants(&after);
    }
    assert!(failed >= 2, "{failed}");
}

#[test]
fn f27_what_a_file_system_cannot_do_is_done_by_plain_calls() {
    let Some(world) = world(Image::two_layers()) else { return };
    let site = &world.site;
    let refusals = [Errno::NOTTY, Errno::XDEV, Errno::OPNOTSUPP, Errno::INVAL, Errno::NOSYS];
    let place = site.root().display().to_string();
    let calls: [(&str, &str); 5] = [
        ("ioctl", ""),
        ("copy_file_range", ""),
        ("openat", "/."),
        ("linkat", ""),
        ("renameat2", ""),
    ];
    let rule = |call: &str, end: &str| {
        let rule = Rule::on(call).at(&place);
        if end.is_empty() { rule } else { rule.at_end(end) }
    };
    let mut met = 0;
    let mut pull = |rules: Vec<Rule>, after: &str| {
        world.clean();
        world.faults.set(rules);
        // By its path: the directory of a name alone is opened as `.` too.
        let output = site.work().join("a.sif").display().to_string();
        let outcome = site.orlop(["pull", "--force", &output, &world.image]);
        let hits = world.faults.hits();
        assert!(outcome.status == 0, "{after}, {hits:?}: {}", outcome.report());
        world.is_golden(after);
        met += usize::from(!hits.is_empty());
    };
    for (number, (call, end)) in calls.iter().enumerate() {
        let error = refusals[number % 5];
        pull(vec![rule(call, end).nth(1).fails(error)], &format!("first {call} {error:?}"));
        let other = refusals[(number + 2) % 5];
        pull(vec![rule(call, end).fails(other)], &format!("every {call} {other:?}"));
    }
    pull(vec![rule("copy_file_range", "").answers(0)], "copy_file_range that copies nothing");
    // S51: a file system that has none of them, and no locks.
    for error in refusals {
        let mut rules: Vec<Rule> =
            calls.iter().map(|(call, end)| rule(call, end).fails(error)).collect();
        rules.push(Rule::on("flock").fails(Errno::NOLCK));
        rules.push(Rule::on("fallocate").fails(error));
        // Links and renames without replacing are refused, plain renames are not.
        pull(rules, &format!("nothing but plain calls, {error:?}"));
    }
    assert!(met >= 10, "{met}");
    world.invariants("refusals");
}

#[test]
fn s51_where_locks_fail_or_lie_pulls_and_cleanings_go_on() {
    let Some(world) = world(Image::tiny()) else { return };
    let locks = [
        Rule::on("flock").fails(Errno::NOLCK),
        Rule::on("flock").fails(Errno::NOSYS),
        Rule::on("flock").answers(0),
    ];
    for rule in locks {
        world.clean();
        world.faults.set([rule.clone()]);
        let running: Vec<_> = ["a.sif", "b.sif", "c.sif"]
            .map(|name| world.site.run(["pull", "--force", name, &world.image]).start())
            .into();
        for pull in running {
            pull.outcome().success();
        }
        world.is_golden(&format!("{rule:?}"));
        world.site.orlop(["cache", "clean", "--force"]).success();
        world.site.orlop(["pull", "--force", "a.sif", &world.image]).success();
        world.is_golden(&format!("{rule:?}"));
        assert!(!world.faults.hits().is_empty());
        world.invariants(&format!("{rule:?}"));
    }
}

#[test]
fn f33_reads_and_writes_of_one_byte_give_the_same_bytes() {
    let calls = ["read", "pread64", "write", "pwrite64"];
    for (image, most) in [(smallest(), 1), (Image::two_layers(), 40_961)] {
        let Some(world) = world(image) else { return };
        world.clean();
        let place = world.site.root().display().to_string();
        world.faults.set([
            Rule::on_any(calls).at(&place).moves_at_most(most),
            Rule::on("copy_file_range").fails(Errno::XDEV),
            Rule::on("ioctl").at(&place).fails(Errno::NOTTY),
        ]);
        world.site.orlop(["pull", "--force", "a.sif", &world.image]).success();
        world.is_golden(&format!("{most} bytes a call"));
        let counts = world.faults.counts();
        let moved: u64 = calls.iter().filter_map(|call| counts.get(call)).sum();
        assert!(moved > 100, "{counts:?}");
        world.site.orlop(["cache", "verify"]).success();
        world.invariants(&format!("{most} bytes a call"));
    }
}

#[test]
fn f26_an_output_goes_to_the_directory_that_was_opened_first() {
    let Some(world) = world(Image::tiny()) else { return };
    let site = &world.site;
    let (out, moved, elsewhere) =
        (site.work().join("out"), site.work().join("moved"), site.work().join("elsewhere"));
    for how in ["renamed", "replaced", "removed"] {
        for directory in [&out, &elsewhere] {
            std::fs::create_dir_all(directory).unwrap();
            site.person().give(directory);
        }
        world.faults.set([Rule::on_any(NAMINGS).of("orlop").at("/work/out/").nth(1).holds()]);
        let pull = site.run(["pull", "out/a.sif", &world.image]).start();
        world.faults.held(1);
        match how {
            "removed" => std::fs::remove_dir_all(&out).unwrap(),
            _ => {
                let renamed = std::process::Command::new("mv").arg(&out).arg(&moved).status();
                assert!(renamed.unwrap().success());
            }
        }
        if how == "replaced" {
            std::os::unix::fs::symlink(&elsewhere, &out).unwrap();
        }
        world.faults.release();
        let outcome = pull.outcome();
        if outcome.status == 0 {
            let there = std::fs::read(moved.join("a.sif")).unwrap();
            assert!(there == world.golden, "{how}: {}", outcome.report());
        } else {
            assert!(outcome.status == 255, "{how}: {}", outcome.report());
        }
        assert!(site.tree(&elsewhere).is_empty(), "{how}: {}", outcome.report());
        world.faults.rest();
        let _link = std::fs::remove_file(&out);
        let _removed = std::fs::remove_dir_all(&moved);
        let _removed = std::fs::remove_dir_all(&out);
    }
}

#[test]
fn f21_a_signal_at_any_step_leaves_the_output_absent_or_whole() {
    let Some(world) = world(Image::tiny()) else { return };
    let site = &world.site;
    let steps = [
        Rule::on("openat").of("orlop").at_end("/work/."),
        Rule::on_any(["pwrite64", "write", "copy_file_range"]).of("orlop").at("/work/"),
        Rule::on_any(SYNCS).of("orlop").at("/work/"),
        Rule::on_any(NAMINGS).of("orlop").at("/work/"),
        Rule::on_any(SYNCS).of("orlop").at_end("/work"),
    ];
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        for (number, step) in steps.iter().enumerate() {
            let _removed = std::fs::remove_file(site.work().join("a.sif"));
            world.faults.set([step.clone().nth(1).holds()]);
            let pull = site.run(["pull", "a.sif", &world.image]).start();
            world.faults.held(1);
            pull.signal(signal);
            world.faults.release();
            let outcome = pull.outcome();
            let after = format!("{signal:?} at step {number}: {}", outcome.report());
            world.faults.rest();
            // Who has given the file its name is done.
            assert!(outcome.status == status || outcome.status == 0, "{after}");
            let names: Vec<String> = site.tree(&site.work());
            match names.iter().any(|name| name == "a.sif") {
                true => world.is_golden(&after),
                false => assert!(outcome.status == status, "{after}"),
            }
            assert!(names.iter().all(|name| !name.contains(".orlop-")), "{names:?}: {after}");
        }
    }
    world.invariants("signals");
}

#[test]
fn f25_a_kill_or_an_error_at_any_call_of_a_client_s_update_leaves_the_old_file_or_the_new() {
    let Some(world) = world(Image::tiny()) else { return };
    let registry = Registry::new().auth(basic()).start();
    let site = site(&registry).under(&world.faults);
    site.orlop(["registry", "list"]).success();
    let before = r#"{"auths":{"a.example":{"auth":"dTpw"}},"n":1}"#;
    let uri = format!("docker://{}", registry.host());
    let words = ["registry", "login", "-u", "u", "--password-stdin", "--authfile", "d/f.json"];
    let log_in = || site.run(words.into_iter().chain([uri.as_str()])).input(SECRET).outcome();
    let faults: [fn(Rule) -> Rule; 2] = [Rule::kills, |rule| rule.fails(Errno::IO)];
    let (mut met, mut failed) = (0, 0);
    for fault in faults {
        for number in 1..80 {
            site.write_work("d/f.json", before.as_bytes());
            let all = DISK.into_iter().chain(NAMINGS);
            let rule = Rule::on_any(all).of("orlop").at("/work/d").nth(number);
            world.faults.set([fault(rule)]);
            let outcome = log_in();
            let hits = world.faults.hits();
            world.faults.rest();
            if hits.is_empty() {
                break;
            }
            met += 1;
            let after = format!("{hits:?}: {}", outcome.report());
            let text = std::fs::read_to_string(site.work().join("d/f.json")).unwrap();
            let is_new = stored_secret(&text, &registry.host()).is_some()
                && stored_secret(&text, "a.example").is_some()
                && text.contains("\"n\":1");
            assert!(text == before || is_new, "{text}: {after}");
            assert!(outcome.status != 0 || is_new, "{text}: {after}");
            assert!(matches!(outcome.status, 0 | 255 | 137), "{after}");
            failed += usize::from(outcome.status != 0);
            let again = log_in();
            assert!(again.status == 0, "{}: {after}", again.report());
            assert_eq!(site.tree(&site.work().join("d")), ["f.json"], "{after}");
        }
    }
    assert!(met >= 10 && failed >= 6, "{met} calls, {failed} failed");
}
