//! Words from outside (R143 to R147): what a registry may say to a user, and what never gets there.

use crate::world::{secure, site};
use orlop_kit::{Answer, Auth, Image, Outcome, Registry, Site, any, head, manifest, tags};

/// `Warning` lines on all answers of a registry.
fn warns(lines: Vec<String>) -> Answer {
    let headers = lines.into_iter().map(|line| ("Warning", line)).collect();
    Answer::Also(headers, Box::new(Answer::Whole))
}

fn warned(lines: Vec<String>) -> (Registry, Site) {
    let registry = Registry::new().image("a:1", Image::two_layers());
    secure(registry.answer(any(), [warns(lines)]))
}

fn pull(registry: &Registry, site: &Site) -> Outcome {
    site.orlop(["pull", "--force", "a.sif", &registry.docker("a:1")])
}

/// Lines of standard error that pass a registry's words on.
fn passed_on(outcome: &Outcome) -> Vec<String> {
    let mark = " says: ";
    let lines = outcome.stderr.lines().filter(|line| line.contains(mark));
    lines.map(|line| line.split_once(mark).unwrap().1.to_owned()).collect()
}

#[test]
fn r143_a_warning_on_every_answer_is_shown_once() {
    let (registry, site) = warned(vec![r#"299 - "the \"a\" tag is \\old""#.to_owned()]);
    let outcome = pull(&registry, &site).success();
    assert_eq!(passed_on(&outcome), [r#"the "a" tag is \old"#], "{}", outcome.report());
    // Once a command, whichever it is.
    let uri = registry.docker("a:1");
    for words in [vec!["inspect", &uri], vec!["resolve", &uri], vec!["tags", &uri]] {
        let outcome = site.orlop(words).success();
        assert_eq!(passed_on(&outcome).len(), 1, "{}", outcome.report());
    }
    site.write_work("b.sif", &std::fs::read(site.work().join("a.sif")).unwrap());
    let push = site.orlop(["push", "b.sif", &registry.oras("b:1")]).success();
    assert_eq!(passed_on(&push).len(), 1, "{}", push.report());
}

#[test]
fn r143_a_warning_with_control_characters_or_of_another_form_is_dropped() {
    let rows = [
        "299 - \"a\u{1b}[31mb\"",
        "299 - \"bell\u{7}\"",
        "299 - \"c1 \u{9b}\"",
        "299 - \"bidi \u{202e}\"",
        "299 - unquoted",
        "199 - \"another code\"",
        "299 - \"open",
    ];
    for row in rows {
        let (registry, site) = warned(vec![row.to_owned()]);
        let outcome = pull(&registry, &site);
        // A header that HTTP itself forbids may fail the request; it is never shown.
        assert!(passed_on(&outcome).is_empty(), "{row:?}: {}", outcome.report());
        assert!(!outcome.stderr.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']), "{row:?}");
    }
}

#[test]
fn r143_warnings_of_one_command_are_bounded_in_all() {
    let lines = (0..60).map(|number| format!("299 - \"{number} {}\"", "x".repeat(200)));
    let (registry, site) = warned(lines.collect());
    let outcome = pull(&registry, &site).success();
    let shown = passed_on(&outcome);
    let bytes: usize = shown.iter().map(String::len).sum();
    assert!(!shown.is_empty() && bytes <= 4096, "{bytes} in {}", outcome.report());
}

fn error(status: u16, body: &str) -> Answer {
    Answer::With(status, Vec::new(), body.as_bytes().to_vec())
}

#[test]
fn r144_words_of_an_error_are_shown_escaped() {
    let odd = "no\u{1b}[2J\n\u{202e}\u{9b}way";
    let body = serde_json::json!({"errors": [{"code": "DENIED", "message": odd}]}).to_string();
    for answer in [error(400, &body), error(403, &body)] {
        let (registry, site) = secure(
            Registry::new()
                .image("a:1", Image::tiny())
                .answer(manifest("a:1"), [answer.clone()])
                .answer(head("a:1"), [Answer::Status(405)]),
        );
        let outcome = pull(&registry, &site).fails(255);
        let outcome = outcome.says(r"no\x1b[2J\n\u{202e}\u{9b}way");
        assert!(!outcome.stderr.contains(['\u{1b}', '\u{202e}', '\u{9b}']));
    }
}

#[test]
fn r145_of_a_body_the_title_or_nothing_is_shown() {
    let html = "<html><head><title>502 Bad\nGateway</title></head><body>secret</body></html>";
    let registry = Registry::new().start();
    let site = site(&registry).env("ORLOP_LIMITS_BACKOFF", "1ms");
    for (body, words, unwanted) in [
        (html, "502 Bad", "secret"),
        ("{\"errors\":\"odd\"}", "answered 500", "odd"),
        ("", "answered 500", "errors"),
    ] {
        registry.script(tags(), [error(500, body)]);
        let outcome = site.orlop(["tags", &registry.docker("a")]).fails(255).says(words);
        assert!(!outcome.stderr.contains(unwanted), "{}", outcome.report());
    }
}

#[test]
fn r145_no_more_of_a_body_is_read_than_the_limit() {
    let mut endless = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 104857600\r\n\r\n".to_vec();
    endless.resize(endless.len() + (1 << 20), b'x');
    let registry = Registry::new().answer(tags(), [Answer::Raw(endless)]).start();
    let site = site(&registry);
    let outcome = site.orlop(["tags", &registry.docker("a")]).fails(255).says("answered 400");
    assert!(!outcome.stderr.contains("xxx"), "{}", outcome.report());
}

#[test]
fn r145_a_detail_is_neither_shown_nor_logged() {
    let auth = Auth::Basic { user: "u".into(), secret: "canary-secret".into() };
    let body = serde_json::json!({"errors": [{
        "code": "DENIED", "message": "no", "detail": "Basic canary-secret dTpjYW5hcnktc2VjcmV0",
    }]});
    let registry = Registry::new().auth(auth).answer(tags(), [error(403, &body.to_string())]);
    let registry = registry.start();
    let site = site(&registry).env("ORLOP_LOG", "trace");
    let uri = registry.docker("a");
    let words =
        ["-d", "tags", "--docker-username", "u", "--docker-password", "canary-secret", &uri];
    let outcome = site.orlop(words).fails(255).says("DENIED: no");
    let logs = site.tree(&site.home()).into_iter().filter(|path| path.ends_with(".log"));
    let logs: String = logs.filter_map(|path| site.read_home(&path)).collect();
    assert!(!logs.is_empty());
    for text in [&outcome.stderr, &outcome.stdout, &logs] {
        assert!(!text.contains("canary-secret") && !text.contains("dTpjYW5h"), "{text}");
    }
}

#[test]
fn r147_odd_quotas_are_ignored_and_low_ones_told() {
    let quota = |limit: &str, remaining: &str| {
        let headers = vec![
            ("ratelimit-limit", limit.to_owned()),
            ("ratelimit-remaining", remaining.to_owned()),
        ];
        Answer::Also(headers, Box::new(Answer::Whole))
    };
    for (limit, remaining, told) in [
        ("100;w=21600", "5;w=21600", true),
        ("100;w=21600, 1000;w=86400", "9;w=21600, 900;w=86400", true),
        ("100;w=21600", "76;w=21600", false),
        ("x;w=", "5", false),
        ("100", "-5", false),
        ("1000000000000000000000000000000", "5", false),
        ("18446744073709551615", "18446744073709551615", false),
        ("0", "0", false),
        ("", "", false),
    ] {
        let registry = Registry::new().image("a:1", Image::tiny());
        let (registry, site) = secure(
            registry
                .answer(head("a:1"), [quota(limit, remaining)])
                .answer(manifest("a:1"), [quota(limit, remaining)]),
        );
        let outcome = pull(&registry, &site).success();
        let warnings = outcome.stderr.lines().filter(|line| {
            line.contains("pulls left at") && line.split_whitespace().any(|word| word == "WARNING:")
        });
        let count = warnings.count();
        assert_eq!(count, usize::from(told), "{limit} {remaining}: {}", outcome.report());
    }
}
