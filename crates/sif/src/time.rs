//! A time as listings print it: `2026-11-24 10:54:20 +0000 UTC`.

/// Seconds from year 1 to 1970: what a time of all zeros is in Go.
pub(crate) const YEAR_ONE: i64 = -62_135_596_800;
const DAY: i64 = 86_400;

/// Prints Unix seconds in UTC, by the calendar of today at all times.
pub(crate) fn format(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = civil(days.into());
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} +0000 UTC")
}

/// Year, month and day of a number of days since 1970 (Hinnant, "chrono-compatible low-level date
/// algorithms"): years begin in March, and 400 of them are a period.
#[expect(clippy::arithmetic_side_effects, reason = "i128 holds all of i64's days many times over")]
fn civil(days: i128) -> (i128, i128, i128) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = year + era * 400 + i128::from(month >= 10);
    (year, if month < 10 { month + 3 } else { month - 9 }, day)
}

#[cfg(test)]
mod tests {
    use super::{YEAR_ONE, format};

    #[test]
    fn times_are_printed_in_utc() {
        let rows = [
            (0, "1970-01-01 00:00:00 +0000 UTC"),
            (-1, "1969-12-31 23:59:59 +0000 UTC"),
            (951_782_399, "2000-02-28 23:59:59 +0000 UTC"),
            (951_782_400, "2000-02-29 00:00:00 +0000 UTC"),
            (1_795_517_660, "2026-11-24 10:54:20 +0000 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 +0000 UTC"),
            (YEAR_ONE, "0001-01-01 00:00:00 +0000 UTC"),
        ];
        for (seconds, text) in rows {
            assert_eq!(format(seconds), text);
        }
        format(i64::MIN);
        format(i64::MAX);
    }
}
