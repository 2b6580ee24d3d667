//! `pull docker://`: bytes, words, names of files, and what is asked of the registry.

use crate::world::{bare_site, bytes, secure, site};
use orlop_kit::{
    Compression, Digest, Entry, Image, Index, Layer, Names, RealRegistry, Registry, Schema, any,
    blobs, layer, manifest, tools,
};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

#[test]
fn a_pull_says_what_apptainers_users_expect_and_a_second_one_uses_the_cache() {
    let (registry, site) = secure(Registry::new().image("a/hello:1", Image::tiny()));
    let image = registry.docker("a/hello:1");

    let first = site.orlop(["pull", &image]).success();
    for line in [
        "INFO:    Converting OCI blobs to SIF format\n",
        "INFO:    Starting build...\n",
        "INFO:    Creating SIF file...\n",
    ] {
        assert!(first.stderr.contains(line), "{line:?}: {}", first.report());
    }
    assert_eq!(first.stdout, "");
    let second = site.orlop(["pull", "again.sif", &image]).success();
    assert!(second.stderr.starts_with("INFO:    Using cached SIF image\n"), "{}", second.report());
    assert!(!second.stderr.contains("Converting"), "{}", second.report());
    assert_eq!(site.tree(&site.work()), ["again.sif", "hello_1.sif"]);
}

#[test]
fn a_second_pull_downloads_no_blob_and_gives_the_same_bytes() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    let image = registry.docker("a:1");
    site.orlop(["pull", "first.sif", &image]).success();
    assert_eq!(registry.count(&blobs()), 3, "{}", registry.log());
    registry.forget();

    site.orlop(["pull", "second.sif", &image]).success();

    assert_eq!(registry.count(&blobs()), 0, "{}", registry.log());
    assert!(bytes(&site, "first.sif") == bytes(&site, "second.sif"));
}

#[test]
fn another_home_on_another_day_gets_the_same_bytes() {
    let registry = Registry::new().image("a:1", Image::odd()).start();
    let image = registry.docker("a:1");
    let one = site(&registry);
    one.orlop(["pull", "a.sif", &image]).success();
    let first = Digest::of(&bytes(&one, "a.sif"));

    let other = site(&registry);
    other.orlop(["pull", "a.sif", &image]).success();
    assert_eq!(Digest::of(&bytes(&other, "a.sif")), first);

    let Some([faketime]) = tools::all(["faketime"]) else { return };
    let later = site(&registry);
    let orlop = later.programs().orlop.display().to_string();
    let words = ["2031-03-03 03:03:03", &orlop, "pull", "a.sif", &image];
    later.program(&faketime, words).outcome().success();
    assert_eq!(Digest::of(&bytes(&later, "a.sif")), first);
}

#[test]
fn sixteen_pulls_at_once_download_each_blob_once_and_merge_once() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    let image = registry.docker("a:1");
    let held = registry.gate(layer(1));

    let names: Vec<String> = (0..16).map(|number| format!("{number}.sif")).collect();
    let start = |name: &String| site.run(["pull", name.as_str(), &image]).start();
    let running: Vec<_> = names.iter().map(start).collect();
    held.arrived(1);
    held.open();
    for one in running {
        one.outcome().success();
    }

    assert_eq!(registry.count(&layer(0)), 1, "{}", registry.log());
    assert_eq!(registry.count(&layer(1)), 1, "{}", registry.log());
    assert_eq!(registry.count(&blobs()), 3, "{}", registry.log());
    assert_eq!(site.daemons().len(), 1);
    let metrics = site.orlop(["metrics"]).success();
    assert!(metrics.stdout.contains("orlop_images_merged_total 1\n"), "{}", metrics.report());
    let first = bytes(&site, "0.sif");
    assert!(names.iter().all(|name| bytes(&site, name) == first));
}

#[test]
fn every_form_of_layer_and_manifest_gives_the_same_files() {
    let image = |schema, compression, names| {
        let entries = [
            Entry::dir("d"),
            Entry::file(format!("d/{}", "long".repeat(40)), "text\n"),
            Entry::sparse("d/holes", 1 << 20, &[(4096, b"in the middle")]),
        ];
        let layer = Layer::new().entries(entries).names(names).compression(compression);
        Image::new().schema(schema).layer(layer)
    };
    let Some([unsquashfs]) = tools::all(["unsquashfs"]) else { return };
    let mut listings = Vec::new();
    for schema in [Schema::Oci, Schema::Docker] {
        for compression in [
            Compression::Plain,
            Compression::Gzip,
            Compression::GzipMembers(3000),
            Compression::Zstd,
        ] {
            for names in [Names::Pax, Names::Gnu] {
                let image = image(schema, compression, names);
                let registry = Registry::new().image("a:1", image).start();
                let site = site(&registry);
                site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
                let offset = crate::others::squashfs_offset(&bytes(&site, "a.sif"));
                let mut list = Command::new(&unsquashfs);
                list.args(["-no-progress", "-lln", "-offset", &offset.to_string()]);
                let text = tools::output(list.arg(site.work().join("a.sif")).arg("d"));
                listings.push((format!("{schema:?} {compression:?} {names:?}"), text));
            }
        }
    }
    assert!(listings[0].1.contains("/d/holes"), "{}", listings[0].1);
    for (form, text) in &listings {
        assert_eq!(*text, listings[0].1, "{form}");
    }
}

