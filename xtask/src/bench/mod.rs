//! Measurements of Orlop beside the limits of the machine and beside its peers.
//!
//! Cases are chosen by name; each repeat of a program has a world of its own (home, cache, runtime
//! directory), so that a cold pull is cold. Images come from the kit's registry: generated ones, made
//! once below cargo's target directory, or real ones of an OCI layout. What comes out is a report in
//! Markdown and all samples. Ratios within one run count; times are for orientation.

mod company;
mod crowds;
mod machine;
mod peers;
mod pulls;
mod report;
mod requests;
mod sample;
mod wanted;
mod world;

use crate::Failed;
use crate::command::{self, build_programs, cargo};
use crate::packages::there;
use crate::served::Served;
use machine::{Disk, layers};
use peers::Program;
use pulls::Image;
use report::{Bound, Report};
use requests::Fetched;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use wanted::{CASES, Wanted};
use world::Ground;

/// Builds the program that asks over many connections.
const ASKING: [&str; 7] =
    ["build", "--locked", "--release", "--package", "orlop-client", "--example", "answers"];

/// Version of the generated images: another one is made anew.
const IMAGES: u32 = 1;

/// All that the cases need.
#[derive(Debug)]
struct Bench {
    wanted: Wanted,
    ground: Rc<Ground>,
    disk: Disk,
    served: Served,
    layout: PathBuf,
    is_generated: bool,
    /// Orlop first.
    programs: Vec<Program>,
}

/// Measures, prints the report and writes it.
pub(crate) fn run(words: &[&str]) -> Result<(), Failed> {
    let wanted = Wanted::parse(words)?;
    if wanted.help {
        print!("{}", wanted::help());
        return Ok(());
    }
    let programs = build_programs("release")?;
    command::run(&mut cargo(ASKING))?;
    let target = programs.parent().unwrap_or(&programs).join("bench");
    let mut bench = Bench::new(wanted, &programs, &target)?;
    let machine = machine::words(&bench.disk, &bench.programs);
    let images = if bench.is_generated { "generated" } else { "real" };
    let head = format!("Medians of {}, {images} images. {machine}", bench.wanted.repeat);
    println!("{head}");
    let mut report = Report::default();
    let mut failed = Vec::new();
    for (case, _) in CASES {
        if !bench.wanted.has(case) {
            continue;
        }
        println!("measuring {case}");
        if let Err(why) = bench.case(case, &mut report) {
            println!("{case} ended early: {why}");
            failed.push(case);
        }
        report.compare_peers();
        let text = format!("{head}\n{}\n{}", report.summary(), report.text());
        write(&target.join("report.md"), &text)?;
        write(&target.join("raw.tsv"), &report.raw())?;
    }
    println!("\n{head}\n{}\n{}", report.summary(), report.text());
    println!("written to {}", target.display());
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("not measured whole: {}", failed.join(", ")))
}

fn write(at: &Path, text: &str) -> Result<(), Failed> {
    std::fs::write(at, text).map_err(|cause| format!("{}: {cause}", at.display()))
}

impl Bench {
    fn new(wanted: Wanted, programs: &Path, target: &Path) -> Result<Self, Failed> {
        std::fs::create_dir_all(target).map_err(|e| format!("{}: {e}", target.display()))?;
        let kit = programs.join("orlop-kit");
        let (layout, is_generated) = match &wanted.layout {
            Some(layout) => (layout.clone(), false),
            None => (generated(&kit, target, wanted.percent)?, true),
        };
        let mut images = Vec::new();
        for name in ["base", "sci", "sci-child"] {
            if layers(&layout, name)?.is_some() {
                images.push(format!("{name}:1=layout:{}:{name}", layout.display()));
            }
        }
        images.push(if is_generated {
            format!("other:1=layout:{}:other", layout.display())
        } else {
            "other:1=large:60".to_owned()
        });
        images.push("small:1=two-layers".to_owned());
        images.push(format!("huge:1=noise:{}", wanted.huge.saturating_mul(1 << 20)));
        let images: Vec<&str> = images.iter().map(String::as_str).collect();
        let served = Served::start(programs, &images)?;
        let disk = Disk::of(&wanted.worlds)?;
        let all = Program::present(programs, &wanted);
        let ground = Rc::new(Ground { kit, worlds: wanted.worlds.clone() });
        Ok(Self { wanted, ground, disk, served, layout, is_generated, programs: all })
    }

    fn case(&mut self, case: &str, report: &mut Report) -> Result<(), Failed> {
        match case {
            "base" => {
                let image = self.alone("base", None, Bound::Times(1.3, 100.0))?;
                pulls::run(self, &image, report)
            }
            "sci" => {
                let image = self.alone("sci", Some("sci-child"), Bound::Times(1.15, 0.0))?;
                pulls::run(self, &image, report)
            }
            "many" => crowds::many(self, report),
            "two" => company::two(self, report),
            "small" => company::small(self, report),
            "clients" => crowds::clients(self, report),
            _ => company::answers(self, report),
        }
    }

    /// An image that is pulled alone. Its layers are read once, so that they are in memory.
    fn alone(
        &self,
        case: &'static str,
        child: Option<&str>,
        bound: Bound,
    ) -> Result<Image, Failed> {
        let found = layers(&self.layout, case)?;
        let mut found = found.ok_or_else(|| format!("no {case} in {}", self.layout.display()))?;
        command::output(Command::new("sha256sum").args(&found))?;
        if let Some(missing) = ["igzip", "zstd", "bash"].into_iter().find(|name| !there(name)) {
            println!("SKIPPED limit of {case}: no {missing} (igzip is in Debian's isal)");
            found.clear();
        }
        let child = match child {
            Some(name) => layers(&self.layout, name)?.map(|_| self.image(name)),
            None => None,
        };
        let reference = self.image(case);
        Ok(Image { case, bound, reference, child, layers: found })
    }

    fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}:1", self.served.host)
    }

    /// Orlop.
    fn own(&self) -> Program {
        let own = self.programs.first().cloned();
        own.unwrap_or(Program { name: "orlop", path: "orlop".into() })
    }

    /// A command inside the images that says something.
    fn saying(&self) -> &'static [&'static str] {
        if self.is_generated { &["/bin/probe", "args", "said"] } else { &["echo", "said"] }
    }

    /// What was fetched since the last call.
    fn fetched(&mut self) -> Result<Fetched, Failed> {
        Fetched::read(&self.served.requests()?)
    }
}

/// The layout of generated images, made where it is not there.
fn generated(kit: &Path, target: &Path, percent: u64) -> Result<PathBuf, Failed> {
    let at = target.join(format!("images-{IMAGES}-{percent}"));
    if !at.join("index.json").is_file() {
        println!("making images in {}", at.display());
        command::run(Command::new(kit).arg("images").arg(&at).arg(percent.to_string()))?;
    }
    Ok(at)
}
