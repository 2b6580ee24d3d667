//! `exec`, `run` and `shell`: what a payload sees, gets and gives back.

use std::path::Path;

use crate::world::site;
use orlop_kit::image::probe;
use orlop_kit::{Entry, Image, Layer, Outcome, Registry, Site, layer, tools, until_true};
use rustix::process::Signal;

/// Whether containers can be run here; says so where not.
pub(crate) fn runnable() -> bool {
    if probe().is_empty() {
        tools::skip("the C library's static half is not there");
        return false;
    }
    if !tools::user_namespaces() {
        tools::skip("no user namespaces");
        return false;
    }
    true
}

/// A site with `a.sif` of this image.
fn with_sif(image: Image) -> Option<(Registry, Site)> {
    if !runnable() {
        return None;
    }
    let registry = Registry::new().image("a:1", image).start();
    let site = site(&registry);
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    Some((registry, site))
}

fn exec(site: &Site, words: &[&str]) -> Outcome {
    site.orlop(["exec", "a.sif", "/bin/probe"].into_iter().chain(words.iter().copied()))
}

#[test]
fn words_output_and_status_pass_through() {
    let Some((_registry, site)) = with_sif(Image::tiny()) else { return };
    let words = ["args", "one", "two words", "", "$HOME", "*"];
    exec(&site, &words).success().prints("one\ntwo words\n\n$HOME\n*\n");
    for status in [1, 42, 255] {
        exec(&site, &["exit", &status.to_string()]).fails(status);
    }
    exec(&site, &["abort"]).fails(128 + 6);
    let run = site.run(["exec", "a.sif", "/bin/probe", "cat"]).input("through\n");
    run.outcome().success().prints("through\n");
}

#[test]
fn run_starts_the_entrypoint_with_the_words_given() {
    let image = Image::tiny().entrypoint(&["/bin/probe", "args", "it's"]).cmd(&["by default"]);
    let Some((_registry, site)) = with_sif(image) else { return };
    site.orlop(["run", "a.sif"]).success().prints("it's\nby default\n");
    site.orlop(["run", "a.sif", "given", "a b"]).success().prints("it's\ngiven\na b\n");
}

#[test]
fn the_upper_layer_decides_what_is_seen() {
    let Some((_registry, site)) = with_sif(Image::two_layers()) else { return };
    exec(&site, &["ls", "/data"]).success().prints("above\nbelow\nreplaced\n");
    exec(&site, &["ls", "/opaque"]).success().prints("shown\n");
    exec(&site, &["cat", "/opaque/shown"]).success().prints("above\n");
}

#[test]
fn a_reference_runs_without_a_sif_and_downloads_once() {
    if !runnable() {
        return;
    }
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = site(&registry);
    let image = registry.docker("a:1");
    for _ in 0..2 {
        let outcome = site.orlop(["exec", &image, "/bin/probe", "args", "here"]);
        outcome.success().prints("here\n");
    }
    assert_eq!(registry.count(&layer(0)), 1, "{}", registry.log());
    assert!(site.tree(&site.work()).is_empty());
}

#[test]
fn an_oras_reference_runs() {
    let Some((registry, site)) = with_sif(Image::tiny()) else { return };
    let place = registry.oras("sifs/a:1");
    site.orlop(["push", "a.sif", &place]).success();
    site.orlop(["exec", &place, "/bin/probe", "args", "here"]).success().prints("here\n");
}

#[test]
fn logins_of_the_environment_do_not_reach_a_payload_unless_they_are_forwarded() {
    let Some((_registry, site)) = with_sif(Image::tiny()) else { return };
    let see = |name: &str| site.run(["exec", "a.sif", "/bin/probe", "env", name]);
    for name in ["DOCKER_USERNAME", "DOCKER_PASSWORD", "DOCKER_AUTH_CONFIG"] {
        let outcome = see(name).env(name, "{}").outcome();
        assert!(!outcome.stdout.contains("{}"), "{}", outcome.report());
        let run = see(name).env(&format!("APPTAINERENV_{name}"), "meant");
        run.outcome().success().prints("meant\n");
    }
}

