//! `orlop registry logout`: what goes, what stays, and what is said. Not here: login (`login`).

use crate::world::{AUTH, bare_site, basic, bearer, log_in, script, secure, site};
use orlop_kit::{Registry, Site};

fn logout(site: &Site, words: &[&str]) -> orlop_kit::Outcome {
    site.orlop([&["registry", "logout"], words].concat())
}

/// Two registries' logins in docker's file, with more that is not a login.
const FILE: &str = r#"{
    "auths": {
        "a.example": {"auth": "dTpzM2NyZXQ=", "email": "x"},
        "https://index.docker.io/v1/": {"auth": "dTpzM2NyZXQ="},
        "docker.io": {"auth": "dTpzM2NyZXQ="}
    },
    "psFormat": "table"
}"#;

#[test]
fn all_logins_go_and_settings_stay() {
    let site = bare_site();
    site.write_home(".docker/config.json", FILE.as_bytes());
    let list = "Credentials:\n- URI: docker://a.example\n  Insecure: false\n- URI: https://keys.example\n  Auth: x\n";
    site.write_home(".config/orlop/remote.yaml", list.as_bytes());
    let file = site.home().join(".docker/config.json");
    let list = site.home().join(".config/orlop/remote.yaml");

    let outcome = logout(&site, &["--all"]).success();

    let (file, list) = (file.display(), list.display());
    assert_eq!(
        outcome.stderr,
        format!(
            "INFO:    Token of a.example removed from {file}\n\
             INFO:    Token of docker.io removed from {file}\n\
             INFO:    Token of docker.io removed from {file}\n\
             INFO:    docker://a.example removed from the list {list}\n\
             INFO:    Logout succeeded\n"
        )
    );
    let config = site.read_home(".docker/config.json").unwrap();
    assert!(!config.contains(AUTH) && config.contains(r#""psFormat": "table""#), "{config}");
    let list = site.read_home(".config/orlop/remote.yaml").unwrap();
    assert!(list.contains("keys.example") && !list.contains("a.example"), "{list}");
    site.orlop(["registry", "list"]).success().prints("\nURI  SECURE?\n");
    let again = logout(&site, &["--all"]).success();
    assert!(again.stderr.starts_with("WARNING: There is no existing login"), "{}", again.report());
}

#[test]
fn a_named_file_alone_is_emptied() {
    let site = bare_site();
    site.write_home(".docker/config.json", FILE.as_bytes());
    site.write_work("named.json", FILE.as_bytes());
    let outcome = logout(&site, &["--all", "--authfile", "named.json"]).success();
    assert!(outcome.stderr.contains("Token of a.example removed from named.json"));
    assert_eq!(site.read_home(".docker/config.json").unwrap(), FILE);
    let named = std::fs::read_to_string(site.work().join("named.json")).unwrap();
    assert!(!named.contains(AUTH) && named.contains("psFormat"), "{named}");
}

#[test]
fn what_helpers_hold_goes_too_and_what_they_keep_is_said() {
    let site = bare_site();
    let text = r#"d=$HOME/held; mkdir -p $d
        case $1 in list) printf '{'; s=; for f in $d/*; do test -e $f || continue
            printf '%s"%s":"u"' "$s" $(basename $f); s=,; done; echo '}';;
        get) read k; test -e $d/$k && echo '{"Username":"u","Secret":"s"}' ||
            { echo credentials not found in native keychain; exit 1; };;
        erase) read k; test $k = stuck.example && { echo locked; exit 1; }; rm $d/$k;; esac"#;
    script(&site, "docker-credential-test", text);
    let path = format!("{}:/usr/bin:/bin", site.root().join("bin").display());
    let site = site.env("PATH", path);
    for host in ["a.example", "stuck.example", "own.example", "foreign.example"] {
        site.write_home(&format!("held/{host}"), b"");
    }
    let config = r#"{"auths":{"a.example":{},"stuck.example":{}},"credsStore":"test"}"#;
    site.write_home(".docker/config.json", config.as_bytes());
    let outcome = logout(&site, &["--all"]).success();
    assert!(outcome.stderr.contains("Token of a.example removed from docker-credential-test"));
    assert!(outcome.stderr.contains("its login of stuck.example stays"), "{}", outcome.report());
    assert_eq!(site.tree(&site.home().join("held")), ["stuck.example"]);
    let left = site.read_home(".docker/config.json").unwrap();
    assert_eq!(left, r#"{"auths":{"stuck.example":{}},"credsStore":"test"}"#);

    // A helper of one host is asked for that host alone.
    site.write_home("held/own.example", b"");
    site.write_home("held/foreign.example", b"");
    let config = r#"{"credHelpers":{"own.example":"test"}}"#;
    site.write_home(".docker/config.json", config.as_bytes());
    logout(&site, &["--all"]).success();
    assert_eq!(site.tree(&site.home().join("held")), ["foreign.example", "stuck.example"]);
}

#[test]
fn all_is_instead_of_a_registry() {
    let site = bare_site();
    let outcome = logout(&site, &["--all", "docker://h.example"]).fails(1);
    assert!(outcome.stderr.contains("accepts 0 arg(s), received 1"), "{}", outcome.report());
    let outcome = logout(&site, &[]).fails(1);
    assert!(outcome.stderr.contains("accepts 1 arg(s), received 0"), "{}", outcome.report());
    let help = site.orlop(["help", "registry", "logout"]).success();
    assert!(help.stdout.contains("--all"), "{}", help.report());
}

#[test]
fn s26_a_logout_removes_every_spelling_and_says_which() {
    let site = bare_site();
    let config = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpzM2NyZXQ="},
        "docker.io":{"auth":"dTpzM2NyZXQ="},"index.docker.io/team":{"auth":"dTpzM2NyZXQ="}}}"#;
    site.write_home(".docker/config.json", config.as_bytes());
    let outcome = logout(&site, &["docker://docker.io"]).success();
    let said = "config.json (https://index.docker.io/v1/, docker.io)\n";
    assert!(outcome.stderr.contains(said), "{}", outcome.report());
    let left = site.read_home(".docker/config.json").unwrap();
    assert!(left.contains("index.docker.io/team") && left.matches(AUTH).count() == 1, "{left}");
}

#[test]
fn a_login_made_as_apptainer_leaves_no_row_after_a_logout_as_orlop() {
    let (registry, site) = secure(Registry::new().auth(basic()));
    let uri = format!("docker://{}", registry.host());
    let words = ["registry", "login", "-u", "u", "--password-stdin", &uri];
    site.run_as("apptainer", words).input("s3cret").outcome().success();
    assert!(site.read_home(".apptainer/remote.yaml").unwrap().contains(&uri));
    logout(&site, &[&uri]).success();
    assert!(!site.read_home(".apptainer/remote.yaml").unwrap().contains(&uri));
    assert_eq!(site.read_home(".config/orlop/remote.yaml"), None, "no file is made");
}

#[test]
fn a_login_that_stays_in_a_file_that_is_only_read_is_said() {
    let registry = Registry::new().auth(bearer(true)).start();
    let site = site(&registry);
    let host = registry.host();
    let auth = format!(r#"{{"auths":{{"{host}":{{"auth":"{AUTH}"}}}}}}"#);
    site.write_home(".config/containers/auth.json", auth.as_bytes());
    log_in(&site, &registry, &[]).success();
    let outcome = logout(&site, &[&format!("docker://{host}")]).success();
    let said = format!("a login to {host} stays in {}", site.home().display());
    assert!(outcome.stderr.contains(&said), "{}", outcome.report());
    assert_eq!(site.read_home(".config/containers/auth.json").unwrap(), auth);
}
