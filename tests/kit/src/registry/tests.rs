//! The scripted registry asked by hand. Rules: distribution spec, as far as the kit serves it.

use super::route;
use super::{Answer, Auth, Registry, Upload};
use crate::digest::Digest;
use crate::image::Image;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// Sends one request on a connection of its own and reads the answer to the end.
fn ask(registry: &Registry, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(registry.host()).unwrap();
    let length = body.len();
    let text = format!(
        "{head}\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}",
        registry.host()
    );
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[test]
fn a_pushed_blob_and_manifest_are_served_again() {
    let registry = Registry::new().start();
    let digest = Digest::of(b"hello");
    let started = ask(&registry, "POST /v2/a/b/blobs/uploads/ HTTP/1.1", "");
    let session = started.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
    assert!(
        ask(&registry, &format!("PATCH {session} HTTP/1.1"), "hel").starts_with("HTTP/1.1 202")
    );
    let put = format!("PUT {session}?digest={digest} HTTP/1.1");
    assert!(ask(&registry, &put, "lo").starts_with("HTTP/1.1 201"));
    let manifest = "PUT /v2/a/b/manifests/1 HTTP/1.1\r\nContent-Type: application/test";
    assert!(ask(&registry, manifest, "{}").starts_with("HTTP/1.1 201"));

    assert_eq!(body(&ask(&registry, &format!("GET /v2/a/b/blobs/{digest} HTTP/1.1"), "")), "hello");
    let part = format!("GET /v2/a/b/blobs/{digest} HTTP/1.1\r\nRange: bytes=1-2");
    assert_eq!(body(&ask(&registry, &part, "")), "el");
    let answer = ask(&registry, "GET /v2/a/b/manifests/1 HTTP/1.1", "");
    assert!(answer.contains("Content-Type: application/test\r\n") && body(&answer) == "{}");
    assert_eq!(registry.count(&route::upload(Upload::Finish)), 1);
    assert_eq!(registry.ranges(&route::blob(digest)), ["", "bytes=1-2"]);
}

#[test]
fn an_upload_of_other_bytes_than_its_digest_is_refused() {
    let registry = Registry::new().start();
    let post = format!("POST /v2/a/blobs/uploads/?digest={} HTTP/1.1", Digest::of(b"right"));
    assert!(ask(&registry, &post, "wrong").starts_with("HTTP/1.1 400"));
}

#[test]
fn a_script_is_followed_and_its_last_answer_repeats() {
    let registry = Registry::new()
        .image("a:1", Image::tiny())
        .answer(route::manifest("a:1"), [Answer::Status(503), Answer::CutAfter(4), Answer::Whole])
        .start();
    let get = || ask(&registry, "GET /v2/a/manifests/1 HTTP/1.1", "");
    assert!(get().starts_with("HTTP/1.1 503"));
    assert_eq!(body(&get()).len(), 4);
    let whole = get();
    assert_eq!(body(&whole).len(), body(&get()).len());
    assert_eq!(Digest::of(body(&whole).as_bytes()), registry.tag("a:1").unwrap());
}

#[test]
fn a_gate_holds_requests_until_it_is_opened() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let gate = registry.gate(route::layer(0));
    let digest = registry.layer_digest(0).unwrap();
    let get = format!("GET /v2/a/blobs/{digest} HTTP/1.1");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(&registry, &get, ""));
        gate.arrived(1);
        assert!(!waiting.is_finished());
        gate.open();
        assert!(waiting.join().unwrap().starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn a_token_of_the_right_scope_lets_in() {
    let auth = Auth::Bearer { user: "u".into(), secret: "s".into(), anonymous_pull: false };
    let registry = Registry::new().image("a:1", Image::tiny()).auth(auth).start();
    let refused = ask(&registry, "GET /v2/a/manifests/1 HTTP/1.1", "");
    assert!(refused.starts_with("HTTP/1.1 401"));
    let realm = format!(
        r#"Bearer realm="http://{}/token",service="kit",scope="repository:a:pull""#,
        registry.host()
    );
    assert!(refused.contains(&realm), "{refused}");

    let token = |scope: &str, basic: &str| {
        let head = format!(
            "GET /token?service=kit&scope={scope} HTTP/1.1\r\nAuthorization: Basic {basic}"
        );
        let answer = ask(&registry, &head, "");
        let body: serde_json::Value = serde_json::from_str(body(&answer)).unwrap_or_default();
        body["token"].as_str().map(str::to_owned)
    };
    // "u:s" and "u:x".
    assert_eq!(token("repository:a:pull", "dTp4"), None);
    let right = token("repository:a:pull", "dTpz").unwrap();
    let other = token("repository:b:pull", "dTpz").unwrap();
    let get = |token: &str| {
        ask(
            &registry,
            &format!("GET /v2/a/manifests/1 HTTP/1.1\r\nAuthorization: Bearer {token}"),
            "",
        )
    };
    assert!(get(&right).starts_with("HTTP/1.1 200"));
    assert!(get(&other).starts_with("HTTP/1.1 401"));
}
