//! Logins and logouts at once, every tenth of them killed: none that was acknowledged may be lost.
//!
//! Rows S20 and S21. The file is read all the while: every version of it must parse.

use crate::world::{basic, site};
use orlop_kit::site::{Run, Running};
use orlop_kit::{Registry, Site, until_true};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Processes at once.
const PROCESSES: u8 = 200;
/// One of so many is killed.
const KILLED: usize = 10;

/// Every process's end: acknowledged, or killed.
fn storm(mut running: Vec<Running<'_>>) -> Vec<bool> {
    let count = running.len();
    let mut victims: Vec<usize> = (0..count).filter(|index| index % KILLED == 9).collect();
    let all = victims.len();
    until_true("all have ended", || {
        let ended = running.iter_mut().filter_map(|one| one.ended().then_some(())).count();
        // One after the other while the rest comes to its end.
        while let Some(&victim) = victims.first() {
            if ended < (all - victims.len()) * count / all / 2 {
                break;
            }
            victims.remove(0);
            if !running[victim].ended() {
                running[victim].signal(Signal::KILL);
            }
        }
        ended == count
    });
    let outcomes = running.into_iter().map(Running::outcome);
    let ends = outcomes.map(|outcome| match outcome.status {
        0 => true,
        137 => false,
        _ => panic!("neither done nor killed: {}", outcome.report()),
    });
    ends.collect()
}

/// Reads a file again and again until it is told to stop.
struct Watched {
    stop: Arc<AtomicBool>,
    reader: JoinHandle<usize>,
}

impl Watched {
    fn start(path: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let reader = std::thread::Builder::new().spawn(move || {
            let (mut last, mut versions) = (Vec::new(), 0);
            while !stopped.load(Ordering::SeqCst) {
                if let Ok(bytes) = std::fs::read(&path)
                    && bytes != last
                {
                    let parsed = serde_json::from_slice::<serde_json::Value>(&bytes);
                    assert!(parsed.is_ok(), "{}", String::from_utf8_lossy(&bytes));
                    versions += 1;
                    last = bytes;
                }
                let pause = rustix::event::Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
                let _woken = rustix::event::poll(&mut [], Some(&pause));
            }
            versions
        });
        Self { stop, reader: reader.expect("threads can be started") }
    }

    /// How many versions there were; each parsed.
    fn versions(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.reader.join().expect("every version parses")
    }
}

fn login<'a>(site: &'a Site, host: &str, extra: &[&str]) -> Run<'a> {
    let uri = format!("docker://{host}");
    let words = [&["registry", "login", "-u", "u", "--password-stdin"], extra, &[&uri]].concat();
    site.run(words).input("s3cret")
}

fn logout<'a>(site: &'a Site, host: &str, extra: &[&str]) -> Run<'a> {
    let uri = format!("docker://{host}");
    site.run([&["registry", "logout"], extra, &[&uri]].concat())
}

fn hosts_in(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let auths = json["auths"].as_object().unwrap();
    auths.iter().filter(|(_, it)| it["auth"].is_string()).map(|(host, _)| host.clone()).collect()
}

/// 200 logins of a host each into one file.
fn logins(extra: &[&str], file: impl Fn(&Site) -> PathBuf) -> (Registry, Site) {
    let registry = Registry::new().auth(basic()).addresses(PROCESSES).start();
    let site = site(&registry);
    let hosts = registry.hosts();
    let watched = Watched::start(file(&site));
    let running = hosts.iter().map(|host| login(&site, host, extra).start()).collect();
    let ends = storm(running);
    let acknowledged = ends.iter().filter(|end| **end).count();
    assert!(acknowledged >= 180 && watched.versions() > 10, "{acknowledged} are acknowledged");
    let kept = hosts_in(&file(&site));
    let lost: Vec<&String> = hosts
        .iter()
        .zip(&ends)
        .filter(|(host, end)| **end && !kept.contains(host))
        .map(|(host, _)| host)
        .collect();
    assert!(lost.is_empty(), "{} of {acknowledged} are lost: {lost:?}", lost.len());
    // The next login clears away what the killed ones left.
    login(&site, &hosts[0], extra).outcome().success();
    let names = site.tree(file(&site).parent().unwrap());
    let alone = names.iter().filter(|name| !name.ends_with('/')).count();
    assert_eq!(alone, 1, "{names:?}");
    (registry, site)
}

