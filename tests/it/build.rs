//! `build`: a SIF of whatever a URI names, or of a SIF, in the words of Apptainer's.

use orlop_kit::image::saved::Saved;
use orlop_kit::{Image, Registry, any};

use crate::world::{bare_site, bytes, secure, site};

/// What a build says when all goes well.
fn words(output: &str) -> String {
    format!(
        "INFO:    Starting build...\nINFO:    Creating SIF file...\nINFO:    Build complete: \
         {output}\n"
    )
}

#[test]
fn a_build_of_a_reference_is_the_sif_that_a_pull_writes() {
    let (registry, site) = secure(Registry::new().image("a:1", Image::two_layers()));
    let image = registry.docker("a:1");
    let first = site.orlop(["build", "b.sif", &image]).success();
    assert_eq!(first.stderr, words("b.sif"), "{}", first.report());
    let second = site.orlop(["build", "c.sif", &image]).success();
    assert_eq!(second.stderr, words("c.sif"), "{}", second.report());
    site.orlop(["pull", "p.sif", &image]).success();
    assert!(bytes(&site, "b.sif") == bytes(&site, "p.sif"));
    assert!(bytes(&site, "c.sif") == bytes(&site, "p.sif"));
}

#[test]
fn a_build_of_an_archive_is_what_cwltool_asks_for() {
    let site = bare_site();
    site.write_work("X", &Saved::new("a:1", Image::tiny()).bytes());
    let build = site.orlop(["build", "X.sif", "docker-archive://X"]).success();
    assert_eq!(build.stderr, words("X.sif"), "{}", build.report());
    site.orlop(["pull", "p.sif", "docker-archive:X"]).success();
    assert!(bytes(&site, "X.sif") == bytes(&site, "p.sif"));
}

#[test]
fn a_build_of_a_sif_copies_it() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = site(&registry);
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    let build = site.orlop(["build", "b.sif", "a.sif"]).success();
    assert_eq!(build.stderr, words("b.sif"), "{}", build.report());
    assert!(bytes(&site, "a.sif") == bytes(&site, "b.sif"));
}

#[test]
fn a_target_that_is_there_stays_unless_forced() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = site(&registry);
    let image = registry.docker("a:1");
    site.write_work("b.sif", b"mine");
    let refused = site.orlop(["build", "b.sif", &image]).fails(255);
    let wanted = "FATAL:   While checking build target: build target 'b.sif' already exists. Use \
                  --force if you want to overwrite it\n";
    assert!(refused.stderr.starts_with(wanted), "{}", refused.report());
    assert_eq!(bytes(&site, "b.sif"), b"mine");
    assert_eq!(registry.count(&any()), 0, "{}", registry.log());
    site.orlop(["build", "--force", "b.sif", &image]).success();
    assert!(bytes(&site, "b.sif").len() > 4096);
    assert_eq!(site.tree(&site.work()), ["b.sif"]);
}

#[test]
fn what_cannot_be_built_is_refused_with_a_sentence() {
    let site = bare_site();
    site.write_work("a.def", b"Bootstrap: docker\nFrom: alpine\n");
    std::fs::create_dir(site.work().join("box")).unwrap();
    for (source, words) in [
        ("a.def", "definition files are not supported yet"),
        ("box", "sandbox directory is not supported yet"),
        ("none", "unable to open file none: no such file or directory"),
        ("library://a", "docker://"),
        ("foo://a", "Unsupported transport type: foo"),
    ] {
        let refused = site.orlop(["build", "out.sif", source]).fails(255);
        let first = format!("FATAL:   Unable to build from {source}: ");
        assert!(refused.stderr.starts_with(&first), "{}", refused.report());
        assert!(refused.stderr.contains(words), "{words}: {}", refused.report());
    }
    let sandbox = site.orlop(["build", "--sandbox", "out", "docker://a"]).fails(255);
    assert!(sandbox.stderr.contains("--sandbox"), "{}", sandbox.report());
    let count = site.orlop(["build", "out.sif"]).fails(1);
    assert!(count.stderr.contains("accepts 2 arg(s), received 1"), "{}", count.report());
    let failed = site.orlop(["build", "out.sif", "docker-archive:none"]).fails(255);
    let wanted = "FATAL:   While performing build: ";
    assert!(failed.stderr.contains(wanted), "{}", failed.report());
    assert!(!site.work().join("out.sif").exists());
}
