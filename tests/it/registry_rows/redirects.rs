//! R95 to R103: where a registry may send Orlop, and what goes along.
//!
//! The storage behind the registry ("CDN") is a second registry of the kit with the same images.
//! Not here: redirects of token requests, and of mirrors.

use super::stage::{IMAGE, Stage};
use orlop_kit::{Answer, Auth, Identity, Image, Registry, any, head, layer};

const USER: &str = "reader";
const SECRET: &str = "canary-4f1c";

/// A stage whose registry wants a login, and its storage; both of the same authority.
fn stage() -> (Stage, Registry) {
    let identity = Identity::new(&["127.0.0.1", "localhost"]);
    let auth = Auth::Basic { user: USER.to_owned(), secret: SECRET.to_owned() };
    let registry = Registry::new().image(IMAGE, Image::two_layers()).auth(auth).tls(&identity);
    let stage = Stage::with(registry.start(), identity.clone())
        .env("ORLOP_DOCKER_USERNAME", USER)
        .env("ORLOP_DOCKER_PASSWORD", SECRET);
    let cdn = Registry::new().image(IMAGE, Image::two_layers()).tls(&identity).start();
    (stage, cdn)
}

/// Path of the upper layer.
fn path(stage: &Stage) -> String {
    format!("/v2/t/two/blobs/{}", stage.registry.layer_digest(1).unwrap())
}

/// The upper layer's place at the storage.
fn place(stage: &Stage, cdn: &Registry) -> String {
    format!("https://{}{}", cdn.host(), path(stage))
}

#[track_caller]
fn came_as_nobody(variant: &str, registry: &Registry) {
    for request in registry.requests() {
        assert_eq!(request.header("authorization"), None, "{variant}: {request}");
        let is_clean = !format!("{request:?}").contains(SECRET);
        assert!(is_clean, "{variant}: {request:?}");
    }
}

#[test]
fn r95_storage_at_another_host_gets_no_credentials() {
    let (mut stage, cdn) = stage();
    for status in [302, 307] {
        let variant = status.to_string();
        cdn.forget();
        stage.begin(layer(1), [Answer::Redirect(status, place(&stage, &cdn))]);
        stage.ok(&variant);
        stage.counts(&variant, &layer(1), 1);
        assert_eq!(cdn.requests().len(), 1, "{variant}: {}", cdn.log());
        came_as_nobody(&variant, &cdn);
    }
}

#[test]
fn r96_storage_that_refuses_is_asked_for_anew_at_the_registry() {
    let (mut stage, cdn) = stage();
    for status in [401, 403] {
        let variant = status.to_string();
        cdn.forget();
        cdn.script(layer(1), [Answer::Status(status), Answer::Whole]);
        stage.begin(layer(1), [Answer::Redirect(307, place(&stage, &cdn))]);
        stage.ok(&variant);
        stage.counts(&variant, &layer(1), 2);

        cdn.forget();
        cdn.script(
            layer(1),
            [Answer::Status(status).with("WWW-Authenticate", "Basic realm=\"x\"")],
        );
        stage.begin(layer(1), [Answer::Redirect(307, place(&stage, &cdn))]);
        stage.fails(&variant, "the registry failed");
        stage.counts(&variant, &layer(1), 5);
        assert_eq!(cdn.requests().len(), 5, "{variant}: {}", cdn.log());
        came_as_nobody(&variant, &cdn);
    }
}

#[test]
fn r97_from_https_to_http_is_refused_unless_the_source_is_insecure() {
    let (mut stage, _) = stage();
    let plain = Registry::new().image(IMAGE, Image::two_layers()).start();
    let there = format!("http://{}{}", plain.host(), path(&stage));
    stage.begin(layer(1), [Answer::Redirect(307, there.clone())]);
    let outcome = stage.fails("secure", "a redirect is refused");
    assert!(outcome.stderr.contains("from https to http"), "{}", outcome.report());
    stage.counts("secure", &layer(1), 1);
    assert_eq!(plain.requests().len(), 0, "{}", plain.log());

    stage.begin(layer(1), [Answer::Redirect(307, there)]);
    let conf = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", stage.registry.host());
    stage.site.write_home(".config/containers/registries.conf", conf.as_bytes());
    stage.ok("insecure");
    assert_eq!(plain.requests().len(), 1, "{}", plain.log());
    came_as_nobody("insecure", &plain);
}

#[test]
fn r98_loops_and_long_chains_end_after_ten_hops() {
    let (mut stage, cdn) = stage();
    let back = format!("https://{}{}", stage.registry.host(), path(&stage));
    cdn.script(any(), [Answer::Redirect(307, back)]);
    stage.begin(layer(1), [Answer::Redirect(307, place(&stage, &cdn))]);
    stage.fails("loop", "a redirect is refused");
    let came = stage.registry.count(&layer(1)) + cdn.requests().len();
    assert_eq!(came, 11, "{}{}", stage.registry.log(), cdn.log());

    let chain = (1..20).map(|hop| Answer::Redirect(302, format!("{}?hop={hop}", path(&stage))));
    stage.begin(layer(1), chain.chain([Answer::Whole]).collect::<Vec<_>>());
    stage.fails("chain", "a redirect is refused");
    stage.counts("chain", &layer(1), 11);

    let chain = (1..=10).map(|hop| Answer::Redirect(302, format!("{}?hop={hop}", path(&stage))));
    stage.begin(layer(1), chain.chain([Answer::Whole]).collect::<Vec<_>>());
    stage.ok("ten hops");
}

