//! Credential files in every state: missing, broken, odd, somebody else's. The ids are the rows of
//! the design notes on reliability.
//!
//! Not here: locks (`credential_locks`), helpers (`credential_helpers`), many at once
//! (`many_logins`), where files are looked for (`credential_places`), disks that refuse
//! (`credential_disks`).

use crate::world::{AUTH, basic, bearer, log_in, site, stored_secret};
use orlop_kit::{Image, Outcome, Registry, Site, any, person::Person};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const CONFIG: &str = ".docker/config.json";

/// A registry where everybody may pull and a login is proven.
fn public() -> (Registry, Site) {
    let registry = Registry::new().auth(bearer(true)).image("a:1", Image::tiny()).start();
    let site = site(&registry);
    (registry, site)
}

/// One where nobody may without the login.
fn private() -> (Registry, Site) {
    let registry = Registry::new().auth(basic()).image("a:1", Image::tiny()).start();
    let site = site(&registry);
    (registry, site)
}

fn pull(site: &Site, registry: &Registry, extra: &[&str]) -> Outcome {
    let image = registry.docker("a:1");
    site.orlop([&["pull", "--force"], extra, &["a.sif", &image]].concat())
}

/// Everything of a file that a change would change.
fn facts(path: &Path) -> (u64, u32, u32, i64, i64, Vec<u8>) {
    let meta = path.metadata().unwrap();
    let bytes = std::fs::read(path).unwrap_or_default();
    (meta.ino(), meta.mode(), meta.uid(), meta.mtime(), meta.mtime_nsec(), bytes)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn config_of(site: &Site) -> PathBuf {
    site.home().join(CONFIG)
}

/// The file's text with the login of this registry.
fn with_login(registry: &Registry) -> String {
    format!(r#"{{"auths":{{"{}":{{"auth":"{AUTH}"}}}}}}"#, registry.host())
}

/// Pull and login both refuse the file by these words, at once, without a request, and leave it.
#[track_caller]
fn refused(registry: &Registry, site: &Site, said: &[&str]) {
    let path = config_of(site);
    let before = facts(&path);
    registry.forget();
    for outcome in [pull(site, registry, &[]), log_in(site, registry, &[])] {
        let outcome = outcome.fails(255);
        for said in said {
            assert!(outcome.stderr.contains(said), "{said:?} in {}", outcome.report());
        }
        assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.report());
    }
    assert_eq!(registry.count(&any()), 0, "{}", registry.log());
    assert_eq!(facts(&path), before);
    assert_eq!(site.tree(path.parent().unwrap()), ["config.json"]);
}

#[test]
fn s01_without_a_file_a_pull_is_anonymous_and_a_login_makes_it() {
    let (registry, site) = public();
    let quiet = pull(&site, &registry, &["--insecure"]).success();
    assert!(!quiet.stderr.contains("credential"), "{}", quiet.report());
    assert!(!site.home().join(".docker").exists());
    log_in(&site, &registry, &[]).success();
    assert_eq!(mode(&site.home().join(".docker")), 0o700);
    assert_eq!(mode(&config_of(&site)), 0o600);
}

#[test]
fn s02_a_missing_authfile_is_a_warning_for_a_pull_and_made_by_a_login() {
    let (registry, site) = public();
    let outcome = pull(&site, &registry, &["--authfile", "none.json"]).success();
    assert!(outcome.stderr.contains("WARNING: The credential file none.json does not exist"));
    log_in(&site, &registry, &["--authfile", "none.json"]).success();
    assert_eq!(mode(&site.work().join("none.json")), 0o600);
    registry.forget();
    let outcome = log_in(&site, &registry, &["--authfile", "missing/x.json"]).fails(255);
    assert!(outcome.stderr.contains("missing"), "{}", outcome.report());
    assert_eq!(registry.count(&any()), 0);
    assert!(!site.work().join("missing").exists());
}

#[test]
fn s03_an_empty_file_is_refused_by_pull_and_login() {
    let (registry, site) = public();
    for bytes in [&b""[..], b" \n\t\n"] {
        site.write_home(CONFIG, bytes);
        refused(&registry, &site, &["config.json:1:1", "empty"]);
    }
}

#[test]
fn s04_a_file_that_does_not_parse_is_named_with_its_place_and_not_shown() {
    let (registry, site) = public();
    let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf16 = [&b"\xff\xfe"[..], &utf16].concat();
    for (bytes, at) in [
        (&b"hunter2"[..], "config.json:1:1"),
        (b"[\"hunter2\"]", "config.json:1:1"),
        (b"{\"auths\":{\"h\":{\"auth\":\"hunter2", "config.json:1:"),
        (b"{\n \"auths\": [\"hunter2\"]}", "config.json:2:11"),
        (b"{\"auths\":{\"h\":{\n\"auth\": 5}}}", "config.json:2:9"),
        (&utf16, "config.json:1:1"),
    ] {
        site.write_home(CONFIG, bytes);
        refused(&registry, &site, &[at]);
    }
    site.write_work("named.json", b"{\"auths\": hunter2}");
    for outcome in [
        pull(&site, &registry, &["--authfile", "named.json"]),
        log_in(&site, &registry, &["--authfile", "named.json"]),
    ] {
        let outcome = outcome.fails(255);
        assert!(outcome.stderr.contains("named.json:1:11"), "{}", outcome.report());
        assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.report());
    }
}

