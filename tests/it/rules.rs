//! `registries.conf` and the list file under a running daemon: faults, changes, broken files.
//!
//! Rows S38 to S42 of the reliability tables. Not here: what good files come to
//! ([`crate::explain_cases`]).

use crate::world::{bare_site, site};
use orlop_kit::{Image, Outcome, Registry, Site};
use std::os::unix::fs::PermissionsExt as _;

const CONF: &str = ".config/containers/registries.conf";
const DROP_IN: &str = ".config/containers/registries.conf.d/50-site.conf";

fn pull(site: &Site, registry: &Registry) -> Outcome {
    site.orlop(["pull", "--force", "a.sif", &registry.docker("a:1")])
}

/// A registry with an image, and a site that has pulled it: its daemon has read the rules.
fn after_a_pull() -> (Registry, Site) {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = site(&registry);
    let outcome = pull(&site, &registry).success();
    assert!(!outcome.stderr.contains("registries.conf"), "{}", outcome.report());
    (registry, site)
}

/// The rules of [`site`] for a registry.
fn insecure(registry: &Registry) -> String {
    format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.host())
}

#[test]
fn s40_every_kind_of_fault_is_told_with_file_and_line_and_nobody_is_asked() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let good = insecure(&registry);
    for (kind, line, text) in [
        ("v1-format", 1, "[registries.search]\nregistries = ['a.example']\n"),
        ("scheme", 1, "[[registry]]\nlocation = 'https://a.example'\n"),
        ("no-prefix-no-location", 2, "\n[[registry]]\ninsecure = true\n"),
        ("location-unset", 1, "[[registry]]\nprefix = 'a.example'\n"),
        ("mirror-location-unset", 3, "[[registry]]\nlocation = 'a'\n[[registry.mirror]]\n"),
        (
            "conflict-insecure",
            3,
            "[[registry]]\nlocation='a'\n[[registry]]\nlocation='a'\ninsecure=true\n",
        ),
        (
            "conflict-blocked",
            3,
            "[[registry]]\nlocation='a'\n[[registry]]\nlocation='a'\nblocked=true\n",
        ),
        ("pull-from-mirror-misplaced", 1, "[[registry]]\nlocation='a'\npull-from-mirror='all'\n"),
        (
            "pull-from-mirror-conflict",
            4,
            "[[registry]]\nlocation='a'\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation='b'\npull-from-mirror='all'\n",
        ),
        (
            "pull-from-mirror-value",
            3,
            "[[registry]]\nlocation='a'\n[[registry.mirror]]\nlocation='b'\npull-from-mirror='x'\n",
        ),
        ("search-entry", 1, "unqualified-search-registries = ['a.example/b']\n"),
        ("short-name-mode", 1, "short-name-mode = 'ask'\n"),
        ("wildcard-prefix", 1, "[[registry]]\nprefix='*.a.example/b'\nlocation='x'\n"),
        ("alias", 3, "# x\n[aliases]\na = 'a.example/a:1'\n"),
        ("toml-syntax", 2, "# x\nnonsense\n"),
        ("type", 2, "[[registry]]\nlocation = 5\n"),
    ] {
        let site = bare_site().watch(&registry);
        site.write_home(CONF, good.as_bytes());
        site.write_home(DROP_IN, text.as_bytes());
        let before = registry.log().lines().count();
        let outcome = pull(&site, &registry).fails(255);
        let place = format!("{}:{line}: ", site.home().join(DROP_IN).display());
        assert!(outcome.stderr.contains(&place), "{kind}: {}", outcome.report());
        assert!(outcome.stderr.contains("FATAL:"), "{kind}: {}", outcome.report());
        let told = site.orlop(["registry", "explain", "--json", "docker://a.example/a"]).fails(255);
        assert!(told.stdout.contains(&format!("\"kind\": \"{kind}\"")), "{}", told.report());
        assert_eq!(registry.log().lines().count(), before, "{kind}: somebody was asked");
    }
}

#[test]
fn s40_a_rule_that_makes_no_reference_of_a_name_is_told_with_file_and_line() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = bare_site().watch(&registry);
    let text = format!(
        "\n[[registry]]\nprefix = \"{host}/a\"\nlocation = \"{host}\"\n",
        host = registry.host()
    );
    site.write_home(CONF, text.as_bytes());
    let outcome = pull(&site, &registry).fails(255);
    let place = format!("{}:2: rewriting reference", site.home().join(CONF).display());
    assert!(outcome.stderr.contains(&place), "{}", outcome.report());
    assert!(registry.log().is_empty(), "{}", registry.log());
}

