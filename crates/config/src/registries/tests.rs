//! `tests/data/registries-cases.toml`, a test a row, and states of the files. A row of the file
//! without a name here fails [`every_row_of_the_file_has_a_test`].

use std::fs;
use std::path::{Path, PathBuf};

use orlop_oci::Reference;
use proptest::prelude::*;

use super::*;
use crate::env::Environment;
use crate::error::Error;
use crate::paths::{Face, Paths};

#[path = "../../../../tests/data/registries_cases.rs"]
mod data;

use data::cases;

/// A home directory and a directory of system settings.
struct World {
    root: tempfile::TempDir,
    has_override: bool,
}

impl World {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), has_override: false }
    }

    fn at(&self, at: &str) -> PathBuf {
        let user = "home/.config/containers/registries.conf";
        let system = "etc/containers/registries.conf";
        let below = match at.split_once('/') {
            None if at == "user" => user.to_owned(),
            None if at == "system" => system.to_owned(),
            None if at == "env" => "env.conf".to_owned(),
            Some(("user.d", name)) => format!("{user}.d/{name}"),
            Some(("system.d", name)) => format!("{system}.d/{name}"),
            _ => panic!("{at}"),
        };
        self.root.path().join(below)
    }

    fn write(&mut self, at: &str, text: impl AsRef<[u8]>) -> PathBuf {
        self.has_override |= at == "env";
        let path = self.at(at);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn paths(&self) -> Paths {
        let home = self.root.path().join("home");
        let mut environment = Environment::default().with("HOME", home);
        if self.has_override {
            environment = environment.with("CONTAINERS_REGISTRIES_CONF", self.at("env"));
        }
        let paths = Paths::with_entry(&environment, Face::Orlop, 7001, None);
        paths.with_system(self.root.path().join("etc"))
    }

    fn load(&self) -> Result<Loaded, Error> {
        load(&self.paths())
    }
}

fn run(id: &str) {
    let case = cases().into_iter().find(|case| case.id == id).unwrap();
    let mut world = World::new();
    for file in &case.file {
        world.write(&file.at, &file.text);
    }
    let reference = Reference::parse(&case.reference).unwrap();
    let loaded = world.load();
    if case.stage.as_deref() == Some("config") {
        let error = loaded.expect_err(id);
        assert_eq!(Some(error.name()), case.error.as_deref(), "{id}: {error}");
        let Error::Registries { at, .. } = &error else { panic!("{id}: {error:?}") };
        assert!(at.line.is_some(), "{id}: {error}");
        return;
    }
    let loaded = loaded.expect(id);
    let matched = loaded.registries.table_of(&reference).map_or("", |table| &table.prefix);
    assert_eq!(Some(matched), case.matched.as_deref(), "{id}");
    let sources = loaded.registries.sources(&reference);
    if case.stage.as_deref() == Some("pull") {
        let error = sources.expect_err(id);
        assert_eq!(Some(error.name()), case.error.as_deref(), "{id}: {error}");
        return;
    }
    let sources = sources.expect(id);
    let found: Vec<_> = sources
        .iter()
        .map(|source| (source.reference.canonical(), source.insecure, source.blocked))
        .collect();
    let expected: Vec<_> = case
        .source
        .iter()
        .map(|source| (source.reference.clone(), source.insecure, source.blocked))
        .collect();
    assert_eq!(found, expected, "{id}");
    let (last, mirrors) = sources.split_last().expect(id);
    assert!(!last.is_mirror && mirrors.iter().all(|source| source.is_mirror), "{id}");
}

macro_rules! rows {
    ($($name:ident: $id:literal,)*) => {
        $(#[test]
        fn $name() {
            run($id);
        })*

        #[test]
        fn every_row_of_the_file_has_a_test() {
            let ids: Vec<_> = cases().into_iter().map(|case| case.id).collect();
            assert_eq!(ids, [$($id),*]);
        }
    };
}

