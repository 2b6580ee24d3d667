//! Kept: the address to which a registry redirected for a blob, used again for a short time.
//!
//! Resumes and parts of one download go there without asking the registry for each. Signed
//! addresses end: after `redirect-keep`, and at once when the place refuses, the registry is asked
//! again. Held in memory, for one download, never longer. Rules: `registry.md` §8.2; case R96. Not
//! here: which redirects are followed ([`crate::redirect`]).

use std::sync::Mutex;

use orlop_oci::Digest;
use reqwest::Method;
use reqwest::header::{self, HeaderValue};
use tokio::time::Instant;
use url::Url;

use crate::answer::Answer;
use crate::error::Error;
use crate::pool::locked;
use crate::repository::Repository;

/// Where a blob is, for as long as that may be believed.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Option<(Url, Instant)>>);

impl Kept {
    /// Asks for a blob or a part of it, where it was last if that is fresh.
    pub(crate) async fn ask(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Option<&str>,
    ) -> Result<Answer, Error> {
        let mut ask = repository.blob_ask(Method::GET, digest).await?;
        if let Some(range) = range.and_then(|range| HeaderValue::from_str(range).ok()) {
            ask = ask.with_header(header::RANGE, range);
        }
        if let Some(url) = self.fresh(repository) {
            let registry = std::mem::replace(&mut ask.url, url);
            match repository.ask_once(&ask).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    self.forget();
                    let is_refusal = matches!(error, Error::Failed { status: 400..=415 | 417..=499, .. })
                        || matches!(error, Error::NotFound { .. } | Error::Refused { .. });
                    if !is_refusal {
                        return Err(error);
                    }
                    tracing::debug!(%error, "the registry is asked for a new address");
                    ask.url = registry;
                }
            }
        }
        let answer = repository.ask_once(&ask).await?;
        if !answer.is_origin {
            *locked(&self.0) = Some((answer.response.url().clone(), Instant::now()));
        }
        Ok(answer)
    }

    /// Another source has it elsewhere.
    pub(crate) fn forget(&self) {
        *locked(&self.0) = None;
    }

    fn fresh(&self, repository: &Repository) -> Option<Url> {
        let most = repository.limits().redirect_keep;
        let kept = locked(&self.0);
        kept.as_ref().filter(|(_, since)| since.elapsed() < most).map(|(url, _)| url.clone())
    }
}
