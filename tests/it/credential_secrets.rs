//! Passwords and user names of every kind, and every way to give a password.
//!
//! The registry lets everybody in: what it is sent is read from its log. Not here: the files
//! (`credential_files`).

use crate::world::{SECRET, USER, bearer, log_in, log_in_as, site, stored_secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orlop_kit::{Registry, Site, any, tools};

const CONFIG: &str = ".docker/config.json";

fn open() -> (Registry, Site) {
    let registry = Registry::new().start();
    let site = site(&registry);
    (registry, site)
}

/// What the registry was sent last as Basic, decoded.
fn sent(registry: &Registry) -> Vec<u8> {
    let sent = registry.requests();
    let mut sent = sent.iter().rev().filter_map(|one| one.header("authorization"));
    let code = sent.next().and_then(|value| value.strip_prefix("Basic ")).expect("Basic was sent");
    STANDARD.decode(code).expect("base64")
}

#[track_caller]
fn kept_and_sent(registry: &Registry, site: &Site, secret: &[u8]) {
    let wanted = [b"u:", secret].concat();
    assert_eq!(sent(registry), wanted);
    let config = site.read_home(CONFIG).unwrap();
    let stored = stored_secret(&config, &registry.host()).unwrap();
    assert_eq!(STANDARD.decode(stored).unwrap(), wanted);
}

#[test]
fn s23_a_password_is_sent_and_stored_byte_for_byte() {
    let (registry, site) = open();
    let long = vec![b'x'; 10 << 10];
    for secret in [
        &b"a:b:c"[..],
        b"two\nlines",
        "\u{fc}\u{1f511}".as_bytes(),
        b"\xff\xfe\x80",
        &long,
        b"$HOME $(id) `id`",
        b"'\"\\",
        b" blanks ",
    ] {
        log_in_as(&site, &registry, &[], USER, secret).success();
        kept_and_sent(&registry, &site, secret);
    }
    let before = site.read_home(CONFIG);
    registry.forget();
    let outcome = log_in_as(&site, &registry, &[], USER, &b"a\0canary"[..]).fails(255);
    assert!(!outcome.stderr.contains("canary"), "{}", outcome.report());
    assert_eq!(registry.count(&any()), 0);
    assert_eq!(site.read_home(CONFIG), before);
}

#[test]
fn s24_a_user_name_that_basic_cannot_carry_is_refused() {
    let (registry, site) = open();
    for user in ["a:b", "", "a\nb", "a\rb"] {
        log_in_as(&site, &registry, &[], user, SECRET).fails(255);
        assert_eq!(registry.count(&any()), 0, "{user:?}");
    }
    assert_eq!(site.read_home(CONFIG), None);
}

#[test]
fn s24_the_name_token_says_that_the_secret_is_an_identity_token() {
    let registry = Registry::new().auth(bearer(false)).start();
    let site = site(&registry);
    log_in(&site, &registry, &[]).success();
    let config = site.read_home(CONFIG).unwrap();
    let token = stored_secret(&config, &registry.host()).unwrap();
    site.orlop(["registry", "logout", "--all"]).success();
    let words = ["--authfile", "named.json"];
    log_in_as(&site, &registry, &words, "<token>", token.clone()).success();
    let named = std::fs::read_to_string(site.work().join("named.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&named).unwrap();
    let entry = &json["auths"][registry.host()];
    assert_eq!((&entry["identitytoken"], &entry["auth"]), (&token.into(), &().into()));
    log_in_as(&site, &registry, &words, "<token>", "kit-refresh-none").fails(255);
}

#[test]
fn s25_stdin_gives_a_password_without_its_last_line_end() {
    let (registry, site) = open();
    for (given, secret) in
        [("pw\r\n", "pw"), ("pw\n\n", "pw\n"), ("pw\n", "pw"), ("pw", "pw"), ("pw\r", "pw")]
    {
        log_in_as(&site, &registry, &[], USER, given).success();
        kept_and_sent(&registry, &site, secret.as_bytes());
    }
    registry.forget();
    for nothing in ["", "\n", "\r\n"] {
        let outcome = log_in_as(&site, &registry, &[], USER, nothing).fails(255);
        assert!(outcome.stderr.contains("a password is required"), "{}", outcome.report());
    }
    let much = vec![b'x'; 1 << 20];
    let outcome = log_in_as(&site, &registry, &[], USER, much).fails(255);
    assert!(outcome.stderr.contains("secret-bytes"), "{}", outcome.report());
    let line = format!(
        "exec {} registry login -u u --password-stdin docker://{} <&-",
        site.programs().orlop.display(),
        registry.host()
    );
    let shell = std::path::Path::new("/bin/sh");
    let outcome = site.program(shell, ["-c", &line]).outcome().fails(255);
    assert!(outcome.stderr.contains("password"), "{}", outcome.report());
    assert_eq!(registry.count(&any()), 0);
}

#[test]
fn s25_a_terminal_as_stdin_is_asked_without_echo() {
    let Some([script]) = tools::all(["script"]) else { return };
    let (registry, site) = open();
    let orlop = site.programs().orlop.display();
    let typed =
        format!("{orlop} registry login -u u --password-stdin docker://{}", registry.host());
    let words = ["--quiet", "--return", "--echo", "never", "--command", &typed, "/dev/null"];
    let outcome = site.program(&script, words).input("open sesame\n").outcome().success();
    assert!(outcome.stdout.starts_with("Password / Token:"), "{}", outcome.report());
    assert!(!outcome.stdout.contains("sesame"), "{}", outcome.report());
    kept_and_sent(&registry, &site, b"open sesame");
}

#[test]
fn without_a_terminal_and_the_flag_no_password_is_read() {
    let (registry, site) = open();
    let uri = format!("docker://{}", registry.host());
    let outcome = site.run(["registry", "login", "-u", "u", &uri]).input("pw\n").outcome();
    outcome.fails(255).says("a password is required");
    assert_eq!(registry.count(&any()), 0);
}
