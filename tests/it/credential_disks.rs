//! Credential files on disks that refuse, and updates that are killed at one of their calls.
//!
//! Mounts are made in a user and mount namespace of the command's own; faults of calls are
//! strace's. Not here: the content of the files (`credential_files`).

use crate::world::{SECRET, basic, bearer, log_in, site, stored_secret};
use orlop_kit::{Image, Outcome, Registry, Site, any, tools};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::Path;
use std::process::Command;

fn world() -> (Registry, Site) {
    let registry = Registry::new().auth(bearer(true)).image("a:1", Image::tiny()).start();
    let site = site(&registry);
    (registry, site)
}

fn facts(path: &Path) -> (u64, u32, i64, Vec<u8>) {
    let meta = path.metadata().unwrap();
    (meta.ino(), meta.mode(), meta.mtime_nsec(), std::fs::read(path).unwrap())
}

/// A login into `d/f.json` after `setup`, in a mount namespace of its own where the person is
/// root; `after` is done when it has ended, and its status is kept.
fn log_in_within(site: &Site, registry: &Registry, setup: &str, after: &str) -> Outcome {
    let script = format!("{setup} || exit 97; \"$0\" \"$@\"; s=$?; {after}; exit $s");
    let orlop = site.programs().orlop.display().to_string();
    let uri = format!("docker://{}", registry.host());
    let words = ["registry", "login", "-u", "u", "--password-stdin", "--authfile", "d/f.json"];
    let words = ["--user", "--map-root-user", "--mount", "sh", "-c", &script, &orlop]
        .into_iter()
        .chain(words)
        .chain([uri.as_str()]);
    let unshare = tools::find("unshare").expect("util-linux is there");
    site.program(&unshare, words).input(SECRET).outcome()
}

#[test]
fn s15_a_directory_that_is_read_only_is_told_before_any_request() {
    let (registry, site) = world();
    if site.person().is_root() {
        return;
    }
    site.write_home(".docker/config.json", b"{\"x\":1}");
    let directory = site.home().join(".docker");
    let mode = |mode| std::fs::set_permissions(&directory, PermissionsExt::from_mode(mode));
    mode(0o500).unwrap();
    let before = facts(&directory.join("config.json"));
    let outcome = log_in(&site, &registry, &[]).fails(255);
    let said = format!("{}", directory.display());
    assert!(outcome.stderr.contains(&said), "{}", outcome.report());
    assert!(outcome.stderr.contains("ermission denied"), "{}", outcome.report());
    assert_eq!(registry.count(&any()), 0);
    assert_eq!(facts(&directory.join("config.json")), before);
    assert_eq!(site.tree(&directory), ["config.json"]);
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    mode(0o700).unwrap();
}

#[test]
fn s15_a_read_only_file_system_and_a_mount_point_are_told_and_nothing_is_left() {
    if !tools::user_namespaces() {
        tools::skip("no user namespaces");
        return;
    }
    let (registry, site) = world();
    // A daemon outside, which serves those within.
    site.orlop(["registry", "list"]).success();
    site.write_work("d/f.json", b"{\"x\":1}");
    let file = site.work().join("d/f.json");
    let before = facts(&file);
    let read_only = "mount --bind d d && mount -o remount,bind,ro d";
    let outcome = log_in_within(&site, &registry, read_only, ":").fails(255);
    assert!(outcome.stderr.contains("ead-only file system"), "{}", outcome.report());
    assert_eq!(registry.count(&any()), 0, "{}", registry.log());
    assert_eq!(facts(&file), before);

    let outcome = log_in_within(&site, &registry, "mount --bind d/f.json d/f.json", ":").fails(255);
    assert!(outcome.stderr.contains("d/f.json"), "{}", outcome.report());
    assert!(outcome.stderr.contains("busy"), "{}", outcome.report());
    assert_eq!(facts(&file), before);
    assert_eq!(site.tree(&site.work().join("d")), ["f.json"]);
}

#[test]
fn s15_an_immutable_file_is_told_and_stays() {
    let Some([chattr]) = tools::all(["chattr"]) else { return };
    let (registry, site) = world();
    site.write_work("f.json", b"{\"x\":1}");
    let file = site.work().join("f.json");
    let change = |how: &str| Command::new(&chattr).arg(how).arg(&file).status().unwrap().success();
    if !change("+i") {
        tools::skip("files cannot be made immutable here");
        return;
    }
    let outcome = log_in(&site, &registry, &["--authfile", "f.json"]);
    let left = site.tree(&site.work());
    assert!(change("-i"));
    let outcome = outcome.fails(255);
    assert!(outcome.stderr.contains("f.json"), "{}", outcome.report());
    assert_eq!(std::fs::read(&file).unwrap(), b"{\"x\":1}");
    assert_eq!(left, ["f.json"]);
}

