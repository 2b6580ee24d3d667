//! Logins at the scripted registry: what is proven, by which requests. Rules: `registry.md` §2.5.

use orlop_credentials::{Credential, Secret};
use orlop_kit::{Answer, Auth, Registry, any, ping, token};
use orlop_registry::{Error, Login, Proof, Target};

use crate::site::{self, Site};

async fn login(registry: &Registry, secret: &str) -> Result<Login, Error> {
    login_with(registry, site::password("me", secret)).await
}

async fn login_with(registry: &Registry, credential: Credential) -> Result<Login, Error> {
    let host = registry.host().parse().unwrap();
    let target = Target { host, path: None, insecure: false, no_https: false };
    Site::new().session().prove_login(&target, credential).await
}

fn is_refused(outcome: &Result<Login, Error>) -> bool {
    matches!(outcome, Err(Error::Refused { .. }))
}

fn bearer(anonymous_pull: bool) -> Registry {
    let (user, secret) = ("me".to_owned(), "right".to_owned());
    Registry::new().auth(Auth::Bearer { user, secret, anonymous_pull }).start()
}

#[tokio::test]
async fn basic_is_proved_by_the_request_that_carries_the_password() {
    let auth = Auth::Basic { user: "me".to_owned(), secret: "right".to_owned() };
    let registry = Registry::new().auth(auth).start();
    let good = login(&registry, "right").await.unwrap();
    assert_eq!((good.proof, good.plain_http), (Proof::Verified, true));
    assert!(is_refused(&login(&registry, "wrong").await));
    let text = login(&registry, "hunter2").await.unwrap_err().to_string();
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn bearer_is_proved_by_the_token_and_its_use() {
    let registry = bearer(false);
    let good = login(&registry, "right").await.unwrap();
    assert_eq!(good.proof, Proof::Verified);
    assert!(good.identity_token.is_some());
    assert!(is_refused(&login(&registry, "wrong").await));
}

#[tokio::test]
async fn a_refresh_token_proves_itself() {
    let registry = bearer(false);
    let token = login(&registry, "right").await.unwrap().identity_token.unwrap();
    let identity = |secret: Secret| Credential::IdentityToken { username: String::new(), secret };
    let good = login_with(&registry, identity(token)).await.unwrap();
    assert_eq!(good.proof, Proof::Verified);
    assert!(is_refused(&login_with(&registry, identity("wrong".into())).await));
}

#[tokio::test]
async fn a_service_that_gives_tokens_to_anybody_proves_nothing_by_one() {
    // No refresh token and an opaque token: the password may never have been looked at.
    let registry = bearer(true);
    let body = br#"{"token":"opaque"}"#.to_vec();
    let granted = Answer::With(200, Vec::new(), body);
    registry.script(token(), [granted.clone()]);
    let here = format!(r#"Bearer realm="http://{}/token""#, registry.host());
    let challenge = Answer::With(401, vec![("WWW-Authenticate", here)], Vec::new());
    registry.script(ping(), [challenge.clone(), Answer::With(200, Vec::new(), Vec::new())]);
    assert_eq!(login(&registry, "any").await.unwrap().proof, Proof::Unproven);

    // The same, but nobody is refused: then the password was looked at.
    registry.script(token(), [granted, Answer::Status(401)]);
    registry.script(ping(), [challenge, Answer::With(200, Vec::new(), Vec::new())]);
    assert_eq!(login(&registry, "any").await.unwrap().proof, Proof::Verified);
}

#[tokio::test]
async fn a_token_that_the_registry_does_not_take_is_no_proof() {
    let registry = bearer(true);
    registry.script(token(), [Answer::With(200, Vec::new(), br#"{"token":"x"}"#.to_vec())]);
    assert!(is_refused(&login(&registry, "right").await));
}

#[tokio::test]
async fn a_registry_that_asks_for_nobody_proves_nothing() {
    let registry = Registry::new().start();
    assert_eq!(login(&registry, "any").await.unwrap().proof, Proof::Open);
    registry.script(ping(), [Answer::With(200, Vec::new(), Vec::new()), Answer::Status(401)]);
    assert!(is_refused(&login(&registry, "any").await));
}

#[tokio::test]
async fn a_host_that_is_no_registry_is_told() {
    let registry = Registry::new().answer(any(), [Answer::Status(404)]).start();
    let error = login(&registry, "any").await.unwrap_err();
    assert!(matches!(error, Error::NotARegistry { .. }), "{error:?}");
}
