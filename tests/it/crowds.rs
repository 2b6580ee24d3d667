//! Many clients on one daemon, slow and stopped ones, and what can be seen of them.

use crate::world::{bytes, json, site};
use orlop_kit::{Image, Registry, blobs, layer, tools, until_true};
use rustix::process::Signal;
use std::io::{Read as _, Write as _};

#[test]
fn f54_sixty_four_clients_cold_and_warm_download_each_blob_once_and_none_fails() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    let image = registry.docker("a:1");
    let clients = tools::rounds(64);
    for is_warm in [false, true] {
        let start = |number: u64| {
            let name = format!("{number}.sif");
            site.run(["pull", "--force", &name, &image]).start()
        };
        let running: Vec<_> = (0..clients).map(start).collect();
        for one in running {
            let outcome = one.outcome().success();
            // Each uses it, whoever asked for all.
            let said = outcome.stderr.matches("WARNING: using plain http for ").count();
            assert_eq!(said, 1, "{}", outcome.report());
        }
        let fetched = registry.count(&blobs());
        assert_eq!(fetched, if is_warm { 0 } else { 3 }, "{}", registry.log());
        assert_eq!(site.daemons().len(), 1);
        registry.forget();
    }
    let first = bytes(&site, "0.sif");
    assert!((1..clients).all(|number| bytes(&site, &format!("{number}.sif")) == first));
}

#[test]
fn f54_who_shares_a_download_alone_hears_of_plain_http_too() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    let image = registry.docker(&format!("a@{}", registry.tag("a:1").unwrap()));
    let held = registry.gate(layer(1));
    let running = [1, 2, 3].map(|number| {
        let one = site.run(["pull", &format!("{number}.sif"), &image]).start();
        until_true("it waits for the layer", || callers(&site) == number);
        one
    });
    held.open();
    for one in running {
        let outcome = one.outcome().success();
        let said = outcome.stderr.matches("WARNING: using plain http for ").count();
        assert_eq!(said, 1, "{}", outcome.report());
    }
    assert_eq!(registry.count(&blobs()), 3, "{}", registry.log());
}

/// Those that wait for the first flight.
fn callers(site: &orlop_kit::Site) -> u64 {
    json(site, &["status", "--json"])["flights"][0]["callers"].as_u64().unwrap_or(0)
}

#[test]
fn pulls_at_once_to_one_name_all_succeed_and_nothing_but_an_image_is_replaced() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    let image = registry.docker("a:1");
    let output = site.work().join("a.sif");
    let forget = || {
        site.orlop(["cache", "clean", "--force"]).success();
        std::fs::remove_file(&output).unwrap();
    };
    // As cwltool does, which starts two.
    let held = registry.gate(layer(1));
    let start = || site.run(["pull", "--name", "a.sif", &image]).start();
    let running = [start(), start(), start(), start()];
    until_true("all four wait", || callers(&site) == 4);
    held.open();
    for one in running {
        one.outcome().success();
    }
    assert_eq!(site.tree(&site.work()), ["a.sif"]);
    let whole = bytes(&site, "a.sif");
    forget();
    // What is the user's stays, though it came meanwhile.
    let puts: [&dyn Fn(); 3] = [
        &|| std::fs::write(&output, b"mine").unwrap(),
        &|| std::fs::write(&output, &whole[..8000]).unwrap(),
        &|| std::os::unix::fs::symlink("elsewhere.sif", &output).unwrap(),
    ];
    for (number, put) in puts.iter().enumerate() {
        let held = registry.gate(layer(1));
        let one = start();
        until_true("it waits", || callers(&site) == 1);
        put();
        let before = std::fs::read(&output).ok();
        held.open();
        if number == 1 {
            one.outcome().success();
            assert_eq!(bytes(&site, "a.sif"), whole, "an image, though a broken one");
        } else {
            one.outcome().fails(255).says("Image file already exists");
            assert_eq!(std::fs::read(&output).ok(), before);
        }
        assert_eq!(site.tree(&site.work()), ["a.sif"]);
        forget();
    }
}

#[test]
fn f22_f54_a_stopped_client_holds_nobody_up_and_goes_on() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    let image = registry.docker("a:1");
    let held = registry.gate(layer(1));
    let start = |name: &str| site.run(["pull", name, &image]).start();
    let (stopped, one, other) = (start("0.sif"), start("1.sif"), start("2.sif"));
    held.arrived(1);
    until_true("all three wait", || callers(&site) == 3);
    stopped.signal(Signal::STOP);
    held.open();
    one.outcome().success();
    other.outcome().success();
    stopped.signal(Signal::CONT);
    stopped.outcome().success();
    assert_eq!(registry.count(&blobs()), 3, "{}", registry.log());
}

#[test]
fn f54_a_small_pull_beside_a_large_one_does_not_wait_for_its_end() {
    let registry =
        Registry::new().image("large:1", Image::large(4)).image("small:1", Image::tiny()).start();
    let site = site(&registry);
    let held = registry.gate(layer(2));
    let large = site.run(["pull", "large.sif", &registry.docker("large:1")]).start();
    held.arrived(1);
    site.orlop(["pull", "small.sif", &registry.docker("small:1")]).success();
    held.open();
    large.outcome().success();
}

#[test]
fn status_is_watched_and_metrics_are_text_and_served_on_a_socket() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    let at = site.runtime().join("metrics.sock");
    let site = site.env("ORLOP_METRICS_SOCKET", &at);
    let none = site.orlop(["metrics"]).success();
    assert!(none.stdout.contains("orlop_up 0\n# EOF\n"), "{}", none.report());

    let image = registry.docker("a:1");
    let held = registry.gate(layer(1));
    let pull = site.run(["pull", "a.sif", &image]).start();
    held.arrived(1);
    let mut watch = site.run(["status", "--watch"]).start();
    let mut seen = Vec::new();
    until_true("the work is shown with its rate", || {
        seen.push(watch.line());
        seen.iter().any(|line| line.starts_with("Work:     sha256:") && line.ends_with("/s"))
    });
    for part in ["Clients:  ", "Cache:    ", "Fetched:  ", "Pulls:    1 asked for"] {
        assert!(seen.iter().any(|line| line.starts_with(part)), "{part}: {seen:?}");
    }
    watch.signal(Signal::INT);
    watch.outcome().fails(130);
    held.open();
    pull.outcome().success();

    let metrics = site.orlop(["metrics"]).success();
    for line in ["orlop_pulls_total 1\n", "orlop_layers_converted_total 2\n", "orlop_flights 0\n"] {
        assert!(metrics.stdout.contains(line), "{line}: {}", metrics.report());
    }
    assert!(metrics.stdout.ends_with("# EOF\n"), "{}", metrics.report());

    // Collectors that ask for nothing, and take as long as they may, hold nobody up.
    let connect = || std::os::unix::net::UnixStream::connect(&at).unwrap();
    let _slow: Vec<_> = (0..10).map(|_| connect()).collect();
    let mut socket = connect();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(4))).unwrap();
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: orlop\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("application/openmetrics-text"), "{answer}");
    assert!(answer.ends_with("# EOF\n"), "{answer}");
    site.orlop(["daemon", "stop"]).success();
    until_true("the socket goes with the daemon", || !at.exists());
}
