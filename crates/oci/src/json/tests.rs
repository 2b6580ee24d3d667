//! Texts that are JSON and texts that are not; what is read here `serde_json` reads too.
//!
//! Rules: RFC 8259, and what [`super`] is stricter in.

use proptest::prelude::*;

use super::*;

fn refusal(text: &str) -> String {
    Json::parse(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn values_of_every_kind_are_read() {
    let text = r#" {"a": [null, true, false, -0.5e+3, "x\n\u00e9\ud83d\ude00"], "b": {}} "#;
    let list = Json::Array(vec![
        Json::Null,
        Json::Bool(true),
        Json::Bool(false),
        Json::Number("-0.5e+3".into()),
        Json::String("x\né😀".into()),
    ]);
    let members = [("a".to_owned(), list), ("b".to_owned(), Json::Object(BTreeMap::new()))];
    assert_eq!(Json::parse(text.as_bytes()), Ok(Json::Object(members.into())));
}

#[test]
fn a_null_member_counts_as_absent() {
    let json = Json::parse(br#"{"a": null, "b": 1}"#).unwrap();
    assert_eq!(json.get("a"), None);
    assert_eq!(json.get("b"), Some(&Json::Number("1".into())));
}

#[test]
fn a_repeated_key_is_refused_with_its_place() {
    let error = refusal("{\"a\": 1,\n  \"b\": {\"c\": 1, \"c\": 2}}");
    assert_eq!(error, "duplicate key \"c\" at line 2 column 17");
    assert!(refusal(r#"{"a": 1, "\u0061": 2}"#).starts_with("duplicate key \"a\""));
}

#[test]
fn text_that_is_not_strict_is_refused() {
    let rows = [
        "",
        "{",
        "[1,]",
        "{\"a\" 1}",
        "{a: 1}",
        "01",
        "1.",
        ".5",
        "+1",
        "NaN",
        "nul",
        "{} {}",
        "'a'",
        "\"\t\"",
        "\"\\x\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\u12g4\"",
        "[1 2]",
        "\u{feff}{}",
        "// x\n1",
        "\"a",
    ];
    for text in rows {
        assert!(Json::parse(text.as_bytes()).is_err(), "{text:?}");
    }
    assert_eq!(Json::parse(b"[\"\xff\"]").unwrap_err().reason, JsonReason::Utf8);
}

#[test]
fn nesting_ends_at_the_limit_without_a_stack_overflow() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(Json::parse(nested(DEPTH_MAX).as_bytes()).is_ok());
    let error = Json::parse(nested(DEPTH_MAX + 1).as_bytes()).unwrap_err();
    assert_eq!(error.reason, JsonReason::Depth);
    assert!(Json::parse("[".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn strings_are_written_as_go_writes_them() {
    let text = "\"\\\n\r\t\u{8}\u{c}\u{1}<>&\u{2028}é";
    let expected = "\"\\\"\\\\\\n\\r\\t\\b\\f\\u0001\\u003c\\u003e\\u0026\\u2028é\"";
    assert_eq!(string_text(text), expected);
}

proptest! {
    #[test]
    fn a_written_string_is_read_back(text in any::<String>()) {
        let read = Json::parse(string_text(&text).as_bytes());
        prop_assert_eq!(read, Ok(Json::String(text)));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        drop(Json::parse(&bytes));
    }

    #[test]
    fn what_is_read_is_json_for_others_too(text in r#"[\[\]{}:,"0-9eE.+\-\\ntrufalse ]{0,24}"#) {
        if Json::parse(text.as_bytes()).is_ok() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
        }
    }
}
