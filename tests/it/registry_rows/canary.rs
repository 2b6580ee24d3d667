//! Canaries: secrets whose every trace is looked for.
//!
//! A registry, its mirror and a proxy each have a secret of their own; a storage host has none.
//! Whatever is done, each secret is found in requests to its own host and in the credential file,
//! and nowhere else: not at another host, not in a command line or an environment, not in what is
//! printed, logged or kept. Not here: how credentials are chosen (`login.rs`, `mirrors.rs`).

use crate::world::bare_site;
use orlop_kit::proxy::{Manner, Proxy};
use orlop_kit::{
    Answer, Auth, Identity, Image, Outcome, Registry, Site, layer, own_network, ping, token,
};
use std::net::Ipv4Addr;
use std::path::Path;

const USER: &str = "reader";
const NAMES: [&str; 3] = ["registry.example", "mirror.example", "cdn.example"];
const HOSTS: &str = "93.184.216.34 registry.example\n93.184.216.35 mirror.example\n\
    93.184.216.36 cdn.example";
const ADDRESSES: [&str; 4] =
    ["93.184.216.34/32", "93.184.216.35/32", "93.184.216.36/32", "10.1.2.3/32"];

/// A secret in all forms in which it could travel.
struct Canary {
    plain: &'static str,
    forms: Vec<String>,
}

impl Canary {
    fn new(plain: &'static str) -> Self {
        let pair = format!("{USER}:{plain}");
        // A secret of digits, letters and a slash: the slash changes where it is escaped.
        let escaped = plain.replace('/', "%2F");
        let json = plain.replace('/', "\\/");
        let forms =
            vec![plain.to_owned(), escaped.to_lowercase(), escaped, json, base64(pair.as_bytes())];
        Self { plain, forms }
    }