#[test]
fn s41_files_that_cannot_be_used_are_fatal_and_odd_ones_are_read() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let good = insecure(&registry);
    let with = |bytes: &[u8]| {
        let site = bare_site().watch(&registry);
        site.write_home(CONF, bytes);
        site
    };
    // Those that are fine: a byte order mark, CRLF, and 1 MiB to the byte.
    let mut full = good.clone().into_bytes();
    full.resize(1 << 20, b'\n');
    for bytes in [
        ["\u{feff}", &good].concat().into_bytes(),
        good.replace('\n', "\r\n").into_bytes(),
        full.clone(),
    ] {
        let outcome = pull(&with(&bytes), &registry).success();
        assert!(!outcome.stderr.contains("registries.conf"), "{}", outcome.report());
    }
    // Those that are not.
    full.push(b'\n');
    let invalid = [good.as_bytes(), b"# \xff\n"].concat();
    for (bytes, says) in [(full, "has more than 1048576 bytes"), (invalid, ":4: not valid UTF-8")] {
        let site = with(&bytes);
        let says = format!(
            "{}{}{says}",
            site.home().join(CONF).display(),
            if says.starts_with(':') { "" } else { " " }
        );
        pull(&site, &registry).fails(255).says(&says);
    }
    let site = with(b"");
    let conf = site.home().join(CONF);
    std::fs::set_permissions(&conf, std::fs::Permissions::from_mode(0o000)).unwrap();
    if !site.person().is_root() {
        pull(&site, &registry).fails(255).says(&format!("{} cannot be read", conf.display()));
    }
    std::fs::remove_file(&conf).unwrap();
    std::fs::create_dir(&conf).unwrap();
    site.person().give(&conf);
    pull(&site, &registry).fails(255).says("registries.conf is a directory and not a file");
    std::fs::remove_dir(&conf).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &conf, rustix::fs::Mode::from(0o600)).unwrap();
    site.person().give(&conf);
    pull(&site, &registry).fails(255).says("registries.conf is a FIFO and not a file");
}

#[test]
fn s41_a_drop_in_that_links_to_nothing_is_skipped_with_a_warning() {
    let (registry, site) = after_a_pull();
    site.write_home(DROP_IN, b"");
    let dangling = site.home().join(DROP_IN).with_file_name("10-gone.conf");
    std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
    let outcome = pull(&site, &registry).success();
    assert!(outcome.stderr.contains("WARNING:"), "{}", outcome.report());
    assert!(outcome.stderr.contains("10-gone.conf is a link to nothing"), "{}", outcome.report());
}

#[test]
fn s42_a_file_that_becomes_broken_keeps_the_rules_with_a_warning_until_it_is_mended() {
    let (registry, site) = after_a_pull();
    site.write_home(CONF, b"[[registry]\n");
    for _ in 0..2 {
        // By plain http, as the former rules allow.
        let outcome = pull(&site, &registry).success();
        assert!(outcome.stderr.contains("WARNING: "), "{}", outcome.report());
        assert!(outcome.stderr.contains("registries.conf:1: "), "{}", outcome.report());
        assert!(outcome.stderr.contains("stay in force"), "{}", outcome.report());
    }
    site.orlop(["daemon", "stop"]).success();
    let outcome = pull(&site, &registry).fails(255);
    assert!(outcome.stderr.contains("registries.conf:1: "), "{}", outcome.report());

    site.write_home(CONF, insecure(&registry).as_bytes());
    let outcome = pull(&site, &registry).success();
    assert!(!outcome.stderr.contains("registries.conf"), "{}", outcome.report());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what an editor does is what is tested")]
fn a_change_of_the_files_is_seen_by_the_running_daemon() {
    let (registry, site) = after_a_pull();
    let daemons = site.daemons();
    let block = format!("[[registry]]\nlocation = \"{}\"\nblocked = true\n", registry.host());
    site.write_home(DROP_IN, block.as_bytes());
    let outcome = pull(&site, &registry).fails(255);
    assert!(outcome.stderr.contains("blocked by registries.conf"), "{}", outcome.report());

    std::fs::remove_file(site.home().join(DROP_IN)).unwrap();
    pull(&site, &registry).success();

    // Replaced by rename, of the same length and the same time of change of content.
    let conf = site.home().join(CONF);
    let time = conf.metadata().unwrap().modified().unwrap();
    let text =
        std::fs::read_to_string(&conf).unwrap().replace("insecure = true", "blocked  = true");
    site.write_home(".config/containers/new", text.as_bytes());
    let new = conf.with_file_name("new");
    std::fs::File::options().write(true).open(&new).unwrap().set_modified(time).unwrap();
    std::fs::rename(&new, &conf).unwrap();
    let outcome = pull(&site, &registry).fails(255);
    assert!(outcome.stderr.contains("blocked by registries.conf"), "{}", outcome.report());
    assert_eq!(site.daemons(), daemons, "one daemon saw it all");
}

#[test]
fn s42_what_a_broken_new_file_seems_to_block_is_not_pulled() {
    let (registry, site) = after_a_pull();
    let text = format!("[[registry]]\nprefix = \"{}/a\nblocked = true\n", registry.host());
    site.write_home(DROP_IN, text.as_bytes());
    let before = registry.log();
    for _ in 0..2 {
        let outcome = pull(&site, &registry).fails(255);
        assert!(outcome.stderr.contains("blocked by registries.conf"), "{}", outcome.report());
        assert!(outcome.stderr.contains("50-site.conf:2: "), "{}", outcome.report());
    }
    assert_eq!(registry.log(), before, "it was asked");
    let text = text.replace("blocked = true", "blocked = false");
    site.write_home(DROP_IN, text.as_bytes());
    pull(&site, &registry).success().says("stay in force");
}

#[test]
fn two_commands_with_two_files_follow_each_its_own() {
    let (registry, site) = after_a_pull();
    let block = format!("[[registry]]\nlocation = \"{}\"\nblocked = true\n", registry.host());
    site.write_work("other.conf", block.as_bytes());
    let words = ["pull", "--force", "a.sif", &registry.docker("a:1")];
    for _ in 0..2 {
        // A relative path is seen from the command's directory.
        let outcome = site.run(words).env("CONTAINERS_REGISTRIES_CONF", "other.conf").outcome();
        assert!(outcome.fails(255).stderr.contains("blocked by registries.conf"));
        site.run(words).env("CONTAINERS_REGISTRIES_CONF", "").outcome().success();
    }
    let outcome = site.run(words).env("CONTAINERS_REGISTRIES_CONF", "missing.conf").outcome();
    outcome.fails(255).says("missing.conf cannot be read");
}

#[test]
fn a_system_file_reaches_the_daemon() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = bare_site().watch(&registry);
    let block = format!("[[registry]]\nlocation = \"{}\"\nblocked = true\n", registry.host());
    site.write_system("containers/registries.conf", block.as_bytes());
    let outcome = pull(&site, &registry).fails(255);
    assert!(outcome.stderr.contains("blocked by registries.conf"), "{}", outcome.report());
    site.write_home(CONF, insecure(&registry).as_bytes());
    pull(&site, &registry).success();
}

