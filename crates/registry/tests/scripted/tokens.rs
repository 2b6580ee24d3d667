//! Tokens of the scripted registry: asked for once, renewed, refused. Rules: `registry.md` §2.3.

use futures::future::join_all;
use orlop_credentials::Credential;
use orlop_kit::{Answer, Auth, Image, Registry, any, head, ping, token};
use orlop_registry::{Access, Error};

use crate::site::{self, Site};

fn bearer(anonymous_pull: bool) -> Auth {
    Auth::Bearer { user: "me".to_owned(), secret: "pw".to_owned(), anonymous_pull }
}

fn challenge(realm: &str) -> Answer {
    let challenge = format!(r#"Bearer realm="{realm}",service="kit""#);
    Answer::With(401, vec![("WWW-Authenticate", challenge)], Vec::new())
}

#[tokio::test]
async fn a_token_is_fetched_once_and_kept() {
    let registry = Registry::new().image("a:1", Image::tiny()).auth(bearer(false)).start();
    let site = Site::logged_in(&[(&registry.host(), "me", "pw")]);
    for _ in 0..2 {
        site::pull(&site.sources(&registry, "a:1")).await.unwrap();
    }
    let asked = registry.of(&token());
    assert_eq!(asked.len(), 1, "{}", registry.log());
    assert!(asked[0].target.contains("scope=repository%3Aa%3Apull&account=me&"));
    assert_eq!(registry.count(&head("a:1")), 2, "no request goes out without the token");
}

#[tokio::test]
async fn an_anonymous_pull_gets_a_token_without_a_login() {
    let registry = Registry::new().image("a:1", Image::tiny()).auth(bearer(true)).start();
    site::pull(&Site::new().sources(&registry, "a:1")).await.unwrap();
    let asked = registry.of(&token());
    assert_eq!(asked.len(), 1);
    assert!(!asked[0].target.contains("account="));
    assert!(asked[0].header("authorization").is_none());
}

#[tokio::test]
async fn many_pulls_at_once_share_one_ping_and_one_token() {
    let registry = Registry::new().image("a:1", Image::tiny()).auth(bearer(true)).start();
    let site = Site::new();
    let pulls = (0..16).map(|_| async {
        site.sources(&registry, "a:1").resolve().await.unwrap();
    });
    join_all(pulls).await;
    assert_eq!(registry.count(&token()), 1);
    assert_eq!(registry.count(&ping()), 1);
    assert_eq!(registry.count(&head("a:1")), 16);
}

#[tokio::test]
async fn two_users_never_share_a_token() {
    let registry = Registry::new().image("a:1", Image::tiny()).auth(bearer(false)).start();
    let right = Site::logged_in(&[(&registry.host(), "me", "pw")]);
    site::pull(&right.sources(&registry, "a:1")).await.unwrap();
    let mut wrong = Site::logged_in(&[(&registry.host(), "me", "guess")]);
    wrong.pool = right.pool.clone();
    let error = wrong.sources(&registry, "a:1").resolve().await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_token_that_is_not_accepted_is_renewed_once() {
    let registry = Registry::new().image("a:1", Image::tiny()).auth(bearer(true)).start();
    let refusal = challenge(&format!("http://{}/token", registry.host()));
    registry.script(head("a:1"), [refusal.clone(), Answer::Whole]);
    Site::new().sources(&registry, "a:1").resolve().await.unwrap();
    assert_eq!((registry.count(&head("a:1")), registry.count(&token())), (2, 2));

    registry.forget();
    registry.script(head("a:1"), [refusal]);
    let error = Site::new().sources(&registry, "a:1").resolve().await.unwrap_err();
    assert!(matches!(error, Error::Refused { status: 401, .. }), "{error:?}");
    assert_eq!((registry.count(&head("a:1")), registry.count(&token())), (2, 2));

    registry.forget();
    registry.script(head("a:1"), [Answer::Status(403)]);
    let error = Site::new().sources(&registry, "a:1").resolve().await.unwrap_err();
    assert!(matches!(error, Error::Refused { status: 403, .. }), "{error:?}");
    assert_eq!((registry.count(&head("a:1")), registry.count(&token())), (1, 1));
}

#[tokio::test]
async fn a_challenge_that_comes_late_is_met() {
    let registry = Registry::new()
        .image("a:1", Image::tiny())
        .auth(bearer(true))
        .answer(ping(), [Answer::With(200, Vec::new(), Vec::new())])
        .start();
    let site = Site::new();
    site.sources(&registry, "a:1").resolve().await.unwrap();
    assert_eq!((registry.count(&head("a:1")), registry.count(&token())), (2, 1));
    site.sources(&registry, "a:1").resolve().await.unwrap();
    assert_eq!((registry.count(&head("a:1")), registry.count(&token())), (3, 1), "remembered");
}

#[tokio::test]
async fn the_login_goes_to_a_realm_on_another_host_in_that_one_request() {
    let realm = Registry::new().auth(bearer(false)).start();
    let registry = Registry::new()
        .image("a:1", Image::tiny())
        .answer(ping(), [challenge(&format!("http://{}/token", realm.host()))])
        .start();
    let site = Site::logged_in(&[(&registry.host(), "me", "pw")]);
    site::pull(&site.sources(&registry, "a:1")).await.unwrap();
    assert_eq!(realm.requests().len(), 1);
    assert!(realm.requests()[0].header("authorization").unwrap().starts_with("Basic "));
    for request in registry.requests().iter().skip(1) {
        assert!(request.header("authorization").unwrap().starts_with("Bearer "), "{request}");
    }
}

#[tokio::test]
async fn a_realm_that_may_not_be_asked_is_refused() {
    let realms =
        ["http://169.254.169.254/token", "/token", "file:///etc/passwd", "http://u:p@127.0.0.1/t"];
    for realm in realms {
        let registry = Registry::new().answer(ping(), [challenge(realm)]).start();
        let site = Site::logged_in(&[(&registry.host(), "me", "pw")]);
        let error = site.sources(&registry, "a:1").resolve().await.unwrap_err();
        assert!(matches!(error, Error::Realm { .. }), "{realm}: {error:?}");
        assert_eq!(registry.requests().len(), 1, "{realm}");
    }
}

#[tokio::test]
async fn a_token_request_that_is_sent_elsewhere_leaves_the_login_behind() {
    let other = Registry::new().auth(bearer(true)).start();
    let registry = Registry::new().image("a:1", Image::tiny()).auth(bearer(true)).start();
    registry.script(token(), [Answer::Redirect(302, format!("http://{}/token", other.host()))]);
    let site = Site::logged_in(&[(&registry.host(), "me", "pw")]);
    // Whether the other service's token is any good here does not matter.
    drop(site.sources(&registry, "a:1").resolve().await);
    assert_eq!(other.count(&token()), 1);
    assert!(other.requests().iter().all(|one| one.header("authorization").is_none()));

    let credential = Credential::IdentityToken { username: String::new(), secret: "r".into() };
    other.forget();
    let target = orlop_registry::Target {
        host: registry.host().parse().unwrap(),
        path: None,
        insecure: false,
        no_https: false,
    };
    let error = site.session().prove_login(&target, credential).await.unwrap_err();
    assert!(matches!(error, Error::Redirect { .. }), "{error:?}");
    assert_eq!(other.requests().len(), 0, "a refresh token is sent to nobody else");
}

#[tokio::test]
async fn endless_redirects_of_a_token_request_end() {
    let registry = Registry::new().auth(bearer(true)).start();
    registry.script(token(), [Answer::Redirect(302, "/token".to_owned())]);
    let error = Site::new().sources(&registry, "a:1").resolve().await.unwrap_err();
    assert!(matches!(error, Error::Redirect { .. }), "{error:?}");
    assert_eq!(registry.count(&token()), 11);
}

#[tokio::test]
async fn a_token_service_may_fail_and_come_back() {
    let registry = Registry::new().image("a:1", Image::tiny()).auth(bearer(true)).start();
    registry.script(token(), [Answer::Status(500), Answer::Status(500), Answer::Whole]);
    Site::new().sources(&registry, "a:1").resolve().await.unwrap();
    assert_eq!(registry.count(&token()), 3);

    registry.script(token(), [Answer::Body(b"<html>".to_vec())]);
    registry.forget();
    let error = Site::new().sources(&registry, "a:1").resolve().await.unwrap_err();
    assert!(matches!(error, Error::Token { why: "it is a web page", .. }), "{error:?}");
    assert_eq!(registry.count(&token()), 1);

    registry.script(token(), [Answer::Body(vec![b' '; (128 << 10) + 1])]);
    let error = Site::new().sources(&registry, "a:1").resolve().await.unwrap_err();
    assert!(matches!(error, Error::Limit { key: "token-bytes", .. }), "{error:?}");
}

#[tokio::test]
async fn a_challenge_that_cannot_be_met_is_named() {
    let only = |header: &str| {
        let headers = vec![("WWW-Authenticate", header.to_owned())];
        Registry::new().answer(any(), [Answer::With(401, headers, Vec::new())]).start()
    };
    let registry = only("Negotiate");
    let error = Site::new().sources(&registry, "a:1").resolve().await.unwrap_err();
    assert!(matches!(error, Error::Challenge { .. }), "{error:?}");
    assert!(error.to_string().ends_with("(only: negotiate)"), "{error}");

    let registry = Registry::new().answer(any(), [Answer::Status(401)]).start();
    let error = Site::new().sources(&registry, "a:1").resolve().await.unwrap_err();
    assert!(matches!(error, Error::Challenge { .. }), "{error:?}");
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn a_push_asks_for_a_token_that_may_push() {
    let registry = Registry::new().auth(bearer(false)).start();
    let site = Site::logged_in(&[(&registry.host(), "me", "pw")]);
    let repository =
        site.session().repository(&site::source(&registry.host(), "a:1"), Access::Push);
    let error = repository.head_manifest("1").await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    let asked = registry.of(&token());
    assert!(asked[0].target.contains("scope=repository%3Aa%3Apull%2Cpush"), "{}", asked[0]);
}
