//! `oras://`: push and pull of SIF files.

use crate::world::{bare_site, bytes, site};
use orlop_kit::registry::{Route, Upload};
use orlop_kit::{Artifact, Built, Digest, Image, RealRegistry, Registry, Site, any, tools, upload};
use std::process::Command;

/// A site with `a.sif` in it, pulled from the registry's `a:1`.
fn site_with_sif(registry: &Registry) -> Site {
    let site = site(registry);
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    registry.forget();
    site
}

fn registry() -> Registry {
    Registry::new().image("a:1", Image::two_layers()).start()
}

fn uploads(registry: &Registry) -> usize {
    let steps: [Route; 2] = [upload(Upload::Piece), upload(Upload::Finish)];
    steps.iter().map(|step| registry.count(step)).sum()
}

#[test]
fn what_is_pushed_comes_back_byte_for_byte() {
    let registry = registry();
    let site = site_with_sif(&registry);
    let place = registry.oras("sifs/a:1");

    let push = site.orlop(["push", "a.sif", &place]).success();

    let digest = registry.tag("sifs/a:1").unwrap();
    assert!(push.stderr.contains(&format!("INFO:    Digest: {digest}\n")), "{}", push.report());
    let pull = site.orlop(["pull", "back.sif", &place]).success();
    assert!(bytes(&site, "a.sif") == bytes(&site, "back.sif"), "{}", pull.report());
}

#[test]
fn the_manifest_is_the_one_that_apptainer_writes() {
    let registry = registry();
    let site = site_with_sif(&registry);
    site.orlop(["push", "a.sif", &registry.oras("sifs/a:1")]).success();
    let sif = bytes(&site, "a.sif");
    let (media_type, manifest) = registry.manifest(&registry.tag("sifs/a:1").unwrap()).unwrap();
    assert_eq!(media_type, "application/vnd.oci.image.manifest.v1+json");
    let (size, digest) = (sif.len(), Digest::of(&sif));
    let wanted = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.sylabs.sif.config.v1+json","digest":"{}","size":2}},"layers":[{{"mediaType":"application/vnd.sylabs.sif.layer.v1.sif","digest":"{digest}","size":{size},"annotations":{{"org.opencontainers.image.title":"a.sif"}}}}]}}"#,
        Digest::of(b"{}"),
    );
    let parse = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
    assert_eq!(parse(&manifest), parse(wanted.as_bytes()));
}

#[test]
fn a_blob_that_is_there_is_not_sent_again() {
    let registry = registry();
    let site = site_with_sif(&registry);
    site.orlop(["push", "a.sif", &registry.oras("sifs/a:1")]).success();
    assert!(uploads(&registry) > 0);
    registry.forget();
    site.orlop(["push", "a.sif", &registry.oras("sifs/a:2")]).success();
    assert_eq!(uploads(&registry), 0, "{}", registry.log());
    assert_eq!(registry.tag("sifs/a:1"), registry.tag("sifs/a:2"));
}

#[test]
fn f44_a_sif_of_any_digest_is_fetched_beside_a_download_that_does_not_get_on() {
    let sif = bytes(&site_with_sif(&registry()), "a.sif");
    for is_long in [false, true] {
        let mut image = Built::from(Artifact::sif(sif.clone()));
        let mut digest = image.layers[0].clone();
        if is_long {
            digest = Digest::sha512(&sif);
            let (_, content) = image.blobs.iter().find(|(at, _)| *at == image.layers[0]).unwrap();
            let content = content.clone();
            image.blobs.push((digest.clone(), content));
            let named = serde_json::json!(digest.to_string());
            image = image.edit(|manifest| manifest["layers"][0]["digest"] = named);
        }
        let registry = Registry::new().image("s:1", image).start();
        let site = site(&registry);
        site.orlop(["cache", "list"]).success();
        // As another process that is stopped.
        let name = digest.to_string().replace(':', "-");
        let path = site.cache().join("partial").join(name);
        let held = std::fs::File::create(&path).unwrap();
        site.person().give(&path);
        rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
        let pull = site.run(["pull", "b.sif", &registry.oras("s:1")]);
        pull.env("ORLOP_LIMITS_CLAIM_STALE", "300ms").outcome().success();
        assert!(bytes(&site, "b.sif") == sif);
        let log = site.read_home(".local/state/orlop/orlopd.log").unwrap();
        assert!(log.contains("fetched apart"), "{log}");
    }
}