#[test]
fn what_is_blocked_is_not_given_from_the_cache_either() {
    let (registry, site) = after_a_pull();
    let digest = registry.tag("a:1").unwrap();
    let by_digest = registry.docker(&format!("a@{digest}"));
    site.orlop(["pull", "b.sif", &by_digest]).success();
    let blocked = format!("{}blocked = true\n", insecure(&registry));
    site.write_home(CONF, blocked.as_bytes());
    for words in [vec![], vec!["--offline"]] {
        let words = ["pull"].into_iter().chain(words).chain(["c.sif", &by_digest]);
        let outcome = site.orlop(words).fails(255);
        assert!(outcome.stderr.contains("blocked by registries.conf"), "{}", outcome.report());
    }
}

#[test]
fn a_push_to_a_blocked_registry_is_refused() {
    let (registry, site) = after_a_pull();
    let target = format!("oras://{}/s:1", registry.host());
    site.orlop(["push", "a.sif", &target]).success();
    let block = format!("[[registry]]\nlocation = \"{}\"\nblocked = true\n", registry.host());
    site.write_home(CONF, block.as_bytes());
    let outcome = site.orlop(["push", "a.sif", &target]).fails(255);
    assert!(outcome.stderr.contains("blocked by registries.conf"), "{}", outcome.report());
}

#[test]
fn global_credential_helpers_are_asked_in_order_by_the_bare_host() {
    let auth = orlop_kit::Auth::Basic { user: "u".into(), secret: "s".into() };
    let registry = Registry::new().image("a:1", Image::tiny()).auth(auth).start();
    let site = bare_site().watch(&registry);
    let helper = |name: &str, script: &str| {
        let path = format!("bin/docker-credential-{name}");
        site.write_home(&path, format!("#!/bin/sh\n{script}\n").as_bytes());
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(site.home().join(path), mode).unwrap();
    };
    helper("none", "echo credentials not found in native keychain; exit 1");
    helper(
        "good",
        r#"read -r host; echo "$host" > "$HOME/asked"
           echo "{\"ServerURL\":\"$host\",\"Username\":\"u\",\"Secret\":\"s\"}""#,
    );
    let path = format!("{}:/usr/bin:/bin", site.home().join("bin").display());
    let words = ["pull", "--force", "a.sif", &registry.docker("a:1")];
    let with = |helpers: &str| {
        let text = format!("credential-helpers = {helpers}\n{}", insecure(&registry));
        site.write_home(CONF, text.as_bytes());
        site.run(words).env("PATH", &path).outcome()
    };
    with("[]").fails(255);
    with("['none', 'containers-auth.json']").fails(255);
    with("['none', 'good', 'containers-auth.json']").success();
    assert_eq!(site.read_home("asked").unwrap().trim(), registry.host());

    // An auth file that is named is the only place.
    site.write_work("auth.json", b"{}");
    let words = ["pull", "--force", "--authfile", "auth.json", "a.sif", &registry.docker("a:1")];
    site.run(words).env("PATH", &path).outcome().fails(255);
}
