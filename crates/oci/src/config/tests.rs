//! Configs as texts. Rules: image spec, config.md; row R67 of `reliability.md`, the id in the name.

use proptest::prelude::*;

use super::*;
use crate::manifest::ManifestErrorKind;

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn a_config_is_read_whole() {
    let text = format!(
        r#"{{"created":"2026-11-24T10:54:20.123456789Z","architecture":"arm64","os":"linux",
        "variant":"v8","author":"x","config":{{"Env":["PATH=/bin","A=1"],"Entrypoint":["/e"],
        "Cmd":["c"],"Labels":{{"b":"2","a":"1"}},"User":"1000","WorkingDir":"/w",
        "ExposedPorts":{{"80/tcp":{{}}}},"Volumes":{{"/v":{{}}}},"StopSignal":"SIGTERM"}},
        "rootfs":{{"type":"layers","diff_ids":["{DIGEST}"]}},
        "history":[{{"created_by":"x"}},{{"empty_layer":true}}]}}"#
    );
    let config = ImageConfig::parse(text.as_bytes()).unwrap();
    assert_eq!(config.created, Some(1_795_517_660));
    assert_eq!(config.platform().unwrap().to_string(), "linux/arm64");
    assert_eq!(config.env, ["PATH=/bin", "A=1"]);
    assert_eq!(config.diff_ids, [DIGEST.parse().unwrap()]);
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(
        String::from_utf8(config.oci_config_json()).unwrap(),
        r#"{"User":"1000","ExposedPorts":{"80/tcp":{}},"Env":["PATH=/bin","A=1"],"Entrypoint":["/e"],"Cmd":["c"],"Volumes":{"/v":{}},"WorkingDir":"/w","Labels":{"a":"1","b":"2"},"StopSignal":"SIGTERM"}"#
    );
}

#[test]
fn null_missing_and_empty_are_equal() {
    let nulls = br#"{"config":{"Env":null,"Cmd":[],"Labels":null,"Volumes":null},"rootfs":null}"#;
    assert_eq!(ImageConfig::parse(nulls).unwrap(), ImageConfig::parse(b"{}").unwrap());
    assert_eq!(ImageConfig::parse(nulls).unwrap().oci_config_json(), b"{}");
}

#[test]
fn text_is_escaped_as_go_does() {
    let config = ImageConfig { user: "<a&b>\u{1}\u{2028}\"".into(), ..ImageConfig::default() };
    assert_eq!(
        String::from_utf8(config.oci_config_json()).unwrap(),
        r#"{"User":"\u003ca\u0026b\u003e\u0001\u2028\""}"#
    );
}

#[test]
fn r67_a_variable_with_nul_is_left_out_with_a_warning_and_one_with_newline_stays() {
    let config =
        ImageConfig::parse(br#"{"config":{"Env":["A=x\u0000y","B=1\n2","C=3"]}}"#).unwrap();
    assert_eq!(config.env, ["B=1\n2", "C=3"]);
    assert_eq!(config.warnings.len(), 1);
}

#[test]
fn r67_100_000_labels_are_read() {
    let labels: Vec<_> = (0..100_000).map(|n| format!("\"l{n}\":\"v\"")).collect();
    let text = format!(r#"{{"config":{{"Labels":{{{}}}}}}}"#, labels.join(","));
    assert_eq!(ImageConfig::parse(text.as_bytes()).unwrap().labels.len(), 100_000);
}

#[test]
fn r67_an_entrypoint_that_is_no_list_is_refused() {
    let error = ImageConfig::parse(br#"{"config":{"Entrypoint":"text"}}"#).unwrap_err();
    assert_eq!(error.kind(), ManifestErrorKind::Invalid);
    assert_eq!(error.to_string(), "`config.Entrypoint` is missing or is not a list of strings");
}

#[test]
fn a_history_that_miscounts_is_a_warning() {
    let text = format!(
        r#"{{"rootfs":{{"type":"layers","diff_ids":["{DIGEST}"]}},"history":[{{}},{{}}]}}"#
    );
    let config = ImageConfig::parse(text.as_bytes()).unwrap();
    assert_eq!(config.warnings, ["the history counts 2 layers and rootfs 1"]);
}

#[test]
fn dates_are_read_as_rfc_3339_has_them() {
    let rows = [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("1969-12-31T23:59:59Z", Some(-1)),
        ("2000-02-29T12:00:00+02:00", Some(951_818_400)),
        ("2026-11-24T10:54:20-01:30", Some(1_795_523_060)),
        ("0001-01-01T00:00:00Z", Some(-62_135_596_800)),
        ("2100-02-29T00:00:00Z", None),
        ("2026-13-01T00:00:00Z", None),
        ("2026-11-24T10:54:20.Z", None),
        ("2026-11-24T10:54:20", None),
        ("2026-11-24", None),
        ("yesterday", None),
        ("", None),
    ];
    for (text, expected) in rows {
        assert_eq!(parse_rfc3339(text), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn the_date_parser_never_panics(text: String) {
        let _date = parse_rfc3339(&text);
    }

    #[test]
    fn the_config_parser_never_panics(bytes: Vec<u8>) {
        let _config = ImageConfig::parse(&bytes);
    }
}
