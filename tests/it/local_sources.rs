//! Images in local files: OCI layouts and archives, and what `docker save` writes.
//!
//! Archives are made by skopeo where it is there, and by the kit for what no program writes. Not
//! here: what is wrong with some of them ([`crate::local_refusals`]); the formats' details
//! (`crates/archive`).

use std::path::{Path, PathBuf};
use std::process::Command;

use orlop_kit::image::saved::{Saved, Sort, Wrapping};
use orlop_kit::{Compression, Digest, Entry, Image, Index, Layer, Registry, Site, tools};

use crate::world::{bare_site, bytes, site};

/// Writes a layout into the site's working directory.
pub(crate) fn layout(site: &Site, name: &str, image: Image) -> PathBuf {
    let at = site.work().join(name);
    std::fs::create_dir(&at).unwrap();
    image.build().write_layout(&at, "1").unwrap();
    give(site, &at);
    at
}

/// Makes the site's person the owner of a tree.
pub(crate) fn give(site: &Site, at: &Path) {
    if at.is_dir() {
        for entry in std::fs::read_dir(at).unwrap() {
            give(site, &entry.unwrap().path());
        }
    }
    site.person().give(at);
}

/// Writes an archive of `docker save`.
pub(crate) fn saved(site: &Site, name: &str, saved: &Saved) {
    site.write_work(name, &saved.bytes());
}

/// Names, kinds, owners and sizes of all files of a SIF, and what one of them holds.
fn listing(site: &Site, name: &str) -> Option<String> {
    let [unsquashfs] = tools::all(["unsquashfs"])?;
    let offset = crate::others::squashfs_offset(&bytes(site, name)).to_string();
    let mut list = Command::new(unsquashfs);
    list.args(["-no-progress", "-lln", "-offset", &offset]).arg(site.work().join(name));
    let text = tools::output(&mut list);
    // What the SIF says of its source has the length of the source's name.
    let is_named = |line: &&str| {
        line.contains("/.singularity.d/labels.json") || line.contains("/.singularity.d/Singularity")
    };
    Some(text.lines().filter(|line| !is_named(line)).collect::<Vec<_>>().join("\n"))
}

/// Two layers, the upper one of bytes that do not compress.
pub(crate) fn small() -> Image {
    Image::tiny().layer(Layer::noise("noise", 200_000, 3))
}

#[test]
fn a_layout_gives_the_files_that_the_registry_gives() {
    let registry = Registry::new().image("a:1", Image::odd()).start();
    let site = site(&registry);
    site.orlop(["pull", "far.sif", &registry.docker("a:1")]).success();
    layout(&site, "ol", Image::odd());

    let first = site.orlop(["pull", "oci:ol:1"]).success();
    for line in ["INFO:    Converting OCI blobs to SIF format\n", "INFO:    Creating SIF file...\n"]
    {
        assert!(first.stderr.contains(line), "{line:?}: {}", first.report());
    }
    site.orlop(["pull", "oci:ol"]).success();
    assert_eq!(listing(&site, "ol_1.sif"), listing(&site, "far.sif"));
    assert_eq!(bytes(&site, "ol_1.sif").len(), bytes(&site, "far.sif").len());
    let again = site.orlop(["pull", "again.sif", "oci:ol:1"]).success();
    assert!(again.stderr.starts_with("INFO:    Using cached SIF image\n"), "{}", again.report());
    assert!(bytes(&site, "again.sif") == bytes(&site, "ol_1.sif"));
    let digest = Image::odd().build().digest();
    site.orlop(["pull", &format!("oci:ol@{digest}")]).success();
    let of_digest = format!("ol@sha256_{}.sif", digest.hex());
    assert_eq!(listing(&site, &of_digest), listing(&site, "far.sif"));
}

#[test]
fn every_form_of_docker_archive_gives_the_same_files() {
    let site = bare_site();
    layout(&site, "ol", small());
    site.orlop(["pull", "wanted.sif", "oci:ol"]).success();
    let wanted = listing(&site, "wanted.sif");
    let image = || Saved::new("a:1", small());
    let forms = [
        image(),
        image().sort(Sort::Directories),
        image().sort(Sort::Links),
        image().sort(Sort::Blobs),
        image().sort(Sort::Repositories),
        image().wrapped(Wrapping::Gzip),
        image().sort(Sort::Links).wrapped(Wrapping::Zstd),
        image().layers_as(Compression::Gzip),
        image().layers_as(Compression::Zstd).wrapped(Wrapping::Gzip),
    ];
    for (number, form) in forms.iter().enumerate() {
        let name = format!("{number}.tar");
        saved(&site, &name, form);
        let sif = format!("{number}.sif");
        let pulled = site.orlop(["pull", &sif, &format!("docker-archive:{name}")]).success();
        assert!(!pulled.stderr.contains("WARNING"), "{form:?}: {}", pulled.report());
        assert_eq!(listing(&site, &sif), wanted, "{form:?}");
    }
    assert!(site.tree(&site.temp()).is_empty(), "{:?}", site.tree(&site.temp()));
}

