//! Logins found in, added to and removed from texts of `config.json`; what is not a login stays.
//!
//! Rules: docker/cli `configfile`, containers-auth.json(5).

use super::*;

fn password(username: &str, secret: &str) -> Credential {
    Credential::Password { username: username.to_owned(), secret: secret.into() }
}

fn parse(text: &str) -> AuthFile {
    AuthFile::parse(text.as_bytes(), "f").unwrap()
}

fn lookup(text: &str, host: &str, path: &str) -> Found {
    parse(text).lookup(host, path, &mut Vec::new())
}

#[test]
fn a_new_file_looks_as_apptainer_writes_it() {
    let mut file = AuthFile::empty("f");
    file.set("localhost:5056", &password("myuser", "secret")).unwrap();
    assert_eq!(
        file.text(),
        "{\n\t\"auths\": {\n\t\t\"localhost:5056\": {\n\t\t\t\"auth\": \"bXl1c2VyOnNlY3JldA==\"\n\t\t}\n\t}\n}"
    );
}

#[test]
fn every_other_byte_of_a_file_stays() {
    let before = "{\n  \"HttpHeaders\": {\"X\":  1e400},\n  \"auths\": {\n    \"a.example\": {\n      \"auth\": \"eDp5\", \"email\": \"\\u0041\"\n    }\n  },\n  \"zeta\" : [0.10 , null]\n}\n";
    let mut file = parse(before);
    file.set("b.example", &password("u", "p")).unwrap();
    let added = ",\n    \"b.example\": {\n      \"auth\": \"dTpw\"\n    }";
    assert_eq!(
        file.text(),
        before.replacen("\n    }\n  },", &format!("\n    }}{added}\n  }},"), 1)
    );
    assert_eq!(file.remove("b.example"), ["b.example"]);
    assert_eq!(file.text(), before);
}

#[test]
fn a_login_replaces_the_secret_and_keeps_the_rest_of_the_entry() {
    let mut file = parse(r#"{"auths":{"a":{"identitytoken":"t","email":"e","auth":"eDp5"}}}"#);
    file.set("a", &password("u", "p")).unwrap();
    assert_eq!(file.text(), r#"{"auths":{"a":{"email":"e","auth":"dTpw"}}}"#);
}

#[test]
fn removing_the_first_middle_last_and_only_entry_leaves_good_documents() {
    for (keys, gone) in [("abc", "a"), ("abc", "b"), ("abc", "c"), ("a", "a")] {
        let entries: Vec<_> = keys.chars().map(|key| format!("\"{key}.x\":{{}}")).collect();
        let mut file = parse(&format!("{{\"auths\":{{{}}}}}", entries.join(",")));
        assert_eq!(file.remove(&format!("{gone}.x")), [format!("{gone}.x")]);
        let left: Vec<_> = keys
            .chars()
            .filter(|key| !gone.contains(*key))
            .map(|key| format!("\"{key}.x\":{{}}"))
            .collect();
        assert_eq!(file.text(), format!("{{\"auths\":{{{}}}}}", left.join(",")));
    }
}

#[test]
fn the_closest_key_wins() {
    let text = r#"{"auths":{
        "https://h.example/v1/": {"auth":"djE6cA=="}, "h.example": {"auth":"aG9zdDpw"},
        "h.example/ns": {"auth":"bnM6cA=="}, "h.example/ns/repo": {"auth":"cmVwbzpw"}}}"#;
    for (path, user) in [("ns/repo", "repo"), ("ns/other", "ns"), ("else", "host"), ("", "host")] {
        assert_eq!(
            lookup(text, "h.example", path),
            Found::Credential(password(user, "p")),
            "{path}"
        );
    }
}

