//! Orlop as the credential helper of other programs: `docker-credential-orlop`.
//!
//! The protocol as docker-credential-helpers has it, then real programs that use it. Not here:
//! helpers that Orlop uses (`credential_helpers`).

use crate::world::{AUTH, SECRET, USER, bare_site, basic, site, stored_secret};
use orlop_kit::{Auth, Image, Outcome, Registry, Site, tools};
use std::path::PathBuf;

const NAME: &str = "docker-credential-orlop";
const NOT_FOUND: &str = "credentials not found in native keychain\n";

fn ask(site: &Site, verb: &str, request: &str) -> Outcome {
    site.run_as(NAME, [verb]).input(request).outcome()
}

/// The request of `store`.
fn login(key: &str, username: &str, secret: &str) -> String {
    serde_json::json!({ "ServerURL": key, "Username": username, "Secret": secret }).to_string()
}

/// What `get` says: user and secret.
fn got(outcome: &Outcome) -> (String, String) {
    let json: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("an answer");
    let text = |name: &str| json[name].as_str().expect("a string").to_owned();
    (text("Username"), text("Secret"))
}

/// A site where other programs find the helper on PATH.
fn with_helper(site: Site) -> Site {
    // Makes the link.
    site.run_as(NAME, ["version"]).outcome().success();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", site.root().join("bin").display());
    site.env("PATH", path)
}

