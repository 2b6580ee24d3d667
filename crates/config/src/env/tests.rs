//! The environment as a value: spellings, order, what is sent, what is never shown.

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    Environment::from_pairs(pairs.iter().map(|(name, value)| (name.into(), value.into())))
}

#[test]
fn the_first_spelling_that_is_not_empty_counts() {
    let around = environment(&[
        ("ORLOP_AUTHFILE", ""),
        ("APPTAINER_AUTH_FILE", "/b"),
        ("SINGULARITY_AUTHFILE", "/c"),
    ]);
    assert_eq!(around.spelled(AUTHFILE), Some(("APPTAINER_AUTH_FILE", OsStr::new("/b"))));
    assert_eq!(around.all_spelled(AUTHFILE).len(), 2);
    assert_eq!(around.raw("ORLOP_AUTHFILE"), Some(OsStr::new("")));
    assert_eq!(around.get(SOCKET), None);
}

#[test]
fn a_request_carries_known_names_alone() {
    let around = environment(&[
        ("HOME", "/home/u"),
        ("SECRET", "x"),
        ("https_proxy", "http://p:1"),
        ("AWS_PROFILE", "p"),
    ]);
    let names: Vec<_> = around.sent().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["HOME", "https_proxy"]);
    let for_helpers: Vec<_> = around.sent_to_helpers().into_iter().map(|(name, _)| name).collect();
    assert_eq!(for_helpers, ["AWS_PROFILE"]);
}

#[test]
fn sent_paths_are_absolute_and_empty_values_stay_empty() {
    let around = environment(&[
        ("DOCKER_CONFIG", "d"),
        ("CONTAINERS_REGISTRIES_CONF", ""),
        ("XDG_CONFIG_HOME", "relative"),
    ]);
    let sent = Environment::from_pairs(around.clone().in_directory("/work".into()).sent());
    assert_eq!(sent.raw("DOCKER_CONFIG"), Some(OsStr::new("/work/d")));
    assert_eq!(sent.raw("CONTAINERS_REGISTRIES_CONF"), Some(OsStr::new("")));
    assert_eq!(sent.raw("XDG_CONFIG_HOME"), Some(OsStr::new("relative")));
    assert_eq!(around.absolute(OsStr::new("d")), None);
}

#[test]
fn debug_shows_names_and_no_values() {
    let text = format!("{:?}", environment(&[("DOCKER_PASSWORD", "canary")]));
    assert!(text.contains("DOCKER_PASSWORD") && !text.contains("canary"), "{text}");
}

#[test]
fn names_and_passwords_are_spelled_place_by_place() {
    let pairs = [DOCKER_USERNAME.0, DOCKER_PASSWORD.0];
    let [users, passwords] = pairs.map(|names| names.iter().map(|name| &name[..name.len() - 8]));
    assert!(users.eq(passwords), "the spellings belong together place by place");
}