#[test]
fn the_environment_is_the_callers_and_the_images() {
    let Some((_registry, site)) = with_sif(Image::tiny()) else { return };
    let show = |run: orlop_kit::site::Run<'_>| run.outcome().success().stdout;
    let words = |extra: &[&'static str], name: &'static str| {
        let mut words = vec!["exec"];
        words.extend(extra);
        words.extend(["a.sif", "/bin/probe", "env", name]);
        words
    };
    assert_eq!(show(site.run(words(&[], "KIT"))), "tiny\n");
    assert_eq!(show(site.run(words(&[], "MINE")).env("MINE", "kept")), "kept\n");
    let clean = site.run(words(&["-e"], "MINE")).env("MINE", "kept").outcome();
    clean.fails(1);
    assert_eq!(show(site.run(words(&["--env", "SET=by flag"], "SET"))), "by flag\n");
    for prefix in ["ORLOPENV", "APPTAINERENV", "SINGULARITYENV"] {
        let run = site.run(words(&["-e"], "FOO")).env(&format!("{prefix}_FOO"), "by prefix");
        assert_eq!(show(run), "by prefix\n", "{prefix}");
    }
}

#[test]
fn the_working_directory_is_kept_or_chosen() {
    let Some((_registry, site)) = with_sif(Image::tiny()) else { return };
    site.write_home("project/file", b"mine\n");
    let sif = site.work().join("a.sif").display().to_string();
    let project = site.home().join("project");
    let run = site.run(["exec", &sif, "/bin/probe", "pwd"]).at(&project).outcome().success();
    assert_eq!(run.stdout, format!("{}\n", project.display()));
    let run = site.run(["exec", &sif, "/bin/probe", "cat", "file"]).at(&project).outcome();
    run.success().prints("mine\n");
    site.orlop(["exec", "--pwd", "/etc", &sif, "/bin/probe", "pwd"]).success().prints("/etc\n");
}

#[test]
fn a_directory_is_bound_where_it_is_wanted() {
    let Some((_registry, site)) = with_sif(Image::tiny()) else { return };
    site.write_work("data/file", b"bound\n");
    let cat = ["a.sif", "/bin/probe", "cat", "/mnt/file"];
    let words = ["exec", "-B", "data:/mnt"].into_iter().chain(cat);
    site.orlop(words).success().prints("bound\n");
    let write = ["exec", "-B", "data:/mnt:ro", "a.sif", "/bin/probe", "write", "/mnt/new", "x"];
    site.orlop(write).fails(70);
    let write = ["exec", "-B", "data:/mnt", "a.sif", "/bin/probe", "write", "/mnt/new", "x"];
    site.orlop(write).success();
    assert_eq!(std::fs::read(site.work().join("data/new")).unwrap(), b"x");
    let missing = site.orlop(["exec", "-B", "/no/such:/mnt", "a.sif", "/bin/probe"]).fails(255);
    assert!(missing.stderr.contains("mount source /no/such doesn't exist"), "{}", missing.report());
}

#[test]
fn the_image_is_not_changed_and_a_tmpfs_takes_writes() {
    let Some((_registry, site)) = with_sif(Image::tiny()) else { return };
    exec(&site, &["write", "/etc/new", "x"]).fails(70);
    let words = ["exec", "--writable-tmpfs", "a.sif", "/bin/probe", "write", "/etc/new", "x"];
    site.orlop(words).success();
    exec(&site, &["cat", "/etc/new"]).fails(70);
}

#[test]
fn the_user_is_the_caller_without_privileges() {
    let Some((_registry, site)) = with_sif(Image::tiny()) else { return };
    let uid = site.person().uid;
    exec(&site, &["status", "Uid"]).success().prints(&format!("{uid} {uid} {uid} {uid}\n"));
    exec(&site, &["status", "NoNewPrivs"]).success().prints("1\n");
    exec(&site, &["status", "CapEff"]).success().prints("0000000000000000\n");
}

#[test]
fn credentials_cache_and_socket_are_not_seen_inside() {
    let Some((_registry, site)) = with_sif(Image::tiny()) else { return };
    site.write_home(".docker/config.json", b"{\"auths\":{\"secret.example\":{\"auth\":\"YTpi\"}}}");
    let path = |at: std::path::PathBuf| at.display().to_string();
    let config = path(site.home().join(".docker/config.json"));
    let seen = exec(&site, &["cat", &config]);
    assert!(!seen.stdout.contains("secret.example"), "{}", seen.report());
    for directory in [site.cache(), site.runtime().join("orlop")] {
        let seen = exec(&site, &["ls", &path(directory)]);
        assert_eq!(seen.stdout, "", "{}", seen.report());
    }
}

#[test]
fn of_a_directory_that_holds_more_than_the_cache_the_rest_is_seen_inside() {
    let Some((_registry, site)) = with_sif(Image::tiny()) else { return };
    for name in ["result", "tmp/result"] {
        site.write_home(&format!("scratch/{name}"), b"mine\n");
    }
    let scratch = site.home().join("scratch");
    let run =
        |words: &[&str]| site.run(words.iter().copied()).env("ORLOP_CACHEDIR", &scratch).outcome();
    let probe = |what: &str, path: &Path| {
        run(&["exec", "a.sif", "/bin/probe", what, path.to_str().unwrap()])
    };
    // What is made later would be seen.
    assert_eq!(probe("ls", &scratch).stdout, "", "before there is a cache");
    run(&["cache", "usage"]).success();
    for name in ["result", "tmp/result"] {
        probe("cat", &scratch.join(name)).success().prints("mine\n");
    }
    let write = ["exec", "a.sif", "/bin/probe", "write"];
    let new = scratch.join("new").display().to_string();
    run(&[&write[..], &[&new, "x"]].concat()).success();
    assert_eq!(std::fs::read(&new).unwrap(), b"x");

    let hidden = |below: &Path| {
        let parts = std::fs::read_dir(below).unwrap().map(|part| part.unwrap().path());
        parts.filter(|part| part.is_dir() && !part.ends_with("tmp")).collect::<Vec<_>>()
    };
    let parts = [hidden(&scratch), hidden(&scratch.join("tmp"))].concat();
    assert!(parts.len() > 11, "{parts:?}");
    for part in parts {
        std::fs::write(part.join("secret"), b"x").unwrap();
        site.person().give(&part.join("secret"));
        let seen = probe("ls", &part);
        assert_eq!(seen.stdout, "", "{}", seen.report());
        let inside = part.join("secret").display().to_string();
        run(&[&write[..], &[&inside, "y"]].concat()).fails(70);
    }
    let version = scratch.join("version");
    assert_eq!(probe("cat", &version).stdout, "");
    run(&[&write[..], &[version.to_str().unwrap(), "9"]].concat()).fails(70);

    // One that was the cache's alone is hidden whole.
    let alone = site.home().join("alone");
    site.run(["cache", "usage"]).env("ORLOP_CACHEDIR", &alone).outcome().success();
    let words = ["exec", "a.sif", "/bin/probe", "ls", alone.to_str().unwrap()];
    let seen = site.run(words).env("ORLOP_CACHEDIR", &alone).outcome().success();
    assert_eq!(seen.stdout, "");
}

#[test]
fn signals_reach_the_payload() {
    let Some((_registry, site)) = with_sif(Image::tiny()) else { return };
    let mut parked = site.run(["exec", "a.sif", "/bin/probe", "park"]).start();
    assert_eq!(parked.line(), "ready");
    parked.signal(Signal::TERM);
    parked.outcome().fails(128 + 15);
}

#[test]
fn what_cannot_be_started_is_told_in_apptainers_words() {
    let image = Image::tiny().layer(Layer::new().entry(Entry::file("bin/plain", "x\n")));
    let Some((_registry, site)) = with_sif(image) else { return };
    let none = site.orlop(["exec", "a.sif", "nosuch"]).fails(255);
    let wanted = "FATAL:   \"nosuch\": executable file not found in $PATH\n";
    assert!(none.stderr.contains(wanted), "{}", none.report());
    let plain = site.orlop(["exec", "a.sif", "/bin/plain"]).fails(255);
    assert!(plain.stderr.contains("permission denied"), "{}", plain.report());
    let missing = site.orlop(["exec", "no.sif", "true"]).fails(255);
    let wanted = "FATAL:   While checking container encryption: could not open image ";
    assert!(missing.stderr.starts_with(wanted), "{}", missing.report());
}

#[test]
fn a_container_outlives_the_daemon() {
    let Some((_registry, site)) = with_sif(Image::tiny()) else { return };
    let mut waiting = site.run(["exec", "a.sif", "/bin/probe", "park"]).start();
    assert_eq!(waiting.line(), "ready");
    site.orlop(["daemon", "stop"]).success();
    until_true("the daemon ends", || site.daemons().is_empty());
    assert!(!waiting.ended());
    exec(&site, &["args", "still"]).success().prints("still\n");
    waiting.signal(Signal::KILL);
    waiting.outcome().fails(128 + 9);
}

#[test]
fn eight_containers_at_once_share_one_image() {
    let Some((_registry, site)) = with_sif(Image::two_layers()) else { return };
    let start = |number: u32| {
        let number = number.to_string();
        site.run(["exec", "a.sif", "/bin/probe", "args", &number]).start()
    };
    let running: Vec<_> = (0..8).map(start).collect();
    for (number, one) in running.into_iter().enumerate() {
        one.outcome().success().prints(&format!("{number}\n"));
    }
}

#[test]
fn an_image_for_another_architecture_is_refused_in_apptainers_words() {
    if !runnable() {
        return;
    }
    let foreign = || Image::tiny().platform("s390x", None);
    let shell = |content: &[u8]| {
        Layer::new().entries([
            Entry::dir("usr/bin"),
            Entry::program("usr/bin/dash", content),
            Entry::symlink("bin/sh", "../usr/bin/dash"),
        ])
    };
    // The beginning of a program for s390x, of another machine than any that the tests run on.
    let program = [b"\x7fELF\x02\x02\x01".as_slice(), &[0; 9], &[0, 2, 0, 22], &[0; 44]].concat();
    // What the programs are for counts, whatever the image says: the shell, else the first.
    let registry = Registry::new()
        .image("a:1", foreign().layer(shell(&program)))
        .image("b:1", foreign().layer(shell(probe())))
        .image("c:1", Image::tiny().layer(shell(&program)))
        .image("d:1", foreign())
        .start();
    let site = site(&registry);
    let sentence = "the image's architecture (s390x) could not run on the host's (";
    for name in ["a", "c"] {
        let image = registry.docker(&format!("{name}:1"));
        let pulled = site.orlop(["exec", &image, "/bin/probe", "args"]).fails(255);
        pulled.says(&format!("FATAL:   Unable to handle {image} uri: {sentence}"));
        site.orlop(["pull", "--force", "a.sif", &image]).success();
        let file = exec(&site, &["args"]).fails(255);
        let opening = "FATAL:   While checking container encryption: could not open image ";
        file.says(opening).says(sentence);
        site.orlop(["inspect", "a.sif"]).success();
    }
    for name in ["b", "d"] {
        let image = registry.docker(&format!("{name}:1"));
        let ran = site.orlop(["exec", &image, "/bin/probe", "args", "x"]).success().prints("x\n");
        ran.says("the image says s390x, and its programs are for ");
        site.orlop(["pull", "--force", "a.sif", &image]).success();
        exec(&site, &["args", "x"]).success().prints("x\n");
    }
}
