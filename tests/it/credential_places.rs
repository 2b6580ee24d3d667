//! Where a login is looked for: every place alone is enough for a pull, and `--debug` names it.
//!
//! The registry wants the login for everything; only the place under test has it. Not here: what a
//! broken file does (`credential_files`).

use crate::world::{AUTH, SECRET, USER, basic, bearer, log_in, site, stored_secret};
use orlop_kit::{Image, Outcome, Registry, Site};

fn private() -> (Registry, Site) {
    let registry = Registry::new().auth(basic()).image("ns/a:1", Image::tiny()).start();
    let site = site(&registry);
    (registry, site)
}

/// An entry for the key `host` with `tail` behind it.
fn file(registry: &Registry, tail: &str) -> String {
    format!(r#"{{"auths":{{"{}{tail}":{{"auth":"{AUTH}"}}}}}}"#, registry.host())
}

fn debug_pull<'a>(site: &'a Site, registry: &Registry) -> orlop_kit::site::Run<'a> {
    site.run(["--debug", "pull", "--force", "a.sif", &registry.docker("ns/a:1")])
}

#[track_caller]
fn names(outcome: &Outcome, registry: &Registry, place: &str) {
    let said = format!("Login for {}: {place}\n", registry.host());
    assert!(outcome.stderr.contains(&said), "{said} in {}", outcome.report());
}

#[test]
fn each_default_file_alone_is_enough_and_is_named() {
    for (path, is_legacy) in [
        (".docker/config.json", false),
        (".config/orlop/credentials.json", false),
        (".config/containers/auth.json", false),
        (".dockercfg", true),
        (".apptainer/docker-config.json", false),
    ] {
        let (registry, site) = private();
        debug_pull(&site, &registry).outcome().fails(255);
        let text = file(&registry, "");
        let text = if is_legacy { text[9..text.len() - 1].to_owned() } else { text };
        site.write_home(path, text.as_bytes());
        let outcome = debug_pull(&site, &registry).outcome().success();
        names(&outcome, &registry, site.home().join(path).to_str().unwrap());
        let quiet = site.orlop(["pull", "--force", "a.sif", &registry.docker("ns/a:1")]).success();
        assert!(!quiet.stderr.contains("Login for"), "{}", quiet.report());
        // What is only read stays as it is through a login and a logout.
        if path == ".docker/config.json" || path.starts_with(".config/orlop") {
            continue;
        }
        log_in(&site, &registry, &[]).success();
        let uri = format!("docker://{}", registry.host());
        site.orlop(["registry", "logout", &uri]).success();
        assert_eq!(site.read_home(path).unwrap(), text, "{path}");
        debug_pull(&site, &registry).outcome().success();
    }
}

#[test]
fn podmans_file_in_the_runtime_directory_is_read() {
    let (registry, site) = private();
    let at = site.runtime().join("containers");
    std::fs::create_dir(&at).unwrap();
    site.person().give(&at);
    let at = at.join("auth.json");
    std::fs::write(&at, file(&registry, "")).unwrap();
    std::fs::set_permissions(&at, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    site.person().give(&at);
    let outcome = debug_pull(&site, &registry).outcome().success();
    names(&outcome, &registry, at.to_str().unwrap());
}

#[test]
fn podmans_file_of_a_user_without_a_runtime_directory_is_read() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (registry, site) = private();
    let at = std::path::PathBuf::from(format!("/run/containers/{}", site.person().uid));
    if at.exists() || std::fs::create_dir_all(&at).is_err() {
        return;
    }
    let path = at.join("auth.json");
    std::fs::write(&path, file(&registry, "")).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    site.person().give(&at);
    site.person().give(&path);
    // Another cache than the default one, so that its daemon is not another test's.
    let run = debug_pull(&site, &registry).no_env("XDG_RUNTIME_DIR");
    let outcome = run.env("ORLOP_CACHEDIR", site.home().join("cache")).outcome();
    std::fs::remove_dir_all(&at).unwrap();
    names(&outcome.success(), &registry, path.to_str().unwrap());
}

