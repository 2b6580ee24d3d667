//! What is wrong with images in local files, how it is told, and that nothing of them is left.
//!
//! Not here: images that are right ([`crate::local_sources`]); the formats' details
//! (`crates/archive`).

use std::path::Path;

use orlop_kit::image::saved::{Saved, Sort, Wrapping};
use orlop_kit::{Digest, Entry, Site, until_true};

use crate::local_sources::{give, layout, saved, small};
use crate::world::{bare_site, bytes};

/// What is left of a pull that must have left nothing.
#[track_caller]
fn nothing_of(site: &Site, before: &[String]) {
    assert_eq!(site.tree(&site.work()), before);
    let kept = site.tree(&site.cache());
    let is_visible = |path: &&String| path.starts_with("recipes/") && !path.ends_with('/');
    assert_eq!(kept.iter().filter(is_visible).count(), 0, "{kept:?}");
    // A layer beside the one that was wrong is still being converted, for an instant.
    until_true("drafts are removed", || {
        let mut drafts = site.tree(&site.cache());
        let places = ["tmp/", "tmp/damaged/", "tmp/.orlop/"];
        drafts.retain(|path| path.starts_with("tmp/") && !places.contains(&path.as_str()));
        drafts.is_empty()
    });
}

/// A pull that has to fail, with these words.
#[track_caller]
fn refused(site: &Site, source: &str, words: &[&str]) {
    let before = site.tree(&site.work());
    let outcome = site.orlop(["pull", "out.sif", source]).fails(255);
    let first = "FATAL:   While making image from oci registry: ";
    assert!(outcome.stderr.contains(first), "{}", outcome.report());
    for word in words {
        assert!(outcome.stderr.contains(word), "{source}: {word}: {}", outcome.report());
    }
    nothing_of(site, &before);
}

#[test]
fn what_is_wrong_with_a_path_is_told_without_opening_it() {
    let site = bare_site();
    std::fs::create_dir(site.work().join("dir")).unwrap();
    site.write_work("text", &[b'x'; 4096]);
    site.write_work("empty", b"");
    let fifo = site.work().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o666),
        0,
    )
    .unwrap();
    give(&site, &site.work());
    for (source, words) in [
        ("docker-archive:none.tar", "no such file or directory"),
        ("docker-archive:fifo", "is a pipe, and an image is read by seeking"),
        ("oci:fifo", "is a pipe, and an image is read by seeking"),
        ("docker-archive:/dev/null", "is a device, and an image is read by seeking"),
        ("docker-archive:dir", "is a directory"),
        ("oci-archive:dir", "is a directory"),
        ("oci:text", "is a file"),
        ("oci:dir", "index.json is missing"),
        ("docker-archive:text", "is not a whole tar archive"),
        ("docker-archive:empty", "no manifest.json"),
        ("oci-archive:empty", "index.json is missing"),
    ] {
        refused(&site, source, &[words]);
    }
}

/// Apptainer 1.4.5 and skopeo open the archive more than once, and fail at a pipe with less to go by.
#[test]
fn an_archive_on_stdin_is_read_where_it_is_a_file_and_a_pipe_is_refused_with_why() {
    let site = bare_site();
    saved(&site, "a.tar", &Saved::new("a:1", small()));
    let orlop = site.programs().orlop.display().to_string();
    let sh = |script: &str| site.program(Path::new("/bin/sh"), ["-c", script, &orlop]).outcome();
    sh("exec \"$0\" pull a.sif docker-archive:/dev/stdin < a.tar").success();
    site.orlop(["pull", "b.sif", "docker-archive:a.tar"]).success();
    assert!(bytes(&site, "a.sif") == bytes(&site, "b.sif"));
    let piped = sh("cat a.tar | \"$0\" pull c.sif docker-archive:/dev/stdin").fails(255);
    piped.says("/dev/stdin is a pipe, and").says("to a file first: cat > image.tar");
    let gone = sh("cp a.tar b.tar; exec 4< b.tar; rm b.tar; \
                   \"$0\" pull c.sif docker-archive:/dev/stdin <&4")
    .fails(255);
    gone.says("/dev/stdin leads to no file that has a name").says("to a file first");
}

