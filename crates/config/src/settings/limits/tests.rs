//! Limits from a file and from variables. Not here: that they are kept to.

use std::path::Path;

use super::*;
use crate::settings::Settings;

fn file(text: &str) -> Result<Limits, String> {
    let parsed = Settings::parse(Path::new("orlop.toml"), text);
    parsed.map(|settings| settings.limits).map_err(|error| error.to_string())
}

fn variable(name: &str, value: &str) -> Result<Limits, String> {
    let mut limits = Limits::default();
    let environment = Environment::default().with(name, value);
    let outcome = limits.replace_by(&environment).map_err(|error| error.to_string());
    outcome.map(|()| limits)
}

#[test]
fn every_key_is_read_from_the_file_and_from_its_variable() {
    for key in KEYS {
        let text = format!("[limits]\n{key} = 5000\n");
        let by_file = file(&text).unwrap();
        assert_ne!(by_file, Limits::default(), "{key}");
        let name = format!("{PREFIX}{}", spelled(key));
        assert_eq!(variable(&name, "5000").unwrap(), by_file, "{key}");
        assert_eq!(variable(&name, "").unwrap(), Limits::default(), "{key}");
    }
}

#[test]
fn amounts_have_units() {
    let limits = file("[limits]\nstall-time = '250ms'\nrange-chunk = '1MiB'\ntries = 2\n").unwrap();
    assert_eq!(limits.stall_time, Duration::from_millis(250));
    assert_eq!((limits.range_chunk, limits.tries), (1 << 20, 2));
    let limits = variable("ORLOP_LIMITS_BACKOFF", "10ms").unwrap();
    assert_eq!(limits.backoff, Duration::from_millis(10));
}

#[test]
fn s43_what_is_no_limit_is_an_error_that_names_the_nearest_key() {
    let rows = [
        ("tries = -1", "orlop.toml:2: limits.tries has to be a number, at least 1"),
        ("tries = 0", "orlop.toml:2: limits.tries has to be a number, at least 1"),
        (
            "manifest-bytes = 1000000000000000000000000000000",
            "orlop.toml:2: limits.manifest-bytes has to be bytes such as \"64MiB\", at least 1",
        ),
        (
            "stall-time = true",
            "orlop.toml:2: limits.stall-time has to be a time such as \"250ms\" or \"5s\", at \
             least 1ms",
        ),
        (
            "credential-file-bytes = '5MiB'",
            "orlop.toml:2: limits.credential-file-bytes has to be bytes such as \"1MiB\", 2 to \
             4194304",
        ),
        (
            "stal-time = 3",
            "orlop.toml:2: there is no setting \"limits.stal-time\"; the nearest is \
             \"limits.stall-time\"",
        ),
    ];
    for (line, problem) in rows {
        assert_eq!(file(&format!("[limits]\n{line}\n")).unwrap_err(), problem);
    }
    let rows = [
        ("ORLOP_LIMITS_TRIES", "many", "\"many\" is not a number, at least 1"),
        ("ORLOP_LIMITS_NOPE", "1", "there is no such limit"),
        ("ORLOP_LIMITS_TRIES", "-1", "\"-1\" is not a number, at least 1"),
        (
            "ORLOP_LIMITS_HEADER_TIMES",
            "1s",
            "there is no such limit; the nearest is ORLOP_LIMITS_HEADER_TIME",
        ),
    ];
    for (name, value, problem) in rows {
        assert_eq!(variable(name, value).unwrap_err(), format!("{name}: {problem}"));
    }
}
