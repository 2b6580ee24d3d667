//! Claims: making something that no other process or node makes at the same time.
//!
//! Whoever is first claims the work and renews the claim while it is at it; the others look every
//! second for what comes of it, and take the work over when the claim has not changed for a while
//! by their own clock, or its holder is dead. A claim that cannot be made is done without: two that
//! work publish the same bytes.
//!
//! Not here: the file ([`orlop_store::Claim`]); the work.

use std::time::Duration;

use orlop_config::limits;
use orlop_config::settings::Settings;
use orlop_store::{Claim, Claimed, Entry, Seen, Store, Watch};
use tokio_util::task::AbortOnDropHandle;

use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::flights::Facts;

/// First pause between two looks; each is twice the one before.
const FIRST_LOOK: Duration = Duration::from_millis(25);
/// Longest pause between two looks.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// When a claim counts as dead, and how often it is renewed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// A claim that has not changed for so long is taken over.
    pub(crate) stale: Duration,
    /// Time between two renewals.
    pub(crate) renew: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { stale: limits::CLAIM_STALE, renew: limits::CLAIM_RENEW }
    }
}

impl Times {
    /// What the settings say.
    pub(crate) fn of(settings: &Settings) -> Self {
        Self { stale: settings.limits.claim_stale, renew: settings.limits.claim_renew }
    }
}

/// Whose the work is.
pub(crate) enum Turn<T> {
    /// This process's, as long as the claim is held.
    Ours(Held),
    /// Nobody's any more: it is done.
    Made(T),
}

/// A claim that is renewed until this is dropped; none where it could not be made.
pub(crate) struct Held {
    _renewal: Option<AbortOnDropHandle<()>>,
}

/// What one look gave.
enum Look<T> {
    Made(T),
    Ours(Claim),
    Theirs(Watch),
    Unclaimed,
}

/// Waits for one's turn to make an entry, or for another to have made it.
///
/// # Errors
/// What `found` fails with.
pub(crate) async fn turn<T: Send + 'static>(
    daemon: &Daemon,
    entry: &Entry,
    times: Times,
    facts: &Facts,
    found: impl Fn(&Store) -> Result<Option<T>, orlop_store::Error> + Clone + Send + 'static,
) -> Result<Turn<T>, Failure> {
    let mut watch = None;
    let mut pause = FIRST_LOOK;
    loop {
        let (store, entry, found) = (daemon.store.clone(), entry.clone(), found.clone());
        let last = watch.take();
        let waited = last.is_some();
        let look = move || Ok(look(&store, &entry, times, last, found)?);
        match daemon.blocking("claim", look).await? {
            Look::Made(made) => {
                facts.set_elsewhere(false);
                daemon.counts.made_elsewhere.add(waited.into());
                return Ok(Turn::Made(made));
            }
            Look::Ours(claim) => {
                facts.set_elsewhere(false);
                return Ok(Turn::Ours(Held::renewing(daemon, claim, times)));
            }
            Look::Unclaimed => {
                facts.set_elsewhere(false);
                return Ok(Turn::Ours(Held { _renewal: None }));
            }
            Look::Theirs(theirs) => {
                facts.set_elsewhere(true);
                watch = Some(theirs);
            }
        }
        passed(pause).await;
        pause = pause.saturating_mul(2).min(LAST_LOOK).min(times.stale);
    }
}

/// Looks once: for the entry, then for the claim.
fn look<T>(
    store: &Store,
    entry: &Entry,
    times: Times,
    watch: Option<Watch>,
    found: impl Fn(&Store) -> Result<Option<T>, orlop_store::Error>,
) -> Result<Look<T>, orlop_store::Error> {
    let now = tokio::time::Instant::now().into_std();
    if let Some(made) = found(store)? {
        return Ok(Look::Made(made));
    }
    let claimed = match watch {
        Some(mut watch) => match watch.look(now, times.stale) {
            Seen::Alive => return Ok(Look::Theirs(watch)),
            Seen::Gone => store.claim(entry, now),
            Seen::Stale => {
                tracing::info!(%entry, holder = ?watch.holder(), "a dead claim is taken over");
                watch.take_over().map(Claimed::Ours)
            }
        },
        None => store.claim(entry, now),
    };
    match claimed {
        // It may have been published between the look and the claim.
        Ok(Claimed::Ours(claim)) => Ok(found(store)?.map_or(Look::Ours(claim), Look::Made)),
        Ok(Claimed::Theirs(watch)) => Ok(Look::Theirs(watch)),
        Err(error) => {
            tracing::debug!(%entry, %error, "going on without a claim");
            Ok(Look::Unclaimed)
        }
    }
}

impl Held {
    fn renewing(daemon: &Daemon, claim: Claim, times: Times) -> Self {
        let this = daemon.clone();
        let mut given_up = GivenUp { claim: Some(claim), daemon: daemon.clone() };
        let renewal = daemon.tasks.spawn("claim", async move {
            loop {
                passed(times.renew).await;
                let Some(mut claim) = given_up.claim.take() else { return };
                let renew = move || {
                    let renewed = claim.renew();
                    Ok((claim, renewed))
                };
                let Ok((renewed, outcome)) = this.blocking("claim", renew).await else { return };
                given_up.claim = Some(renewed);
                match outcome {
                    Ok(true) => {}
                    // Somebody took this process for dead: both work, and publish the same.
                    Ok(false) => return,
                    Err(error) => tracing::debug!(%error, "a claim is not renewed"),
                }
            }
        });
        Self { _renewal: Some(renewal) }
    }
}

/// A claim that is given up on a thread of its own: its disk may hang.
struct GivenUp {
    claim: Option<Claim>,
    daemon: Daemon,
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.daemon.tasks.detached("claim", move || drop(claim));
        }
    }
}

/// Returns after this time.
async fn passed(time: Duration) {
    drop(tokio::time::timeout(time, std::future::pending::<()>()).await);
}
