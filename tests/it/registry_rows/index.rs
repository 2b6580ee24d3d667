//! Indexes: which entry is taken, and how far Orlop looks for it.
//!
//! Rows R57 to R62, and the flags that name a platform. Not here: single manifests (`manifest`).

use super::row::{B, Row, TWO, kind, two};
use orlop_kit::image::Built;
use orlop_kit::{Digest, Image, Index, Registry, Route, blobs, manifest, until_true};
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An index of these entries, all of which come with the image.
fn index(entries: &[Value], inside: Built) -> Built {
    let text = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    let mut children = inside.children.clone();
    children.push((inside.media_type.clone(), inside.manifest.clone()));
    let media_type = INDEX.to_owned();
    Built { media_type, manifest: text.to_string().into_bytes(), children, ..inside }
}

/// The entry of an index for a document.
fn entry(document: &Built) -> Value {
    json!({
        "mediaType": document.media_type,
        "digest": document.digest().to_string(),
        "size": document.manifest.len(),
    })
}

/// An entry for a manifest that nobody has.
fn absent(number: usize, platform: Option<Value>) -> Value {
    let digest = Digest::of(&number.to_be_bytes()).to_string();
    let mut entry = json!({"mediaType": MANIFEST, "digest": digest, "size": 100});
    if let Some(platform) = platform {
        entry["platform"] = platform;
    }
    entry
}

/// The platform of the machine.
fn here() -> Value {
    let config = two().build();
    let (_, bytes) = config.blobs.iter().find(|(at, _)| *at == config.configs[0]).unwrap();
    let config: Value = serde_json::from_slice(&bytes.to_vec().unwrap()).unwrap();
    json!({"os": config["os"], "architecture": config["architecture"]})
}

/// How many manifests were asked for by a digest.
fn by_digest(registry: &Registry) -> usize {
    let is_one = |target: &str| target.contains("/manifests/sha256:");
    registry.requests().iter().filter(|one| one.method == "GET" && is_one(&one.target)).count()
}

/// The manifest of a child.
fn child(built: &Built) -> Route {
    manifest(&format!("t/two@{}", built.digest()))
}

#[test]
fn r57_three_indexes_within_each_other_are_read_and_four_are_not() {
    let nested =
        |depth: usize| (0..depth).fold(two().build(), |inside, _| index(&[entry(&inside)], inside));
    let row = Row::of("three", nested(3));
    row.pull().requests(B + 3).ok();
    let row = Row::of("four", nested(4));
    let ended = row.pull().fails(kind::LIMIT_EXCEEDED).says("index-depth");
    ended.count(&blobs(), 0);
    assert!(by_digest(&row.registry) <= 4, "{}", row.registry.log());
}

#[test]
fn r57_what_led_to_a_pinned_image_stays_with_it() {
    let nested = (0..3).fold(two().build(), |inside, _| index(&[entry(&inside)], inside));
    // The first names no platform and is looked into, the second is it.
    let (other, fitting) = (two().platform("mips", None).build(), two().build());
    let mut looked = index(&[entry(&other), entry(&fitting)], fitting);
    looked.children.push((other.media_type, other.manifest));
    looked.blobs.extend(other.blobs);
    for (name, image, passed) in [("nested", nested, 2), ("looked into", looked, 2)] {
        let row = Row::of(name, image);
        row.pull().ok();
        until_true("the tag is remembered", || row.cached("tags").len() >= 3);
        let uri = row.registry.docker(TWO);
        let pinned = row.site.orlop(["cache", "pin", &uri]).success();
        row.site.orlop(["daemon", "stop"]).success();
        row.site.orlop(["cache", "clean", "--force"]).success();
        // The top, the manifest and its config beside them.
        assert_eq!(row.cached("blobs").len(), 3 + passed, "{name}: {}", pinned.report());
        row.registry.forget();
        let by_digest = row.registry.docker(&row.by_digest());
        for uri in [&uri, &by_digest] {
            row.site.orlop(["pull", "--force", "--offline", "a.sif", uri]).success();
        }
        assert!(row.registry.requests().is_empty(), "{name}: {}", row.registry.log());
    }
}

#[test]
fn r57_what_one_inner_index_lacks_the_next_one_has() {
    let other = Index::new().image(two().platform("mips", None)).build();
    let fitting = Index::new().image(two()).build();
    let mut all = index(&[entry(&other), entry(&fitting)], fitting.clone());
    all.children.push((other.media_type.clone(), other.manifest.clone()));
    let row = Row::of("the second", all);
    row.pull().requests(B + 3).ok();

    let mut none = index(&[entry(&other), entry(&other)], other.clone());
    none.children.push((other.media_type, other.manifest));
    let row = Row::of("none", none);
    row.pull().fails(kind::PLATFORM_MISSING).says("offered: linux/mips\n").keeps(2, 0);
}

