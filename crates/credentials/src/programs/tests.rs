//! Credential helpers that answer, fail, hang and talk too much; each is a shell script.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

pub(crate) fn helper(script: &str) -> (tempfile::TempDir, Surroundings) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("docker-credential-t");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("relative:{}:/usr/bin:/bin", directory.path().display());
    (directory, Surroundings::of([("PATH".into(), path.into())]))
}

/// A script that was just written may still be open for writing in a child that another test
/// forks: the kernel then says ETXTBSY, so the test asks again.
pub(crate) fn settled<T>(ask: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    loop {
        match ask() {
            Err(Error::Helper { what, .. }) if what.contains("busy") => {}
            other => return other,
        }
    }
}

fn get_settled(script: &str) -> Result<Option<Credential>, Error> {
    let (_directory, around) = helper(script);
    settled(|| get("t", "h.example", &around))
}

#[test]
fn a_login_is_asked_for_by_its_key() {
    let script =
        r#"read key; echo "{\"ServerURL\":\"$key\",\"Username\":\"u\",\"Secret\":\"p$1\"}""#;
    let got = get_settled(script).unwrap().unwrap();
    assert_eq!(got, Credential::Password { username: "u".to_owned(), secret: "pget".into() });
}

#[test]
fn identity_tokens_are_told_by_their_name() {
    let got = get_settled(r#"echo '{"Username":"<token>","Secret":"t"}'"#).unwrap().unwrap();
    assert_eq!(got, Credential::IdentityToken { username: String::new(), secret: "t".into() });
}

#[test]
fn not_found_is_no_error() {
    assert_eq!(get_settled("echo credentials not found in native keychain; exit 1").unwrap(), None);
}

#[test]
fn failures_are_told_in_its_own_words() {
    for (script, said) in [
        (
            "printf 'no\\033 bus'; exit 1",
            r"credential helper docker-credential-t says: no\u{1b} bus",
        ),
        (
            "echo '<html>'",
            "credential helper docker-credential-t gave an answer that is not its protocol's",
        ),
        (
            "echo '{}'",
            "credential helper docker-credential-t gave an answer that is not its protocol's",
        ),
        (
            r#"echo '{"ServerURL":"evil","Username":"u","Secret":"p"}'"#,
            "credential helper docker-credential-t answered for evil",
        ),
        (
            r#"echo '{"Username":"u","Secret":""}'"#,
            "credential helper docker-credential-t gave an empty secret",
        ),
        ("kill -9 $$", "credential helper docker-credential-t was killed"),
    ] {
        assert_eq!(get_settled(script).unwrap_err().to_string(), said, "{script}");
    }
}

#[test]
fn a_missing_helper_is_named() {
    let error = get("none", "h", &Surroundings::default()).unwrap_err();
    assert!(matches!(error, Error::Helper { missing: true, .. }), "{error}");
}

fn within(around: Surroundings, helper_time: Duration) -> Surroundings {
    around.within(Limits { helper_time, ..Limits::default() })
}

#[test]
fn one_that_hangs_is_killed_with_what_it_started() {
    let (_directory, around) = helper("sleep 1000 & exec sleep 1000");
    let around = within(around, Duration::from_millis(200));
    let asked = settled(|| ask("t", "get", b"h", &around));
    let error = asked.unwrap_err();
    assert_eq!(
        error.to_string(),
        "credential helper docker-credential-t gave no answer within 200ms"
    );
}

#[test]
fn s33_one_that_closes_its_output_and_hangs_is_killed_too() {
    let (_directory, around) = helper("exec >&-; exec sleep 1000");
    let around = within(around, Duration::from_millis(200));
    let error = settled(|| ask("t", "get", b"h", &around)).unwrap_err();
    assert_eq!(error.to_string(), "credential helper docker-credential-t does not end");
}

#[test]
fn s34_one_that_reads_nothing_and_talks_on_stderr_works() {
    let (_directory, around) = helper("head -c 1000000 /dev/zero >&2");
    let request = vec![b'x'; 1 << 20];
    let around = within(around, Duration::from_secs(10));
    assert!(settled(|| ask("t", "store", &request, &around)).unwrap().good);
}

#[test]
fn s37_a_helper_sees_its_callers_environment_without_passwords() {
    let script =
        r#"echo "{\"Username\":\"$DOCKER_PASSWORD$ORLOP_DOCKER_USERNAME$KEPT\",\"Secret\":\"p\"}""#;
    let (directory, _) = helper(script);
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    let around = Surroundings::of(
        [
            ("PATH", path.as_str()),
            ("DOCKER_PASSWORD", "a"),
            ("ORLOP_DOCKER_USERNAME", "b"),
            ("KEPT", "k"),
        ]
        .map(|(name, value)| (name.into(), value.into())),
    );
    let got = settled(|| get("t", "h", &around)).unwrap().unwrap();
    assert_eq!(got.username(), Some("k"));
}

#[test]
fn a_child_that_keeps_the_output_open_holds_nobody_up() {
    let got = get_settled(r#"sleep 1000 & echo '{"Username":"u","Secret":"p"}'"#).unwrap();
    assert!(got.is_some());
}

#[test]
fn a_list_is_keys_with_names_and_nothing_is_an_empty_one() {
    for (script, count) in
        [("echo null", 0), (r#"echo '{"b":"u","a":"<token>"}'"#, 2), ("echo '{}'", 0)]
    {
        let (_directory, around) = helper(script);
        assert_eq!(settled(|| list("t", &around)).unwrap().len(), count, "{script}");
    }
    let (_directory, around) = helper("echo '[]'");
    assert!(settled(|| list("t", &around)).is_err());
}

#[test]
fn what_a_helper_starts_asks_no_helper() {
    let (directory, _) = helper("exit 0");
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    let around = Surroundings::of(
        [("PATH", path.as_str()), ("ORLOP_WITHIN_HELPER", "1")]
            .map(|(name, value)| (name.into(), value.into())),
    );
    let error = get("t", "h", &around).unwrap_err();
    assert!(matches!(error, Error::Helper { missing: true, .. }), "{error}");
    let script = r#"echo "{\"Username\":\"within$ORLOP_WITHIN_HELPER\",\"Secret\":\"p\"}""#;
    assert_eq!(get_settled(script).unwrap().unwrap().username(), Some("within1"));
}
