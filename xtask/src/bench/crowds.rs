//! Many pulls at once, of Orlop alone: of one image cold and warm, of two images, of a small one
//! beside a large one.
//!
//! What counts is how many times as long as one it takes. Each line is the median of its repeats,
//! each repeat in a world of its own. Not here: one pull at a time, the peers ([`super::measure`]).

use super::measure::{World, median};
use super::peers::Program;
use crate::Failed;
use crate::table::Table;

/// Pulls of one image at once.
const AT_ONCE: [usize; 4] = [1, 4, 16, 64];
/// Clients of an image that is in the cache.
const WARM: usize = 64;

/// Connections that ask for an image in the cache, microseconds between them, and that in words.
const ANSWERS: [(usize, u32, &str); 3] =
    [(64, 1000, "one each ms"), (64, 0, "at once"), (500, 0, "at once")];

/// The images of the kit's registry that are pulled.
#[derive(Debug)]
pub(super) struct Images<'a> {
    /// Of some size.
    pub(super) one: &'a str,
    /// Of the same size, other bytes.
    pub(super) other: &'a str,
    /// Of a few entries.
    pub(super) small: &'a str,
    /// Of gigabytes.
    pub(super) huge: &'a str,
}

/// Measures all, and says it as a table.
pub(super) fn table(orlop: &Program, images: &Images<'_>, repeat: usize) -> Result<Table, Failed> {
    let head = ["many at once, milliseconds", "orlop", "times one"];
    let mut table = Table::new(head.map(str::to_owned).to_vec());
    let mut row = |words: String, took: f64, one: f64| {
        let times = if one.is_finite() { format!("{:.2}x", took / one) } else { String::new() };
        table.row(vec![words, format!("{took:.1}"), times]);
    };
    let mut single = f64::NAN;
    for count in AT_ONCE {
        let took = repeated(repeat, || cold(orlop, &vec![images.one; count]).map(last))?;
        if count == 1 {
            single = took;
        }
        row(format!("{count} cold pulls of one image"), took, single);
    }
    let (mut middle, mut late, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..repeat {
        let [one, half, nearly_all] = warm(orlop, images.one)?;
        alone.push(one);
        middle.push(half);
        late.push(nearly_all);
    }
    let one = median(&alone).unwrap_or(f64::NAN);
    row("a warm pull".to_owned(), one, one);
    row(format!("{WARM} warm pulls, the middle one"), median(&middle).unwrap_or(f64::NAN), one);
    row(format!("{WARM} warm pulls, the last but one"), median(&late).unwrap_or(f64::NAN), one);
    for (count, gap, words) in ANSWERS {
        let took = answers(orlop, images.one, count, gap, repeat)?;
        for (took, which) in took.into_iter().zip(["the middle one", "99 of 100 within"]) {
            row(format!("{count} warm answers, asked {words}, {which}"), took, f64::NAN);
        }
    }
    let other = repeated(repeat, || cold(orlop, &[images.other]).map(last))?;
    let both = repeated(repeat, || cold(orlop, &[images.one, images.other]).map(last))?;
    row("two images, one after the other".to_owned(), single + other, single + other);
    row("two images at once".to_owned(), both, single + other);
    let small = repeated(repeat, || cold(orlop, &[images.small]).map(last))?;
    let beside = repeated(repeat, || beside(orlop, images))?;
    row("a small image".to_owned(), small, small);
    row("a small image beside a huge one".to_owned(), beside, small);
    Ok(table)
}

fn repeated(repeat: usize, mut once: impl FnMut() -> Result<f64, Failed>) -> Result<f64, Failed> {
    let took = (0..repeat.max(1)).map(|_| once()).collect::<Result<Vec<_>, _>>()?;
    median(&took).ok_or_else(|| "nothing was measured".to_owned())
}

fn last(took: Vec<f64>) -> f64 {
    took.into_iter().fold(0.0, f64::max)
}

/// Pulls these at once in an empty world, beside a daemon that runs.
fn cold(orlop: &Program, images: &[&str]) -> Result<Vec<f64>, Failed> {
    let world = World::new()?;
    let measured = || {
        world.time(orlop, &starting())?;
        world.at_once(orlop, &pulls(orlop, images, "cold"))
    };
    let measured = measured();
    world.end(orlop);
    measured
}

/// A command that starts the daemon.
fn starting() -> [String; 2] {
    ["cache", "usage"].map(str::to_owned)
}

fn pulls(orlop: &Program, images: &[&str], name: &str) -> Vec<Vec<String>> {
    let numbered = (0..).zip(images);
    numbered
        .map(|(number, image): (u32, _)| orlop.pull(image, &format!("{name}{number}")))
        .collect()
}

/// Pulls an image that is in the cache: once, and of many at once the middle and the last but one.
fn warm(orlop: &Program, image: &str) -> Result<[f64; 3], Failed> {
    let world = World::new()?;
    let measured = || {
        world.time(orlop, &orlop.pull(image, "cold"))?;
        let one = world.time(orlop, &orlop.pull(image, "one"))?;
        let mut took = world.at_once(orlop, &pulls(orlop, &[image; WARM], "warm"))?;
        took.sort_by(f64::total_cmp);
        let at = |place: usize| took.get(place).copied().unwrap_or(f64::NAN);
        Ok([one, at(WARM / 2), at(WARM - 2)])
    };
    let measured = measured();
    world.end(orlop);
    measured
}

/// Asks for an image that is in the cache over many connections, in as many rounds as there are
/// repeats: the middle answer and that after which one in a hundred comes. Milliseconds.
fn answers(
    orlop: &Program,
    image: &str,
    count: usize,
    gap: u32,
    rounds: usize,
) -> Result<[f64; 2], Failed> {
    let world = World::new()?;
    let measured = || {
        world.time(orlop, &orlop.pull(image, "cold"))?;
        let path = orlop.path.with_file_name("examples").join("answers");
        let asking = Program { name: "answers", path };
        let socket = world.socket();
        let words = [&socket, &count.to_string(), &rounds.to_string(), &gap.to_string(), image];
        let said = world.output(&asking, &words)?;
        let mut figures = said.split_whitespace().map(str::parse);
        match (figures.next(), figures.next()) {
            (Some(Ok(middle)), Some(Ok(late))) => Ok([middle, late]),
            _ => Err(format!("not times: {said}")),
        }
    };
    let measured = measured();
    world.end(orlop);
    measured
}

/// Pulls the small image while the huge one is under way.
fn beside(orlop: &Program, images: &Images<'_>) -> Result<f64, Failed> {
    let world = World::new()?;
    let measured = || {
        world.time(orlop, &starting())?;
        let mut huge = world.start(orlop, &orlop.pull(images.huge, "huge"))?;
        while !world.output(orlop, &["status"])?.contains("sha256:") {
            if huge.try_wait().map_err(|cause| cause.to_string())?.is_some() {
                return Err("the huge pull was no company".to_owned());
            }
        }
        let took = world.time(orlop, &orlop.pull(images.small, "small"));
        // Its end is of no interest.
        drop(huge.kill());
        drop(huge.wait());
        took
    };
    let measured = measured();
    world.end(orlop);
    measured
}
