//! `registry explain`: what it says of logins, bare names and broken input.
//!
//! Not here: the cases of `tests/data` ([`crate::explain_cases`]).

use crate::world::bare_site;
use orlop_kit::Site;
use serde_json::Value;

const CONF: &str = ".config/containers/registries.conf";

/// Explains and gives the object of stdout.
#[track_caller]
fn explained(site: &Site, words: &[&str]) -> Value {
    let words = ["registry", "explain", "--json"].iter().chain(words).copied();
    let outcome = site.orlop(words).success();
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{}", outcome.report()))
}

/// Explains and gives the error of stdout.
#[track_caller]
fn refused(site: &Site, words: &[&str]) -> Value {
    let words = ["registry", "explain", "--json"].iter().chain(words).copied();
    let outcome = site.orlop(words).fails(255);
    let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(outcome.stderr.contains("FATAL:"), "{}", outcome.report());
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.report());
    value["error"].clone()
}

fn credentials(found: &Value) -> Vec<String> {
    let sources = found["sources"].as_array().unwrap();
    sources.iter().map(|source| source["credentials"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_source_is_told_with_the_file_that_has_its_login() {
    let site = bare_site();
    site.write_home(
        CONF,
        b"[[registry]]\nlocation = 'docker.io'\n[[registry.mirror]]\nlocation = 'm.example/hub'\n",
    );
    site.write_home(
        ".docker/config.json",
        br#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpzZWNyZXQ="}}}"#,
    );
    let auth = br#"{"auths":{"m.example/hub":{"auth":"bTpzZWNyZXQ="}}}"#;
    site.write_home(".config/containers/auth.json", auth);
    let docker = site.home().join(".docker/config.json").display().to_string();
    let podman = site.home().join(".config/containers/auth.json").display().to_string();
    assert_eq!(credentials(&explained(&site, &["docker://alpine"])), [podman, docker]);

    let text = site.orlop(["registry", "explain", "docker://alpine"]).success();
    let of_mirror = "containers/auth.json, as user m\n";
    for word in ["registries.conf:1", "1. m.example/hub/library/alpine:latest", of_mirror] {
        assert!(text.stdout.contains(word), "{word}: {}", text.report());
    }
    assert!(!text.stdout.contains("secret") && !text.stderr.contains("secret"));
    assert_eq!(site.processes(), [] as [u32; 0]);
}

#[test]
fn a_login_of_the_environment_is_told_for_the_named_host_alone() {
    let site = bare_site().env("DOCKER_USERNAME", "u").env("DOCKER_PASSWORD", "canary-2931");
    site.write_home(
        CONF,
        b"[[registry]]\nlocation = 'h.example'\n[[registry.mirror]]\nlocation = 'm.example'\n",
    );
    let found = explained(&site, &["docker://h.example/a"]);
    assert_eq!(credentials(&found), ["none", "the environment"]);
    assert!(!found.to_string().contains("canary-2931"));
    let text = site.orlop(["registry", "explain", "docker://h.example/a"]).success();
    assert!(text.stdout.contains("login: the environment, as user u\n"), "{}", text.report());
    assert!(!text.stdout.contains("canary-2931"));
}

#[test]
fn a_named_auth_file_is_the_only_one() {
    let site = bare_site();
    site.write_home(".docker/config.json", br#"{"auths":{"h.example":{"auth":"dTpw"}}}"#);
    site.write_work("auth.json", br#"{"auths":{"other.example":{"auth":"dTpw"}}}"#);
    assert_eq!(
        credentials(&explained(&site, &["--authfile", "auth.json", "docker://h.example/a"])),
        ["none"]
    );
    assert_eq!(
        credentials(&explained(&site, &["--authfile", "auth.json", "docker://other.example/a"])),
        ["auth.json"]
    );
}

#[test]
fn credential_helpers_are_named_and_not_run() {
    let site = bare_site().env("PATH", "/nonexistent:/usr/bin");
    site.write_home(CONF, b"credential-helpers = ['global', 'containers-auth.json']\n");
    site.write_home(
        ".docker/config.json",
        br#"{"credHelpers":{"own.example":"own"},"credsStore":"store"}"#,
    );
    assert_eq!(
        credentials(&explained(&site, &["docker://own.example/a"])),
        ["docker-credential-global, else docker-credential-own"]
    );
    assert_eq!(
        credentials(&explained(&site, &["docker://other.example/a"])),
        ["docker-credential-global, else docker-credential-store"]
    );
    site.write_home(CONF, b"credential-helpers = ['../evil', 'containers-auth.json']\n");
    let outcome = site.orlop(["registry", "explain", "--json", "docker://other.example/a"]);
    assert!(outcome.success().says("not a credential helper's name").stdout.contains("-store\""));
}

#[test]
fn a_bare_name_is_dockers_and_other_transports_name_no_registry() {
    let site = bare_site();
    site.write_home(CONF, b"");
    for (given, canonical) in [
        ("alpine", "docker.io/library/alpine:latest"),
        ("h.example:5000/a/b:1", "h.example:5000/a/b:1"),
        ("localhost/a", "localhost/a:latest"),
    ] {
        let found = explained(&site, &[given]);
        assert_eq!(found["reference"]["canonical"], canonical);
        assert_eq!(found["reference"]["transport"], "docker");
    }
    for (given, kind) in [
        ("", "empty"),
        ("docker:alpine", "format"),
        ("library://a/b/c", "format"),
        ("https://h.example/a.sif", "format"),
        ("oci:dir:tag", "format"),
        ("./alpine", "format"),
        ("nonsense://x", "format"),
        ("docker://\u{202e}\n", "format"),
        ("Alpine", "uppercase"),
    ] {
        let error = refused(&site, &[given]);
        assert_eq!((&error["stage"], &error["kind"]), (&"reference".into(), &kind.into()));
    }
    let error = refused(&site, &["docker://me:pw@h.example/a"]);
    assert!(error.to_string().contains("***@h.example/a"), "{error}");
    assert!(!error.to_string().contains("pw"), "{error}");
}

#[test]
fn an_argument_that_is_no_utf8_is_no_reference() {
    use std::os::unix::ffi::OsStringExt as _;
    let site = bare_site();
    for bytes in [&b"docker://\xff"[..], b"\xff\xfe", b"docker://a\xc3:1"] {
        let argument = std::ffi::OsString::from_vec(bytes.to_vec());
        let words = ["registry", "explain", "--json"].map(std::ffi::OsString::from);
        let outcome = site.orlop(words.into_iter().chain([argument])).fails(255);
        let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(value["error"]["kind"], "format", "{}", outcome.report());
    }
}

#[test]
fn files_that_cannot_be_used_are_told_with_their_place() {
    let site = bare_site();
    site.write_home(CONF, b"# ok\n# \xff\n");
    let conf = site.home().join(CONF).display().to_string();
    let error = refused(&site, &["docker://a"]);
    assert_eq!((&error["stage"], &error["kind"]), (&"config".into(), &"toml-syntax".into()));
    assert_eq!((&error["file"], &error["line"]), (&conf.as_str().into(), &2.into()));

    site.write_home(CONF, b"");
    site.write_home(".docker/config.json", b"{\n\"auths\": hunter2}");
    let error = refused(&site, &["docker://a"]);
    assert_eq!((&error["stage"], &error["kind"]), (&"config".into(), &"credential-file".into()));
    assert!(error["file"].as_str().unwrap().ends_with(".docker/config.json"), "{error}");
    assert_eq!(error["line"], 2);
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn mirrors_serve_oras_only_by_setting() {
    let site = bare_site();
    site.write_home(
        CONF,
        b"[[registry]]\nlocation = 'h.example'\n[[registry.mirror]]\nlocation = 'm.example'\n",
    );
    let count = |words: &[&str]| explained(&site, words)["sources"].as_array().unwrap().len();
    assert_eq!(count(&["oras://h.example/a"]), 1);
    site.write_home(".config/orlop/orlop.toml", b"[registry]\noras-mirrors = true\n");
    assert_eq!(count(&["oras://h.example/a"]), 2);
}
