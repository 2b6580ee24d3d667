//! `orlop pull`: an image of a registry as a SIF file.
//!
//! Not here: asking the daemon ([`crate::pulling`]), the output's name ([`crate::destination`]).

use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use orlop_oci::platform::PlatformError;
use orlop_oci::uri::UriError;
use orlop_oci::{ImageUri, Platform, Transport};
use orlop_proto::v1::{self, Kind, PullRequest};

use crate::access;
use crate::commands::Command;
use crate::context::{Context, absolute};
use crate::destination::{Destination, default_name};
use crate::failure::Failure;
use crate::flags::{Count, Flag, Spec};
use crate::options::Options;
use crate::pulling::{self, Telling};

/// Flags that choose from an index.
pub(crate) const PLATFORM: &[Flag] = &[
    Flag::text("arch", "ARCH", "architecture of the image, such as arm64").keys(&["PULL_ARCH"]),
    Flag::text("arch-variant", "VARIANT", "variant of the architecture, such as v7")
        .keys(&["PULL_ARCH_VARIANT"]),
    Flag::text("platform", "OS/ARCH", "platform of the image, such as linux/arm64, linux/arm/v7"),
];

const FLAGS: &[Flag] = &[
    Flag::switch("force", "overwrite the output file if it is there").short('F').keys(&["FORCE"]),
    Flag::text("name", "NAME", "name of the output file").keys(&["PULL_NAME"]).hidden(),
    Flag::text("dir", "PATH", "put the output file into this directory")
        .keys(&["PULLDIR", "PULLFOLDER"]),
    Flag::switch("disable-cache", "use no cache and leave nothing in it").keys(&["DISABLE_CACHE"]),
    OFFLINE,
    access::LOGIN,
    Flag::switch("no-cleanup", "").keys(&["NO_CLEANUP"]).hidden().no_effect(),
    Flag::switch("reproducible", "").keys(&["REPRODUCIBLE"]).hidden().no_effect(),
    Flag::text("tmpdir", "PATH", "").keys(&["TMPDIR"]).hidden().no_effect(),
    Flag::switch("allow-unauthenticated", "").keys(&["ALLOW_UNAUTHENTICATED"]).hidden().no_effect(),
    Flag::switch("allow-unsigned", "").short('U').keys(&["ALLOW_UNSIGNED"]).hidden().deprecated(
        "Flag --allow-unsigned has been deprecated, pulling unsigned images is always allowed",
    ),
    Flag::text("library", "URL", "")
        .keys(&["LIBRARY"])
        .hidden()
        .refused("Orlop speaks with no library server: use docker:// or oras://"),
    Flag::switch("sandbox", "").keys(&["SANDBOX"]).hidden().refused("pull a SIF and run that"),
];

/// Flag of the commands that can do with what the cache holds.
pub(crate) const OFFLINE: Flag =
    Flag::switch("offline", "ask no registry: use what the cache holds").keys(&["OFFLINE"]);

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "pull",
        arguments: "[output file] <URI>",
        about: "Pull an image and make a SIF file of it",
        long_about: "URI: docker://[HOST/]PATH[:TAG][@DIGEST] for an OCI image, oras://HOST/PATH[:TAG] for a SIF \
            that was pushed, http:// or https:// for a SIF at a URL; docker-daemon:NAME[:TAG] for an image of a running \
            Docker; docker-archive:FILE[:IMAGE], oci:DIRECTORY[:IMAGE] or oci-archive:FILE[:IMAGE] for an image \
            in a local file or directory.\n\nExample: orlop pull docker://docker.io/library/debian:12",
        count: Count::between(1, 2),
        flags: &[FLAGS, PLATFORM, access::FLAGS],
        payload: false,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let (given, text) = match options.arguments() {
        [uri] => (None, uri.to_string_lossy().into_owned()),
        [output, uri, ..] => (Some(PathBuf::from(output)), uri.to_string_lossy().into_owned()),
        [] => return Err(Failure::new(Kind::UsageInvalid, "no URI")),
    };
    let uri = parse(&text)?;
    let name = options.path("name").map(PathBuf::from).or(given);
    let name = name.unwrap_or_else(|| default_name(&uri));
    if name.as_os_str().is_empty() {
        let message = "the URI names no file that the image could be called after";
        return Err(
            Failure::new(Kind::UsageInvalid, message).hint("name the output file before the URI")
        );
    }
    let destination = Destination::check(&name, options.path("dir"), options.is_on("force"))?;
    let within = match uri {
        ImageUri::Oras(_) => "While pulling image from oci registry",
        ImageUri::Url(_) => "While pulling from image from http(s)",
        _ => "While making image from oci registry",
    };
    let host = access::host_of(&text);
    let platform = platform(options)?;
    let outcome = pull(options, &text, platform, &destination, context);
    outcome.map_err(|failure| failure.about_host(&host).within(within))?;
    Ok(0)
}

fn pull(
    options: &Options,
    uri: &str,
    platform: Option<v1::Platform>,
    destination: &Destination,
    context: &mut Context,
) -> Result<(), Failure> {
    let output_device = destination.device();
    let request = PullRequest { output_device, ..request(options, uri, platform, context)? };
    if options.is_on("disable-cache") {
        context.without_cache();
    }
    let mut pulled = pulling::pull(&request, Telling::Pull, context)?;
    if pulled.is_new() {
        context.output.info("Creating SIF file...");
    }
    for _ in 1..pulling::TRIES {
        match pulled.write(destination, context) {
            // Found as it was read: it is made anew.
            Err(failure) if failure.kind() == Kind::CacheDamaged => {
                pulling::heal(&pulled, context)?;
                let again = pulling::pull(&request, Telling::Pull, context);
                pulled = again.map_err(|cause| cause.after_damage(Some(failure)))?;
            }
            outcome => return outcome,
        }
    }
    pulled.write(destination, context)
}

