//! RFC 3339 dates to seconds since 1970.
//!
//! Fractions of a second are dropped, a leap second counts as the second after. Not here: the
//! current time.

/// Reads `2026-11-24T10:54:20.5+01:00` as seconds since 1970; `None` for anything else.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let (date, clock) = text.split_at_checked(10)?;
    let (year, month, day) = match *date.split('-').collect::<Vec<_>>().as_slice() {
        [year, month, day] => (number(year, 4)?, number(month, 2)?, number(day, 2)?),
        _ => return None,
    };
    let clock = clock.strip_prefix(['T', 't', ' '])?;
    let (hms, rest) = clock.split_at_checked(8)?;
    let (hour, minute, second) = match *hms.split(':').collect::<Vec<_>>().as_slice() {
        [hour, minute, second] => (number(hour, 2)?, number(minute, 2)?, number(second, 2)?),
        _ => return None,
    };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|letter: char| letter.is_ascii_digit());
            if zone.len() == fraction.len() { return None } else { zone }
        }
        None => rest,
    };
    let in_range = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour <= 23
        && minute <= 59
        && second <= 60;
    if !in_range {
        return None;
    }
    let time = hour.checked_mul(3600)?.checked_add(minute.checked_mul(60)?)?.checked_add(second)?;
    let days = days_since_1970(year, month, day)?;
    days.checked_mul(86_400)?.checked_add(time)?.checked_sub(zone_offset(zone)?)
}

fn number(text: &str, width: usize) -> Option<i64> {
    let all_digits = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { text.parse().ok() } else { None }
}

/// Seconds east of UTC.
fn zone_offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1_i64, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?.checked_mul(sign)
}

const fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

const fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    // Days of whole years from year 0, leap days by the Gregorian rule.
    let until = |year: i64| {
        let last = year.checked_sub(1)?;
        let leaps = last.div_euclid(4).checked_sub(last.div_euclid(100))?;
        let leaps = leaps.checked_add(last.div_euclid(400))?;
        year.checked_mul(365)?.checked_add(leaps)
    };
    let months: i64 = (1..month).map(|earlier| days_of(year, earlier)).sum();
    let years = until(year)?.checked_sub(until(1970)?)?;
    years.checked_add(months)?.checked_add(day)?.checked_sub(1)
}
