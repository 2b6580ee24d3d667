//! R133 to R142: a registry and its mirrors.
//!
//! The mirror is a second registry of the kit, named by the user's registries.conf. Not here: the
//! grammar of that file.

use crate::registry_rows::stage::{IMAGE, fatal};
use crate::world::{bare_site, bytes};
use orlop_kit::{
    Answer, Auth, Identity, Image, Layer, Outcome, Registry, Site, any, blobs, config, head, layer,
    manifest, until,
};
use std::net::TcpListener;

/// A registry, its mirror, and a user's world that knows of both.
struct Two {
    mirror: Registry,
    primary: Registry,
    identity: Identity,
    site: Site,
}

fn image() -> Image {
    Image::two_layers()
}

impl Two {
    /// Starts both, with the same image unless they have another one.
    fn new(mirror: Registry, primary: Registry) -> Self {
        let identity = Identity::new(&["127.0.0.1"]);
        let start = |registry: Registry| registry.tls(&identity).start();
        Self::with(start(mirror), start(primary), identity.clone())
    }

    fn with(mirror: Registry, primary: Registry, identity: Identity) -> Self {
        let site = site(&[&mirror, &primary], &identity, &conf(&primary, &[&mirror.host()], ""));
        Self { mirror, primary, identity, site }
    }

    /// Another world with a cold cache, and an empty log.
    fn begin(&mut self, conf: &str) {
        self.site = site(&[&self.mirror, &self.primary], &self.identity, conf);
        self.mirror.forget();
        self.primary.forget();
    }

    fn pull(&self) -> Outcome {
        self.site.orlop(["--debug", "pull", "a.sif", &self.primary.docker(IMAGE)])
    }

    /// Pulls, and checks that the bytes are those that the primary alone would give.
    #[track_caller]
    fn ok(&self, variant: &str) -> Outcome {
        let outcome = self.pull();
        assert!(outcome.status == 0, "{variant}: {}", outcome.report());
        let golden = self.primary.undisturbed(|| {
            let other = site(&[&self.primary], &self.identity, "");
            other.orlop(["pull", "a.sif", &self.primary.docker(IMAGE)]).success();
            bytes(&other, "a.sif")
        });
        assert!(bytes(&self.site, "a.sif") == golden, "{variant}: other bytes");
        outcome
    }

    #[track_caller]
    fn fails(&self, variant: &str, words: &str) -> Outcome {
        let outcome = self.pull();
        assert!(outcome.status == 255, "{variant}: {}", outcome.report());
        let rest = fatal(&outcome).strip_prefix("While making image from oci registry: ");
        let begins = rest.is_some_and(|rest| rest.starts_with(words));
        assert!(begins, "{variant}: {words:?} was expected: {}", outcome.report());
        assert!(self.site.tree(&self.site.work()).is_empty(), "{variant}");
        outcome
    }

    fn logs(&self) -> String {
        format!("mirror\n{}primary\n{}", self.mirror.log(), self.primary.log())
    }
}

/// What registries.conf says of the primary.
fn conf(primary: &Registry, mirrors: &[&str], more: &str) -> String {
    let mirrors: String = mirrors
        .iter()
        .map(|host| format!("[[registry.mirror]]\nlocation = \"{host}\"\n"))
        .collect();
    format!("[[registry]]\nlocation = \"{}\"\n{more}\n{mirrors}", primary.host())
}

fn site(registries: &[&Registry], identity: &Identity, conf: &str) -> Site {
    let site = bare_site().env("ORLOP_LIMITS_BACKOFF", "10ms");
    let site = registries
        .iter()
        .fold(site, |site, registry| site.watch(registry).trust(identity, &registry.host()));
    if !conf.is_empty() {
        site.write_home(".config/containers/registries.conf", conf.as_bytes());
    }
    site
}

fn both() -> Two {
    Two::new(Registry::new().image(IMAGE, image()), Registry::new().image(IMAGE, image()))
}

#[test]
fn r133_a_mirror_that_lies_is_passed_over_and_named() {
    let mut two = both();
    let digest = image().build().digest();
    let by_digest = format!("t/two@{digest}");
    two.mirror.script(manifest(&by_digest), [Answer::FlipBit(20)]);
    let outcome = two.ok("manifest");
    let named = format!("{}/t/two failed", two.mirror.host());
    let warned = |outcome: &Outcome| {
        outcome.stderr.lines().any(|line| line.starts_with("WARNING") && line.contains(&named))
    };
    assert!(warned(&outcome), "{}", outcome.report());
    assert_eq!(two.mirror.count(&manifest(&by_digest)), 1, "{}", two.logs());
    assert_eq!(two.primary.count(&manifest(&by_digest)), 1, "{}", two.logs());

    two.mirror.script(manifest(&by_digest), [Answer::Whole]);
    two.mirror.script(layer(1), [Answer::FlipBit(1_000_000)]);
    let conf = conf(&two.primary, &[&two.mirror.host()], "");
    two.begin(&conf);
    let outcome = two.ok("layer");
    assert!(warned(&outcome), "{}", outcome.report());
    assert_eq!(two.mirror.ranges(&layer(1)), ["", ""], "{}", two.logs());
    assert_eq!(two.primary.ranges(&layer(1)), [""], "{}", two.logs());
}

