//! A pull as the client sees it: asks, shows the events, opens what came of it.
//!
//! Files of the cache are opened read-only and leased (a shared lock) before anything relies on
//! them; if the collector was faster the pull is asked for once more.
//!
//! Not here: fetching and converting (the daemon); the output file ([`crate::destination`]).

use std::fs::File;
use std::io;
use std::path::Path;

use orlop_config::limits;
use orlop_image::{Recipe, assemble};
use orlop_proto::v1::cache_client::CacheClient;
use orlop_proto::v1::images_client::ImagesClient;
use orlop_proto::v1::pull_done::Image;
use orlop_proto::v1::{
    FileLook, HealRequest, Kind, PullDone, PullEvent, PullRequest, RecipeImage, SifImage,
    pull_event,
};
use orlop_runtime::holder::Names;
use orlop_sif::Sif;
use orlop_squashfs::Window;

use crate::context::Context;
use crate::destination::Destination;
use crate::failure::Failure;
use crate::interrupt::Watch;
use crate::progress::Progress;

/// How often a pull is asked for when its files went away or the daemon died.
pub(crate) const TRIES: u32 = 4;

/// An image in the cache, leased as long as this lives.
#[derive(Debug)]
pub(crate) enum Pulled {
    /// A converted image.
    Recipe {
        recipe: Box<Recipe>,
        key: String,
        segments: Vec<File>,
        looks: Vec<FileLook>,
        lease: File,
        cached: bool,
        stay: Stay,
    },
    /// A SIF as it was pushed.
    Sif { file: File, size: u64, digest: String, stay: Stay },
}

/// Where an image lies in the cache, for who uses it for long.
#[derive(Debug)]
pub(crate) struct Stay {
    /// What names of lease files begin with; empty when nobody else uses the cache.
    lease: String,
    files: Vec<String>,
    /// What the image is found by.
    found_by: Vec<String>,
}

impl Stay {
    /// Of an image that is in no cache.
    pub(crate) const fn nowhere() -> Self {
        Self { lease: String::new(), files: Vec::new(), found_by: Vec::new() }
    }

    /// The cache's directory, and the names in it; `None` when it need not, or cannot, be kept.
    pub(crate) fn names(&self) -> Option<(File, Names)> {
        let lease = Path::new(&self.lease);
        let cache = lease.parent()?.parent()?;
        let below =
            |path: &str| Path::new(path).strip_prefix(cache).ok()?.to_str().map(str::to_owned);
        let files: Vec<String> = self.files.iter().filter_map(|path| below(path)).collect();
        if files.len() < self.files.len() {
            // Some of it lies in a cache that cannot be written.
            return None;
        }
        let renew_ms = u64::try_from(limits::LEASE_RENEW.as_millis()).unwrap_or(u64::MAX);
        let segments = files.len().saturating_sub(1);
        let found_by = self.found_by.iter().filter_map(|path| below(path)).collect();
        let names = Names { lease: below(&self.lease)?, files, segments, found_by, renew_ms };
        Some((File::open(cache).ok()?, names))
    }
}

/// In whose words the steps of a pull are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// Those of `pull`, `run` and the like.
    Pull,
    /// Those of `build`, which tells of its steps itself.
    Build,
}

/// Brings an image into the cache and opens it.
///
/// # Errors
/// What the daemon says; CANCELLED.
pub(crate) fn pull(
    request: &PullRequest,
    telling: Telling,
    context: &mut Context,
) -> Result<Pulled, Failure> {
    let mut tries = 1;
    let mut damage = None;
    let mut progress = Progress::new(&context.output, &request.uri, telling);
    loop {
        match ask(request, &mut progress, context) {
            // The daemon died under this pull: another goes on where it stopped.
            Err(failure) if failure.is_lost_daemon() && tries < TRIES => context.hang_up(),
            Err(failure) if request.offline && failure.kind() == Kind::ImageNotFound => {
                return Err(failure.hint("run it once without --offline"));
            }
            Err(failure) => return Err(context.lost(failure).after_damage(damage)),
            Ok(Ok(pulled)) => return Ok(pulled),
            Ok(Err(Opening::Gone(_))) if tries < TRIES => {}
            Ok(Err(Opening::Damaged(key, failure))) if tries < TRIES => {
                heal_key(key, context)?;
                damage = Some(*failure);
            }
            Ok(Err(Opening::Damaged(_, failure))) => return Err(*failure),
            Ok(Err(Opening::Gone(failure) | Opening::Failed(failure))) => return Err(failure),
        }
        tries += 1;
        progress.again();
    }
}

