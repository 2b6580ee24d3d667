//! Every system call of a command refused in turn (row F29): it ends well or says what was refused
//! where, within ten seconds, everything is whole afterwards, no blob is fetched whole that was
//! published before, and no container sees credentials. A few positions of each command, spread over
//! all; as many as `ORLOP_KIT_ROUNDS` says, and all of them with each error for 0.

use crate::world::{SECRET, basic, bytes, site};
use orlop_kit::faults::{Hit, Position, Positions, Rule};
use orlop_kit::{Faults, Image, Outcome, Registry, Route, Site, config, layer, tools};
use rustix::io::Errno;
use std::cell::Cell;
use std::time::{Duration, Instant};

const ERRORS: [Errno; 9] = [
    Errno::NOSPC,
    Errno::IO,
    Errno::DQUOT,
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOMEM,
    Errno::INTR,
    Errno::AGAIN,
    Errno::ACCESS,
];

/// Positions that a command gets in a normal run.
const FEW: u64 = 5;

/// How many positions a command gets.
fn some() -> Positions {
    match tools::rounds(FEW) {
        0 => Positions::All,
        count => Positions::About(count),
    }
}

/// Whether as many are tried as somebody asked for.
fn is_long() -> bool {
    tools::rounds(FEW) != FEW
}

struct World {
    faults: Faults,
    registry: Registry,
    site: Site,
    /// What an undisturbed pull leaves in the cache of the image's one layer, and of its documents.
    published: [Vec<String>; 2],
    image: String,
    golden: Vec<u8>,
}

fn world() -> Option<World> {
    world_with(&[])
}

/// A site that knows these registries too, and has pulled an image.
fn world_with(others: &[&Registry]) -> Option<World> {
    if !Faults::possible() {
        return None;
    }
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let faults = Faults::of_all_calls();
    let site = others.iter().fold(site(&registry), |site, other| site.insecure(other));
    let site = site.under(&faults);
    let image = registry.docker("a:1");
    site.orlop(["pull", "golden.sif", &image]).success();
    let golden = bytes(&site, "golden.sif");
    let published = ["segments/", "blobs/"].map(|directory| {
        let mut paths = site.tree(&site.cache());
        paths.retain(|path| path.starts_with(directory) && !path.ends_with('/'));
        paths
    });
    assert!(published.iter().all(|paths| paths.len() == 2), "{published:?}");
    Some(World { faults, registry, site, published, image, golden })
}

impl World {
    /// Runs `orlop` with this on standard input, and kills it after twelve seconds.
    fn orlop(&self, words: &[&str], input: &str) -> Outcome {
        let orlop = self.site.programs().orlop.display().to_string();
        let timeout = tools::find("timeout").expect("coreutils are there");
        let words = ["-s", "KILL", "12", &orlop].into_iter().chain(words.iter().copied());
        self.site.program(&timeout, words).input(input).outcome()
    }

    /// Whether the cache has the layer, and the config.
    fn has(&self) -> [bool; 2] {
        let is_there = |path: &String| self.site.cache().join(path).exists();
        self.published.each_ref().map(|paths| paths.iter().all(is_there))
    }

    /// Promise I7: what the cache had is not fetched whole.
    fn is_fetched_once(&self, had: [bool; 2], after: &str) {
        let whole = |route: Route| {
            let gets = self.registry.of(&route);
            gets.iter()
                .any(|get| get.header("range").is_none_or(|range| range.starts_with("bytes=0-")))
        };
        for (had, route) in had.into_iter().zip([layer(0), config()]) {
            let is_again = had && whole(route);
            assert!(!is_again, "{after}: fetched again\n{}", self.registry.log());
        }
    }

    /// What the cache had that is not fetched again by right: a file that may not be read counts as
    /// damaged (row F35).
    fn without_closed(&self, had: [bool; 2], position: &Position, hits: &[Hit]) -> [bool; 2] {
        let is_closed = |paths: &Vec<String>| {
            position.error == Errno::ACCESS
                && hits.iter().any(|hit| paths.iter().any(|path| hit.path.ends_with(path)))
        };
        let [layer, config] = self.published.each_ref().map(is_closed);
        [had[0] && !layer, had[1] && !config]
    }

    /// Runs the loop; `done` checks what a success must have left.
    fn each_call(
        &self,
        what: &str,
        choose: Positions,
        prepare: impl Fn(),
        run: impl Fn() -> Outcome,
        done: impl Fn(&str),
    ) {
        let took = Cell::new(Duration::ZERO);
        let had = Cell::new([false; 2]);
        let summary = self.faults.each_call(
            &ERRORS,
            choose,
            || {
                prepare();
                // The daemon is there, whatever the last fault did to it.
                self.site.orlop(["status"]).success();
                self.registry.forget();
                had.set(self.has());
            },
            || {
                let start = Instant::now();
                let outcome = run();
                took.set(start.elapsed());
                outcome
            },
            |position, hits, outcome| {
                let after = format!("{what}, {position:?}, {hits:?}");
                assert!(!outcome.stdout.contains(SECRET), "{after}: {}", outcome.report());
                check(&after, position, hits, &outcome);
                assert!(took.get() < Duration::from_secs(10), "{after}: {:?}", took.get());
                let spared = |had: [bool; 2]| self.without_closed(had, position, hits);
                self.is_fetched_once(spared(had.get()), &after);
                let had = spared(self.has());
                self.registry.forget();
                if outcome.status == 0 {
                    done(&after);
                }
                self.site.invariants(&after, &self.image, &self.golden, &[SECRET]);
                self.is_fetched_once(had, &format!("{after}, by what came next"));
            },
        );
        if is_long() {
            tools::note(&format!(
                "F29 {what}: {} calls, {} positions tried, {} met",
                summary.counted, summary.tried, summary.met
            ));
            // Chance moves a call now and then.
            assert!(summary.met * 2 > summary.tried, "{summary:?}");
        }
        assert!(summary.counted > 100 && summary.met > 0, "{summary:?}");
        assert!(
            summary.failed.is_empty(),
            "{} failed:\n{}",
            summary.failed.len(),
            summary.failed.join("\n=====\n")
        );
    }
}

