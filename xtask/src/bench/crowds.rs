//! Many at once, of Orlop alone: cold pulls beside what the disk takes for as many files, and many
//! clients with what they fetched.
//!
//! Not here: one pull at a time ([`super::pulls`]), two images ([`super::company`]).

use super::report::{Bound, FLOOR, Report};
use super::world::{Step, World};
use super::{Bench, Failed};

/// Pulls of one image at once.
const AT_ONCE: [usize; 4] = [1, 4, 16, 64];
/// Clients at once.
const CLIENTS: [usize; 2] = [64, 500];

/// Plain `cp` of a file of the world, and sync of each copy, so often at once.
pub(super) fn floor(world: &World<'_>, file: &str, count: usize) -> Result<Step, Failed> {
    let copy = |number: usize| {
        let script = "cp \"$1\" \"$2\" && sync \"$2\"";
        let to = format!("floor{number}");
        ["sh", "-c", script, "floor", file, &to].map(str::to_owned).to_vec()
    };
    let commands: Vec<Vec<String>> = (0..count).map(copy).collect();
    let mut step = world.plain(&commands)?;
    step.sample.client_peak = None;
    for number in 0..count {
        remove(world, &format!("floor{number}"))?;
    }
    Ok(step)
}

fn remove(world: &World<'_>, name: &str) -> Result<(), Failed> {
    let file = world.file(name);
    std::fs::remove_file(&file).map_err(|cause| format!("{}: {cause}", file.display()))
}

/// Starts the world's daemon, and forgets what was fetched so far.
pub(super) fn ready(bench: &mut Bench, world: &World<'_>) -> Result<(), Failed> {
    world.output(&["cache", "usage"])?;
    bench.fetched().map(drop)
}

/// 1 to 64 cold pulls at once, each count in a world of its own, and `cp` after it there.
pub(super) fn many(bench: &mut Bench, report: &mut Report) -> Result<(), Failed> {
    let mut one = [0, 0];
    let mut size = 0;
    for count in AT_ONCE {
        let needed = size * (count as u64) * 2;
        if bench.disk.free()? < needed + (1 << 30) {
            println!("{count} cold pulls need {} MB: left out", needed / 1_000_000);
            continue;
        }
        for _ in 0..bench.wanted.repeat {
            let rows = pulls(bench, report, count, &mut size)?;
            if count == 1 {
                one = rows;
            }
            report.compare(rows[0], one[0]);
            report.compare(rows[1], one[0]);
            if count > 1 {
                report.bound(rows[0], Bound::Times(1.2, 0.0));
            }
        }
    }
    Ok(())
}

/// One repeat of so many: the rows of pulls and of `cp`.
fn pulls(
    bench: &mut Bench,
    report: &mut Report,
    count: usize,
    size: &mut u64,
) -> Result<[usize; 2], Failed> {
    let (ground, own, image) = (bench.ground.clone(), bench.own(), bench.image("base"));
    let world = World::new(&ground, &own)?;
    let mut measured = || {
        ready(bench, &world)?;
        let commands: Vec<Vec<String>> =
            (0..count).map(|number| own.pull(&image, &format!("cold{number}"))).collect();
        let mut step = world.step(&commands, None)?;
        step.sample.fetched = Some(bench.fetched()?);
        let row = report.add("many", format!("cold pulls at once: {count}"), "orlop", step.sample);
        for number in 1..count {
            remove(&world, &format!("cold{number}"))?;
        }
        let file = world.file("cold0");
        *size = file.metadata().map_err(|cause| format!("{}: {cause}", file.display()))?.len();
        let copied = floor(&world, "cold0", count)?;
        let words = format!("cp and sync at once: {count} ({})", bench.disk.words());
        Ok([row, report.add("many", words, FLOOR, copied.sample)])
    };
    let measured = measured();
    world.end();
    measured
}

/// Many clients of one image, cold and then warm, by `exec` and by `pull` (of a small image, so that
/// the disk is not what is measured).
pub(super) fn clients(bench: &mut Bench, report: &mut Report) -> Result<(), Failed> {
    for count in CLIENTS {
        for _ in 0..bench.wanted.repeat {
            for verb in ["exec", "pull"] {
                crowd(bench, report, count, verb)?;
            }
        }
    }
    Ok(())
}

fn crowd(bench: &mut Bench, report: &mut Report, count: usize, verb: &str) -> Result<(), Failed> {
    let (ground, own) = (bench.ground.clone(), bench.own());
    let image = bench.image(if verb == "exec" { "base" } else { "small" });
    let inside = bench.saying();
    let world = World::new(&ground, &own)?;
    let mut measured = || {
        ready(bench, &world)?;
        for state in ["cold", "warm"] {
            let command = |number: usize| match verb {
                "exec" => own.exec_by_name(&image, inside).unwrap_or_default(),
                _ => own.pull(&image, &format!("{state}{number}")),
            };
            let commands: Vec<Vec<String>> = (0..count).map(command).collect();
            let mut step = world.step(&commands, None)?;
            step.sample.fetched = Some(bench.fetched()?);
            let middle = step.middle();
            let what = format!("{count} {verb}, {state}");
            let row = report.add("clients", format!("{what}: the last"), "orlop", step.sample);
            report.bound(row, Bound::Once);
            report.add("clients", format!("{what}: the middle one"), "orlop", middle);
        }
        Ok(())
    };
    let measured = measured();
    world.end();
    measured
}
