//! A pull from a running Docker: its archive is kept in a file without a name while it is converted.
//!
//! Not here: the socket (`orlop-registry`), what is in an archive (`orlop-archive`).

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use orlop_archive::{Archive, Form};
use orlop_oci::Platform;
use orlop_proto::v1::Kind;
use orlop_registry::{DockerHost, Limits};

use super::image::Named;
use super::local;
use super::pull::{Events, Pulled};
use super::room::Room;
use crate::caller::Caller;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::tasks::Stop;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Name or id.
    pub(crate) name: String,
    /// Where Docker listens; empty for the usual place.
    pub(crate) host: String,
    /// Platform wanted.
    pub(crate) platform: Platform,
    /// The user named it.
    pub(crate) platform_explicit: bool,
}

/// Brings an image into the cache.
///
/// # Errors
/// FILE_FAILED for what Docker says; what can be wrong with images and disks.
pub(crate) async fn pull(
    daemon: &Daemon,
    caller: &Caller,
    wanted: Wanted,
    events: &Events,
) -> Result<Pulled, Failure> {
    let Wanted { name, host, platform, platform_explicit } = wanted;
    let host: DockerHost = host.parse()?;
    let asking = caller.clone();
    let settings = daemon.blocking("settings", move || asking.settings()).await?;
    let mut stream = host.image(&name, &Limits::from(&settings.limits)).await?;
    let scratch = daemon.store.scratch();
    let kept = |cause: io::Error| not_kept(&name, &scratch, &cause);
    let mut file = tokio::task::block_in_place(|| tempfile::tempfile_in(&scratch)).map_err(kept)?;
    let from = format!("docker-daemon:{name}");
    let mut room = Room::new(from, 0, settings.limits.layer_bytes);
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        room.take(daemon, piece.len()).await?;
        tokio::task::block_in_place(|| file.write_all(&piece)).map_err(kept)?;
    }
    let shown = PathBuf::from(format!("docker-daemon:{name}"));
    let asked = platform.clone();
    let limits = local::limits(&settings.limits);
    let read = move |stop: &Stop| {
        let form = Form::DockerArchive;
        let archive = Archive::of_file(form, file, &shown, &scratch, limits, stop.flag())?;
        archive.choose(None, &asked, stop.flag()).map_err(Failure::from)
    };
    let found = daemon.tasks.blocking("archive", read).await;
    let found = found.map_err(|lost| Failure::new(Kind::Internal, &lost))??;
    let named = Named { scheme: "docker-daemon", name };
    local::pull_found(daemon, caller, named, found, (platform, platform_explicit), events).await
}

fn not_kept(name: &str, directory: &Path, cause: &io::Error) -> Failure {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let is_full = matches!(cause.kind(), StorageFull | QuotaExceeded | FileTooLarge);
    let kind = if is_full { Kind::DiskFull } else { Kind::FileFailed };
    let message = if is_full {
        directory.display().to_string()
    } else {
        format!("cannot keep the archive of {name} in {}", directory.display())
    };
    Failure::of(kind, message).because(cause.to_string())
}
