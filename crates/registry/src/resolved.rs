//! What a reference points to now: its digest, by `HEAD` where the registry knows it, and the
//! document of that digest.
//!
//! Rules: `registry.md` §1.2; cases R35 and R39. Not here: which source is asked, and which next
//! ([`crate::sources`]).

use orlop_oci::{Algorithm, Digest, MediaType};

use crate::documents::Fetched;
use crate::error::Error;
use crate::repository::Repository;
use crate::sources::Sources;

/// What a reference points to now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Digest of the top document: a manifest or an index.
    pub digest: Digest,
    /// Its type, as far as the registry said.
    pub media_type: Option<MediaType>,
    /// The document itself, where it had to be fetched to learn its digest.
    pub document: Option<Fetched>,
    /// `host/path` of the source that answered.
    pub source: String,
}

impl Sources {
    /// Asks which digest the reference has now, by `HEAD` where that is known.
    ///
    /// # Errors
    /// Of the last source; [`Error::Blocked`] when registries.conf leaves none.
    pub async fn resolve(&self) -> Result<Resolved, Error> {
        let mut index = self.current();
        loop {
            let repository = self.repository(index)?;
            match resolve_at(&repository).await {
                Ok(resolved) => {
                    self.settle(index);
                    return Ok(resolved);
                }
                Err(error) => index = self.next(index, error)?,
            }
        }
    }

    /// Fetches the top document that [`Sources::resolve`] named. A tag that has moved since then is
    /// resolved once more: the digest of what comes may differ.
    ///
    /// # Errors
    /// Of the last source; nothing that does not hash to its digest is returned.
    pub async fn fetch_top(&self, resolved: &Resolved) -> Result<Fetched, Error> {
        if let Some(document) = &resolved.document {
            return Ok(document.clone());
        }
        let outcome = self.fetch_by_digest(&resolved.digest).await;
        let has_moved = matches!(&outcome, Err(Error::NotFound { .. }))
            && self.repository(0).is_ok_and(|first| {
                first.reference().is_some_and(|reference| reference.digest().is_none())
            });
        if !has_moved {
            return outcome;
        }
        self.settle(0);
        let resolved = self.resolve().await?;
        match resolved.document {
            Some(document) => Ok(document),
            None => self.fetch_by_digest(&resolved.digest).await,
        }
    }
}

async fn resolve_at(repository: &Repository) -> Result<Resolved, Error> {
    let reference =
        repository.reference().ok_or_else(|| Error::NoHost { host: repository.name() })?;
    let selector = reference.selector();
    let source = repository.name();
    match repository.head_manifest(&selector).await {
        Ok(head) => {
            // Of a tag only a sha256 is taken at its word: it is the image's digest (R39).
            let is_sha256 = |digest: &Digest| digest.algorithm() == Algorithm::Sha256;
            let named = head.digest.filter(is_sha256);
            if let Some(digest) = reference.digest().cloned().or(named) {
                let media_type = head.media_type;
                return Ok(Resolved { digest, media_type, document: None, source });
            }
        }
        // No HEAD here (R35): the document says it all.
        Err(Error::Failed { status: 405 | 501, .. }) => {}
        Err(error) => return Err(error),
    }
    let fetched = match reference.digest() {
        Some(digest) => repository.fetch_digest(digest).await?,
        None => repository.fetch_tag(&selector).await?,
    };
    Ok(Resolved {
        digest: fetched.digest.clone(),
        media_type: fetched.content_type.as_deref().map(MediaType::parse),
        document: Some(fetched),
        source,
    })
}