#[test]
fn an_index_gives_the_image_of_the_platform_asked_for() {
    let image = |name: &str| {
        Image::new().layer(Layer::new().entry(Entry::file("arch", name))).env("ARCH", name)
    };
    let index = Index::new()
        .attestation()
        .image(image("arm64").platform("arm64", Some("v8")))
        .image(image("amd64").platform("amd64", None))
        .image(image("s390x").platform("s390x", None));
    let registry = Registry::new().image("a:1", index).start();
    let site = site(&registry);
    let image = registry.docker("a:1");

    site.orlop(["pull", "host.sif", &image]).success();
    site.orlop(["pull", "--arch", "arm64", "arm.sif", &image]).success();
    site.orlop(["pull", "--platform", "linux/s390x", "s390x.sif", &image]).success();
    let host = bytes(&site, "host.sif");
    assert!(host != bytes(&site, "arm.sif") && host != bytes(&site, "s390x.sif"));

    let missing = site.orlop(["pull", "--arch", "riscv64", &image]).fails(255);
    for platform in ["riscv64", "linux/arm64", "linux/amd64", "linux/s390x"] {
        assert!(missing.stderr.contains(platform), "{platform}: {}", missing.report());
    }
    assert!(!missing.stderr.contains("unknown/unknown"), "{}", missing.report());
}

#[test]
fn an_image_is_found_by_digest_and_by_tag_with_digest() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = site(&registry);
    let digest = registry.tag("a:1").unwrap();
    let by_digest = registry.docker(&format!("a@{digest}"));
    let by_both = registry.docker(&format!("a:1@{digest}"));
    site.orlop(["pull", &by_digest]).success();
    site.orlop(["pull", &by_both]).success();
    assert_eq!(
        site.tree(&site.work()),
        ["a@sha256_".to_owned() + digest.hex() + ".sif", "a_1.sif".into()]
    );
}

#[test]
fn the_output_is_named_as_apptainer_names_it() {
    let registry = Registry::new().image("t/full:1.2", Image::tiny()).start();
    let site = site(&registry);
    let image = registry.docker("t/full:1.2");
    std::fs::create_dir(site.work().join("dd")).unwrap();
    site.person().give(&site.work().join("dd"));
    site.orlop(["pull", &image]).success();
    site.orlop(["pull", "--name", "n.sif", "ignored.sif", &image]).success();
    site.orlop(["pull", "--dir", "dd", &image]).success();
    site.orlop(["pull", "--dir", "dd", "x.sif", &image]).success();
    let wanted = ["dd/", "dd/full_1.2.sif", "dd/x.sif", "full_1.2.sif", "n.sif"];
    assert_eq!(site.tree(&site.work()), wanted);
    let mode = site.work().join("n.sif").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn an_existing_file_is_kept_unless_forced() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = site(&registry);
    let image = registry.docker("a:1");
    site.write_work("a_1.sif", b"mine");

    let refused = site.orlop(["pull", &image]).fails(255);
    let wanted = "FATAL:   Image file already exists: \"a_1.sif\" - will not overwrite\n";
    assert!(refused.stderr.starts_with(wanted), "{}", refused.report());
    assert_eq!(bytes(&site, "a_1.sif"), b"mine");
    assert_eq!(registry.count(&any()), 0, "{}", registry.log());

    site.orlop(["pull", "--force", &image]).success();
    assert!(bytes(&site, "a_1.sif").len() > 4096);
    assert_eq!(site.tree(&site.work()), ["a_1.sif"]);
}

#[test]
fn a_directory_that_is_missing_is_found_before_any_download() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = site(&registry);
    let refused = site.orlop(["pull", "none/a.sif", &registry.docker("a:1")]).fails(255);
    assert!(refused.stderr.contains("no such file or directory"), "{}", refused.report());
    assert_eq!(registry.count(&any()), 0, "{}", registry.log());
}

