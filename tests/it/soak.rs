//! A soak: a day's work of one daemon in a row, after which it takes what it took early on.
//!
//! A normal run goes round a few times; `ORLOP_KIT_ROUNDS=1000` takes about 20 minutes. Not here:
//! pulls that are called off alone ([`crate::memory`]).

use crate::world::site;
use orlop_kit::{Image, Registry, Site, memory, tools, until, until_true};
use rustix::process::Signal;

/// What a daemon takes once it is at rest.
#[derive(Clone, Copy, Debug)]
struct Taken {
    descriptors: u64,
    threads: u64,
    /// Bytes of its own memory.
    memory: u64,
}

/// Waits until the daemon has given back what it can, and looks.
fn at_rest(daemon: u32, is_rest: impl Fn(&Taken) -> bool) -> Taken {
    // Threads of blocking work end a while after the last of it, and their memory goes then.
    until("the daemon is at rest", || {
        let look = || {
            Some(Taken {
                descriptors: memory::descriptors(daemon)?,
                threads: memory::threads(daemon)?,
                memory: memory::anonymous(daemon)?,
            })
        };
        match look() {
            Some(taken) if is_rest(&taken) => Ok(taken),
            other => Err(other),
        }
    })
}

/// One round of what users do, good and bad.
fn round(site: &Site, registry: &Registry, number: u64) {
    let image = |name: &str| registry.docker(name);
    let words = |words: &[&str]| {
        site.orlop(words.iter().copied()).success();
    };
    words(&["pull", "--force", "a.sif", &image("a:1")]);
    words(&["pull", "--force", "b.sif", &image("b:1")]);
    let pushed = registry.oras(&format!("pushed:{}", number % 10));
    words(&["push", "a.sif", &pushed]);
    words(&["pull", "--force", "c.sif", &pushed]);
    words(&["resolve", &image("a:1")]);
    words(&["tags", &image("a")]);
    site.orlop(["pull", "--force", "d.sif", &image("missing:1")]).fails(255);
    let seen = registry.requests().len();
    let left = site.run(["pull", "--force", "e.sif", &image("large:1")]).start();
    until_true("it is under way", || registry.requests().len() > seen);
    left.signal(Signal::INT);
    assert!([0, 130].contains(&left.outcome().status));
    words(&["cache", "list"]);
    if number.is_multiple_of(3) {
        words(&["cache", "verify"]);
        words(&["cache", "clean", "--force"]);
    }
    if crate::run::runnable() {
        words(&["exec", "a.sif", "/bin/probe", "args", "here"]);
        words(&["exec", &image("b:1"), "/bin/probe", "args", "here"]);
    }
}

#[test]
fn soak_a_daemon_takes_in_the_end_what_it_took_early() {
    let registry = Registry::new()
        .image("a:1", Image::tiny())
        .image("b:1", Image::two_layers())
        .image("large:1", Image::noise(8 << 20))
        .start();
    let site = site(&registry);
    let rounds = tools::rounds(4);
    (0..rounds.div_ceil(4)).for_each(|number| round(&site, &registry, number));
    let [daemon] = site.daemons()[..] else { panic!("one daemon: {:?}", site.daemons()) };
    let early = at_rest(daemon, |taken| taken.threads <= 8 && taken.memory <= 16 << 20);
    (rounds.div_ceil(4)..rounds).for_each(|number| {
        round(&site, &registry, number);
        if number.is_multiple_of(50) {
            registry.forget();
        }
    });
    assert_eq!(site.daemons(), [daemon], "it is the same daemon");
    // A twentieth, and what chance makes of small numbers: 7.9 to 11 MB of memory were seen at rest,
    // after 20 rounds and after 1 100. What is lost in each round of a long run is more.
    let most = |early: u64, chance: u64| early + early / 20 + chance;
    let late = at_rest(daemon, |late| {
        late.descriptors <= most(early.descriptors, 2)
            && late.threads <= most(early.threads, 1)
            && late.memory <= most(early.memory, 3 << 20)
    });
    tools::say(&format!("{rounds} rounds: {early:?}, then {late:?}"));
}
