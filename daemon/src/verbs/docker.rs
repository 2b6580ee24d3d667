//! A pull from a running Docker: its archive is kept in a file without a name while it is converted.
//!
//! Not here: the socket (`orlop-registry`), what is in an archive (`orlop-archive`).

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use orlop_archive::{Archive, Form};
use orlop_proto::v1::Kind;
use orlop_registry::{DockerHost, Limits};

use super::image::{Named, Target};
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
    /// For which platform.
    pub(crate) target: Target,
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
    let Wanted { name, host, target } = wanted;
    let host: DockerHost = host.parse()?;
    let asking = caller.clone();
    let settings = daemon.blocking("settings", move || asking.settings()).await?;
    let mut stream = host.image(&name, &Limits::from(&settings.limits)).await?;
    let scratch = daemon.store.scratch();
    let mut came = 0_u64;
    let made = tokio::task::block_in_place(|| tempfile::tempfile_in(&scratch));
    let mut file = made.map_err(|cause| not_kept(&name, &scratch, came, cause))?;
    let from = format!("docker-daemon:{name}");
    let mut room = Room::new(from, 0, settings.limits.layer_bytes);
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        room.take(daemon, piece.len()).await?;
        came = came.saturating_add(piece.len() as u64);
        let kept = tokio::task::block_in_place(|| file.write_all(&piece));
        kept.map_err(|cause| not_kept(&name, &scratch, came, cause))?;
    }
    let shown = PathBuf::from(format!("docker-daemon:{name}"));
    let asked = target.platform.clone();
    let limits = local::limits(&settings.limits);
    let read = move |stop: &Stop| {
        let form = Form::DockerArchive;
        let archive = Archive::of_file(form, file, &shown, &scratch, limits, stop.flag())?;
        archive.choose(None, &asked, stop.flag()).map_err(Failure::from)
    };
    let found = daemon.tasks.blocking("archive", read).await;
    let found = found.map_err(|lost| Failure::new(Kind::Internal, &lost))??;
    let named = Named { scheme: "docker-daemon", name };
    local::pull_found(daemon, &settings, named, found, &target, events).await
}

/// Why the archive could not be kept, of which `bytes` have come: how many it has nobody says.
fn not_kept(name: &str, directory: &Path, bytes: u64, cause: io::Error) -> Failure {
    if orlop_publish::is_disk_full(&cause) {
        let directory = directory.to_owned();
        return orlop_store::Error::DiskFull { directory, bytes, cause: Some(cause) }.into();
    }
    let message = format!("cannot keep the archive of {name} in {}", directory.display());
    Failure::of(Kind::FileFailed, message).because(cause.to_string())
}
