//! The daemon's life: started once, found, stopped, replaced.

use crate::world::{bare_site, secure};
use orlop_kit::site::end;
use orlop_kit::{Image, Registry, Site, layer, tools, until_true};
use rustix::process::Signal;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;

/// Starts the daemon as any command that needs it would.
fn start(site: &Site) -> u32 {
    site.orlop(["cache", "list"]).success();
    let daemons = site.daemons();
    assert_eq!(daemons.len(), 1, "{daemons:?}");
    daemons[0]
}

fn socket(site: &Site) -> std::path::PathBuf {
    site.runtime().join("orlop/orlopd.sock")
}

#[test]
fn twenty_clients_at_once_start_one_daemon() {
    let site = bare_site();
    let running: Vec<_> = (0..20).map(|_| site.run(["cache", "list"]).start()).collect();
    for one in running {
        one.outcome().success();
    }
    assert_eq!(site.daemons().len(), 1);
}

#[test]
fn status_says_whether_it_runs_and_stop_stops_it() {
    let site = bare_site();
    let none = site.orlop(["status"]);
    assert!(
        none.stdout.contains("not running") || none.stderr.contains("No daemon"),
        "{}",
        none.report()
    );
    assert!(site.daemons().is_empty(), "status starts nothing");

    let pid = start(&site);
    let status = site.orlop(["status"]).success();
    for part in [format!("process {pid}"), socket(&site).display().to_string()] {
        assert!(status.stdout.contains(&part), "{part}: {}", status.report());
    }
    assert!(status.stdout.contains(&site.cache().display().to_string()), "{}", status.report());

    site.orlop(["daemon", "stop"]).success().says(&format!("Daemon {pid} has stopped"));
    assert!(site.daemons().is_empty() && !socket(&site).exists());
    site.orlop(["daemon", "stop"]).success().says("No daemon is running");
}

#[test]
fn a_stop_returns_when_the_work_under_way_is_done_and_the_daemon_has_ended() {
    let (registry, site) = secure(Registry::new().image("a:1", Image::two_layers()));
    let gate = registry.gate(layer(1));
    let pull = site.run(["pull", "a.sif", &registry.docker("a:1")]).start();
    gate.arrived(1);
    let mut stop = site.run(["daemon", "stop"]).start();
    until_true("the socket is gone", || !socket(&site).exists());
    assert!(!stop.ended() && !site.daemons().is_empty());
    gate.open();
    let outcome = stop.outcome().success();
    assert!(site.daemons().is_empty(), "{}", outcome.report());
    outcome.says(" stops when 1 call has ended").says(" has stopped");
    pull.outcome().success();
}

#[test]
fn the_socket_is_the_users_alone() {
    let site = bare_site();
    start(&site);
    let directory = site.runtime().join("orlop").metadata().unwrap();
    assert_eq!(directory.permissions().mode() & 0o777, 0o700);
    let file = socket(&site).metadata().unwrap();
    assert_eq!((file.permissions().mode() & 0o777, file.uid()), (0o600, site.person().uid));
}

#[test]
fn a_stale_socket_is_replaced() {
    let site = bare_site();
    let pid = start(&site);
    end(pid, Signal::KILL);
    assert!(socket(&site).exists(), "a killed daemon leaves its socket");
    assert_ne!(start(&site), pid);
}

#[test]
fn a_socket_that_another_user_serves_is_refused() {
    let site = bare_site();
    if site.person() == orlop_kit::Person::own() {
        return tools::skip("only root can serve for another user");
    }
    start(&site);
    site.stop();
    let _stale = std::fs::remove_file(socket(&site));
    let _listener = UnixListener::bind(socket(&site)).unwrap();
    std::fs::set_permissions(socket(&site), std::fs::Permissions::from_mode(0o666)).unwrap();
    let outcome = site.orlop(["cache", "list"]).fails(255);
    assert!(outcome.stderr.contains("user 0"), "{}", outcome.report());
}

#[test]
fn an_idle_daemon_ends_by_itself() {
    let site = bare_site().env("ORLOP_IDLE_EXIT", "1");
    start(&site);
    until_true("the idle daemon ends", || site.daemons().is_empty());
    assert!(!socket(&site).exists());
}

#[test]
fn sigterm_ends_it_and_removes_the_socket() {
    let site = bare_site();
    end(start(&site), Signal::TERM);
    assert!(!socket(&site).exists());
}

#[test]
fn without_a_runtime_directory_a_private_one_is_used() {
    let site = bare_site();
    let outcome = site.run(["cache", "list"]).no_env("XDG_RUNTIME_DIR").outcome().success();
    let made = site.temp().join(format!("orlop-{}", site.person().uid));
    let found = made.symlink_metadata().unwrap_or_else(|e| panic!("{e}: {}", outcome.report()));
    assert!(found.is_dir() && found.permissions().mode() & 0o777 == 0o700);
}

#[test]
fn two_caches_have_two_daemons() {
    let site = bare_site();
    start(&site);
    let other = site.home().join("other-cache");
    site.run(["cache", "list"]).env("ORLOP_CACHEDIR", &other).outcome().success();
    assert_eq!(site.daemons().len(), 2);
}

#[test]
fn a_socket_that_the_service_manager_holds_starts_the_daemon_and_outlives_it() {
    let Some([activate]) = tools::all(["systemd-socket-activate"]) else { return };
    let site = bare_site();
    site.orlop(["status"]).success(); // makes the socket's directory
    let (at, daemon) = (socket(&site), site.programs().orlopd.clone());
    let words = ["-l".as_ref(), at.as_os_str(), daemon.as_os_str()];
    let manager = site.program(&activate, words).start();
    until_true("the manager listens", || at.exists());

    site.orlop(["cache", "list"]).success();

    let status = site.orlop(["status"]).success();
    assert!(status.stdout.contains("started by systemd"), "{}", status.report());
    assert_eq!(site.daemons(), [manager.pid()], "the manager became the daemon");
    site.orlop(["daemon", "stop"]).success();
    assert!(site.daemons().is_empty());
    assert!(at.exists(), "the socket is the manager's to remove");
}