#[test]
fn what_is_stored_is_got_listed_and_erased() {
    let site = bare_site();
    ask(&site, "store", &login("h.example:5000", "me", "p:w \"ü\"")).success().prints("");
    let answer = ask(&site, "get", "h.example:5000\n").success();
    assert_eq!(got(&answer), ("me".to_owned(), "p:w \"ü\"".to_owned()));
    assert!(answer.stdout.contains(r#""ServerURL":"h.example:5000""#), "{}", answer.report());
    ask(&site, "list", "unused").success().prints("{\"h.example:5000\":\"me\"}\n");
    ask(&site, "erase", "h.example:5000").success().prints("");
    ask(&site, "get", "h.example:5000").fails(1).prints(NOT_FOUND);
    ask(&site, "erase", "h.example:5000").success().prints("");
    ask(&site, "list", "").success().prints("{}\n");
    assert!(site.daemons().is_empty(), "no daemon is started for a helper");
}

#[test]
fn every_spelling_of_a_key_means_the_same_host() {
    let site = bare_site();
    let spellings = [
        ["h.example", "https://h.example", "https://h.example/v1/", "http://h.example/v2/"],
        ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"],
    ];
    for group in spellings {
        for stored in group {
            ask(&site, "store", &login(stored, "me", stored)).success();
            for asked in group {
                let answer = ask(&site, "get", asked).success();
                assert_eq!(got(&answer).1, stored, "{asked}");
                let echoed = serde_json::json!(asked).to_string();
                assert!(answer.stdout.contains(&echoed), "{}", answer.report());
            }
        }
    }
    let listed = "{\"h.example\":\"me\",\"https://index.docker.io/v1/\":\"me\"}\n";
    ask(&site, "list", "unused").success().prints(listed);
    // The token that docker's own program keeps beside the login is not the login.
    let token = "https://index.docker.io/v1/refresh-token";
    ask(&site, "store", &login(token, "me", "other")).success();
    assert_eq!(got(&ask(&site, "get", token).success()).1, "other");
    assert_eq!(got(&ask(&site, "get", "docker.io").success()).1, "registry-1.docker.io");
    ask(&site, "erase", token).success();
    ask(&site, "get", token).fails(1).prints(NOT_FOUND);
    ask(&site, "erase", "docker.io").success();
    ask(&site, "get", "https://index.docker.io/v1/").fails(1).prints(NOT_FOUND);
}

#[test]
fn failures_are_words_on_stdout_with_status_1() {
    let site = bare_site();
    for (verb, request, words) in [
        ("get", "", "no credentials server URL\n"),
        ("get", " \n", "no credentials server URL\n"),
        ("erase", "", "no credentials server URL\n"),
        ("store", r#"{"Username":"u","Secret":"s"}"#, "no credentials server URL\n"),
        ("store", r#"{"ServerURL":"h","Secret":"s"}"#, "no credentials username\n"),
        ("store", "garbage", "the request is not the JSON of this protocol\n"),
        ("bogus", "", "Usage: docker-credential-orlop <get|store|erase|list|version>\n"),
    ] {
        let outcome = ask(&site, verb, request).fails(1).prints(words);
        assert_eq!(outcome.stderr, "", "{verb} {request}");
    }
    site.run_as(NAME, Vec::<&str>::new()).outcome().fails(1);
    assert_eq!(site.read_home(".docker/config.json"), None);
    let version = ask(&site, "version", "").success();
    let words: Vec<&str> = version.stdout.split_whitespace().collect();
    assert_eq!(words[..2], [NAME, "(orlop)"], "{}", version.report());
}

#[test]
fn a_file_that_does_not_parse_is_an_error_and_stays() {
    let site = bare_site();
    site.write_home(".docker/config.json", b"{\"auths\": hunter2");
    for (verb, request) in
        [("get", "h".to_owned()), ("store", login("h", "u", "s")), ("erase", "h".to_owned())]
    {
        let outcome = ask(&site, verb, &request).fails(1);
        assert!(outcome.stdout.contains("config.json:1:11"), "{}", outcome.report());
        assert!(!outcome.stdout.contains("hunter2"), "{}", outcome.report());
    }
    assert_eq!(site.read_home(".docker/config.json").unwrap(), "{\"auths\": hunter2");
}

#[test]
fn identity_tokens_are_given_and_taken_as_token() {
    let registry = Registry::new()
        .auth(Auth::Bearer { user: USER.into(), secret: SECRET.into(), anonymous_pull: false })
        .image("a:1", Image::tiny())
        .start();
    let site = site(&registry);
    let host = registry.host();
    let uri = format!("docker://{host}");
    let words = ["registry", "login", "-u", USER, "--password-stdin", &uri];
    site.run(words).input(SECRET).outcome().success();
    let (name, token) = got(&ask(&site, "get", &host).success());
    assert_eq!(name, "<token>");
    ask(&site, "erase", &host).success();
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).fails(255);
    ask(&site, "store", &login(&host, &name, &token)).success();
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    let config = site.read_home(".docker/config.json").unwrap();
    assert!(config.contains("identitytoken"), "{config}");
}

#[test]
fn what_a_helper_stores_is_a_login_of_orlops_and_a_logout_removes_it() {
    let registry = Registry::new().auth(basic()).image("a:1", Image::tiny()).start();
    let site = site(&registry);
    let host = registry.host();
    ask(&site, "store", &login(&host, USER, SECRET)).success();
    let config = site.read_home(".docker/config.json").unwrap();
    assert_eq!(stored_secret(&config, &host).as_deref(), Some(AUTH));
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    let listed = site.orlop(["registry", "list"]).success();
    assert!(listed.stdout.contains(&host), "{}", listed.report());
    site.orlop(["registry", "logout", &format!("docker://{host}")]).success();
    ask(&site, "get", &host).fails(1).prints(NOT_FOUND);
}

#[test]
fn a_file_that_names_orlop_as_its_helper_does_not_make_it_call_itself() {
    for config in [r#"{"credsStore":"orlop"}"#, r#"{"credHelpers":{"HOST":"orlop"}}"#] {
        let registry = Registry::new().auth(basic()).image("a:1", Image::tiny()).start();
        let host = registry.host();
        let site = with_helper(site(&registry));
        let config = config.replace("HOST", &host);
        site.write_home(".docker/config.json", config.as_bytes());
        let image = registry.docker("a:1");
        ask(&site, "get", &host).fails(1).prints(NOT_FOUND);
        site.orlop(["pull", "a.sif", &image]).fails(255);

        ask(&site, "store", &login(&host, USER, SECRET)).success();
        // The program that asked leaves the marker; docker would overwrite what is in its file.
        assert_eq!(site.read_home(".docker/config.json").unwrap(), config);
        assert_eq!(got(&ask(&site, "get", &host).success()).1, SECRET);
        site.orlop(["pull", "a.sif", &image]).success();
        let uri = format!("docker://{host}");
        site.orlop(["registry", "logout", &uri]).success();
        site.orlop(["pull", "--force", "a.sif", &image]).fails(255);

        let words = ["registry", "login", "-u", USER, "--password-stdin", &uri];
        let outcome = site.run(words).input(SECRET).outcome().success();
        assert!(outcome.stderr.contains(".config/orlop/credentials.json"), "{}", outcome.report());
        assert!(!site.read_home(".docker/config.json").unwrap().contains(AUTH));
        assert_eq!(got(&ask(&site, "get", &host).success()).1, SECRET);
    }
}

#[test]
fn two_helpers_that_ask_each_other_come_to_an_end() {
    let registry = Registry::new().auth(basic()).image("a:1", Image::tiny()).start();
    let host = registry.host();
    let site = with_helper(site(&registry));
    crate::world::script(&site, "docker-credential-wrap", "exec docker-credential-orlop \"$1\"");
    site.write_home(".docker/config.json", br#"{"credsStore":"wrap"}"#);
    ask(&site, "get", &host).fails(1).prints(NOT_FOUND);
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).fails(255);
    let uri = format!("docker://{host}");
    let words = ["registry", "login", "-u", USER, "--password-stdin", &uri];
    site.run(words).input(SECRET).outcome().success();
    assert_eq!(got(&ask(&site, "get", &host).success()).1, SECRET);
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
}

#[test]
fn the_third_program_answers_as_the_link_does() {
    let site = bare_site();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_docker-credential-orlop"));
    let program = {
        let copy = site.root().join("bin").join("helper");
        std::fs::copy(program, &copy).unwrap();
        copy
    };
    ask(&site, "store", &login("h", "me", "pw")).success();
    let outcome = site.program(&program, ["get"]).input("h").outcome().success();
    assert_eq!(got(&outcome), ("me".to_owned(), "pw".to_owned()));
}

#[test]
fn skopeo_uses_the_logins_through_an_auth_file() {
    let Some([skopeo]) = tools::all(["skopeo"]) else { return };
    let registry = Registry::new().auth(basic()).image("a:1", Image::tiny()).start();
    let site = with_helper(site(&registry));
    let host = registry.host();
    let auth = format!(r#"{{"credHelpers":{{"{host}":"orlop"}}}}"#);
    site.write_work("auth.json", auth.as_bytes());
    let image = registry.docker("a:1");
    let inspect = || {
        let words = ["inspect", "--raw", "--tls-verify=false", "--authfile", "auth.json", &image];
        site.program(&skopeo, words).outcome()
    };
    assert_ne!(inspect().status, 0);
    let uri = format!("docker://{host}");
    let words = ["registry", "login", "-u", USER, "--password-stdin", &uri];
    site.run(words).input(SECRET).outcome().success();
    inspect().success();
    site.orlop(["registry", "logout", &uri]).success();
    assert_ne!(inspect().status, 0);

    // And the other way: what skopeo is told to keep, Orlop has.
    let words = ["login", "--tls-verify=false", "--authfile", "auth.json", "-u", USER];
    let words = words.into_iter().chain(["--password-stdin", &host]);
    site.program(&skopeo, words).input(SECRET).outcome().success();
    assert_eq!(got(&ask(&site, "get", &host).success()).1, SECRET);
    site.orlop(["pull", "a.sif", &image]).success();
    let words = ["logout", "--authfile", "auth.json", &host];
    site.program(&skopeo, words).outcome().success();
    ask(&site, "get", &host).fails(1).prints(NOT_FOUND);
}

#[test]
fn podman_uses_the_logins_through_its_own_file() {
    let Some([podman]) = tools::all(["podman"]) else { return };
    let registry = Registry::new().auth(basic()).image("a:1", Image::tiny()).start();
    let site = with_helper(site(&registry));
    let host = registry.host();
    let auth = format!(r#"{{"credHelpers":{{"{host}":"orlop"}}}}"#);
    site.write_work("auth.json", auth.as_bytes());
    let words = ["login", "--tls-verify=false", "--authfile", "auth.json", "-u", USER];
    let words = words.into_iter().chain(["--password-stdin", &host]);
    site.program(&podman, words).input(SECRET).outcome().success();
    assert_eq!(got(&ask(&site, "get", &host).success()), (USER.to_owned(), SECRET.to_owned()));
    let words = ["login", "--authfile", "auth.json", "--get-login", &host];
    site.program(&podman, words).outcome().success().prints(&format!("{USER}\n"));
    site.program(&podman, ["logout", "--authfile", "auth.json", &host]).outcome().success();
    ask(&site, "get", &host).fails(1).prints(NOT_FOUND);
}

#[test]
fn docker_keeps_its_logins_with_orlop() {
    let Some([docker]) = tools::all(["docker"]) else { return };
    let registry = Registry::new().auth(basic()).image("a:1", Image::tiny()).start();
    let site = with_helper(site(&registry));
    let host = registry.host();
    site.write_home(".docker/config.json", br#"{"credsStore":"orlop"}"#);
    let words = ["login", "-u", USER, "--password-stdin", &host];
    let outcome = site.program(&docker, words).input(SECRET).outcome();
    if outcome.status != 0 {
        // Older ones ask their daemon to try a login.
        tools::skip(&format!("docker cannot log in without its daemon: {}", outcome.stderr));
        return;
    }
    let config = site.read_home(".docker/config.json").unwrap();
    assert!(!config.contains(AUTH), "{config}");
    assert_eq!(got(&ask(&site, "get", &host).success()).1, SECRET);
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    site.program(&docker, ["logout", &host]).outcome().success();
    ask(&site, "get", &host).fails(1).prints(NOT_FOUND);
}
