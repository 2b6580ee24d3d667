//! Waiting for a state, the one way tests wait for another process.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Longest that a state is waited for.
const PATIENCE: Duration = Duration::from_secs(40);

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// A state that was looked at: reached with a value, or not yet, with what was seen.
pub type Seen<T, S = ()> = Result<T, S>;

/// Looks until the state is reached, and returns its value. `what` is named when it never is,
/// together with what the last look saw.
///
/// # Panics
/// When forty seconds have passed.
pub fn until<T, S: Debug>(what: &str, mut look: impl FnMut() -> Seen<T, S>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(seen) => {
                assert!(began.elapsed() < PATIENCE, "not reached: {what}; last seen: {seen:?}");
            }
        }
        pause();
    }
}

/// Waits for the time between two looks.
pub(crate) fn pause() {
    #[expect(clippy::disallowed_methods, reason = "the one place where the kit polls")]
    std::thread::sleep(PAUSE);
}

/// [`until`] for a state that is only true or false.
///
/// # Panics
/// When forty seconds have passed.
pub fn until_true(what: &str, mut look: impl FnMut() -> bool) {
    until(what, || if look() { Ok(()) } else { Err(()) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_the_state_is_returned() {
        let mut looks = 0;
        let value = until("three looks", || {
            looks += 1;
            if looks < 3 { Err(looks) } else { Ok(looks) }
        });
        assert_eq!(value, 3);
    }
}
