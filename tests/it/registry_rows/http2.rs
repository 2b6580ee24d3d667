//! R111: faults of HTTP/2.
//!
//! The registry speaks nothing else. Not here: floods and silence (`waits.rs`), the same faults of HTTP/1.1.

use super::stage::{IMAGE, Stage};
use orlop_kit::{Answer, Identity, Image, Registry, Step, layer};

const N: u64 = 500_000;
/// Error codes of RFC 9113, section 7.
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

pub(super) fn stage() -> Stage {
    let identity = Identity::new(&["127.0.0.1"]).http2();
    let registry = Registry::new().image(IMAGE, Image::two_layers()).tls(&identity).start();
    Stage::with(registry, identity)
}

pub(super) fn steps(steps: &[Step]) -> Answer {
    Answer::Steps(steps.to_vec())
}

#[test]
fn r111_streams_that_a_farewell_covers_finish_and_others_are_resumed() {
    let mut stage = stage();
    stage.begin(layer(1), [Answer::Whole]);
    stage.ok("nothing");
    assert_eq!(
        stage.registry.connections(),
        1 + 1,
        "one connection each: {}",
        stage.registry.log()
    );

    let covered = steps(&[Step::Head, Step::Body(N), Step::GoAway(true, NO_ERROR), Step::Rest]);
    stage.begin(layer(1), [covered]);
    stage.ok("covered");
    stage.ranges("covered", &layer(1), &[""]);

    let lost = steps(&[Step::Head, Step::Body(N), Step::GoAway(false, NO_ERROR), Step::Close]);
    stage.begin(layer(1), [lost, Answer::Whole]);
    stage.ok("not covered");
    let ranges = stage.registry.ranges(&layer(1));
    assert_eq!(ranges.len(), 2, "{}", stage.registry.log());
    assert!(ranges[1].starts_with("bytes="), "{}", stage.registry.log());
}

#[test]
fn r111_a_reset_stream_is_resumed_and_a_refused_one_is_no_try() {
    let mut stage = stage();
    let reset = steps(&[Step::Head, Step::Body(N), Step::Reset(INTERNAL_ERROR)]);
    stage.begin(layer(1), [reset, Answer::Whole]);
    stage.ok("INTERNAL_ERROR");
    assert_eq!(stage.registry.count(&layer(1)), 2, "{}", stage.registry.log());

    let failures = [503, 503, 503, 503].map(Answer::Status);
    let refused = steps(&[Step::Reset(REFUSED_STREAM)]);
    stage.begin(layer(1), [refused].into_iter().chain(failures).chain([Answer::Whole]));
    stage.ok("REFUSED_STREAM");
    stage.counts("REFUSED_STREAM", &layer(1), 6);
}
