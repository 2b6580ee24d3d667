//! Time of day and chance, passed in by the program: this crate reads neither.
//!
//! Not here: waiting, which goes by the runtime's own clock ([`crate::request`]).

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// Where the time of day and random numbers come from.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    chance: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl Clock {
    /// Takes the reader of the time of day, and a source of numbers in 0.0..1.0 that spreads the
    /// retries of many machines.
    #[must_use]
    pub fn new(
        now: impl Fn() -> SystemTime + Send + Sync + 'static,
        chance: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Self {
        Self { now: Arc::new(now), chance: Arc::new(chance) }
    }

    pub(crate) fn now(&self) -> SystemTime {
        (self.now)()
    }

    pub(crate) fn chance(&self) -> f64 {
        (self.chance)().clamp(0.0, 1.0)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Clock")
    }
}
