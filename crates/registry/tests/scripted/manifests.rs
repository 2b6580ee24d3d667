//! Manifests, configs and tokens of the scripted registry, with the requests that each costs.

use std::time::Duration;

use orlop_kit::{Answer, Auth, Identity, Image, Registry, any, config, head, manifest, ping};
use orlop_registry::{Error, Notice, Sources};

use crate::site::{self, Site};

#[tokio::test]
async fn an_undisturbed_pull_is_six_requests() {
    let registry = Registry::new().image("t/two:1", Image::two_layers()).start();
    let site = Site::new();

    let layers = site::pull(&site.sources(&registry, "t/two:1")).await.unwrap();

    assert_eq!(layers.len(), 2);
    let requests = registry.requests();
    let shown: Vec<String> = requests
        .iter()
        .map(|one| format!("{} {}", one.method, one.target.split(':').next().unwrap()))
        .collect();
    let digest = registry.tag("t/two:1").unwrap();
    assert_eq!(
        shown,
        [
            "GET /v2/",
            "HEAD /v2/t/two/manifests/1",
            "GET /v2/t/two/manifests/sha256",
            "GET /v2/t/two/blobs/sha256",
            "GET /v2/t/two/blobs/sha256",
            "GET /v2/t/two/blobs/sha256",
        ]
    );
    assert_eq!(registry.count(&manifest(&format!("t/two@{digest}"))), 1);
    assert_eq!(registry.knocks(), 1, "https is tried first");
    // A request that follows at once may find the connection not yet given back.
    assert!((1..=2).contains(&registry.connections()), "connections are used again");
    let plain = Notice::PlainHttp { host: registry.host() };
    assert_eq!(site.notices(), [plain], "plain http is said once");
    let agent = requests[0].header("user-agent").unwrap();
    assert!(agent.starts_with("orlop/"), "{agent}");
}

#[tokio::test]
async fn a_second_session_knows_the_host() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = Site::new();
    for _ in 0..2 {
        site.sources(&registry, "a:1").resolve().await.unwrap();
    }
    assert_eq!(registry.count(&ping()), 1);
    assert_eq!(site.notices().len(), 2, "each session says that it uses plain http");
}

#[tokio::test]
async fn what_shared_work_is_told_is_passed_on_and_said_once() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = Site::new();
    let sources = site.sources(&registry, "a:1");
    sources.resolve().await.unwrap();
    let (sender, heard) = std::sync::mpsc::channel();
    let shared = sources.heard_by(move |notice| sender.send(notice).unwrap());
    shared.resolve().await.unwrap();
    let plain = Notice::PlainHttp { host: registry.host() };
    let heard: Vec<_> = heard.try_iter().collect();
    assert_eq!(heard, std::slice::from_ref(&plain), "also what the session knew before");
    let other = site.session();
    for _ in 0..2 {
        heard.iter().for_each(|notice| other.pass_on(notice.clone()));
        heard.iter().for_each(|notice| sources.session().pass_on(notice.clone()));
    }
    assert_eq!(site.notices(), [plain.clone(), plain], "once each session");
}

#[tokio::test]
async fn a_plain_registry_that_is_down_is_named_as_it_was_spoken_to() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = Site::new();
    let sources = site.sources(&registry, "a:1");
    sources.resolve().await.unwrap();
    let host = registry.host();
    drop(registry);
    let error = sources.resolve().await.unwrap_err();
    assert!(error.to_string().contains(&format!("http://{host}")), "{error}");
    // Nobody has ever spoken to it.
    let sources = Site::new().session().sources(vec![site::source(&host, "a:1")]);
    let error = sources.resolve().await.unwrap_err();
    assert!(error.to_string().contains(&format!("https://{host}")), "{error}");
}

#[tokio::test]
async fn a_registry_that_asks_for_nobody_is_told_no_password() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = Site::logged_in(&[(&registry.host(), "me", "hunter2")]);
    site::pull(&site.sources(&registry, "a:1")).await.unwrap();
    assert!(registry.requests().iter().all(|one| one.header("authorization").is_none()));
}

#[tokio::test]
async fn basic_is_sent_after_the_ping_has_asked_for_it() {
    let auth = Auth::Basic { user: "me".to_owned(), secret: "p:w".to_owned() };
    let registry = Registry::new().image("a:1", Image::tiny()).auth(auth).start();
    let site = Site::logged_in(&[(&registry.host(), "me", "p:w")]);

    site::pull(&site.sources(&registry, "a:1")).await.unwrap();

    assert_eq!(registry.count(&head("a:1")), 1);
    assert!(registry.requests()[0].header("authorization").is_none());
    assert_eq!(site.asked(), [format!("{}/a", registry.host())], "the login is looked up once");
}