#[test]
fn r134_a_mirror_that_cannot_be_reached_is_tried_last_afterwards() {
    let mut two = both();
    // Nobody accepts: the greeting is swallowed.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let gone = Registry::new().start().host();
    for (variant, host) in
        [("refuses", gone), ("swallows", silent.local_addr().unwrap().to_string())]
    {
        let conf = conf(&two.primary, &[&host], "");
        two.begin(&conf);
        two.site = std::mem::replace(&mut two.site, bare_site())
            .env("ORLOP_LIMITS_MIRROR_CONNECT_TIME", "200ms")
            .env("ORLOP_LIMITS_MIRROR_HEADER_TIME", "200ms");
        let outcome = two.ok(variant);
        assert!(outcome.stderr.contains(&format!("{host}/t/two failed")), "{}", outcome.report());
        let knocks = || std::iter::from_fn(|| silent.accept().ok()).count();
        let first = knocks();
        assert_eq!(first > 0, variant == "swallows", "{first}");

        std::fs::remove_file(two.site.work().join("a.sif")).unwrap();
        let outcome = two.pull().success();
        assert!(!outcome.stderr.contains(&host), "{variant}: {}", outcome.report());
        assert_eq!(knocks(), 0, "{variant}: {}", two.logs());
    }
}

#[test]
fn r135_a_mirror_that_fails_costs_one_attempt() {
    let mut two = both();
    let page = || {
        let html = vec![("Content-Type", "text/html".to_owned())];
        Answer::With(200, html, b"<html><title>Welcome</title>".to_vec())
    };
    let everything = [
        Answer::Status(401),
        Answer::Status(403),
        Answer::Status(404),
        Answer::Status(500),
        Answer::Status(429),
        page(),
    ];
    for answer in everything {
        let variant = format!("{answer:?}");
        let conf = conf(&two.primary, &[&two.mirror.host()], "");
        two.begin(&conf);
        two.mirror.script(any(), [answer]);
        let outcome = two.ok(&variant);
        let line = format!("{}/t/two failed", two.mirror.host());
        assert_eq!(outcome.stderr.matches(&line).count(), 1, "{variant}: {}", outcome.report());
        let seen = two.mirror.requests();
        let most = if variant.contains("html") { 3 } else { 1 };
        assert!((1..=most).contains(&seen.len()), "{variant}: {}", two.logs());
        assert_eq!(two.primary.requests().len(), 6, "{variant}: {}", two.logs());
    }
}

#[test]
fn r135_each_step_at_a_mirror_has_one_attempt() {
    let mut two = both();
    let by_digest = format!("t/two@{}", image().build().digest());
    for status in [401, 403, 404, 500, 503, 429] {
        for route in [head(IMAGE), manifest(&by_digest), config(), layer(1)] {
            let variant = format!("{status} {route:?}");
            let conf = conf(&two.primary, &[&two.mirror.host()], "");
            two.begin(&conf);
            two.mirror.script(route.clone(), [Answer::Status(status)]);
            let outcome = two.pull();
            assert!(outcome.status == 0, "{variant}: {}", outcome.report());
            assert_eq!(two.mirror.count(&route), 1, "{variant}: {}", two.logs());
            assert_eq!(two.primary.count(&route), 1, "{variant}: {}", two.logs());
            two.mirror.script(route, [Answer::Whole]);
        }
    }
}

#[test]
fn r135_a_mirror_with_a_wrong_certificate_is_passed_over() {
    let identity = Identity::new(&["127.0.0.1"]);
    let stranger = Identity::new(&["127.0.0.1"]);
    let mirror = Registry::new().image(IMAGE, image()).tls(&stranger).start();
    let primary = Registry::new().image(IMAGE, image()).tls(&identity).start();
    let two = Two::with(mirror, primary, identity);
    let outcome = two.ok("unknown issuer");
    assert!(outcome.stderr.contains("its issuer is not known"), "{}", outcome.report());
    assert_eq!(two.mirror.requests().len(), 0, "{}", two.logs());
    assert_eq!(two.primary.requests().len(), 6, "{}", two.logs());
}

