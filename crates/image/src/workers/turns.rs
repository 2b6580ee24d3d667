//! Whose turn it is: blocks that wait for a thread, one of each conversion in turn, and how many of
//! each may be in flight.
//!
//! A small layer is not behind all the blocks of a large one: each conversion has its share of the
//! blocks in flight, and one block always. Not here: threads, waiting ([`super`]).

use std::collections::VecDeque;

/// Blocks of a conversion in flight that are no luxury: one at work and one that waits.
const LEAST: usize = 2;

/// A conversion, known by where its sink lies in memory.
pub(super) type Of = usize;

/// What waits and what is in flight.
#[derive(Debug)]
pub(super) struct Turns<J> {
    /// Conversions with blocks in flight; the first one has the next turn.
    lanes: VecDeque<Lane<J>>,
    in_flight: usize,
}

#[derive(Debug)]
struct Lane<J> {
    of: Of,
    jobs: VecDeque<J>,
    /// Blocks handed in and not yet written.
    in_flight: usize,
}

impl<J> Default for Turns<J> {
    fn default() -> Self {
        Self { lanes: VecDeque::new(), in_flight: 0 }
    }
}

impl<J> Turns<J> {
    /// Whether a conversion may hand in a block where `most` may be in flight in all.
    pub(super) fn has_room(&self, of: Of, most: usize) -> bool {
        let Some(own) = self.lanes.iter().find(|lane| lane.of == of) else { return true };
        let share = most.checked_div(self.lanes.len()).unwrap_or(most).max(LEAST);
        self.in_flight < most && own.in_flight < share
    }

    /// Takes a block of a conversion in.
    pub(super) fn push(&mut self, of: Of, job: J) {
        self.in_flight = self.in_flight.saturating_add(1);
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.of == of) {
            lane.in_flight = lane.in_flight.saturating_add(1);
            lane.jobs.push_back(job);
        } else {
            self.lanes.push_back(Lane { of, jobs: VecDeque::from([job]), in_flight: 1 });
        }
    }

    /// Gives out the block whose turn it is.
    pub(super) fn pop(&mut self) -> Option<J> {
        for _ in 0..self.lanes.len() {
            self.lanes.rotate_left(1);
            if let Some(job) = self.lanes.back_mut().and_then(|lane| lane.jobs.pop_front()) {
                return Some(job);
            }
        }
        None
    }

    /// A block of a conversion was written.
    pub(super) fn written(&mut self, of: Of) {
        let Some(at) = self.lanes.iter().position(|lane| lane.of == of) else { return };
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
            if lane.in_flight == 0 {
                self.lanes.remove(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIG: Of = 1;
    const SMALL: Of = 2;

    #[test]
    fn blocks_of_a_small_layer_pass_those_of_a_big_one_that_came_before() {
        let mut turns = Turns::default();
        for number in 0..6 {
            turns.push(BIG, (BIG, number));
        }
        turns.push(SMALL, (SMALL, 0));
        turns.push(SMALL, (SMALL, 1));
        let order: Vec<_> = std::iter::from_fn(|| turns.pop()).collect();
        let places: Vec<_> =
            (0..).zip(&order).filter(|(_, (of, _))| *of == SMALL).map(|(at, _)| at).collect();
        assert!(places == [0, 2] || places == [1, 3], "{order:?}");
        let big: Vec<_> = order.iter().filter(|(of, _)| *of == BIG).map(|(_, at)| *at).collect();
        assert_eq!(big, [0, 1, 2, 3, 4, 5], "those of one layer keep their order");
    }

    #[test]
    fn who_comes_to_a_full_house_has_room_for_a_block_and_soon_for_its_share() {
        let mut turns = Turns::default();
        while turns.has_room(BIG, 12) {
            turns.push(BIG, ());
        }
        assert_eq!(turns.in_flight, 12, "alone it has all of it");
        assert!(turns.has_room(SMALL, 12));
        turns.push(SMALL, ());
        assert!(!turns.has_room(SMALL, 12), "as long as nothing was written");
        for _ in 0..6 {
            turns.written(BIG);
            assert!(!turns.has_room(BIG, 12), "it has more than its share");
            assert!(turns.has_room(SMALL, 12) || turns.in_flight >= 12);
        }
        while turns.has_room(SMALL, 12) {
            turns.push(SMALL, ());
        }
        assert_eq!(turns.lanes.iter().map(|lane| lane.in_flight).max(), Some(6));
        for _ in 0..6 {
            turns.written(SMALL);
        }
        assert!(turns.has_room(BIG, 12), "what nobody else needs is its own again");
    }
}