rows! {
    no_config: "no-config",
    site_hub_mirror: "site-hub-mirror",
    hub_mirror_path_insecure: "hub-mirror-path-insecure",
    two_mirrors_in_order: "two-mirrors-in-order",
    namespace_beats_host: "namespace-beats-host",
    host_when_namespace_differs: "host-when-namespace-differs",
    hub_alias_needs_library: "hub-alias-needs-library",
    hub_library_image: "hub-library-image",
    hub_library_namespace: "hub-library-namespace",
    location_rewrite: "location-rewrite",
    manual_example_a: "manual-example-a",
    manual_example_b: "manual-example-b",
    unmatched_as_is: "unmatched-as-is",
    by_digest_only_tag: "by-digest-only-tag",
    by_digest_only_digest: "by-digest-only-digest",
    by_digest_only_both: "by-digest-only-both",
    pull_from_mirror_tag: "pull-from-mirror-tag",
    pull_from_mirror_digest: "pull-from-mirror-digest",
    pull_from_mirror_empty_string: "pull-from-mirror-empty-string",
    wildcard_no_location: "wildcard-no-location",
    wildcard_deep: "wildcard-deep",
    wildcard_not_apex: "wildcard-not-apex",
    wildcard_not_in_path: "wildcard-not-in-path",
    wildcard_location: "wildcard-location",
    wildcard_keeps_port: "wildcard-keeps-port",
    wildcard_longest: "wildcard-longest",
    port_exact: "port-exact",
    port_not_prefix_of_port: "port-not-prefix-of-port",
    port_leaks_into_mirror: "port-leaks-into-mirror",
    blocked_plain: "blocked-plain",
    blocked_with_mirror: "blocked-with-mirror",
    conflict_via_location: "conflict-via-location",
    blocked_other_table: "blocked-other-table",
    insecure_primary_only: "insecure-primary-only",
    mirror_ignores_own_table: "mirror-ignores-own-table",
    trailing_slashes: "trailing-slashes",
    duplicate_prefix_first_wins: "duplicate-prefix-first-wins",
    dropin_replaces_table: "dropin-replaces-table",
    dropin_removes_mirrors: "dropin-removes-mirrors",
    dropin_adds: "dropin-adds",
    dropin_order: "dropin-order",
    dropin_suffix: "dropin-suffix",
    user_file_replaces_system: "user-file-replaces-system",
    user_file_hides_system_dropins: "user-file-hides-system-dropins",
    user_dropin_over_system: "user-dropin-over-system",
    env_file_plus_dropins: "env-file-plus-dropins",
    env_file_main: "env-file-main",
    prefix_with_tag: "prefix-with-tag",
    prefix_with_tag_other: "prefix-with-tag-other",
    prefix_with_digest: "prefix-with-digest",
    search_not_used: "search-not-used",
    localhost: "localhost",
    unknown_keys: "unknown-keys",
    empty_file: "empty-file",
    e_location_unset: "e-location-unset",
    e_both_unset: "e-both-unset",
    e_scheme_location: "e-scheme-location",
    e_scheme_prefix: "e-scheme-prefix",
    e_scheme_mirror: "e-scheme-mirror",
    e_mirror_location: "e-mirror-location",
    e_conflict_insecure: "e-conflict-insecure",
    e_conflict_blocked: "e-conflict-blocked",
    e_pfm_on_registry: "e-pfm-on-registry",
    e_pfm_conflict: "e-pfm-conflict",
    e_pfm_value: "e-pfm-value",
    e_wildcard_path: "e-wildcard-path",
    e_wildcard_port: "e-wildcard-port",
    e_search_namespace: "e-search-namespace",
    e_short_name_mode: "e-short-name-mode",
    e_alias_tag: "e-alias-tag",
    e_v1: "e-v1",
    e_v1_mixed: "e-v1-mixed",
    e_v1_dropin: "e-v1-dropin",
    e_toml: "e-toml",
    e_type: "e-type",
    e_rewrite_digest: "e-rewrite-digest",
    e_rewrite_port: "e-rewrite-port",
}

