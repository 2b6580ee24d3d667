//! `orlop tags`: pages, limits, and lists that lie.

use crate::world::{secure, site};
use orlop_kit::{Answer, Image, Registry, tags};
use std::fmt::Write as _;

/// A page of the API with these tags, and a link to the next.
fn page(tags: &[String], next: Option<&str>) -> Answer {
    let body = serde_json::json!({"name": "a", "tags": tags}).to_string().into_bytes();
    let mut headers = vec![("Content-Type", "application/json".to_owned())];
    headers.extend(next.map(|next| ("Link", format!("<{next}>; rel=\"next\""))));
    Answer::With(200, headers, body)
}

fn names(names: std::ops::Range<usize>) -> Vec<String> {
    names.map(|number| format!("v{number}")).collect()
}

fn lines(names: &[String]) -> String {
    names.iter().fold(String::new(), |mut text, name| {
        let _infallible = writeln!(text, "{name}");
        text
    })
}

#[test]
fn tags_are_listed_one_a_line_and_as_a_json_array() {
    let registry = Registry::new();
    for tag in ["1", "2.0", "latest"] {
        registry.put(&format!("t/a:{tag}"), Image::tiny());
    }
    let registry = registry.start();
    let site = site(&registry);
    let uri = registry.docker("t/a");
    site.orlop(["tags", &uri]).success().prints("1\n2.0\nlatest\n");
    let json = site.orlop(["tags", "--json", &uri]).success();
    let read: Vec<String> = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(read, ["1", "2.0", "latest"]);
    // A tag counts for nothing, and oras:// is another name of the same repository.
    site.orlop(["tags", &registry.oras("t/a:2.0")]).success().prints("1\n2.0\nlatest\n");
}

#[test]
fn links_are_followed_relative_or_absolute_until_there_is_none() {
    let registry = Registry::new().start();
    let site = site(&registry);
    let absolute = format!("http://{}/v2/a/tags/list?last=v2&n=2", registry.host());
    registry.script(
        tags(),
        [
            page(&names(0..2), Some("/v2/a/tags/list?last=v1&n=2")),
            page(&names(2..3), Some(&absolute)),
            page(&[], Some("?last=x")),
            page(&names(3..4), None),
        ],
    );
    site.orlop(["tags", &registry.docker("a")]).success().prints(&lines(&names(0..4)));
    let asked: Vec<String> = registry.of(&tags()).into_iter().map(|one| one.target).collect();
    assert_eq!(
        asked,
        [
            "/v2/a/tags/list?n=1000",
            "/v2/a/tags/list?last=v1&n=2",
            "/v2/a/tags/list?last=v2&n=2",
            "/v2/a/tags/list?last=x",
        ]
    );
}

#[test]
fn a_full_page_without_a_link_is_followed_by_what_comes_after_its_last_tag() {
    let registry = Registry::new()
        .answer(tags(), [page(&names(0..1000), None), page(&names(1000..1001), None)])
        .start();
    let site = site(&registry);
    site.orlop(["tags", &registry.docker("a")]).success().prints(&lines(&names(0..1001)));
    assert_eq!(registry.of(&tags())[1].target, "/v2/a/tags/list?n=1000&last=v999");
}

#[test]
fn r146_a_list_that_leads_to_itself_ends_at_the_repeat() {
    for (answers, requests) in [
        (vec![page(&names(0..2), Some("/v2/a/tags/list?n=1000"))], 1),
        (vec![page(&names(0..2), Some("/v2/a/tags/list?last=v1"))], 2),
        // A new address each time, and always the same page.
        (vec![page(&names(0..2), Some("?page=1")), page(&names(0..2), Some("?page=2"))], 2),
        // All tags, whatever was asked for.
        (vec![page(&names(0..1000), None)], 2),
    ] {
        let registry = Registry::new().answer(tags(), answers).start();
        let site = site(&registry);
        let outcome = site.orlop(["tags", &registry.docker("a")]).success();
        assert!(lines(&names(0..1000)).starts_with(&outcome.stdout), "{}", outcome.report());
        assert_eq!(registry.count(&tags()), requests, "{}", registry.log());
    }
}

