//! The cache as the daemon opens it, and what takes its place where that cannot be.
//!
//! Not here: what is in it (`orlop-store`), which it is ([`crate::start`]).

use std::path::PathBuf;

use orlop_config::Paths;
use orlop_store::Store;
use tempfile::TempDir;

use crate::daemon::Refused;
use crate::failure::Failure;

/// A cache that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The cache.
    pub(crate) store: Store,
    /// Where it is, when it goes with the daemon.
    pub(crate) temporary_directory: Option<TempDir>,
    /// The one that cannot be used.
    pub(crate) unused: Option<PathBuf>,
    /// The one that is left as it is.
    pub(crate) refused: Option<Refused>,
}

impl Opened {
    /// Opens the cache; where that cannot be, a directory that goes with the daemon takes its place,
    /// over the cache where that can be read.
    ///
    /// # Errors
    /// A sentence: there is no place for such a directory either.
    pub(crate) fn new(
        cache: Option<PathBuf>,
        cap_bytes: Option<u64>,
        paths: &Paths,
    ) -> Result<Self, String> {
        let settings =
            || orlop_store::Settings { cap_bytes, ..orlop_store::Settings::of_this_process() };
        let mut refused = None;
        let mut under = None;
        if let Some(cache) = cache {
            match Store::open(&cache, settings()) {
                Ok(store) => {
                    let (temporary_directory, unused) = (None, None);
                    return Ok(Self { store, temporary_directory, unused, refused });
                }
                Err(error) => {
                    tracing::warn!(%error, "going on without a cache");
                    match &error {
                        orlop_store::Error::Format { path, found, .. } => {
                            let (path, format) = (path.clone(), found.clone());
                            let failure = Failure::from(error).with_hint(
                                "use the orlop that made it, or remove all of it: orlop cache clean",
                            );
                            refused = Some(Refused { path, format, failure });
                        }
                        _ => under = Some(cache),
                    }
                }
            }
        }
        let failed = |cause: &dyn std::error::Error| format!("no directory for a cache: {cause}");
        let temporary = tempfile::Builder::new().prefix("orlop-").tempdir_in(paths.temporary());
        let temporary = temporary.map_err(|cause| failed(&cause))?;
        let own = temporary.path().join("cache");
        let over = under.as_ref().and_then(|under| Store::open_over(&own, under, settings()).ok());
        let store = over.map_or_else(|| Store::open(&own, settings()), Ok);
        let store = store.map_err(|cause| failed(&cause))?;
        Ok(Self { store, temporary_directory: Some(temporary), unused: under, refused })
    }
}