    fn is_in(&self, text: &str) -> bool {
        self.forms.iter().any(|form| text.contains(form))
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let number = part.iter().fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
        let number = number << (8 * (3 - part.len()));
        for at in 0..4 {
            let digit = DIGITS[(number >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= part.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// Everything of a registry's log that a client sent.
fn received(registry: &Registry) -> Vec<u8> {
    let requests = registry.requests();
    let text = requests.iter().map(|one| format!("{} {:?}\n", one.target, one.headers));
    text.collect::<String>().into_bytes()
}

#[track_caller]
fn is_nowhere(what: &str, bytes: &[u8], canaries: &[&Canary]) {
    let text = String::from_utf8_lossy(bytes);
    for canary in canaries {
        assert!(!canary.is_in(&text), "{} is in {what}: {text}", canary.plain);
    }
}

/// Command lines and environments of all that runs in the site now.
#[track_caller]
fn processes_are_clean(site: &Site, canaries: &[&Canary]) {
    let running = site.processes();
    assert!(running.len() >= 2, "client and daemon run: {running:?}");
    for pid in running {
        for file in ["cmdline", "environ"] {
            let path = format!("/proc/{pid}/{file}");
            is_nowhere(&path, &std::fs::read(&path).unwrap_or_default(), canaries);
        }
    }
}

/// All files of the site but those that may hold secrets.
#[track_caller]
fn files_are_clean(site: &Site, allowed: &[&str], canaries: &[&Canary]) {
    for path in site.tree(site.root()).iter().filter(|path| !path.ends_with('/')) {
        if !allowed.contains(&path.as_str()) {
            let bytes = std::fs::read(site.root().join(Path::new(path))).unwrap_or_default();
            is_nowhere(path, &bytes, canaries);
        }
    }
}

#[track_caller]
fn says_nothing(outcome: &Outcome, canaries: &[&Canary]) {
    is_nowhere(&outcome.line, outcome.stdout.as_bytes(), canaries);
    is_nowhere(&outcome.line, outcome.stderr.as_bytes(), canaries);
}

/// What is there in every test: a registry and a mirror that want a login each, storage, and a
/// proxy.
struct World {
    registry: Registry,
    mirror: Registry,
    cdn: Registry,
    proxy: Proxy,
    site: Site,
    of_registry: Canary,
    of_mirror: Canary,
    of_proxy: Canary,
}

const IMAGE: &str = "t/two:1";

impl World {
    fn new() -> Self {
        let [of_registry, of_mirror, of_proxy] =
            ["canary/1registry", "canary/2mirror", "canary3proxy"].map(Canary::new);
        let identity = Identity::new(&NAMES);
        let start = |index: usize, auth: Auth| {
            let at = Ipv4Addr::new(93, 184, 216, [34, 35, 36][index]);
            let registry = Registry::new().image(IMAGE, Image::two_layers()).auth(auth).at(at);
            registry.named(NAMES[index]).tls(&identity).start()
        };
        let bearer = |canary: &Canary| Auth::Bearer {
            user: USER.to_owned(),
            secret: canary.plain.to_owned(),
            anonymous_pull: false,
        };
        let registry = start(0, bearer(&of_registry));
        let mirror = start(1, bearer(&of_mirror));
        let cdn = start(2, Auth::Anonymous);
        let proxy = format!("Basic {}", base64(format!("{USER}:{}", of_proxy.plain).as_bytes()));
        let proxy = Proxy::start(Ipv4Addr::new(10, 1, 2, 3), Manner::Authorized(proxy));
        let site = [&registry, &mirror, &cdn]
            .into_iter()
            .fold(bare_site(), |site, one| site.watch(one).trust(&identity, &one.host()));
        let site = site.env("ORLOP_LOG", "debug").env("ORLOP_LIMITS_BACKOFF", "10ms");
        let conf = format!(
            "[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}\"\n",
            registry.host(),
            mirror.host()
        );
        site.write_home(".config/containers/registries.conf", conf.as_bytes());
        Self { registry, mirror, cdn, proxy, site, of_registry, of_mirror, of_proxy }
    }

    fn all(&self) -> [&Canary; 3] {
        [&self.of_registry, &self.of_mirror, &self.of_proxy]
    }

    fn login(&self, registry: &Registry, secret: &str) -> Outcome {
        let uri = format!("docker://{}", registry.host());
        let words = ["--debug", "registry", "login", "--username", USER, "--password-stdin", &uri];
        self.site.run(words).input(secret).outcome()
    }

    /// Each host has seen its own secret at most.
    #[track_caller]
    fn hosts_are_clean(&self) {
        let (registry, mirror) = (&self.of_registry, &self.of_mirror);
        let proxy = &self.of_proxy;
        is_nowhere("the registry", &received(&self.registry), &[mirror, proxy]);
        is_nowhere("the mirror", &received(&self.mirror), &[registry, proxy]);
        is_nowhere("the storage", &received(&self.cdn), &[registry, mirror, proxy]);
        for request in self.cdn.requests() {
            assert_eq!(request.header("authorization"), None, "{request}");
        }
        let heads = self.proxy.heads().concat();
        is_nowhere("the proxy", heads.as_bytes(), &[registry, mirror]);
    }
}

#[test]
fn a_secret_stays_with_its_host_and_in_the_credential_file() {
    own_network(&ADDRESSES, HOSTS, || {
        let world = World::new();
        for (registry, canary) in
            [(&world.registry, &world.of_registry), (&world.mirror, &world.of_mirror)]
        {
            let outcome = world.login(registry, canary.plain).success();
            says_nothing(&outcome, &world.all());
        }
        // The mirror serves one layer from storage and fails in the middle of the other.
        let there = |number: usize| {
            let digest = world.cdn.layer_digest(number).unwrap();
            Answer::Redirect(307, format!("https://{}/v2/t/two/blobs/{digest}", world.cdn.host()))
        };
        world.mirror.script(layer(0), [there(0)]);
        world.mirror.script(layer(1), [Answer::CutAfter(500_000), Answer::Status(500)]);
        world.registry.script(layer(1), [there(1)]);
        let gate = world.cdn.gate(layer(0));
        let uri = world.registry.docker(IMAGE);
        let pull = world.site.run(["--debug", "pull", "a.sif", &uri]).start();
        gate.arrived(1);
        processes_are_clean(&world.site, &world.all());
        gate.open();
        says_nothing(&pull.outcome().success(), &world.all());
        assert!(!world.cdn.requests().is_empty(), "{}", world.cdn.log());

        let place = world.registry.oras("sifs/a:1");
        let push = world.site.orlop(["--debug", "push", "a.sif", &place]).success();
        says_nothing(&push, &world.all());

        world.hosts_are_clean();
        let allowed = ["home/.docker/config.json"];
        files_are_clean(&world.site, &allowed, &world.all());
        // What the login brought is a secret of the same host.
        let file = world.site.read_home(".docker/config.json").unwrap();
        let json: serde_json::Value = serde_json::from_str(&file).unwrap();
        for (registry, others) in
            [(&world.registry, &world.mirror), (&world.mirror, &world.registry)]
        {
            let token = json["auths"][registry.host()]["identitytoken"].as_str().unwrap();
            let token = Canary { plain: "the token", forms: vec![token.to_owned()] };
            assert!(token.is_in(&file));
            is_nowhere("another registry", &received(others), &[&token]);
            is_nowhere("the storage", &received(&world.cdn), &[&token]);
            files_are_clean(&world.site, &allowed, &[&token]);
        }
    });
}

#[test]
fn a_secret_that_is_refused_is_told_to_nobody() {
    own_network(&ADDRESSES, HOSTS, || {
        let world = World::new();
        let wrong = Canary::new("canary/4wrong");
        let bearer = format!("Bearer {}", wrong.plain);
        let echo = format!(
            r#"{{"errors":[{{"code":"UNAUTHORIZED","message":"no","detail":"{bearer} {}"}}]}}"#,
            base64(format!("{USER}:{}", wrong.plain).as_bytes())
        );
        world.registry.script(token(), [Answer::With(401, Vec::new(), echo.into())]);
        let outcome = world.login(&world.registry, wrong.plain).fails(255);
        says_nothing(&outcome, &[&wrong]);
        assert!(received(&world.registry).len() > 10, "{}", world.registry.log());

        // By flags and by the environment: the client's own, which nobody else is given.
        let uri = world.registry.docker(IMAGE);
        let run = world.site.run(["--debug", "pull", "a.sif", &uri]);
        let run = run.env("ORLOP_DOCKER_USERNAME", USER).env("ORLOP_DOCKER_PASSWORD", wrong.plain);
        says_nothing(&run.outcome().fails(255), &[&wrong]);
        for pid in world.site.daemons() {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
            is_nowhere("the daemon's environment", &environ, &[&wrong]);
        }
        is_nowhere("the mirror", &received(&world.mirror), &[&wrong]);
        files_are_clean(&world.site, &[], &[&wrong]);
        assert_eq!(world.site.read_home(".docker/config.json"), None);
    });
}

#[test]
fn secrets_of_proxies_and_registries_do_not_meet() {
    own_network(&ADDRESSES, HOSTS, || {
        let world = World::new();
        let address = world.proxy.host();
        let proxy = format!("http://{USER}:{}@{address}", world.of_proxy.plain);
        let uri = world.registry.docker(IMAGE);
        let pull = |proxy: &str| {
            let run = world.site.run(["--debug", "pull", "--force", "a.sif", &uri]);
            run.env("HTTPS_PROXY", proxy)
                .env("ORLOP_DOCKER_USERNAME", USER)
                .env("ORLOP_DOCKER_PASSWORD", world.of_registry.plain)
                .outcome()
        };
        says_nothing(&pull(&proxy).success(), &world.all());
        assert!(!world.proxy.heads().is_empty());
        world.hosts_are_clean();
        assert!(world.registry.count(&ping()) > 0, "{}", world.registry.log());

        let wrong = format!("http://{USER}:{}x@{address}", world.of_proxy.plain);
        says_nothing(&pull(&wrong), &world.all());
        for pid in world.site.daemons() {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
            is_nowhere("the daemon's environment", &environ, &world.all());
        }
        files_are_clean(&world.site, &[], &world.all());
    });
}