#[test]
fn s05_a_byte_order_mark_is_a_warning_and_stays() {
    let (registry, site) = public();
    site.write_home(CONFIG, "\u{feff}{}".as_bytes());
    let outcome = pull(&site, &registry, &[]).success();
    assert_eq!(outcome.stderr.matches("byte order mark").count(), 1, "{}", outcome.report());
    log_in(&site, &registry, &[]).success();
    let text = site.read_home(CONFIG).unwrap();
    let bare = text.strip_prefix('\u{feff}').expect("the mark");
    assert!(stored_secret(bare, &registry.host()).is_some());
}

#[test]
fn s06_a_key_that_is_there_twice_is_named_with_both_lines() {
    let (registry, site) = public();
    for (text, key) in [
        ("{\"auths\": {},\n\"x\": 1,\n \"auths\": {}}", "\"auths\""),
        ("{\"auths\":\n{\"h.example\": {}, \"a\": {},\n\n\"h.example\": {}}}", "\"h.example\""),
    ] {
        site.write_home(CONFIG, text.as_bytes());
        let (first, second) = if key == "\"auths\"" { (1, 3) } else { (2, 4) };
        let place = format!("config.json:{second}:");
        refused(&registry, &site, &[key, &place, &format!("first in line {first}")]);
    }
}

#[test]
fn s07_what_is_not_known_stays_to_the_byte() {
    let (registry, site) = public();
    let before = "{\n    \"n\": 1e400,\n    \"z\": 0.10,\n    \"auths\": {\n        \
        \"a.example\": {\n            \"auth\": \"dTpw\",\n            \"email\": \"\\u00fc\"\n        \
        }\n    },\n    \"HttpHeaders\": {\"User-Agent\": \"x\"},\n    \"a\": [ 1,2 ]\n}\n";
    site.write_home(CONFIG, before.as_bytes());
    log_in(&site, &registry, &[]).success();
    let after = site.read_home(CONFIG).unwrap();
    let mut rest = after.as_str();
    for line in before.lines() {
        let line = line.trim_end_matches(['{', ',']);
        let at = rest.find(line).unwrap_or_else(|| panic!("{line:?} is not there: {after}"));
        rest = &rest[at + line.len()..];
    }
    let host = registry.host();
    assert!(after.contains(&format!("\n        \"{host}\": {{\n            \"")), "{after}");
    site.orlop(["registry", "logout", &format!("docker://{host}")]).success();
    assert_eq!(site.read_home(CONFIG).unwrap(), before);
}