#[test]
fn variables_name_files_and_hold_logins() {
    let (registry, site) = private();
    let text = file(&registry, "");
    site.write_work("named/auth.json", text.as_bytes());
    site.write_work("config/config.json", text.as_bytes());
    let work = site.work();
    for (name, value, place) in [
        (
            "REGISTRY_AUTH_FILE",
            "named/auth.json",
            work.join("named/auth.json").display().to_string(),
        ),
        ("DOCKER_CONFIG", "config", work.join("config/config.json").display().to_string()),
        ("DOCKER_AUTH_CONFIG", text.as_str(), "DOCKER_AUTH_CONFIG".to_owned()),
        ("ORLOP_AUTHFILE", "named/auth.json", "named/auth.json".to_owned()),
    ] {
        let outcome = debug_pull(&site, &registry).env(name, value).outcome().success();
        names(&outcome, &registry, &place);
    }
    for prefix in ["ORLOP_", "APPTAINER_", "SINGULARITY_", ""] {
        let run = debug_pull(&site, &registry).env(&format!("{prefix}DOCKER_USERNAME"), USER);
        let outcome = run.env(&format!("{prefix}DOCKER_PASSWORD"), SECRET).outcome().success();
        names(&outcome, &registry, "the environment");
    }
    // podman's variable points to a file that is read, not written.
    let run = site.run(
        ["registry", "login", "-u", USER, "--password-stdin"].into_iter().chain([format!(
            "docker://{}",
            registry.host()
        )
        .as_str()]),
    );
    let run = run.env("REGISTRY_AUTH_FILE", "named/auth.json").input(SECRET);
    run.outcome().success();
    assert_eq!(std::fs::read_to_string(work.join("named/auth.json")).unwrap(), text);
    assert!(
        stored_secret(&site.read_home(".docker/config.json").unwrap(), &registry.host()).is_some()
    );
}

#[test]
fn keys_of_paths_count_for_what_is_below_and_the_longest_first() {
    let (registry, site) = private();
    let host = registry.host();
    for tail in ["", "/", "/ns", "/ns/a"] {
        site.write_home(".docker/config.json", file(&registry, tail).as_bytes());
        debug_pull(&site, &registry).outcome().success();
    }
    for tail in ["/other", "/n", "/ns/a/b", "/ns/ab", "9"] {
        site.write_home(".docker/config.json", file(&registry, tail).as_bytes());
        debug_pull(&site, &registry).outcome().fails(255);
    }
    let wrong = "dTp3cm9uZw==";
    let text = |longer: &str, shorter: &str| {
        format!(
            r#"{{"auths":{{"{host}":{{"auth":"{shorter}"}},"{host}/ns":{{"auth":"{longer}"}}}}}}"#
        )
    };
    site.write_home(".docker/config.json", text(AUTH, wrong).as_bytes());
    debug_pull(&site, &registry).outcome().success();
    site.write_home(".docker/config.json", text(wrong, AUTH).as_bytes());
    debug_pull(&site, &registry).outcome().fails(255);
}