#[test]
fn r136_an_older_tag_of_a_mirror_is_what_is_pulled() {
    let older = Image::tiny().layer(Layer::noise("older", 1000, 8));
    let digest = older.build().digest();
    let mirror = Registry::new().image(IMAGE, older.clone());
    let two = Two::new(mirror, Registry::new().image(IMAGE, image()));
    let outcome = two.pull().success();
    assert!(outcome.stderr.contains(&digest.to_string()), "{}", outcome.report());
    assert_eq!(two.primary.requests().len(), 0, "{}", two.logs());

    let host = two.mirror.host();
    let tag = until("the tag is remembered", || {
        let paths = two.site.tree(&two.site.cache());
        let mut tags = paths.iter().filter(|path| path.starts_with("tags/"));
        let tag = tags.find(|path| !path.ends_with('/')).ok_or("there is none")?;
        std::fs::read_to_string(two.site.cache().join(tag)).map_err(|cause| cause.to_string())
    });
    for words in [digest.to_string(), format!("{host}/t/two")] {
        assert!(tag.contains(&words), "{words} is not in {tag}");
    }
    let sif = bytes(&two.site, "a.sif");
    let is_there = |words: &str| sif.windows(words.len()).any(|part| part == words.as_bytes());
    assert!(!is_there(&host), "the SIF names the mirror");
    assert!(is_there(&two.primary.host()), "the SIF does not have the name that was typed");
}

#[test]
fn r137_a_layer_that_a_mirror_cuts_is_gone_on_with_at_the_primary() {
    let two = both();
    two.mirror.script(layer(1), [Answer::CutAfter(500_000), Answer::Close]);
    two.ok("cut");
    assert_eq!(two.mirror.count(&layer(1)), 1, "{}", two.logs());
    assert_eq!(two.primary.ranges(&layer(1)), ["bytes=500000-"], "{}", two.logs());
}

#[test]
fn r138_blobs_that_a_mirror_lacks_come_from_the_primary() {
    let two = both();
    two.mirror.script(blobs(), [Answer::Status(404)]);
    two.ok("no blobs");
    assert_eq!(two.mirror.count(&blobs()), 3, "{}", two.logs());
    assert_eq!(two.primary.count(&blobs()), 3, "{}", two.logs());
    assert_eq!(two.primary.count(&head(IMAGE)), 0, "{}", two.logs());
}

#[test]
fn r139_credentials_of_the_primary_reach_neither_a_mirror_nor_its_realm() {
    let secret = "canary-9b27";
    let auth = || Auth::Bearer {
        user: "reader".to_owned(),
        secret: secret.to_owned(),
        anonymous_pull: false,
    };
    let basic = || Auth::Basic { user: "reader".to_owned(), secret: secret.to_owned() };
    for (variant, auth) in [("bearer", auth()), ("basic", basic())] {
        let mirror = Registry::new().image(IMAGE, image()).auth(auth.clone());
        let two = Two::new(mirror, Registry::new().image(IMAGE, image()).auth(auth.clone()));
        let words = ["--debug", "pull", "a.sif"];
        let uri = two.primary.docker(IMAGE);
        let run = two.site.run(words.into_iter().chain([uri.as_str()]));
        let run = run.env("ORLOP_DOCKER_USERNAME", "reader").env("ORLOP_DOCKER_PASSWORD", secret);
        run.outcome().success();
        assert!(!two.mirror.requests().is_empty(), "{}", two.logs());
        for request in two.mirror.requests() {
            let told = request.header("authorization").unwrap_or_default();
            assert!(!told.starts_with("Basic"), "{variant}: {request}");
            let text = format!("{request:?}");
            assert!(!text.contains(secret) && !text.contains("reader"), "{variant}: {text}");
        }

        // What is stored for the mirror's own name is used there.
        let mut two = two;
        let conf = conf(&two.primary, &[&two.mirror.host()], "");
        two.begin(&conf);
        let login = ["registry", "login", "--username", "reader", "--password-stdin"];
        let host = format!("docker://{}", two.mirror.host());
        let login = two.site.run(login.into_iter().chain([host.as_str()]));
        login.input(secret).outcome().success();
        two.pull().success();
        assert_eq!(two.primary.requests().len(), 0, "{variant}: {}", two.logs());
    }
}

#[test]
fn r140_a_blocked_primary_is_never_asked() {
    let mut two = both();
    two.mirror.script(any(), [Answer::Status(404)]);
    let conf = conf(&two.primary, &[&two.mirror.host()], "blocked = true");
    two.begin(&conf);
    let outcome = two.fails("blocked", "blocked by registries.conf");
    let line = format!("{}/t/two failed", two.mirror.host());
    assert!(outcome.stderr.contains(&line), "{}", outcome.report());
    assert_eq!(two.primary.requests().len(), 0, "{}", two.logs());
    assert_eq!(two.primary.connections(), 0, "{}", two.logs());
}

