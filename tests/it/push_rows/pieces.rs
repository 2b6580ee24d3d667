//! Files that go in pieces.

use super::{PIECE, assert_uploaded, in_pieces, pieces, refused, says, sent, sif, size};
use super::{stage, starts, uploaded};
use crate::world::{bare_site, bytes};
use orlop_kit::upload;
use orlop_kit::{Answer, Auth, RealRegistry, Registry, Upload, blobs, head_blobs, until_true};
use rustix::process::Signal;

#[test]
fn a_large_file_goes_in_pieces_and_a_small_one_whole() {
    let (registry, site) = in_pieces(Registry::new());
    uploaded(&registry, &site);
    let count = size().div_ceil(PIECE);
    let expected: Vec<u64> = (0..count).map(|number| number * PIECE).collect();
    assert_eq!(starts(&registry), expected);
    assert_eq!(pieces(&registry)[0], format!("0-{}", PIECE - 1));
    let lengths: u64 = sent(&registry).iter().map(|one| one.body_len).sum();
    assert_eq!(lengths, size());

    let (registry, site) = stage(Registry::new());
    uploaded(&registry, &site);
    assert_eq!(registry.count(&upload(Upload::Piece)), 0);
}

#[test]
fn r122_a_session_that_is_gone_is_followed_by_a_new_one_from_the_first_byte() {
    let gone = || Answer::Unheard(Box::new(says(404, "BLOB_UPLOAD_UNKNOWN")));
    let (registry, site) = in_pieces(
        Registry::new()
            .answer(upload(Upload::Piece), [Answer::Whole, Answer::Whole, gone(), Answer::Whole]),
    );
    uploaded(&registry, &site);
    let starts = starts(&registry);
    assert_eq!(starts[..5], [0, PIECE, 2 * PIECE, 0, PIECE], "{}", registry.log());

    let (registry, site) = in_pieces(Registry::new().answer(upload(Upload::Piece), [gone()]));
    refused(&registry, &site, "the transfer broke off");
    assert_eq!(registry.count(&upload(Upload::Piece)), 5, "{}", registry.log());
}

#[test]
fn r123_a_piece_that_came_in_part_is_gone_on_with() {
    let answers = [Answer::Whole, Answer::Only(1000, Box::new(Answer::Whole)), Answer::Whole];
    let (registry, site) = in_pieces(Registry::new().answer(upload(Upload::Piece), answers));
    uploaded(&registry, &site);
    let all = starts(&registry);
    assert_eq!(all[..4], [0, PIECE, PIECE + 1000, 2 * PIECE + 1000], "{}", registry.log());
    assert_eq!(registry.count(&upload(Upload::Start)), 2, "{}", registry.log());

    // More than was sent: what it has is somebody else's.
    let more = Answer::Edit(vec![("Range", Some(format!("0-{}", 5 * PIECE)))]);
    let answers = [Answer::Whole, more, Answer::Whole];
    let (registry, site) = in_pieces(Registry::new().answer(upload(Upload::Piece), answers));
    uploaded(&registry, &site);
    assert_eq!(starts(&registry)[..3], [0, PIECE, 0], "{}", registry.log());

    // 416: the registry is asked what it has.
    let part = Answer::Only(1000, Box::new(Answer::Status(416)));
    let answers = [Answer::Whole, part, Answer::Whole];
    let (registry, site) = in_pieces(Registry::new().answer(upload(Upload::Piece), answers));
    uploaded(&registry, &site);
    assert_eq!(starts(&registry)[..3], [0, PIECE, PIECE + 1000], "{}", registry.log());
    assert_eq!(registry.count(&upload(Upload::Status)), 1);
}

#[test]
fn r123_an_empty_session_that_says_0_0_is_begun_at_its_first_byte() {
    let nothing = Answer::Only(0, Box::new(Answer::Close));
    let answers = [nothing, Answer::Whole];
    let (registry, site) = in_pieces(Registry::new().answer(upload(Upload::Piece), answers));
    uploaded(&registry, &site);
    assert_eq!(starts(&registry)[..3], [0, 0, PIECE], "{}", registry.log());
}

#[test]
fn a_piece_that_broke_on_its_way_goes_on_where_it_broke() {
    for after in [Answer::Close, Answer::Status(503), Answer::Status(500)] {
        let cut = Answer::Only(1000, Box::new(after.clone()));
        let answers = [Answer::Whole, cut, Answer::Whole];
        let (registry, site) = in_pieces(Registry::new().answer(upload(Upload::Piece), answers));
        uploaded(&registry, &site);
        let all = starts(&registry);
        assert_eq!(all[..3], [0, PIECE, PIECE + 1000], "{after:?}\n{}", registry.log());
    }
}

#[test]
fn r124_a_piece_answered_as_if_it_were_the_end_is_looked_for_and_sent_whole() {
    let created = || Answer::With(201, Vec::new(), Vec::new());
    let (registry, site) = in_pieces(Registry::new().answer(upload(Upload::Piece), [created()]));
    uploaded(&registry, &site);
    assert_eq!(registry.count(&upload(Upload::Piece)), 1, "{}", registry.log());
    let whole = sent(&registry).into_iter().filter(|one| one.method == "PUT");
    assert_eq!(whole.map(|one| one.body_len).collect::<Vec<_>>(), [size()]);

    // It is there indeed.
    let there = Answer::With(200, Vec::new(), sif().to_vec());
    let (registry, site) = in_pieces(
        Registry::new()
            .answer(upload(Upload::Piece), [created()])
            .answer(head_blobs(), [Answer::Whole, Answer::Whole, there]),
    );
    site.orlop(["push", "a.sif", &registry.oras("s/a:1")]).success();
    assert_eq!(sent(&registry).len(), 1, "{}", registry.log());
}

