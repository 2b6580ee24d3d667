//! Mirrors with real parts: Debian's `docker-registry` as a pull-through proxy.
//!
//! The scripted registries stand for the registry that was named and for what the proxies pass
//! requests on to. Where `docker-registry` is missing, a test says so and is passed over. Not here:
//! mirrors that break in ways no real one does ([`crate::registry_rows`]).

use crate::world::bare_site;
use orlop_kit::{Image, RealRegistry, Registry, Site, free_address};

const CONF: &str = ".config/containers/registries.conf";

/// A registry with the image `a:1`, and one that stands for the registry named, without it.
fn origin_and_empty() -> (Registry, Registry) {
    (Registry::new().image("a:1", Image::tiny()).start(), Registry::new().start())
}

/// A site whose rules for `named` are these lines, and these mirrors, all without TLS.
fn site(named: &Registry, lines: &str, mirrors: &[(String, &str)]) -> Site {
    let site = bare_site().watch(named);
    let mut text = format!("[[registry]]\nlocation = \"{}\"\n{lines}\n", named.host());
    for (mirror, lines) in mirrors {
        text.push_str(&format!("[[registry.mirror]]\nlocation = \"{mirror}\"\n{lines}\n"));
    }
    site.write_home(CONF, text.as_bytes());
    site
}

const PLAIN: &str = "insecure = true";

/// Manifests that a real registry was asked for.
fn manifests(real: &RealRegistry) -> usize {
    real.log().lines().filter(|line| line.contains("/manifests/")).count()
}

#[test]
fn a_whole_proxy_serves_the_image_and_the_named_registry_is_not_asked() {
    let (origin, named) = origin_and_empty();
    let Some(proxy) = RealRegistry::proxy(&origin.host()) else { return };
    let site = site(&named, PLAIN, &[(proxy.host(), PLAIN)]);
    site.orlop(["pull", "a.sif", &named.docker("a:1")]).success();
    assert!(named.requests().is_empty(), "{}", named.log());
    assert!(manifests(&proxy) > 0, "{}", proxy.log());
}

#[test]
fn a_proxy_whose_upstream_is_dead_serves_what_it_has() {
    let (origin, named) = origin_and_empty();
    let Some(proxy) = RealRegistry::proxy(&origin.host()) else { return };
    let first = site(&named, PLAIN, &[(proxy.host(), PLAIN)]);
    first.orlop(["pull", "a.sif", &named.docker("a:1")]).success();
    drop(origin);
    let second = site(&named, PLAIN, &[(proxy.host(), PLAIN)]);
    second.orlop(["pull", "a.sif", &named.docker("a:1")]).success();
    assert_eq!(
        std::fs::read(first.work().join("a.sif")).unwrap(),
        std::fs::read(second.work().join("a.sif")).unwrap()
    );
    assert!(named.requests().is_empty(), "{}", named.log());
}

#[test]
fn a_proxy_with_a_dead_upstream_and_nothing_in_it_is_passed_over() {
    let named = Registry::new().image("a:1", Image::tiny()).start();
    let upstream = Registry::new().start();
    let Some(proxy) = RealRegistry::proxy(&upstream.host()) else { return };
    drop(upstream);
    let site = site(&named, PLAIN, &[(proxy.host(), PLAIN)]);
    let outcome = site.orlop(["--verbose", "pull", "a.sif", &named.docker("a:1")]).success();
    assert!(outcome.stderr.contains(&proxy.host()), "it is named: {}", outcome.report());
}

#[test]
fn a_dead_mirror_is_passed_over_and_asked_last_the_next_time() {
    let named = Registry::new().image("a:1", Image::tiny()).start();
    let dead = free_address().to_string();
    let site = site(&named, PLAIN, &[(dead.clone(), PLAIN)]);
    let words = ["--verbose", "pull", "--force", "a.sif", &named.docker("a:1")];
    site.orlop(words).success().says(&dead);
    let again = site.orlop(words).success();
    assert!(!again.stderr.contains(&dead), "{}", again.report());
}

#[test]
fn an_empty_proxy_is_passed_over() {
    let named = Registry::new().image("a:1", Image::tiny()).start();
    let empty = Registry::new().start();
    let Some(proxy) = RealRegistry::proxy(&empty.host()) else { return };
    let site = site(&named, PLAIN, &[(proxy.host(), PLAIN)]);
    site.orlop(["pull", "a.sif", &named.docker("a:1")]).success();
    assert!(manifests(&proxy) > 0, "{}", proxy.log());
}

#[test]
fn two_mirrors_are_asked_in_order_until_one_has_it() {
    let (origin, named) = origin_and_empty();
    let empty = Registry::new().start();
    let Some(first) = RealRegistry::proxy(&empty.host()) else { return };
    let Some(second) = RealRegistry::proxy(&origin.host()) else { return };
    let mirrors = [(first.host(), PLAIN), (second.host(), PLAIN)];
    let site = site(&named, PLAIN, &mirrors);
    site.orlop(["pull", "a.sif", &named.docker("a:1")]).success();
    assert!(manifests(&first) > 0 && manifests(&second) > 0);
    assert!(named.requests().is_empty(), "{}", named.log());

    // The other way round the first one is not asked at all.
    let asked = manifests(&first);
    let mirrors = [(second.host(), PLAIN), (first.host(), PLAIN)];
    let site = self::site(&named, PLAIN, &mirrors);
    site.orlop(["pull", "a.sif", &named.docker("a:1")]).success();
    assert_eq!(manifests(&first), asked);
}