#[test]
fn r141_where_all_fail_the_primarys_error_comes_first() {
    let mut two = both();
    two.mirror.script(any(), [Answer::Status(500)]);
    two.primary.script(head(IMAGE), [Answer::Status(404)]);
    let gone = Registry::new().start().host();
    let conf = conf(&two.primary, &[&two.mirror.host(), &gone], "");
    two.begin(&conf);
    let run = ["pull", "a.sif", &two.primary.docker(IMAGE)];
    let outcome = two.site.orlop(run).fails(255);
    assert!(fatal(&outcome).contains("not found:"), "{}", outcome.report());
    assert!(fatal(&outcome).contains(&two.primary.host()), "{}", outcome.report());
    for host in [two.mirror.host(), gone] {
        let named = |line: &&str| line.contains(&format!("{host}/t/two failed"));
        let lines: Vec<&str> = outcome.stderr.lines().filter(named).collect();
        assert_eq!(lines.len(), 1, "{host}: {}", outcome.report());
        let before = |word: &str| outcome.stderr.find(word).unwrap();
        assert!(before("FATAL") < before(lines[0]), "{}", outcome.report());
    }
}

#[test]
fn r142_a_mirror_may_redirect_to_the_primary_but_takes_no_credentials_there() {
    let secret = "canary-77aa";
    let two = both();
    let digest = two.primary.layer_digest(1).unwrap();
    let there = format!("https://{}/v2/t/two/blobs/{digest}", two.primary.host());
    two.mirror.script(layer(1), [Answer::Redirect(307, there)]);
    let uri = two.primary.docker(IMAGE);
    let run = two.site.run(["pull", "a.sif", &uri]);
    let run = run.env("ORLOP_DOCKER_USERNAME", "reader").env("ORLOP_DOCKER_PASSWORD", secret);
    run.outcome().success();
    let came = two.primary.requests();
    assert_eq!(came.len(), 1, "{}", two.logs());
    assert_eq!(came[0].header("authorization"), None, "{}", two.logs());
}

/// What registries.conf says of the primary with a mirror that is told whom it stands for.
fn conf_with_namespace(two: &Two) -> String {
    conf(&two.primary, &[&two.mirror.host()], "") + "orlop-ns = true\n"
}

/// The query of a request.
fn query(target: &str) -> &str {
    target.split_once('?').map_or("", |(_, query)| query)
}

#[test]
fn a_mirror_that_asks_for_it_is_told_the_named_host_with_each_manifest_and_blob() {
    let mut two = both();
    let conf = conf_with_namespace(&two);
    two.begin(&conf);
    let outcome = two.ok("told");
    assert!(!outcome.stderr.contains("unknown keys"), "{}", outcome.report());
    let namespace = format!("ns={}", two.primary.host().replace(':', "%3A"));
    let asked = two.mirror.requests();
    let mut asked: Vec<_> = asked.iter().filter(|request| request.target != "/v2/").collect();
    // HEAD and GET of the manifest, the config, two layers.
    assert_eq!(asked.len(), 5, "{}", two.logs());
    asked.retain(|request| query(&request.target) != namespace);
    assert!(asked.is_empty(), "{asked:?}");

    // Without the key nobody is told.
    let conf = self::conf(&two.primary, &[&two.mirror.host()], "");
    two.begin(&conf);
    two.ok("not told");
    assert!(!two.mirror.requests().is_empty(), "{}", two.logs());
    assert!(!two.logs().contains("ns="), "{}", two.logs());
}

#[test]
fn a_mirror_that_is_told_the_named_host_gets_no_login_of_that_host() {
    let secret = "canary-51c3";
    let auth = || Auth::Basic { user: "reader".to_owned(), secret: secret.to_owned() };
    let mut two = Two::new(
        Registry::new().image(IMAGE, image()).auth(auth()),
        Registry::new().image(IMAGE, image()).auth(auth()),
    );
    let conf = conf_with_namespace(&two);
    two.begin(&conf);
    let uri = two.primary.docker(IMAGE);
    let run = two.site.run(["pull", "a.sif", uri.as_str()]);
    let run = run.env("ORLOP_DOCKER_USERNAME", "reader").env("ORLOP_DOCKER_PASSWORD", secret);
    run.outcome().success();
    assert!(!two.mirror.requests().is_empty(), "{}", two.logs());
    for request in two.mirror.requests() {
        assert_eq!(request.header("authorization"), None, "{request}");
    }
    // The registry itself is not told its own name.
    assert!(!two.primary.requests().is_empty(), "{}", two.logs());
    assert!(two.primary.requests().iter().all(|request| query(&request.target).is_empty()));
}
