//! An image that was found in an archive or layout.

use std::path::Path;
use std::sync::Arc;

use orlop_oci::{Descriptor, Digest, Manifest, Platform};

use crate::error::Error;
use crate::names::shown;
use crate::tree::{Content, Tree};

/// An image: its documents, checked, and where its layers are.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Digest of the manifest.
    pub digest: Digest,
    /// The manifest; for what `docker save` wrote, one that is made of it.
    pub manifest: Manifest,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The config's bytes.
    pub config: Vec<u8>,
    /// True when an index led to it.
    pub by_index: bool,
    /// Platform that the index's entry named.
    pub offered: Option<Platform>,
    /// Sentences for the user.
    pub warnings: Vec<String>,
    /// Names of the layers' files, the base first.
    pub(crate) layers: Vec<String>,
    pub(crate) tree: Arc<Tree>,
}

impl Chosen {
    /// The file or directory it is in.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.tree.path()
    }

    /// Opens the blob of a layer, counted from 0, the base. Its digest has not been compared.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Entry`], [`Error::Read`], [`Error::Size`].
    pub fn layer(&self, number: usize) -> Result<Content, Error> {
        let path = || self.tree.path().to_owned();
        let layer = self.layers.get(number).zip(self.manifest.layers.get(number));
        let Some((name, wanted)) = layer else {
            return Err(Error::Missing { path: path(), name: format!("layer {number}") });
        };
        let missing = || Error::Missing { path: path(), name: shown(name.as_bytes()) };
        let content = self.tree.content(name)?.ok_or_else(missing)?;
        check_size(&self.tree, name, wanted, content.size())?;
        Ok(content)
    }

    /// Says what is wrong when a layer's bytes turned out to have another digest.
    #[must_use]
    pub fn wrong_layer(&self, number: usize, actual: Digest) -> Error {
        if let Err(changed) = self.unchanged() {
            return changed;
        }
        let name = self.layers.get(number).map(|name| shown(name.as_bytes()));
        Error::Digest { path: self.tree.path().to_owned(), name: name.unwrap_or_default(), actual }
    }

    /// Says whether the archive is still as it was when it was opened.
    ///
    /// # Errors
    /// [`Error::Changed`], [`Error::Read`].
    pub fn unchanged(&self) -> Result<(), Error> {
        self.tree.local.unchanged()
    }
}

/// Compares a file's size with its descriptor's.
pub(crate) fn check_size(
    tree: &Tree,
    name: &str,
    wanted: &Descriptor,
    actual: u64,
) -> Result<(), Error> {
    if actual == wanted.size {
        return Ok(());
    }
    let (path, name) = (tree.path().to_owned(), shown(name.as_bytes()));
    Err(Error::Size { path, name, expected: wanted.size, actual })
}