#[test]
fn r58_an_index_without_platforms_is_looked_into_64_times() {
    let image = Image::new().platform("none", None).build();
    let variants: Vec<Built> = (0..65)
        .map(|number| image.clone().edit(|manifest| manifest["x"] = json!(number)))
        .collect();
    let entries: Vec<Value> = variants.iter().map(entry).collect();
    let mut all = index(&entries, image);
    all.children.extend(variants.into_iter().map(|one| (MANIFEST.to_owned(), one.manifest)));
    let row = Row::of("65", all);
    row.pull().fails(kind::LIMIT_EXCEEDED).says("index-manifests");
    // The index itself is one more.
    assert!(by_digest(&row.registry) <= 65, "{}", row.registry.log());
}

#[test]
fn r59_of_many_entries_the_one_that_fits_is_fetched() {
    let other = json!({"os": "linux", "architecture": "mips"});
    let mut entries: Vec<Value> =
        (0..9_999).map(|number| absent(number, Some(other.clone()))).collect();
    let image = two().build();
    let mut last = entry(&image);
    last["platform"] = here();
    entries.push(last);
    let fitting = child(&image);
    let row = Row::of("10 000", index(&entries, image));
    let ended = row.pull().requests(B + 1).count(&fitting, 1);
    assert_eq!(by_digest(&row.registry), 2);
    ended.ok();
}

#[test]
fn r60_what_is_offered_is_listed_where_nothing_fits() {
    let platform =
        |os: &str, architecture: &str| Some(json!({"os": os, "architecture": architecture}));
    let offered = [
        absent(1, platform("unknown", "unknown")),
        absent(2, platform("linux", "mips")),
        absent(3, platform("plan9", "\u{1b}[31m386")),
    ];
    let row = Row::of("none fits", index(&offered, two().build()));
    let ended = row.pull().fails(kind::PLATFORM_MISSING).requests(3).says("linux/mips");
    ended.says(r"plan9/\u{1b}[31m386").hides("\u{1b}").hides("unknown/unknown").keeps(1, 0);

    let row = Row::of("attestation alone", index(&offered[..1], two().build()));
    row.pull().fails(kind::PLATFORM_MISSING).requests(3).hides("unknown");

    let many: Vec<Value> =
        (0..30).map(|number| absent(number, platform("linux", &format!("m{number}")))).collect();
    let row = Row::of("thirty", index(&many, two().build()));
    row.pull().fails(kind::PLATFORM_MISSING).says("linux/m19 and 10 more").hides("linux/m20");
}

#[test]
fn r61_attestations_and_unknown_types_are_passed_over() {
    let row = Row::of("attestation first", Index::new().attestation().image(two()));
    row.pull().requests(B + 1).ok();

    let image = two().build();
    let mut unknown = absent(1, Some(here()));
    unknown["mediaType"] = json!("application/vnd.example.unknown+json");
    let mut labelled = entry(&image);
    labelled["platform"] = here();
    let row = Row::of("unknown type first", index(&[unknown.clone(), labelled, unknown], image));
    row.pull().requests(B + 1).ok();
}

#[test]
fn r62_a_config_of_another_platform_than_its_entry_is_told() {
    let other = if here()["architecture"] == "arm64" { "amd64" } else { "arm64" };
    let image = two().platform(other, None).build();
    let mut labelled = entry(&image);
    labelled["platform"] = here();
    let row = Row::of("other config", index(&[labelled], image));
    let text = format!("linux/{other}");
    row.pull().requests(B + 1).says("WARNING").says(&text).ok();
}

#[test]
fn a_platform_is_chosen_by_its_flag() {
    let arm = |variant: &str| two().platform("arm", Some(variant));
    let amd = |variant: Option<&str>| two().platform("amd64", variant);
    let images = [arm("v6"), arm("v7"), amd(None), amd(Some("v2")), amd(Some("v3"))];
    let all = || images.iter().cloned().fold(Index::new().attestation(), Index::image);
    let rows: [(&[&str], &Image); 8] = [
        (&["--platform", "linux/arm/v7"], &images[1]),
        (&["--platform", "linux/arm"], &images[1]),
        (&["--platform", "linux/arm/v6"], &images[0]),
        (&["--arch", "arm", "--arch-variant", "v6"], &images[0]),
        (&["--platform", "linux/amd64/v3"], &images[4]),
        (&["--platform", "linux/amd64/v4"], &images[4]),
        (&["--platform", "linux/amd64"], &images[2]),
        (&["--arch", "amd64"], &images[2]),
    ];
    for (words, wanted) in rows {
        let row = Row::of(format!("{words:?}"), all()).words(words);
        row.pull().count(&child(&wanted.build()), 1).requests(B + 1).done();
    }
    let row = Row::of("none", all()).words(&["--platform", "linux/s390x"]);
    row.pull().fails(kind::PLATFORM_MISSING).says("linux/s390x").says("linux/arm/v7");

    // What is asked for by name is not given in another form.
    let row = Row::of("no index", two().platform("arm64", None));
    let row = row.words(&["--arch", "s390x"]);
    row.pull().fails(kind::PLATFORM_MISSING).says("linux/arm64").count(&manifest(TWO), 0);
}