fn sources(text: &str, reference: &str) -> Vec<String> {
    let mut world = World::new();
    world.write("system", text);
    let sources = world.load().unwrap().registries.sources(&Reference::parse(reference).unwrap());
    sources.unwrap().iter().map(|source| source.reference.canonical()).collect()
}

#[test]
fn a_wildcard_is_compared_with_the_end_of_the_host() {
    let text = "[[registry]]\nprefix = '*.io'\nlocation = 'all.example'\n";
    assert_eq!(sources(text, "a.io.b.io/x:1"), ["all.example/x:1"]);
    assert_eq!(sources(text, "a.io.example/x:1"), ["a.io.example/x:1"]);
}

#[test]
fn of_two_equally_long_prefixes_the_first_in_byte_order_is_used() {
    let text = "[[registry]]\nprefix = 'a.foo.com'\nlocation = 'plain.example'\n\
                [[registry]]\nprefix = '*.foo.com'\nlocation = 'wild.example'\n";
    assert_eq!(sources(text, "a.foo.com/x:1"), ["wild.example/x:1"]);
}

#[test]
fn a_fault_is_reported_with_its_file_and_line() {
    let rows = [
        ("[[registry]]\nlocation = 'a.example'\n\n[[registry]]\ninsecure = true\n", 4),
        ("[[registry]]\nlocation = 'a.example'\ninsecure = 'yes'\n", 3),
        ("# a comment\n\nnonsense\n", 3),
        ("[aliases]\nx = 'a.example/x'\ny = 'a.example/y:1'\n", 3),
        ("[[registry]]\nlocation = 'a.example'\n[[registry.mirror]]\ninsecure = true\n", 3),
        ("short-name-mode = 'ask'\n", 1),
        ("[[registry]]\nlocation = 'a.example'\n[registries.search]\nregistries = []\n", 3),
    ];
    for (text, line) in rows {
        let mut world = World::new();
        let path = world.write("system.d/1.conf", text);
        let error = world.load().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}:{line}: ", path.display())), "{error}");
    }
}

#[test]
fn unknown_keys_are_named_in_one_warning() {
    let mut world = World::new();
    let text = "[[registry]]\nlocation = 'a.example'\nspeed = 1\n\
                [[registry.mirror]]\nlocation = 'b.example'\nweight = 2\n";
    let path = world.write("system", text);
    let expected = format!(
        "{}:3: unknown keys are ignored: registry.speed, registry.mirror.weight",
        path.display()
    );
    assert_eq!(world.load().unwrap().warnings, [expected]);
}

#[test]
fn a_mirror_with_orlop_ns_is_told_the_host_that_was_named() {
    let mut world = World::new();
    let text = "[[registry]]\nprefix = 'docker.io/library'\nlocation = 'a.example/x'\n\
                [[registry.mirror]]\nlocation = 'm.example'\norlop-ns = true\n\
                [[registry.mirror]]\nlocation = 'n.example'\norlop-ns = false\n\
                [[registry.mirror]]\nlocation = 'o.example'\n";
    world.write("system", text);
    let loaded = world.load().unwrap();
    assert_eq!(loaded.warnings, [] as [&str; 0]);
    let named = Reference::parse("alpine").unwrap();
    let sources = loaded.registries.sources(&named).unwrap();
    let told: Vec<_> =
        sources.iter().map(|source| source.namespace.as_ref().map(ToString::to_string)).collect();
    assert_eq!(told, [Some("docker.io".to_owned()), None, None, None]);
    world.write("system", text.replace("orlop-ns = true", "orlop-ns = 'yes'"));
    assert_eq!(world.load().unwrap_err().name(), "type");
}

