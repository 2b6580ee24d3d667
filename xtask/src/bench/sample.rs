//! One measurement, and what is said of several.

use super::requests::Fetched;

/// What one step took, once.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// Milliseconds.
    pub(super) wall: f64,
    /// Seconds of processor time, of commands and the daemon; the registry's are not in it.
    pub(super) cpu: Option<f64>,
    /// Bytes of memory at most: the daemon's (`VmHWM`, since the step began).
    pub(super) daemon_peak: Option<u64>,
    /// The same of the largest process among the commands and what they waited for.
    pub(super) client_peak: Option<u64>,
    /// By the registry's log.
    pub(super) fetched: Option<Fetched>,
}

impl Sample {
    /// A time alone, in milliseconds.
    pub(super) fn of(wall: f64) -> Self {
        Self { wall, ..Self::default() }
    }
}

/// The middle one, of an even number the mean of the two in the middle; none when there is none.
pub(super) fn median(figures: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut all: Vec<f64> = figures.into_iter().collect();
    all.sort_by(f64::total_cmp);
    let half = all.len() / 2;
    let upper = all.get(half).copied()?;
    if all.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(all.get(half.checked_sub(1)?).copied()?, upper))
}

/// Milliseconds in the unit that fits, three digits.
pub(super) fn time(milliseconds: f64) -> String {
    match milliseconds {
        ..9.995 => format!("{milliseconds:.2} ms"),
        ..99.95 => format!("{milliseconds:.1} ms"),
        ..999.5 => format!("{milliseconds:.0} ms"),
        ..9_995.0 => format!("{:.2} s", milliseconds / 1000.0),
        ..99_950.0 => format!("{:.1} s", milliseconds / 1000.0),
        _ => format!("{:.0} s", milliseconds / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_figure_is_the_median() {
        assert_eq!(median([]), None);
        assert_eq!(median([9.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median([9.0, 1.0, 3.0, 4.0]), Some(3.5));
    }

    #[test]
    fn times_are_told_in_the_unit_that_fits() {
        let told = [0.5, 12.34, 640.0, 999.9, 5_801.0, 42_300.0, 115_400.0].map(time);
        assert_eq!(told, ["0.50 ms", "12.3 ms", "640 ms", "1.00 s", "5.80 s", "42.3 s", "115 s"]);
    }
}