#[test]
fn a_registry_that_takes_no_pieces_gets_the_file_whole() {
    for status in [400, 405, 413, 501] {
        let answer = Answer::Unheard(Box::new(Answer::Status(status)));
        let (registry, site) = in_pieces(Registry::new().answer(upload(Upload::Piece), [answer]));
        uploaded(&registry, &site);
        assert_eq!(registry.count(&upload(Upload::Piece)), 1, "{status}\n{}", registry.log());
    }
}

#[test]
fn r129_a_token_that_ends_between_pieces_is_renewed_in_the_same_session() {
    let auth = Auth::Bearer { user: "u".into(), secret: "s".into(), anonymous_pull: false };
    let (registry, site) = in_pieces(Registry::new().auth(auth));
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"kit\"", registry.host());
    let expired = Answer::With(401, vec![("WWW-Authenticate", realm)], Vec::new());
    let answers = [Answer::Whole, Answer::Unheard(Box::new(expired)), Answer::Whole];
    registry.script(upload(Upload::Piece), answers);
    let uri = registry.oras("s/a:1");
    let words = ["push", "--docker-username", "u", "--docker-password", "s", "a.sif", &uri];
    site.orlop(words).success();
    assert_uploaded(&registry);
    assert_eq!(starts(&registry)[..4], [0, PIECE, PIECE, 2 * PIECE], "{}", registry.log());
    assert_eq!(registry.count(&upload(Upload::Start)), 2, "{}", registry.log());
    assert_eq!(registry.count(&orlop_kit::token()), 2, "{}", registry.log());
}

#[test]
fn r130_the_least_length_of_pieces_is_kept_to() {
    let least = |value: &str| {
        Answer::Also(vec![("OCI-Chunk-Min-Length", value.to_owned())], Box::new(Answer::Whole))
    };
    for (value, first) in [
        ("100000", Some(99_999)),
        ("10", Some(PIECE - 1)),
        ("0", Some(PIECE - 1)),
        ("-1", Some(PIECE - 1)),
        ("x", Some(PIECE - 1)),
        // Not one piece is as long as that.
        ("1073741824", None),
        ("4294967297", None),
        ("18446744073709551616", Some(PIECE - 1)),
    ] {
        let (registry, site) =
            in_pieces(Registry::new().answer(upload(Upload::Start), [least(value)]));
        uploaded(&registry, &site);
        let expected = first.map(|last| format!("0-{last}"));
        assert_eq!(pieces(&registry).first(), expected.as_ref(), "{value}\n{}", registry.log());
    }
}

#[test]
fn r132_a_file_that_changes_while_it_is_sent_ends_the_push() {
    let (registry, site) = in_pieces(Registry::new());
    let gate = registry.gate(upload(Upload::Piece));
    let push = site.run(["push", "a.sif", &registry.oras("s/a:1")]).start();
    gate.arrived(1);
    let mut other = sif().to_vec();
    let last = other.len() - 1;
    other[last] ^= 1;
    std::fs::write(site.work().join("a.sif"), other).unwrap();
    gate.open();
    let outcome = push.outcome().fails(255).says("a.sif changed while it was read");
    assert_eq!(registry.tag("s/a:1"), None, "{}", outcome.report());
    until_true("the session is closed", || registry.count(&upload(Upload::Close)) >= 1);
    assert_eq!(registry.count(&upload(Upload::Manifest)), 0);
}

#[test]
fn an_interrupted_push_closes_what_is_open_at_the_registry() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (registry, site) = in_pieces(Registry::new());
        let gate = registry.gate(upload(Upload::Piece));
        let push = site.run(["push", "a.sif", &registry.oras("s/a:1")]).start();
        gate.arrived(1);
        push.signal(signal);
        push.outcome().fails(status);
        until_true("the session is closed", || registry.count(&upload(Upload::Close)) >= 1);
        gate.open();
        assert_eq!(registry.tag("s/a:1"), None, "{}", registry.log());
        assert_eq!(registry.count(&blobs()), 0);
    }
}

/// A SIF with so many bytes after its own that pushing it takes a while.
fn padded(bytes: usize) -> Vec<u8> {
    let mut padded = sif().to_vec();
    let noise = orlop_kit::image::noise(bytes, 7);
    padded.extend_from_slice(&noise);
    padded
}

#[test]
fn a_real_registry_that_is_killed_in_the_middle_gets_it_after_all() {
    let Some(mut real) = RealRegistry::anonymous() else { return };
    let site = bare_site()
        .insecure_host(&real.host())
        .env("ORLOP_LIMITS_UPLOAD_CHUNK", "1MiB")
        .env("ORLOP_LIMITS_BACKOFF", "300ms");
    let file = padded(24 << 20);
    site.write_work("a.sif", &file);
    let place = real.oras("s/a:1");
    let push = site.run(["push", "a.sif", &place]).start();
    until_true("a part of it is there", || real.uploading() > 6 << 20);
    real.kill();
    real.restart();
    let outcome = push.outcome().success();
    site.orlop(["pull", "b.sif", &place]).success();
    assert!(bytes(&site, "b.sif") == file, "{}", outcome.report());
}
