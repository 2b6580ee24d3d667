//! Places: the list file, homes, runtime directories, sockets, caches and output files that are
//! missing, planted, foreign or broken. Rows S38, S39, S44 to S54 of the reliability tables.
//!
//! Not here: variables, limits and descriptors ([`crate::environment`]); rows about file systems
//! that a test cannot have here (S51).

use crate::world::{bare_site, site};
use orlop_kit::{Image, Outcome, Person, Registry, Site, until_true};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// Makes something at a path.
type Make<'a> = &'a dyn Fn(&Site, &Path);

fn image() -> Registry {
    Registry::new().image("a:1", Image::tiny()).start()
}

fn pull(site: &Site, registry: &Registry) -> Outcome {
    site.orlop(["pull", "--force", "a.sif", &registry.docker("a:1")])
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Makes a directory that belongs to the site's person.
fn directory(site: &Site, path: &Path, mode: u32) {
    std::fs::create_dir_all(path).unwrap();
    site.person().give(path);
    set_mode(path, mode);
}

fn warnings(outcome: &Outcome) -> Vec<&str> {
    outcome.stderr.lines().filter(|line| line.starts_with("WARNING:")).collect()
}

#[test]
fn s38_a_hostile_list_file_is_told_left_alone_and_does_not_stop_a_login() {
    let bomb: String = (0..10).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
        let items = vec![format!("*a{level}"); 10].join(",");
        format!("{text}a{next}: &a{next} [{items}]\n", next = level + 1)
    });
    let large = format!("# {}\n", "x".repeat(1 << 20));
    let registry = Registry::new()
        .auth(orlop_kit::Auth::Basic { user: "u".into(), secret: "s".into() })
        .start();
    let place = format!("docker://{}", registry.host());
    for (name, text) in [
        ("aliases", bomb.as_str()),
        ("a tag", "Active: !!binary x\n"),
        ("two documents", "Active: a\n---\nActive: b\n"),
        ("a key twice", "Active: a\nActive: b\n"),
        ("a tab", "Remotes:\n\tx: y\n"),
        ("too large", large.as_str()),
    ] {
        let site = site(&registry);
        let list = site.home().join(".config/orlop/remote.yaml");
        site.write_home(".config/orlop/remote.yaml", text.as_bytes());
        site.write_home(".docker/config.json", br#"{"auths":{"h.example":{"auth":"dTpw"}}}"#);
        let outcome = site.orlop(["registry", "list"]).success();
        assert!(outcome.stdout.contains("docker://h.example"), "{name}: {}", outcome.report());
        assert!(outcome.stderr.contains("WARNING:"), "{name}: {}", outcome.report());

        let before = list.metadata().unwrap();
        let words = ["registry", "login", "-u", "u", "--password-stdin", &place];
        let outcome = site.run(words).input("s").outcome().success();
        assert!(outcome.stderr.contains("remote.yaml"), "{name}: {}", outcome.report());
        assert!(outcome.stderr.contains("WARNING:"), "{name}: {}", outcome.report());
        let after = list.metadata().unwrap();
        assert_eq!(
            (before.ino(), before.mtime_nsec()),
            (after.ino(), after.mtime_nsec()),
            "{name}"
        );
        let stored = site.read_home(".docker/config.json").unwrap();
        assert!(stored.contains(&registry.host()), "{name}: {stored}");
    }
}

#[test]
fn s39_what_apptainer_wrote_into_its_list_is_kept() {
    let registry = Registry::new()
        .auth(orlop_kit::Auth::Basic { user: "u".into(), secret: "s".into() })
        .start();
    let site = site(&registry);
    let place = format!("docker://{}", registry.host());
    site.write_home(
        ".apptainer/remote.yaml",
        b"Active: cloud
Remotes:
  cloud:
    URI: cloud.example
    System: true
Credentials:
- URI: docker://old.example
  Auth: Basic dTpw
  Insecure: false
Future: {a: [1]}
",
    );
    let words = ["registry", "login", "-u", "u", "--password-stdin", &place];
    site.run_as("apptainer", words).input("s").outcome().success();
    let text = site.read_home(".apptainer/remote.yaml").unwrap();
    for kept in ["Active: cloud", "cloud.example", "Basic dTpw", "docker://old.example", "Future"] {
        assert!(text.contains(kept), "{kept}: {text}");
    }
    assert!(text.contains(&place), "{text}");
}

