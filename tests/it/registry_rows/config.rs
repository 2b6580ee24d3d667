//! What a manifest leads to: configs, artifacts, foreign layers, and what is not there.
//!
//! Rows R63 to R69. Not here: layers' bytes (`pull_faults`).

use super::row::{B, Row, TWO, answer, endless, kind, two};
use orlop_kit::image::Built;
use orlop_kit::{
    Answer, Artifact, Blob, Digest, Image, Registry, blobs, config, head, layer, manifest,
};
use serde_json::{Value, json};

/// The image with a changed manifest.
fn edited(change: impl FnOnce(&mut Value)) -> Built {
    two().build().edit(change)
}

/// The image with another config, whose descriptor is right.
fn with_config(text: impl Into<Vec<u8>>) -> Built {
    let text = text.into();
    let (digest, size) = (Digest::of(&text), text.len());
    let mut image = edited(|manifest| {
        manifest["config"]["digest"] = json!(digest.to_string());
        manifest["config"]["size"] = json!(size);
    });
    image.configs = vec![digest.clone()];
    image.blobs.push((digest, Blob::from(text)));
    image
}

/// The image's config as a value.
fn whole_config() -> Value {
    let image = two().build();
    let (_, bytes) = image.blobs.iter().find(|(at, _)| *at == image.configs[0]).unwrap();
    serde_json::from_slice(&bytes.to_vec().unwrap()).unwrap()
}

/// The image with a changed config.
fn edited_config(change: impl FnOnce(&mut Value)) -> Built {
    let mut config = whole_config();
    change(&mut config);
    with_config(config.to_string())
}

#[test]
fn r63_docker_s_first_format_is_refused_with_what_to_do() {
    let text = r#"{"schemaVersion":1,"name":"t/two","fsLayers":[],"history":[]}"#;
    for media_type in [
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/json",
    ] {
        let image = Built {
            media_type: media_type.to_owned(),
            manifest: text.as_bytes().to_vec(),
            ..Built::default()
        };
        let row = Row::of(media_type, image);
        let ended = row.pull().fails(kind::IMAGE_UNSUPPORTED).requests(3).keeps(0, 0);
        let host = row.registry.host();
        ended.says("schema 1").says("must be rebuilt").says(&format!("{host}/t/two:1"));
    }
}