#[test]
fn s20_two_hundred_logins_into_one_authfile_lose_none_though_every_tenth_is_killed() {
    logins(&["--authfile", "shared.json"], |site| site.work().join("shared.json"));
}

#[test]
fn s20_two_hundred_logins_into_the_default_files_lose_none_though_every_tenth_is_killed() {
    let (_registry, site) = logins(&[], |site| site.home().join(".docker/config.json"));
    let kept = hosts_in(&site.home().join(".docker/config.json")).len();
    let list = site.orlop(["registry", "list"]).success();
    let rows = list.stdout.lines().filter(|line| line.starts_with("docker://")).count();
    assert_eq!(rows, kept, "{}", list.report());
    assert_eq!(site.daemons().len(), 1);
}

/// A hundred logins and a hundred logouts at once; `dress` says where each runs.
fn both_ways<'a>(
    site: &'a Site,
    registry: &Registry,
    extra: &[&str],
    file: &Path,
    dress: impl Fn(usize, Run<'a>) -> Run<'a>,
) {
    let new = registry.hosts();
    let old: Vec<String> = (0..new.len()).map(|number| format!("old{number}.example")).collect();
    let watched = Watched::start(file.to_owned());
    let pairs = new.iter().zip(&old).enumerate();
    let running = pairs.flat_map(|(number, (new, old))| {
        [dress(number, login(site, new, extra)), dress(number, logout(site, old, extra))]
            .map(Run::start)
    });
    let ends = storm(running.collect());
    assert!(watched.versions() > 10);
    let kept = hosts_in(file);
    for (pair, (new, old)) in ends.chunks(2).zip(new.iter().zip(&old)) {
        assert!(!pair[0] || kept.contains(new), "the login to {new} is lost");
        assert!(!pair[1] || !kept.contains(old), "the logout from {old} is lost");
    }
}

/// A file with a hundred logins that are to go.
fn old_logins() -> String {
    let entries: Vec<String> =
        (0..100).map(|number| format!(r#""old{number}.example":{{"auth":"dTpw"}}"#)).collect();
    format!(r#"{{"auths":{{{}}}}}"#, entries.join(","))
}

#[test]
fn s20_a_hundred_logins_and_a_hundred_logouts_at_once_lose_none() {
    let registry = Registry::new().auth(basic()).addresses(PROCESSES / 2).start();
    let site = site(&registry);
    site.write_work("shared.json", old_logins().as_bytes());
    let file = site.work().join("shared.json");
    both_ways(&site, &registry, &["--authfile", "shared.json"], &file, |_, run| run);
}

#[test]
fn s21_two_daemons_on_one_directory_lose_none() {
    let registry = Registry::new().auth(basic()).addresses(PROCESSES / 2).start();
    let site = site(&registry);
    site.write_home(".docker/config.json", old_logins().as_bytes());
    // Another node: the same home, a runtime directory of its own.
    let other = site.root().join("other-run");
    std::fs::create_dir(&other).unwrap();
    std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    site.person().give(&other);
    site.orlop(["registry", "list"]).success();
    let there = site.run(["registry", "list"]).env("XDG_RUNTIME_DIR", &other);
    there.outcome().success();
    assert_eq!(site.daemons().len(), 2);
    let file = site.home().join(".docker/config.json");
    both_ways(&site, &registry, &[], &file, |number, run| {
        if number % 2 == 0 { run } else { run.env("XDG_RUNTIME_DIR", &other) }
    });
}

#[test]
fn s20_what_helpers_are_given_and_logins_at_once_lose_none() {
    let registry = Registry::new().auth(basic()).addresses(30).start();
    let site = site(&registry);
    let hosts = registry.hosts();
    let file = site.home().join(".docker/config.json");
    let watched = Watched::start(file.clone());
    // The link is made once.
    site.run_as("docker-credential-orlop", ["version"]).outcome().success();
    let running = hosts.iter().flat_map(|host| {
        let key = format!("helper.{host}");
        let request =
            serde_json::json!({ "ServerURL": key, "Username": "u", "Secret": "p" }).to_string();
        let store = site.run_as("docker-credential-orlop", ["store"]).input(request);
        [login(&site, host, &[]).start(), store.start()]
    });
    let ends = storm(running.collect());
    watched.versions();
    let kept = hosts_in(&file);
    for (pair, host) in ends.chunks(2).zip(&hosts) {
        assert!(!pair[0] || kept.contains(host), "the login to {host} is lost");
        assert!(!pair[1] || kept.contains(&format!("helper.{host}")), "{host}'s other is lost");
    }
}