#[test]
fn s28_a_full_disk_leaves_the_old_file_and_nothing_else() {
    if !tools::user_namespaces() {
        tools::skip("no user namespaces");
        return;
    }
    let (registry, site) = world();
    site.orlop(["registry", "list"]).success();
    std::fs::create_dir(site.work().join("d")).unwrap();
    site.person().give(&site.work().join("d"));
    // Room for the file, not for a second one.
    let setup = "mount -t tmpfs -o size=16k,mode=700 none d && \
        (printf '{\"x\":\"'; head -c 9000 /dev/zero | tr '\\0' y; echo '\"}') > d/f.json && \
        chmod 600 d/f.json && cp d/f.json before";
    let after = "cmp before d/f.json || s=99; ls -A d > listing";
    let outcome = log_in_within(&site, &registry, setup, after).fails(255);
    assert!(outcome.stderr.contains("no space left"), "{}", outcome.report());
    assert_eq!(std::fs::read_to_string(site.work().join("listing")).unwrap(), "f.json\n");
}

/// A login under strace, with this fault.
fn log_in_with_fault(site: &Site, registry: &Registry, strace: &Path, fault: &str) -> Outcome {
    let orlop = site.programs().orlop.display().to_string();
    let uri = format!("docker://{}", registry.host());
    let words = ["registry", "login", "-u", "u", "--password-stdin", "--authfile", "d/f.json"];
    let call = fault.split(':').next().unwrap_or_default();
    let (trace, inject) = (format!("trace={call}"), format!("inject={fault}"));
    let words = ["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject, &orlop]
        .into_iter()
        .chain(words)
        .chain([uri.as_str()]);
    site.program(strace, words).input(SECRET).outcome()
}

#[test]
fn s28_a_kill_at_any_call_of_the_update_leaves_the_old_file_or_the_new_one() {
    let Some([strace]) = tools::all(["strace"]) else { return };
    let registry = Registry::new().auth(basic()).start();
    let site = site(&registry);
    // The daemon is not traced.
    site.orlop(["registry", "list"]).success();
    let before = r#"{"auths":{"a.example":{"auth":"dTpw"}},"n":1}"#;
    let host = registry.host();
    let directory = site.work().join("d");
    let mut killed = 0;
    let calls = ["flock", "fsync", "fdatasync", "rename", "renameat", "renameat2", "linkat"];
    for fault in
        calls.iter().flat_map(|call| [1, 2, 3].map(|n| format!("{call}:signal=KILL:when={n}")))
    {
        site.write_work("d/f.json", before.as_bytes());
        let outcome = log_in_with_fault(&site, &registry, &strace, &fault);
        let text = std::fs::read_to_string(directory.join("f.json")).unwrap();
        let is_old = text == before;
        let is_new = stored_secret(&text, &host).is_some()
            && stored_secret(&text, "a.example").is_some()
            && text.contains("\"n\":1");
        assert!(is_old || is_new, "{fault}: {text}");
        assert!(outcome.status != 0 || is_new, "{fault}: {}", outcome.report());
        killed += usize::from(outcome.status != 0);
        log_in(&site, &registry, &["--authfile", "d/f.json"]).success();
        assert_eq!(site.tree(&directory), ["f.json"], "{fault}: after the next login");
    }
    assert!(killed >= 4, "the faults came: {killed}");
}

#[test]
fn s19_s21_where_locks_do_not_work_a_login_goes_on_without() {
    let Some([strace]) = tools::all(["strace"]) else { return };
    let registry = Registry::new().auth(basic()).start();
    let site = site(&registry);
    site.orlop(["registry", "list"]).success();
    for errno in ["ENOLCK", "ENOSYS", "EOPNOTSUPP"] {
        site.write_work("d/f.json", br#"{"auths":{"a.example":{"auth":"dTpw"}}}"#);
        let fault = format!("flock:error={errno}");
        log_in_with_fault(&site, &registry, &strace, &fault).success();
        let text = std::fs::read_to_string(site.work().join("d/f.json")).unwrap();
        assert!(stored_secret(&text, &registry.host()).is_some(), "{errno}: {text}");
        assert!(stored_secret(&text, "a.example").is_some(), "{errno}: {text}");
    }
}