#[test]
fn s08_a_file_of_4_mib_is_read_and_one_byte_more_is_not() {
    let (registry, site) = private();
    let login = with_login(&registry);
    let body = login.strip_suffix('}').unwrap();
    let fill = (4 << 20) - body.len() - r#","x":""}"#.len();
    let mut text = format!(r#"{body},"x":"{}"}}"#, "y".repeat(fill));
    assert_eq!(text.len(), 4 << 20);
    site.write_home(CONFIG, text.as_bytes());
    pull(&site, &registry, &[]).success();
    text.push('\n');
    site.write_home(CONFIG, text.as_bytes());
    refused(&registry, &site, &["credential-file-bytes"]);
    // One that is set, for a file that the daemon reads and for one that the command does.
    site.write_home(CONFIG, login.as_bytes());
    site.write_work("named.json", login.as_bytes());
    pull(&site, &registry, &["--authfile", "named.json"]).success();
    for (bytes, fits) in [(login.len(), true), (login.len() - 1, false)] {
        for words in [&["pull", "--force"][..], &["pull", "--force", "--authfile", "named.json"]] {
            let image = registry.docker("a:1");
            let run = site.run(words.iter().copied().chain(["a.sif", image.as_str()]));
            let outcome =
                run.env("ORLOP_LIMITS_CREDENTIAL_FILE_BYTES", bytes.to_string()).outcome();
            match fits {
                true => outcome.success(),
                false => outcome.fails(255).says("(credential-file-bytes)"),
            };
        }
    }
    let outcome = pull(&site, &registry, &["--authfile", "/dev/zero"]).fails(255);
    assert!(outcome.stderr.contains("/dev/zero is a device"), "{}", outcome.report());
}

#[test]
fn s09_what_is_no_readable_file_is_named_at_once() {
    let (registry, site) = public();
    site.write_home(CONFIG, b"{}");
    let path = config_of(&site);
    let mut socket = None;
    for kind in ["mode", "directory", "fifo", "socket"] {
        let said = match kind {
            "mode" => {
                if site.person().is_root() {
                    continue;
                }
                set_mode(&path, 0);
                "ermission denied"
            }
            "directory" => {
                std::fs::remove_file(&path).unwrap();
                std::fs::create_dir(&path).unwrap();
                "is a directory"
            }
            "fifo" => {
                std::fs::remove_dir(&path).unwrap();
                let mode = rustix::fs::Mode::from_raw_mode(0o600);
                let fifo = rustix::fs::FileType::Fifo;
                rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, mode, 0).unwrap();
                site.person().give(&path);
                "is a FIFO"
            }
            _ => {
                std::fs::remove_file(&path).unwrap();
                socket = Some(std::os::unix::net::UnixListener::bind(&path).unwrap());
                site.person().give(&path);
                "is a socket"
            }
        };
        for outcome in [pull(&site, &registry, &[]), log_in(&site, &registry, &[])] {
            let outcome = outcome.fails(255);
            assert!(outcome.stderr.contains(said), "{said} in {}", outcome.report());
        }
        let began = Instant::now();
        pull(&site, &registry, &["--authfile", path.to_str().unwrap()]).fails(255);
        assert!(began.elapsed() < Duration::from_secs(10), "{kind} held the pull up");
    }
    drop(socket);
}

#[test]
fn s10_links_are_followed_and_stay() {
    let (registry, site) = public();
    let link = config_of(&site);
    for (number, (target, is_there, is_good)) in [
        ("../real.json", true, true),
        ("../made.json", false, true),
        ("../missing/x.json", false, false),
        ("config.json", false, false),
    ]
    .into_iter()
    .enumerate()
    {
        site.write_home(".docker/keep", b"");
        if is_there {
            site.write_home("real.json", b"{\"x\":1}");
        }
        drop(std::fs::remove_file(&link));
        std::os::unix::fs::symlink(target, &link).unwrap();
        registry.forget();
        let outcome = log_in(&site, &registry, &[]);
        assert!(link.symlink_metadata().unwrap().is_symlink(), "{target}");
        if is_good {
            outcome.success();
            let real = link.parent().unwrap().join(target);
            let text = std::fs::read_to_string(&real).unwrap();
            assert!(stored_secret(&text, &registry.host()).is_some(), "{target}: {text}");
            assert_eq!(mode(&real), 0o600);
            assert_eq!(text.contains("\"x\":1"), is_there, "{number}");
        } else {
            outcome.fails(255);
            assert_eq!(registry.count(&any()), 0, "{target}: {}", registry.log());
            assert!(!site.home().join("missing").exists());
        }
    }
}

#[test]
fn s11_the_other_name_of_a_file_keeps_the_old_content() {
    let (registry, site) = public();
    site.write_home(CONFIG, b"{}");
    std::fs::hard_link(config_of(&site), site.home().join("other.json")).unwrap();
    log_in(&site, &registry, &[]).success();
    assert_eq!(site.read_home("other.json").unwrap(), "{}");
    assert!(site.read_home(CONFIG).unwrap().contains(&registry.host()));
}

