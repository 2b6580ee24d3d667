//! R104 to R108, R110, R113 to R115 and R117: what goes wrong below the documents.
//!
//! Not here: certificates, HTTP/2, proxies.

use super::stage::{IMAGE, Stage, fatal};
use orlop_kit::{Answer, Registry, any, head, layer, manifest, ping};
use std::process::Command;
use std::time::{Duration, Instant};

fn stage() -> Stage {
    Stage::new(Registry::new())
}

fn limited(retry_after: &str) -> Answer {
    Answer::Status(429).with("Retry-After", retry_after)
}

/// A date of HTTP, as far from now as `date` is told.
fn http_date(when: &str) -> String {
    let format = "+%a, %d %b %Y %H:%M:%S GMT";
    let words = ["--utc", "--date", when, format];
    let done = Command::new("date").env("LC_ALL", "C").args(words).output().unwrap();
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// How long a pull took that was told to wait, and that it said so once.
#[track_caller]
fn waited(stage: &mut Stage, variant: &str, retry_after: &str) -> Duration {
    stage.begin(head(IMAGE), [limited(retry_after), Answer::Whole]);
    let began = Instant::now();
    let outcome = stage.pull().success();
    let told = outcome.stderr.lines().filter(|line| line.contains("limits requests: waiting"));
    assert_eq!(told.count(), 1, "{variant}: {}", outcome.report());
    stage.counts(variant, &head(IMAGE), 2);
    began.elapsed()
}

#[test]
fn r104_a_time_to_come_back_is_waited_for() {
    let mut stage = stage();
    let took = waited(&mut stage, "seconds", "1");
    assert!(took >= Duration::from_secs(1), "{took:?}");
}

#[test]
fn r104_a_date_to_come_back_is_waited_for() {
    let mut stage = stage();
    let took = waited(&mut stage, "date", &http_date("2 seconds"));
    assert!(took >= Duration::from_millis(900), "{took:?}");
}

#[test]
fn r104_a_date_in_the_past_or_none_is_the_usual_backoff() {
    let mut stage = stage();
    for (variant, answer) in [
        ("past", limited("Sun, 06 Nov 1994 08:49:37 GMT")),
        ("absent", Answer::Status(429)),
        ("503 without", Answer::Status(503)),
    ] {
        stage.begin(head(IMAGE), [answer, Answer::Whole]);
        let began = Instant::now();
        stage.ok(variant);
        assert!(began.elapsed() < Duration::from_secs(5), "{variant}");
        stage.counts(variant, &head(IMAGE), 2);
    }
}

#[test]
fn r105_a_time_too_long_to_wait_for_fails_at_once_and_says_when() {
    let mut stage = stage();
    let next_year = http_date("1 year");
    for (retry_after, when) in [
        ("3600", "60 min"),
        (next_year.as_str(), "36"),
        ("100000000000000000000", "in more than a year"),
    ] {
        stage.begin(head(IMAGE), [limited(retry_after)]);
        let outcome = stage.fails(retry_after, "the registry limits pulls");
        assert!(fatal(&outcome).contains(when), "{retry_after}: {}", outcome.report());
        stage.counts(retry_after, &head(IMAGE), 1);
    }
    for unreadable in ["-1", "soon"] {
        stage.begin(head(IMAGE), [limited(unreadable), Answer::Whole]);
        stage.ok(unreadable);
        stage.counts(unreadable, &head(IMAGE), 2);
    }
}

#[test]
fn r106_a_pull_quota_is_not_waited_for() {
    let mut stage = stage();
    let by_digest = format!("t/two@{}", stage.registry.tag(IMAGE).unwrap());
    let json = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"toomanyrequests: You have reached your pull rate limit."}]}"#;
    for (variant, body) in [("toomanyrequests", json), ("HAP429", "Too Many Requests (HAP429).")] {
        let answer = Answer::With(429, Vec::new(), body.into());
        stage.begin(manifest(&by_digest), [answer]);
        let outcome = stage.fails(variant, "the registry limits pulls");
        assert!(outcome.stderr.contains("log in"), "{variant}: {}", outcome.report());
        assert!(outcome.stderr.contains("mirror"), "{variant}: {}", outcome.report());
        let own_words = match variant {
            "toomanyrequests" => "You have reached your pull rate limit.",
            _ => "Too Many Requests (HAP429).",
        };
        assert!(outcome.stderr.contains(own_words), "{variant}: {}", outcome.report());
        stage.counts(variant, &manifest(&by_digest), 1);
    }
}

