//! What is kept from the inside: rights, masked places, namespaces of its own.
//!
//! Rules: `contract.md` §8.3; `reliability.md`, rows on masks. Not here: binds ([`crate::places`]).

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::site::{Site, USER, for_everybody, stderr};

#[test]
fn an_ordinary_user_has_no_rights_and_can_gain_none() {
    let Some(site) = Site::ordinary() else { return };
    let status = site.sh(&[], "grep -E '^(Cap(Prm|Eff|Bnd)|NoNewPrivs)' /proc/self/status");
    for line in [
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(status.contains(line), "{line} in {status}");
    }
}

#[test]
fn further_namespaces_are_made() {
    for_everybody(|site| {
        assert_eq!(site.sh(&["hostname=box"], "hostname; cat /etc/hostname"), "box\nbox");
        let own = |name: &str| {
            fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string()
        };
        for (option, name) in [("ipc", "ipc"), ("net", "net")] {
            let inside = site.sh(&[option], &format!("readlink /proc/self/ns/{name}"));
            assert_ne!(inside, own(name), "{name}");
        }
        let inside = site.sh(&[], "readlink /proc/self/ns/net; readlink /proc/self/ns/cgroup");
        assert_eq!(inside, format!("{}\n{}", own("net"), own("cgroup")));
        assert!(site.sh(&["net"], "ip addr show lo").contains("UP"));
        assert_eq!(site.sh(&["dns=192.0.2.1"], "cat /etc/resolv.conf"), "nameserver 192.0.2.1");
    });
}

#[test]
fn what_is_masked_is_not_seen_by_any_path() {
    for_everybody(|site| {
        site.file("home/.cache/orlop/blob", "blob");
        let mask = |below: &str| format!("mask={}", site.path(below).display());
        let masks =
            [mask("home/.docker/config.json"), mask("home/.cache/orlop"), mask("home/none")];
        let binds = [
            format!("bind={}:/elsewhere", site.path("home").display()),
            format!("bind={}:/c.json", site.path("home/.docker/config.json").display()),
        ];
        let options: Vec<&str> = masks.iter().chain(&binds).map(String::as_str).collect();
        let script = "cat $HOME/.docker/config.json /elsewhere/.docker/config.json /c.json; ls $HOME/.cache/orlop; touch $HOME/.cache/orlop/x 2>&1 | grep -c Read-only";
        assert_eq!(site.sh(&options, script), "1");
        assert_eq!(site.sh(&[], "cat $HOME/.docker/config.json"), "{\"secret\":1}");
    });
}

#[test]
fn root_inside_cannot_take_a_mask_away() {
    let mask = |site: &Site| format!("mask={}", site.path("home/.docker/config.json").display());
    let script = "umount $HOME/.docker/config.json 2>/dev/null || umount -l $HOME/.docker/config.json \
                  2>/dev/null || echo kept; cat $HOME/.docker/config.json; id -u";
    let site = Site::new();
    assert_eq!(site.sh(&[&mask(&site)], script), format!("kept\n{}", nix::unistd::geteuid()));
    if let Some(site) = Site::ordinary() {
        // As root inside the home directory is where it was, for HOME is what the site says.
        assert_eq!(site.sh(&["fakeroot", &mask(&site)], script), "kept\n0");
        assert_eq!(site.sh(&["fakeroot"], "mount -t tmpfs t /tmp && echo own"), "own");
    }
}

#[test]
fn fakeroot_is_root_inside_and_the_caller_outside() {
    let Some(site) = Site::ordinary() else { return };
    assert_eq!(site.sh(&["fakeroot"], "id -u; touch new; stat -c %u new"), "0\n0");
    assert_eq!(fs::metadata(site.path("home/work/new")).unwrap().uid(), USER);
}

#[test]
fn where_user_namespaces_are_off_the_sysctl_is_named() {
    let Some(site) = Site::ordinary() else { return };
    // A user namespace whose own limit of further ones is 0.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\"";
    let client = site.command(&[], &["true"]);
    let mut command = Command::new("unshare");
    command.args(["-U", "-r", "sh", "-c", script]).arg(site.path("client"));
    command.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.current_dir(site.path("")).uid(USER).gid(USER).output().unwrap();
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    let text = stderr(&output);
    let wanted = "FATAL:   container creation failed: user namespaces are not allowed here: \
                  user.max_user_namespaces is 0";
    assert!(text.contains(wanted), "{text}");
}
