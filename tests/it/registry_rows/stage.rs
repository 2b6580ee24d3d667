//! A stage: one registry, and users' worlds that can be had anew for each variant of a row.
//!
//! `ok` is exit status 0 and the bytes of an undisturbed pull; a failure is status 255, the first
//! words of its kind and no output file. Not here: what the rows are.

use crate::world::{bare_site, bytes};
use orlop_kit::{Answer, Identity, Image, Outcome, Registry, Route, Site};
use std::cell::OnceCell;

/// What every row pulls: one manifest, one config, two gzip layers.
pub(super) const IMAGE: &str = "t/two:1";

/// Limits under which a test waits for milliseconds where a user waits for seconds.
const QUICK: [(&str, &str); 2] =
    [("ORLOP_LIMITS_BACKOFF", "10ms"), ("ORLOP_LIMITS_STALL_TIME", "300ms")];

/// One registry, a user's world, and the bytes that an undisturbed pull gives.
pub(super) struct Stage {
    pub(super) registry: Registry,
    pub(super) site: Site,
    identity: Identity,
    env: Vec<(String, String)>,
    expected: OnceCell<Vec<u8>>,
}

impl Stage {
    /// Starts the registry, with [`IMAGE`] and TLS.
    pub(super) fn new(registry: Registry) -> Self {
        Self::of(registry.image(IMAGE, Image::two_layers()))
    }

    /// Like [`Stage::new`], with the image that the registry has been given under that name.
    pub(super) fn of(registry: Registry) -> Self {
        let identity = Identity::new(&["127.0.0.1"]);
        let registry = registry.tls(&identity).start();
        Self::with(registry, identity)
    }

    /// With a registry that runs, and what its certificate is of.
    pub(super) fn with(registry: Registry, identity: Identity) -> Self {
        let env = QUICK.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let site = dressed(&registry, &identity, &env);
        Self { registry, site, identity, env, expected: OnceCell::new() }
    }

    /// Sets a variable for all commands, such as a limit.
    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self.site = self.site.env(name, value);
        self
    }

    /// Begins anew: another world with a cold cache, an empty log, and these answers.
    pub(super) fn begin(&mut self, route: Route, answers: impl IntoIterator<Item = Answer>) {
        self.site = dressed(&self.registry, &self.identity, &self.env);
        self.registry.forget();
        self.registry.script(route, answers);
    }

    /// What is pulled.
    pub(super) fn uri(&self) -> String {
        self.registry.docker(IMAGE)
    }

    /// Pulls [`IMAGE`] into `a.sif`.
    pub(super) fn pull(&self) -> Outcome {
        self.site.orlop(["pull", "a.sif", &self.uri()])
    }

    /// Pulls, and checks that it is `ok`.
    #[track_caller]
    pub(super) fn ok(&self, variant: &str) -> Outcome {
        let outcome = self.pull();
        assert!(outcome.status == 0, "{variant}: {}", outcome.report());
        let is_same = bytes(&self.site, "a.sif") == *self.expected.get_or_init(|| self.golden());
        assert!(is_same, "{variant}: other bytes than those of an undisturbed pull");
        outcome
    }

    /// Pulls, and checks that it fails with these first words and leaves no file.
    #[track_caller]
    pub(super) fn fails(&self, variant: &str, words: &str) -> Outcome {
        self.failed(variant, self.pull(), words)
    }

    /// The checks of [`Stage::fails`] on a pull that has ended.
    #[track_caller]
    pub(super) fn failed(&self, variant: &str, outcome: Outcome, words: &str) -> Outcome {
        assert!(outcome.status == 255, "{variant}: {}", outcome.report());
        let fatal = fatal(&outcome);
        let rest = fatal.strip_prefix("While making image from oci registry: ");
        let begins = rest.is_some_and(|rest| rest.starts_with(words));
        assert!(begins, "{variant}: {words:?} was expected: {}", outcome.report());
        let left = self.site.tree(&self.site.work());
        assert!(left.is_empty(), "{variant}: {left:?}");
        let recipes = self.cached("recipes/");
        assert!(recipes.is_empty(), "{variant}: {recipes:?}");
        outcome
    }

    /// Files of the cache below this directory, such as `partial/`.
    pub(super) fn cached(&self, below: &str) -> Vec<String> {
        let mut paths = self.site.tree(&self.site.cache());
        paths.retain(|path| path.starts_with(below) && !path.ends_with('/'));
        paths
    }

    /// Most memory that the daemon has had, in KiB.
    pub(super) fn peak(&self) -> u64 {
        let pid = self.site.daemons().into_iter().next().expect("a daemon runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Requests of a route.
    #[track_caller]
    pub(super) fn counts(&self, variant: &str, route: &Route, wanted: usize) {
        let log = self.registry.log();
        assert_eq!(self.registry.count(route), wanted, "{variant}: {route:?} of\n{log}");
    }

    /// The `Range` headers of a route.
    #[track_caller]
    pub(super) fn ranges(&self, variant: &str, route: &Route, wanted: &[&str]) {
        assert_eq!(self.registry.ranges(route), wanted, "{variant}: {}", self.registry.log());
    }

    /// The bytes of a pull without faults, by somebody else; its requests are not counted.
    fn golden(&self) -> Vec<u8> {
        self.registry.undisturbed(|| {
            let other = dressed(&self.registry, &self.identity, &self.env);
            other.orlop(["pull", "a.sif", &self.uri()]).success();
            bytes(&other, "a.sif")
        })
    }
}

/// A world that trusts the registry.
fn dressed(registry: &Registry, identity: &Identity, env: &[(String, String)]) -> Site {
    let site = bare_site().watch(registry).trust(identity, &registry.host());
    env.iter().fold(site, |site, (name, value)| site.env(name, value))
}

/// What the line that begins with `FATAL` says.
pub(super) fn fatal(outcome: &Outcome) -> &str {
    let line = outcome.stderr.lines().find_map(|line| line.strip_prefix("FATAL:"));
    line.unwrap_or_default().trim_start()
}
