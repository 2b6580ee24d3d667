//! Measurements beside whichever of apptainer, podman and skopeo the machine has.
//!
//! Each repeat of a program has a world of its own (home, cache, runtime directory), so that a
//! cold pull is cold. One table: medians of the repeats in milliseconds, and how many times as
//! fast as the first peer. A second table is of many pulls at once, of Orlop alone. Ratios within one
//! run count; times are for orientation. Not here: how each program is called ([`peers`]).

mod crowds;
mod measure;
mod peers;

use crate::Failed;
use crate::command::{self, build_programs, cargo};
use crate::served::Served;
use crate::table::Table;
use crowds::Images;
use measure::{Figures, Measured};
use peers::Program;
use std::collections::BTreeSet;

/// Images of many pulls at once, 8 and 9 MiB a layer.
const ONE: &str = "one:1=large:8";
const OTHER: &str = "other:1=large:9";
const SMALL: &str = "small:1=two-layers";

/// Builds the program that asks over many connections.
const ASKING: [&str; 7] =
    ["build", "--locked", "--release", "--package", "orlop-client", "--example", "answers"];

/// What the person asked for.
#[derive(Debug)]
struct Wanted {
    image: Option<String>,
    repeat: usize,
    size: usize,
    huge: u64,
}

/// Measures and prints the table.
pub(crate) fn run(words: &[&str]) -> Result<(), Failed> {
    let wanted = Wanted::parse(words)?;
    let programs = build_programs("release")?;
    command::run(&mut cargo(ASKING))?;
    let generated = format!("large:1=large:{}", wanted.size);
    let huge = format!("huge:1=noise:{}", wanted.huge.saturating_mul(1 << 20));
    let served = match &wanted.image {
        Some(_) => None,
        None => Some(Served::start(&programs, &[&generated, ONE, OTHER, SMALL, &huge])?),
    };
    let image = match (&wanted.image, &served) {
        (Some(image), _) => image.clone(),
        (None, Some(served)) => format!("docker://{}/large:1", served.host),
        (None, None) => return Err("there is no image".to_owned()),
    };
    let all = Program::present(&programs);
    let names: Vec<&str> = all.iter().map(|program| program.name).collect();
    println!("image {image}, medians of {}, programs: {}", wanted.repeat, names.join(", "));
    let mut figures: Vec<Figures> = all.iter().map(|_| Figures::default()).collect();
    let mut out = BTreeSet::new();
    for repeat in 0..wanted.repeat {
        // Each repeat begins with another program.
        for turn in 0..all.len() {
            let number = (turn + repeat) % all.len();
            let (Some(program), Some(figures)) = (all.get(number), figures.get_mut(number)) else {
                continue;
            };
            if out.contains(&number) {
                continue;
            }
            match measure::one(program, &image, served.is_some(), figures) {
                // Some peers do not work on every machine.
                Err(failed) if number > 0 => {
                    let why = failed.lines().next().unwrap_or_default();
                    println!("{} is left out: {why}", program.name);
                    out.insert(number);
                }
                done => done?,
            }
        }
    }
    print!("{}", table(&all, &figures).text());
    if let (Some(served), Some(orlop)) = (&served, all.first()) {
        let of = |name: &str| format!("docker://{}/{name}:1", served.host);
        let [one, other, small, huge] = ["one", "other", "small", "huge"].map(of);
        let images = Images { one: &one, other: &other, small: &small, huge: &huge };
        print!("{}", crowds::table(orlop, &images, wanted.repeat)?.text());
    }
    Ok(())
}

fn table(all: &[Program], figures: &[Figures]) -> Table {
    let mut head = vec!["milliseconds".to_owned()];
    head.extend(all.iter().map(|program| program.name.to_owned()));
    head.extend(all.iter().skip(1).map(|program| format!("{} / orlop", program.name)));
    let mut table = Table::new(head);
    for what in Measured::ALL {
        let medians: Vec<Option<f64>> = figures.iter().map(|one| one.median(what)).collect();
        if medians.iter().all(Option::is_none) {
            continue;
        }
        let shown = |figure: &Option<f64>| figure.map_or("-".to_owned(), |f| format!("{f:.1}"));
        let mut row = vec![what.words().to_owned()];
        row.extend(medians.iter().map(shown));
        let own = medians.first().copied().flatten();
        row.extend(medians.iter().skip(1).map(|peer| match (own, peer) {
            (Some(own), Some(peer)) if own > 0.0 => format!("{:.1}x", peer / own),
            _ => "-".to_owned(),
        }));
        table.row(row);
    }
    table
}

impl Wanted {
    fn parse(words: &[&str]) -> Result<Self, Failed> {
        let mut wanted = Self { image: None, repeat: 5, size: 64, huge: 2048 };
        let mut left = words;
        while let [name, value, rest @ ..] = left {
            let number = || value.parse().map_err(|_| format!("{name} needs a number"));
            match *name {
                "--image" => wanted.image = Some((*value).to_owned()),
                "--repeat" => wanted.repeat = number()?,
                "--size" => wanted.size = number()?,
                "--huge" => wanted.huge = u64::try_from(number()?).unwrap_or(u64::MAX),
                _ => return Err(format!("unknown word after bench: {name}")),
            }
            left = rest;
        }
        match left {
            [] => Ok(wanted),
            [word, ..] => Err(format!("{word} needs a value")),
        }
    }
}
