//! Memory: what daemon and client get by with, and that the daemon gives it back.
//!
//! Not here: what large images take ([`crate::large`]).

use crate::world::{AUTH, basic, bytes, json, log_in, site};
use orlop_kit::{Image, Registry, Site, memory, tools, until, until_true};
use rustix::process::Signal;
use std::path::Path;
use std::time::Instant;

/// Bytes of its own that an idle daemon has at most; its program's pages come on top, which a
/// build without optimisation has more of.
const IDLE: u64 = 16 << 20;

/// Bytes of all kinds that an idle daemon has; a build without optimisation has more of a program.
const RESIDENT: u64 = if cfg!(debug_assertions) { 26 << 20 } else { 20 << 20 };

fn daemon(site: &Site) -> u32 {
    let [daemon] = site.daemons()[..] else { panic!("one daemon: {:?}", site.daemons()) };
    daemon
}

fn flights(site: &Site) -> usize {
    json(site, &["status", "--json"])["flights"].as_array().map_or(0, Vec::len)
}

#[test]
fn f14_a_layer_larger_than_its_control_group_may_have_memory_is_pulled() {
    let size = tools::sized(64 << 20, 3 << 30);
    // All that is charged to the group counts: pages of the files that are written, too.
    let most = tools::sized(48 << 20, 256 << 20);
    let registry = Registry::new().image("a:1", Image::noise(size)).start();
    let site = site(&registry);
    let Some(group) = memory::Group::new(most, site.person()) else {
        return tools::skip("no control group can be made here");
    };
    let [shell, rest @ ..] = group.words();
    let orlop = site.programs().orlop.display().to_string();
    let words = rest.into_iter().chain([orlop, "pull".into(), "a.sif".into()]);
    let words = words.chain([registry.docker("a:1")]);
    site.program(&tools::find(&shell).unwrap(), words).outcome().success();
    assert!(site.work().join("a.sif").metadata().unwrap().len() > size);
    site.stop();
}

#[test]
fn l78_an_image_with_more_files_than_memory_can_hold_is_refused_with_a_sentence() {
    let count = tools::sized(0, 1_000_000);
    if count == 0 {
        return tools::skip("many files are wanted: ORLOP_KIT_LARGE is not set");
    }
    let registry = Registry::new().image("a:1", Image::files(count)).start();
    let site = site(&registry);
    let Some(group) = memory::Group::new(128 << 20, site.person()) else {
        return tools::skip("no control group can be made here");
    };
    let [shell, rest @ ..] = group.words();
    let orlop = site.programs().orlop.display().to_string();
    let words = rest.into_iter().chain([orlop, "pull".into(), "a.sif".into()]);
    let words = words.chain([registry.docker("a:1")]);
    let refused = site.program(&tools::find(&shell).unwrap(), words).outcome().fails(255);
    assert!(refused.stderr.contains("so many files that merging"), "{}", refused.report());
    site.stop();
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
}

#[test]
fn f14_with_little_address_space_a_pull_ends_well_or_says_why_not() {
    let Some([prlimit]) = tools::all(["prlimit"]) else { return };
    let registry = Registry::new().image("a:1", Image::files(tools::sized(5_000, 300_000))).start();
    let site = site(&registry);
    let orlop = site.programs().orlop.display().to_string();
    let image = registry.docker("a:1");
    let mut worked = Vec::new();
    for mib in [512_u64, 256, 128, 96, 64] {
        let bytes = format!("--as={}", mib << 20);
        let words = [&bytes, &orlop, "pull", "--force", "a.sif", &image];
        let outcome = site.program(&prlimit, words).outcome();
        assert!([0, 255].contains(&outcome.status), "{mib} MiB: {}", outcome.report());
        if outcome.status == 0 {
            worked.push(mib);
        } else {
            assert!(outcome.stderr.contains("FATAL:"), "{mib} MiB: {}", outcome.report());
        }
        site.stop();
        let cache = site.cache();
        if cache.exists() {
            std::fs::remove_dir_all(cache).unwrap();
        }
    }
    assert!(worked.contains(&512), "{worked:?}");
    site.orlop(["pull", "--force", "a.sif", &image]).success();
}

