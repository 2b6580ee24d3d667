//! Images beside each other, and answers without files, of Orlop alone.
//!
//! Not here: many pulls of one image ([`super::crowds`]).

use super::crowds::ready;
use super::report::{Bound, Report};
use super::sample::Sample;
use super::world::World;
use super::{Bench, Failed};

/// Rounds of answers in each repeat.
const ROUNDS: &str = "5";
/// Connections, microseconds between their requests, that in words, and what half and 99 of 100 of
/// the answers may take, in milliseconds.
const ANSWERS: [(usize, u32, &str, Option<[f64; 2]>); 4] = [
    (64, 1000, "one each ms", Some([5.0, 50.0])),
    (64, 0, "in one instant", Some([5.0, 50.0])),
    (500, 1000, "one each ms", None),
    (500, 0, "in one instant", None),
];

/// Two images at once, and one after the other, in turns.
pub(super) fn two(bench: &mut Bench, report: &mut Report) -> Result<(), Failed> {
    let (ground, own) = (bench.ground.clone(), bench.own());
    let pulls = [own.pull(&bench.image("base"), "one"), own.pull(&bench.image("other"), "two")];
    for _ in 0..bench.wanted.repeat {
        let mut rows = Vec::new();
        for is_at_once in [false, true] {
            let world = World::new(&ground, &own)?;
            let measured = ready(bench, &world).and_then(|()| {
                if is_at_once {
                    return Ok(world.step(&pulls, None)?.sample);
                }
                let [one, two] = &pulls;
                let first = world.step(std::slice::from_ref(one), None)?.sample;
                let second = world.step(std::slice::from_ref(two), None)?.sample;
                let cpu = first.cpu.zip(second.cpu).map(|(one, two)| one + two);
                let daemon_peak = first.daemon_peak.max(second.daemon_peak);
                Ok(Sample { wall: first.wall + second.wall, cpu, daemon_peak, ..second })
            });
            world.end();
            let how = if is_at_once { "two images at once" } else { "one after the other" };
            rows.push(report.add("two", how, "orlop", measured?));
        }
        if let [after, at_once] = rows[..] {
            report.compare(at_once, after);
            report.bound(at_once, Bound::Times(1.0, 0.0));
        }
    }
    Ok(())
}

/// A small image alone, and beside a huge one, in turns.
pub(super) fn small(bench: &mut Bench, report: &mut Report) -> Result<(), Failed> {
    let (ground, own) = (bench.ground.clone(), bench.own());
    let (small, huge) = (bench.image("small"), bench.image("huge"));
    for _ in 0..bench.wanted.repeat {
        let mut rows = Vec::new();
        for is_beside in [false, true] {
            let world = World::new(&ground, &own)?;
            let mut measured = || {
                ready(bench, &world)?;
                let other = is_beside.then(|| world.start(&own.pull(&huge, "huge"))).transpose()?;
                if let Some(mut other) = other {
                    let taken = under_way(&world, &mut other);
                    let step = taken.and_then(|()| world.step(&[own.pull(&small, "small")], None));
                    // How it ends is of no interest.
                    drop(other.kill());
                    drop(other.wait());
                    return step;
                }
                world.step(&[own.pull(&small, "small")], None)
            };
            let measured = measured();
            world.end();
            let mut sample = measured?.sample;
            if is_beside {
                // The daemon's is that of both.
                sample.cpu = None;
            }
            let how = if is_beside { "small beside huge" } else { "small alone" };
            rows.push(report.add("small", how, "orlop", sample));
        }
        if let [alone, beside] = rows[..] {
            report.compare(beside, alone);
            report.bound(beside, Bound::Times(2.0, 0.0));
        }
    }
    Ok(())
}

/// Waits until a layer is on its way.
fn under_way(world: &World<'_>, pull: &mut std::process::Child) -> Result<(), Failed> {
    while !world.output(&["status"])?.contains("sha256:") {
        if pull.try_wait().map_err(|cause| cause.to_string())?.is_some() {
            return Err("the huge pull was no company".to_owned());
        }
    }
    Ok(())
}

/// Asks for an image that is in the cache over many connections.
pub(super) fn answers(bench: &mut Bench, report: &mut Report) -> Result<(), Failed> {
    let (ground, own, image) = (bench.ground.clone(), bench.own(), bench.image("base"));
    let asking = own.path.with_file_name("examples").join("answers");
    for _ in 0..bench.wanted.repeat {
        let world = World::new(&ground, &own)?;
        let measured = world.step(&[own.pull(&image, "cold")], None).and_then(|_| {
            ANSWERS.iter().try_for_each(|(count, gap, words, bounds)| {
                let (count, gap) = (count.to_string(), gap.to_string());
                let socket = world.socket();
                let said = world.output_of(&asking, &[&socket, &count, ROUNDS, &gap, &image])?;
                let figures = times(&said)?;
                for (place, which) in ["p50", "p99"].iter().enumerate() {
                    let what = format!("{count} warm answers asked {words}: {which}");
                    let sample = Sample::of(figures.get(place).copied().unwrap_or(f64::NAN));
                    let row = report.add("answers", what, "orlop", sample);
                    if let Some(most) = bounds.and_then(|bounds| bounds.get(place).copied()) {
                        report.bound(row, Bound::Under(most));
                    }
                }
                Ok(())
            })
        });
        world.end();
        measured?;
    }
    Ok(())
}

/// The middle answer and that after which one in a hundred comes, in milliseconds.
fn times(said: &str) -> Result<[f64; 2], Failed> {
    let mut figures = said.split_whitespace().map(str::parse);
    match (figures.next(), figures.next()) {
        (Some(Ok(middle)), Some(Ok(late))) => Ok([middle, late]),
        _ => Err(format!("not times: {said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::times;

    #[test]
    fn the_answers_figures_are_read() {
        assert_eq!(times("1.80 8.10 14.00\n"), Ok([1.8, 8.1]));
        assert!(times("an error").is_err());
    }
}
