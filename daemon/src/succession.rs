//! A cache that can be written no more under a daemon, or can be again: another daemon takes over.
//!
//! A daemon works on the cache that it opened at its start. Where that has become read-only since,
//! or has something else in its place, the daemon gives up its socket and says that it is none any
//! more: the client starts another, which opens what there is now and goes on without a cache where
//! it has to (row F38). The other way round the same: a daemon without its cache looks, whenever
//! somebody comes, whether it could have it.
//!
//! A full disk is no such state: what was asked for fails, with the bytes that are needed.
//!
//! Not here: what is opened then ([`crate::opened`]); the second try, which is the client's.

use std::path::PathBuf;
use std::time::Duration;

use orlop_proto::v1::Kind;
use orlop_store::{Error, Store};

use crate::daemon::Daemon;
use crate::failure::Failure;

/// How long a look at the cache's directory may take: its disk may hang.
const LONGEST_LOOK: Duration = Duration::from_secs(2);

impl Daemon {
    /// What a caller is told of work that may have written to the cache. Where it failed because
    /// that cannot be written any more, this daemon is none any more.
    ///
    /// # Errors
    /// The work's own; DAEMON_UNAVAILABLE when another daemon has to do it.
    pub(crate) async fn served<T>(&self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        match outcome {
            Err(failure) if failure.kind() == Kind::FileFailed && self.is_shut_out().await => {
                tracing::warn!(%failure, "the cache cannot be used any more");
                Err(self.succeeded("the cache cannot be used any more").await)
            }
            outcome => outcome,
        }
    }

    /// Fails where the cache that this daemon does without can be used by now.
    ///
    /// # Errors
    /// DAEMON_UNAVAILABLE: another daemon uses it.
    pub(crate) async fn still_without_cache(&self) -> Result<(), Failure> {
        // A daemon of one command has it to the end.
        let Some(unused) = self.unused.clone().filter(|_| self.socket.is_some()) else {
            return Ok(());
        };
        match self.look(unused).await {
            Some(Ok(())) => {
                tracing::info!("the cache can be used again");
                Err(self.succeeded("the cache can be used again").await)
            }
            _ => Ok(()),
        }
    }

    async fn is_shut_out(&self) -> bool {
        if self.cache_is_private {
            return false;
        }
        let looked = self.look(self.store.root().to_owned()).await;
        matches!(looked, Some(Err(Error::Unusable { .. })))
    }

    /// Looks at a cache's directory as a daemon does that starts; `None` when that takes too long.
    async fn look(&self, root: PathBuf) -> Option<Result<(), Error>> {
        // One at a time: a disk that hangs stops one thread.
        let turn = std::sync::Arc::clone(&self.looks);
        let look = async {
            let turn = turn.acquire_owned().await.ok()?;
            let look = move || {
                let looked = Store::look(&root);
                drop(turn);
                Ok(looked)
            };
            self.blocking("look", look).await.ok()
        };
        tokio::time::timeout(LONGEST_LOOK, look).await.ok().flatten()
    }

    /// Gives the socket up.
    async fn succeeded(&self, why: &str) -> Failure {
        match self.resign().await {
            Ok(()) => Failure::of(Kind::DaemonUnavailable, why),
            Err(failure) => failure,
        }
    }
}