/// Bytes of address space that a process has.
fn address_space(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    size.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn f14_a_daemon_that_gets_no_more_memory_loses_neither_logins_nor_entries() {
    let Some([prlimit]) = tools::all(["prlimit"]) else { return };
    let registry = Registry::new().auth(basic()).image("a:1", Image::files(2000));
    let registry = registry.image("b:1", Image::two_layers()).start();
    let site = site(&registry);
    log_in(&site, &registry, &[]).success();
    let (one, other) = (registry.docker("a:1"), registry.docker("b:1"));
    for (name, image) in [("a.sif", &one), ("b.sif", &other)] {
        site.orlop(["pull", name, image]).success();
    }
    let (whole, pinned) = (bytes(&site, "b.sif"), bytes(&site, "a.sif"));
    site.orlop(["cache", "pin", &one]).success();
    let mut deaths = 0;
    for kib in [0_u64, 512, 8192] {
        site.orlop(["cache", "clean", "--force"]).success();
        let running = daemon(&site);
        let limit = |limit: String| {
            let pid = format!("--pid={running}");
            site.program(&prlimit, [pid, limit]).outcome().success();
        };
        limit(format!("--as={}:", address_space(running) + (kib << 10)));
        let outcome = site.orlop(["pull", "--force", "b.sif", &other]);
        assert!([0, 255].contains(&outcome.status), "{kib} KiB: {}", outcome.report());
        assert!(outcome.status == 0 || outcome.stderr.contains("FATAL:"), "{}", outcome.report());
        let login = log_in(&site, &registry, &[]);
        assert!([0, 255].contains(&login.status), "{kib} KiB: {}", login.report());
        match site.daemons().contains(&running) {
            true => limit("--as=unlimited:".to_owned()),
            false => deaths += 1,
        }
        site.orlop(["cache", "verify"]).success();
        for (image, whole) in [(&one, &pinned), (&other, &whole)] {
            site.orlop(["pull", "--force", "c.sif", image]).success();
            assert!(bytes(&site, "c.sif") == *whole, "{kib} KiB");
        }
        let logins = site.read_home(".docker/config.json").unwrap();
        assert!(logins.contains(AUTH), "{kib} KiB: {logins}");
    }
    // What a pull takes may be there already. Where it was not, the runtime ended the process, and
    // its last words are in the log.
    let log = site.tree(&site.home()).into_iter().find(|path| path.ends_with("orlopd.log"));
    let log = site.read_home(&log.unwrap()).unwrap();
    let is_told = log.contains("memory allocation of") || log.contains("panicked");
    assert!(deaths == 0 || is_told, "{log}");
}

#[test]
fn after_large_images_the_daemon_gives_their_memory_back() {
    let registry = Registry::new()
        .image("large:1", Image::files(tools::sized(30_000, 1_000_000)))
        .image("noise:1", Image::noise(tools::sized(80 << 20, 1 << 30)))
        .start();
    let site = site(&registry);
    for name in ["large:1", "noise:1"] {
        site.orlop(["pull", "--force", "a.sif", &registry.docker(name)]).success();
    }
    let daemon = daemon(&site);
    let peak = memory::peak(daemon).unwrap();
    let left = until("memory is given back", || match memory::anonymous(daemon) {
        Some(bytes) if bytes <= IDLE => Ok(bytes),
        other => Err(other),
    });
    assert!(left < peak, "{left} of {peak}");
    let resident = until("all that counts is little", || match memory::resident(daemon) {
        Some(bytes) if bytes <= RESIDENT => Ok(bytes),
        other => Err(other),
    });
    tools::say(&format!("idle: {} KiB, {} KiB of its own", resident >> 10, left >> 10));
}

#[test]
fn f18_pulls_that_are_started_and_called_off_leave_nothing_behind() {
    let registry = Registry::new().start();
    let site = site(&registry);
    registry.put("a:1", Image::two_layers());
    let image = registry.docker("a:1");
    let round = |number: u64| {
        let seen = registry.requests().len() + usize::try_from(number % 5).unwrap();
        let run = site.run(["pull", "--force", "a.sif", &image]).start();
        if !number.is_multiple_of(3) {
            // Sooner or later in its life.
            until_true("it is under way", || registry.requests().len() >= seen);
            run.signal(Signal::INT);
        }
        let status = run.outcome().status;
        assert!([0, 130].contains(&status), "round {number}: {status}");
        site.orlop(["cache", "clean", "--force"]).success();
    };
    round(0);
    let number = daemon(&site);
    let descriptors = memory::descriptors(number).unwrap();
    (1..tools::rounds(24)).for_each(round);
    assert_eq!(daemon(&site), number, "it is the same daemon");
    until_true("nothing flies", || flights(&site) == 0);
    // Threads of blocking work end a while after the last of it, and their memory goes then.
    until("threads and memory are given back", || {
        let (threads, bytes) = (memory::threads(number), memory::anonymous(number));
        let is_small = bytes.is_some_and(|bytes| bytes <= IDLE);
        if is_small && threads.is_some_and(|threads| threads <= 8) {
            Ok(())
        } else {
            Err((threads, bytes))
        }
    });
    let left = memory::descriptors(number).unwrap();
    assert!(left <= descriptors + 2, "{left} descriptors, at first {descriptors}");
    assert!(empty(&site.cache().join("tmp/.orlop")), "{:?}", site.tree(&site.cache()));
}

/// The holders of images in a directory.
pub(crate) fn holders(directory: &Path) -> Vec<u32> {
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let holds = |pid: &u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut open = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        name.is_ok_and(|name| name.trim_end() == "orlop-holder")
            && open.any(|path| path.starts_with(directory))
    };
    numbers.filter(holds).collect()
}

#[test]
fn l77_a_holder_gets_by_with_little_after_all_of_an_image_was_looked_at() {
    if !crate::run::runnable() {
        return;
    }
    let count = tools::sized(30_000, 1_000_000);
    let registry = Registry::new().image("a:1", Image::files(count)).start();
    let site = site(&registry);
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    let began = Instant::now();
    let mut walk = site.run(["exec", "a.sif", "/bin/probe", "walk", "/files"]).start();
    assert_eq!(walk.line(), (count + count.div_ceil(1000)).to_string());
    let seconds = began.elapsed().as_secs_f32();
    let found = holders(&site.work());
    let [holder] = found[..] else { panic!("one holder: {found:?}") };
    let (bytes, threads) = (memory::peak(holder).unwrap(), memory::threads(holder).unwrap());
    tools::say(&format!("{count} files: {seconds:.1} s, holder {} MiB", bytes >> 20));
    // Its program, 16 MiB of tables, and 8 bytes for each inode that the kernel was told of.
    assert!(bytes <= (40 << 20) + 8 * count, "{bytes} bytes");
    assert!(threads <= 16, "{threads} threads");
    // Looking at one more takes no longer than at the first: nothing is searched from its start.
    // Few files take a third of a second, on a machine that is busy much more.
    assert!(seconds < 20.0 + count as f32 / 10_000.0, "{seconds} s");
    walk.signal(Signal::KILL);
    drop(walk.outcome());
}

/// Whether a directory holds no file.
fn empty(at: &Path) -> bool {
    std::fs::read_dir(at).into_iter().flatten().flatten().all(|entry| entry.path().is_dir())
}
