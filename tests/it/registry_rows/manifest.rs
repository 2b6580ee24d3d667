//! Manifests: what names them, what they are called, and what is in them.
//!
//! Rows R35 to R56. Not here: indexes (`index`), configs and artifacts (`config`).

use super::row::{B, Row, TWO, answer, endless, header, kind, ok_with, two};
use orlop_kit::image::Built;
use orlop_kit::{Answer, Blob, Digest, Entry, Image, Layer, blobs, head, layer, manifest};
use serde_json::{Value, json};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The image with a changed manifest.
fn edited(change: impl FnOnce(&mut Value)) -> Built {
    two().build().edit(change)
}

/// The image whose manifest is this text.
fn text(bytes: impl Into<Vec<u8>>) -> Built {
    Built { manifest: bytes.into(), ..two().build() }
}

/// The manifest of the image as text, with a part of it replaced.
fn replaced(from: &str, to: &str) -> Built {
    let whole = String::from_utf8(two().build().manifest).unwrap();
    assert!(whole.contains(from), "{from} is not in {whole}");
    text(whole.replacen(from, to, 1))
}

/// An answer to `HEAD` with these digests.
fn named(digests: &[&str]) -> Answer {
    let fields: Vec<(&'static str, &str)> =
        digests.iter().map(|digest| ("Docker-Content-Digest", *digest)).collect();
    ok_with(&fields, "")
}

#[test]
fn r35_a_registry_without_head_is_asked_by_get() {
    for status in [405, 501] {
        let row = Row::new(status.to_string()).answer(head(TWO), [Answer::Status(status)]);
        row.pull().requests(B).count(&manifest(TWO), 1).ok();
    }
}

#[test]
fn r36_a_digest_header_that_is_none_is_used_for_nothing() {
    let right = Digest::of(b"x").to_string();
    let rows: [&[&str]; 5] =
        [&[], &["sha256:xyz"], &["sha256:../../x"], &["sha256:../../x", &right], &[&right, &right]];
    for digests in rows {
        let row = Row::new(format!("{digests:?}")).answer(head(TWO), [named(digests)]);
        let ended = row.pull().requests(B).count(&manifest(TWO), 1);
        for request in row.registry.requests() {
            assert!(!request.target.contains("xyz") && !request.target.contains(".."), "{request}");
        }
        let files = row.site.tree(row.site.root());
        assert!(!files.iter().any(|path| path.contains("xyz")), "{digests:?}");
        ended.ok();
    }
}

#[test]
fn r37_other_bytes_than_the_digest_of_the_head_are_a_lie() {
    let row = Row::new("flipped");
    let by_digest = manifest(&row.by_digest());
    let row = row.answer(by_digest.clone(), [Answer::FlipBit(3)]);
    row.pull().fails(kind::SOURCE_LIED).count(&by_digest, 1).requests(3).keeps(0, 0);
}

#[test]
fn r38_a_digest_header_that_the_body_does_not_have_is_a_lie() {
    let wrong = Digest::of(b"other").to_string();
    let row = Row::new("by tag")
        .answer(head(TWO), [Answer::Status(405)])
        .answer(manifest(TWO), [header("Docker-Content-Digest", Some(&wrong))]);
    row.pull().fails(kind::SOURCE_LIED).count(&manifest(TWO), 1).requests(3).keeps(0, 0);
}

#[test]
fn r39_a_sha512_header_is_checked_and_the_image_keeps_its_sha256() {
    let right = Digest::sha512(&two().build().manifest).to_string();
    let said = || header("Docker-Content-Digest", Some(&right));
    let row = Row::new("right").answer(head(TWO), [said()]).answer(manifest(TWO), [said()]);
    let tagged = row.pull().requests(B).count(&manifest(TWO), 1);
    let keys = row.cached("blobs").join(" ");
    assert!(keys.contains(row.digest().hex()) && !keys.contains(&right[7..]), "{keys}");
    tagged.ok();

    let wrong = Digest::sha512(b"other").to_string();
    let said = || header("Docker-Content-Digest", Some(&wrong));
    let row = Row::new("wrong").answer(head(TWO), [said()]).answer(manifest(TWO), [said()]);
    row.pull().fails(kind::SOURCE_LIED).requests(3);
}

#[test]
fn r40_a_tag_that_moves_is_resolved_once_more() {
    let gone = Digest::of(b"gone").to_string();
    let old = manifest(&format!("t/two@{gone}"));
    let row = Row::new("moved").answer(head(TWO), [named(&[&gone]), Answer::Whole]);
    let new = manifest(&row.by_digest());
    row.pull().count(&head(TWO), 2).count(&old, 1).count(&new, 1).requests(B + 2).ok();

    let row = Row::new("moved for ever").answer(head(TWO), [named(&[&gone])]);
    let ended = row.pull().fails(kind::IMAGE_NOT_FOUND).says("manifest unknown");
    ended.count(&head(TWO), 2).count(&old, 2).requests(5);
}

#[test]
fn r41_the_type_in_the_header_has_to_be_one_of_manifests_by_tag() {
    for (name, value) in [("absent", None), ("charset", Some(&*format!("{OCI}; charset=utf-8")))] {
        let row = Row::new(name);
        let by_digest = manifest(&row.by_digest());
        let row = row.answer(by_digest, [header("Content-Type", value)]);
        let row = row.answer(head(TWO), [header("Content-Type", value)]);
        row.pull().requests(B).hides("WARNING").ok();
    }
    let json = || header("Content-Type", Some("application/json"));
    let row = Row::new("application/json by tag");
    let by_digest = manifest(&row.by_digest());
    let row = row.answer(by_digest, [json()]);
    row.pull().fails(kind::MANIFEST_INVALID).requests(3).keeps(0, 0);

    let row = Row::new("application/json by digest");
    let reference = row.by_digest();
    let row = row.answer(manifest(&reference), [json()]);
    let uri = row.registry.docker(&reference);
    row.pull_uri(&uri).says("WARNING").says("application/json").ok();
}

#[test]
fn r42_a_manifest_that_is_called_an_index_is_refused_by_tag() {
    let row = Row::new("by tag");
    let by_digest = manifest(&row.by_digest());
    let row = row.answer(by_digest, [header("Content-Type", Some(INDEX))]);
    row.pull().fails(kind::MANIFEST_INVALID).requests(3).keeps(0, 0);

    let child = Digest::of(&two().build().manifest);
    let row = Row::of("by descriptor", orlop_kit::Index::new().image(two()));
    let by_digest = manifest(&format!("t/two@{child}"));
    let row = row.answer(by_digest, [header("Content-Type", Some(INDEX))]);
    row.pull().requests(B + 1).says("WARNING").says(INDEX).ok();
}

#[test]
fn r43_a_web_page_is_no_manifest() {
    let row = Row::new("text/html");
    let by_digest = manifest(&row.by_digest());
    let page = ok_with(&[("Content-Type", "text/html; charset=utf-8")], "<html>");
    let row = row.answer(by_digest.clone(), [page]);
    row.pull().fails(kind::NOT_A_REGISTRY).count(&by_digest, 1).requests(3);
}

#[test]
fn r44_a_document_of_both_kinds_is_refused() {
    let both = edited(|manifest| manifest["manifests"] = json!([]));
    let row = Row::of("layers and manifests", both);
    row.pull().fails(kind::MANIFEST_INVALID).says("manifests").requests(3).keeps(0, 0);

    let mut index = orlop_kit::Index::new().image(two()).build();
    index = index.edit(|index| index["config"] = json!({}));
    let row = Row::of("config in an index", index);
    row.pull().fails(kind::MANIFEST_INVALID).says("config").requests(3).keeps(0, 0);
}

#[test]
fn r45_a_key_that_comes_twice_is_refused_by_name() {
    let rows = [
        ("digest", replaced(r#""digest":"#, r#""digest":"sha256:aa","digest":"#)),
        ("layers", replaced(r#""layers":"#, r#""layers":[],"layers":"#)),
        ("a", replaced(r#""schemaVersion":"#, r#""annotations":{"a":"","a":""},"schemaVersion":"#)),
        ("digest", replaced(r#""digest":"#, r#""\u0064igest":"sha256:aa","digest":"#)),
    ];
    for (key, image) in rows {
        let row = Row::of(key, image);
        let ended = row.pull().fails(kind::MANIFEST_INVALID).requests(3).keeps(0, 0);
        ended.says(&format!("duplicate key \"{key}\""));
    }
}

#[test]
fn r46_deep_nesting_is_refused() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = replaced(r#""schemaVersion":"#, &format!(r#""x":{deep},"schemaVersion":"#));
    let row = Row::of("100 000 arrays", deep);
    row.pull().fails(kind::MANIFEST_INVALID).says("nesting").requests(3).keeps(0, 0);
    assert_eq!(row.site.daemons().len(), 1, "the daemon lives");
}

#[test]
fn r47_a_manifest_has_a_limit() {
    let sized = |size: usize| {
        let mut whole = two().build().manifest;
        whole.resize(size, b' ');
        text(whole)
    };
    let row = Row::of("4 MiB", sized(4 << 20));
    row.pull().requests(B).ok();

    let head_alone =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 107374182400\r\n\r\n{";
    let rows = [
        ("one byte more", sized((4 << 20) + 1), Answer::Whole),
        ("100 GiB", two().build(), Answer::Raw(head_alone.to_vec())),
        ("endless", two().build(), endless("Content-Type: application/json\r\n")),
    ];
    for (name, image, lie) in rows {
        let row = Row::of(name, image);
        let by_digest = manifest(&row.by_digest());
        let row = row.answer(by_digest.clone(), [lie]);
        let ended = row.pull().fails(kind::LIMIT_EXCEEDED).says("manifest-bytes");
        ended.count(&by_digest, 1).requests(3).keeps(0, 0);
        let sent = row.registry.requests()[2].sent;
        assert!(sent < 20 << 20, "{name}: {sent} bytes went out");
    }
}

#[test]
fn r48_what_is_no_strict_json_is_refused_with_its_place() {
    let whole = two().build().manifest;
    let with = |before: &[u8], after: &[u8]| text([before, &whole, after].concat());
    let rows = [
        ("byte order mark", with(b"\xef\xbb\xbf", b""), "line 1 column 1"),
        ("text after it", with(b"", b"\n{}"), "line 2 column 1"),
        ("no UTF-8", with(b"{\"x\":\"\xff\"}", b""), "line 1 column 7"),
        ("NaN", replaced(r#""schemaVersion":"#, r#""x":NaN,"schemaVersion":"#), "line 1 column"),
        ("layers", edited(|manifest| manifest["layers"] = Value::Null), "`layers`"),
        ("config", edited(|manifest| manifest["config"] = Value::Null), "`config`"),
    ];
    for (name, image, place) in rows {
        let row = Row::of(name, image);
        row.pull().fails(kind::MANIFEST_INVALID).says(place).requests(3).keeps(0, 0);
    }
}

#[test]
fn r49_what_orlop_does_not_know_is_no_fault() {
    let rows = [
        ("unknown member", edited(|manifest| manifest["x"] = json!({"y": [1.5, null]}))),
        ("annotations", edited(|manifest| manifest["annotations"] = Value::Null)),
        ("mediaType", edited(|manifest| manifest["mediaType"] = json!(""))),
    ];
    for (name, image) in rows {
        let row = Row::of(name, image);
        row.pull().requests(B).ok();
    }
}

#[test]
fn r50_a_size_that_is_none_is_refused() {
    for size in ["-1", "9223372036854775808", "1e3", r#""12""#, "null", "1.0"] {
        for object in ["config", "layers"] {
            let image = edited(|manifest| {
                let at = if object == "config" {
                    &mut manifest["config"]["size"]
                } else {
                    &mut manifest["layers"][1]["size"]
                };
                *at = json!("SIZE");
            });
            let whole = String::from_utf8(image.manifest.clone()).unwrap();
            let row = Row::of(format!("{object} {size}"), text(whole.replace(r#""SIZE""#, size)));
            let ended = row.pull().fails(kind::MANIFEST_INVALID).count(&blobs(), 0);
            ended.says("size").requests(3);
        }
    }
}

#[test]
fn r51_sizes_that_fit_nowhere_are_told_before_a_layer_is_asked_for() {
    let huge = i64::MAX;
    let row = Row::of(
        "past u64",
        edited(|manifest| {
            let mut layer = manifest["layers"][0].clone();
            layer["size"] = json!(huge);
            manifest["layers"] = json!([layer, layer, layer]);
        }),
    );
    row.pull().fails(kind::MANIFEST_INVALID).requests(3).keeps(0, 0);

    let row = Row::of(
        "past the disk",
        edited(|manifest| manifest["layers"][0]["size"] = json!(1_u64 << 60)),
    );
    let ended = row.pull().fails(kind::DISK_FULL).requests(4).count(&layer(0), 0);
    ended.says(&row.site.cache().display().to_string()).says("bytes").keeps(2, 0);
}

#[test]
fn r52_a_digest_that_is_none_is_refused() {
    let right = two().build().layers[1].to_string();
    let hex = &right[7..];
    let rows = [
        ("md5", format!("md5:{}", &hex[..32])),
        ("SHA256", format!("SHA256:{hex}")),
        ("63 digits", format!("sha256:{}", &hex[..63])),
        ("upper case", format!("sha256:{}", hex.to_uppercase())),
        ("%2f..", format!("sha256:..%2f..{}", &hex[..56])),
        ("path", "sha256:../../../../etc/passwd".to_owned()),
    ];
    let with = |digest: &str| edited(|manifest| manifest["layers"][1]["digest"] = json!(digest));
    for (name, digest) in rows {
        let row = Row::of(name, with(&digest));
        row.pull().fails(kind::MANIFEST_INVALID).count(&blobs(), 0).requests(3).keeps(0, 0);
    }
    let row = Row::of("blake3", with(&format!("blake3:{hex}")));
    row.pull().fails(kind::IMAGE_UNSUPPORTED).says("blake3").count(&blobs(), 0).requests(3);

    let mut image = two().build();
    let (_, bytes) = image.blobs.iter().find(|(at, _)| *at == image.layers[1]).unwrap().clone();
    let digest = Digest::sha512(&bytes.to_vec().unwrap());
    image.blobs.push((digest.clone(), bytes));
    let image = image.edit(|manifest| manifest["layers"][1]["digest"] = json!(digest.to_string()));
    let row = Row::of("sha512", image);
    row.pull().requests(B).ok();
}

#[test]
fn r53_an_image_without_layers_is_one_of_orlop_s_own_files() {
    let row = Row::of("no layers", Image::new());
    row.pull().requests(4).ok();
}

/// An image of so many layers that hold one file each.
fn layers(count: usize) -> Image {
    let one = |number: usize| {
        Layer::new().entry(Entry::file(format!("f{number}"), format!("{number}\n")))
    };
    (0..count).map(one).fold(Image::new(), Image::layer)
}

#[test]
fn r54_an_image_of_127_layers_is_pulled() {
    let row = Row::of("127", layers(127));
    row.pull().requests(4 + 127).done();
}

#[test]
fn r54_an_image_of_1_001_layers_is_one_too_many() {
    let image = layers(1).build().edit(|manifest| {
        let one = manifest["layers"][0].clone();
        manifest["layers"] = Value::Array(vec![one; 1001]);
    });
    let row = Row::of("1 001", image);
    let ended = row.pull().fails(kind::LIMIT_EXCEEDED).says("layers").count(&blobs(), 0);
    ended.requests(3);
}

#[test]
fn r54_the_number_of_layers_is_a_setting() {
    let row = Row::of("four", layers(4)).env("ORLOP_LIMITS_LAYERS", "3");
    let ended = row.pull().fails(kind::LIMIT_EXCEEDED).says("layers = 3").count(&blobs(), 0);
    ended.requests(3);
}

#[test]
fn r55_a_layer_that_is_listed_500_times_is_fetched_once() {
    let many = (0..500)
        .fold(Image::new(), |image, _| image.layer(Layer::new().entry(Entry::file("f", "once\n"))));
    let row = Row::of("500", many);
    row.pull().count(&layer(0), 1).requests(5).done();
}

#[test]
fn r56_fewer_diff_ids_than_layers_are_told_before_a_layer_is_asked_for() {
    let image = two().build();
    let (_, config) = image.blobs.iter().find(|(at, _)| *at == image.configs[0]).unwrap();
    let mut config: Value = serde_json::from_slice(&config.to_vec().unwrap()).unwrap();
    config["rootfs"]["diff_ids"].as_array_mut().unwrap().pop();
    let config = config.to_string();
    let (digest, size) = (Digest::of(config.as_bytes()), config.len());
    let mut image = image.edit(|manifest| {
        manifest["config"]["digest"] = json!(digest.to_string());
        manifest["config"]["size"] = json!(size);
    });
    image.configs.push(digest.clone());
    image.blobs.push((digest, Blob::from(config)));
    let row = Row::of("one too few", image);
    let ended = row.pull().fails(kind::MANIFEST_INVALID).requests(4);
    ended.count(&layer(0), 0).count(&layer(1), 0);
}

#[test]
fn r43_a_registry_s_words_do_not_make_a_manifest() {
    let row = Row::new("HTML of another type");
    let by_digest = manifest(&row.by_digest());
    let row = row.answer(by_digest, [answer(200, &[("Content-Type", OCI)], "<html>")]);
    row.pull().fails(kind::SOURCE_LIED).requests(3).keeps(0, 0);
}