#[test]
fn s44_without_home_the_passwd_entry_counts() {
    let registry = image();
    let site = site(&registry);
    let home = site.home();
    site.write_system(
        "passwd",
        format!(
            "u:x:0:0::{0}:/bin/sh\nv:x:{1}:{1}::{0}:/bin/sh\n",
            home.display(),
            site.person().uid
        )
        .as_bytes(),
    );
    for home in [None, Some("")] {
        let words = ["pull", "--force", "a.sif", &registry.docker("a:1")];
        let run = site.run(words);
        let run = match home {
            None => run.no_env("HOME"),
            Some(home) => run.env("HOME", home),
        };
        let outcome = run.outcome().success();
        assert!(!outcome.stderr.contains("Cache disabled"), "{}", outcome.report());
        assert!(site.cache().join("version").exists(), "{}", outcome.report());
    }
}

#[test]
fn s44_a_relative_home_is_ignored_with_a_warning() {
    let registry = image();
    let site = site(&registry);
    let cache = site.home().join("cache");
    let outcome = site
        .run(["pull", "a.sif", &registry.docker("a:1"), "--no-https"])
        .env("HOME", "relative")
        .env("ORLOP_CACHEDIR", &cache)
        .outcome()
        .success();
    assert!(outcome.stderr.contains("WARNING: HOME is ignored"), "{}", outcome.report());
    assert!(!site.work().join("relative").exists());
}

#[test]
fn s44_a_missing_home_disables_the_cache_and_no_login_is_made() {
    let registry = image();
    let site = site(&registry);
    let gone = site.root().join("gone/home");
    let outcome = site
        .run(["pull", "--no-https", "a.sif", &registry.docker("a:1")])
        .env("HOME", &gone)
        .outcome()
        .success();
    assert!(outcome.stderr.contains("WARNING: Cache disabled"), "{}", outcome.report());
    let place = format!("docker://{}", registry.host());
    let words = ["registry", "login", "--no-https", "-u", "u", "--password-stdin", &place];
    let outcome = site.run(words).env("HOME", &gone).input("s").outcome().fails(255);
    assert!(outcome.stderr.contains("FATAL:"), "{}", outcome.report());
    assert!(!site.root().join("gone").exists(), "a missing home is not made");
}

#[test]
fn s45_without_home_and_entry_a_pull_works_and_a_login_says_what_to_set() {
    let registry = image();
    let site = site(&registry);
    if site.person() == Person::own() {
        return orlop_kit::tools::skip("the user of this test has a passwd entry");
    }
    let image = registry.docker("a:1");
    let target = site.work().join("a.sif").display().to_string();
    let words = ["pull", "--force", "--no-https", &target, &image];
    let outcome = site.run(words).no_env("HOME").outcome().success();
    assert!(outcome.stderr.contains("WARNING: Cache disabled"), "{}", outcome.report());
    let cache = site.root().join("home/cache");
    let run = site.run(words).no_env("HOME").env("ORLOP_CACHEDIR", &cache);
    let outcome = run.outcome().success();
    assert!(!outcome.stderr.contains("Cache disabled"), "{}", outcome.report());
    assert!(cache.join("version").exists());
    let place = format!("docker://{}", registry.host());
    let words = ["registry", "login", "--no-https", "-u", "u", "--password-stdin", &place];
    let outcome = site.run(words).no_env("HOME").input("s").outcome().fails(255);
    assert!(outcome.stderr.contains("HOME"), "{}", outcome.report());
}

