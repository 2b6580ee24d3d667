//! One piece of work for all callers that want the same thing.
//!
//! The map keeps weak handles, the callers own the work: the last one to leave ends it, and a panic
//! reaches all of them as a failure. Who may join is decided before ([`crate::verbs`]): a caller
//! joins only after its own credentials have opened the manifest. What the work is told by registries
//! reaches all callers, also what was said before one joined.
//!
//! Not here: the work itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use orlop_proto::v1::Kind;
use orlop_registry::{Notice, Session, Sources};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::failure::Failure;
use crate::tasks::Tasks;

/// How often a caller joins or flies what failed under another's rights.
pub(crate) const FLIGHTS: u32 = 3;

type Landing<T> = BoxFuture<'static, Result<T, Failure>>;

/// Notices of a flight that are kept for those who join it later.
const NOTICES: usize = 64;

/// What is known of work under way.
#[derive(Debug)]
pub(crate) struct Facts {
    what: String,
    total: u64,
    bytes: AtomicU64,
    callers: AtomicU32,
    elsewhere: AtomicBool,
    /// Whatever works for it, also when nobody waits any more.
    working: TaskTracker,
    said: Mutex<Said>,
}

/// What the work was told, and who is to hear it.
#[derive(Debug, Default)]
struct Said {
    notices: Vec<Notice>,
    ears: BTreeMap<u64, Session>,
    ears_ever: u64,
}

impl Facts {
    /// Passes on what the work is told by a registry.
    pub(crate) fn tell(&self, notice: Notice) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        for ear in said.ears.values() {
            ear.pass_on(notice.clone());
        }
        let has_passed = matches!(notice, Notice::Waiting { .. });
        if !has_passed && said.notices.len() < NOTICES {
            said.notices.push(notice);
        }
    }

    /// Has a session's caller hear what was said and will be.
    fn listen(&self, session: &Session) -> u64 {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        for notice in &said.notices {
            session.pass_on(notice.clone());
        }
        said.ears_ever = said.ears_ever.saturating_add(1);
        let number = said.ears_ever;
        said.ears.insert(number, session.clone());
        number
    }

    fn listen_no_more(&self, number: u64) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.ears.remove(&number);
    }

    /// What it is about, for people.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// Bytes in all; 0 when not known.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes done.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Callers that wait.
    pub(crate) fn callers(&self) -> u32 {
        self.callers.load(Ordering::Relaxed)
    }

    /// Tells how many bytes are done.
    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// True while another process or node does it.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.elsewhere.load(Ordering::Relaxed)
    }

    /// Counts something that works for it, for as long as the value lives: a thread that nobody can
    /// end from outside.
    pub(crate) fn part(&self) -> TaskTrackerToken {
        self.working.token()
    }

    /// Returns when nothing works for it any more.
    pub(crate) async fn at_rest(&self) {
        self.working.close();
        self.working.wait().await;
    }

    /// Tells whether another process or node does it.
    pub(crate) fn set_elsewhere(&self, elsewhere: bool) {
        self.elsewhere.store(elsewhere, Ordering::Relaxed);
    }
}

/// Work under way, by key.
pub(crate) struct Flights<T> {
    tasks: Tasks,
    running: Arc<Mutex<BTreeMap<String, Running<T>>>>,
}

struct Running<T> {
    landing: WeakShared<Landing<T>>,
    facts: Arc<Facts>,
    started: Instant,
    /// How long after its start a flight that has landed well may still be joined.
    shared: Duration,
}

impl<T: Clone> Running<T> {
    /// The flight, if it may be joined: it flies, or what came of it is fresh and still held.
    fn open(&self) -> Option<Shared<Landing<T>>> {
        let landing = self.landing.upgrade()?;
        let is_open = match landing.peek() {
            None => true,
            Some(outcome) => outcome.is_ok() && self.started.elapsed() < self.shared,
        };
        is_open.then_some(landing)
    }
}

/// A caller's part in a flight. Dropping the last one ends the work.
pub(crate) struct Joined<T: Clone> {
    landing: Shared<Landing<T>>,
    facts: Arc<Facts>,
    is_own: bool,
    ear: Option<u64>,
}

impl<T> std::fmt::Debug for Flights<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flights").field("running", &self.lock().len()).finish_non_exhaustive()
    }
}

impl<T> Flights<T> {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Running<T>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// No flights yet.
    pub(crate) fn new(tasks: Tasks) -> Self {
        Self { tasks, running: Arc::default() }
    }

    /// Joins the flight of this key, or starts it.
    pub(crate) fn join<F>(
        &self,
        key: &str,
        what: impl Into<String>,
        total: u64,
        work: impl FnOnce(Arc<Facts>) -> F,
    ) -> Joined<T>
    where
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        self.join_within(Duration::ZERO, key, what, total, work)
    }

    /// The same, and a flight that has landed well is joined too until `shared` after its start,
    /// while somebody holds it.
    pub(crate) fn join_within<F>(
        &self,
        shared: Duration,
        key: &str,
        what: impl Into<String>,
        total: u64,
        work: impl FnOnce(Arc<Facts>) -> F,
    ) -> Joined<T>
    where
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let mut running = self.lock();
        running.retain(|_, flight| flight.open().is_some());
        if let Some(flight) = running.get(key)
            && let Some(landing) = flight.open()
        {
            return Joined::new(landing, Arc::clone(&flight.facts), false);
        }
        let facts = Arc::new(Facts {
            what: what.into(),
            total,
            bytes: AtomicU64::new(0),
            callers: AtomicU32::new(0),
            elsewhere: AtomicBool::new(false),
            working: TaskTracker::new(),
            said: Mutex::default(),
        });
        // Runs however slowly a caller polls; ends when the last handle is dropped.
        let work = facts.working.track_future(work(Arc::clone(&facts)));
        let task = self.tasks.spawn("flight", work);
        let landing: Landing<T> = task
            .map(|end| end.unwrap_or_else(|lost| Err(Failure::new(Kind::Internal, &lost))))
            .boxed();
        let landing = landing.shared();
        if let Some(weak) = landing.downgrade() {
            let (facts, started) = (Arc::clone(&facts), Instant::now());
            running.insert(key.to_owned(), Running { landing: weak, facts, started, shared });
        }
        Joined::new(landing, facts, true)
    }

    /// What is under way.
    pub(crate) fn list(&self) -> Vec<Arc<Facts>> {
        let running = self.lock();
        let alive = running.values().filter(|flight| {
            flight.landing.upgrade().is_some_and(|landing| landing.peek().is_none())
        });
        alive.map(|flight| Arc::clone(&flight.facts)).collect()
    }
}

