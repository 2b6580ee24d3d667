//! Token services: which may be asked, what goes to them, and which answers are of use.
//!
//! Rows R18 to R34. Not here: how the challenge is read (`challenge`).

use super::row::{Row, T, TWO, answer, challenge, endless, kind, ok_with, two};
use orlop_kit::{
    Answer, Auth, Identity, Image, Registry, Request, head, layer, own_network, ping, token,
};

/// A token service's answer with this body.
fn body(text: impl Into<Vec<u8>>) -> Answer {
    ok_with(&[("Content-Type", "application/json")], text)
}

/// The answer that gives the token `t`.
fn given() -> Answer {
    body(r#"{"token":"t"}"#)
}

/// A row whose ping names this realm.
fn realm(name: &str, realm: &str) -> Row {
    let text = format!(r#"Bearer realm="{realm}",service="kit""#);
    Row::new(name).answer(ping(), [challenge(&text)])
}

/// A credential file with an entry for the row's registry.
fn stored(row: &Row, entry: &str) -> String {
    let file = format!(r#"{{"auths":{{"{}":{entry}}}}}"#, row.registry.host());
    row.site.write_home(".docker/config.json", file.as_bytes());
    file
}

fn authorization(request: &Request) -> &str {
    request.header("authorization").unwrap_or_default()
}

#[test]
fn r18_a_plain_realm_of_a_secure_registry_is_refused() {
    let service = Registry::new().start();
    let row = realm("http", &format!("http://{}/token", service.host()));
    row.pull().fails(kind::REALM_REFUSED).requests(1);
    assert_eq!(service.requests().len(), 0);
}

#[test]
fn r19_what_is_no_address_of_a_token_service_is_refused() {
    let realms = [
        "file:///etc/passwd",
        "ftp://r.test/token",
        "unix:/run/token.sock",
        "data:,x",
        "/token",
        "",
        "https://user:pw@127.0.0.1/token",
        "#fragment",
    ];
    for text in realms {
        let row = realm(text, text).login("me", "hunter2");
        row.pull().fails(kind::REALM_REFUSED).requests(1).hides("hunter2");
    }
}

#[test]
fn r20_a_realm_is_not_more_private_than_the_registry_that_names_it() {
    let hosts = [
        "169.254.169.254",
        "[fd00:ec2::254]",
        "127.0.0.1:5001",
        "10.0.0.1",
        "[::1]",
        "[::ffff:10.0.0.1]",
        "0.0.0.0",
        "2130706433",
        "0x7f.1",
        "127.1",
        "inner.test",
    ];
    own_network(&["203.0.113.7", "10.0.0.1", "fd00:ec2::254"], "10.0.0.1 inner.test", || {
        let identity = Identity::new(&["203.0.113.7"]);
        let start =
            || Registry::new().image(TWO, two()).tls(&identity).at([203, 0, 113, 7]).start();
        let inner = Registry::new().at([10, 0, 0, 1]).start();
        let port = inner.port();
        for host in hosts {
            let host = host.replace(":5001", &format!(":{port}"));
            let realm = format!("https://{host}/token");
            let text = format!(r#"Bearer realm="{realm}""#);
            let world = |name: &str| Row::at(name, start(), identity.clone());
            let row = world(&host);
            row.registry.script(ping(), [challenge(&text)]);
            row.pull().fails(kind::REALM_REFUSED).requests(1);

            let row = world(&format!("{host}, by redirect"));
            let moved = Answer::Redirect(302, realm);
            let row = row.tokens([moved]);
            row.pull().fails(kind::REALM_REFUSED).count(&token(), 1).requests(2);
        }
        assert_eq!((inner.connections(), inner.knocks()), (0, 0));
    });

    // Whoever is in a private network may name others there, but not those of the link.
    for host in ["169.254.169.254", "[fd00:ec2::254]"] {
        let row = realm(host, &format!("https://{host}/token"));
        row.pull().fails(kind::REALM_REFUSED).requests(1);
    }
    let service = Row::new("service").answer(token(), [given()]);
    let row = realm("loopback", &service.realm());
    row.pull().requests(T - 1).ok();
    assert_eq!(service.registry.count(&token()), 1);
}

#[test]
fn r21_the_login_goes_to_the_realm_in_one_request_alone() {
    let service = Row::new("service").answer(token(), [given()]);
    let row = realm("another host", &service.realm()).login("me", "pw");
    let ended = row.pull().requests(T - 1);
    let asked = service.registry.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(authorization(&asked[0]), "Basic bWU6cHc=");
    for request in row.registry.requests().iter().skip(1) {
        assert_eq!(authorization(request), "Bearer t", "{request}");
    }
    ended.ok();
}

#[test]
fn r22_a_moved_token_request_leaves_the_login_behind() {
    let other = Row::new("other").answer(token(), [given()]);
    let moved = || Answer::Redirect(302, other.realm());
    let row = Row::new("GET").login("me", "pw").tokens([moved()]);
    row.pull().requests(T).ok();
    let asked = other.registry.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(authorization(&asked[0]), "");

    other.registry.forget();
    let row = Row::new("POST").tokens([moved()]);
    stored(&row, r#"{"auth":"bWU6","identitytoken":"hunter2"}"#);
    row.pull().fails(kind::REDIRECT_REFUSED).requests(2).hides("hunter2");
    assert_eq!(other.registry.requests().len(), 0);
}

#[test]
fn r23_endless_redirects_of_a_token_request_end() {
    let row = Row::new("/token").tokens([Answer::Redirect(302, "/token".to_owned())]);
    row.pull().fails(kind::REDIRECT_REFUSED).count(&token(), 11);
}

#[test]
fn r24_an_answer_without_a_usable_token_is_told_and_not_shown() {
    let bodies = [
        "{}",
        r#"{"token":"","access_token":""}"#,
        r#"{"token":5}"#,
        r#"{"token":"canary","token":"canary"}"#,
        r#"{"token":"canary\r\nX: y"}"#,
        r#"{"token":"canary\n"}"#,
        r#"{"token":"canary\u0000"}"#,
        r#"{"token":"canary canary"}"#,
    ];
    for text in bodies {
        let row = Row::new(text).tokens([body(text)]);
        row.pull().fails(kind::TOKEN_INVALID).count(&token(), 1).requests(2).hides("canary");
    }
}

#[test]
fn r25_both_names_of_a_token_are_read() {
    for (text, wanted) in [
        (r#"{"access_token":"a"}"#, "Bearer a"),
        (r#"{"access_token":"a","token":"t"}"#, "Bearer t"),
    ] {
        let row = Row::new(text).tokens([body(text)]);
        let ended = row.pull().requests(T);
        assert_eq!(authorization(&row.registry.of(&head(TWO))[0]), wanted);
        ended.ok();
    }
}

#[test]
fn r26_any_lifetime_is_lived_with() {
    for value in ["0", "-5", r#""300""#, "null", "1e18", "9223372036854775808", "1e400"] {
        let row =
            Row::new(value).tokens([body(format!(r#"{{"token":"t","expires_in":{value}}}"#))]);
        row.pull().count(&token(), 1).requests(T).done();
    }
}

#[test]
fn r27_the_clock_of_a_token_service_does_not_matter() {
    for value in ["2020-02-20T20:02:02Z", "2222-02-22T22:22:22Z", "yesterday"] {
        let row = Row::new(value)
            .tokens([body(format!(r#"{{"token":"t","expires_in":300,"issued_at":"{value}"}}"#))]);
        row.pull().count(&token(), 1).requests(T).done();
    }
}

#[test]
fn r28_the_answer_of_a_token_service_has_a_limit() {
    let long = |size: usize| {
        let text = r#"{"token":"t"}"#;
        body(format!("{text}{}", " ".repeat(size - text.len())))
    };
    let row = Row::new("128 KiB").tokens([long(128 << 10)]);
    row.pull().requests(T).ok();
    for (name, answer) in [("one byte more", long((128 << 10) + 1)), ("endless", endless(""))] {
        let row = Row::new(name).tokens([answer]);
        row.pull().fails(kind::LIMIT_EXCEEDED).says("token-bytes").requests(2);
        let sent = row.registry.requests()[1].sent;
        assert!(sent < 16 << 20, "{name}: {sent} bytes went out");
    }
}

#[test]
fn r29_a_web_page_is_no_token_and_the_content_type_does_not_matter() {
    let row = Row::new("HTML").tokens([ok_with(&[("Content-Type", "text/html")], "<html>hello")]);
    row.pull().fails(kind::TOKEN_INVALID).says("web page").count(&token(), 1);
    let row =
        Row::new("text").tokens([ok_with(&[("Content-Type", "text/plain")], r#"{"token":"t"}"#)]);
    row.pull().requests(T).ok();
}

#[test]
fn r30_a_token_service_that_refuses_is_final_and_one_that_fails_is_asked_again() {
    for status in [401, 403] {
        let row = Row::new(status.to_string()).tokens([Answer::Status(status)]);
        row.pull().fails(kind::CREDENTIALS_REFUSED).count(&token(), 1).requests(2);
    }
    let row = Row::new("500").tokens([Answer::Status(500), Answer::Status(500), given()]);
    row.pull().count(&token(), 3).requests(T + 2).ok();
    let wait = answer(429, &[("Retry-After", "1")], "");
    let row = Row::new("429").tokens([wait, given()]);
    let began = std::time::Instant::now();
    row.pull().count(&token(), 2).requests(T + 1).done();
    assert!(began.elapsed().as_millis() >= 1000, "it waited as long as it was asked to");
}

#[test]
fn r31_a_service_without_post_is_asked_by_get() {
    let unsupported = br#"{"error":"unsupported_grant_type"}"#;
    for refusal in [Answer::Status(404), Answer::Status(405), answer(400, &[], *unsupported)] {
        let row = Row::new(format!("{refusal:?}")).tokens([refusal, given()]);
        stored(&row, r#"{"auth":"bWU6","identitytoken":"r"}"#);
        let ended = row.pull().count(&token(), 2).requests(T + 1);
        let methods: Vec<String> =
            row.registry.of(&token()).into_iter().map(|one| one.method).collect();
        assert_eq!(methods, ["POST", "GET"]);
        ended.ok();
    }
    let row = Row::new("401").tokens([Answer::Status(401), given()]);
    stored(&row, r#"{"auth":"bWU6","identitytoken":"r"}"#);
    row.pull().fails(kind::CREDENTIALS_REFUSED).count(&token(), 1);
}

#[test]
fn r32_a_token_that_ends_within_a_layer_is_renewed_and_the_layer_goes_on() {
    let image = Image::two_layers();
    let row = Row::of("401 to the Range", image).tokens([given(), body(r#"{"token":"u"}"#)]);
    let again = row.bearer();
    let row = row.answer(layer(1), [Answer::CutAfter(500_000), again, Answer::Whole]);
    let ended = row.pull().count(&token(), 2);
    assert_eq!(
        row.registry.ranges(&layer(1)),
        ["", "bytes=500000-", "bytes=500000-"],
        "{}",
        row.registry.log()
    );
    assert_eq!(authorization(&row.registry.of(&layer(1))[2]), "Bearer u");
    ended.ok();
}

#[test]
fn r33_a_refresh_token_of_a_pull_is_not_stored() {
    let row = Row::new("refresh_token").tokens([body(r#"{"token":"t","refresh_token":"canary"}"#)]);
    let file = stored(&row, r#"{"auth":"bWU6cHc="}"#);
    let ended = row.pull().requests(T);
    assert_eq!(row.site.read_home(".docker/config.json"), Some(file));
    let home = row.site.tree(&row.site.home());
    let holds =
        |path: &&String| row.site.read_home(path).is_some_and(|text| text.contains("canary"));
    assert_eq!(home.iter().find(holds), None);
    ended.ok();
}

#[test]
fn r34_many_pulls_at_once_need_one_token() {
    let auth = Auth::Bearer { user: "me".into(), secret: "pw".into(), anonymous_pull: true };
    let identity = Identity::new(&["127.0.0.1"]);
    let registry = Registry::new().image(TWO, two()).auth(auth).tls(&identity).start();
    let row = Row::at("64", registry, identity);
    let gate = row.registry.gate(token());
    let uri = row.registry.docker(TWO);
    let outputs: Vec<String> = (0..64).map(|number| format!("{number}.sif")).collect();
    let pulls: Vec<_> =
        outputs.iter().map(|output| row.site.run(["pull", output, &uri]).start()).collect();
    gate.arrived(1);
    gate.open();
    for pull in pulls {
        pull.outcome().success();
    }
    assert_eq!(row.registry.count(&token()), 1, "{}", row.registry.log());
    assert_eq!(row.site.tree(&row.site.work()).len(), 64);
}