#[tokio::test]
async fn a_wrong_password_is_refused_at_once_and_not_shown() {
    let auth = Auth::Basic { user: "me".to_owned(), secret: "right".to_owned() };
    let registry = Registry::new().image("a:1", Image::tiny()).auth(auth).start();
    let site = Site::logged_in(&[(&registry.host(), "me", "hunter2")]);

    let error = site.sources(&registry, "a:1").resolve().await.unwrap_err();

    assert!(matches!(error, Error::Refused { status: 401, .. }), "{error:?}");
    assert!(error.to_string().contains(r#"to user "me" (from auth.json)"#), "{error}");
    assert!(!format!("{error:?}{error}").contains("hunter2"));
    assert_eq!(registry.count(&head("a:1")), 1);
}

#[tokio::test]
async fn servers_that_fail_are_asked_five_times() {
    let failing = [Answer::Status(500), Answer::Status(502), Answer::Status(503), Answer::Close];
    let registry = Registry::new()
        .image("a:1", Image::tiny())
        .answer(head("a:1"), failing.into_iter().chain([Answer::Whole]))
        .start();
    site::pull(&Site::new().sources(&registry, "a:1")).await.unwrap();
    assert_eq!(registry.count(&head("a:1")), 5);

    registry.script(head("a:1"), [Answer::Status(503)]);
    registry.forget();
    let error = Site::new().sources(&registry, "a:1").resolve().await.unwrap_err();
    assert!(matches!(error, Error::Failed { status: 503, .. }), "{error:?}");
    assert_eq!(registry.count(&head("a:1")), 5);
}

#[tokio::test]
async fn answers_that_stay_are_not_asked_for_again() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    for status in [400, 501, 505] {
        registry.script(head("a:1"), [Answer::Status(status)]);
        registry.script(manifest("a:1"), [Answer::Status(status)]);
        registry.forget();
        let error = Site::new().sources(&registry, "a:1").resolve().await.unwrap_err();
        assert!(matches!(error, Error::Failed { .. }), "{status}: {error:?}");
        assert_eq!(registry.count(&head("a:1")), 1, "{status}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let error = Site::new().sources(&registry, "a:2").resolve().await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!("http://{} has no manifest a:2: manifest unknown", registry.host())
    );
}

#[tokio::test]
async fn a_retry_after_is_waited_for_and_told() {
    let wait = |value: &str| {
        Answer::With(429, vec![("Retry-After", value.to_owned())], b"slow down".to_vec())
    };
    let registry = Registry::new()
        .image("a:1", Image::tiny())
        .answer(head("a:1"), [wait("0"), Answer::Whole])
        .start();
    let site = Site::new();
    site.sources(&registry, "a:1").resolve().await.unwrap();
    assert_eq!(registry.count(&head("a:1")), 2);
    assert!(site.notices().iter().any(|notice| matches!(notice, Notice::Waiting { .. })));

    registry.script(head("a:1"), [wait("3600")]);
    registry.forget();
    let error = site.sources(&registry, "a:1").resolve().await.unwrap_err();
    let hour = Some(Duration::from_secs(3600));
    assert!(matches!(error, Error::Limited { retry_after, .. } if retry_after == hour));
    assert_eq!(registry.count(&head("a:1")), 1);
}

#[tokio::test]
async fn a_used_up_quota_is_not_waited_for() {
    let body = br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    let registry = Registry::new()
        .image("a:1", Image::tiny())
        .answer(head("a:1"), [Answer::Status(405)])
        .answer(manifest("a:1"), [Answer::With(429, Vec::new(), body.to_vec())])
        .start();
    let error = Site::new().sources(&registry, "a:1").resolve().await.unwrap_err();
    assert!(matches!(error, Error::Limited { is_quota: true, .. }), "{error:?}");
    assert!(error.to_string().ends_with("You have reached your pull rate limit."), "{error}");
    assert_eq!(registry.count(&manifest("a:1")), 1);
}

#[tokio::test]
async fn without_head_the_tag_is_fetched() {
    let registry = Registry::new()
        .image("a:1", Image::tiny())
        .answer(head("a:1"), [Answer::Status(405)])
        .start();
    let resolved = Site::new().sources(&registry, "a:1").resolve().await.unwrap();
    assert_eq!(resolved.digest.to_string(), registry.tag("a:1").unwrap().to_string());
    assert!(resolved.document.is_some());
}

#[tokio::test]
async fn other_bytes_than_the_digest_are_a_lie_and_not_asked_for_twice() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let by_digest = manifest(&format!("a@{}", registry.tag("a:1").unwrap()));
    registry.script(by_digest.clone(), [Answer::FlipBit(3)]);
    let error = site::manifest_of(&Site::new().sources(&registry, "a:1")).await.unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
    assert_eq!(registry.count(&by_digest), 1);
}

#[tokio::test]
async fn a_tag_that_moved_is_resolved_once_more() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let sources: Sources = Site::new().sources(&registry, "a:1");
    let resolved = sources.resolve().await.unwrap();
    let old = manifest(&format!("a@{}", registry.tag("a:1").unwrap()));
    registry.put("a:1", Image::two_layers());
    registry.script(old, [Answer::Status(404)]);

    let fetched = sources.fetch_top(&resolved).await.unwrap();

    assert_eq!(fetched.digest.to_string(), registry.tag("a:1").unwrap().to_string());
    assert_eq!(registry.count(&head("a:1")), 2);
}