/// Well, or 255 with the errno's text and where it was.
fn check(after: &str, position: &Position, hits: &[Hit], outcome: &Outcome) {
    if outcome.status == 0 {
        return;
    }
    assert!(outcome.status == 255, "{after}: {}", outcome.report());
    assert!(outcome.stderr.contains("FATAL: "), "{after}: {}", outcome.report());
    let Some(hit) = hits.first() else {
        panic!("{after}: nothing was refused\n{}", outcome.report());
    };
    let text = std::io::Error::from(position.error).to_string();
    let text = text.split(" (os error").next().unwrap_or_default().to_lowercase();
    let said = outcome.stderr.to_lowercase();
    // Of a full disk the client names the place instead (contract: DISK_FULL).
    let is_said = match text.as_str() {
        "no space left on device" => said.contains("no space left "),
        "disk quota exceeded" => said.contains("quota"),
        text => said.contains(text),
    };
    // A call that is refused to the daemon as it talks to the registry is told as the network's.
    assert!(is_said || hit.path.starts_with("socket:"), "{after}: {}", outcome.report());
    if is_long() {
        tools::note(&format!("SAID {hit:?} {}", outcome.stderr));
    }
}

#[test]
fn f29_each_call_of_a_cached_pull() {
    let Some(world) = world() else { return };
    world.each_call(
        "cached pull",
        some(),
        || (),
        || world.orlop(&["pull", "--force", "a.sif", &world.image], ""),
        |after| assert!(bytes(&world.site, "a.sif") == world.golden, "{after}"),
    );
}

#[test]
fn f29_each_call_of_a_pull() {
    let Some(world) = world() else { return };
    world.each_call(
        "pull",
        some(),
        || drop(world.site.orlop(["cache", "clean", "--force"]).success()),
        || world.orlop(&["pull", "--force", "a.sif", &world.image], ""),
        |after| assert!(bytes(&world.site, "a.sif") == world.golden, "{after}"),
    );
}

#[test]
fn f29_each_call_of_a_login() {
    let other = Registry::new().auth(basic()).start();
    let Some(world) = world_with(&[&other]) else { return };
    let uri = format!("docker://{}", other.host());
    world.each_call(
        "login",
        some(),
        || world.site.write_home(".docker/config.json", b"{\"auths\":{},\"x\":1}"),
        || {
            let words = ["registry", "login", "-u", "u", "--password-stdin", &uri];
            world.orlop(&words, SECRET)
        },
        |after| {
            let text = world.site.read_home(".docker/config.json").unwrap();
            assert!(text.contains("dTpzM2NyZXQ=") && text.contains("\"x\""), "{after}: {text}");
        },
    );
}

#[test]
fn f29_each_call_of_a_push() {
    let Some(world) = world() else { return };
    let number = Cell::new(0);
    let place = || format!("oras://{}/p{}:1", world.registry.host(), number.get());
    world.each_call(
        "push",
        some(),
        || number.set(number.get() + 1),
        || world.orlop(&["push", "golden.sif", &place()], ""),
        |after| {
            let back = world.site.orlop(["pull", "--force", "b.sif", &place()]);
            assert!(back.status == 0, "{after}: {}", back.report());
            assert!(bytes(&world.site, "b.sif") == world.golden, "{after}");
        },
    );
}

#[test]
fn f29_each_call_of_an_exec() {
    if orlop_kit::image::probe().is_empty() || !tools::user_namespaces() {
        return tools::skip("no containers here");
    }
    let Some(world) = world() else { return };
    let login = format!("{{\"auths\":{{\"h.example\":{{\"auth\":\"{SECRET}\"}}}}}}");
    world.site.write_home(".docker/config.json", login.as_bytes());
    let file = world.site.home().join(".docker/config.json").display().to_string();
    world.each_call(
        "exec",
        some(),
        || (),
        || {
            // What it shows must not be what the file holds: every command is looked at for that.
            world.orlop(&["exec", &world.image, "/bin/probe", "cat", &file], "")
        },
        |_| (),
    );
}

#[test]
fn f29_a_refusal_that_passes_shows_no_credentials() {
    if orlop_kit::image::probe().is_empty() || !tools::user_namespaces() {
        return tools::skip("no containers here");
    }
    let Some(world) = world() else { return };
    let file = world.site.home().join(".docker/config.json").display().to_string();
    world.site.write_home(".docker/config.json", SECRET.as_bytes());
    let show = || world.orlop(&["exec", "golden.sif", "/bin/probe", "cat", &file], "");
    let mut met = 0;
    for number in 1..=4 {
        let rule = Rule::on_any(["open", "openat", "openat2", "statx"]).of("orlop");
        world.faults.set([rule.at(".docker/config.json").nth(number).fails(Errno::ACCESS)]);
        let shown = show();
        met += world.faults.hits().len();
        assert!(!shown.stdout.contains(SECRET), "{number}: {}", shown.report());
    }
    world.faults.rest();
    assert!(met > 0);
}