#[test]
fn s46_a_wrong_runtime_directory_is_named_and_the_next_place_is_used() {
    let registry = image();
    let wrong = |site: &Site, make: Make<'_>, expected: usize| {
        let runtime = site.root().join("other-run");
        make(site, &runtime);
        let outcome = site
            .run(["pull", "--force", "a.sif", &registry.docker("a:1")])
            .env("XDG_RUNTIME_DIR", &runtime)
            .outcome()
            .success();
        let named =
            warnings(&outcome).iter().filter(|line| line.contains("XDG_RUNTIME_DIR")).count();
        assert_eq!(named, expected, "{}", outcome.report());
        if expected > 0 {
            let made = site.temp().join(format!("orlop-{}", site.person().uid));
            assert!(made.is_dir(), "{}", outcome.report());
        }
        runtime
    };
    wrong(&site(&registry), &|_, _| {}, 1);
    wrong(&site(&registry), &|_, path| std::fs::write(path, "").unwrap(), 1);
    let site = site(&registry);
    let runtime = wrong(&site, &|site, path| directory(site, path, 0o755), 0);
    assert_eq!(runtime.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    if let Some(other) = Person::other() {
        let site = self::site(&registry);
        wrong(
            &site,
            &|_, path| {
                std::fs::create_dir(path).unwrap();
                other.give(path);
            },
            1,
        );
    }
    let site = self::site(&registry);
    let outcome = site
        .run(["pull", "a.sif", &registry.docker("a:1")])
        .env("XDG_RUNTIME_DIR", "relative")
        .outcome()
        .success();
    assert_eq!(warnings(&outcome).iter().filter(|line| line.contains("relative")).count(), 1);
    let site = self::site(&registry);
    let words = ["pull", "a.sif", &registry.docker("a:1")];
    let outcome = site.run(words).no_env("XDG_RUNTIME_DIR").outcome().success();
    assert!(!outcome.stderr.contains("XDG_RUNTIME_DIR"), "{}", outcome.report());
}

