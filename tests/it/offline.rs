//! Without the registry: `--offline`, digests that need no request, and the last known digest.

use crate::world::{bytes, json, secure, site};
use orlop_kit::{Answer, Auth, Image, Registry, Site, any, blobs, head, until_true};

/// Waits until the daemon has written down what it learned.
fn remembered(site: &Site, count: usize) {
    let tags = || site.tree(&site.cache()).iter().filter(|path| path.starts_with("tags/")).count();
    // The directory itself is one of them.
    until_true("the tag is remembered", || tags() > count);
}

#[test]
fn offline_asks_nothing_and_says_what_is_missing() {
    let (registry, site) =
        secure(Registry::new().image("a:1", Image::tiny()).image("b:1", Image::two_layers()));
    let (one, other) = (registry.docker("a:1"), registry.docker("b:1"));
    site.orlop(["pull", "a.sif", &one]).success();
    remembered(&site, 2);
    registry.forget();
    let again = site.orlop(["pull", "--offline", "b.sif", &one]).success();
    assert!(!again.stderr.contains("WARNING"), "{}", again.report());
    let by_variable = site.run(["pull", "c.sif", &one]).env("ORLOP_OFFLINE", "1");
    by_variable.outcome().success();
    assert!(bytes(&site, "a.sif") == bytes(&site, "b.sif"));
    assert!(bytes(&site, "a.sif") == bytes(&site, "c.sif"));
    let missing = site.orlop(["pull", "--offline", "d.sif", &other]).fails(255);
    missing.says("is not in the cache").says("run it once without --offline");
    assert_eq!(registry.requests().len(), 0, "{}", registry.log());
}

#[test]
fn f52_a_digest_that_is_cached_needs_no_request() {
    let (registry, site) = secure(Registry::new().image("a:1", Image::two_layers()));
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    remembered(&site, 2);
    registry.forget();
    let digest = registry.tag("a:1").unwrap();
    let by_digest = registry.docker(&format!("a@{digest}"));
    site.orlop(["pull", "b.sif", &by_digest]).success();
    site.orlop(["pull", "c.sif", &by_digest]).success();
    assert_eq!(registry.requests().len(), 0, "{}", registry.log());
    // Another repository with the same digest has proved nothing: it is asked.
    site.orlop(["pull", "d.sif", &registry.docker(&format!("other@{digest}"))]).fails(255);
    assert_ne!(registry.requests().len(), 0);
}

#[test]
fn f52_a_registry_that_is_down_leaves_the_last_known_digest_with_its_age() {
    let (registry, site) = secure(Registry::new().image("a:1", Image::tiny()));
    let image = registry.docker("a:1");
    site.orlop(["pull", "a.sif", &image]).success();
    remembered(&site, 2);
    registry.script(any(), [Answer::Status(503)]);
    let site = site.env("ORLOP_LIMITS_TRIES", "1");
    let stale = site.orlop(["pull", "b.sif", &image]).success();
    stale.says("WARNING: ");
    let stale = site.orlop(["pull", "--force", "b.sif", &image]).success();
    assert!(stale.stderr.contains(" ago, sha256:"), "{}", stale.report());
    assert!(bytes(&site, "a.sif") == bytes(&site, "b.sif"));
    // What is refused or gone is no failure of the network.
    registry.script(any(), [Answer::Status(404)]);
    site.orlop(["pull", "c.sif", &image]).fails(255);
    registry.script(any(), [Answer::Status(403)]);
    site.orlop(["pull", "c.sif", &image]).fails(255);
}

#[test]
fn f52_a_private_image_is_given_from_memory_only_to_who_proved_access() {
    let auth = Auth::Basic { user: "u".into(), secret: "right".into() };
    let registry = Registry::new().image("a:1", Image::tiny()).auth(auth);
    let (registry, site) = secure(registry);
    let digest = registry.tag("a:1").unwrap();
    let images = [registry.docker("a:1"), registry.docker(&format!("a@{digest}"))];
    let with = |secret: &str, extra: &[&str], image: &str| {
        let mut words = vec!["pull", "--force", "--docker-username", "u"];
        words.extend(["--docker-password", secret]);
        words.extend(extra);
        words.extend(["b.sif", image]);
        site.orlop(words)
    };
    with("right", &[], &images[0]).success();
    remembered(&site, 2);
    for image in &images {
        with("right", &["--offline"], image).success();
        let other = with("wrong", &["--offline"], image).fails(255);
        other.says("was pulled with another login").says("log in: orlop registry login");
        let nobody = site.orlop(["pull", "--force", "--offline", "b.sif", image]).fails(255);
        nobody.says("was pulled with another login").says("log in: orlop registry login");
        with("wrong", &[], image).fails(255);
        site.orlop(["pull", "--force", "b.sif", image]).fails(255);
    }
    let kept = std::fs::read_dir(site.cache().join("tags")).unwrap();
    for tag in kept {
        let text = std::fs::read_to_string(tag.unwrap().path()).unwrap();
        assert!(!text.contains("right") && !text.contains("cmlnaHQ"), "{text}");
    }
    registry.script(any(), [Answer::Status(503)]);
    let site = site.env("ORLOP_LIMITS_TRIES", "1");
    let words = ["--docker-username", "u", "--docker-password"];
    let right =
        site.orlop(["pull", "--force", words[0], words[1], words[2], "right", "b.sif", &images[0]]);
    right.success().says(" ago, sha256:");
    site.orlop(["pull", "--force", words[0], words[1], words[2], "wrong", "b.sif", &images[0]])
        .fails(255);
    site.orlop(["pull", "--force", "b.sif", &images[0]]).fails(255);
}

#[test]
fn identical_requests_at_once_share_one_question_and_later_ones_ask_anew() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = site(&registry);
    let image = registry.docker("a:1");
    site.orlop(["pull", "a.sif", &image]).success();
    registry.forget();
    let held = registry.gate(head("a:1"));
    let names: Vec<String> = (0..12).map(|number| format!("{number}.sif")).collect();
    let start = |name: &String| site.run(["pull", name.as_str(), &image]).start();
    let running: Vec<_> = names.iter().map(start).collect();
    held.arrived(1);
    let waiting = || json(&site, &["status", "--json"])["calls"].as_u64().unwrap() >= 12;
    until_true("all twelve wait", waiting);
    held.open();
    for one in running {
        one.outcome().success();
    }
    assert_eq!(registry.count(&head("a:1")), 1, "{}", registry.log());
    assert_eq!(registry.count(&blobs()), 0, "{}", registry.log());
    // Nobody is served any more: the next one asks for itself, at whatever time it comes.
    registry.put("a:1", Image::two_layers());
    site.orlop(["pull", "--force", "a.sif", &image]).success();
    assert_ne!(bytes(&site, "a.sif").len(), bytes(&site, "0.sif").len());
}

#[test]
fn f52_a_registry_that_does_not_answer_is_not_waited_for_when_the_image_is_known() {
    let (registry, site) = secure(Registry::new().image("a:1", Image::tiny()));
    let image = registry.docker("a:1");
    site.orlop(["pull", "a.sif", &image]).success();
    remembered(&site, 2);
    let _held = registry.gate(any());
    let known = site.run(["pull", "b.sif", &image]).env("ORLOP_LIMITS_FALLBACK_TIME", "300ms");
    known.outcome().success().says("the registry has not answered for 0 s: going on with ");
    assert!(bytes(&site, "a.sif") == bytes(&site, "b.sif"));
}
