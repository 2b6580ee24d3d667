//! The tries for one object at one source, and the one delay of this crate between them.
//!
//! Not here: which failure is worth another try, and how long to wait ([`crate::retry`]).

use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::notice::Notice;
use crate::retry::{self, Decision};
use crate::session::Session;

/// Bytes below which an answer that ends early has brought too little.
const LEAST: u64 = 64 << 10;

/// Counts the tries for one object at one source and waits between them.
#[derive(Debug)]
pub(crate) struct Attempts {
    most: u32,
    failed: u32,
    /// Answers in a row that ended early and brought too little.
    short: u32,
}

impl Attempts {
    pub(crate) const fn new(most: u32) -> Self {
        Self { most, failed: 0, short: 0 }
    }

    /// What broke had brought enough that its next failure counts as the first.
    pub(crate) const fn progressed(&mut self) {
        self.failed = 0;
    }

    /// Takes note of an answer that ended before all that was asked for, and of what it brought;
    /// fails when as many in a row as there are tries brought too little: the rest would take for
    /// ever.
    ///
    /// # Errors
    /// [`Error::Unusable`].
    pub(crate) fn ended_early(&mut self, brought: u64, endpoint: Endpoint) -> Result<(), Error> {
        self.short = if brought < LEAST { self.short.saturating_add(1) } else { 0 };
        if self.short < self.most {
            return Ok(());
        }
        let what = format!("{} times in a row only a few bytes of what was asked for", self.short);
        Err(Error::Unusable { endpoint, what })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_a_few_bytes_are_taken_as_often_as_there_are_tries() {
        let endpoint = || Endpoint::of(&url::Url::parse("https://r.example").unwrap()).unwrap();
        let mut attempts = Attempts::new(3);
        for brought in [1, 1, LEAST, LEAST - 1, 0] {
            attempts.ended_early(brought, endpoint()).unwrap();
        }
        let error = attempts.ended_early(1, endpoint()).unwrap_err().to_string();
        assert!(
            error.ends_with("3 times in a row only a few bytes of what was asked for"),
            "{error}"
        );
    }
}