fn ask(
    request: &PullRequest,
    progress: &mut Progress,
    context: &mut Context,
) -> Result<Result<Pulled, Opening>, Failure> {
    context.daemon()?;
    let is_url = request.uri.starts_with("http");
    let (daemon, output) = context.daemon_and_output()?;
    // The files of the cache are opened under it, whose disk may hang.
    let watch = Watch::guarded(&daemon.hello().cache, output);
    let done = daemon.run_under(&watch, async |channel| {
        let mut events = ImagesClient::new(channel).pull(request.clone()).await?.into_inner();
        while let Some(PullEvent { event }) = events.message().await? {
            match event {
                // The daemon keeps its leases until the call ends: the files are opened before.
                Some(pull_event::Event::Done(done)) => {
                    return Ok((done.cached, open(done, is_url)));
                }
                Some(event) => progress.show(&event, output),
                None => {}
            }
        }
        Err(Failure::new(Kind::Internal, "the daemon ended the pull without a result"))
    });
    drop(watch);
    progress.end();
    let (cached, opened) = done?;
    progress.settle(cached, output);
    Ok(opened)
}

/// Why what the daemon named cannot be opened.
enum Opening {
    /// It was collected in between.
    Gone(Failure),
    /// It is not what it must be; under this key.
    Damaged(String, Box<Failure>),
    /// Another reason.
    Failed(Failure),
}

/// Has the daemon look at an image that was found to be damaged, so that the next pull makes it anew.
/// Where it finds no damage the files were others than those that are there now.
///
/// # Errors
/// What the daemon says.
pub(crate) fn heal(pulled: &Pulled, context: &mut Context) -> Result<(), Failure> {
    let key = match pulled {
        Pulled::Recipe { key, .. } => key.clone(),
        Pulled::Sif { digest, .. } => digest.clone(),
    };
    heal_key(key, context)
}

fn heal_key(key: String, context: &mut Context) -> Result<(), Failure> {
    let request = HealRequest { context: Some(context.sent()), key };
    let (reply, _) = context.call(async |channel| {
        Ok(CacheClient::new(channel).heal(request.clone()).await?.into_inner())
    })?;
    if !reply.damaged.is_empty() {
        context.output.verbose("Part of the image in the cache was damaged: it is made anew");
    }
    Ok(())
}

fn open(done: PullDone, is_url: bool) -> Result<Pulled, Opening> {
    match done.image {
        Some(Image::Recipe(image)) => {
            let stay = Stay { lease: done.lease, files: Vec::new(), found_by: done.found_by };
            open_recipe(image, stay, done.cached)
        }
        Some(Image::Sif(SifImage { path, size, digest })) => {
            let file = lease(&path)?;
            // Of a URL the daemon has checked what it is: an image of old may have one, too.
            if !is_url {
                check_sif(&file, &digest).map_err(Opening::Failed)?;
            }
            Ok(Pulled::Sif {
                file,
                size,
                digest,
                stay: Stay { lease: done.lease, files: vec![path], found_by: done.found_by },
            })
        }
        None => Err(Opening::Failed(Failure::new(Kind::Internal, "the daemon named no image"))),
    }
}

/// The registry may hold anything under the type of a SIF.
fn check_sif(file: &File, digest: &str) -> Result<(), Failure> {
    let refused = |failure: Failure| failure.within(format!("\"{digest}\" is not a SIF"));
    let whole = file.try_clone().and_then(Window::whole);
    let whole = whole.map_err(|cause| refused(Failure::caused(Kind::FileFailed, &cause)))?;
    match Sif::read(&whole) {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(Failure::caused(Kind::NotAnImage, &error))),
    }
}

fn open_recipe(image: RecipeImage, stay: Stay, cached: bool) -> Result<Pulled, Opening> {
    let lease_of_recipe = lease(&image.path)?;
    let segments = image.segments.iter().map(|path| lease(path)).collect::<Result<_, _>>()?;
    let damaged = |cause: &(dyn std::error::Error + 'static)| {
        let failure = Failure::caused(Kind::CacheDamaged, cause);
        Opening::Damaged(image.key.clone(), Box::new(failure))
    };
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut &lease_of_recipe, &mut bytes).map_err(|cause| {
        if is_gone(&cause) {
            return Opening::Gone(Failure::file("read", image.path.as_ref(), &cause));
        }
        damaged(&cause)
    })?;
    let recipe = Recipe::from_bytes(&bytes).map_err(|cause| damaged(&cause))?;
    let mut files = vec![image.path];
    files.extend(image.segments);
    Ok(Pulled::Recipe {
        stay: Stay { files, ..stay },
        recipe: Box::new(recipe),
        key: image.key,
        segments,
        looks: image.looks,
        lease: lease_of_recipe,
        cached,
    })
}

/// A collector was faster, here or on another node.
fn is_gone(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle)
}

