//! `orlop resolve` and `orlop inspect`: what a reference is, without its layers.

use crate::world::{secure, site};
use orlop_kit::{Answer, Artifact, Digest, Image, Index, Registry, blobs, config, head, layer};
use orlop_kit::{manifest, tools};
use serde_json::{Value, json};
use std::process::Command;

/// An index of two images as `t/a:1`.
fn with_index() -> (Registry, Value) {
    let index = Index::new()
        .attestation()
        .image(Image::tiny().env("WHERE", "here").cmd(&["sh"]))
        .image(Image::tiny().platform("s390x", None).env("WHERE", "there"))
        .build();
    let parsed = serde_json::from_slice(&index.manifest).unwrap();
    (Registry::new().image("t/a:1", index), parsed)
}

fn entry(index: &Value, number: usize) -> String {
    index["manifests"][number]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn a_reference_is_resolved_to_the_digest_of_what_it_names() {
    let (registry, index) = with_index();
    let registry = registry.start();
    let site = site(&registry);
    let uri = registry.docker("t/a:1");
    let name = format!("{}/t/a", registry.host());
    let top = registry.tag("t/a:1").unwrap().to_string();

    site.orlop(["resolve", &uri]).success().prints(&format!("{name}@{top}\n"));
    assert_eq!(registry.count(&head("t/a:1")), 1, "{}", registry.log());
    assert_eq!(registry.count(&manifest(&format!("t/a@{top}"))), 0, "{}", registry.log());

    let other = format!("{name}@{}\n", entry(&index, 2));
    for flags in [["--platform", "linux/s390x"], ["--arch", "s390x"]] {
        let words = ["resolve"].into_iter().chain(flags).chain([uri.as_str()]);
        site.orlop(words.collect::<Vec<_>>()).success().prints(&other);
    }
    let own = format!("{name}@{}\n", entry(&index, 1));
    site.orlop(["resolve", "--manifest", &uri]).success().prints(&own);
    let json = site.orlop(["resolve", "--manifest", "--json", &uri]).success();
    let read: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        read,
        json!({
            "reference": format!("{name}:1"),
            "resolved": own.trim_end(),
            "digest": top,
            "manifest_digest": entry(&index, 1),
            "source": name,
        })
    );
    let missing = site.orlop(["resolve", "--platform", "linux/riscv64", &uri]).fails(255);
    missing.says("no image for");
    site.orlop(["resolve", &registry.docker("t/a:2")]).fails(255).says("not found:");
}

#[test]
fn an_image_without_an_index_has_to_be_for_the_platform_that_is_named() {
    let registry = Registry::new().image("a:1", Image::tiny().platform("s390x", None)).start();
    let (site, uri) = (site(&registry), registry.docker("a:1"));
    for command in ["resolve", "inspect"] {
        let refused = site.orlop([command, "--platform", "linux/arm64", &uri]).fails(255);
        refused.says("no image for linux/arm64; offered: linux/s390x");
        site.orlop([command, "--platform", "linux/s390x", &uri]).success();
        let both = [command, "--platform", "linux/arm64", "--arch", "s390x", &uri];
        site.orlop(both).fails(255).says("--platform linux/arm64 and --arch s390x disagree");
    }
}

#[test]
fn what_was_resolved_can_be_pulled() {
    let (registry, _) = with_index();
    let (registry, site) = secure(registry);
    for flags in [vec!["resolve"], vec!["resolve", "--manifest"]] {
        let uri = registry.docker("t/a:1");
        let words: Vec<&str> = flags.into_iter().chain([uri.as_str()]).collect();
        let resolved = site.orlop(words).success();
        let again = format!("docker://{}", resolved.stdout.trim_end());
        site.orlop(["pull", "--force", "a.sif", &again]).success();
    }
}

#[test]
fn an_index_for_other_machines_can_be_resolved_and_shown() {
    let index = Index::new().image(Image::tiny().platform("s390x", None));
    let registry = Registry::new().image("a:1", index).start();
    let site = site(&registry);
    let uri = registry.docker("a:1");
    site.orlop(["resolve", &uri]).success();
    let raw = site.orlop(["inspect", "--raw", &uri]).success();
    assert_eq!(Digest::of(&raw.bytes), registry.tag("a:1").unwrap());
    site.orlop(["inspect", &uri]).fails(255).says("no image for");
}

