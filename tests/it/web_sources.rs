//! SIF files at URLs, and images of a running Docker.
//!
//! The scripted registry serves a SIF as any web server would: a blob at its URL. Docker is a
//! socket of the kit's. Not here: registries.

use std::path::PathBuf;

use orlop_kit::image::saved::Saved;
use orlop_kit::{
    Answer, Artifact, Docker, Identity, Image, Outcome, Piece, Registry, Site, any, layer,
};
use rustix::process::Signal;

use crate::world::{bare_site, bytes, site};

/// A SIF of this image.
fn sif(image: Image) -> Vec<u8> {
    let registry = Registry::new().image("a:1", image).start();
    let site = site(&registry);
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    bytes(&site, "a.sif")
}

/// A server of this file, what it answers when it is asked for it, and the file's URL.
fn server(file: &[u8], answers: Vec<Answer>) -> (Registry, String) {
    let built = Artifact::sif(file.to_vec()).build();
    let digest = built.layers[0].clone();
    let registry = Registry::new().image("web:1", built).answer(layer(0), answers).start();
    let url = format!("http://{}/v2/web/blobs/{digest}", registry.host());
    (registry, url)
}

/// What a failed pull leaves: no output, no draft, no blob.
#[track_caller]
fn nothing_of(site: &Site, outcome: &Outcome) {
    let first = "FATAL:   While pulling from image from http(s): ";
    assert!(outcome.stderr.contains(first), "{}", outcome.report());
    assert!(site.tree(&site.work()).is_empty(), "{}", outcome.report());
    let mut kept = site.tree(&site.cache());
    let is_file = |path: &String| !path.ends_with('/');
    kept.retain(|path| is_file(path) && (path.starts_with("blobs/") || path.starts_with("tmp/")));
    assert!(kept.is_empty(), "{kept:?}: {}", outcome.report());
}

#[test]
fn a_sif_at_a_url_is_pulled_once_and_run() {
    let file = sif(Image::two_layers());
    let (registry, url) = server(&file, vec![]);
    let site = bare_site().watch(&registry);
    let first = site.orlop(["pull", "a.sif", &url]).success();
    assert_eq!(first.stderr, "INFO:    Downloading network image\n", "{}", first.report());
    assert!(bytes(&site, "a.sif") == file);
    let second = site.orlop(["pull", "--dir", ".", &format!("{url}?x=1#f")]).success();
    assert!(second.stderr.contains("Downloading network image"), "{}", second.report());
    let name = url.rsplit('/').next().unwrap();
    assert!(bytes(&site, name) == file);
    let third = site.orlop(["pull", "-F", "a.sif", &url]).success();
    assert_eq!(third.stderr, "INFO:    Using cached SIF image\n", "{}", third.report());
    for request in registry.requests() {
        assert_eq!(request.header("authorization"), None);
        assert!(request.target.starts_with("/v2/web/blobs/"), "{}", request.target);
    }
    if crate::run::runnable() {
        let run = site.orlop(["-q", "exec", &url, "/bin/probe", "args", "in it"]);
        run.success().prints("in it\n");
    }
    let offline = site.orlop(["pull", "--offline", "-F", "a.sif", &url]).fails(255);
    assert!(offline.stderr.contains("known to its server alone"), "{}", offline.report());
    let unnamed = site.orlop(["pull", "https://127.0.0.1/"]).fails(1);
    assert!(unnamed.stderr.contains("name the output file"), "{}", unnamed.report());
    let kept = site.orlop(["pull", "--disable-cache", "-F", "a.sif", &url]).success();
    assert!(kept.stderr.contains("Downloading network image"), "{}", kept.report());
}

#[test]
fn a_url_is_asked_with_the_password_in_it_and_never_shown_with_it() {
    let file = sif(Image::tiny());
    let (registry, url) = server(&file, vec![]);
    let site = bare_site().watch(&registry);
    let secret = url.replace("http://", "http://me:hun%74er2@");
    site.orlop(["pull", "a.sif", &secret]).success();
    let asked = registry.requests();
    assert_eq!(asked[0].header("authorization"), Some("Basic bWU6aHVudGVyMg=="));
    let missing = secret.replace("sha256:", "sha256:0");
    let outcome = site.orlop(["pull", "b.sif", &missing]).fails(255);
    let run = site.orlop(["exec", &missing, "true"]).fails(255);
    for outcome in [outcome, run] {
        assert!(!outcome.stderr.contains("er2"), "{}", outcome.report());
    }
    for path in site.tree(site.root()) {
        if let Ok(bytes) = std::fs::read(site.root().join(&path)) {
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("hunter2") && !text.contains("hun%74er2"), "{path}");
        }
    }
}

#[test]
fn r118_what_is_no_sif_becomes_no_file() {
    let page = b"<html><title>Sign in</title>".repeat(200);
    let mut cut_inside = sif(Image::tiny());
    cut_inside.truncate(cut_inside.len() / 2);
    for file in [page, b"short".to_vec(), Vec::new(), cut_inside] {
        let (registry, url) = server(&file, vec![]);
        let site = bare_site().watch(&registry);
        let outcome = site.orlop(["pull", "a.sif", &url]).fails(255);
        assert!(outcome.stderr.contains("is not a SIF"), "{}", outcome.report());
        nothing_of(&site, &outcome);
    }
}

