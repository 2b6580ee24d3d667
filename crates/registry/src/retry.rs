//! Retry: is there another try, and after what delay?
//!
//! Network errors, 408, 429, 499, 500, 502, 503, 504 and 522 are tried again: 0.5 s x 2^n with full
//! jitter, at most 30 s; a `Retry-After` of at most five minutes is waited for. Pure: time and
//! chance are arguments. Table: `registry.md` §8.2. Not here: the waiting ([`crate::request`]).

use std::time::{Duration, SystemTime};

use crate::error::{Error, Wanted};
use crate::limits::Limits;

/// What follows a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing: the error is final.
    GiveUp,
    /// Another try after this delay.
    After(Duration),
}

/// Says whether failed try number `tries`, counted from 1, is followed by another.
///
/// `chance` is in 0.0..1.0 and comes from the caller.
pub(crate) fn decide(
    error: &Error,
    tries: u32,
    most: u32,
    chance: f64,
    limits: &Limits,
) -> Decision {
    if tries >= most || !is_worth_it(error) {
        return Decision::GiveUp;
    }
    if let Error::Limited { retry_after: Some(delay), .. } = error {
        return if *delay <= limits.retry_after {
            Decision::After(*delay)
        } else {
            Decision::GiveUp
        };
    }
    let longest = limits
        .backoff
        .saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1)))
        .min(limits.backoff_cap);
    Decision::After(longest.mul_f64(chance.clamp(0.0, 1.0)))
}

const fn is_worth_it(error: &Error) -> bool {
    match error {
        Error::Unreachable { lasting, .. } => !*lasting,
        Error::Broken { .. } => true,
        Error::Limited { is_quota, .. } => !*is_quota,
        Error::Failed { status: 401 | 403, wanted: Wanted::File, .. } => false,
        // 401 and 403 get here from a place to which a registry redirected: its address has
        // expired, and the registry gives a new one (R96).
        Error::Failed { status, .. } => {
            matches!(*status, 401 | 403 | 408 | 429 | 499 | 500 | 502 | 503 | 504 | 522)
        }
        Error::Proxy { status, .. } => status.is_none(),
        _ => false,
    }
}

/// Reads `Retry-After`: seconds, or a date of HTTP. `None` for what is neither, and for the past.
pub(crate) fn retry_after(header: &[u8], now: SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(header).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Longer than 64 bits hold is for ever.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let then = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(http_date(text)?))?;
    then.duration_since(now).ok()
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7); the two
/// obsolete forms are not read.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.split_once(", ")?;
    let mut words = rest.split(' ');
    let day: u64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = u64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()?;
    let year: u64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if words.next()? != "GMT" || !(1..=31).contains(&day) || !(1970..10_000).contains(&year) {
        return None;
    }
    // Days of the civil calendar, counted from March so that the leap day is the last.
    let shifted = if month < 2 { year.checked_sub(1)? } else { year };
    let of_march = month.checked_add(10)?.checked_rem(12)?;
    let in_year = of_march.checked_mul(153)?.checked_add(2)?.checked_div(5)?.checked_add(day)?;
    let leaps = (shifted / 4).checked_sub(shifted / 100)?.checked_add(shifted / 400)?;
    let days = shifted.checked_mul(365)?.checked_add(leaps)?.checked_add(in_year)?;
    let days = days.checked_sub(719_469)?;
    let seconds = hour.checked_mul(3600)?.checked_add(minute.checked_mul(60)?)?;
    days.checked_mul(86_400)?.checked_add(seconds)?.checked_add(second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;

    fn endpoint() -> Endpoint {
        Endpoint::of(&url::Url::parse("https://r.example").unwrap()).unwrap()
    }

    fn failed(status: u16) -> Error {
        let message = String::new();
        Error::Failed { endpoint: endpoint(), wanted: Wanted::Blob, status, message }
    }

    fn limited(retry_after: Option<u64>, is_quota: bool) -> Error {
        let retry_after = retry_after.map(Duration::from_secs);
        let message = String::new();
        Error::Limited { endpoint: endpoint(), status: 429, retry_after, is_quota, message }
    }

    fn after(error: &Error, tries: u32) -> Option<u64> {
        match decide(error, tries, 5, 1.0, &Limits::default()) {
            Decision::GiveUp => None,
            Decision::After(delay) => Some(u64::try_from(delay.as_millis()).unwrap()),
        }
    }

    #[test]
    fn delays_double_up_to_a_cap_and_end_after_five_tries() {
        let delays: Vec<_> = (1..=5).map(|tries| after(&failed(503), tries)).collect();
        assert_eq!(delays, [Some(500), Some(1000), Some(2000), Some(4000), None]);
        let capped = decide(&failed(503), 20, 99, 1.0, &Limits::default());
        assert_eq!(capped, Decision::After(Duration::from_secs(30)));
        let jittered = decide(&failed(503), 1, 5, 0.5, &Limits::default());
        assert_eq!(jittered, Decision::After(Duration::from_millis(250)));
    }

    #[test]
    fn statuses_that_stay_are_not_tried_again() {
        for status in [400, 404, 405, 410, 501, 505] {
            assert_eq!(after(&failed(status), 1), None, "{status}");
        }
        for status in [408, 499, 500, 502, 503, 504, 522] {
            assert!(after(&failed(status), 1).is_some(), "{status}");
        }
    }

    #[test]
    fn a_retry_after_is_waited_for_within_the_limit() {
        assert_eq!(after(&limited(Some(2), false), 1), Some(2000));
        assert_eq!(after(&limited(Some(300), false), 1), Some(300_000));
        assert_eq!(after(&limited(Some(301), false), 1), None);
        assert_eq!(after(&limited(None, false), 1), Some(500));
        assert_eq!(after(&limited(None, true), 1), None);
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |text: &str| retry_after(text.as_bytes(), now).map(|delay| delay.as_secs());
        assert_eq!(read("2"), Some(2));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:39 GMT"), Some(2));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0));
        assert_eq!(read("Tue, 29 Feb 2000 00:00:00 GMT"), Some(951_782_400 - 784_111_777));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:36 GMT"), None);
        assert_eq!(read("100000000000000000000"), Some(u64::MAX));
        for bad in ["-1", "soon", "", "1.5", "Sun, 99 Foo 1994 08:49:37 GMT"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
