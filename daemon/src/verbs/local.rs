//! A pull from a file or directory of the caller's: `docker-archive:`, `oci:`, `oci-archive:`.
//!
//! The daemon runs as the caller and opens what the caller could; where it sees another file under
//! the name, it says so. Layers go the way of those from a registry, but for their bytes. Not here:
//! what is in an archive (`orlop-archive`).

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use orlop_archive::{Archive, Form, Limits};
use orlop_config::settings::Settings;
use orlop_image::Workers;
use orlop_oci::{ImageConfig, LocalImage};
use orlop_proto::v1::{self, Kind};
use orlop_registry::Fetched;

use super::convert::{self, Converted, Error, Layer};
use super::documents::Chosen;
use super::image::{self, Image, Named, Origin, Target};
use super::pull::{self, Events, Pulled};
use super::spool::Counted;
use crate::caller::Caller;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::flights::Facts;
use crate::tasks::Stop;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// How the image is kept.
    pub(crate) form: Form,
    /// Where.
    pub(crate) file: v1::LocalFile,
    /// Which of those in it.
    pub(crate) image: Option<LocalImage>,
    /// For which platform.
    pub(crate) target: Target,
}

/// Brings an image into the cache.
///
/// # Errors
/// FILE_FAILED, NOT_AN_IMAGE; what can be wrong with images and disks.
pub(crate) async fn pull(
    daemon: &Daemon,
    caller: &Caller,
    wanted: Wanted,
    events: &Events,
) -> Result<Pulled, Failure> {
    let Wanted { form, file, image, target } = wanted;
    let path = PathBuf::from(OsString::from_vec(file.path));
    let named = Named { scheme: scheme(form), name: name_of(&path, image.as_ref()) };
    let shared = daemon.clone();
    let (inode, wanted) = (file.inode, target.platform.clone());
    let asking = caller.clone();
    let settings = daemon.blocking("settings", move || asking.settings()).await?;
    let limits = limits(&settings.limits);
    let open = move |stop: &Stop| {
        check_view(&path, inode)?;
        let archive = Archive::open(form, &path, &shared.store.scratch(), limits, stop.flag())?;
        let found = archive.choose(image.as_ref(), &wanted, stop.flag());
        found.map_err(Failure::from)
    };
    let found = daemon.tasks.blocking("archive", open).await;
    let found = found.map_err(|lost| Failure::new(Kind::Internal, &lost))??;
    pull_found(daemon, &settings, named, found, &target, events).await
}

/// Brings an image that was found in an archive into the cache.
///
/// # Errors
/// As [`pull`].
pub(super) async fn pull_found(
    daemon: &Daemon,
    settings: &Settings,
    named: Named,
    found: orlop_archive::Chosen,
    target: &Target,
    events: &Events,
) -> Result<Pulled, Failure> {
    let (digest, bytes) = (found.digest.clone(), Bytes::copy_from_slice(&found.bytes));
    let chosen = Chosen {
        top: Fetched { bytes: bytes.clone(), digest: digest.clone(), content_type: None },
        digest,
        manifest: found.manifest.clone(),
        bytes,
        source: found.path().to_string_lossy().into_owned(),
        by_index: found.by_index,
        offered: found.offered.clone(),
        passed: Vec::new(),
        warnings: Vec::new(),
    };
    for warning in &found.warnings {
        pull::warn(events, warning.clone()).await;
    }
    image::check_image(&chosen, &orlop_registry::Limits::from(&settings.limits))?;
    let config = ImageConfig::parse(&found.config)?;
    chosen.manifest.check_diff_ids(config.diff_ids.len())?;
    for warning in image::disagreement(&chosen, &config).iter().chain(&config.warnings) {
        pull::warn(events, warning.clone()).await;
    }
    let image = Image::new(settings, named, chosen, config, target)?;
    image::pull_image(daemon, &Origin::Local(Arc::new(found)), image, events).await
}

/// What an archive may ask for, as the caller's settings say.
pub(super) fn limits(set: &orlop_config::settings::Limits) -> Limits {
    Limits {
        tar: image::limits(set),
        manifest_bytes: set.manifest_bytes,
        config_bytes: set.config_bytes,
        index_depth: set.index_depth,
        index_manifests: set.index_manifests,
        layers: set.layers,
    }
}

const fn scheme(form: Form) -> &'static str {
    match form {
        Form::DockerArchive => "docker-archive",
        Form::Layout => "oci",
        Form::LayoutArchive => "oci-archive",
    }
}

/// What the SIF says it was made of. Not where that lay: the same archive gives the same SIF in
/// every directory.
fn name_of(path: &Path, image: Option<&LocalImage>) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    match image {
        Some(LocalImage::Name(image)) => format!("{name}:{image}"),
        Some(LocalImage::Digest(_)) | None => name,
    }
}

/// Fails where this process sees no file, or another one, under the caller's name for it.
fn check_view(path: &Path, inode: u64) -> Result<(), Failure> {
    let what = match std::fs::metadata(path) {
        Ok(found) if inode == 0 || found.ino() == inode => return Ok(()),
        Ok(_) => "another file",
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => "no file",
        // Opening it says the same.
        Err(_) => return Ok(()),
    };
    let message = format!("orlopd sees {what} at {}", path.display());
    Err(Failure::of(Kind::FileFailed, message).with_hint(
        "orlopd runs with another view of the files than this command: end it with `orlop daemon \
         stop`, or use --disable-cache",
    ))
}

/// Converts a layer of an archive and publishes its segment.
///
/// # Errors
/// FILE_FAILED, NOT_AN_IMAGE, LAYER_INVALID, DISK_FULL.
pub(super) async fn segment(
    daemon: Daemon,
    archive: Arc<orlop_archive::Chosen>,
    number: usize,
    (layer, workers): (Layer, Workers),
    facts: Arc<Facts>,
) -> Result<Arc<Converted>, Failure> {
    let (shared, own) = (daemon.clone(), layer.clone());
    let part = facts.part();
    let work = move |stop: &Stop| {
        let _part = part;
        let mut reader = Counted::new(archive.layer(number)?, &facts);
        let made = convert::make(&shared, (&own, &workers), &own.source(), &mut reader, stop);
        made.map_err(|error| failure(error, &archive, number))
    };
    let _turn = layer.turn(&daemon).await;
    let made = daemon.tasks.blocking("convert", work).await;
    made.map_err(|lost| Failure::new(Kind::Internal, &lost))?.map(Arc::new)
}

fn failure(error: Error, archive: &orlop_archive::Chosen, number: usize) -> Failure {
    use orlop_image::Error as E;
    let error = match error {
        Error::Store(error) => return error.into(),
        Error::Image(error @ (E::Disk { .. } | E::Stopped)) => return error.into(),
        Error::Image(error) => error,
    };
    // What changed explains whatever was found.
    if let Err(changed) = archive.unchanged() {
        return changed.into();
    }
    match error {
        E::BlobDigest { actual, .. } => archive.wrong_layer(number, actual).into(),
        E::Source { .. } => Failure::new(Kind::FileFailed, &error),
        // The name of a plain layer is its diff_id: the config that says so is in the archive.
        E::BlobSize { .. } => Failure::new(Kind::NotAnImage, &error),
        error => error.into(),
    }
}

/// Says whether an archive is as it was when it was opened.
///
/// # Errors
/// FILE_FAILED.
pub(super) async fn unchanged(
    daemon: &Daemon,
    archive: &Arc<orlop_archive::Chosen>,
) -> Result<(), Failure> {
    let archive = Arc::clone(archive);
    daemon.blocking("archive", move || Ok(archive.unchanged()?)).await
}
