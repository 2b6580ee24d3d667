//! An open archive or layout.
//!
//! Not here: its files ([`crate::tree`]), the image in it ([`crate::chosen`]).

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use orlop_oci::{LocalImage, Platform};

use crate::chosen::Chosen;
use crate::error::Error;
use crate::limits::Limits;
use crate::local::Local;
use crate::tree::{Content, Tree};
use crate::{docker, layout, spool};

/// In which form images lie in a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// What `docker save` writes.
    DockerArchive,
    /// A directory in the OCI image layout.
    Layout,
    /// Such a directory as a tar.
    LayoutArchive,
}

/// An open archive or layout. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Archive {
    form: Form,
    tree: Arc<Tree>,
}

impl Archive {
    /// Opens what the path leads to. A compressed archive is unpacked into a file without a name
    /// in the directory `spool`; `stop` ends that.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Kind`], [`Error::NotAnArchive`], [`Error::Tar`],
    /// [`Error::Limit`], [`Error::Spool`], [`Error::Stopped`].
    pub fn open(
        form: Form,
        path: &Path,
        spool: &Path,
        limits: Limits,
        stop: &AtomicBool,
    ) -> Result<Self, Error> {
        Self::of(form, Local::open(path)?, spool, limits, stop)
    }

    /// Takes an open file, which messages call `name`.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn of_file(
        form: Form,
        file: File,
        name: &Path,
        spool: &Path,
        limits: Limits,
        stop: &AtomicBool,
    ) -> Result<Self, Error> {
        Self::of(form, Local::of(file, name)?, spool, limits, stop)
    }

    fn of(
        form: Form,
        local: Local,
        spool: &Path,
        limits: Limits,
        stop: &AtomicBool,
    ) -> Result<Self, Error> {
        let refused = |found, wanted| Error::Kind { path: local.path.clone(), found, wanted };
        match (form, local.is_directory) {
            (Form::Layout, true) => {
                return Ok(Self { form, tree: Arc::new(Tree::directory(local, limits)) });
            }
            (Form::Layout, false) => {
                return Err(refused("a file", "a directory in the OCI layout (or oci-archive:)"));
            }
            (Form::DockerArchive, true) => return Err(refused("a directory", "a file")),
            (Form::LayoutArchive, true) => {
                return Err(refused("a directory", "a file (or oci: for a directory)"));
            }
            (_, false) => {}
        }
        let failed = |cause| Error::Open { path: local.path.clone(), cause };
        let file = Arc::new(local.file.try_clone().map_err(failed)?);
        let size = file.metadata().map_err(failed)?.len();
        let whole = Content::new(Arc::clone(&file), 0, size);
        let file = match spool::unpacked(&local, whole, spool, &limits.tar, stop)? {
            Some(plain) => {
                local.unchanged()?;
                Arc::new(plain)
            }
            None => file,
        };
        Ok(Self { form, tree: Arc::new(Tree::archive(local, file, limits)?) })
    }

    /// Finds the image that was named, or the one that can be meant, for a platform.
    ///
    /// # Errors
    /// [`Error::NoImage`], [`Error::Several`], [`Error::Platform`]; what is wrong with the
    /// documents of the image; [`Error::Stopped`].
    pub fn choose(
        &self,
        image: Option<&LocalImage>,
        platform: &Platform,
        stop: &AtomicBool,
    ) -> Result<Chosen, Error> {
        let chosen = match self.form {
            Form::Layout | Form::LayoutArchive => layout::choose(&self.tree, image, platform)?,
            Form::DockerArchive => docker::choose(&self.tree, image, platform, stop)?,
        };
        self.tree.local.unchanged()?;
        Ok(chosen)
    }
}
