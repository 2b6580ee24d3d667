//! Logins at once: none may be lost, whichever file they go to.

use crate::world::site;
use orlop_kit::{Auth, Registry, Site};

/// Logins at once; a loopback address each.
const LOGINS: u8 = 200;

fn registry() -> Registry {
    let auth = Auth::Basic { user: "u".into(), secret: "s".into() };
    Registry::new().auth(auth).addresses(LOGINS).start()
}

/// Starts a login to each address, waits for all, and returns the hosts.
fn log_in_everywhere(site: &Site, registry: &Registry, extra: &[&str]) -> Vec<String> {
    let hosts = registry.hosts();
    let uris: Vec<String> = hosts.iter().map(|host| format!("docker://{host}")).collect();
    let start = |uri: &String| {
        let mut words = vec!["registry", "login", "-u", "u", "--password-stdin"];
        words.extend(extra);
        words.push(uri);
        site.run(words).input("s").start()
    };
    let running: Vec<_> = uris.iter().map(start).collect();
    for one in running {
        one.outcome().success();
    }
    hosts
}

fn assert_all_kept(text: &str, hosts: &[String]) {
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    let lost: Vec<&String> =
        hosts.iter().filter(|host| json["auths"][host.as_str()]["auth"].is_null()).collect();
    assert_eq!(hosts.len(), usize::from(LOGINS));
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), hosts.len());
}

#[test]
fn two_hundred_logins_into_one_authfile_lose_none() {
    let registry = registry();
    let site = site(&registry);
    let hosts = log_in_everywhere(&site, &registry, &["--authfile", "shared.json"]);
    let text = std::fs::read_to_string(site.work().join("shared.json")).unwrap();
    assert_all_kept(&text, &hosts);
    assert_eq!(site.tree(&site.work()).iter().filter(|name| name.contains("tmp")).count(), 0);
}

#[test]
fn two_hundred_logins_into_the_default_files_lose_none() {
    let registry = registry();
    let site = site(&registry);
    let hosts = log_in_everywhere(&site, &registry, &[]);
    assert_all_kept(&site.read_home(".docker/config.json").unwrap(), &hosts);
    let list = site.orlop(["registry", "list"]).success();
    let rows = list.stdout.lines().filter(|line| line.starts_with("docker://")).count();
    assert_eq!(rows, usize::from(LOGINS), "{}", list.report());
    assert_eq!(site.daemons().len(), 1);
}
