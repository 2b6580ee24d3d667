//! Edits of credential files: links, owners, modes, locks, and what stays as it was (S rows).

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;
use crate::docker_json::Found;

fn password(secret: &str) -> Credential {
    Credential::Password { username: "u".to_owned(), secret: secret.into() }
}

fn found(path: &Path, host: &str) -> Found {
    loading::auth_file_as(path, "f", Limits::default()).unwrap().unwrap().lookup(
        host,
        "",
        &mut Vec::new(),
    )
}

#[test]
fn a_default_file_is_made_with_its_directory() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(".docker/config.json");
    check(&Target::default_file(&path)).unwrap();
    store_login(&Target::default_file(&path), "h", &password("p")).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(found(&path, "h"), Found::Credential(password("p")));
}

#[test]
fn the_directory_of_a_named_file_is_not_made() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("none/auth.json");
    assert!(check(&Target::named(&path)).is_err());
    assert!(store_login(&Target::named(&path), "h", &password("p")).is_err());
    assert!(!path.parent().unwrap().exists());
}

#[test]
fn a_symlink_stays_and_its_target_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let (link, real) = (home.path().join("link"), home.path().join("real"));
    symlink("real", &link).unwrap();
    store_login(&Target::named(&link), "h", &password("p")).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(found(&real, "h"), Found::Credential(password("p")));
    symlink("loop", home.path().join("loop")).unwrap();
    assert!(store_login(&Target::named(&home.path().join("loop")), "h", &password("p")).is_err());
}

#[test]
fn a_file_that_does_not_parse_is_never_written() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("f");
    for bad in ["", "{", "[]", "{\"auths\":[]}"] {
        fs::write(&path, bad).unwrap();
        let before = fs::metadata(&path).unwrap();
        assert!(check(&Target::named(&path)).is_err());
        assert!(store_login(&Target::named(&path), "h", &password("p")).is_err());
        assert!(remove_login(&Target::named(&path), "h").is_err());
        let after = fs::metadata(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), bad);
        assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
    }
}

#[test]
fn a_logout_of_nothing_touches_nothing() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("f");
    assert!(remove_login(&Target::named(&path), "h").unwrap().is_empty());
    assert!(!path.exists());
    store_login(&Target::named(&path), "h", &password("p")).unwrap();
    let before = fs::metadata(&path).unwrap().ino();
    assert!(remove_login(&Target::named(&path), "other").unwrap().is_empty());
    assert_eq!(fs::metadata(&path).unwrap().ino(), before);
    assert!(!remove_login(&Target::named(&path), "h").unwrap().is_empty());
    assert_eq!(found(&path, "h"), Found::Nothing);
}

#[test]
fn a_loose_mode_is_tightened() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("f");
    fs::write(&path, "{}").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    store_login(&Target::named(&path), "h", &password("p")).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn the_list_is_changed_in_the_same_way() {
    let home = tempfile::tempdir().unwrap();
    let target = Target::default_file(&home.path().join(".config/orlop/remote.yaml"));
    let row = remote_yaml::Row { uri: "docker://h".to_owned(), insecure: false };
    assert!(remove_rows(&target, "h").unwrap().is_empty());
    assert!(!target.path.exists());
    store_row(&target, &row).unwrap();
    assert_eq!(loading::list_file(&target.path, "f").unwrap().unwrap().rows(), [row]);
    assert!(!remove_rows(&target, "h").unwrap().is_empty());
    assert!(loading::list_file(&target.path, "f").unwrap().unwrap().rows().is_empty());
}

#[test]
fn s10_a_default_file_linked_into_a_missing_directory_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config.json");
    symlink("missing/config.json", &path).unwrap();
    assert!(store_login(&Target::default_file(&path), "h", &password("p")).is_err());
    assert!(!home.path().join("missing").exists());
}

#[test]
fn s11_another_name_of_the_file_keeps_the_old_content() {
    let home = tempfile::tempdir().unwrap();
    let (path, other) = (home.path().join("f"), home.path().join("g"));
    fs::write(&path, "{}").unwrap();
    fs::hard_link(&path, &other).unwrap();
    store_login(&Target::named(&path), "h", &password("p")).unwrap();
    assert_eq!(fs::read_to_string(&other).unwrap(), "{}");
}