impl<T: Clone> Joined<T> {
    fn new(landing: Shared<Landing<T>>, facts: Arc<Facts>, is_own: bool) -> Self {
        facts.callers.fetch_add(1, Ordering::Relaxed);
        Self { landing, facts, is_own, ear: None }
    }

    /// Has a session's caller hear what the work is told, for as long as this lives. Once.
    pub(crate) fn heard_by(mut self, session: &Session) -> Self {
        self.ear = Some(self.facts.listen(session));
        self
    }

    /// What is known of the work.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The same, beyond this caller's part.
    pub(crate) fn shared_facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts)
    }

    /// True when this caller started the work: with its credentials and its way to the registry.
    pub(crate) fn is_own(&self) -> bool {
        self.is_own
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// What the work failed with, the same for all callers.
    pub(crate) async fn landed(&self) -> Result<T, Failure> {
        self.landing.clone().await
    }
}

impl<T: Clone> Drop for Joined<T> {
    fn drop(&mut self) {
        self.facts.callers.fetch_sub(1, Ordering::Relaxed);
        if let Some(ear) = self.ear {
            self.facts.listen_no_more(ear);
        }
    }
}

/// Sources for the work of a flight: what they are told goes to all its callers.
pub(crate) fn heard(sources: &Sources, facts: &Arc<Facts>) -> Sources {
    let facts = Arc::clone(facts);
    sources.heard_by(move |notice| facts.tell(notice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn two_callers_have_one_start_and_one_end() {
        let flights = Flights::new(Tasks::default());
        let (open, gate) = oneshot::channel::<()>();
        let first = flights.join("k", "a thing", 10, |facts| async move {
            drop(gate.await);
            facts.set_bytes(10);
            Ok(7)
        });
        let second = flights.join("k", "a thing", 10, |_| async { panic!("joined, not started") });
        assert!(first.is_own() && !second.is_own());
        assert_eq!(first.facts().callers(), 2);
        assert_eq!(flights.list().len(), 1);
        open.send(()).unwrap();
        assert_eq!(second.landed().await.unwrap(), 7);
        assert_eq!(first.landed().await.unwrap(), 7);
        assert_eq!(first.facts().bytes(), 10);
        assert!(flights.list().is_empty());
        let again = flights.join("k", "a thing", 10, |_| async { Ok(8) });
        assert_eq!(again.landed().await.unwrap(), 8, "a landed flight is not joined");
    }

    #[tokio::test(start_paused = true)]
    async fn what_landed_is_shared_for_a_while_with_those_who_come_while_it_is_held() {
        let flights = Flights::<u8>::new(Tasks::default());
        let second = Duration::from_secs(1);
        let join =
            |number| flights.join_within(second, "k", "", 0, move |_| async move { Ok(number) });
        let first = join(1);
        assert_eq!(first.landed().await.unwrap(), 1);
        let shared = join(2);
        assert!(!shared.is_own());
        assert_eq!(shared.landed().await.unwrap(), 1);
        tokio::time::advance(second).await;
        let late = join(3);
        assert_eq!(late.landed().await.unwrap(), 3, "it is too old");
        drop((first, shared, late));
        assert_eq!(join(4).landed().await.unwrap(), 4, "nobody held it");
        let failing = || {
            flights.join_within(second, "f", "", 0, |_| async {
                Err(Failure::of(Kind::SourceFailed, "of the test"))
            })
        };
        let held = failing();
        held.landed().await.unwrap_err();
        assert!(failing().is_own(), "a failure is not shared");
        assert!(flights.list().is_empty(), "what has landed is no work under way");
    }

    #[tokio::test]
    async fn the_last_caller_to_leave_ends_the_work() {
        let flights = Flights::<()>::new(Tasks::default());
        let (alive, gone) = oneshot::channel::<()>();
        let work = |_| async move {
            let _alive = alive;
            std::future::pending().await
        };
        let first = flights.join("k", "", 0, work);
        let second = flights.join("k", "", 0, |_| async { Ok(()) });
        drop(first);
        assert_eq!(flights.list().len(), 1);
        drop(second);
        assert!(gone.await.is_err(), "the work was dropped");
        assert!(flights.list().is_empty());
    }

    #[tokio::test]
    async fn a_panic_reaches_all_and_the_flight_can_be_flown_again() {
        let flights = Flights::<u8>::new(Tasks::default());
        let flight = flights.join("k", "", 0, |_| async { panic!("of the test") });
        assert_eq!(flight.landed().await.unwrap_err().kind(), Kind::Internal);
        let again = flights.join("k", "", 0, |_| async { Ok(1) });
        assert_eq!(again.landed().await.unwrap(), 1);
    }
}
