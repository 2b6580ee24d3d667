//! Gates: requests that wait until the test lets them go.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longest that a test waits for requests to arrive at a gate.
const PATIENCE: Duration = Duration::from_secs(30);

/// Holds the requests of one route. Dropping the registry opens it.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    arrived: usize,
    open: bool,
    single: usize,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once so many requests have come to the gate, those let through included.
    ///
    /// # Panics
    /// When they do not come within half a minute.
    pub fn arrived(&self, wanted: usize) {
        let state = self.state();
        let waiting = |state: &mut State| state.arrived < wanted;
        let (state, late) = self
            .0
            .changed
            .wait_timeout_while(state, PATIENCE, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!late.timed_out(), "{} of {wanted} requests came to the gate", state.arrived);
    }

    /// Lets everything through, now and from now on.
    pub fn open(&self) {
        self.state().open = true;
        self.0.changed.notify_all();
    }

    /// Lets one request through.
    pub fn open_one(&self) {
        self.state().single += 1;
        self.0.changed.notify_all();
    }

    /// Called by a request: counts it and waits.
    pub(crate) fn pass(&self) {
        let mut state = self.state();
        state.arrived += 1;
        self.0.changed.notify_all();
        while !state.open && state.single == 0 {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.open {
            state.single -= 1;
        }
    }
}
