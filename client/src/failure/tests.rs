//! Failures: from the daemon and back to words, hints and exit statuses.

use super::*;

fn sent(kind: Kind, message: &str) -> v1::Failure {
    v1::Failure {
        kind: kind.into(),
        message: message.to_owned(),
        causes: vec!["connection refused".to_owned()],
        hints: Vec::new(),
    }
}

#[test]
fn a_failure_of_the_daemon_arrives_whole() {
    let sent = sent(Kind::SourceUnreachable, "no answer from localhost:1");
    let status = orlop_proto::status::pack(Code::Unavailable, &sent);

    let failure = Failure::from(status).within("while login to docker://localhost:1");

    assert_eq!(failure.kind(), Kind::SourceUnreachable);
    insta::assert_snapshot!(failure.text(), @"while login to docker://localhost:1: no answer from localhost:1: connection refused");
    assert_eq!(failure.exit(), 255);
}

#[test]
fn a_broken_connection_is_a_lost_daemon() {
    let lost = Failure::from(Status::unavailable("broken pipe"));
    assert!(lost.is_lost_daemon());
    insta::assert_snapshot!(lost.text(), @"cannot reach orlopd: it ended, or the connection to it broke off: broken pipe");
    assert!(!Failure::from(Status::internal("x")).is_lost_daemon());
}

#[test]
fn first_words_are_there_once() {
    let lied = Failure::new(Kind::SourceLied, "r:1 sent sha256:aa for sha256:bb");
    insta::assert_snapshot!(lied.text(), @"wrong bytes from the registry: r:1 sent sha256:aa for sha256:bb");
    let missing = Failure::new(Kind::ImageNotFound, "docker://h/x:1").because("manifest unknown");
    insta::assert_snapshot!(missing.text(), @"not found: docker://h/x:1: manifest unknown");
}

#[test]
fn causes_read_as_c_programs_print_them() {
    let cause = std::io::Error::from_raw_os_error(2);
    let failure = Failure::file("open", std::path::Path::new("/no"), &cause);
    insta::assert_snapshot!(failure.text(), @"cannot open /no: no such file or directory");
    let full = std::io::Error::from_raw_os_error(28);
    let full = Failure::file("write", std::path::Path::new("/d/x"), &full).needing(9);
    assert_eq!(full.kind(), Kind::DiskFull);
    assert_eq!(full.text(), "no space left in /d, 9 bytes are needed");
}

#[test]
fn a_signal_decides_the_exit_status_and_says_nothing() {
    let failure = Failure::cancelled(2);
    assert!(failure.is_silent());
    assert_eq!(failure.exit(), 130);
}

#[test]
fn hints_of_the_case_come_before_those_of_the_kind() {
    let refused = Failure::new(Kind::TlsRefused, "x").about_host("h.example:5000/team");
    assert!(refused.hints()[0].contains("certs.d/h.example:5000/ca.crt"), "{:?}", refused.hints());
    let refused = Failure::new(Kind::CredentialsRefused, "x").about_host("localhost:5000");
    assert_eq!(
        refused.hints(),
        ["log in: orlop registry login --username USER docker://localhost:5000"]
    );
    assert_eq!(refused.hint("more").hints().len(), 2);
}