#[test]
fn r106_the_reason_that_a_head_cannot_tell_is_asked_for() {
    let mut stage = stage();
    let quota = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    let policy = r#"{"errors":[{"code":"PROJECTPOLICYVIOLATION","message":"current image with 12 vulnerabilities cannot be pulled"}]}"#;
    for (status, body, kind, words) in [
        (429, quota, "the registry limits pulls", "You have reached your pull rate limit."),
        (412, policy, "the registry failed", "current image with 12 vulnerabilities"),
    ] {
        let variant = status.to_string();
        stage.begin(head(IMAGE), [Answer::Status(status)]);
        stage.registry.script(manifest(IMAGE), [Answer::With(status, Vec::new(), body.into())]);
        let outcome = stage.fails(&variant, kind);
        assert!(outcome.stderr.contains(words), "{variant}: {}", outcome.report());
        stage.counts(&variant, &manifest(IMAGE), 1);
    }
}

#[test]
fn r107_statuses_that_pass_are_tried_again_and_others_are_not() {
    let mut stage = stage();
    let passing = [500, 502, 503, 504].map(Answer::Status);
    stage.begin(layer(1), passing.into_iter().chain([Answer::Whole]));
    stage.ok("500 to 504");
    stage.counts("500 to 504", &layer(1), 5);
    let passing = [499, 522, 408].map(Answer::Status);
    stage.begin(layer(1), passing.into_iter().chain([Answer::Whole]));
    stage.ok("499, 522, 408");
    stage.counts("499, 522, 408", &layer(1), 4);

    for status in [501, 505, 400, 410] {
        let variant = status.to_string();
        let words = if status == 410 { "not found:" } else { "the registry failed" };
        stage.begin(layer(1), [Answer::Status(status)]);
        stage.fails(&variant, words);
        stage.counts(&variant, &layer(1), 1);
    }
}

#[test]
fn r108_a_connection_closed_between_requests_costs_no_try() {
    let mut stage = stage();
    // The connections of a pull that has ended wait for the next.
    stage.begin(head(IMAGE), []);
    stage.ok("before");
    let failures = [503, 503, 503, 503].map(Answer::Status);
    let answers = [Answer::Close].into_iter().chain(failures).chain([Answer::Whole]);
    stage.registry.forget();
    stage.registry.script(head(IMAGE), answers);
    stage.site.orlop(["pull", "--force", "a.sif", &stage.uri()]).success();
    stage.counts("closed", &head(IMAGE), 6);
    let connections: Vec<_> =
        stage.registry.of(&head(IMAGE)).iter().map(|request| request.connection).collect();
    assert_ne!(connections[0], connections[1], "{}", stage.registry.log());
}

#[test]
fn r108_a_new_connection_that_is_closed_costs_a_try() {
    let mut stage = stage();
    let failures = [503, 503, 503, 503].map(Answer::Status);
    stage.begin(head(IMAGE), [Answer::Close].into_iter().chain(failures).chain([Answer::Whole]));
    stage.registry.script(ping(), [Answer::Whole.with("Connection", "close")]);
    stage.fails("closed", "the registry failed");
    stage.counts("closed", &head(IMAGE), 5);
}