#[test]
fn r100_other_schemes_users_and_doubtful_locations_are_refused() {
    let (mut stage, cdn) = stage();
    let at = cdn.host();
    let locations = [
        "file:///etc/passwd".to_owned(),
        format!("ftp://{at}/x"),
        "data:,x".to_owned(),
        format!("https://user:pw@{at}/x"),
        format!("https://user@{at}/x"),
        "javascript:x".to_owned(),
    ];
    for location in locations {
        stage.begin(layer(1), [Answer::Redirect(307, location.clone())]);
        let outcome = stage.fails(&location, "a redirect is refused");
        assert!(!outcome.stderr.contains("pw@"), "{}", outcome.report());
        stage.counts(&location, &layer(1), 1);
    }
    let twice = vec![("Location", place(&stage, &cdn)), ("Location", path(&stage))];
    for (variant, headers) in
        [("none", vec![]), ("empty", vec![("Location", String::new())]), ("two", twice)]
    {
        stage.begin(layer(1), [Answer::With(307, headers, Vec::new())]);
        stage.fails(variant, "the registry failed");
        stage.counts(variant, &layer(1), 1);
    }
    assert_eq!(cdn.requests().len(), 0, "{}", cdn.log());
}

#[test]
fn r101_relative_places_are_resolved_against_the_request() {
    let (mut stage, cdn) = stage();
    let digest = stage.registry.layer_digest(1).unwrap();
    let target = path(&stage);
    for (location, wanted) in [
        (format!("{target}?again=1"), format!("{target}?again=1")),
        (format!("{digest}?again=1"), format!("{target}?again=1")),
        (format!("../blobs/{digest}"), target.clone()),
        (format!("{target}?again=1#f"), format!("{target}?again=1")),
        ("?again=1".to_owned(), format!("{target}?again=1")),
    ] {
        // A path whose first part has a colon would be read as a scheme.
        let location =
            if location.starts_with("sha256:") { format!("./{location}") } else { location };
        stage.begin(layer(1), [Answer::Redirect(307, location.clone()), Answer::Whole]);
        stage.ok(&location);
        let asked = stage.registry.of(&layer(1));
        assert_eq!(asked.len(), 2, "{location}: {}", stage.registry.log());
        assert_eq!(asked[1].target, wanted, "{location}");
        assert!(asked[1].header("authorization").is_some(), "{location}: {}", asked[1]);
    }
    stage.begin(layer(1), [Answer::Redirect(307, format!("//{}{target}", cdn.host()))]);
    stage.ok("//other");
    assert_eq!(cdn.requests().len(), 1, "{}", cdn.log());
    came_as_nobody("//other", &cdn);
}

#[test]
fn r102_credentials_stay_away_once_the_chain_has_left_the_origin() {
    let (mut stage, cdn) = stage();
    // Another name of the same host is another origin, as another port is.
    let port = stage.registry.port();
    let other_name = format!("https://localhost:{port}{}", path(&stage));
    let bytes = stage.registry.blob(&stage.registry.layer_digest(1).unwrap()).unwrap();
    let served = || Answer::With(200, Vec::new(), bytes.clone());
    stage.begin(layer(1), [Answer::Redirect(307, other_name), served()]);
    stage.ok("another name");
    let asked = stage.registry.of(&layer(1));
    assert!(asked[0].header("authorization").is_some(), "{}", stage.registry.log());
    assert_eq!(asked[1].header("authorization"), None, "{}", stage.registry.log());

    let back = format!("https://{}{}", stage.registry.host(), path(&stage));
    cdn.script(layer(1), [Answer::Redirect(307, back)]);
    stage.begin(layer(1), [Answer::Redirect(307, place(&stage, &cdn)), served()]);
    stage.ok("and back");
    let asked = stage.registry.of(&layer(1));
    assert_eq!(asked.len(), 2, "{}", stage.registry.log());
    assert_eq!(asked[1].header("authorization"), None, "{}", stage.registry.log());
    came_as_nobody("and back", &cdn);
}

#[test]
fn r103_five_statuses_are_followed_with_the_method_kept() {
    let (mut stage, _) = stage();
    let manifest = "/v2/t/two/manifests/1?again=1";
    for status in [301, 302, 303, 307, 308] {
        let variant = status.to_string();
        stage.begin(layer(1), [Answer::Redirect(status, path(&stage)), Answer::Whole]);
        stage
            .registry
            .script(head(IMAGE), [Answer::Redirect(status, manifest.to_owned()), Answer::Whole]);
        stage.ok(&variant);
        stage.counts(&variant, &layer(1), 2);
        let heads = stage.registry.of(&head(IMAGE));
        let targets: Vec<&str> = heads.iter().map(|one| one.target.as_str()).collect();
        assert_eq!(targets, ["/v2/t/two/manifests/1", manifest], "{variant}");
    }
    stage.registry.script(head(IMAGE), [Answer::Whole]);
    for status in [300, 304, 305] {
        let variant = status.to_string();
        stage.begin(layer(1), [Answer::Redirect(status, path(&stage))]);
        stage.fails(&variant, "the registry failed");
        stage.counts(&variant, &layer(1), 1);
    }
}
