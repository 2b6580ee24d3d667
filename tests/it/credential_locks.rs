//! The lock of a credential file: held, left behind, somebody else's, and unknown to docker.
//!
//! Rows S16, S18 and S19. Not here: many logins at once (`many_logins`).

use crate::world::{AUTH, SECRET, basic, bearer, log_in, site, stored_secret};
use orlop_kit::{Image, Registry, Site, person::Person};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Instant;

const CONFIG: &str = ".docker/config.json";

/// A registry where everybody may pull and a login is proven.
fn public() -> (Registry, Site) {
    let registry = Registry::new().auth(bearer(true)).start();
    let site = site(&registry);
    (registry, site)
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn s16_a_file_that_is_replaced_before_the_lock_is_read_again() {
    let (registry, site) = public();
    site.write_work("shared.json", b"{}");
    let lock = held(&site, &site.work().join("shared.json.lock"));
    let uri = format!("docker://{}", registry.host());
    let words = ["registry", "login", "-u", "u", "--password-stdin", "--authfile", "shared.json"];
    let running = site.run(words.into_iter().chain([uri.as_str()])).input(SECRET).start();
    waits_for(&site.work().join("shared.json.lock"), running.pid());
    // Docker knows no lock.
    site.write_work("new.json", br#"{"auths":{"docker.example":{"auth":"dTpw"}}}"#);
    let [new, old] = ["new.json", "shared.json"].map(|name| site.work().join(name));
    rustix::fs::rename(new, &old).unwrap();
    drop(lock);
    running.outcome().success();
    let text = std::fs::read_to_string(&old).unwrap();
    assert!(stored_secret(&text, &registry.host()).is_some(), "{text}");
    assert!(stored_secret(&text, "docker.example").is_some(), "{text}");
}

/// Holds the lock of a credential file as another process of the user would.
fn held(site: &Site, path: &Path) -> std::fs::File {
    let file = std::fs::File::create(path).unwrap();
    site.person().give(path);
    set_mode(path, 0o600);
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    file
}

/// Waits until a process has the lock file open: it waits for the lock then.
fn waits_for(lock: &Path, pid: u32) {
    orlop_kit::until_true("the login waits for the lock", || {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|path| path == lock)
    });
}

#[test]
fn s18_a_lock_that_is_never_let_go_is_named_with_its_holder_and_a_pull_needs_none() {
    let registry = Registry::new().auth(basic()).image("a:1", Image::tiny()).start();
    let site = site(&registry);
    let login = format!(r#"{{"auths":{{"{}":{{"auth":"{AUTH}"}}}}}}"#, registry.host());
    site.write_work("shared.json", login.as_bytes());
    let path = site.work().join("shared.json");
    let facts = || (path.metadata().unwrap().ino(), std::fs::read_to_string(&path).unwrap());
    let before = facts();
    let lock = held(&site, &site.work().join("shared.json.lock"));
    let image = registry.docker("a:1");
    site.orlop(["pull", "--authfile", "shared.json", "a.sif", &image]).success();
    let site = site.env("ORLOP_LIMITS_LOCK_TIME", "300ms");
    let began = Instant::now();
    let outcome = log_in(&site, &registry, &["--authfile", "shared.json"]).fails(255);
    let said = format!(
        "shared.json.lock is locked by process {}",
        rustix::process::getpid().as_raw_nonzero()
    );
    assert!(outcome.stderr.contains(&said), "{}", outcome.report());
    assert!((300..2000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(facts(), before);
    drop(lock);

    // The daemon keeps to it too, in the default file.
    site.write_home(CONFIG, b"{}");
    let lock = held(&site, &site.home().join(".docker/config.json.lock"));
    let began = Instant::now();
    log_in(&site, &registry, &[]).fails(255).says("config.json.lock is locked by process");
    assert!((300..2000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(site.read_home(CONFIG).unwrap(), "{}");
    drop(lock);
}

#[test]
fn s19_a_lock_file_that_nobody_holds_is_taken_unless_it_is_somebody_elses() {
    let (registry, site) = public();
    let lock = site.home().join(".docker/config.json.lock");
    for mode in [0o600, 0o000] {
        site.write_home(".docker/config.json.lock", b"");
        set_mode(&lock, mode);
        log_in(&site, &registry, &[]).success();
        assert!(!lock.exists(), "{mode:o}");
    }
    let Some(other) = Person::other() else { return };
    let before = site.read_home(CONFIG);
    std::fs::write(&lock, b"").unwrap();
    other.give(&lock);
    log_in(&site, &registry, &[]).fails(255).says("config.json.lock");
    assert_eq!(site.read_home(CONFIG), before);
}