#[test]
fn s47_a_planted_temporary_directory_is_not_used_and_the_pull_works() {
    let registry = image();
    let plants: [(&str, Make<'_>); 4] = [
        ("another user's", &|_, path| {
            std::fs::create_dir(path).unwrap();
            if let Some(other) = Person::other() {
                other.give(path);
            }
            set_mode(path, 0o777);
        }),
        ("a link", &|site, path| {
            let target = site.home().join("target");
            directory(site, &target, 0o700);
            std::os::unix::fs::symlink(&target, path).unwrap();
        }),
        ("a file", &|_, path| std::fs::write(path, "").unwrap()),
        ("our own but open", &|site, path| directory(site, path, 0o777)),
    ];
    for (name, plant) in plants {
        let site = site(&registry);
        let path = site.temp().join(format!("orlop-{}", site.person().uid));
        plant(&site, &path);
        let before = site.tree(&site.temp());
        let words = ["pull", "a.sif", &registry.docker("a:1")];
        let outcome = site.run(words).no_env("XDG_RUNTIME_DIR").outcome().success();
        let told = warnings(&outcome).iter().filter(|line| line.contains("orlop-")).count();
        assert_eq!(told, 1, "{name}: {}", outcome.report());
        assert_eq!(site.tree(&site.temp()), before, "{name}");
        assert!(site.tree(&site.home().join("target")).is_empty(), "{name}");
        until_true("the private daemon ends", || site.daemons().is_empty());
    }
}

#[test]
fn s46_s47_containers_run_where_the_place_of_temporary_files_is_missing_or_taken() {
    if !crate::run::runnable() {
        return;
    }
    let registry = image();
    let site = site(&registry);
    let image = registry.docker("a:1");
    site.orlop(["pull", "a.sif", &image]).success();
    // A cache of its own: the places that all share are told apart by it.
    let cache = site.root().join("own-cache");
    directory(&site, &cache, 0o700);
    let missing = site.root().join("missing");
    let taken = site.root().join("taken");
    directory(&site, &taken, 0o755);
    std::fs::write(taken.join(format!("orlop-{}", site.person().uid)), "").unwrap();
    for (temporary, told) in [(&missing, 0), (&taken, 1)] {
        for image in ["a.sif", &image] {
            let words = ["exec", image, "/bin/probe", "args", "there"];
            let run = site.run(words).no_env("XDG_RUNTIME_DIR").env("TMPDIR", temporary);
            let outcome = run.env("ORLOP_CACHEDIR", &cache).outcome().success().prints("there\n");
            let lines = warnings(&outcome);
            let found = lines.iter().filter(|line| line.contains("orlop-")).count();
            assert_eq!(found, told, "{}", outcome.report());
        }
        // The sockets are hidden wherever they are.
        let sockets = format!("/tmp/orlop-{}", site.person().uid);
        assert!(std::fs::read_dir(&sockets).unwrap().next().is_some(), "{temporary:?}");
        let run = site.run(["exec", "a.sif", "/bin/probe", "ls", &sockets]);
        let run = run.no_env("XDG_RUNTIME_DIR").env("TMPDIR", temporary);
        run.env("ORLOP_CACHEDIR", &cache).outcome().success().prints("");
    }
}

#[test]
fn s48_a_socket_with_a_long_path_is_reached_by_all() {
    let site = bare_site();
    let long = site.root().join("d".repeat(100)).join("e".repeat(100));
    directory(&site, long.parent().unwrap(), 0o700);
    directory(&site, &long, 0o700);
    for _ in 0..2 {
        site.run(["cache", "list"]).env("XDG_RUNTIME_DIR", &long).outcome().success();
    }
    assert_eq!(site.daemons().len(), 1);
    let status = site.run(["status"]).env("XDG_RUNTIME_DIR", &long).outcome().success();
    assert!(status.stdout.contains(&site.daemons()[0].to_string()), "{}", status.report());
    let socket = long.join("other.sock");
    site.run(["cache", "list"]).env("ORLOP_SOCKET", &socket).outcome().success();
    assert!(socket.exists());
}

#[test]
fn s49_a_connection_of_another_user_gets_no_answer_and_is_told_in_the_log() {
    use std::io::{Read as _, Write as _};
    let site = bare_site();
    if site.person() == Person::own() {
        return orlop_kit::tools::skip("only root can connect as another user");
    }
    site.orlop(["cache", "list"]).success();
    let socket = site.runtime().join("orlop/orlopd.sock");
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    // It may be closed before this is written.
    let _sent = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let mut answer = Vec::new();
    let _ended = stream.read_to_end(&mut answer);
    assert_eq!(answer, b"", "it was answered");
    let log = || site.read_home(".local/state/orlop/orlopd.log").unwrap_or_default();
    until_true("the log tells", || log().contains("connection of another user refused"));
}

#[test]
fn s50_no_state_of_the_cache_stops_a_pull() {
    let registry = image();
    let states: [(&str, Make<'_>); 5] = [
        ("read-only", &|site, path| directory(site, path, 0o500)),
        ("another's", &|_, path| {
            std::fs::create_dir(path).unwrap();
            if let Some(other) = Person::other() {
                other.give(path);
            }
        }),
        ("a file", &|site, path| {
            std::fs::write(path, "x").unwrap();
            site.person().give(path);
        }),
        ("mode 000", &|site, path| directory(site, path, 0o000)),
        ("writable by others, with things in it", &|site, path| {
            directory(site, path, 0o777);
            std::fs::write(path.join("mine"), "x").unwrap();
        }),
    ];
    for (name, make) in states {
        let site = site(&registry);
        if site.person().is_root() {
            return orlop_kit::tools::skip("root may write everywhere");
        }
        let cache = site.home().join("cache");
        make(&site, &cache);
        let words = ["pull", "a.sif", &registry.docker("a:1")];
        let outcome = site.run(words).env("ORLOP_CACHEDIR", &cache).outcome().success();
        let says = format!(
            "WARNING: Cache disabled - cache location {} is not writable.",
            cache.display()
        );
        assert!(outcome.stderr.contains(&says), "{name}: {}", outcome.report());
        assert!(!cache.join("version").exists(), "{name}: written to");
        // Whoever looks after the test may.
        if cache.is_dir() {
            set_mode(&cache, 0o700);
        }
    }
    let site = site(&registry);
    let cache = site.home().join("no/such/parent");
    let words = ["pull", "a.sif", &registry.docker("a:1")];
    site.run(words).env("ORLOP_CACHEDIR", &cache).outcome().success();
    assert!(cache.join("version").exists(), "missing parents are made");
}

#[test]
fn s52_a_cache_of_another_format_is_told_and_not_touched_until_it_is_cleaned() {
    let registry = image();
    for version in ["999\n", "garbage\u{1b}[31m", ""] {
        let site = site(&registry);
        pull(&site, &registry).success();
        site.orlop(["daemon", "stop"]).success();
        std::fs::write(site.cache().join("version"), version).unwrap();
        let before = site.tree(&site.cache());
        let outcome = pull(&site, &registry).fails(255);
        assert!(outcome.stderr.contains("FATAL:"), "{}", outcome.report());
        assert!(outcome.stderr.contains("orlop cache clean"), "{}", outcome.report());
        assert!(!outcome.stderr.contains('\u{1b}'), "{}", outcome.report());
        if version.starts_with('9') {
            assert!(outcome.stderr.contains("999"), "{}", outcome.report());
        }
        assert_eq!(site.tree(&site.cache()), before, "{version:?}: touched");
        site.orlop(["cache", "clean", "--force"]).success();
        pull(&site, &registry).success();
        assert_eq!(std::fs::read_to_string(site.cache().join("version")).unwrap(), "1\n");
    }
}

#[test]
fn s53_fifty_clients_at_a_stale_socket_get_one_daemon() {
    let site = bare_site();
    site.orlop(["cache", "list"]).success();
    let daemon = site.daemons()[0];
    orlop_kit::site::end(daemon, rustix::process::Signal::KILL);
    let socket = site.runtime().join("orlop/orlopd.sock");
    assert!(socket.exists(), "a killed daemon leaves its socket");
    std::fs::write(site.runtime().join("orlop/orlopd.pid"), daemon.to_string()).unwrap();
    let clients: Vec<_> = (0..50).map(|_| site.run(["cache", "list"]).start()).collect();
    for client in clients {
        client.outcome().success();
    }
    assert_eq!(site.daemons().len(), 1);
}

#[test]
fn s54_an_output_that_cannot_be_written_is_told_before_anybody_is_asked() {
    let registry = image();
    let site = site(&registry);
    std::os::unix::fs::symlink("nowhere", site.work().join("link.sif")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, site.work().join("fifo"), rustix::fs::Mode::from(0o600))
        .unwrap();
    site.write_work("there.sif", b"x");
    directory(&site, &site.work().join("closed"), 0o500);
    directory(&site, &site.work().join("dir"), 0o700);
    let before = site.tree(&site.work());
    for name in ["link.sif", "fifo", "there.sif", "/dev/full", "dir", "missing/a.sif"] {
        let outcome = site.orlop(["pull", name, &registry.docker("a:1")]).fails(255);
        assert!(outcome.stderr.contains("FATAL:"), "{name}: {}", outcome.report());
    }
    for name in ["/dev/full", "dir", "fifo"] {
        site.orlop(["pull", "--force", name, &registry.docker("a:1")]).fails(255);
    }
    if !site.person().is_root() {
        site.orlop(["pull", "closed/a.sif", &registry.docker("a:1")]).fails(255);
    }
    assert_eq!(site.tree(&site.work()), before);
    assert!(registry.requests().is_empty(), "{}", registry.log());

    let long = format!("{}.sif", "n".repeat(251));
    site.orlop(["pull", &long, &registry.docker("a:1")]).success();
    site.orlop(["pull", &format!("n{long}"), &registry.docker("a:1")]).fails(255);
    assert_eq!(site.tree(&site.work()).len(), before.len() + 1);
}
