//! What a login proves: verified, rejected, or accepted without proof, by the kind of registry.
//!
//! The table of the design notes on registries (2.5), on the scripted registry and on real ones.
//! Not here: what is stored where (`login`, `credential_files`).

use crate::world::{
    SECRET, USER, bare_site, basic, bearer, log_in, log_in_as, site, stored_secret,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use orlop_kit::{Answer, Auth, Image, RealRegistry, Registry, Signer, Site, ping, token};

const UNPROVEN: &str = "it is not known whether this login is right";

fn started(registry: Registry) -> (Registry, Site) {
    let registry = registry.start();
    let site = site(&registry);
    (registry, site)
}

fn stored(site: &Site, host: &str) -> Option<String> {
    stored_secret(&site.read_home(".docker/config.json")?, host)
}

/// Verified: the right one without a word of doubt, the wrong one rejected and not stored.
#[track_caller]
fn is_proven(registry: &Registry, site: &Site) {
    let outcome = log_in_as(site, registry, &[], USER, "wrong").fails(255);
    assert!(outcome.stderr.contains("refused this user name and password"), "{}", outcome.report());
    assert_eq!(stored(site, &registry.host()), None);
    let outcome = log_in(site, registry, &[]).success();
    assert!(!outcome.stderr.contains(UNPROVEN), "{}", outcome.report());
    assert!(stored(site, &registry.host()).is_some());
}

#[test]
fn a_registry_with_basic_proves_by_its_ping() {
    let (registry, site) = started(Registry::new().auth(basic()));
    is_proven(&registry, &site);
    assert_eq!(registry.count(&token()), 0);
}

#[test]
fn a_registry_with_tokens_proves_by_its_token_service_and_gives_an_identity_token() {
    let (registry, site) = started(Registry::new().auth(bearer(false)));
    is_proven(&registry, &site);
    assert!(stored(&site, &registry.host()).unwrap().starts_with("kit-refresh-"));
}

#[test]
fn a_registry_that_lets_everybody_pull_proves_by_the_identity_token() {
    let (registry, site) = started(Registry::new().auth(bearer(true)));
    is_proven(&registry, &site);
}

/// A registry whose token service gives this token to whoever asks.
fn careless(token_text: &str) -> Registry {
    let body = format!(r#"{{"token":"{token_text}","expires_in":300}}"#);
    let answer = Answer::With(200, Vec::new(), body.into_bytes());
    let registry = Registry::new().answer(token(), [answer]);
    // The token service of bearer registries, which the script answers for.
    registry.auth(bearer(true))
}

/// Answers to two logins of a ping that asks for a token and takes any.
fn trusting(registry: &Registry) {
    let challenge = format!(r#"Bearer realm="http://{}/token",service="kit""#, registry.host());
    let asks = || Answer::With(401, vec![("WWW-Authenticate", challenge.clone())], Vec::new());
    let takes = || Answer::With(200, Vec::new(), b"{}".to_vec());
    registry.script(ping(), [asks(), takes(), asks(), takes()]);
}

#[test]
fn an_opaque_token_that_everybody_gets_proves_nothing() {
    let (registry, site) = started(careless("opaque"));
    trusting(&registry);
    let outcome = log_in_as(&site, &registry, &[], USER, "whatever").success();
    assert!(outcome.stderr.contains(UNPROVEN), "{}", outcome.report());
    assert!(stored(&site, &registry.host()).is_some());
}

#[test]
fn a_service_that_gives_tokens_to_anybody_and_refuses_wrong_logins_proves() {
    let (registry, site) = started(careless("opaque"));
    trusting(&registry);
    let given = || Answer::With(200, Vec::new(), br#"{"token":"opaque"}"#.to_vec());
    // To the login, to whoever has none, and to a login that is nobody's.
    registry.script(token(), [given(), given(), Answer::Status(401)]);
    let outcome = log_in(&site, &registry, &[]).success();
    assert!(!outcome.stderr.contains(UNPROVEN), "{}", outcome.report());
    let asked = registry.of(&token());
    let logins: Vec<Option<&str>> = asked.iter().map(|ask| ask.header("authorization")).collect();
    assert!(logins[0].is_some() && logins[1].is_none() && logins[2].is_some(), "{logins:?}");
    assert_ne!(logins[0], logins[2]);
    // Wrong ones are refused, and the right one stays.
    let right = stored(&site, &registry.host());
    trusting(&registry);
    registry.script(token(), [Answer::Status(401)]);
    log_in_as(&site, &registry, &[], USER, "wrong").fails(255);
    assert_eq!(stored(&site, &registry.host()), right);
}

#[test]
fn a_login_that_the_registry_lets_in_as_anybody_replaces_none_that_it_knows() {
    let token_of = |subject: &str| {
        let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"sub":"{subject}"}}"#));
        let body = format!(r#"{{"token":"e30.{claims}.c2ln","expires_in":300}}"#);
        Answer::With(200, Vec::new(), body.into_bytes())
    };
    let (registry, site) = started(Registry::new().auth(bearer(true)));
    trusting(&registry);
    registry.script(token(), [token_of(USER)]);
    log_in(&site, &registry, &[]).success();
    let right = stored(&site, &registry.host());
    // A wrong one: as if nobody had logged in, three times. Then what is there is asked about.
    trusting(&registry);
    registry.script(token(), [token_of(""), token_of(""), token_of(""), token_of(USER)]);
    let refused = log_in_as(&site, &registry, &[], USER, "wrong").fails(255);
    refused.says("does not know this user name and password").says("log out first");
    assert_eq!(stored(&site, &registry.host()), right);
    // One that is as much, or as little, as the other replaces it.
    trusting(&registry);
    registry.script(token(), [token_of("")]);
    log_in_as(&site, &registry, &[], USER, "other").success().says(UNPROVEN);
    assert_ne!(stored(&site, &registry.host()), right);
}

#[test]
fn a_token_with_a_subject_proves_and_one_without_does_not() {
    for (claims, is_proof) in [(r#"{"sub":"u"}"#, true), (r#"{"sub":""}"#, false)] {
        let jwt = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        let (registry, site) = started(careless(&jwt));
        trusting(&registry);
        let outcome = log_in(&site, &registry, &[]).success();
        assert_eq!(outcome.stderr.contains(UNPROVEN), !is_proof, "{}", outcome.report());
    }
}

#[test]
fn a_token_that_the_registry_does_not_take_is_a_rejection() {
    // The service gives a token to anybody; the registry knows none of that name.
    let (registry, site) = started(careless("opaque"));
    log_in(&site, &registry, &[]).fails(255);
    assert_eq!(stored(&site, &registry.host()), None);
}

#[test]
fn a_registry_that_asks_for_nothing_proves_nothing_but_may_reject() {
    let (registry, site) = started(Registry::new());
    let outcome = log_in(&site, &registry, &[]).success();
    assert!(outcome.stderr.contains(UNPROVEN), "{}", outcome.report());
    let pings = registry.of(&ping());
    assert!(pings.iter().any(|one| one.header("authorization").is_some()), "it was offered");

    let (registry, site) = started(Registry::new());
    let fine = Answer::With(200, Vec::new(), b"{}".to_vec());
    registry.script(ping(), [fine, Answer::Status(401)]);
    log_in(&site, &registry, &[]).fails(255);
    assert_eq!(stored(&site, &registry.host()), None);
}

#[test]
fn a_login_to_a_part_of_a_registry_asks_for_that_part() {
    let (registry, site) =
        started(Registry::new().auth(bearer(true)).image("ns/a:1", Image::tiny()));
    let host = registry.host();
    let uri = format!("docker://{host}/ns/a");
    let words = ["registry", "login", "-u", USER, "--password-stdin", &uri];
    site.run(words).input(SECRET).outcome().success();
    let asked = registry.of(&token());
    let is_scoped = asked.iter().any(|one| one.target.contains("scope=repository%3Ans%2Fa%3Apull"));
    let is_plain = asked.iter().any(|one| one.target.contains("scope=repository:ns/a:pull"));
    assert!(is_scoped || is_plain, "{}", registry.log());
    assert!(stored(&site, &format!("{host}/ns/a")).is_some());
    assert!(stored(&site, &host).is_none());
    site.orlop(["registry", "logout", &uri]).success();
    assert!(stored(&site, &format!("{host}/ns/a")).is_none());
}

#[test]
fn a_real_registry_with_passwords_over_tls_proves() {
    let Some(real) = RealRegistry::with_password(USER, SECRET) else { return };
    let identity = real.identity().expect("it speaks TLS").clone();
    let site = bare_site().trust(&identity, &real.host());
    let uri = format!("docker://{}", real.host());
    let words = ["registry", "login", "-u", USER, "--password-stdin", &uri];
    site.run(words).input("wrong").outcome().fails(255);
    let outcome = site.run(words).input(SECRET).outcome().success();
    assert!(!outcome.stderr.contains(UNPROVEN), "{}", outcome.report());
}

#[test]
fn a_real_registry_with_signed_tokens_proves_and_serves_who_is_logged_in() {
    let signer = Signer::new();
    let tokens = Registry::new()
        .auth(Auth::Bearer { user: USER.into(), secret: SECRET.into(), anonymous_pull: false })
        .image("a:1", Image::tiny())
        .signs(&signer)
        .start();
    let Some(real) = RealRegistry::with_tokens(&tokens, &signer) else { return };
    let site = site(&tokens).insecure_host(&real.host());
    let uri = format!("docker://{}", real.host());
    let words = ["registry", "login", "-u", USER, "--password-stdin", &uri];
    site.run(words).input("wrong").outcome().fails(255);
    let outcome = site.run(words).input(SECRET).outcome().success();
    assert!(!outcome.stderr.contains(UNPROVEN), "{}", outcome.report());

    // A SIF from the scripted registry, by a login of its own, to the real one and back.
    log_in(&site, &tokens, &[]).success();
    site.orlop(["pull", "a.sif", &tokens.docker("a:1")]).success();
    site.orlop(["push", "a.sif", &real.oras("ns/a:1")]).success();
    site.orlop(["pull", "back.sif", &real.oras("ns/a:1")]).success();
    let [sent, back] = ["a.sif", "back.sif"].map(|name| crate::world::bytes(&site, name));
    assert!(sent == back);
    site.orlop(["registry", "logout", &uri]).success();
    site.orlop(["pull", "--force", "back.sif", &real.oras("ns/a:1")]).fails(255);
    site.orlop(["push", "a.sif", &real.oras("ns/b:1")]).fails(255);
}