#[test]
fn keys_are_read_in_any_case_and_the_exact_one_counts_first() {
    let text = "[[Registry]]\nLocation = 'a.example'\nBLOCKED = true\n\
                [[Registry.Mirror]]\nLocation = 'm.example'\nPull-From-Mirror = 'digest-only'\n\
                [Aliases]\nx = 'a.example/x'\n";
    let mut world = World::new();
    world.write("system", text);
    let loaded = world.load().unwrap();
    assert_eq!(loaded.warnings, [] as [&str; 0]);
    let table = &loaded.registries.tables["a.example"];
    assert!(table.blocked);
    assert_eq!(table.mirrors[0].pulls, Pulls::DigestOnly);
    assert_eq!(loaded.registries.aliases().len(), 1);

    let text = "[[registry]]\nLocation = 'b.example'\nlocation = 'a.example'\n";
    let path = world.write("system", text);
    let loaded = world.load().unwrap();
    assert!(loaded.registries.tables.contains_key("a.example"));
    let warning = format!("{}:2: unknown keys are ignored: registry.Location", path.display());
    assert_eq!(loaded.warnings, [warning]);

    world.write("system", "[Registries.Block]\nRegistries = []\n");
    assert_eq!(world.load().unwrap_err().name(), "v1-format");
    world.write("system", "[[Registry]]\nLocation = 'a.example'\nInsecure = 'yes'\n");
    let error = world.load().unwrap_err();
    assert_eq!((error.name(), error.place().unwrap().line), ("type", Some(3)));
}

#[test]
fn a_star_that_stands_for_nothing_is_a_warning_and_matches_nothing() {
    for prefix in ["foo.*.example", "*", "*example", "*.", "*.a.*.example", "/"] {
        let mut world = World::new();
        let text = format!("[[registry]]\nprefix = '{prefix}'\nlocation = 'l.example'\n");
        world.write("system", text);
        let loaded = world.load().unwrap();
        assert!(loaded.warnings.concat().contains("matches nothing"), "{prefix}");
        let reference = Reference::parse("foo.a.example/x:1").unwrap();
        assert_eq!(loaded.registries.table_of(&reference), None, "{prefix}");
    }
}