#[test]
fn r118_a_file_that_is_cut_off_is_resumed() {
    let file = sif(Image::two_layers());
    for answers in [
        vec![Answer::CutAfter(1_000_000), Answer::Whole],
        vec![Answer::ResetAfter(1_000_000), Answer::IgnoreRange],
        vec![Answer::CutAfter(1_000_000), Answer::CutAfter(1_000_000), Answer::Whole],
    ] {
        let is_reset = matches!(answers[0], Answer::ResetAfter(_));
        let (registry, url) = server(&file, answers);
        let site = bare_site().watch(&registry);
        site.orlop(["pull", "a.sif", &url]).success();
        assert!(bytes(&site, "a.sif") == file);
        // Of what was on its way when a connection is reset some is lost.
        let second = registry.ranges(&layer(0))[1].clone();
        assert!(is_reset || second == "bytes=1000000-", "{}", registry.log());
    }
}

#[test]
fn r118_a_file_of_another_length_is_refused() {
    let file = sif(Image::two_layers());
    let part = |total: usize| {
        let range = format!("bytes 1000000-{}/{total}", total - 1);
        let headers = vec![("Content-Range", range)];
        Answer::With(206, headers, file[1_000_000..].to_vec())
    };
    let whole = Answer::With(200, vec![("ETag", "\"other\"".to_owned())], file.clone());
    for second in [part(file.len() + 4096), whole] {
        let (registry, url) = server(&file, vec![Answer::CutAfter(1_000_000), second]);
        let site = bare_site().watch(&registry);
        let outcome = site.orlop(["pull", "a.sif", &url]).fails(255);
        assert!(outcome.stderr.contains("were announced"), "{}", outcome.report());
        nothing_of(&site, &outcome);
    }
}

#[test]
fn r118_a_redirect_out_of_tls_is_refused_and_one_within_it_followed() {
    let file = sif(Image::tiny());
    let (plain, plain_url) = server(&file, vec![]);
    let identity = Identity::new(&["127.0.0.1"]);
    let built = Artifact::sif(file.clone()).build();
    let digest = built.layers[0].clone();
    let start = |location: String| {
        let answers = [Answer::Redirect(302, location), Answer::Whole];
        let registry = Registry::new().image("web:1", built.clone()).answer(layer(0), answers);
        registry.tls(&identity).start()
    };
    let down = start(plain_url);
    let site = bare_site().watch(&down).trust(&identity, &down.host());
    let url = format!("https://{}/v2/web/blobs/{digest}", down.host());
    let outcome = site.orlop(["pull", "a.sif", &url]).fails(255);
    assert!(outcome.stderr.contains("from https to http"), "{}", outcome.report());
    nothing_of(&site, &outcome);
    assert_eq!(plain.count(&any()), 0);

    let within = start(format!("/v2/web/blobs/{digest}?again"));
    let site = bare_site().watch(&within).trust(&identity, &within.host());
    let url = format!("https://{}/v2/web/blobs/{digest}", within.host());
    site.orlop(["pull", "a.sif", &url]).success();
    assert!(bytes(&site, "a.sif") == file);
}

#[test]
fn r118_a_certificate_that_nobody_vouches_for_is_refused_unless_told() {
    let file = sif(Image::tiny());
    let built = Artifact::sif(file.clone()).build();
    let digest = built.layers[0].clone();
    let identity = Identity::new(&["127.0.0.1"]);
    let registry = Registry::new().image("web:1", built).tls(&identity).start();
    let site = bare_site().watch(&registry);
    let url = format!("https://{}/v2/web/blobs/{digest}", registry.host());
    let outcome = site.orlop(["pull", "a.sif", &url]).fails(255);
    assert!(outcome.stderr.contains("certificate"), "{}", outcome.report());
    nothing_of(&site, &outcome);
    let told = site.orlop(["pull", "--insecure", "a.sif", &url]).success();
    assert!(told.stderr.contains("is not checked"), "{}", told.report());
    assert!(bytes(&site, "a.sif") == file);
}

#[test]
fn a_file_that_is_not_there_is_told_at_once() {
    let (registry, url) = server(b"x", vec![]);
    let site = bare_site().watch(&registry);
    let outcome = site.orlop(["pull", "a.sif", &url.replace("sha256:", "sha256:0")]).fails(255);
    assert!(outcome.stderr.contains("not found"), "{}", outcome.report());
    nothing_of(&site, &outcome);
    assert_eq!(registry.count(&any()), 1, "{}", registry.log());
    let (registry, url) = server(b"x", vec![Answer::Status(403)]);
    let site = bare_site().watch(&registry);
    let outcome = site.orlop(["pull", "a.sif", &url]).fails(255);
    assert!(outcome.stderr.contains("403"), "{}", outcome.report());
    assert_eq!(registry.count(&any()), 1, "{}", registry.log());
}