#[test]
fn an_archive_compressed_by_xz_is_unpacked_and_one_by_bzip2_refused() {
    let Some([xz, bzip2]) = tools::all(["xz", "bzip2"]) else { return };
    let site = bare_site();
    for (program, ending) in [(xz, "xz"), (bzip2, "bz2")] {
        saved(&site, "a.tar", &Saved::new("a:1", Image::tiny()));
        tools::output(Command::new(program).arg(site.work().join("a.tar")));
        give(&site, &site.work().join(format!("a.tar.{ending}")));
    }
    site.orlop(["pull", "a.sif", "docker-archive:a.tar.xz"]).success();
    let refused = site.orlop(["pull", "b.sif", "docker-archive:a.tar.bz2"]).fails(255);
    assert!(refused.stderr.contains("bunzip2"), "{}", refused.report());
}

#[test]
fn what_skopeo_writes_gives_what_the_registry_gives() {
    let Some([skopeo]) = tools::all(["skopeo"]) else { return };
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    let image = registry.docker("a:1");
    site.orlop(["pull", "far.sif", &image]).success();
    let wanted = listing(&site, "far.sif");
    let work = site.work();
    for (transport, source) in [
        ("oci", "oci:ol:1"),
        ("oci-archive", "oci-archive:oa.tar:1"),
        ("docker-archive", "docker-archive:da.tar:a:1"),
    ] {
        let rest = source.split_once(':').unwrap().1;
        let to = format!("{transport}:{}/{rest}", work.display());
        let mut copy = Command::new(&skopeo);
        copy.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", &image, &to]);
        tools::output(&mut copy);
        give(&site, &work);
        let sif = format!("{transport}.sif");
        site.orlop(["pull", &sif, source]).success();
        assert_eq!(listing(&site, &sif), wanted, "{source}");
        let unnamed = source.strip_suffix(":a:1").or_else(|| source.strip_suffix(":1")).unwrap();
        site.orlop(["pull", "--force", &sif, unnamed]).success();
        assert_eq!(listing(&site, &sif), wanted, "{unnamed}");
    }
}

#[test]
fn an_image_is_named_as_in_the_archive_or_more_fully() {
    let other = || Image::tiny().env("OTHER", "yes");
    let site = bare_site();
    let both = Saved::new("some/cmd:9", Image::tiny()).image("cmd:10", other());
    saved(&site, "both.tar", &both);
    for (image, name) in [
        ("both.tar", "both.tar_latest.sif"),
        ("both.tar:some/cmd:9", "cmd_9.sif"),
        ("both.tar:docker.io/library/cmd:10", "cmd_10.sif"),
    ] {
        site.orlop(["pull", &format!("docker-archive:{image}")]).success();
        assert!(site.work().join(name).exists(), "{:?}", site.tree(&site.work()));
    }
    site.orlop(["pull", "ten.sif", "docker-archive:both.tar:cmd:10"]).success();
    let config = Digest::of(&other().build().blobs[0].1.to_vec().unwrap());
    site.orlop(["pull", "id.sif", &format!("docker-archive:both.tar@{config}")]).success();
    assert_eq!(listing(&site, "id.sif"), listing(&site, "ten.sif"));
    let missing = site.orlop(["pull", "docker-archive:both.tar:cmd:11"]).fails(255);
    for words in ["no image \"cmd:11\"", "some/cmd:9, cmd:10"] {
        assert!(missing.stderr.contains(words), "{words}: {}", missing.report());
    }
}