#[test]
fn a_mirror_with_a_password_gets_its_own_login_and_no_other() {
    let (origin, named) = origin_and_empty();
    let Some(mirror) = RealRegistry::proxy_with_password(&origin.host(), "m", "mirror-secret")
    else {
        return;
    };
    let site = site(&named, PLAIN, &[(mirror.host(), "")]);
    let site = site.trust(mirror.identity().unwrap(), &mirror.host());
    let image = named.docker("a:1");
    // A login for the named registry is none for the mirror, which refuses and is passed over.
    let words =
        ["pull", "--docker-username", "n", "--docker-password", "named-secret", "a.sif", &image];
    site.orlop(words).fails(255);
    let refused = mirror.log();
    assert!(refused.contains("401") && !refused.contains("named-secret"), "{refused}");
    named.forget();

    let place = format!("docker://{}", mirror.host());
    let login = ["registry", "login", "-u", "m", "--password-stdin", &place];
    site.run(login).input("mirror-secret").outcome().success();
    let told = site.orlop(["registry", "explain", "--json", &image]).success();
    assert!(told.stdout.contains(".docker/config.json"), "{}", told.report());
    site.orlop(words).success();
    assert!(named.requests().is_empty(), "{}", named.log());
}

#[test]
fn mirrors_for_digests_or_tags_alone_are_asked_for_those_alone() {
    let (origin, named) = origin_and_empty();
    let digest = Image::tiny().build().digest();
    let Some(by_digest) = RealRegistry::proxy(&origin.host()) else { return };
    let Some(by_tag) = RealRegistry::proxy(&origin.host()) else { return };
    let digest_only = format!("{PLAIN}\npull-from-mirror = 'digest-only'");
    let tag_only = format!("{PLAIN}\npull-from-mirror = 'tag-only'");
    let mirrors = [(by_digest.host(), digest_only.as_str()), (by_tag.host(), tag_only.as_str())];
    let site = site(&named, PLAIN, &mirrors);
    site.orlop(["pull", "tag.sif", &named.docker("a:1")]).success();
    assert_eq!(manifests(&by_digest), 0, "{}", by_digest.log());
    let asked = manifests(&by_tag);
    assert!(asked > 0, "{}", by_tag.log());

    let other = self::site(&named, PLAIN, &mirrors);
    other.orlop(["pull", "digest.sif", &named.docker(&format!("a@{digest}"))]).success();
    assert!(manifests(&by_digest) > 0, "{}", by_digest.log());
    assert_eq!(manifests(&by_tag), asked, "{}", by_tag.log());
    assert!(named.requests().is_empty(), "{}", named.log());
}

#[test]
fn a_blocked_registry_is_pulled_from_its_mirror_alone() {
    let origin = Registry::new().image("a:1", Image::tiny()).start();
    let named = Registry::new().image("a:1", Image::tiny()).image("b:1", Image::tiny()).start();
    let Some(proxy) = RealRegistry::proxy(&origin.host()) else { return };
    let site = site(&named, "blocked = true", &[(proxy.host(), PLAIN)]);
    site.orlop(["pull", "a.sif", &named.docker("a:1")]).success();
    let outcome = site.orlop(["pull", "b.sif", &named.docker("b:1")]).fails(255);
    assert!(outcome.stderr.contains("blocked by registries.conf"), "{}", outcome.report());
    assert!(named.requests().is_empty(), "{}", named.log());
}

#[test]
fn a_push_goes_to_the_named_registry_and_to_no_mirror() {
    let Some(named) = RealRegistry::anonymous() else { return };
    let Some(mirror) = RealRegistry::anonymous() else { return };
    let images = Registry::new().image("a:1", Image::tiny()).start();
    let site = bare_site().insecure(&images);
    let text = format!(
        "[[registry]]\nlocation = \"{}\"\n{PLAIN}\n[[registry]]\nlocation = \"{}\"\n{PLAIN}\n\
         [[registry.mirror]]\nlocation = \"{}\"\n{PLAIN}\n",
        images.host(),
        named.host(),
        mirror.host()
    );
    site.write_home(CONF, text.as_bytes());
    site.write_home(".config/orlop/orlop.toml", b"[registry]\noras-mirrors = true\n");
    site.orlop(["pull", "a.sif", &images.docker("a:1")]).success();
    site.orlop(["push", "a.sif", &named.oras("s:1")]).success();
    assert!(!mirror.log().contains("/v2/s/"), "{}", mirror.log());
    assert!(named.log().contains("PUT /v2/s/"), "{}", named.log());

    // A pull of it asks the mirror first, as the setting says, and then the registry itself.
    site.orlop(["pull", "b.sif", &named.oras("s:1")]).success();
    assert!(mirror.log().contains("/v2/s/manifests/1"), "{}", mirror.log());
    assert_eq!(
        std::fs::read(site.work().join("a.sif")).unwrap(),
        std::fs::read(site.work().join("b.sif")).unwrap()
    );
}