#[test]
fn of_several_faults_the_one_that_upstream_finds_first_is_told() {
    for (text, kind) in [
        ("prefix = '/'\n", "location-unset"),
        ("location = '/'\n", "no-prefix-no-location"),
        (
            "prefix = '*.a/b'\nlocation = 'x'\npull-from-mirror = 'all'\n",
            "pull-from-mirror-misplaced",
        ),
        (
            "prefix = '*.a/b'\nlocation = 'x'\n[[registry]]\nlocation = 'x'\nblocked = true\n",
            "conflict-blocked",
        ),
    ] {
        let mut world = World::new();
        world.write("system", format!("[[registry]]\n{text}"));
        assert_eq!(world.load().unwrap_err().name(), kind, "{text}");
    }
    let mut world = World::new();
    world.write("system", "unqualified-search-registries = ['a/b']\nshort-name-mode = 'x'\n");
    assert_eq!(world.load().unwrap_err().name(), "search-entry");
    world.write("system", "[registries.search]\n");
    assert!(world.load().is_ok(), "a table of version 1 without its list says nothing");
    world.write("system", "registries = ['a.example']\n");
    assert_eq!(world.load().unwrap_err().name(), "type");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_read() {
    let mut world = World::new();
    world.write("system", "\u{feff}[[registry]]\r\nlocation = 'a.example'\r\nblocked = true\r\n");
    assert!(world.load().unwrap().registries.tables.contains_key("a.example"));
}

#[test]
fn files_that_cannot_be_read_are_errors() {
    let mut world = World::new();
    world.write("system", b"# \xff\n");
    assert!(matches!(world.load(), Err(Error::Utf8 { at }) if at.line == Some(1)));
    world.write("system", vec![b'#'; 1 << 20]);
    assert!(world.load().is_ok());
    world.write("system", vec![b'#'; (1 << 20) + 1]);
    assert!(matches!(world.load(), Err(Error::TooLarge { .. })));
    fs::remove_file(world.at("system")).unwrap();
    fs::create_dir(world.at("system")).unwrap();
    assert!(matches!(world.load(), Err(Error::NotAFile { what: "a directory", .. })));
    fs::remove_dir(world.at("system")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, world.at("system"), rustix::fs::Mode::RUSR).unwrap();
    assert!(matches!(world.load(), Err(Error::NotAFile { what: "a FIFO", .. })));
}

#[test]
fn a_file_that_a_variable_names_has_to_exist() {
    let world = World { has_override: true, ..World::new() };
    let error = world.load().unwrap_err();
    assert!(matches!(error, Error::Unreadable { ref path, .. } if *path == world.at("env")));
}

#[test]
fn a_drop_in_that_links_to_nothing_is_skipped_with_a_warning() {
    let mut world = World::new();
    world.write("system.d/2.conf", "[[registry]]\nlocation = 'a.example'\n");
    std::os::unix::fs::symlink("nowhere", world.at("system.d/1.conf")).unwrap();
    let loaded = world.load().unwrap();
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert_eq!(loaded.registries.tables.len(), 1);
}

#[test]
fn the_stamp_changes_with_the_files() {
    let mut world = World::new();
    world.write("system", "");
    let first = world.load().unwrap().stamp;
    assert_eq!(stamp(&world.paths()).unwrap(), first);
    world.write("system", "# longer\n");
    let second = stamp(&world.paths()).unwrap();
    assert_ne!(second, first);
    world.write("user.d/1.conf", "");
    let third = stamp(&world.paths()).unwrap();
    assert_ne!(third, second);
    world.write("user", "");
    assert_ne!(stamp(&world.paths()).unwrap(), third);
}

#[test]
fn later_files_replace_lists_and_remove_aliases() {
    let mut world = World::new();
    world.write(
        "system",
        "unqualified-search-registries = ['a.example']\ncredential-helpers = ['pass']\n\
         [aliases]\nx = 'a.example/x'\ny = 'a.example/y'\n",
    );
    let loaded = world.load().unwrap().registries;
    assert_eq!(loaded.credential_helpers(), ["pass"]);
    assert_eq!(loaded.aliases().len(), 2);
    world.write("system.d/1.conf", "unqualified-search-registries = []\n[aliases]\nx = ''\n");
    let loaded = world.load().unwrap().registries;
    assert_eq!(loaded.unqualified_search_registries(), [] as [&str; 0]);
    assert_eq!(loaded.aliases().keys().collect::<Vec<_>>(), ["y"]);
    assert_eq!(Registries::default().credential_helpers(), ["containers-auth.json"]);
}

proptest! {
    #[test]
    fn any_text_is_rules_or_a_fault(text in "\\PC{0,200}") {
        drop(parse::parse(Path::new("x.conf"), &text));
    }

    #[test]
    fn pieces_of_the_format_are_rules_or_a_fault(
        lines in prop::collection::vec(
            prop::sample::select(vec![
                "[[registry]]", "[[registry.mirror]]", "[aliases]", "prefix = 'a.example'",
                "prefix = '*.example'", "location = 'b.example/c'", "insecure = true",
                "blocked = true", "pull-from-mirror = 'tag-only'", "a = 'b.example/c'",
                "[registries.search]", "mirror-by-digest-only = true",
            ]),
            0..12,
        ),
        reference in "[a-c]\\.example(:5)?/[a-c]{1,2}(/[a-c])?",
    ) {
        let Ok(file) = parse::parse(Path::new("x.conf"), &lines.join("\n")) else { return Ok(()) };
        let mut registries = Registries::default();
        registries.lay_over(file);
        if let Ok(sources) = registries.sources(&Reference::parse(&reference).unwrap()) {
            prop_assert!(!sources.is_empty());
        }
    }
}
