//! The one reader of the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time of day.
#[expect(clippy::disallowed_methods, reason = "the one reader of the clock")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Seconds since 1970. For records that people read, never for deciding how long something took.
pub(crate) fn unix_seconds() -> i64 {
    match now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s),
    }
}

/// A number in 0.0..1.0 that spreads the retries of many machines.
pub(crate) fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without random numbers all retries come at once, which is no fault.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}
