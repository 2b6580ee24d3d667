//! How a registry asks who one is: which challenge is met, and which credential goes where.
//!
//! Rows R09 to R17. Not here: the token service (`token`).

use super::row::{B, Row, T, TWO, answer, challenge, kind, ok_with};
use orlop_kit::registry::Route;
use orlop_kit::{Answer, head, ping, token};

/// The token that a scripted token service gives.
fn given() -> Answer {
    ok_with(&[], r#"{"token":"t"}"#)
}

/// The `Authorization` of each request of a route.
fn authorizations(row: &Row, route: &Route) -> Vec<String> {
    let found = row.registry.of(route);
    found.iter().map(|one| one.header("authorization").unwrap_or_default().to_owned()).collect()
}

/// A ping with several challenges, in one header each.
fn challenges(texts: &[&str]) -> Answer {
    let fields: Vec<(&'static str, &str)> =
        texts.iter().map(|text| ("WWW-Authenticate", *text)).collect();
    answer(401, &fields, "")
}

#[test]
fn r09_a_scheme_that_orlop_lacks_does_not_hide_basic() {
    for texts in [&["Negotiate", r#"Basic realm="x""#][..], &[r#"Negotiate, Basic realm="x""#]] {
        let row = Row::new(format!("{texts:?}")).login("me", "pw");
        row.registry.script(ping(), [challenges(texts)]);
        let ended = row.pull().requests(B);
        assert_eq!(authorizations(&row, &head(TWO)), ["Basic bWU6cHc="], "{texts:?}");
        ended.ok();
    }
}

#[test]
fn r10_challenges_are_read_in_every_form() {
    let forms = [
        r#"bearer Realm=REALM , service = "x""#,
        r#"Bearer realm="REALM",service="a \"quoted\" name""#,
        r#"BEARER realm="REALM",service="x,y, z",scope="repository:t/two:pull,push""#,
        r#"Bearer   realm = "REALM""#,
    ];
    for form in forms {
        let row = Row::new(form);
        let text = form.replace("REALM", &row.realm());
        let row = row.answer(ping(), [challenge(&text)]).answer(token(), [given()]);
        row.pull().requests(T).count(&token(), 1).ok();
    }
    let row = Row::new("services");
    let text = format!(r#"Bearer realm="{}",service="a \"b\", c""#, row.realm());
    let row = row.answer(ping(), [challenge(&text)]).answer(token(), [given()]);
    row.pull().requests(T).done();
    let asked = &row.registry.of(&token())[0].target;
    assert!(asked.contains("service=a+%22b%22%2C+c"), "{asked}");
}

#[test]
fn r11_a_challenge_that_cannot_be_read_counts_as_none() {
    let broken: [&[u8]; 5] = [
        br#"Bearer service="x",realm="https://r.test/t"#,
        br#"Bearer service="x""#,
        b"Bearer",
        b"",
        b"Bearer realm=\"https://r.test/\xff\xfe\"",
    ];
    for text in broken {
        let name = String::from_utf8_lossy(text).into_owned();
        let ping_with = |more: &str| {
            let mut raw = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n".to_vec();
            raw.extend(b"WWW-Authenticate: ");
            raw.extend(text);
            raw.extend(format!("\r\n{more}\r\n").bytes());
            Answer::Raw(raw)
        };
        let row = Row::new(format!("{name}, alone")).answer(ping(), [ping_with("")]);
        row.pull().fails(kind::CHALLENGE_INVALID).requests(1);

        let beside = "WWW-Authenticate: Basic realm=\"x\"\r\n";
        let row = Row::new(format!("{name}, beside Basic")).login("me", "pw");
        let row = row.answer(ping(), [ping_with(beside)]);
        let ended = row.pull().requests(B);
        assert_eq!(authorizations(&row, &head(TWO)), ["Basic bWU6cHc="], "{name}");
        ended.ok();
    }
}

#[test]
fn r12_of_two_realms_the_first_is_asked() {
    let second = Row::new("second");
    let row = Row::new("first");
    let texts = [
        format!(r#"Bearer realm="{}""#, row.realm()),
        format!(r#"Bearer realm="{}""#, second.realm()),
    ];
    let two = challenges(&[&texts[0], &texts[1]]);
    let row = row.answer(ping(), [two]).answer(token(), [given()]);
    row.pull().requests(T).ok();
    assert_eq!(second.registry.requests().len(), 0);
}

#[test]
fn r13_too_many_header_fields_are_a_limit() {
    let long = "y".repeat(100 << 10);
    let many = [r#"Basic realm="x""#; 200];
    for (name, texts) in [("200 fields", &many[..]), ("100 KiB", &[long.as_str()])] {
        let row = Row::new(name).answer(ping(), [challenges(texts)]);
        row.pull().fails(kind::LIMIT_EXCEEDED).requests(1).says("header-bytes");
    }
}

#[test]
fn r14_a_challenge_never_widens_a_pull() {
    let row = Row::new("other scope");
    let text = format!(r#"Bearer realm="{}",scope="repository:other/x:pull,push,*""#, row.realm());
    let row = row.answer(ping(), [challenge(&text)]).answer(token(), [given()]);
    let ended = row.pull().requests(T);
    let asked = &row.registry.of(&token())[0].target;
    let scopes: Vec<&str> =
        asked.split(['?', '&']).filter_map(|pair| pair.strip_prefix("scope=")).collect();
    assert_eq!(scopes, ["repository%3Aother%2Fx%3Apull", "repository%3At%2Ftwo%3Apull"]);
    ended.ok();
}

#[test]
fn r15_a_wider_scope_is_asked_for_once() {
    let demand = |row: &Row| {
        let text = format!(
            r#"Bearer realm="{}",scope="repository:other/x:pull",error="insufficient_scope""#,
            row.realm()
        );
        challenge(&text)
    };
    let row = Row::new("once").tokens([given(), ok_with(&[], r#"{"token":"u"}"#)]);
    let wider = demand(&row);
    let row = row.answer(head(TWO), [wider, Answer::Whole]);
    let ended = row.pull().count(&token(), 2).count(&head(TWO), 2).requests(T + 2);
    let asked = row.registry.of(&token());
    assert!(asked[1].target.contains("repository%3Aother%2Fx%3Apull"), "{}", asked[1]);
    assert_eq!(authorizations(&row, &head(TWO)), ["Bearer t", "Bearer u"]);
    ended.ok();

    let row = Row::new("for ever").tokens([given(), ok_with(&[], r#"{"token":"u"}"#)]);
    let wider = demand(&row);
    let row = row.answer(head(TWO), [wider]);
    row.pull().fails(kind::CREDENTIALS_REFUSED).count(&token(), 2).count(&head(TWO), 2);
}

#[test]
fn r16_a_token_that_is_not_accepted_is_renewed_once() {
    let row = Row::new("401").tokens([given(), ok_with(&[], r#"{"token":"u"}"#)]);
    let again = row.bearer();
    let row = row.answer(head(TWO), [again]);
    let ended = row.pull().fails(kind::CREDENTIALS_REFUSED).says("orlop registry login");
    ended.count(&head(TWO), 2).count(&token(), 2).requests(5);

    let row = Row::new("403").tokens([given()]).answer(head(TWO), [Answer::Status(403)]);
    let ended = row.pull().fails(kind::CREDENTIALS_REFUSED);
    ended.count(&head(TWO), 1).count(&token(), 1).requests(3);
}

#[test]
fn r17_a_wrong_password_is_told_by_its_file_and_user() {
    let row = Row::new("401");
    let host = row.registry.host();
    // me:hunter2
    let file = format!(r#"{{"auths":{{"{host}":{{"auth":"bWU6aHVudGVyMg=="}}}}}}"#);
    row.site.write_home(".docker/config.json", file.as_bytes());
    row.registry.script(ping(), [challenge(r#"Basic realm="kit""#)]);
    row.registry.script(head(TWO), [challenge(r#"Basic realm="kit""#)]);
    let ended = row.pull().fails(kind::CREDENTIALS_REFUSED).count(&head(TWO), 1).requests(2);
    ended.says(".docker/config.json").says(r#""me""#).hides("hunter2").hides("bWU6aHVudGVyMg");
    assert_eq!(authorizations(&row, &head(TWO)), ["Basic bWU6aHVudGVyMg=="]);

    let row = Row::new("right").login("me", "pw");
    row.registry.script(ping(), [challenge(r#"Basic realm="kit""#)]);
    row.pull().requests(B).ok();
}
