//! Names of platforms and their aliases. Rules: `registry.md` §7.3; `--arch`: `contract.md` §4.4.

use proptest::prelude::*;

use super::*;

#[test]
fn aliases_are_undone() {
    let rows = [
        ("linux/x86_64", "linux/amd64"),
        ("Linux/x86-64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("linux/i386", "linux/386"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("macos/arm64", "darwin/arm64"),
        ("linux/s390x", "linux/s390x"),
    ];
    for (text, expected) in rows {
        assert_eq!(text.parse::<Platform>().unwrap().to_string(), expected, "{text}");
    }
}

#[test]
fn values_of_the_arch_flag_are_apptainers() {
    let rows = [
        ("amd64", None, "linux/amd64"),
        ("arm64v8", None, "linux/arm64"),
        ("arm32v5", None, "linux/arm/v5"),
        ("arm", Some("v6"), "linux/arm/v6"),
        ("loong64", None, "linux/loong64"),
    ];
    for (arch, variant, expected) in rows {
        assert_eq!(Platform::from_arch_flag(arch, variant).unwrap().to_string(), expected);
    }
}

#[test]
fn a_wrong_arch_is_answered_with_apptainers_words() {
    let error = Platform::from_arch_flag("bogus", None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "arch: bogus is not valid, supported archs are: \
         [arm arm64 amd64 386 ppc64le s390x riscv64]"
    );
}

#[test]
fn hub_namespaces_of_architectures_name_a_platform() {
    let of = |text: &str| Platform::of_hub_namespace(&Reference::parse(text).unwrap());
    assert_eq!(of("arm64v8/alpine").unwrap().to_string(), "linux/arm64");
    assert_eq!(of("i386/debian").unwrap().to_string(), "linux/386");
    assert_eq!(of("alpine"), None);
    assert_eq!(of("ghcr.io/arm64v8/alpine"), None);
}

#[test]
fn texts_that_are_no_platform_are_refused() {
    for text in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/a b"] {
        assert!(text.parse::<Platform>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn parse_of_display_is_identity(text in "[a-zA-Z0-9]{1,8}/[a-zA-Z0-9_]{1,8}(/[a-z0-9.]{1,4})?") {
        let platform: Platform = text.parse().unwrap();
        prop_assert_eq!(platform.to_string().parse::<Platform>(), Ok(platform));
    }

    #[test]
    fn the_parser_never_panics(text: String) {
        let _platform = text.parse::<Platform>();
    }
}