/// Opens a file of the cache and takes a shared lock on it, which keeps the collector off.
fn lease(path: &str) -> Result<File, Opening> {
    let file = File::open(path).map_err(|cause| {
        let failure = Failure::file("read", path.as_ref(), &cause);
        if is_gone(&cause) { Opening::Gone(failure) } else { Opening::Failed(failure) }
    })?;
    // Where locks do not work nothing rests on them: an unlinked file stays readable.
    let _ = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared);
    Ok(file)
}

impl Pulled {
    /// Writes the image as a SIF file.
    ///
    /// # Errors
    /// DISK_FULL with the bytes needed, FILE_FAILED, CACHE_DAMAGED, CANCELLED.
    pub(crate) fn write(
        &self,
        destination: &Destination,
        context: &mut Context,
    ) -> Result<(), Failure> {
        let path = destination.path().display().to_string();
        let signal = Watch::guarded(&path, &context.output);
        let draft = destination.draft()?;
        let mut progress = Progress::writing(&context.output, self.size());
        let stop = || signal.raised().is_some();
        let written = match self {
            Self::Recipe { recipe, segments, looks, .. } => {
                let intact = intact(segments, looks);
                let written = assemble(
                    recipe,
                    segments,
                    &intact,
                    draft.file(),
                    &mut |bytes| progress.written(bytes),
                    &stop,
                );
                written
                    .map_err(|error| assembly_failure(&error, destination, self.size()))
                    .and_then(|()| unchanged(&intact, segments, looks))
            }
            Self::Sif { file, size, .. } => copy(file, draft.file(), *size, &mut progress, &stop)
                .map_err(|cause| Failure::file("write", destination.path(), &cause).needing(*size)),
        };
        progress.end();
        if let Some(signal) = signal.raised() {
            return Err(Failure::cancelled(signal));
        }
        written?;
        // The long part of publishing, while it can still be called off.
        let synced = draft.file().sync_data();
        synced.map_err(|cause| Failure::file("write", destination.path(), &cause))?;
        if let Some(signal) = signal.raised() {
            return Err(Failure::cancelled(signal));
        }
        destination.publish(draft)?;
        // One that came since is too late: it is read here, so that it ends nothing.
        let _ = signal.raised();
        Ok(())
    }

    /// Bytes of the SIF.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Recipe { recipe, .. } => recipe.sif_size(),
            Self::Sif { size, .. } => *size,
        }
    }

    /// True when it was put together just now.
    pub(crate) const fn is_new(&self) -> bool {
        matches!(self, Self::Recipe { cached: false, .. })
    }
}

/// Which segments look as the daemon has seen them when it last knew them to be good.
fn intact(segments: &[File], looks: &[FileLook]) -> Vec<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let is_intact = |(file, look): (&File, &FileLook)| {
        let found = file.metadata().ok().filter(|_| look.inode != 0)?;
        let modified = (look.modified_seconds, look.modified_nanoseconds);
        let is_it = (found.dev(), found.ino()) == (look.device, look.inode)
            && (found.mtime(), found.mtime_nsec()) == modified
            && found.len() == look.size;
        Some(is_it)
    };
    segments.iter().zip(looks).map(|pair| is_intact(pair).unwrap_or_default()).collect()
}

/// Fails where a segment that was not checked does not look any more as it did.
fn unchanged(trusted: &[bool], segments: &[File], looks: &[FileLook]) -> Result<(), Failure> {
    if intact(segments, looks) == trusted {
        return Ok(());
    }
    Err(Failure::new(Kind::CacheDamaged, "a file of the cache was changed while it was copied"))
}

fn assembly_failure(error: &orlop_image::Error, destination: &Destination, size: u64) -> Failure {
    match error {
        orlop_image::Error::Disk { what: "reading segment data", .. } => {
            Failure::caused(Kind::FileFailed, error).hint("run: orlop cache verify")
        }
        orlop_image::Error::Disk { cause, .. } => {
            Failure::file("write", destination.path(), cause).needing(size)
        }
        other => Failure::caused(Kind::CacheDamaged, other),
    }
}

fn copy(
    from: &File,
    to: &File,
    size: u64,
    progress: &mut Progress,
    stop: &dyn Fn() -> bool,
) -> io::Result<()> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    const PIECE: usize = 8 << 20;
    let mut done = 0_u64;
    let mut buffer = Vec::new();
    while done < size {
        if stop() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let left = usize::try_from(size - done).unwrap_or(PIECE).min(PIECE);
        let (mut read_at, mut write_at) = (done, done);
        let copied =
            rustix::fs::copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), left);
        let count = match copied {
            Ok(count) if count > 0 => count as u64,
            _ => {
                use std::os::unix::fs::FileExt as _;
                buffer.resize(left, 0);
                from.read_exact_at(&mut buffer, done)?;
                to.write_all_at(&buffer, done)?;
                left as u64
            }
        };
        done += count;
        progress.written(done);
    }
    Ok(())
}