#[test]
fn r146_a_next_page_at_another_host_is_refused() {
    let other = Registry::new().answer(tags(), [page(&names(2..4), None)]).start();
    let there = format!("http://{}/v2/a/tags/list?last=v1", other.host());
    let registry = Registry::new().answer(tags(), [page(&names(0..2), Some(&there))]).start();
    let site = site(&registry).watch(&other);
    let outcome = site.orlop(["tags", &registry.docker("a")]).fails(255);
    let outcome = outcome.says("FATAL:   While listing tags: a redirect is refused");
    assert_eq!(other.requests().len(), 0, "{}", outcome.report());
}

#[test]
fn r146_more_than_a_million_tags_are_too_many() {
    let registry = Registry::new()
        .answer(
            tags(),
            [
                page(&names(0..400_000), Some("?page=2")),
                page(&names(400_000..800_000), Some("?page=3")),
                page(&names(800_000..1_000_001), None),
            ],
        )
        .start();
    let site = site(&registry);
    let outcome = site.orlop(["tags", &registry.docker("a")]).fails(255);
    outcome.says("limit reached:").says("tags = 1000000");
}

#[test]
fn r146_null_is_no_tag_and_a_repository_that_is_not_there_is_told() {
    let body = |text: &str| {
        let kind = vec![("Content-Type", "application/json".to_owned())];
        Answer::With(200, kind, text.as_bytes().to_vec())
    };
    let registry = Registry::new().start();
    let site = site(&registry);
    for empty in [r#"{"name":"a","tags":null}"#, r#"{"name":"a"}"#, r#"{"tags":[]}"#] {
        registry.script(tags(), [body(empty)]);
        site.orlop(["tags", &registry.docker("a")]).success().prints("");
        site.orlop(["tags", "--json", &registry.docker("a")]).success().prints("[]\n");
    }
    registry.script(tags(), [Answer::Whole]);
    let missing = site.orlop(["tags", &registry.docker("a")]).fails(255);
    missing.says("FATAL:   While listing tags: not found:");
    for unusable in ["[]", "no", r#"{"tags":[1]}"#] {
        registry.script(tags(), [body(unusable)]);
        site.orlop(["tags", &registry.docker("a")]).fails(255).says("the registry failed");
    }
}

#[test]
fn r146_a_page_beyond_the_limit_of_documents_is_not_read() {
    let head =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 104857600\r\n\r\n{";
    let mut chunked = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\n\r\n500000\r\n{\"tags\":[\""
        .to_vec();
    chunked.resize(chunked.len() + (5 << 20), b'a');
    for answer in [head.to_vec(), chunked] {
        let registry = Registry::new().answer(tags(), [Answer::Raw(answer)]).start();
        let site = site(&registry);
        let outcome = site.orlop(["tags", &registry.docker("a")]).fails(255);
        outcome.says("limit reached:").says("manifest-bytes = 4194304");
    }
}

#[test]
fn r144_tags_of_any_characters_are_shown_escaped() {
    let odd = ["a\u{1b}[2J".to_owned(), "b\nc".to_owned(), "d\u{202e}e\u{9b}f".to_owned()];
    let (registry, site) = secure(Registry::new().answer(tags(), [page(&odd, None)]));
    let uri = registry.docker("a");
    let shown = "a\\x1b[2J\nb\\nc\nd\\u{202e}e\\u{9b}f\n";
    site.orlop(["tags", &uri]).success().prints(shown);
    let json = site.orlop(["tags", "--json", &uri]).success();
    let read: Vec<String> = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(read, odd);
    assert!(!json.stdout.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{}", json.report());
}

#[test]
fn what_names_no_repository_of_a_registry_is_refused() {
    let site = crate::world::bare_site();
    for (text, words) in [
        ("a.sif", "type docker://a.sif"),
        ("library://a/b/c", "use docker://"),
        ("docker-archive:a.tar", "use docker://"),
    ] {
        for command in ["tags", "resolve", "inspect"] {
            if command == "inspect" && text == "a.sif" {
                continue;
            }
            site.orlop([command, text]).fails(255).says(words);
        }
    }
    assert!(site.daemons().is_empty());
}
