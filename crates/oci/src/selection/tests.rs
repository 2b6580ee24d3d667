//! Which entry of made-up indexes is taken, and what is said when none is.
//!
//! Rules: `registry.md` §7.3.

use super::*;
use crate::digest::Digest;
use crate::media_type::MediaType;

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

/// An entry of an index; an empty text is one without a platform.
fn entry(media_type: MediaType, text: &str, place: usize) -> Descriptor {
    let digest = Digest::sha256(format!("{place} {text}").as_bytes());
    let platform = (!text.is_empty()).then(|| platform(text));
    Descriptor { platform, ..Descriptor::new(media_type, digest, 1) }
}

fn index(entries: &[(MediaType, &str)]) -> Index {
    let entries = entries.iter().enumerate();
    Index {
        media_type: MediaType::OciIndex,
        manifests: entries
            .map(|(place, (media_type, text))| entry(media_type.clone(), text, place))
            .collect(),
        annotations: std::collections::BTreeMap::new(),
        artifact_type: None,
    }
}

fn manifests(platforms: &[&str]) -> Index {
    let entries: Vec<_> = platforms.iter().map(|text| (MediaType::OciManifest, *text)).collect();
    index(&entries)
}

/// The place in the index of the entry that is chosen.
fn chosen(index: &Index, wanted: &str) -> Option<usize> {
    match choose(index, &platform(wanted)).ok()? {
        Choice::Entry(entry) => index.manifests.iter().position(|one| std::ptr::eq(one, entry)),
        Choice::LookInside(_) => None,
    }
}

#[test]
fn the_best_entry_is_taken_and_of_equals_the_first() {
    let rows: [(&str, &[&str], Option<usize>); 16] = [
        ("linux/amd64", &["linux/arm64", "linux/amd64"], Some(1)),
        ("linux/amd64", &["linux/amd64", "linux/amd64"], Some(0)),
        ("linux/amd64", &["windows/amd64", "linux/amd64"], Some(1)),
        ("linux/amd64", &["linux/amd64/v2", "linux/amd64"], Some(1)),
        ("linux/amd64", &["linux/amd64/v2"], None),
        ("linux/amd64", &["linux/386"], None),
        ("linux/amd64/v3", &["linux/amd64", "linux/amd64/v4", "linux/amd64/v2"], Some(2)),
        ("linux/amd64/v3", &["linux/amd64"], Some(0)),
        ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6"], Some(1)),
        ("linux/arm/v6", &["linux/arm/v7"], None),
        ("linux/arm64", &["linux/arm64/v8"], Some(0)),
        ("linux/arm64", &["linux/arm/v7"], None),
        ("linux/arm64/v9", &["linux/arm64", "linux/arm64/v8.5"], Some(1)),
        ("linux/arm64/v9.1", &["linux/arm64/v8.6", "linux/arm64/v9"], Some(1)),
        ("linux/arm64/v8.2", &["linux/arm64/v8.3", "linux/arm64/v8.1"], Some(1)),
        ("linux/riscv64", &["linux/riscv64"], Some(0)),
    ];
    for (wanted, offered, expected) in rows {
        assert_eq!(chosen(&manifests(offered), wanted), expected, "{wanted} of {offered:?}");
    }
}

#[test]
fn attestations_and_unknown_types_are_passed_over() {
    let index = index(&[
        (MediaType::OciManifest, "unknown/unknown"),
        (MediaType::Other("text/plain".into()), "linux/amd64"),
        (MediaType::DockerManifest, "linux/amd64"),
    ]);
    assert_eq!(chosen(&index, "linux/amd64"), Some(2));
}

#[test]
fn entries_without_a_platform_are_looked_into_only_when_nothing_fits() {
    let index = manifests(&["", "linux/arm64", ""]);
    assert_eq!(chosen(&index, "linux/arm64"), Some(1));
    let amd64 = platform("linux/amd64");
    let Ok(Choice::LookInside(entries)) = choose(&index, &amd64) else { panic!() };
    assert_eq!(entries, [&index.manifests[0], &index.manifests[2]]);
}

#[test]
fn the_error_lists_what_is_offered_once_and_without_attestations() {
    let offered = ["linux/arm64", "unknown/unknown", "linux/arm/v7", "linux/arm64"];
    let error = choose(&manifests(&offered), &platform("linux/amd64")).unwrap_err();
    assert_eq!(error.to_string(), "no image for linux/amd64; offered: linux/arm64, linux/arm/v7");
    let error = choose(&manifests(&["unknown/unknown"]), &platform("linux/amd64")).unwrap_err();
    assert!(error.to_string().ends_with("offered: none"), "{error}");
}

#[test]
fn a_long_list_of_offers_is_cut_and_escaped() {
    let names: Vec<_> = (0..25).map(|number| format!("linux/cpu{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut index = manifests(&names);
    index.manifests[0].platform = Some(Platform::new("linux", "\u{1b}[2J", None));
    let text = choose(&index, &platform("linux/amd64")).unwrap_err().to_string();
    assert!(text.ends_with("linux/cpu19 and 5 more"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}