#[test]
fn s12_a_file_of_another_user_is_not_written() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("f");
    fs::write(&path, "{}").unwrap();
    std::os::unix::fs::chown(&path, Some(4711), None).unwrap();
    for result in
        [check(&Target::named(&path)), store_login(&Target::named(&path), "h", &password("p"))]
    {
        assert!(matches!(result, Err(Error::NotOurs { owner: 4711, .. })), "{result:?}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "{}");
}

#[test]
fn s14_a_read_only_file_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("f");
    fs::write(&path, "{}").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    store_login(&Target::named(&path), "h", &password("p")).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn s07_a_login_changes_no_other_byte() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("f");
    let before = "{\n    \"z\" : 1e400,\n    \"auths\": {\n        \"a\": {\"auth\": \"eDp5\", \"n\": 0.10}\n    },\n    \"b\": \"\\u00e9\"\n}\n";
    fs::write(&path, before).unwrap();
    store_login(&Target::named(&path), "h", &password("p")).unwrap();
    let added = ",\n        \"h\": {\n            \"auth\": \"dTpw\"\n        }";
    let after = before.replace("0.10}", &format!("0.10}}{added}"));
    assert_eq!(fs::read_to_string(&path).unwrap(), after);
    assert!(!remove_login(&Target::named(&path), "h").unwrap().is_empty());
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn s26_a_logout_of_the_hub_removes_all_its_spellings() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("f");
    let keys =
        ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"];
    for place in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
        for key in keys.into_iter().chain(["other.example"]) {
            store_login(&Target::named(&path), key, &password("p")).unwrap();
        }
        assert!(!remove_login(&Target::named(&path), place).unwrap().is_empty());
        let file = loading::auth_file_as(&path, "f", Limits::default()).unwrap().unwrap();
        assert_eq!(file.keys(), ["other.example"]);
        assert!(remove_login(&Target::named(&path), place).unwrap().is_empty());
    }
}

#[test]
fn s28_what_a_killed_update_left_is_gone_after_the_next() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("f");
    fs::write(home.path().join(".orlop-0123456789abcdef"), "{\"auths\"").unwrap();
    fs::write(home.path().join("f.lock"), "").unwrap();
    store_login(&Target::named(&path), "h", &password("p")).unwrap();
    let names: Vec<_> =
        fs::read_dir(home.path()).unwrap().map(|name| name.unwrap().file_name()).collect();
    assert_eq!(names, ["f"]);
}

#[test]
fn s20_threads_that_log_in_and_out_at_once_lose_nothing() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("f");
    for number in 0..100 {
        store_login(&Target::named(&path), &format!("old{number}"), &password("p")).unwrap();
    }
    std::thread::scope(|scope| {
        for thread in 0..20 {
            let path = &path;
            scope.spawn(move || {
                for number in thread * 5..thread * 5 + 5 {
                    let target = Target::named(path);
                    store_login(&target, &format!("new{number}"), &password("p")).unwrap();
                    assert!(!remove_login(&target, &format!("old{number}")).unwrap().is_empty());
                }
            });
        }
    });
    let mut keys = loading::auth_file_as(&path, "f", Limits::default()).unwrap().unwrap().keys();
    keys.sort();
    let mut wanted: Vec<_> = (0..100).map(|number| format!("new{number}")).collect();
    wanted.sort();
    assert_eq!(keys, wanted);
}

/// What each process of the test below does: its number is in the name of its directory.
#[test]
#[ignore = "a part of another test"]
fn one_of_many_processes() {
    let own = std::env::current_dir().unwrap();
    let name = own.file_name().unwrap().to_str().unwrap();
    if let Some(number) = name.strip_prefix("login-") {
        let target = Target::named(Path::new("../auth.json"));
        store_login(&target, &format!("h{number}.example"), &password("p")).unwrap();
        let row = remote_yaml::Row { uri: format!("docker://h{number}.example"), insecure: false };
        store_row(&Target::named(Path::new("../remote.yaml")), &row).unwrap();
    }
}

#[test]
fn s20_200_processes_that_log_in_at_once_lose_nothing_though_some_are_killed() {
    let home = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let mut children = Vec::new();
    for number in 0..200_usize {
        let directory = home.path().join(format!("login-{number}"));
        fs::create_dir(&directory).unwrap();
        let child = std::process::Command::new(&program)
            .args(["--ignored", "--exact", "update::tests::one_of_many_processes"])
            .stdout(std::process::Stdio::null())
            .current_dir(directory)
            .spawn();
        children.push(child.unwrap());
        // At different points of their work.
        if number % 10 == 9 {
            children[number - number % 30 / 10].kill().unwrap();
        }
    }
    let stored: Vec<_> = children.iter_mut().map(|child| child.wait().unwrap().success()).collect();
    let done = stored.iter().filter(|done| **done).count();
    assert!(done >= 180, "{done}");
    let keys = loading::auth_file_as(&home.path().join("auth.json"), "f", Limits::default())
        .unwrap()
        .unwrap()
        .keys();
    let list = loading::list_file(&home.path().join("remote.yaml"), "f").unwrap().unwrap().rows();
    for (number, done) in stored.iter().enumerate() {
        let host = format!("h{number}.example");
        if *done {
            assert!(keys.contains(&host), "{host} was stored and is lost");
            assert!(list.iter().any(|row| row.place() == host), "{host} is not listed");
        }
    }
    store_login(&Target::named(&home.path().join("auth.json")), "h", &password("p")).unwrap();
    let row = remote_yaml::Row { uri: "docker://h".to_owned(), insecure: false };
    store_row(&Target::named(&home.path().join("remote.yaml")), &row).unwrap();
    let left = fs::read_dir(home.path()).unwrap();
    let left: Vec<_> = left
        .map(|name| name.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("login-"))
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
}