#[test]
fn a_layout_of_several_images_wants_a_name_and_an_index_gives_the_platform() {
    let image = |name: &str| {
        Image::new().layer(Layer::new().entry(Entry::file("arch", name))).platform(name, None)
    };
    let host = Image::new().build();
    let index = Index::new().attestation().image(image("s390x")).image(image("arm64"));
    let site = bare_site();
    let at = site.work().join("ol");
    index.build().write_layout(&at, "all").unwrap();
    give(&site, &at);
    site.orlop(["pull", "--arch", "arm64", "oci:ol"]).success();
    site.orlop(["pull", "--arch", "s390x", "other.sif", "oci:ol:all"]).success();
    assert!(bytes(&site, "ol_latest.sif") != bytes(&site, "other.sif"));
    let missing = site.orlop(["pull", "none.sif", "oci:ol"]).fails(255);
    assert!(missing.stderr.contains("linux/s390x, linux/arm64"), "{}", missing.report());

    let text = std::fs::read_to_string(at.join("index.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut second = json["manifests"][0].clone();
    second["annotations"]["org.opencontainers.image.ref.name"] = "second".into();
    second["digest"] = host.digest().to_string().into();
    json["manifests"].as_array_mut().unwrap().push(second);
    std::fs::write(at.join("index.json"), json.to_string()).unwrap();
    let several = site.orlop(["pull", "none.sif", "oci:ol"]).fails(255);
    assert!(several.stderr.contains("several images"), "{}", several.report());
    assert!(several.stderr.contains("all, second"), "{}", several.report());
    site.orlop(["pull", "--arch", "arm64", "named.sif", "oci:ol:all"]).success();
    let none = site.orlop(["pull", "none.sif", "oci:ol:third"]).fails(255);
    assert!(none.stderr.contains("no image \"third\""), "{}", none.report());
}

#[test]
fn of_two_entries_of_one_name_the_last_counts() {
    let site = bare_site();
    let one = Saved::new("a:1", Image::tiny());
    let list = serde_json::json!([{
        "Config": one.config_name(), "RepoTags": ["b:2"], "Layers": [one.layer_name(0)],
    }]);
    saved(&site, "a.tar", &one.entry(Entry::file("./manifest.json", list.to_string())));
    site.orlop(["pull", "a.sif", "docker-archive:a.tar:b:2"]).success();
    site.orlop(["pull", "b.sif", "docker-archive:a.tar:a:1"]).fails(255);
}

#[test]
fn sixteen_pulls_of_one_archive_give_the_same_bytes() {
    let site = bare_site();
    saved(&site, "a.tar.gz", &Saved::new("a:1", small()).wrapped(Wrapping::Gzip));
    let names: Vec<String> = (0..16).map(|number| format!("{number}.sif")).collect();
    let start = |name: &String| site.run(["pull", name, "docker-archive:a.tar.gz"]).start();
    let running: Vec<_> = names.iter().map(start).collect();
    for one in running {
        one.outcome().success();
    }
    assert_eq!(site.daemons().len(), 1);
    let first = bytes(&site, "0.sif");
    assert!(names.iter().all(|name| bytes(&site, name) == first));
}

#[test]
fn an_archive_runs_without_a_sif() {
    if !crate::run::runnable() {
        return;
    }
    let site = bare_site();
    saved(&site, "a.tar", &Saved::new("a:1", Image::tiny()));
    layout(&site, "ol", Image::tiny());
    for source in ["docker-archive:a.tar", "docker-archive:a.tar:a:1", "oci:ol:1"] {
        let words = ["-q", "exec", source, "/bin/probe", "args", "in", "it"];
        site.orlop(words).success().prints("in\nit\n");
    }
    let run = site.orlop(["exec", "--disable-cache", "oci:ol", "/bin/probe", "args", "x"]);
    run.success().prints("x\n");
    let missing = site.orlop(["exec", "docker-archive:none.tar", "/bin/probe"]).fails(255);
    let wanted = "FATAL:   Unable to handle docker-archive:none.tar uri: ";
    assert!(missing.stderr.starts_with(wanted), "{}", missing.report());
}

#[test]
fn without_the_cache_an_archive_leaves_nothing() {
    let site = bare_site();
    saved(&site, "a.tar.gz", &Saved::new("a:1", Image::tiny()).wrapped(Wrapping::Gzip));
    site.orlop(["pull", "--disable-cache", "a.sif", "docker-archive:a.tar.gz"]).success();
    let kept = site.tree(&site.cache());
    assert!(!kept.iter().any(|path| path.starts_with("segments/") && path.len() > 9), "{kept:?}");
    assert!(site.tree(&site.temp()).is_empty(), "{:?}", site.tree(&site.temp()));
}