/// Header fields of a whole answer that ends with its connection, then these bytes.
fn until_close(bytes: &[u8]) -> Answer {
    Answer::Raw([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", bytes].concat())
}

#[test]
fn r110_the_end_without_a_farewell_is_decided_by_the_digest() {
    let mut stage = stage();
    let whole = stage.registry.blob(&stage.registry.layer_digest(1).unwrap()).unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", whole.len());
    let with_length = Answer::Raw([head.as_bytes(), &whole].concat());
    for (variant, answer) in [("whole", with_length), ("until close", until_close(&whole))] {
        stage.begin(layer(1), [answer]);
        stage.ok(variant);
        stage.counts(variant, &layer(1), 1);
    }
    stage.begin(layer(1), [until_close(&whole[..500_000]), Answer::Whole]);
    stage.ok("short");
    stage.ranges("short", &layer(1), &["", "bytes=500000-"]);
}

#[test]
fn r113_header_fields_without_measure_are_a_limit() {
    let mut stage = stage();
    let many: String = (0..10_000).map(|number| format!("X-{number}: y\r\n")).collect();
    let many = format!("HTTP/1.1 200 OK\r\n{many}\r\n");
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(1 << 20));
    for (variant, head) in [("10 000 fields", many), ("a line of 1 MiB", long)] {
        for route in [ping(), layer(1)] {
            let variant = format!("{variant} {route:?}");
            stage.begin(route.clone(), [Answer::Raw(head.clone().into())]);
            let outcome = stage.fails(&variant, "limit reached:");
            assert!(outcome.stderr.contains("header-bytes"), "{variant}: {}", outcome.report());
            stage.counts(&variant, &route, 1);
            stage.registry.script(route, [Answer::Whole]);
        }
    }
}

#[test]
fn r114_contradictions_about_the_length_are_refused_and_the_connection_ends() {
    let mut stage = stage();
    let whole = stage.registry.blob(&stage.registry.layer_digest(1).unwrap()).unwrap();
    let size = whole.len();
    for (variant, fields) in [
        ("two lengths", format!("Content-Length: {size}\r\nContent-Length: {}", size + 1)),
        ("a list of lengths", format!("Content-Length: {size}, {}", size + 1)),
        ("negative", "Content-Length: -1".to_owned()),
        ("with a sign", format!("Content-Length: +{size}")),
        ("chunked too", format!("Content-Length: {size}\r\nTransfer-Encoding: chunked")),
        ("chunk of 2^64", "Transfer-Encoding: chunked\r\n\r\n10000000000000000".to_owned()),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
        stage.begin(layer(1), [Answer::Raw([head.as_bytes(), &whole].concat())]);
        stage.fails(variant, "the registry failed");
        stage.counts(variant, &layer(1), 1);
    }
}

#[test]
fn r114_bytes_left_over_after_a_body_end_the_connection() {
    let mut stage = stage();
    let digest = stage.registry.tag(IMAGE).unwrap();
    let type_ = "application/vnd.oci.image.manifest.v1+json";
    let head_answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {type_}\r\nDocker-Content-Digest: {digest}\r\n\
         Content-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"
    );
    stage.begin(head(IMAGE), [Answer::Raw(head_answer.into())]);
    stage.ok("left over");
    let connection = |route| stage.registry.of(&route)[0].connection;
    let by_digest = format!("t/two@{digest}");
    assert_ne!(
        connection(head(IMAGE)),
        connection(manifest(&by_digest)),
        "{}",
        stage.registry.log()
    );
}

#[test]
fn r117_header_fields_for_browsers_are_ignored() {
    let mut stage = stage();
    let other = "https://elsewhere.invalid/";
    let fields = |answer: Answer| {
        answer
            .with("Date", "Sun, 06 Nov 2034 08:49:37 GMT")
            .with("Set-Cookie", "session=hello; Path=/")
            .with("Alt-Svc", "h2=\"elsewhere.invalid:443\"; ma=86400")
            .with("Refresh", format!("0; url={other}"))
            .with("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
    };
    stage.begin(any(), [fields(Answer::Whole)]);
    stage.ok("all");
    let cookies =
        stage.registry.requests().iter().filter(|one| one.header("cookie").is_some()).count();
    assert_eq!(cookies, 0, "{}", stage.registry.log());
    assert_eq!(stage.registry.requests().len(), 6, "{}", stage.registry.log());
}