#[test]
fn s12_somebody_elses_file_is_ignored_where_nobody_named_it() {
    let Some(other) = Person::other() else { return };
    let (registry, site) = private();
    site.write_home(CONFIG, with_login(&registry).as_bytes());
    let path = config_of(&site);
    set_mode(&path, 0o644);
    other.give(&path);
    let before = facts(&path);
    let outcome = pull(&site, &registry, &[]).fails(255);
    let said = format!("belongs to user {}; it is ignored", other.uid);
    assert!(outcome.stderr.contains(&said), "{}", outcome.report());
    let named = path.to_str().unwrap();
    let outcome = pull(&site, &registry, &["--authfile", named]).success();
    let said = format!("WARNING: {named} belongs to user {}", other.uid);
    assert!(outcome.stderr.contains(&said), "{}", outcome.report());
    registry.forget();
    for extra in [&[][..], &["--authfile", named]] {
        let outcome = log_in(&site, &registry, extra).fails(255);
        assert!(outcome.stderr.contains("belongs to user"), "{}", outcome.report());
    }
    let uri = format!("docker://{}", registry.host());
    site.orlop(["registry", "logout", &uri]).fails(255);
    assert_eq!(registry.count(&any()), 0);
    assert_eq!(facts(&path), before);
}

#[test]
fn s13_an_open_file_is_read_with_one_warning_and_a_login_closes_it() {
    let (registry, site) = private();
    for open in [0o644, 0o660] {
        for is_named in [false, true] {
            site.write_home(CONFIG, with_login(&registry).as_bytes());
            let path = config_of(&site);
            set_mode(&path, open);
            let named = path.to_str().unwrap();
            let extra: &[&str] = if is_named { &["--authfile", named] } else { &[] };
            let outcome = pull(&site, &registry, extra).success();
            let said = format!("`chmod 600 {named}`");
            assert_eq!(outcome.stderr.matches(&said).count(), 1, "{}", outcome.report());
            log_in(&site, &registry, extra).success();
            assert_eq!(mode(&path), 0o600, "{open:o}");
        }
    }
}

#[test]
fn s14_a_file_that_is_read_only_is_replaced() {
    let (registry, site) = public();
    site.write_home(CONFIG, b"{\"x\":1}");
    let path = config_of(&site);
    set_mode(&path, 0o400);
    log_in(&site, &registry, &[]).success();
    assert_eq!(mode(&path), 0o600);
    assert!(site.read_home(CONFIG).unwrap().contains("\"x\":1"));
}

#[test]
fn s22_an_entry_that_cannot_be_read_is_told_and_the_rest_works() {
    let (registry, site) = private();
    let host = registry.host();
    for bad in ["%%%", "bm9jb2xvbg==", "dTo=", "OnB3", "dTr__g=="] {
        let text = format!(r#"{{"auths":{{"{host}":{{"auth":"{bad}"}}}}}}"#);
        site.write_home(CONFIG, text.as_bytes());
        let outcome = pull(&site, &registry, &[]).fails(255);
        let said = format!("the entry for {host} ");
        assert!(outcome.stderr.contains(&said), "{bad}: {}", outcome.report());
        assert!(!outcome.stderr.contains(bad), "{}", outcome.report());
        // The rest: another spelling of the host.
        let good = format!(
            r#"{{"auths":{{"{host}":{{"auth":"{bad}"}},"https://{host}":{{"auth":"{AUTH}"}}}}}}"#
        );
        site.write_home(CONFIG, good.as_bytes());
        pull(&site, &registry, &[]).success();
    }
    let padded = format!(r#"{{"auths":{{"{host}":{{"auth":"dTpzM2NyZXQAAA=="}}}}}}"#);
    site.write_home(CONFIG, padded.as_bytes());
    pull(&site, &registry, &[]).success();
}

#[test]
fn s27_a_wrong_password_changes_nothing() {
    let (registry, site) = private();
    site.write_home(CONFIG, b"{\"auths\":{}}");
    site.write_home(".config/orlop/remote.yaml", b"Credentials: []\n");
    let before = facts(&config_of(&site));
    let list = facts(&site.home().join(".config/orlop/remote.yaml"));
    let outcome = crate::world::log_in_as(&site, &registry, &[], "u", "wrong").fails(255);
    assert!(!outcome.stderr.contains("\"wrong\""), "{}", outcome.report());
    assert_eq!(facts(&config_of(&site)), before);
    assert_eq!(facts(&site.home().join(".config/orlop/remote.yaml")), list);
}