#[test]
fn r63_what_is_no_image_of_layers_is_refused_with_what_it_is() {
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    let encrypted = edited(|manifest| {
        manifest["layers"][1]["mediaType"] = json!(format!("{gzip}+encrypted"));
    });
    let helm = edited(|manifest| {
        manifest["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
        let chart = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
        manifest["layers"][0]["mediaType"] = json!(chart);
    });
    let empty = edited(|manifest| {
        manifest["config"] = json!({
            "mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
            "digest": Digest::of(b"{}").to_string(),
        });
        manifest["artifactType"] = json!("application/vnd.example.thing");
    });
    let sif = Artifact::sif(b"SIF".to_vec()).build();
    let rows = [
        ("encrypted", encrypted, "encrypted"),
        ("Helm chart", helm, "application/vnd.cncf.helm.config.v1+json"),
        ("empty config", empty, "application/vnd.example.thing"),
        ("SIF", sif, "oras://"),
    ];
    for (name, image, words) in rows {
        let row = Row::of(name, image);
        let ended = row.pull().fails(kind::IMAGE_UNSUPPORTED).says(words);
        ended.count(&layer(0), 0).count(&layer(1), 0).count(&blobs(), 0).keeps(1, 0);
    }
}

/// The image whose second layer is foreign, with these other places, and is not in the registry.
fn foreign(urls: &[&str]) -> Built {
    let mut image = edited(|manifest| {
        let layer = &mut manifest["layers"][1];
        layer["mediaType"] = json!("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
        layer["urls"] = json!(urls);
    });
    let missing = image.layers[1].clone();
    image.blobs.retain(|(at, _)| *at != missing);
    image
}

#[test]
fn r64_a_foreign_layer_is_asked_of_the_registry_alone() {
    let elsewhere = Registry::new().image(TWO, two()).start();
    let digest = elsewhere.layer_digest(1).unwrap();
    let there = format!("http://{}/v2/t/two/blobs/{digest}", elsewhere.host());
    let urls = [there.as_str(), "http://169.254.169.254/x", "file:///etc/passwd"];
    let row = Row::of("off", foreign(&urls));
    row.pull().fails(kind::IMAGE_UNSUPPORTED).says("foreign-layers").count(&layer(1), 1);
    assert_eq!((elsewhere.requests().len(), elsewhere.connections()), (0, 0));
    let partial = row.cached("partial");
    assert!(!partial.iter().any(|path| path.contains(digest.hex())), "{partial:?}");

    let mut there = foreign(&urls);
    there.blobs = two().build().blobs;
    let row = Row::of("in the registry", there);
    row.pull().requests(B).done();
    assert_eq!(elsewhere.requests().len(), 0);
}

#[test]
fn r64_the_setting_lets_a_foreign_layer_come_from_elsewhere_without_the_login() {
    let elsewhere = Registry::new().image(TWO, two()).start();
    let digest = elsewhere.layer_digest(1).unwrap();
    let there = format!("http://{}/v2/t/two/blobs/{digest}", elsewhere.host());
    let on = |name: &str, urls: &[&str]| {
        let row = Row::of(name, foreign(urls));
        row.site.write_home(".config/orlop/orlop.toml", b"[registry]\nforeign-layers = true\n");
        row.login("me", "pw")
    };
    let row = on("on", &["file:///etc/passwd", "http://169.254.169.254/x", &there]);
    row.registry.script(orlop_kit::ping(), [super::row::challenge(r#"Basic realm="x""#)]);
    row.pull().count(&layer(1), 1).done();
    let came = elsewhere.requests();
    assert_eq!(came.len(), 1, "{}", elsewhere.log());
    assert_eq!(came[0].header("authorization"), None);

    elsewhere.forget();
    elsewhere.script(layer(1), [super::row::challenge(r#"Basic realm="x""#)]);
    let row = on("401", &[&there]);
    row.pull().fails(kind::IMAGE_UNSUPPORTED);
    assert_eq!(elsewhere.requests().len(), 1, "a refusal is final");

    let row = on("nowhere", &["http://169.254.169.254/x", "file:///etc/passwd"]);
    row.pull().fails(kind::IMAGE_UNSUPPORTED).count(&layer(1), 1);
}

#[test]
fn r65_data_in_a_descriptor_is_checked_and_used() {
    let wrong = edited(|manifest| manifest["config"]["data"] = json!("e30="));
    let row = Row::of("other bytes", wrong);
    row.pull().fails(kind::MANIFEST_INVALID).says("config.data").requests(3).keeps(0, 0);

    use base64::Engine as _;
    let base64 = base64::prelude::BASE64_STANDARD;
    let image = two().build();
    let data = |digest: &Digest| {
        let (_, bytes) = image.blobs.iter().find(|(at, _)| at == digest).unwrap();
        json!(base64.encode(bytes.to_vec().unwrap()))
    };
    let (of_config, of_layer) = (data(&image.configs[0]), data(&image.layers[0]));
    let whole = edited(|manifest| {
        manifest["config"]["data"] = of_config;
        manifest["layers"][0]["data"] = of_layer;
    });
    let row = Row::of("the content", whole);
    row.pull().requests(B - 2).count(&config(), 0).count(&layer(0), 0).ok();
}

#[test]
fn r66_a_config_of_other_bytes_is_asked_for_once_more() {
    for (name, lie) in [("wrong digest", Answer::FlipBit(5)), ("longer", Answer::Longer(1))] {
        let row = Row::new(name).answer(config(), [lie.clone()]);
        row.pull().fails(kind::SOURCE_LIED).count(&config(), 2).requests(5).keeps(1, 0);
        let row = Row::new(format!("{name}, once")).answer(config(), [lie, Answer::Whole]);
        row.pull().count(&config(), 2).requests(B + 1).ok();
    }
    let row = Row::new("endless").answer(config(), [endless("")]);
    row.pull().fails(kind::SOURCE_LIED).count(&config(), 2);

    let large = edited(|manifest| manifest["config"]["size"] = json!((4 << 20) + 1));
    let row = Row::of("4 MiB + 1", large);
    row.pull().fails(kind::LIMIT_EXCEEDED).says("config-bytes").count(&config(), 0).requests(3);
}

#[test]
fn r67_odd_settings_of_an_image_are_kept_or_refused() {
    let env = edited_config(|config| {
        config["config"]["Env"] = json!(["PATH=/bin", "A=x\u{0}y", "B=one\ntwo", "C=\"$(id)\" '`"]);
    });
    let row = Row::of("Env", env);
    row.pull().requests(B).says("WARNING").says(r#""A""#).done();

    let labels = edited_config(|config| {
        let all = (0..100_000).map(|number| (format!("l{number}"), json!("x")));
        config["config"]["Labels"] = Value::Object(all.collect());
    });
    let row = Row::of("100 000 labels", labels);
    row.pull().requests(B).done();

    for (name, key, value) in [
        ("Entrypoint", "Entrypoint", json!("text")),
        ("Cmd", "Cmd", json!({"a": 1})),
        ("Env", "Env", json!([1])),
    ] {
        let row = Row::of(name, edited_config(|config| config["config"][key] = value));
        let ended = row.pull().fails(kind::MANIFEST_INVALID).says(&format!("config.{key}"));
        ended.count(&layer(0), 0).requests(4).keeps(1, 0);
    }
}

#[test]
fn r67_a_config_is_strict_json() {
    let whole = whole_config().to_string();
    let twice = whole.replacen(r#""os":"#, r#""os":"x","os":"#, 1);
    for (name, text) in [("duplicate key", twice), ("text after it", format!("{whole}{{}}"))] {
        let row = Row::of(name, with_config(text));
        row.pull().fails(kind::MANIFEST_INVALID).requests(4).keeps(1, 0);
    }
}

#[test]
fn r68_what_is_not_there_is_not_found() {
    let json = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
    for (name, kind_of_body, body) in
        [("JSON", "application/json", json), ("HTML", "text/html", "<html>"), ("none", "", "")]
    {
        let row = Row::new(name);
        let gone = answer(404, &[("Content-Type", kind_of_body)], body);
        let row = row.answer(head(TWO), [gone]);
        let ended = row.pull().fails(kind::IMAGE_NOT_FOUND).says("manifest unknown");
        ended.says("t/two:1").count(&head(TWO), 1).requests(2);
    }
    let errors = Built { manifest: json.as_bytes().to_vec(), ..two().build() };
    let row = Row::of("200 with errors", errors);
    row.pull().fails(kind::MANIFEST_INVALID).requests(3).keeps(0, 0);
}

#[test]
fn r69_a_sif_of_a_registry_is_one_layer_of_one_type_and_its_title_names_nothing() {
    let sif = |row: &Row| row.registry.oras(TWO);
    let made = Row::of("made", Image::tiny());
    let bytes = made.pull().done();

    let artifact = || Artifact::sif(bytes.clone());
    let two_layers = artifact().build().edit(|manifest| {
        let layer = manifest["layers"][0].clone();
        manifest["layers"] = json!([layer, layer]);
    });
    let rows = [
        ("two layers", two_layers, "ORAS SIF image should have a single layer, found 2"),
        (
            "other type",
            artifact().media_type("text/plain").build(),
            "invalid layer mediatype: text/plain",
        ),
    ];
    for (name, image, words) in rows {
        let row = Row::of(name, image);
        let uri = sif(&row);
        let ended = row.pull_uri(&uri).fails(words).count(&layer(0), 0);
        ended.says("While pulling image from oci registry").keeps(1, 0);
    }
    for title in ["../../x", "/etc/x", "a/b", ""] {
        let row = Row::of(title, artifact().title(title));
        let uri = sif(&row);
        let got = row.pull_uri(&uri).done();
        assert!(got == bytes, "{title}");
        assert_eq!(row.site.tree(&row.site.work()), ["a.sif"], "{title}");
        assert_eq!(row.registry.count(&manifest(TWO)), 0);
    }
}
