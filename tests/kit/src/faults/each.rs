//! The loop over the calls of a command: counted once, then each refused in turn.

use super::{Faults, Hit, Rule};
use crate::site::Outcome;
use crate::tools;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One call of a command, and the error that it gets.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// The call.
    pub call: &'static str,
    /// Its number among the calls of this name, of all threads and processes, from 1.
    pub number: u64,
    /// What it fails with.
    pub error: Errno,
}

/// Which positions are tried.
#[derive(Clone, Copy, Debug)]
pub enum Positions {
    /// Each call with each error.
    All,
    /// About so many, spread over all calls and errors.
    About(u64),
}

/// What a loop did.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Calls of the undisturbed command.
    pub counted: u64,
    /// Positions that were tried.
    pub tried: u64,
    /// Positions at which the call came and failed: chance moves the others.
    pub met: u64,
    /// What the checks said that failed.
    pub failed: Vec<String>,
}

impl Faults {
    /// Runs a command twice to count its calls, then once for each position. `prepare` makes the
    /// state before each run, undisturbed; `check` sees what came of it, undisturbed again.
    ///
    /// # Panics
    /// When the undisturbed command fails.
    pub fn each_call(
        &self,
        errors: &[Errno],
        choose: Positions,
        mut prepare: impl FnMut(),
        mut run: impl FnMut() -> Outcome,
        mut check: impl FnMut(&Position, &[Hit], Outcome),
    ) -> Summary {
        // Once to make what is made once, and once to count.
        for _ in 0..2 {
            self.rest();
            prepare();
            self.set([]);
            run().success();
        }
        let counts = self.counts();
        self.rest();
        let mut summary = Summary { counted: counts.values().sum(), ..Summary::default() };
        for position in tools::part(positions(&counts, errors, choose)) {
            prepare();
            self.set([Rule::on(position.call).nth(position.number).fails(position.error)]);
            let outcome = run();
            let hits = self.hits();
            self.rest();
            summary.tried += 1;
            summary.met += u64::from(!hits.is_empty());
            // A check that fails does not keep the next positions from being tried.
            let checked = AssertUnwindSafe(|| check(&position, &hits, outcome));
            if let Err(why) = catch_unwind(checked) {
                let text = why.downcast_ref::<String>().cloned();
                let text = text.or_else(|| why.downcast_ref::<&str>().map(|&text| text.to_owned()));
                summary.failed.push(text.unwrap_or_else(|| format!("{position:?}")));
            }
        }
        summary
    }
}

fn positions(
    counts: &BTreeMap<&'static str, u64>,
    errors: &[Errno],
    choose: Positions,
) -> Vec<Position> {
    let calls: Vec<(&'static str, u64)> = counts
        .iter()
        .flat_map(|(call, count)| (1..=*count).map(move |number| (*call, number)))
        .collect();
    match choose {
        Positions::All => calls
            .iter()
            .flat_map(|&(call, number)| {
                let possible = errors.iter().filter(move |error| is_possible(call, **error));
                possible.map(move |&error| Position { call, number, error })
            })
            .collect(),
        Positions::About(wanted) => {
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX).clamp(1, calls.len().max(1));
            let chosen = (0..wanted).filter_map(|at| {
                let &(call, number) = calls.get(at * calls.len() / wanted)?;
                let mut turning = errors.iter().cycle().skip(at).take(errors.len());
                let error = *turning.find(|error| is_possible(call, **error))?;
                Some(Position { call, number, error })
            });
            chosen.collect()
        }
    }
}

/// Whether a kernel can give a call this error. Waiting for events fails for no lack of anything,
/// nor does asking for chance (`getrandom(2)`): runtimes rightly take another answer for a broken
/// process. A close that fails has closed all the same, which the kit cannot do.
fn is_possible(call: &str, error: Errno) -> bool {
    match call {
        "close" => false,
        "getrandom" => error == Errno::INTR,
        "epoll_wait" | "epoll_pwait" => error == Errno::INTR,
        "poll" | "ppoll" => matches!(error, Errno::INTR | Errno::NOMEM),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_positions_are_all_and_some_are_spread() {
        let counts = BTreeMap::from([("read", 90), ("write", 10)]);
        let errors = [Errno::IO, Errno::NOSPC, Errno::INTR];
        assert_eq!(positions(&counts, &errors, Positions::All).len(), 300);
        let some = positions(&counts, &errors, Positions::About(20));
        assert_eq!(some.len(), 20);
        assert_eq!(some.iter().filter(|position| position.call == "write").count(), 2);
        assert!(errors.iter().all(|error| some.iter().any(|one| one.error == *error)));
        assert_eq!(positions(&counts, &errors, Positions::About(1000)).len(), 100);
    }
}
