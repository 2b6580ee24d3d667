//! The image that a command line names: a file, a directory, or a reference.
//!
//! Not here: pulling ([`crate::pulling`]), mounting (`orlop-runtime`).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;

use orlop_oci::ImageUri;
use orlop_oci::uri::UriError;
use orlop_proto::v1::Kind;
use orlop_runtime::holder::{self, Holder, Image, Mapping, Origin, Scope};
use orlop_runtime::{Root, Wanted, Writable};
use orlop_sif::Header;
use orlop_squashfs::Window;

use super::machine;
use crate::commands::pull;
use crate::context::Context;
use crate::failure::{Failure, system_words};
use crate::options::Options;
use crate::pulling::{self, Pulled, Stay, Telling};

/// Variables by which batch systems name a job, and one of its steps.
const JOBS: [(&str, &str); 5] = [
    ("SLURM_JOB_ID", "SLURM_STEP_ID"),
    ("PBS_JOBID", "PBS_TASKNUM"),
    ("LSB_JOBID", "LSB_JOBINDEX"),
    ("FLUX_JOB_ID", "FLUX_TASK_RANK"),
    ("OAR_JOB_ID", "OAR_JOB_ID"),
];

/// Finds the image and gives its tree, mounted by a holder or as a directory.
///
/// # Errors
/// NOT_AN_IMAGE, CONTAINER_FAILED, what a pull fails with.
pub(super) fn root(
    named: &OsStr,
    wanted: &Wanted,
    options: &Options,
    context: &mut Context,
) -> Result<Root, Failure> {
    let text = named.to_string_lossy().into_owned();
    if let Some(name) = text.strip_prefix("instance://") {
        let message = format!("no instance found with name {name}");
        return Err(Failure::new(Kind::Unsupported, message).within("While setting image/instance"));
    }
    let is_reference = is_reference(named);
    let image = if is_reference {
        reference(&text, options, context)?
    } else {
        let path = Path::new(named);
        let found = fs::metadata(path).map_err(|cause| missing(path, &cause))?;
        if found.is_dir() {
            let real = fs::canonicalize(path).map_err(|cause| missing(path, &cause))?;
            return Ok(Root::Sandbox(real));
        }
        file(path)?
    };
    if wanted.writable == Writable::Image {
        let path = wanted.image.to_string_lossy();
        let message = format!("no SIF writable overlay partition found in {path}");
        return Err(Failure::new(Kind::ContainerFailed, message)
            .hint("use --writable-tmpfs, or a sandbox directory"));
    }
    let held = match hold(&image, wanted, context) {
        // Another node's collector was faster: the image is brought back, once.
        Ok(Err(_)) if is_reference => {
            let image = reference(&text, options, context)?;
            hold(&image, wanted, context)?.map_err(|gone| container(&gone))?
        }
        held => held?.map_err(|gone| container(&gone))?,
    };
    Ok(Root::Holder(held))
}

/// True for what has to be fetched or converted first; a path is everything else.
pub(super) fn is_reference(named: &OsStr) -> bool {
    !matches!(ImageUri::parse(named), Ok(ImageUri::Path(_)) | Err(UriError::Empty))
}

fn reference(text: &str, options: &Options, context: &mut Context) -> Result<Image, Failure> {
    let within = format!("Unable to handle {} uri", crate::access::shown(text));
    pull::parse(text).map_err(|failure| failure.within(within.clone()))?;
    if options.is_on("disable-cache") {
        context.without_cache();
    }
    let pulled = pull::request(options, text, None, context)
        .and_then(|request| pulling::pull(&request, Telling::Pull, context))
        .map_err(|failure| {
            failure.about_host(&crate::access::host_of(text)).within(within.clone())
        })?;
    match pulled {
        Pulled::Recipe { recipe, key, segments, lease, stay, .. } => {
            let architecture = Header::architecture_in(recipe.head());
            machine::check(architecture).map_err(|failure| failure.within(within))?;
            let image = Image::of_recipe(&key, lease, segments);
            image.map(|image| kept(image, &stay)).map_err(|error| container(&error))
        }
        Pulled::Sif { file, stay, .. } => {
            of_file(file).map(|image| kept(image, &stay)).map_err(|failure| failure.within(within))
        }
    }
}