#[test]
fn a_push_to_docker_is_refused_with_what_to_type() {
    let registry = registry();
    let site = site_with_sif(&registry);
    let outcome = site.orlop(["push", "a.sif", &registry.docker("sifs/a:1")]).fails(255);
    let wanted = "FATAL:   Unsupported transport type: docker\n";
    assert!(outcome.stderr.starts_with(wanted), "{}", outcome.report());
    assert!(outcome.stderr.contains(&registry.oras("sifs/a:1")), "{}", outcome.report());
    assert_eq!(registry.count(&any()), 0);
}

#[test]
fn a_file_that_is_no_sif_is_not_pushed() {
    let registry = registry();
    let site = site(&registry);
    site.write_work("x.sif", b"not a SIF");
    let outcome = site.orlop(["push", "x.sif", &registry.oras("sifs/a:1")]).fails(255);
    let wanted = "FATAL:   Unable to push image to oci registry: ";
    assert!(outcome.stderr.starts_with(wanted), "{}", outcome.report());
    assert_eq!(registry.count(&any()), 0);
}

#[test]
fn what_others_push_is_read() {
    let registry = registry();
    let site = site_with_sif(&registry);
    let sif = bytes(&site, "a.sif");
    let old = "appliciation/vnd.sylabs.sif.layer.tar";
    let empty = "application/vnd.oci.empty.v1+json";
    for (name, artifact) in [
        ("apptainer", Artifact::sif(sif.clone())),
        ("old", Artifact::sif(sif.clone()).media_type(old)),
        ("oras", Artifact::sif(sif.clone()).config_type(empty).title("../../evil.sif")),
    ] {
        registry.put(&format!("others/{name}:1"), artifact);
        let place = registry.oras(&format!("others/{name}:1"));
        let file = format!("{name}.sif");
        site.orlop(["pull", &file, &place]).success();
        assert!(bytes(&site, &file) == sif, "{name}");
    }
}

#[test]
fn an_artifact_of_something_else_is_refused() {
    let registry = registry();
    let site = site(&registry);
    registry.put("x:type", Artifact::sif(b"x".to_vec()).media_type("application/x"));
    registry.put("x:bytes", Artifact::sif(b"not a SIF, but said to be one".to_vec()));
    for tag in ["type", "bytes"] {
        site.orlop(["pull", "x.sif", &registry.oras(&format!("x:{tag}"))]).fails(255);
        assert!(site.tree(&site.work()).is_empty());
    }
    let image = site.orlop(["pull", "x.sif", &registry.oras("a:1")]).fails(255);
    assert!(image.stderr.contains("docker://"), "{}", image.report());
    registry.put("x:sif", Artifact::sif(b"x".to_vec()));
    let artifact = site.orlop(["pull", "x.sif", &registry.docker("x:sif")]).fails(255);
    assert!(artifact.stderr.contains("oras://"), "{}", artifact.report());
}

#[test]
fn skopeo_reads_what_is_pushed_to_a_real_registry() {
    let Some(real) = RealRegistry::anonymous() else { return };
    let Some([skopeo]) = tools::all(["skopeo"]) else { return };
    let registry = registry();
    let site = site_with_sif(&registry).insecure_host(&real.host());
    site.orlop(["push", "a.sif", &real.oras("sifs/a:1")]).success();

    let to = tempfile::tempdir().unwrap();
    let mut copy = Command::new(skopeo);
    copy.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]);
    copy.arg(format!("docker://{}/sifs/a:1", real.host()));
    tools::output(copy.arg(format!("dir:{}", to.path().display())));
    let sif = bytes(&site, "a.sif");
    assert!(std::fs::read(to.path().join(Digest::of(&sif).hex())).unwrap() == sif);
    site.orlop(["pull", "back.sif", &real.oras("sifs/a:1")]).success();
    assert!(bytes(&site, "back.sif") == sif);
}

#[test]
fn a_push_needs_the_login_and_has_it() {
    let Some(real) = RealRegistry::with_password("u", "s") else { return };
    let registry = registry();
    let source = site_with_sif(&registry);
    let site = bare_site().trust(real.identity().expect("it speaks TLS"), &real.host());
    site.write_work("a.sif", &bytes(&source, "a.sif"));
    let place = real.oras("sifs/a:1");
    site.orlop(["push", "a.sif", &place]).fails(255);
    let uri = format!("oras://{}", real.host());
    let words = ["registry", "login", "-u", "u", "--password-stdin", &uri];
    site.run(words).input("s").outcome().success();
    site.orlop(["push", "a.sif", &place]).success();
    site.orlop(["pull", "back.sif", &place]).success();
    assert!(bytes(&site, "a.sif") == bytes(&site, "back.sif"));
}
