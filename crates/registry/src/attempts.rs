//! The tries for one object at one source, and the one delay of this crate between them.
//!
//! Not here: which failure is worth another try, and how long to wait ([`crate::retry`]).

use std::time::Duration;

use crate::error::Error;
use crate::notice::Notice;
use crate::retry::{self, Decision};
use crate::session::Session;

/// Counts the tries for one object at one source and waits between them.
#[derive(Debug)]
pub(crate) struct Attempts {
    most: u32,
    failed: u32,
}

impl Attempts {
    pub(crate) const fn new(most: u32) -> Self {
        Self { most, failed: 0 }
    }

    /// What broke had brought enough that its next failure counts as the first.
    pub(crate) const fn progressed(&mut self) {
        self.failed = 0;
    }

    /// Waits for the next try.
    ///
    /// # Errors
    /// `error` itself when there is none.
    pub(crate) async fn again(&mut self, session: &Session, error: Error) -> Result<(), Error> {
        self.failed = self.failed.saturating_add(1);
        let chance = session.shared().clock.chance();
        match retry::decide(&error, self.failed, self.most, chance, session.limits()) {
            Decision::GiveUp => Err(error),
            Decision::After(delay) => {
                tracing::debug!(%error, failed = self.failed, ?delay, "trying again");
                if let Error::Limited { endpoint, .. } = error {
                    session.tell(Notice::Waiting { endpoint, delay });
                }
                pause(delay).await;
                Ok(())
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one delay of the crate")]
async fn pause(delay: Duration) {
    tokio::time::sleep(delay).await;
}