#[test]
fn raw_documents_are_those_of_the_digest() {
    let (registry, index) = with_index();
    let registry = registry.start();
    let site = site(&registry);
    let uri = registry.docker("t/a:1");
    let raw = site.orlop(["inspect", "--raw", &uri]).success();
    assert_eq!(Digest::of(&raw.bytes), registry.tag("t/a:1").unwrap());
    let manifest = site.orlop(["inspect", "--raw", "--arch", "s390x", &uri]).success();
    assert_eq!(Digest::of(&manifest.bytes).to_string(), entry(&index, 2));
    let wanted = serde_json::from_slice::<Value>(&manifest.bytes).unwrap();
    let config = site.orlop(["inspect", "--config", "--arch", "s390x", &uri]).success();
    assert_eq!(Digest::of(&config.bytes).to_string(), wanted["config"]["digest"]);
    assert_eq!(registry.count(&layer(0)), 0, "{}", registry.log());
}

#[test]
fn an_image_is_described_in_lines_and_in_a_stable_object() {
    let (registry, index) = with_index();
    let (registry, site) = secure(registry);
    let uri = registry.docker("t/a:1");
    let shown = site.orlop(["inspect", &uri]).success();
    let top = registry.tag("t/a:1").unwrap();
    let own = index["manifests"][1]["platform"]["architecture"].as_str().unwrap();
    for line in [
        format!("Reference:     {}/t/a:1\n", registry.host()),
        format!("Digest:        {top}\n"),
        format!("Platforms:     linux/{own}, linux/s390x\n"),
        format!("Manifest:      {}\n", entry(&index, 1)),
        format!("Platform:      linux/{own}\n"),
        "Created:       2020-02-20 20:02:02 UTC\n".to_owned(),
        "Cmd:           [\"sh\"]\n".to_owned(),
        "WHERE=here\n".to_owned(),
    ] {
        assert!(shown.stdout.contains(&line), "{line}{}", shown.report());
    }

    let json = site.orlop(["inspect", "--json", &uri]).success();
    let read: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(read["digest"], top.to_string());
    assert_eq!(read["manifest"]["digest"], entry(&index, 1));
    assert_eq!(read["platforms"].as_array().unwrap().len(), 3);
    assert_eq!(read["platforms"][2]["platform"]["architecture"], "s390x");
    assert_eq!(read["config"]["cmd"], json!(["sh"]));
    assert_eq!(read["created"], 1_582_228_922);
    let layers = read["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1);
    assert_eq!(layers[0]["digest"], registry.layer_digest(0).unwrap().to_string());
    assert!(layers[0]["size"].is_u64() && layers[0]["media_type"].is_string());
}

#[test]
fn a_sif_of_a_registry_is_described_as_well() {
    let registry = Registry::new().start();
    registry.put("s/a:1", Artifact::sif(b"0123456789".to_vec()).title("a.sif"));
    let site = site(&registry);
    let uri = registry.oras("s/a:1");
    let shown = site.orlop(["inspect", &uri]).success();
    let line =
        format!("{} 10 application/vnd.sylabs.sif.layer.v1.sif\n", Digest::of(b"0123456789"));
    assert!(shown.stdout.contains(&line), "{}", shown.report());
    let json = site.orlop(["inspect", "--json", &uri]).success();
    let read: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(read["layers"][0]["annotations"]["org.opencontainers.image.title"], "a.sif");
    let raw = site.orlop(["inspect", "--raw", &uri]).success();
    assert_eq!(Digest::of(&raw.bytes), registry.tag("s/a:1").unwrap());
    let resolved = format!("{}/s/a@{}\n", registry.host(), registry.tag("s/a:1").unwrap());
    site.orlop(["resolve", &uri]).success().prints(&resolved);
}

#[test]
fn r144_text_of_an_image_is_shown_escaped() {
    let odd = "x\u{1b}[31m\n\u{202e}\u{9b}y";
    let image = Image::tiny().label("odd", odd).annotation("odd", odd).env("ODD", odd);
    let (registry, site) = secure(Registry::new().image("a:1", image));
    let uri = registry.docker("a:1");
    let shown = site.orlop(["inspect", &uri]).success();
    let wanted = "odd=x\\x1b[31m\\n\\u{202e}\\u{9b}y\n";
    assert_eq!(shown.stdout.matches(wanted).count(), 2, "{}", shown.report());
    assert!(!shown.stdout.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{}", shown.report());
    let json = site.orlop(["inspect", "--json", &uri]).success();
    assert!(!json.stdout.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{}", json.report());
    let read: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(read["config"]["labels"]["odd"], odd);
    assert_eq!(read["annotations"]["odd"], odd);
}

#[test]
fn documents_of_other_bytes_are_not_shown() {
    let registry =
        Registry::new().image("a:1", Image::tiny()).answer(config(), [Answer::FlipBit(20)]).start();
    let site = site(&registry);
    let uri = registry.docker("a:1");
    let outcome = site.orlop(["inspect", &uri]).fails(255);
    let outcome = outcome.says("wrong bytes from the registry").prints("");
    assert_eq!(registry.count(&blobs()), 2, "{}", outcome.report());
}

#[test]
fn skopeo_sees_the_same_digest() {
    let Some([skopeo]) = tools::all(["skopeo"]) else { return };
    let (registry, _) = with_index();
    let registry = registry.start();
    let site = site(&registry);
    let uri = registry.docker("t/a:1");
    let mut command = Command::new(skopeo);
    command.args(["inspect", "--tls-verify=false", "--raw", &uri]);
    let raw = tools::output(&mut command);
    assert_eq!(site.orlop(["inspect", "--raw", &uri]).success().stdout, raw);
}

#[test]
fn an_image_file_tells_its_labels_and_what_is_asked_for() {
    let image = Image::tiny().label("org.tool", "x\u{1b}y").env("A", "b").cmd(&["prog", "-v"]);
    let (registry, site) = secure(Registry::new().image("a:1", image));
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    site.stop();
    let labels = site.orlop(["inspect", "a.sif"]).success();
    assert!(labels.stdout.contains("\norg.tool: x\u{1b}y\n"), "{}", labels.report());
    assert_eq!(site.orlop(["inspect", "--labels", "a.sif"]).success().stdout, labels.stdout);
    let json = site.orlop(["inspect", "--json", "a.sif"]).success();
    let read: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(read["type"], "container");
    assert_eq!(read["data"]["attributes"]["labels"]["org.tool"], "x\u{1b}y");
    assert_eq!(read["data"]["attributes"].as_object().unwrap().len(), 1);

    let several = site.orlop(["inspect", "-e", "-d", "-r", "a.sif"]).success().stdout;
    let places =
        ["bootstrap: docker\n", "prog", "=== /.singularity.d/env/10-docker2singularity.sh ===\n"];
    let found: Vec<_> = places.iter().map(|text| several.find(text)).collect();
    assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{several}");
    assert!(!several.contains("org.tool"), "{several}");

    let all = site.orlop(["inspect", "--all", "a.sif"]).success();
    let read: Value = serde_json::from_str(&all.stdout).unwrap();
    for part in ["environment", "labels", "runscript", "deffile", "startscript"] {
        assert!(read["data"]["attributes"].get(part).is_some(), "{part} {}", all.report());
    }
    site.orlop(["inspect", "--helpfile", "a.sif"]).success().prints("");
    site.orlop(["inspect", "--raw", "a.sif"])
        .fails(255)
        .says("--raw is about images of registries");
    let uri = registry.docker("a:1");
    site.orlop(["inspect", "-d", &uri]).fails(255).says("--deffile is about image files");
    assert!(site.daemons().is_empty());
}

#[test]
fn a_sandbox_and_a_squashfs_tell_what_their_files_say() {
    let site = crate::world::bare_site();
    for (path, text) in [
        (".singularity.d/labels.json", r#"{"a": "b"}"#),
        (".singularity.d/runscript", "#!/bin/sh\nrun\n"),
        (".singularity.d/Singularity", "bootstrap: x\n"),
        (".singularity.d/env/90-environment.sh", "E=1\n"),
        (".singularity.d/env/01-base.sh", "hidden\n"),
        ("scif/apps/tool/scif/runscript", "app\n"),
    ] {
        site.write_work(&format!("box/{path}"), text.as_bytes());
    }
    let mut images = vec!["box"];
    if let Some([mksquashfs]) = tools::all(["mksquashfs"]) {
        let words = ["box", "box.sqfs", "-quiet", "-no-progress"];
        site.program(&mksquashfs, words).outcome().success();
        images.push("box.sqfs");
    }
    for image in images {
        site.orlop(["inspect", image]).success().prints("a: b\n");
        let words = ["inspect", "-d", "-r", "-e", image];
        let sections =
            "bootstrap: x\n#!/bin/sh\nrun\n=== /.singularity.d/env/90-environment.sh ===\nE=1\n\n";
        site.orlop(words).success().prints(sections);
        site.orlop(["inspect", "--list-apps", image]).success().prints("tool\n");
        site.orlop(["inspect", "--app", "tool", "-r", image]).success().prints("app\n");
        let json = site.run_as("singularity", ["inspect", "--json", image]).outcome().success();
        let read: Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(
            read,
            json!({"data": {"attributes": {"labels": {"a": "b"}}}, "type": "container"})
        );
    }
    site.orlop(["inspect", "nothing.sif"])
        .fails(255)
        .says("FATAL:   Failed to open image nothing.sif");
    site.write_work("text", b"no image");
    site.orlop(["inspect", "text"]).fails(255).says("Failed to open image text: image format not");
}
