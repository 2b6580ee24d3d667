//! R75, R76, R112, R113, R115: what a limit of time ends.
//!
//! Times are scaled down by the limits in the environment. Not here: other faults of the same
//! sections.

use super::http2::{self, steps};
use super::stage::{Stage, fatal};
use crate::world::bare_site;
use orlop_kit::{
    Answer, Identity, Piece, Registry, Step, any, layer, own_network, ping, until_true,
};
use rustix::process::Signal;
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// The byte at which a transfer breaks.
const N: u64 = 500_000;

fn stage() -> Stage {
    Stage::new(Registry::new())
}

#[test]
fn r75_a_body_that_falls_silent_is_resumed() {
    let mut stage = stage();
    stage.begin(layer(1), [Answer::StallAfter(N), Answer::Whole]);
    stage.ok("silent");
    stage.ranges("silent", &layer(1), &["", "bytes=500000-"]);
}

#[test]
fn r76_a_body_that_drips_counts_as_silent() {
    let mut stage = stage();
    stage.begin(layer(1), [Answer::Drip(N, Duration::from_millis(50)), Answer::Whole]);
    stage.ok("dripping");
    let ranges = stage.registry.ranges(&layer(1));
    assert_eq!(ranges.len(), 2, "{}", stage.registry.log());
    let from = ranges[1].trim_start_matches("bytes=").trim_end_matches('-').parse::<u64>().unwrap();
    assert!((N..N + 100).contains(&from), "{ranges:?}");
}

#[test]
fn r112_a_body_that_never_comes_is_silence() {
    let mut stage = http2::stage();
    stage.begin(layer(1), [steps(&[Step::Head, Step::Silence]), Answer::Whole]);
    stage.ok("silence");
    stage.counts("silence", &layer(1), 2);
}

#[test]
fn r112_a_connection_that_has_died_is_left_for_another() {
    let mut stage = http2::stage().env("ORLOP_LIMITS_CONNECT_TIME", "300ms");
    stage.begin(layer(1), [steps(&[Step::Head, Step::Body(N), Step::Deafness]), Answer::Whole]);
    stage.ok("deaf");
    stage.counts("deaf", &layer(1), 2);
    let asked = stage.registry.of(&layer(1));
    assert_ne!(asked[0].connection, asked[1].connection, "{}", stage.registry.log());
}

#[test]
fn r112_floods_cost_no_memory_and_end() {
    let mut stage = http2::stage().env("ORLOP_LIMITS_HEADER_TIME", "300ms");
    for (variant, step, words) in [
        ("SETTINGS", Step::Settings(10_000), "no answer from"),
        ("PING", Step::Pings(10_000), "no answer from"),
        ("CONTINUATION", Step::Continuations(2_000), "the registry failed"),
    ] {
        stage.begin(layer(1), [Answer::Whole]);
        stage.ok(variant);
        let before = stage.peak();
        std::fs::remove_file(stage.site.work().join("a.sif")).unwrap();
        stage.site.orlop(["cache", "clean", "--force"]).success();
        stage.registry.forget();
        stage.registry.script(layer(1), [steps(&[step, Step::Silence])]);
        stage.fails(variant, words);
        // It gives memory back when it has nothing to do.
        let grown = stage.peak().saturating_sub(before);
        assert!(grown < 8 << 10, "{variant}: {grown} KiB");
    }
}

#[test]
fn r113_header_fields_that_never_end_are_no_answer() {
    let mut stage = stage().env("ORLOP_LIMITS_HEADER_TIME", "150ms");
    let slow = Piece::Slowly(
        b"HTTP/1.1 200 OK\r\nX: yyyyyyyyyyyyyyyyy".to_vec(),
        Duration::from_millis(50),
    );
    let early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".to_vec();
    let early = vec![Piece::Times(10_000, early), slow.clone()];
    for (variant, pieces) in [("slow", vec![slow]), ("10 000 times 103", early)] {
        stage.begin(layer(1), [Answer::Play(pieces)]);
        stage.fails(variant, "no answer from");
        stage.counts(variant, &layer(1), 5);
    }
}

#[test]
fn r115_silence_is_no_answer_and_an_interrupt_ends_it_at_once() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = silent.local_addr().unwrap().to_string();
    let site = bare_site()
        .env("ORLOP_LIMITS_BACKOFF", "10ms")
        .env("ORLOP_LIMITS_CONNECT_TIME", "150ms")
        // A host on loopback is asked by plain HTTP then, which connects.
        .env("ORLOP_LIMITS_HEADER_TIME", "50ms");
    let uri = format!("docker://{host}/t/two:1");
    let outcome = site.orlop(["pull", "a.sif", &uri]).fails(255);
    assert!(fatal(&outcome).contains("no answer from"), "{}", outcome.report());

    let stage = stage();
    let _gate = stage.registry.gate(any());
    let pull = stage.site.run(["pull", "a.sif", &stage.uri()]).start();
    until_true("the registry is asked", || stage.registry.count(&any()) > 0);
    let began = Instant::now();
    pull.signal(Signal::INT);
    pull.outcome().fails(130);
    // The registry would be waited for for minutes.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(stage.site.tree(&stage.site.work()).is_empty());
}

#[test]
fn r115_a_registry_that_never_answers_is_asked_five_times() {
    let hosts = "93.184.216.34 registry.example";
    own_network(&["93.184.216.34/32"], hosts, || {
        let identity = Identity::new(&["registry.example"]);
        let at = std::net::Ipv4Addr::new(93, 184, 216, 34);
        let registry = Registry::new().at(at).named("registry.example").tls(&identity).start();
        let _gate = registry.gate(any());
        let site = bare_site()
            .watch(&registry)
            .trust(&identity, &registry.host())
            .env("ORLOP_LIMITS_BACKOFF", "10ms")
            .env("ORLOP_LIMITS_HEADER_TIME", "150ms");
        let outcome = site.orlop(["pull", "a.sif", &registry.docker("t/two:1")]).fails(255);
        assert!(fatal(&outcome).contains("no answer from"), "{}", outcome.report());
        assert_eq!(registry.count(&ping()), 5, "{}", outcome.report());
    });
}