/// Reads the reference of a pull.
///
/// # Errors
/// REFERENCE_INVALID, UNSUPPORTED for a transport that cannot be pulled.
pub(crate) fn parse(text: &str) -> Result<ImageUri, Failure> {
    let uri = ImageUri::parse(text).map_err(|error| uri_failure(&error))?;
    match &uri {
        ImageUri::Docker(_)
        | ImageUri::Oras(_)
        | ImageUri::Local { .. }
        | ImageUri::DockerDaemon(_)
        | ImageUri::Url(_) => Ok(uri),
        ImageUri::Path(_) => {
            Err(Failure::new(Kind::ReferenceInvalid, "No transport type URI supplied")
                .hint(format!("for an image of a registry, type docker://{}", access::shown(text))))
        }
        other => {
            let transport = other.transport().map(Transport::name).unwrap_or_default();
            let message = format!("the transport {transport} is not supported yet");
            Err(Failure::new(Kind::Unsupported, message).hint("use docker:// or oras://"))
        }
    }
}

const LIBRARY_HINT: &str = "push the image's SIF file to an OCI registry, orlop push IMAGE.sif \
                            oras://HOST/PATH:TAG, and use docker:// or oras:// from then on";

/// What a URI that names nothing comes to.
pub(crate) fn uri_failure(error: &UriError) -> Failure {
    let hint = "use docker:// for an OCI image or oras:// for a SIF of a registry";
    match error {
        UriError::Library => Failure::caused(Kind::Unsupported, error).hint(LIBRARY_HINT),
        UriError::Unknown { .. } | UriError::Unsupported { .. } | UriError::Ended { .. } => {
            Failure::caused(Kind::Unsupported, error).hint(hint)
        }
        _ => Failure::caused(Kind::ReferenceInvalid, error),
    }
}

/// The request of a pull with this command's flags.
///
/// # Errors
/// As [`access::access`].
pub(crate) fn request(
    options: &Options,
    uri: &str,
    platform: Option<v1::Platform>,
    context: &mut Context,
) -> Result<PullRequest, Failure> {
    let access = access::access(options, context)?;
    let file = match ImageUri::parse(uri) {
        Ok(ImageUri::Local { path, .. }) => Some(local_file(&path)?),
        _ => None,
    };
    Ok(PullRequest {
        context: Some(context.sent()),
        access: Some(access),
        uri: uri.to_owned(),
        platform_explicit: platform.is_some(),
        platform,
        offline: options.is_on("offline"),
        file,
        docker_host: options.text("docker-host").unwrap_or_default(),
        output_device: 0,
    })
}

/// Where every process finds files of its own.
const OWN: [&str; 4] = ["/dev/stdin", "/dev/fd", "/proc/self", "/proc/thread-self"];

/// The file or directory of an image as this process sees it: what is not there is told at once.
fn local_file(path: &Path) -> Result<v1::LocalFile, Failure> {
    let mut path = absolute(path);
    let found = std::fs::metadata(&path).map_err(|cause| Failure::file("open", &path, &cause))?;
    if !found.is_file() && !found.is_dir() {
        let kind = found.file_type();
        let what = match () {
            () if kind.is_fifo() => "a pipe",
            () if kind.is_socket() => "a socket",
            () => "a device",
        };
        let message = format!("{} is {what}, and an image is read by seeking", path.display());
        return Err(Failure::new(Kind::FileFailed, message)
            .hint("save what it brings to a file first: cat > image.tar"));
    }
    if OWN.iter().any(|own| path.starts_with(own)) {
        let real = std::fs::canonicalize(&path).ok();
        let is_it = |real: &PathBuf| {
            std::fs::metadata(real)
                .is_ok_and(|other| (other.dev(), other.ino()) == (found.dev(), found.ino()))
        };
        path = real.filter(is_it).ok_or_else(|| {
            let message = format!("{} leads to no file that has a name", path.display());
            Failure::new(Kind::FileFailed, message)
                .hint("orlopd opens the archive itself: save what a pipe brings to a file first")
        })?;
    }
    Ok(v1::LocalFile { path: path.into_os_string().into_vec(), inode: found.ino() })
}

/// The platform that the flags name, if they do.
///
/// # Errors
/// SETTINGS_INVALID.
pub(crate) fn platform(options: &Options) -> Result<Option<v1::Platform>, Failure> {
    let failed = |error: PlatformError| {
        Failure::caused(Kind::SettingsInvalid, &error)
            .within("While processing the arch and arch variant")
            .hint(
                "supported architectures: amd64, arm64, arm, 386, ppc64le, s390x, riscv64, loong64",
            )
    };
    let by_arch = |arch: &str| {
        Platform::from_arch_flag(arch, options.text("arch-variant").as_deref()).map_err(failed)
    };
    let platform: Platform = match (options.text("platform"), options.text("arch")) {
        (Some(platform), arch) => {
            let parsed: Platform = platform.parse().map_err(failed)?;
            // One from a variable gives way.
            if let Some(arch) =
                arch.filter(|_| options.is_named("platform") && options.is_named("arch"))
                && by_arch(&arch)?.architecture != parsed.architecture
            {
                let message = format!("--platform {platform} and --arch {arch} disagree");
                let failure = Failure::new(Kind::SettingsInvalid, message);
                return Err(failure.hint("give one of the two"));
            }
            parsed
        }
        (None, Some(arch)) => by_arch(&arch)?,
        (None, None) => return Ok(None),
    };
    Ok(Some(v1::Platform {
        os: platform.os,
        architecture: platform.architecture,
        variant: platform.variant.unwrap_or_default(),
    }))
}
