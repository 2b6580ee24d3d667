//! Room on disk for what comes without a length, and the end of it.
//!
//! A server that never ends its answer would fill the disk: what comes is counted against
//! `limits.layer-bytes`, and room is made as it grows. Not here: making it (`orlop-store`).

use orlop_proto::v1::Kind;

use super::needs;
use crate::daemon::Daemon;
use crate::failure::Failure;

/// Bytes for which room is made at a time: as many as came, but no fewer and no more than these.
/// What turns out to be small wants no more room than it needs.
const STEPS: (u64, u64) = (16 << 20, 256 << 20);

/// The count of one download.
#[derive(Debug)]
pub(crate) struct Room {
    /// Where it comes from, for messages.
    source: String,
    came: u64,
    /// Bytes for which room has been made.
    made: u64,
    most: u64,
}

impl Room {
    /// Starts a count: room for `made` bytes there is, `most` may come.
    pub(crate) fn new(source: String, made: u64, most: u64) -> Self {
        Self { source, came: 0, made, most }
    }

    /// Fails when so many bytes in all are more than may come.
    ///
    /// # Errors
    /// LIMIT_EXCEEDED.
    pub(crate) fn check(&self, bytes: u64) -> Result<(), Failure> {
        if bytes <= self.most {
            return Ok(());
        }
        let (source, most) = (&self.source, self.most);
        let message = format!("{source} reached the limit layer-bytes = {most}");
        Err(Failure::of(Kind::LimitExceeded, message))
    }

    /// Counts bytes that came, and makes room for them and some to come.
    ///
    /// # Errors
    /// LIMIT_EXCEEDED, DISK_FULL.
    pub(crate) async fn take(&mut self, daemon: &Daemon, bytes: usize) -> Result<(), Failure> {
        self.count(bytes as u64)?;
        while let Some(step) = self.step() {
            needs::make_room(daemon, step, step).await?;
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) -> Result<(), Failure> {
        self.came = self.came.saturating_add(bytes);
        self.check(self.came)
    }

    /// Bytes to make room for next.
    fn step(&mut self) -> Option<u64> {
        if self.came <= self.made {
            return None;
        }
        let step = self.came.clamp(STEPS.0, STEPS.1);
        let step = step.min(self.most.saturating_sub(self.made));
        self.made = self.made.saturating_add(step);
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_in_steps_and_no_more_than_may_come() {
        let (least, most) = STEPS;
        let mut room = Room::new("h/a".to_owned(), 0, least + most + 5);
        assert_eq!(room.step(), None);
        room.count(1).unwrap();
        assert_eq!((room.step(), room.step()), (Some(least), None));
        room.count(most - 1).unwrap();
        assert_eq!((room.step(), room.step()), (Some(most), None));
        room.count(least + 1).unwrap();
        assert_eq!((room.step(), room.step()), (Some(5), None));
        room.count(4).unwrap();
        let failure = room.count(1).unwrap_err();
        assert_eq!(failure.kind(), Kind::LimitExceeded);
    }

    #[test]
    fn what_was_seen_to_is_not_seen_to_again() {
        let mut room = Room::new("h/a".to_owned(), 100, 1000);
        room.count(100).unwrap();
        assert_eq!(room.step(), None);
        assert_eq!(room.check(1001).unwrap_err().kind(), Kind::LimitExceeded);
    }
}
