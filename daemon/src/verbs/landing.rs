//! Waiting for flights, and telling a caller of their bytes meanwhile.
//!
//! Not here: the flights ([`crate::flights`]); what flies ([`super::convert`]).

use std::time::Duration;

use orlop_proto::v1::{self, Kind, pull_event};

use super::pull::Events;
use crate::failure::Failure;
use crate::flights::{FLIGHTS, Joined};

/// How often callers are told of bytes.
const TELL: Duration = Duration::from_millis(100);

/// How long the end of flights is waited for that others may share.
const REST: Duration = Duration::from_secs(2);

/// Joins flights and waits for them. Where one failed that another caller had started, with its
/// credentials and its proxy, it is flown once more: one caller's lack is no other's.
pub(super) async fn land<T: Clone>(
    join: impl Fn() -> Vec<Joined<T>>,
    events: &Events,
) -> Result<Vec<T>, Failure> {
    let mut flights = join();
    let mut tries = 1;
    loop {
        match watch(&flights, events).await {
            Ok(landed) => return Ok(landed),
            Err(lost) if !lost.is_own && lost.failure.is_of_caller() && tries < FLIGHTS => {
                tracing::debug!(failure = %lost.failure, "flown again for another caller");
                tries += 1;
                // Joined anew before the old ones are let go: what still flies flies on.
                flights = join();
            }
            Err(lost) => {
                if lost.failure.kind() == Kind::DiskFull {
                    at_rest(flights).await;
                }
                return Err(lost.failure);
            }
        }
    }
}

/// Leaves flights and waits until what worked for them has ended, so that the room they took is
/// free when the caller is told; not for long, as others may have joined them.
pub(super) async fn at_rest<T: Clone>(flights: Vec<Joined<T>>) {
    let facts: Vec<_> = flights.iter().map(Joined::shared_facts).collect();
    drop(flights);
    let all = futures::future::join_all(facts.iter().map(|facts| facts.at_rest()));
    drop(tokio::time::timeout(REST, all).await);
}

/// A flight that failed.
#[derive(Debug)]
pub(super) struct Lost {
    /// Why.
    pub(super) failure: Failure,
    /// This caller had started it.
    pub(super) is_own: bool,
}

/// Waits for all flights and tells of their bytes.
pub(super) async fn watch<T: Clone>(
    flights: &[Joined<T>],
    events: &Events,
) -> Result<Vec<T>, Lost> {
    let landed =
        futures::future::try_join_all((1_usize..).zip(flights).map(async |(at, flight)| {
            let is_own = flight.is_own();
            flight.landed().await.map_err(|failure| Lost { failure: failure.of_layer(at), is_own })
        }));
    tokio::pin!(landed);
    let mut ticks = tokio::time::interval(TELL);
    let mut told = vec![0; flights.len()];
    loop {
        tokio::select! {
            biased;
            all = &mut landed => return all,
            _ = ticks.tick() => {
                for (layer, (flight, told)) in flights.iter().zip(&mut told).enumerate() {
                    let bytes = flight.facts().bytes();
                    if bytes != *told {
                        *told = bytes;
                        let layer = u32::try_from(layer).unwrap_or(u32::MAX);
                        let progress = v1::PullProgress { layer, bytes, total: flight.facts().total() };
                        // A caller that is slow gets the next one.
                        drop(events.try_send(pull_event::Event::Progress(progress)));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::mpsc;

    use super::*;
    use crate::flights::Flights;
    use crate::tasks::Tasks;

    /// A caller that joins a flight which fails with `kind`; what its own would give is 7.
    async fn joins_one_that_fails(kind: Kind) -> Result<Vec<u8>, Failure> {
        let flights = Flights::new(Tasks::default());
        let (open, gate) = tokio::sync::oneshot::channel::<()>();
        let first = flights.join("k", "", 0, |_| async move {
            drop(gate.await);
            Err(Failure::of(kind, "of the first"))
        });
        let (events, _told) = mpsc::channel(8);
        let mut open = Some(open);
        let second = land(|| vec![flights.join("k", "", 0, |_| async { Ok(7) })], &events);
        tokio::pin!(second);
        assert!(futures::FutureExt::now_or_never(&mut second).is_none());
        drop(open.take());
        assert_eq!(first.landed().await.unwrap_err().kind(), kind);
        second.await
    }

    #[tokio::test]
    async fn f30_a_full_disk_is_told_when_the_other_flights_have_ended() {
        let (flights, tasks) = (Flights::new(Tasks::default()), Tasks::default());
        let (events, _told) = mpsc::channel(8);
        let has_ended = Arc::new(AtomicBool::new(false));
        let begun = Arc::new(tokio::sync::Notify::new());
        let join = || {
            let (tasks, begin, end) = (tasks.clone(), Arc::clone(&begun), Arc::clone(&has_ended));
            let slow = flights.join("slow", "", 0, |facts| async move {
                let part = facts.part();
                let work = tasks.blocking("work", move |stop| {
                    let _part = part;
                    begin.notify_one();
                    while !stop.flag().load(Ordering::Relaxed) {
                        std::thread::yield_now();
                    }
                    end.store(true, Ordering::Relaxed);
                });
                work.await.map_err(|lost| Failure::new(Kind::Internal, &lost))
            });
            let begun = Arc::clone(&begun);
            let full = flights.join("full", "", 0, |_| async move {
                begun.notified().await;
                Err(Failure::of(Kind::DiskFull, "of the test"))
            });
            vec![slow, full]
        };
        let failure = land(join, &events).await.unwrap_err();
        assert_eq!(failure.kind(), Kind::DiskFull);
        assert!(has_ended.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_caller_without_rights_does_not_fail_one_that_has_them() {
        assert_eq!(joins_one_that_fails(Kind::CredentialsRefused).await.unwrap(), [7]);
        let failure = joins_one_that_fails(Kind::LayerInvalid).await.unwrap_err();
        assert_eq!(failure.kind(), Kind::LayerInvalid, "a wrong layer is wrong for all");
    }
}