#[test]
fn an_interrupted_download_leaves_nothing() {
    let file = sif(Image::two_layers());
    let (registry, url) = server(&file, vec![Answer::StallAfter(1_000_000)]);
    let site = bare_site().watch(&registry);
    let running = site.run(["pull", "a.sif", &url]).start();
    orlop_kit::until_true("the file is asked for", || registry.count(&layer(0)) == 1);
    running.signal(Signal::INT);
    running.outcome().fails(130);
    assert!(site.tree(&site.work()).is_empty());
}

#[test]
fn a_file_that_never_ends_is_given_up_at_its_limit() {
    let file = sif(Image::tiny());
    let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    let endless = vec![
        Piece::Bytes([head, file.clone()].concat()),
        Piece::Times(u64::MAX, vec![0; 64 << 10]),
    ];
    let (registry, url) = server(&file, vec![Answer::Play(endless)]);
    let site = bare_site().watch(&registry).env("ORLOP_LIMITS_LAYER_BYTES", "4MiB");
    let endless = site.orlop(["pull", "a.sif", &url]).fails(255);
    assert!(endless.stderr.contains("layer-bytes = 4194304"), "{}", endless.report());
    nothing_of(&site, &endless);
    assert_eq!(registry.count(&layer(0)), 1);

    // What says its length is not downloaded at all.
    let site = bare_site().watch(&registry).env("ORLOP_LIMITS_LAYER_BYTES", "1000");
    let long = site.orlop(["pull", "a.sif", &url]).fails(255);
    assert!(long.stderr.contains("layer-bytes = 1000"), "{}", long.report());
    nothing_of(&site, &long);
}

/// The socket of a Docker in the site's runtime directory.
fn socket(site: &Site) -> PathBuf {
    site.runtime().join("docker.sock")
}

#[test]
fn an_image_of_docker_is_asked_for_over_its_socket() {
    let site = bare_site();
    let archive = Saved::new("a:1", Image::tiny()).bytes();
    let id = format!("sha256:{}", "ab".repeat(32));
    let images = [("a:1", archive.clone()), (id.as_str(), archive.clone())];
    let docker = Docker::start(&socket(&site), &images, 0);
    let site = site.env("DOCKER_HOST", docker.host());
    site.write_work("a.tar", &archive);
    site.orlop(["pull", "wanted.sif", "docker-archive:a.tar"]).success();

    let first = site.orlop(["pull", "docker-daemon:a:1"]).success();
    assert!(first.stderr.contains("Converting OCI blobs"), "{}", first.report());
    assert_eq!(bytes(&site, "a_1.sif").len(), bytes(&site, "wanted.sif").len());
    site.orlop(["pull", "by-id.sif", &format!("docker-daemon:{id}")]).success();
    let second = site.orlop(["pull", "again.sif", "docker-daemon://a:1"]).success();
    assert!(second.stderr.contains("Using cached SIF image"), "{}", second.report());
    assert!(bytes(&site, "again.sif") == bytes(&site, "a_1.sif"));
    if crate::run::runnable() {
        let run = site.orlop(["-q", "exec", "docker-daemon:a:1", "/bin/probe", "args", "x"]);
        run.success().prints("x\n");
    }
    assert!(docker.asked().iter().all(|path| path.starts_with("/images/")), "{:?}", docker.asked());
    let missing = site.orlop(["pull", "docker-daemon:b:1"]).fails(255);
    let wanted = "loading image from docker engine: No such image: b:1";
    assert!(missing.stderr.contains(wanted), "{}", missing.report());
}

#[test]
fn a_docker_that_is_not_there_or_breaks_off_is_told() {
    let site = bare_site();
    let host = format!("unix://{}", socket(&site).display());
    let none = site.orlop(["pull", "--docker-host", &host, "docker-daemon:a:1"]).fails(255);
    let wanted = "FATAL:   While making image from oci registry: loading image from docker \
                  engine: Cannot connect to the Docker daemon at unix://";
    assert!(none.stderr.starts_with(wanted), "{}", none.report());
    let odd = site.orlop(["pull", "--docker-host", "ssh://h", "docker-daemon:a:1"]).fails(255);
    assert!(odd.stderr.contains("wants ssh"), "{}", odd.report());

    let archive = Saved::new("a:1", Image::two_layers()).bytes();
    let docker = Docker::start(&socket(&site), &[("a:1", archive)], 1_000_000);
    let cut = site.orlop(["pull", "--docker-host", &docker.host(), "docker-daemon:a:1"]);
    let cut = cut.fails(255);
    assert!(cut.stderr.contains("broke off"), "{}", cut.report());

    let site = site.env("ORLOP_LIMITS_LAYER_BYTES", "600000");
    let long = site.orlop(["pull", "--docker-host", &docker.host(), "docker-daemon:a:1"]);
    let long = long.fails(255);
    let wanted = "docker-daemon:a:1 reached the limit layer-bytes = 600000";
    assert!(long.stderr.contains(wanted), "{}", long.report());
    assert!(site.tree(&site.work()).is_empty());
}