#[test]
fn s26_keys_with_scheme_and_api_path_are_the_host() {
    let (registry, site) = private();
    let host = registry.host();
    for key in [
        format!("https://{host}"),
        format!("https://{host}/v1/"),
        format!("http://{host}/v2/"),
        format!("{host}/"),
    ] {
        let text = format!(r#"{{"auths":{{"{key}":{{"auth":"{AUTH}"}}}}}}"#);
        site.write_home(".docker/config.json", text.as_bytes());
        debug_pull(&site, &registry).outcome().success();
        let uri = format!("docker://{host}");
        let outcome = site.orlop(["registry", "logout", &uri]).success();
        assert!(outcome.stderr.contains(&format!("({key})")), "{}", outcome.report());
        debug_pull(&site, &registry).outcome().fails(255);
    }
}

#[test]
fn names_and_passwords_without_auth_are_read_and_the_parts_of_one_are_not_enough() {
    let (registry, site) = private();
    let host = registry.host();
    for (entry, is_enough) in [
        (format!(r#"{{"username":"{USER}","password":"{SECRET}"}}"#), true),
        (format!(r#"{{"username":"{USER}"}}"#), false),
        (format!(r#"{{"auth":"{AUTH}","username":"x","password":"y"}}"#), true),
        ("{}".to_owned(), false),
        ("null".to_owned(), false),
    ] {
        let text = format!(r#"{{"auths":{{"{host}":{entry}}}}}"#);
        site.write_home(".docker/config.json", text.as_bytes());
        let outcome = debug_pull(&site, &registry).outcome();
        assert_eq!(outcome.status == 0, is_enough, "{}", outcome.report());
    }
}

#[test]
fn identity_and_registry_tokens_are_used_as_such() {
    let registry = Registry::new().auth(bearer(false)).image("ns/a:1", Image::tiny()).start();
    let site = site(&registry);
    let host = registry.host();
    log_in(&site, &registry, &[]).success();
    let config = site.read_home(".docker/config.json").unwrap();
    let refresh = stored_secret(&config, &host).unwrap();
    assert!(refresh.starts_with("kit-refresh-"), "the token replaces the password: {config}");
    // The name beside an identity token counts for nothing; so does a password beside it.
    for extra in ["", r#","auth":"dTo=""#, r#","auth":"dTp3cm9uZw==""#] {
        let text = format!(r#"{{"auths":{{"{host}":{{"identitytoken":"{refresh}"{extra}}}}}}}"#);
        site.write_home(".docker/config.json", text.as_bytes());
        debug_pull(&site, &registry).outcome().success();
    }
    // A ready token is sent as it is, and no token is asked for.
    let issued = registry.of(&orlop_kit::token());
    assert!(!issued.is_empty());
    let text = format!(r#"{{"auths":{{"{host}":{{"registrytoken":"kit-token-none"}}}}}}"#);
    site.write_home(".docker/config.json", text.as_bytes());
    registry.forget();
    debug_pull(&site, &registry).outcome().fails(255);
    assert_eq!(registry.count(&orlop_kit::token()), 0, "{}", registry.log());
    let sent = registry.requests();
    let sent = sent.iter().filter_map(|one| one.header("authorization"));
    assert!(sent.clone().count() > 0 && sent.clone().all(|it| it == "Bearer kit-token-none"));
}

#[test]
fn a_helper_of_the_host_wins_over_its_entry_and_the_entry_over_the_store() {
    let (registry, site) = private();
    let host = registry.host();
    let path = format!("{}:/usr/bin:/bin", site.root().join("bin").display());
    let site = site.env("PATH", path);
    let answer = |secret: &str| format!(r#"echo '{{"Username":"u","Secret":"{secret}"}}'"#);
    crate::world::script(&site, "docker-credential-right", &answer(SECRET));
    crate::world::script(&site, "docker-credential-wrong", &answer("wrong"));
    let not_found = "echo credentials not found in native keychain; exit 1";
    crate::world::script(&site, "docker-credential-none", not_found);
    let wrong = "dTp3cm9uZw==";
    for (entry, of_host, store, is_right) in [
        (wrong, Some("right"), "wrong", true),
        (AUTH, Some("wrong"), "right", false),
        // Its answer is final, even when it has none.
        (AUTH, Some("none"), "right", false),
        (AUTH, None, "wrong", true),
        (wrong, None, "right", false),
    ] {
        let helpers = of_host.map_or(String::new(), |helper| format!(r#""{host}":"{helper}""#));
        let text = format!(
            r#"{{"auths":{{"{host}":{{"auth":"{entry}"}}}},"credHelpers":{{{helpers}}},"credsStore":"{store}"}}"#
        );
        site.write_home(".docker/config.json", text.as_bytes());
        let outcome = debug_pull(&site, &registry).outcome();
        assert_eq!(outcome.status == 0, is_right, "{text}: {}", outcome.report());
    }
    let text = format!(r#"{{"auths":{{"{host}":{{}}}},"credsStore":"right"}}"#);
    site.write_home(".docker/config.json", text.as_bytes());
    let outcome = debug_pull(&site, &registry).outcome().success();
    names(&outcome, &registry, "docker-credential-right");
    // A store without the login: the next file counts.
    let text = r#"{"credsStore":"none"}"#;
    site.write_home(".docker/config.json", text.as_bytes());
    site.write_home(".config/containers/auth.json", file(&registry, "").as_bytes());
    debug_pull(&site, &registry).outcome().success();
}

#[test]
fn a_login_that_another_source_hides_is_told() {
    let (registry, site) = private();
    site.write_work("named.json", file(&registry, "").as_bytes());
    let uri = format!("docker://{}", registry.host());
    let run = site.run(["registry", "login", "-u", USER, "--password-stdin", &uri]);
    let outcome = run.env("REGISTRY_AUTH_FILE", "named.json").input(SECRET).outcome().success();
    let at = site.work().join("named.json");
    let said = format!("in {} comes before this one", at.display());
    assert!(outcome.stderr.contains(&said), "{}", outcome.report());
}

#[test]
fn an_explicit_file_stands_alone() {
    let (registry, site) = private();
    site.write_home(".docker/config.json", file(&registry, "").as_bytes());
    site.write_work("empty.json", b"{}");
    let image = registry.docker("ns/a:1");
    site.orlop(["pull", "--authfile", "empty.json", "a.sif", &image]).fails(255);
    site.orlop(["pull", "--authfile", "missing.json", "a.sif", &image]).fails(255);
    site.orlop(["pull", "a.sif", &image]).success();
}