#[tokio::test]
async fn a_document_beyond_its_limit_is_not_read() {
    let registry = Registry::new()
        .image("a:1", Image::tiny())
        .answer(head("a:1"), [Answer::Status(405)])
        .answer(manifest("a:1"), [Answer::Body(vec![b' '; (4 << 20) + 1])])
        .start();
    let error = Site::new().sources(&registry, "a:1").resolve().await.unwrap_err();
    assert!(matches!(error, Error::Limit { key: "manifest-bytes", .. }), "{error:?}");
    assert_eq!(registry.count(&manifest("a:1")), 1);
}

#[tokio::test]
async fn a_config_with_wrong_bytes_is_asked_for_once_more() {
    let registry = Registry::new()
        .image("a:1", Image::tiny())
        .answer(config(), [Answer::FlipBit(0), Answer::Whole])
        .start();
    site::pull(&Site::new().sources(&registry, "a:1")).await.unwrap();
    assert_eq!(registry.count(&config()), 2);

    registry.script(config(), [Answer::Longer(5)]);
    registry.forget();
    let error = site::pull(&Site::new().sources(&registry, "a:1")).await.unwrap_err();
    assert!(matches!(error, Error::SizeMismatch { .. }), "{error:?}");
    assert_eq!(registry.count(&config()), 2);
}

#[tokio::test]
async fn a_web_page_is_no_registry() {
    let page = vec![("Content-Type", "text/html".to_owned())];
    let registry = Registry::new().answer(any(), [Answer::With(404, page.clone(), Vec::new())]);
    let registry = registry.start();
    let error = Site::new().sources(&registry, "a:1").resolve().await.unwrap_err();
    assert!(matches!(error, Error::NotARegistry { .. }), "{error:?}");
    assert_eq!(registry.requests().len(), 1);

    let registry =
        Registry::new().answer(any(), [Answer::With(200, page, b"<html>welcome".to_vec())]).start();
    let error = Site::new().sources(&registry, "a:1").resolve().await.unwrap_err();
    assert!(matches!(error, Error::NotARegistry { .. }), "{error:?}");
}

#[tokio::test]
async fn nobody_at_the_port_is_unreachable() {
    let host = Registry::new().start().host();
    let sources = Site::new().session().sources(vec![site::source(&host, "a:1")]);
    let error = sources.resolve().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("no answer from https://{host}"));
}

#[tokio::test]
async fn a_private_authority_of_certs_d_is_trusted_and_others_are_not() {
    let identity = Identity::new(&["localhost"]);
    let registry = Registry::new().image("a:1", Image::tiny()).tls(&identity).start();
    let host = format!("localhost:{}", registry.port());
    let site = Site::new();
    let sources = || site.session().sources(vec![site::source(&host, "a:1")]);

    let error = sources().resolve().await.unwrap_err();
    assert!(
        matches!(&error, Error::Tls { why, .. } if why == "its issuer is not known"),
        "{error:?}"
    );

    let directory = site.home().join(".config/containers/certs.d").join(&host);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("ca.crt"), identity.ca_pem()).unwrap();
    sources().resolve().await.unwrap();
    assert_eq!(site.notices(), [], "https needs no warning");

    let file = site.home().join("roots.pem");
    std::fs::write(&file, identity.ca_pem()).unwrap();
    std::fs::remove_dir_all(directory).unwrap();
    let session = Site::new();
    let session = session.session_with(&[("SSL_CERT_FILE", file.to_str().unwrap())]);
    session.sources(vec![site::source(&host, "a:1")]).resolve().await.unwrap();
}

#[tokio::test]
async fn insecure_accepts_any_certificate_and_says_so() {
    let identity = Identity::new(&["other.example"]);
    let registry = Registry::new().image("a:1", Image::tiny()).tls(&identity).start();
    let mut source = site::source(&registry.host(), "a:1");
    source.insecure = true;
    let site = Site::new();
    site.session().sources(vec![source]).resolve().await.unwrap();
    assert_eq!(site.notices(), [Notice::Unverified { host: registry.host() }]);
}

#[tokio::test]
async fn no_https_asks_by_plain_http_alone() {
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let mut source = site::source(&registry.host(), "a:1");
    source.no_https = true;
    Site::new().session().sources(vec![source]).resolve().await.unwrap();
    assert_eq!(registry.knocks(), 0);
}

#[tokio::test]
async fn a_ping_that_leads_to_another_host_is_refused() {
    let other = Registry::new().image("a:1", Image::tiny()).start();
    let there = format!("http://{}/v2/", other.host());
    let registry = Registry::new().answer(ping(), [Answer::Redirect(301, there)]).start();
    let error = Site::new().sources(&registry, "a:1").resolve().await.unwrap_err();
    assert!(matches!(error, Error::Redirect { .. }), "{error:?}");
    assert_eq!((registry.requests().len(), other.requests().len()), (1, 0));

    let registry = Registry::new()
        .image("a:1", Image::tiny())
        .answer(ping(), [Answer::Redirect(301, "/v2/".to_owned()), Answer::Whole])
        .start();
    Site::new().sources(&registry, "a:1").resolve().await.unwrap();
    assert_eq!(registry.count(&ping()), 2);
}
