//! What is mounted where for which wishes; nothing is mounted. Rules: `contract.md` §8.4.

use super::*;
use crate::binds::Bind;
use crate::environment::tests::wanted as ordinary;
use crate::wanted::{Home, Namespaces, NoMount};

/// Places in order, for comparing: what fills them in one word.
fn places(plan: &Plan) -> Vec<String> {
    plan.steps
        .iter()
        .map(|step| match step {
            Step::Proc => "proc".to_owned(),
            Step::Bind { source, at, .. } if source == at => format!("bind {}", at.display()),
            Step::Bind { source, at, .. } => format!("bind {} {}", source.display(), at.display()),
            Step::Fresh { at, mode } => format!("fresh {} {mode:o}", at.display()),
            Step::HostDirectory { path, mode } => format!("make {} {mode:o}", path.display()),
            Step::Devices { .. } => "devices".to_owned(),
            Step::Accounts => "accounts".to_owned(),
            Step::File { at, .. } => format!("file {}", at.display()),
            Step::Cwd { at } => format!("cwd {}", at.display()),
            Step::LogicalCwd { at, to } => format!("link {} {}", at.display(), to.display()),
            Step::Mask { path } => format!("mask {}", path.display()),
        })
        .collect()
}

fn planned(change: impl FnOnce(&mut Wanted)) -> Plan {
    let mut wanted = ordinary(&[]);
    change(&mut wanted);
    plan(&wanted, &Host::default())
}

fn bind(source: &str, at: &str) -> Bind {
    Bind { source: source.into(), at: at.into(), read_only: false }
}

#[test]
fn an_ordinary_container_shows_home_tmp_and_the_callers_directory() {
    let plan = planned(|wanted| wanted.masks = vec!["/home/u/.docker/config.json".into()]);
    assert_eq!(
        places(&plan),
        [
            "bind /proc",
            "bind /sys",
            "bind /dev",
            "bind /etc/localtime",
            "bind /etc/hosts",
            "bind /tmp",
            "bind /var/tmp",
            "bind /home/u",
            "accounts",
            "bind /etc/resolv.conf",
            "cwd /home/u/work",
            "mask /home/u/.docker/config.json",
        ]
    );
    assert_eq!(plan.directory, Directory::Try("/home/u/work".into()));
}

#[test]
fn a_contained_container_has_its_own() {
    let plan = planned(|wanted| {
        wanted.contain = true;
        wanted.namespaces = Namespaces { pid: true, ..Namespaces::default() };
    });
    assert_eq!(
        places(&plan),
        [
            "proc",
            "bind /sys",
            "devices",
            "bind /etc/localtime",
            "bind /etc/hosts",
            "fresh /tmp 1777",
            "fresh /var/tmp 1777",
            "fresh /home/u 700",
            "accounts",
            "bind /etc/resolv.conf",
        ]
    );
    assert_eq!(plan.directory, Directory::Try("/home/u".into()));
}

#[test]
fn a_workdir_stands_behind_what_is_contained() {
    let places = places(&planned(|wanted| {
        wanted.contain = true;
        wanted.workdir = Some("/w".into());
        wanted.scratch = vec!["/s/1".into()];
    }));
    for place in [
        "make /w/tmp 1777",
        "bind /w/tmp /tmp",
        "make /w/var_tmp 1777",
        "bind /w/var_tmp /var/tmp",
        "make /w/home 700",
        "bind /w/home /home/u",
        "make /w/scratch/s/1 750",
        "bind /w/scratch/s/1 /s/1",
    ] {
        assert!(places.iter().any(|found| found == place), "{place} in {places:?}");
    }
}

#[test]
fn a_users_bind_takes_the_place_of_what_is_there_by_default_and_comes_after_tmp() {
    let plan = planned(|wanted| {
        wanted.binds = vec![
            bind("/a", "/tmp"),
            bind("/b", "/var/tmp/b"),
            bind("/c", "/tmp"),
            bind("/r", "/etc/resolv.conf"),
        ];
    });
    let places = places(&plan);
    assert!(!places.contains(&"bind /tmp".to_owned()));
    assert!(!places.contains(&"bind /etc/resolv.conf".to_owned()));
    let at = |text: &str| places.iter().position(|place| place == text).unwrap();
    assert!(at("bind /var/tmp") < at("bind /b /var/tmp/b"));
    assert_eq!(
        plan.notices,
        [Notice::Warning(
            "While bind mounting '/c:/tmp': destination is already in the mount point list".into()
        )]
    );
}

#[test]
fn no_mount_leaves_out_what_it_names() {
    let words =
        ["proc", "sys", "dev", "home", "tmp", "cwd", "/etc/hosts", "nosuch"].map(str::to_owned);
    let (no_mount, unknown) = NoMount::parse(&words);
    assert_eq!(unknown, ["nosuch"]);
    let plan = planned(|wanted| wanted.no_mount = no_mount);
    assert_eq!(places(&plan), ["bind /etc/localtime", "accounts", "bind /etc/resolv.conf"]);
}

#[test]
fn without_home_the_callers_directory_is_bound_all_the_same() {
    let places = places(&planned(|wanted| wanted.home.shown = false));
    assert!(!places.contains(&"bind /home/u".to_owned()));
    assert!(places.contains(&"cwd /home/u/work".to_owned()));
}

#[test]
fn a_named_home_is_shown_even_when_contained() {
    let places = places(&planned(|wanted| {
        wanted.contain = true;
        wanted.home = Home { at: "/h".into(), source: "/data/h".into(), named: true, shown: true };
    }));
    assert!(places.contains(&"bind /data/h /h".to_owned()));
}

#[test]
fn the_root_directory_is_no_home() {
    let plan = planned(|wanted| {
        wanted.home = Home { at: "/".into(), source: "/".into(), named: false, shown: true };
    });
    assert!(!places(&plan).contains(&"bind /".to_owned()));
    assert_eq!(plan.notices.len(), 1);
}

#[test]
fn directories_of_the_system_are_the_containers_own() {
    for own in ["/", "/etc", "/usr", "/var", "/proc/1", "/dev/shm", "/sys/x"] {
        let places = places(&planned(|wanted| wanted.caller.cwd = own.into()));
        assert!(!places.iter().any(|place| place.starts_with("cwd ")), "{own}");
    }
    let places = places(&planned(|wanted| wanted.caller.cwd = "/var/lib/dpkg".into()));
    assert!(places.contains(&"cwd /var/lib/dpkg".to_owned()));
}

#[test]
fn the_other_name_of_the_callers_directory_leads_to_it() {
    let places = places(&planned(|wanted| wanted.caller.logical_cwd = Some("/link/work".into())));
    assert!(places.contains(&"link /link/work /home/u/work".to_owned()));
}

#[test]
fn a_directory_that_is_named_must_be_there() {
    let plan = planned(|wanted| wanted.cwd = Some("/opt/x".into()));
    assert_eq!(plan.directory, Directory::Must("/opt/x".into()));
    assert!(!places(&plan).iter().any(|place| place.starts_with("cwd ")));
}

#[test]
fn names_and_networks_of_its_own_come_with_their_files() {
    let places = places(&planned(|wanted| {
        wanted.namespaces = Namespaces { uts: true, net: true, ..Namespaces::default() };
        wanted.hostname = Some("box".into());
        wanted.dns = vec!["192.0.2.1".into()];
    }));
    for place in ["file /etc/resolv.conf", "file /etc/hosts", "file /etc/hostname"] {
        assert!(places.iter().any(|found| found == place), "{place} in {places:?}");
    }
    assert!(!places.contains(&"bind /etc/hosts".to_owned()));
}
