//! Faults of system calls: every call of a command and of what it starts is seen, counted, and
//! refused, answered, held or killed when a rule says so.
//!
//! The command is started under a seccomp filter whose calls are decided here (`seccomp_unotify`,
//! Linux 5.19). Unlike a preloaded library it sees calls that pass the C library by, as `rustix`
//! makes them, and static programs; unlike strace it counts all threads and processes together.
//! What runs before `main` is the dynamic loader's and is neither counted nor refused.
//!
//! Not here: file systems that misbehave.

mod calls;
mod decide;
mod each;
mod filter;
mod listen;
mod rule;
mod short;

pub use calls::{CALLS, Call};
pub use decide::Hit;
pub use each::{Position, Positions, Summary};
pub use rule::Rule;

use decide::Shared;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Faults for the commands of a test, and what their calls were. Commands are put under it with
/// [`crate::site::Run::under`]; what they start stays under it, a daemon too.
#[derive(Clone, Debug)]
pub struct Faults {
    calls: Vec<Call>,
    node: u32,
    shared: Arc<Mutex<Shared>>,
}

impl Faults {
    /// Watches these calls; the others are as fast as ever.
    ///
    /// # Panics
    /// When a name is none of [`CALLS`].
    #[must_use]
    pub fn watching<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let calls = names.into_iter().map(Call::named).collect();
        Self { calls, node: 0, shared: Arc::default() }
    }

    /// Watches all of [`CALLS`].
    #[must_use]
    pub fn of_all_calls() -> Self {
        Self::watching(CALLS.iter().map(|call| call.name))
    }

    /// The same rules and counts for the commands of another node: late renames are those of
    /// other nodes ([`Rule::renames_are_seen_late`]).
    #[must_use]
    pub fn on_node(&self, number: u32) -> Self {
        Self { node: number, ..self.clone() }
    }

    /// Whether the kernel can do this here; says so where it cannot.
    #[must_use]
    pub fn possible() -> bool {
        let possible = filter::is_possible();
        if !possible {
            crate::tools::skip("system calls cannot be decided here (seccomp_unotify)");
        }
        possible
    }

    /// Puts these rules in the place of those before, and counts from nothing.
    pub fn set(&self, rules: impl IntoIterator<Item = Rule>) {
        self.shared().begin(rules.into_iter().collect());
    }

    /// Takes all rules away, lets go of what is held, and counts no more.
    pub fn rest(&self) {
        self.shared().rest();
    }

    /// How often each call was made since [`Faults::set`], by `orlop` and `orlopd`.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.shared().counts.clone()
    }

    /// What the rules did since [`Faults::set`].
    #[must_use]
    pub fn hits(&self) -> Vec<Hit> {
        self.shared().hits.clone()
    }

    /// Waits until so many calls are held.
    pub fn held(&self, count: usize) {
        crate::until("calls are held", || {
            let held = self.shared().held.len();
            if held >= count { Ok(()) } else { Err(held) }
        });
    }

    /// Lets go of what is held.
    pub fn release(&self) {
        self.shared().release();
    }

    /// Starts this command under the faults.
    pub(crate) fn attach(&self, command: &mut Command) {
        let control = listen::listen(Arc::clone(&self.shared), self.node);
        filter::install(command, &self.calls, control);
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