#[test]
fn a_broken_archive_is_refused_and_the_whole_one_taken_after_it() {
    let site = bare_site();
    let good = || Saved::new("a:1", small());
    let bytes_of = |saved: &Saved| saved.bytes();
    let whole = bytes_of(&good());
    let layer = good().layer_name(1);
    let config = good().config_name();
    let list = |config: &str, layer: &str| {
        let list = serde_json::json!([{"Config": config, "RepoTags": ["a:1"], "Layers": [layer]}]);
        Entry::file("manifest.json", list.to_string())
    };
    let listed = |entry: Entry| bytes_of(&good().without("manifest.json").entry(entry));
    let flipped = {
        let mut bytes = whole.clone();
        // Within the noise of the second layer.
        let at = bytes.len() - 100_000;
        bytes[at] ^= 1;
        bytes
    };
    let gzip = bytes_of(&good().wrapped(Wrapping::Gzip));
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        ("cut", whole[..whole.len() / 2].to_vec(), "cut off"),
        ("flipped", flipped, "has the digest"),
        ("cut gzip", gzip[..gzip.len() / 2].to_vec(), "cut off"),
        ("no layer", bytes_of(&good().without(&layer)), &layer),
        ("no config", bytes_of(&good().without(&config)), &config),
        ("no list", bytes_of(&good().without("manifest.json")), "no manifest.json"),
        (
            "other config",
            bytes_of(&good().entry(Entry::file(config.clone(), "{}"))),
            "has the digest",
        ),
        ("not JSON", listed(Entry::file("manifest.json", "[{]")), "manifest.json cannot be used"),
        ("count", listed(list(&config, &layer)), "1 layers"),
        ("up", listed(list("../../etc/passwd", &layer)), "leads out of the archive"),
        (
            "link up",
            bytes_of(
                &good().without(&layer).entry(Entry::symlink(layer.clone(), "../../etc/passwd")),
            ),
            "leads out of the archive",
        ),
        (
            "absolute link",
            bytes_of(&good().without(&layer).entry(Entry::symlink(layer.clone(), "/etc/passwd"))),
            "leads out of the archive",
        ),
        (
            "circle",
            bytes_of(&good().without(&layer).entry(Entry::symlink(layer.clone(), layer.clone()))),
            "too many links",
        ),
        (
            "device",
            bytes_of(&good().without(&layer).entry(Entry::char_device(layer.clone(), 1, 5))),
            "is a device or FIFO",
        ),
        (
            "directory",
            bytes_of(&good().without(&layer).entry(Entry::dir(layer.clone()))),
            "is a directory",
        ),
        (
            "holes",
            bytes_of(&good().without(&layer).entry(Entry::sparse(layer.clone(), 1 << 30, &[]))),
            "stored with holes",
        ),
    ];
    for (name, bytes, words) in rows {
        site.write_work("a.tar", &bytes);
        let before = site.tree(&site.work());
        let outcome = site.orlop(["pull", "out.sif", "docker-archive:a.tar"]).fails(255);
        assert!(outcome.stderr.contains(words), "{name}: {words}: {}", outcome.report());
        nothing_of(&site, &before);
    }
    site.write_work("a.tar", &whole);
    site.orlop(["pull", "out.sif", "docker-archive:a.tar"]).success();
}

#[test]
fn the_limits_of_the_caller_hold_for_archives_too() {
    let site = bare_site();
    saved(&site, "a.tar", &Saved::new("a:1", small()));
    saved(&site, "a.tar.gz", &Saved::new("a:1", small()).wrapped(Wrapping::Gzip));
    saved(&site, "old.tar", &Saved::new("a:1", small()).sort(Sort::Repositories));
    layout(&site, "ol", small());
    for (variable, value, source, key) in [
        ("LAYER_BYTES", "100000", "docker-archive:a.tar.gz", "layer-bytes"),
        ("LAYERS", "1", "docker-archive:a.tar", "layers"),
        ("LAYERS", "1", "docker-archive:old.tar", "layers"),
        ("CONFIG_BYTES", "10", "docker-archive:a.tar", "config-bytes"),
        ("CONFIG_BYTES", "10", "oci:ol", "config-bytes"),
        ("MANIFEST_BYTES", "10", "oci:ol", "manifest-bytes"),
    ] {
        let variable = format!("ORLOP_LIMITS_{variable}");
        let said = format!("limits.{key} is {value}");
        let outcome = site.run(["pull", "out.sif", source]).env(&variable, value).outcome();
        let outcome = outcome.fails(255);
        assert!(outcome.stderr.contains(&said), "{source}: {said}: {}", outcome.report());
    }
    site.orlop(["pull", "out.sif", "docker-archive:a.tar.gz"]).success();
}

#[test]
fn a_broken_layout_is_refused_blob_by_blob() {
    let site = bare_site();
    let built = small().build();
    let blob = |digest: &Digest| format!("ol/blobs/sha256/{}", digest.hex());
    let rows = [
        (blob(&built.layers[1]), "has the digest"),
        (blob(&built.configs[0]), "has the digest"),
        (blob(&built.digest()), "has the digest"),
        ("ol/index.json".to_owned(), "index.json cannot be used"),
        ("ol/oci-layout".to_owned(), "oci-layout cannot be used"),
    ];
    let at = layout(&site, "ol", small());
    for (name, words) in rows {
        let path = site.work().join(&name);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        let last = bad.len() - 2;
        bad[last] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        refused(&site, "oci:ol", &[words]);
        if name.contains("blobs") {
            std::fs::write(&path, &good[1..]).unwrap();
            refused(&site, "oci:ol", &[]);
            std::fs::remove_file(&path).unwrap();
            refused(&site, "oci:ol", &["is missing"]);
            std::fs::create_dir(&path).unwrap();
            refused(&site, "oci:ol", &["is not a regular file"]);
            std::fs::remove_dir(&path).unwrap();
        }
        std::fs::write(&path, &good).unwrap();
        give(&site, &at);
    }
    site.orlop(["pull", "out.sif", "oci:ol"]).success();
}

#[test]
fn services_that_have_ended_are_refused_with_what_to_use() {
    let site = bare_site();
    for (source, words) in [
        ("library://a/b/c:1", "library"),
        ("shub://a/b", "shub"),
        ("ipfs://x", "ipfs"),
        ("foo://x", "Unsupported transport type: foo"),
    ] {
        let refused = site.orlop(["pull", source]).fails(255);
        for words in [words, "docker://", "oras://"] {
            assert!(refused.stderr.contains(words), "{source}: {}", refused.report());
        }
    }
}
