//! `registry login`, `logout` and `list`: words, files, and what is verified before.

use crate::world::{bare_site, secure, site};
use orlop_kit::{Auth, Identity, Image, RealRegistry, Registry, Site, any, ping, tools};
use std::os::unix::fs::PermissionsExt as _;

const USER: &str = "myuser";
const SECRET: &str = "open sesame: \u{fc}";

fn basic() -> Auth {
    Auth::Basic { user: USER.into(), secret: SECRET.into() }
}

fn bearer() -> Auth {
    Auth::Bearer { user: USER.into(), secret: SECRET.into(), anonymous_pull: false }
}

fn login(site: &Site, extra: &[&str], secret: &str) -> orlop_kit::Outcome {
    let mut words = vec!["registry", "login", "--username", USER, "--password-stdin"];
    words.extend(extra);
    site.run(words).input(secret).outcome()
}

/// The secret of a host in a credential file: user and password, or a refresh token.
fn stored(text: &str, host: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(text).expect("credential files are JSON");
    let entry = &json["auths"][host];
    entry["auth"].as_str().or(entry["identitytoken"].as_str()).map(str::to_owned)
}

#[test]
fn a_login_is_stored_in_both_files_and_listed() {
    let (registry, site) = secure(Registry::new().auth(basic()));
    let uri = format!("docker://{}", registry.host());

    let outcome = login(&site, &[&uri], SECRET).success();

    let home = site.home();
    let home = home.display();
    assert_eq!(
        outcome.stderr,
        format!(
            "INFO:    Token stored in {home}/.docker/config.json\n\
             INFO:    Token stored in {home}/.config/orlop/remote.yaml\n"
        )
    );
    let config = site.read_home(".docker/config.json").unwrap();
    assert!(stored(&config, &registry.host()).is_some(), "{config}");
    for file in [".docker/config.json", ".config/orlop/remote.yaml"] {
        let mode = site.home().join(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let width = uri.len();
    let listed = format!("\n{:width$}  SECURE?\n{uri}  \u{2713}\n", "URI");
    site.orlop(["registry", "list"]).success().prints(&listed);
}

#[test]
fn an_authfile_alone_is_touched_and_named_as_typed() {
    let (registry, site) = secure(Registry::new().auth(bearer()));
    let host = registry.host();
    let uri = format!("docker://{host}");

    let outcome = login(&site, &["--authfile", "./myauthfile", &uri], SECRET).success();
    assert_eq!(outcome.stderr, "INFO:    Token stored in ./myauthfile\n");
    let file = site.work().join("myauthfile");
    assert!(stored(&std::fs::read_to_string(&file).unwrap(), &host).is_some());
    assert_eq!(site.read_home(".docker/config.json"), None);
    assert_eq!(site.read_home(".config/orlop/remote.yaml"), None);

    let logout = || site.orlop(["registry", "logout", "--authfile", "./myauthfile", &uri]);
    assert_eq!(
        logout().success().stderr,
        "INFO:    Token removed from ./myauthfile\nINFO:    Logout succeeded\n"
    );
    assert_eq!(stored(&std::fs::read_to_string(&file).unwrap(), &host), None);
    assert_eq!(
        logout().success().stderr,
        format!(
            "WARNING: There is no existing login to registry \"{host}\".\n\
             INFO:    Logout succeeded\n"
        )
    );
}

#[test]
fn an_authfile_can_be_named_by_any_of_its_variables() {
    for prefix in ["ORLOP", "APPTAINER", "SINGULARITY"] {
        for variable in [format!("{prefix}_AUTHFILE"), format!("{prefix}_AUTH_FILE")] {
            let (registry, site) = secure(Registry::new().auth(basic()));
            let site = site.env(&variable, "named.json");
            let uri = format!("docker://{}", registry.host());
            let outcome = login(&site, &[&uri], SECRET).success();
            let last = outcome.stderr.lines().last();
            assert_eq!(last, Some("INFO:    Token stored in named.json"), "{variable}");
            assert!(site.work().join("named.json").exists(), "{variable}");
        }
    }
}

#[test]
fn a_wrong_password_is_refused_and_nothing_changes() {
    for auth in [basic(), bearer()] {
        let registry = Registry::new().auth(auth).start();
        let site = site(&registry);
        let before = "{\"auths\": {}, \"other\": 1}";
        site.write_home(".docker/config.json", before.as_bytes());
        let uri = format!("docker://{}", registry.host());

        let outcome = login(&site, &[&uri], "wrong").fails(255);

        let wanted = format!(
            "FATAL:   while login to {uri}: the registry refused this user name and password"
        );
        assert!(outcome.stderr.starts_with(&wanted), "{}", outcome.report());
        assert!(!outcome.stderr.contains("wrong"), "{}", outcome.report());
        assert_eq!(site.read_home(".docker/config.json").unwrap(), before);
        assert_eq!(site.read_home(".config/orlop/remote.yaml"), None);
    }
}

#[test]
fn the_password_is_asked_for_on_the_terminal_without_echo() {
    let Some([script]) = tools::all(["script"]) else { return };
    let registry = Registry::new().auth(basic()).start();
    let site = site(&registry);
    let orlop = site.programs().orlop.display();
    let typed = format!("{orlop} registry login --username {USER} docker://{}", registry.host());

    // The program reads its terminal, which `script` makes and feeds.
    let outcome = site
        .program(
            &script,
            ["--quiet", "--return", "--echo", "never", "--command", &typed, "/dev/null"],
        )
        .input(format!("{SECRET}\n"))
        .outcome()
        .success();

    assert!(outcome.stdout.starts_with("Password / Token:"), "{}", outcome.report());
    assert!(!outcome.stdout.contains(SECRET), "{}", outcome.report());
    assert!(outcome.stdout.contains("Token stored in"), "{}", outcome.report());
}

#[test]
fn a_login_keeps_what_it_does_not_know_and_follows_a_link() {
    let registry = Registry::new().auth(basic()).start();
    let site = site(&registry);
    let before = r#"{"auths":{"other.example":{"auth":"YTpi","x":1}},"psFormat":"table","n":1.50}"#;
    site.write_home("kept/real.json", before.as_bytes());
    site.write_home(".docker/.keep", b"");
    std::os::unix::fs::symlink("../kept/real.json", site.home().join(".docker/config.json"))
        .unwrap();

    login(&site, &[&format!("docker://{}", registry.host())], SECRET).success();

    let link = site.home().join(".docker/config.json");
    assert!(link.symlink_metadata().unwrap().is_symlink());
    let after = site.read_home("kept/real.json").unwrap();
    let json: serde_json::Value = serde_json::from_str(&after).unwrap();
    assert_eq!(json["auths"]["other.example"]["x"], 1);
    assert_eq!(json["psFormat"], "table");
    assert!(after.contains("1.50"), "{after}");
    assert!(stored(&after, &registry.host()).is_some());
}

#[test]
fn a_login_lets_pull_and_a_logout_no_more() {
    for auth in [basic(), bearer()] {
        let registry = Registry::new().auth(auth).image("a:1", Image::tiny()).start();
        let site = site(&registry);
        let uri = format!("docker://{}", registry.host());
        let image = registry.docker("a:1");
        let pull = |name: &str| site.orlop(["pull", name, &image]);

        pull("before.sif").fails(255);
        login(&site, &[&uri], SECRET).success();
        pull("with.sif").success();
        site.orlop(["registry", "logout", &uri]).success();
        pull("after.sif").fails(255);
        assert_eq!(site.tree(&site.work()), ["with.sif"]);
    }
}

#[test]
fn a_bare_host_is_taken_with_a_warning() {
    let registry = Registry::new().auth(basic()).start();
    let site = site(&registry);
    let outcome = login(&site, &[&registry.host()], SECRET).success();
    assert!(outcome.stderr.starts_with("WARNING: "), "{}", outcome.report());
    assert!(outcome.stderr.contains("docker://"), "{}", outcome.report());
}

#[test]
fn a_login_without_a_user_asks_no_registry() {
    let registry = Registry::new().auth(basic()).start();
    let site = site(&registry);
    let uri = format!("docker://{}", registry.host());
    let outcome = site.orlop(["registry", "login", &uri]).fails(255);
    let wanted =
        format!("FATAL:   while login to {uri}: Docker/OCI registry requires a username\n");
    assert!(outcome.stderr.starts_with(&wanted), "{}", outcome.report());
    assert_eq!(registry.count(&any()), 0);
}

#[test]
fn a_login_over_tls_needs_the_authority_of_certs_d() {
    let identity = Identity::new(&["127.0.0.1"]);
    let registry = Registry::new().auth(basic()).tls(&identity).start();
    let uri = format!("docker://{}", registry.host());

    let stranger = bare_site().watch(&registry);
    login(&stranger, &[&uri], SECRET).fails(255);
    let friend = bare_site().watch(&registry).trust(&identity, &registry.host());
    login(&friend, &[&uri], SECRET).success();
    assert!(registry.count(&ping()) > 0);
}

#[test]
fn a_login_to_a_real_registry_with_tls_is_verified() {
    let Some(registry) = RealRegistry::with_password(USER, SECRET) else { return };
    let identity = registry.identity().expect("it speaks TLS").clone();
    let site = bare_site().trust(&identity, &registry.host());
    let uri = format!("docker://{}", registry.host());
    login(&site, &[&uri], "wrong").fails(255);
    login(&site, &[&uri], SECRET).success();
}

#[test]
fn a_list_without_logins_is_its_head_and_makes_no_file() {
    let site = bare_site();
    site.orlop(["registry", "list"]).success().prints("\nURI  SECURE?\n");
    assert_eq!(site.read_home(".config/orlop/remote.yaml"), None);
}

#[test]
fn under_apptainers_name_the_list_is_apptainers_own() {
    let (registry, site) = secure(Registry::new().auth(basic()));
    let uri = format!("docker://{}", registry.host());
    let words = ["registry", "login", "-u", USER, "--password-stdin", &uri];
    let outcome = site.run_as("apptainer", words).input(SECRET).outcome().success();
    let home = site.home();
    let home = home.display();
    assert_eq!(
        outcome.stderr,
        format!(
            "INFO:    Token stored in {home}/.docker/config.json\n\
             INFO:    Token stored in {home}/.apptainer/remote.yaml\n"
        )
    );
    let list = site.read_home(".apptainer/remote.yaml").unwrap();
    assert!(list.contains(&format!("URI: {uri}")), "{list}");
}
