use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;
use crate::docker_json::Found;

fn password(secret: &str) -> Credential {
    Credential::Password { username: "u".to_owned(), secret: secret.into() }
}

fn found(path: &Path, host: &str) -> Found {
    loading::auth_file_as(path, "f").unwrap().unwrap().lookup(host, "", &mut Vec::new())
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
    assert!(!remove_login(&Target::named(&path), "h").unwrap());
    assert!(!path.exists());
    store_login(&Target::named(&path), "h", &password("p")).unwrap();
    let before = fs::metadata(&path).unwrap().ino();
    assert!(!remove_login(&Target::named(&path), "other").unwrap());
    assert_eq!(fs::metadata(&path).unwrap().ino(), before);
    assert!(remove_login(&Target::named(&path), "h").unwrap());
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
fn threads_that_log_in_at_once_lose_nothing() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("f");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let path = &path;
            scope.spawn(move || {
                for number in 0..10 {
                    let key = format!("h{thread}-{number}.example");
                    store_login(&Target::named(path), &key, &password("p")).unwrap();
                }
            });
        }
    });
    let file = loading::auth_file_as(&path, "f").unwrap().unwrap();
    assert_eq!(file.keys().len(), 80);
}

#[test]
fn the_list_is_changed_in_the_same_way() {
    let home = tempfile::tempdir().unwrap();
    let target = Target::default_file(&home.path().join(".config/orlop/remote.yaml"));
    let row = remote_yaml::Row { uri: "docker://h".to_owned(), insecure: false };
    assert!(!remove_rows(&target, "h").unwrap());
    assert!(!target.path.exists());
    store_row(&target, &row).unwrap();
    assert_eq!(loading::list_file(&target.path, "f").unwrap().unwrap().rows(), [row]);
    assert!(remove_rows(&target, "h").unwrap());
    assert!(loading::list_file(&target.path, "f").unwrap().unwrap().rows().is_empty());
}
