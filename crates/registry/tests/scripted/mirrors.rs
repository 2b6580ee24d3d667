//! Mirrors of the scripted registry: which source is asked when, and as whom.

use orlop_kit::{Answer, Auth, Image, Registry, any, blobs, head, layer};
use orlop_registry::{Error, Notice};

use crate::site::{self, Site, source};

fn sources_failed(site: &Site) -> Vec<String> {
    let failed = |notice: &Notice| match notice {
        Notice::SourceFailed { source, .. } => Some(source.clone()),
        _ => None,
    };
    site.notices().iter().filter_map(failed).collect()
}

#[tokio::test]
async fn a_mirror_serves_and_the_registry_is_not_asked() {
    let mirror = Registry::new().image("hub/a:1", Image::tiny()).start();
    let primary = Registry::new().image("a:1", Image::tiny()).start();
    let site = Site::new();
    let sources = vec![source(&mirror.host(), "hub/a:1"), source(&primary.host(), "a:1")];
    let sources = site.session().sources(sources);
    let resolved = sources.resolve().await.unwrap();
    assert_eq!(resolved.source, format!("{}/hub/a", mirror.host()));
    site::pull(&sources).await.unwrap();
    assert_eq!(primary.requests().len(), 0);
}

#[tokio::test]
async fn a_mirror_that_fails_costs_one_request() {
    let primary = Registry::new().image("a:1", Image::tiny()).start();
    let page = Answer::With(200, vec![("Content-Type", "text/html".to_owned())], b"<html>".into());
    for answer in [
        Answer::Status(401),
        Answer::Status(403),
        Answer::Status(404),
        Answer::Status(500),
        Answer::Status(429),
        Answer::Close,
        page,
    ] {
        let mirror = Registry::new().answer(head("a:1"), [answer.clone()]).start();
        let site = Site::new();
        let sources = vec![source(&mirror.host(), "a:1"), source(&primary.host(), "a:1")];
        site::pull(&site.session().sources(sources)).await.unwrap();
        // What was lost on a kept connection is sent again on a new one: no try is spent (R108).
        // Whether the connection of the ping was kept in time is not the test's to say.
        let most = if matches!(answer, Answer::Close) { 2 } else { 1 };
        assert!((1..=most).contains(&mirror.count(&head("a:1"))), "{answer:?}");
        assert_eq!(sources_failed(&site), [format!("{}/a", mirror.host())], "{answer:?}");
    }
}

#[tokio::test]
async fn a_mirror_that_cannot_be_reached_is_tried_last_for_a_while() {
    let gone = Registry::new().start().host();
    let primary = Registry::new().image("a:1", Image::tiny()).start();
    let site = Site::new();
    for failures in [1, 1] {
        let sources = vec![source(&gone, "a:1"), source(&primary.host(), "a:1")];
        site::pull(&site.session().sources(sources)).await.unwrap();
        assert_eq!(sources_failed(&site).len(), failures);
    }
}

#[tokio::test]
async fn a_layer_that_a_mirror_cuts_is_gone_on_with_at_the_registry() {
    let image = Image::two_layers();
    let mirror = Registry::new()
        .image("a:1", image.clone())
        .answer(layer(1), [Answer::CutAfter(500_000)])
        .start();
    let primary = Registry::new().image("a:1", image).start();
    let site = Site::new();
    let sources = vec![source(&mirror.host(), "a:1"), source(&primary.host(), "a:1")];
    site::pull(&site.session().sources(sources)).await.unwrap();
    assert_eq!(primary.ranges(&layer(1)), ["bytes=500000-"]);
}

#[tokio::test]
async fn blobs_that_a_mirror_lacks_come_from_the_registry() {
    let image = Image::two_layers();
    let mirror =
        Registry::new().image("a:1", image.clone()).answer(blobs(), [Answer::Status(404)]).start();
    let primary = Registry::new().image("a:1", image).start();
    let site = Site::new();
    let sources = vec![source(&mirror.host(), "a:1"), source(&primary.host(), "a:1")];
    site::pull(&site.session().sources(sources)).await.unwrap();
    assert_eq!(primary.count(&blobs()), 3);
}

#[tokio::test]
async fn a_mirror_that_lies_about_a_layer_has_two_tries_and_is_named() {
    let image = Image::two_layers();
    let mirror =
        Registry::new().image("a:1", image.clone()).answer(layer(1), [Answer::FlipBit(7)]).start();
    let primary = Registry::new().image("a:1", image).start();
    let site = Site::new();
    let sources = vec![source(&mirror.host(), "a:1"), source(&primary.host(), "a:1")];
    let sources = site.session().sources(sources);
    let manifest = site::manifest_of(&sources).await.unwrap();
    let layer_1 = &manifest.layers[1];
    for _ in 0..2 {
        assert!(site::blob(&sources, layer_1).await.unwrap_err().is_lie());
        assert!(sources.may_refetch(layer_1));
    }
    site::blob(&sources, layer_1).await.unwrap();
    assert_eq!((mirror.count(&layer(1)), primary.count(&layer(1))), (2, 1));
    let lied = |notice: &Notice| matches!(notice, Notice::SourceFailed { lied: true, .. });
    assert_eq!(site.notices().iter().filter(|notice| lied(notice)).count(), 1);
}

#[tokio::test]
async fn a_mirror_is_asked_as_nobody_where_only_the_registry_has_a_login() {
    let auth = || Auth::Basic { user: "me".to_owned(), secret: "pw".to_owned() };
    let mirror = Registry::new().image("a:1", Image::tiny()).auth(auth()).start();
    let primary = Registry::new().image("a:1", Image::tiny()).auth(auth()).start();
    let site = Site::logged_in(&[(&primary.host(), "me", "pw")]);
    let sources = vec![source(&mirror.host(), "a:1"), source(&primary.host(), "a:1")];
    site::pull(&site.session().sources(sources)).await.unwrap();
    assert!(mirror.requests().iter().all(|one| one.header("authorization").is_none()));
}

#[tokio::test]
async fn the_error_is_the_registrys_own_when_all_fail() {
    let mirror = Registry::new().answer(any(), [Answer::Status(404)]).start();
    let primary = Registry::new().start();
    let site = Site::new();
    let sources = vec![source(&mirror.host(), "a:1"), source(&primary.host(), "a:1")];
    let error = site.session().sources(sources).resolve().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("http://{} has no manifest a:1: manifest unknown", primary.host())
    );
    assert_eq!(sources_failed(&site).len(), 1);
}

#[tokio::test]
async fn a_blocked_registry_is_never_asked() {
    let mirror = Registry::new().start();
    let primary = Registry::new().image("a:1", Image::tiny()).start();
    let site = Site::new();
    let mut blocked = source(&primary.host(), "a:1");
    blocked.blocked = true;
    let sources = vec![source(&mirror.host(), "a:1"), blocked.clone()];
    let error = site.session().sources(sources).resolve().await.unwrap_err();
    assert!(matches!(error, Error::Blocked { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("blocked by registries.conf: {}/a", primary.host()));
    let error = site.session().sources(vec![blocked]).resolve().await.unwrap_err();
    assert!(matches!(error, Error::Blocked { .. }), "{error:?}");
    assert_eq!(primary.requests().len(), 0);
}
