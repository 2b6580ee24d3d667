//! One pull at a time of an image, by every program, beside the limit of the machine.
//!
//! The limit stands just before and after Orlop's cold pull: `igzip -dc` of the layers into `zstd -3`
//! on all processors. In each repeat another program begins. Not here: many at once
//! ([`super::crowds`]).

use super::peers::Program;
use super::report::{Bound, FLOOR, Report};
use super::sample::Sample;
use super::world::{Step, World};
use super::{Bench, Failed, crowds::floor};
use std::collections::BTreeSet;

/// Times that a warm start is measured in each repeat.
const STARTS: usize = 10;
/// What a Python of the image imports.
const IMPORT: &str = "import numpy, scipy, pandas, matplotlib; print('ready', flush=True)";
/// The shell of the limit: fails where one of the two does.
const LIMIT: &str = "set -o pipefail; igzip -dc \"$@\" | zstd -q -3 -T0 -c >/dev/null";

/// An image that is pulled alone.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) case: &'static str,
    /// What a cold pull may take, by the limit.
    pub(super) bound: Bound,
    pub(super) reference: String,
    /// One that has a layer more.
    pub(super) child: Option<String>,
    /// Files of the layers; empty where the limit cannot be measured.
    pub(super) layers: Vec<String>,
}

/// Measures an image; peers that fail are left out with a line.
pub(super) fn run(bench: &mut Bench, image: &Image, report: &mut Report) -> Result<(), Failed> {
    let programs = bench.programs.clone();
    let mut out = BTreeSet::new();
    for repeat in 0..bench.wanted.repeat {
        for turn in 0..programs.len() {
            let Some(program) = programs.get((turn + repeat) % programs.len()) else { continue };
            let repeats = bench.wanted.peer_repeat.unwrap_or(usize::MAX);
            if out.contains(program.name) || (!program.is_own() && repeat >= repeats) {
                continue;
            }
            let done = one(bench, image, program, report);
            match done {
                Err(why) if !program.is_own() => {
                    let why = why.lines().next().unwrap_or_default();
                    println!("{} is left out of {}: {why}", program.name, image.case);
                    out.insert(program.name);
                }
                done => done?,
            }
        }
    }
    Ok(())
}

fn one(
    bench: &mut Bench,
    image: &Image,
    program: &Program,
    report: &mut Report,
) -> Result<(), Failed> {
    let ground = bench.ground.clone();
    let world = World::new(&ground, program)?;
    let mut steps = Steps { bench, image, program, world: &world, report };
    let done = steps.all();
    world.end();
    done
}

/// The steps of one program in one world.
struct Steps<'a> {
    bench: &'a mut Bench,
    image: &'a Image,
    program: &'a Program,
    world: &'a World<'a>,
    report: &'a mut Report,
}

impl Steps<'_> {
    fn all(&mut self) -> Result<(), Failed> {
        let before = self.limit()?;
        self.bench.fetched()?;
        let cold = self.step("cold pull", &self.program.pull(&self.image.reference, "first"))?;
        let after = self.limit()?;
        if let Some(limit) = before.and(after) {
            self.report.compare(cold, limit);
            self.report.bound(cold, self.image.bound);
        }
        if self.program.name == "apptainer-zstd" {
            return Ok(());
        }
        let cached =
            self.step("cached pull", &self.program.pull(&self.image.reference, "second"))?;
        if self.program.is_own() {
            let copied = floor(self.world, "first", 1)?;
            let words = format!("cp and sync of the SIF ({})", self.bench.disk.words());
            let copied = self.report.add(self.image.case, words, FLOOR, copied.sample);
            self.report.compare(cached, copied);
        }
        if let Some(child) = &self.image.child {
            self.step("child pull, parent cached", &self.program.pull(child, "child"))?;
        }
        self.imports()?;
        self.starts()
    }

    /// Measures the limit, where the world is Orlop's and the programs are there.
    fn limit(&mut self) -> Result<Option<usize>, Failed> {
        if self.image.layers.is_empty() || !self.program.is_own() {
            return Ok(None);
        }
        let mut words = ["bash", "-c", LIMIT, "limit"].map(str::to_owned).to_vec();
        words.extend(self.image.layers.iter().cloned());
        let step = self.world.plain(&[words])?;
        let sample = Sample { client_peak: None, ..step.sample };
        Ok(Some(self.report.add(self.image.case, "limit", FLOOR, sample)))
    }

    /// Measures a pull, with what it fetched.
    fn step(&mut self, what: &str, words: &[String]) -> Result<usize, Failed> {
        let mut step = self.world.step(&[words.to_vec()], None)?;
        step.sample.fetched = Some(self.bench.fetched()?);
        Ok(self.add(what, step.sample))
    }

    fn add(&mut self, what: &str, sample: Sample) -> usize {
        self.report.add(self.image.case, what, self.program.name, sample)
    }

    /// Starts of a command that says something.
    fn starts(&mut self) -> Result<(), Failed> {
        let inside = self.bench.saying();
        let Some(words) = self.program.exec(&self.image.reference, "first", inside) else {
            return Ok(());
        };
        let first = self.world.step(std::slice::from_ref(&words), None)?;
        self.add("exec of the SIF, first: first output", first.at(first.first));
        for _ in 0..STARTS {
            let step = self.world.step(std::slice::from_ref(&words), None)?;
            self.add("exec of the SIF, next: first output", step.at(step.first));
            self.add("exec of the SIF, next: to its end", step.sample);
        }
        let named = self.program.exec_by_name(&self.image.reference, inside);
        for _ in 0..STARTS {
            let Some(words) = &named else { break };
            let step = self.world.step(std::slice::from_ref(words), None)?;
            self.add("exec by name, cached: first output", step.at(step.first));
        }
        Ok(())
    }

    /// Imports of Python, in an image that has them: with the SIF out of the page cache, then again
    /// while the first one lives.
    fn imports(&mut self) -> Result<(), Failed> {
        if self.bench.is_generated || self.image.case != "sci" {
            return Ok(());
        }
        let held = format!("{IMPORT}; import sys; sys.stdin.read()");
        let image = &self.image.reference;
        let held = self.program.exec(image, "first", &["python3", "-c", &held]);
        let next = self.program.exec(image, "first", &["python3", "-c", IMPORT]);
        let (Some(held), Some(next)) = (held, next) else { return Ok(()) };
        if self.world.file("first").is_file() {
            self.world.forget("first")?;
        }
        let step: Step = match self.world.step(&[next], Some(&held)) {
            Ok(step) => step,
            // An image without these modules is no failure.
            Err(why) => {
                println!("{}: no imports: {why}", self.program.name);
                return Ok(());
            }
        };
        self.add("import, first", step.at(step.held));
        self.add("import, next to another", step.at(step.first));
        Ok(())
    }
}
