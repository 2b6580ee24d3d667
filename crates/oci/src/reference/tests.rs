//! Properties of all references; single ones are the rows of [`super::cases`].

use proptest::prelude::*;

use super::*;

fn reference(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

#[test]
fn only_a_whole_reference_is_canonical() {
    for text in ["alpine", "docker.io/library/alpine", "index.docker.io/a/b:1"] {
        let error = Reference::parse_canonical(text).unwrap_err();
        assert_eq!(error.kind, ReferenceErrorKind::NotCanonical, "{text}");
    }
    assert!(Reference::parse_canonical("docker.io/library/alpine:latest").is_ok());
}

#[test]
fn a_digest_is_what_a_request_names() {
    let digest = Digest::sha256(b"x");
    let tagged = reference("ghcr.io/a/b:1");
    assert_eq!(tagged.selector(), "1");
    let both = tagged.with_digest(digest.clone());
    assert_eq!(both.selector(), digest.to_string());
    assert_eq!(both.canonical(), format!("ghcr.io/a/b:1@{digest}"));
    assert_eq!(both.with_tag("2").unwrap().canonical(), "ghcr.io/a/b:2");
    assert_eq!(both.with_tag("-2"), None);
}

#[test]
fn a_long_text_is_cut_in_the_error() {
    let error = Reference::parse(&"a b".repeat(1000)).unwrap_err();
    assert_eq!(error.text.len(), 400);
}

proptest! {
    #[test]
    fn parsing_what_was_printed_gives_the_same(
        host in "([a-z]{1,8}\\.[a-z]{2,3}(:[0-9]{1,5})?/)?",
        // A dot before the first slash would make a host of it.
        path in "[a-z0-9]{1,6}(/[a-z0-9]{1,6}((\\.|_|__|-{1,3}|/)[a-z0-9]{1,6}){0,3})?",
        tag in "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,20})?",
    ) {
        let text = format!("{host}{path}{tag}");
        let parsed = Reference::parse(&text).unwrap();
        prop_assert_eq!(Reference::parse(&parsed.to_string()), Ok(parsed.clone()));
        prop_assert_eq!(Reference::parse(&parsed.familiar()), Ok(parsed));
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,80}") {
        if let Ok(parsed) = Reference::parse(&text) {
            prop_assert_eq!(Reference::parse_canonical(&parsed.canonical()), Ok(parsed));
        }
    }
}
