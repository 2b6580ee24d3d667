//! Uploads: a blob, and the question whether it is there.
//!
//! What is there is not sent; what another repository of the registry has is taken from there,
//! where somebody says so and the registry agrees; the rest is sent. Rules: `registry.md` §1.8;
//! cases R119 to R132. Not here: where the bytes come from; the order of blobs and manifests (the
//! daemon).

mod body;
mod manifest;
mod place;
mod sending;

use std::fmt;
use std::sync::Mutex;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use orlop_oci::Descriptor;
use reqwest::{Method, header};

pub(crate) use body::Payload;

use crate::error::{BoxError, Error};
use crate::pool::locked;
use crate::repository::Repository;
use body::State;
use place::{Opened, Place};
use sending::Sending;

/// The bytes to upload, which can be read more than once.
pub trait Content: Send + Sync {
    /// Starts to read at an offset.
    ///
    /// # Errors
    /// What keeps the bytes from being read; the upload then ends with [`Error::Content`].
    fn open(
        &self,
        offset: u64,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes, BoxError>>, BoxError>>;
}

/// How a blob came to be at the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// It was there.
    Existed,
    /// The registry took it from another repository of its own.
    Mounted,
    /// It was sent.
    Sent,
}

/// A blob that is to be brought to a repository.
pub struct Upload {
    repository: Repository,
    descriptor: Descriptor,
    /// Paths of repositories that may have it.
    from: Vec<String>,
    /// The place that is open at the registry.
    place: Mutex<Option<Place>>,
}

impl Repository {
    /// Says whether a blob of this digest and size is there.
    ///
    /// # Errors
    /// Any but [`Error::NotFound`].
    pub async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        let ask = self.blob_ask(Method::HEAD, &descriptor.digest).await?;
        match self.ask(&ask).await {
            Ok(answer) => {
                let size = answer.text_header(&header::CONTENT_LENGTH);
                Ok(size.is_none_or(|size| size.parse() == Ok(descriptor.size)))
            }
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Prepares the upload of a blob; nothing is asked yet.
    #[must_use]
    pub fn upload(&self, descriptor: &Descriptor) -> Upload {
        Upload {
            repository: self.clone(),
            descriptor: descriptor.clone(),
            from: Vec::new(),
            place: Mutex::default(),
        }
    }
}

impl Upload {
    /// Names repositories of the same registry that may have the blob, by their paths.
    #[must_use]
    pub fn mount_from(mut self, paths: impl IntoIterator<Item = String>) -> Self {
        let own = self.repository.path();
        self.from = paths.into_iter().filter(|path| path != own).collect();
        self
    }

    /// Brings the blob to the repository unless it is there. `progress` is told how far into the
    /// blob sending has come; that may go back.
    ///
    /// # Errors
    /// [`Error::Upload`] when the registry does not take it; [`Error::Content`] when the bytes
    /// cannot be read or are not as many as the descriptor says. The session at the registry is
    /// then closed.
    pub async fn send(
        &self,
        content: &dyn Content,
        progress: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<Uploaded, Error> {
        let (repository, descriptor) = (&self.repository, &self.descriptor);
        if repository.has_blob(descriptor).await? {
            return Ok(Uploaded::Existed);
        }
        if self.mount().await {
            return Ok(Uploaded::Mounted);
        }
        let state = State::new(progress);
        let sending = Sending::new(repository, descriptor, content, state, &self.place);
        match sending.run().await {
            Ok(()) => {
                *locked(&self.place) = None;
                Ok(Uploaded::Sent)
            }
            Err(error) => {
                self.abandon().await;
                Err(error)
            }
        }
    }

    /// Has the registry take the blob from the first of the other repositories that it agrees to.
    /// A refusal is no failure: the place that comes with it is used.
    async fn mount(&self) -> bool {
        for from in &self.from {
            let opened = self.repository.open_upload(&self.descriptor.digest, Some(from)).await;
            match opened {
                Ok(Opened::Mounted) => return true,
                Ok(Opened::Place(place)) => {
                    *locked(&self.place) = Some(place);
                    return false;
                }
                Err(error) => tracing::debug!(%error, from, "no blob from another repository"),
            }
        }
        false
    }

    /// Closes the session that is open at the registry, if one is. Waits a little, and fails never.
    /// Where nobody waits for its end it may be called again.
    pub async fn abandon(&self) {
        let place = locked(&self.place).clone();
        if let Some(place) = place {
            self.repository.close_upload(place, &self.descriptor.digest).await;
            *locked(&self.place) = None;
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Upload")
            .field("repository", &self.repository)
            .field("digest", &self.descriptor.digest)
            .finish_non_exhaustive()
    }
}