fn kept(image: Image, stay: &Stay) -> Image {
    match stay.names() {
        Some((cache, names)) => image.kept_in(cache, names),
        None => image,
    }
}

/// The beginning of what Apptainer says of a file that is no image.
fn opening(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    format!("While checking container encryption: could not open image {}", path.display())
}

fn missing(path: &Path, cause: &std::io::Error) -> Failure {
    let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let message = format!(
        "failed to retrieve path for {shown}: lstat {shown}: {cause}",
        shown = shown.display(),
        cause = system_words(cause)
    );
    Failure::new(Kind::FileFailed, message).within(opening(path))
}

fn file(path: &Path) -> Result<Image, Failure> {
    let opened = File::open(path).map_err(|cause| missing(path, &cause))?;
    of_file(opened).map_err(|failure| failure.within(opening(path)))
}

fn of_file(file: File) -> Result<Image, Failure> {
    let invalid = |error: orlop_sif::Error| Failure::caused(Kind::NotAnImage, &error);
    let opening = |cause: std::io::Error| {
        invalid(orlop_sif::Error::Read { what: "opening the image", cause })
    };
    let window = file.try_clone().and_then(Window::whole).map_err(opening)?;
    let root = orlop_sif::root_file_system(&window).map_err(invalid)?;
    machine::check(root.architecture)?;
    Image::of_file(file, root.offset, root.length)
        .map_err(|error| opening(std::io::Error::other(error.to_string())))
}

/// Joins or starts the image's mount holder; the inner error is [`holder::Error::Gone`].
fn hold(
    image: &Image,
    wanted: &Wanted,
    context: &mut Context,
) -> Result<Result<Holder, holder::Error>, Failure> {
    let directory = context.socket_directory().ok_or_else(|| {
        Failure::new(Kind::ContainerFailed, "there is no directory for the mount holder's socket")
            .hint("set XDG_RUNTIME_DIR to a directory of yours with mode 0700")
    })?;
    let mut mapping = Mapping::of_caller();
    if wanted.fakeroot {
        (mapping.inside_uid, mapping.inside_gid) = (0, 0);
    }
    let mut holders = holder::Options::new(&directory, mapping);
    holders.unpack_into = context.cache();
    let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let variable = |name: &str| context.environment.raw(name)?.to_str();
    let job = JOBS.iter().find_map(|(job, step)| Some((variable(job)?, variable(step))));
    let scope = Scope::new(&cgroup, job.map(|(job, _)| job), job.and_then(|(_, step)| step));
    let held = match holder::join_or_start(image, &scope, &holders) {
        Ok(held) => held,
        Err(error @ holder::Error::Gone) => return Ok(Err(error)),
        Err(error) => return Err(container(&error)),
    };
    if held.origin == Origin::Replaced {
        let text = "The image's mount holder did not answer: another one was started";
        context.output.warning(text);
    }
    if held.is_unpacked && held.origin != Origin::Joined {
        context.output.info("/dev/fuse cannot be used: the image is unpacked into the cache");
    }
    Ok(Ok(held))
}

fn container(error: &holder::Error) -> Failure {
    let failure = Failure::caused(Kind::ContainerFailed, error).within("container creation failed");
    match error {
        holder::Error::UserNamespace { .. } => match orlop_runtime::refused_by() {
            Some(knob) => failure.because(knob.fact()).hint(format!(
                "containers of ordinary users need user namespaces; an administrator can allow \
                 them: sysctl -w {}",
                knob.cure()
            )),
            None => failure.hint(
                "containers of ordinary users need user namespaces; ask who administers this \
                 machine",
            ),
        },
        holder::Error::NoFuse { .. } => {
            failure.hint("an administrator can make /dev/fuse usable; or let the cache be used")
        }
        _ => failure,
    }
}