#[test]
fn the_hub_is_found_under_all_its_names() {
    for key in ["https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"] {
        let text = format!(r#"{{"auths":{{"{key}":{{"auth":"dTpw"}}}}}}"#);
        assert_eq!(lookup(&text, "docker.io", "library/x"), Found::Credential(password("u", "p")));
    }
}

#[test]
fn bad_entries_are_named_and_passed_over() {
    for (auth, what) in [
        ("%%", "is not base64"),
        ("dXNlcg==", "has no colon"),
        ("OnB3", "has no user name"),
        ("dXNlcjo=", "has no password"),
        ("dTpwPz8_", "is not base64"),
    ] {
        let file = parse(&format!(r#"{{"auths":{{"h":{{"auth":"{auth}"}}}}}}"#));
        let mut warnings = Vec::new();
        assert_eq!(file.lookup("h", "", &mut warnings), Found::Nothing);
        assert_eq!(warnings, [format!("f: the entry for h {what}; it is ignored")]);
    }
}

#[test]
fn an_identity_token_beats_a_password_and_keeps_its_user_name() {
    let text = r#"{"auths":{"h":{"auth":"dTo=","identitytoken":"t"}}}"#;
    let token = Credential::IdentityToken { username: "u".to_owned(), secret: "t".into() };
    assert_eq!(lookup(text, "h", ""), Found::Credential(token.clone()));
    let mut file = AuthFile::empty("f");
    file.set("h", &token).unwrap();
    assert_eq!(file.lookup("h", "", &mut Vec::new()), Found::Credential(token));
    let text = r#"{"auths":{"h":{"registrytoken":"t"}}}"#;
    assert_eq!(lookup(text, "h", ""), Found::Credential(Credential::RegistryToken("t".into())));
}

#[test]
fn odd_passwords_come_back_byte_for_byte() {
    for secret in ["a:b", "p\nq", "pä$'\"", &"x".repeat(10_000)] {
        let mut file = AuthFile::empty("f");
        file.set("h", &password("u", secret)).unwrap();
        assert_eq!(file.lookup("h", "", &mut Vec::new()), Found::Credential(password("u", secret)));
    }
    assert_eq!(
        lookup(r#"{"auths":{"h":{"auth":"dTpwAAA="}}}"#, "h", ""),
        Found::Credential(password("u", "p"))
    );
}

#[test]
fn helpers_come_before_entries_and_the_store_after() {
    let text = r#"{"auths":{"b":{"auth":"dTpw"}},"credHelpers":{"a":"one"},"credsStore":"two"}"#;
    assert_eq!(lookup(text, "a", ""), Found::Helper("one".to_owned()));
    assert_eq!(lookup(text, "b", ""), Found::Credential(password("u", "p")));
    assert_eq!(lookup(text, "c", ""), Found::Store("two".to_owned()));
}

#[test]
fn files_that_do_not_say_what_they_must_are_refused_with_their_place() {
    for (text, said) in [
        ("", "f:1:1: the file is empty; `{}` would be an empty document"),
        ("  \n", "f:1:1: the file is empty; `{}` would be an empty document"),
        ("[]", "f:1:1: the document is not an object"),
        ("{\n \"auths\": []}", "f:2:11: `auths` is not an object"),
        ("{\"auths\":{\"h\":{\"auth\":1}}}", "f:1:23: `auth` is not a string"),
        (
            "{\"auths\":{},\n\"auths\":{}}",
            "f:2:1: the key \"auths\" is there twice, first in line 1",
        ),
        ("{\"credsStore\":\"../x\"}", "f:1:15: not a credential helper's name"),
        ("{\"auths\":{\"h\":", "f:1:15: the document ends too early"),
    ] {
        assert_eq!(AuthFile::parse(text.as_bytes(), "f").unwrap_err().to_string(), said);
    }
    assert!(AuthFile::parse(b"\xff\xfe{", "f").is_err());
}

#[test]
fn user_names_that_the_format_cannot_hold_are_refused() {
    for name in ["", "a:b", "a\nb"] {
        assert!(AuthFile::empty("f").set("h", &password(name, "p")).is_err(), "{name:?}");
    }
}

proptest::proptest! {
    #[test]
    fn edits_keep_unknown_members(key in "[a-z.]{1,12}", value in "[1-9][0-9]{0,4}", host in "[a-z]{1,8}\\.x") {
        let before = format!("{{\"{key}\" : {value},\n \"auths\":{{ }} }}");
        proptest::prop_assume!(!["auths", "credsStore", "credHelpers"].contains(&key.as_str()));
        let mut file = parse(&before);
        file.set(&host, &password("u", "p")).unwrap();
        let prefix = format!("{{\"{key}\" : {value}");
        proptest::prop_assert!(file.text().starts_with(&prefix));
        proptest::prop_assert_eq!(file.lookup(&host, "", &mut Vec::new()), Found::Credential(password("u", "p")));
    }
}