#[test]
fn quiet_is_silent() {
    let (registry, site) = secure(Registry::new().image("a:1", Image::tiny()));
    let outcome = site.orlop(["-q", "pull", &registry.docker("a:1")]).success();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
}

#[test]
fn loopback_is_tried_without_tls_with_one_warning() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = bare_site().watch(&registry);
    let outcome = site.orlop(["pull", &registry.docker("a:1")]).success();
    let warnings = outcome.stderr.lines().filter(|line| line.starts_with("WARNING: ")).count();
    assert_eq!(warnings, 1, "{}", outcome.report());
    assert!(registry.knocks() > 0);
}

#[test]
fn no_https_asks_for_no_tls() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = bare_site().watch(&registry);
    site.orlop(["pull", "--no-https", &registry.docker("a:1")]).success();
    assert_eq!(registry.knocks(), 0);
}

#[test]
fn what_is_not_there_is_named() {
    let (registry, site) = secure(Registry::new().image("a:1", Image::tiny()));
    let outcome = site.orlop(["pull", &registry.docker("a:2")]).fails(255);
    let wanted = "FATAL:   While making image from oci registry: ";
    assert!(outcome.stderr.starts_with(wanted), "{}", outcome.report());
    assert!(outcome.stderr.contains("a:2"), "{}", outcome.report());
    assert!(site.tree(&site.work()).is_empty());
}

#[test]
fn a_moved_tag_gives_the_new_image() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = site(&registry);
    let image = registry.docker("a:1");
    site.orlop(["pull", "old.sif", &image]).success();
    registry.put("a:1", Image::two_layers());
    site.orlop(["pull", "new.sif", &image]).success();
    assert!(bytes(&site, "old.sif") != bytes(&site, "new.sif"));
}

#[test]
fn a_derived_image_downloads_its_own_layer_alone() {
    let base = Layer::noise("base", 1 << 20, 5);
    let parent = Image::new().layer(base.clone());
    let child = Image::new().layer(base).layer(Layer::noise("own", 1 << 20, 6));
    let registry = Registry::new().image("a:parent", parent).image("a:child", child).start();
    let site = site(&registry);
    site.orlop(["pull", "p.sif", &registry.docker("a:parent")]).success();
    registry.forget();
    site.orlop(["pull", "c.sif", &registry.docker("a:child")]).success();
    assert_eq!(registry.count(&layer(0)), 0, "{}", registry.log());
    assert_eq!(registry.count(&layer(2)), 1, "{}", registry.log());
    assert_eq!(registry.count(&manifest("a:parent")), 0);
}

#[test]
fn without_the_cache_nothing_is_kept() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = site(&registry);
    let image = registry.docker("a:1");
    site.orlop(["pull", "--disable-cache", "a.sif", &image]).success();
    let kept = site.tree(&site.cache());
    assert!(!kept.iter().any(|path| path.starts_with("segments/") && path.len() > 9), "{kept:?}");
    assert!(site.tree(&site.temp()).is_empty(), "{:?}", site.tree(&site.temp()));
}

#[test]
fn a_real_registry_serves_what_skopeo_pushed() {
    let Some(registry) = RealRegistry::anonymous() else { return };
    let Some([skopeo]) = tools::all(["skopeo"]) else { return };
    let site = bare_site().insecure_host(&registry.host());
    let layout = tempfile::tempdir().unwrap();
    Image::two_layers().build().write_layout(layout.path(), "1").unwrap();
    let from = format!("oci:{}:1", layout.path().display());
    let mut copy = Command::new(skopeo);
    copy.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", &from]);
    tools::output(copy.arg(registry.docker("a:1")));

    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    let scripted = Registry::new().image("a:1", Image::two_layers()).start();
    let other = crate::world::site(&scripted);
    other.orlop(["pull", "a.sif", &scripted.docker("a:1")]).success();
    assert!(bytes(&site, "a.sif").len() == bytes(&other, "a.sif").len());
}

#[test]
fn a_layer_that_is_not_compressed_as_its_media_type_says_is_a_warning() {
    let labels = [
        (Compression::Plain, "application/vnd.oci.image.layer.v1.tar+gzip", "gzip", "plain tar"),
        (Compression::Gzip, "application/vnd.oci.image.layer.v1.tar", "plain tar", "gzip"),
        (Compression::Zstd, "application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip", "zstd"),
    ];
    for (compression, label, said, found) in labels {
        let image = Image::new().layer(Layer::noise("a", 3_000, 1).compression(compression));
        let image = image.build().edit(|manifest| {
            manifest["layers"][0]["mediaType"] = label.into();
        });
        let registry = Registry::new().image("a:1", image).start();
        let pull = site(&registry).orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
        pull.says(&format!("the media type says {said}, the bytes are {found}"));
    }
}
