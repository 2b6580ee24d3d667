//! The first request to a host: what counts as a registry, and what does not.
//!
//! Rows R01 to R08. Not here: challenges (`challenge`).

use super::row::{B, Row, TWO, answer, endless, kind, ok_with, two};
use orlop_kit::{Answer, Identity, Piece, Registry, head, own_network, ping};

#[test]
fn r01_the_status_of_a_ping_alone_decides() {
    let row = Row::new("HTML").answer(ping(), [ok_with(&[], "<html>welcome")]);
    row.pull().requests(B).ok();
}

#[test]
fn r02_another_status_than_200_and_401_is_no_registry() {
    for status in [404, 400, 204] {
        let row = Row::new(status.to_string()).answer(ping(), [Answer::Status(status)]);
        let ended = row.pull().fails(kind::NOT_A_REGISTRY).requests(1).keeps(0, 0);
        ended.says(&status.to_string());
    }
}

#[test]
fn r03_a_ping_that_fails_is_sent_five_times() {
    let failing = [503; 4].map(Answer::Status);
    let row = Row::new("then 200").answer(ping(), failing.into_iter().chain([Answer::Whole]));
    row.pull().count(&ping(), 5).requests(B + 4).ok();

    let row = Row::new("always").answer(ping(), [Answer::Status(503)]);
    row.pull().fails(kind::SOURCE_FAILED).requests(5).says("503");
}

#[test]
fn r04_a_refusal_that_does_not_say_how_is_told() {
    let row = Row::new("401").answer(ping(), [Answer::Status(401)]);
    row.pull().fails(kind::CHALLENGE_INVALID).requests(1);
}

#[test]
fn r05_a_ping_may_be_moved_on_its_host_and_nowhere_else() {
    let same = Answer::Redirect(301, "/v2/".to_owned());
    let row = Row::new("same host").answer(ping(), [same, Answer::Whole]);
    row.pull().count(&ping(), 2).requests(B + 1).ok();

    let other = Row::new("other host");
    let there = format!("https://{}/v2/", other.registry.host());
    let row = Row::new("other host").answer(ping(), [Answer::Redirect(301, there)]);
    row.pull().fails(kind::REDIRECT_REFUSED).requests(1);
    assert_eq!(other.registry.requests().len(), 0);
}

#[test]
fn r06_a_challenge_that_comes_after_the_ping_is_met() {
    let row = Row::new("HEAD 401");
    let bearer = row.bearer();
    let token = ok_with(&[], r#"{"token":"t"}"#);
    let row = row.answer(head(TWO), [bearer, Answer::Whole]).answer(orlop_kit::token(), [token]);
    row.pull().requests(8).count(&orlop_kit::token(), 1).count(&head(TWO), 2).ok();
}

#[test]
fn r07_the_body_of_a_ping_is_not_read() {
    let gibibyte = Answer::Play(vec![
        Piece::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n".to_vec()),
        Piece::Times(1 << 18, vec![b' '; 4096]),
    ]);
    for (name, body) in [("1 GiB", gibibyte), ("endless", endless(""))] {
        let row = Row::new(name).answer(ping(), [body]);
        let ended = row.pull().requests(B);
        // What the sockets hold on both sides went out, and no more.
        let came = row.registry.requests();
        let sent = came[0].sent;
        assert!(sent < 16 << 20, "{name}: {sent} bytes went out");
        assert_ne!(came[1].connection, came[0].connection, "{name}: its connection is dropped");
        ended.ok();
    }
}

#[test]
fn r08_a_plain_answer_at_the_tls_port_is_no_answer_unless_the_registry_is_insecure() {
    own_network(&["203.0.113.7"], "203.0.113.7 r1.test", || {
        let plain = || Registry::new().image(TWO, two()).at([203, 0, 113, 7]).start();
        let identity = Identity::new(&["203.0.113.7"]);
        let row = Row::at("secure", plain(), identity.clone());
        row.pull().fails(kind::SOURCE_UNREACHABLE).requests(0).says("--no-https");
        assert_eq!(row.registry.knocks(), 1, "secure: one connection");

        let mut row = Row::at("insecure", plain(), identity);
        row.site = row.site.insecure(&row.registry);
        row.pull().requests(B).says("WARNING: ").done();
        assert_eq!(row.registry.knocks(), 1, "insecure: https first");
    });

    // Some servers say in plain HTTP that they speak TLS alone: no registry, no second try.
    let row = Row::new("loopback").answer(ping(), [answer(400, &[], "no")]);
    row.pull().fails(kind::NOT_A_REGISTRY).requests(1);
}
