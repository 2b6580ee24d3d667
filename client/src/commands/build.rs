//! `orlop build`: a SIF file of an image named by a URI, or of a SIF.
//!
//! What comes out is what `pull` writes; words and checks of the target are those of Apptainer's
//! `build`. Not here: definition files and sandboxes, which are refused; pulling
//! ([`crate::pulling`]).

use std::fs::File;
use std::io::IsTerminal as _;
use std::path::Path;

use orlop_oci::{ImageUri, UriError};
use orlop_proto::v1::Kind;
use orlop_sif::{ImageKind, Sif, recognise};
use orlop_squashfs::Window;

use crate::access;
use crate::commands::{Command, pull};
use crate::context::Context;
use crate::destination::Destination;
use crate::failure::{Failure, system_words};
use crate::flags::{Count, Flag, Spec};
use crate::options::Options;
use crate::prompt;
use crate::pulling::{self, Pulled, Stay, Telling};

const DEFINITION: &str = "it belongs to definition files, which are not supported yet";
const ENCRYPTED: &str = "encrypted images are not supported";

const FLAGS: &[Flag] = &[
    Flag::switch("force", "overwrite the target if it is there").short('F').keys(&["FORCE"]),
    Flag::text("arch", "ARCH", "architecture to take, such as arm64").keys(&["BUILD_ARCH"]),
    Flag::text("arch-variant", "VARIANT", "variant of the architecture, such as v7")
        .keys(&["BUILD_ARCH_VARIANT"]),
    Flag::text("platform", "OS/ARCH", "platform to take, such as linux/arm64 or linux/arm/v7"),
    Flag::switch("disable-cache", "use no cache and leave nothing in it").keys(&["DISABLE_CACHE"]),
    pull::OFFLINE,
    access::LOGIN,
    Flag::switch("sandbox", "")
        .short('s')
        .keys(&["SANDBOX"])
        .refused("build a SIF and run that; sandboxes come in a later version"),
    Flag::switch("update", "").short('u').keys(&["UPDATE"]).refused(DEFINITION),
    Flag::list("section", "", "").keys(&["SECTION"]).hidden().no_effect(),
    Flag::repeat("build-arg", "", "").hidden().no_effect(),
    Flag::text("build-arg-file", "", "").hidden().no_effect(),
    Flag::switch("warn-unused-build-args", "").hidden().no_effect(),
    Flag::repeat("bind", "", "").short('B').hidden().no_effect(),
    Flag::repeat("mount", "", "").keys(&["MOUNT"]).hidden().no_effect(),
    Flag::switch("json", "").keys(&["JSON"]).hidden().refused(DEFINITION),
    // What follows concerns sections of definition files: sources that are images have none.
    Flag::switch("notest", "").short('T').keys(&["NOTEST"]).hidden().no_effect(),
    Flag::switch("fakeroot", "").short('f').keys(&["FAKEROOT"]).hidden().no_effect(),
    Flag::switch("userns", "").keys(&["USERNS"]).hidden().no_effect(),
    Flag::switch("nv", "").keys(&["NV"]).hidden().no_effect(),
    Flag::switch("nvccli", "").keys(&["NVCCLI"]).hidden().no_effect(),
    Flag::switch("rocm", "").keys(&["ROCM"]).hidden().no_effect(),
    Flag::switch("writable-tmpfs", "").keys(&["WRITABLE_TMPFS"]).hidden().no_effect(),
    Flag::switch("no-cleanup", "").keys(&["NO_CLEANUP"]).hidden().no_effect(),
    Flag::switch("reproducible", "").keys(&["REPRODUCIBLE"]).hidden().no_effect(),
    Flag::switch("ignore-subuid", "").keys(&["IGNORE_SUBUID"]).hidden().no_effect(),
    Flag::switch("ignore-fakeroot-command", "")
        .keys(&["IGNORE_FAKEROOT_COMMAND"])
        .hidden()
        .no_effect(),
    Flag::switch("ignore-userns", "").keys(&["IGNORE_USERNS"]).hidden().no_effect(),
    Flag::switch("ignore-proot", "").hidden().no_effect(),
    Flag::text("tmpdir", "PATH", "").keys(&["TMPDIR"]).hidden().no_effect(),
    Flag::switch("fix-perms", "")
        .keys(&["FIXPERMS"])
        .hidden()
        .deprecated("--fix-perms changes nothing: layers are not unpacked"),
    Flag::text("mksquashfs-args", "ARGS", "")
        .keys(&["MKSQUASHFS_ARGS"])
        .hidden()
        .deprecated("--mksquashfs-args is ignored: compression is one of Orlop's settings"),
    Flag::switch("encrypt", "").short('e').hidden().refused(ENCRYPTED),
    Flag::switch("passphrase", "").hidden().refused(ENCRYPTED),
    Flag::text("pem-path", "", "").hidden().refused(ENCRYPTED),
    Flag::switch("remote", "").short('r').hidden().refused("there is no build service any more"),
    Flag::text("library", "URL", "")
        .keys(&["LIBRARY"])
        .hidden()
        .refused("Orlop speaks with no library server: use docker:// or oras://"),
];

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "build",
        arguments: "<image path> <source>",
        about: "Make a SIF file of an image",
        long_about: "Source: whatever `pull` takes (docker://, oras://, https://, docker-archive:, oci:, oci-archive:, \
            docker-daemon:), or a SIF file.\n\nExample: orlop build tool.sif docker-archive:tool.tar",
        count: Count::exactly(2),
        flags: &[FLAGS, access::FLAGS],
        payload: false,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let [output, source] = options.arguments() else {
        return Err(Failure::new(Kind::UsageInvalid, "an image path and a source are needed"));
    };
    let destination = target(Path::new(output), options.is_on("force"))?;
    let text = source.to_string_lossy().into_owned();
    match ImageUri::parse(source) {
        Ok(ImageUri::Path(path)) => {
            let local = local(&path)?;
            context.output.info("Starting build...");
            context.output.info("Creating SIF file...");
            local.write(&destination, context).map_err(|failure| failure.within(PERFORMING))?;
        }
        Err(UriError::Empty) => return Err(unable("", "no source is named")),
        _ => uri(options, &text, &destination, context)?,
    }
    context.output.info(&format!("Build complete: {}", output.to_string_lossy()));
    Ok(0)
}

const PERFORMING: &str = "While performing build";

fn uri(
    options: &Options,
    text: &str,
    destination: &Destination,
    context: &mut Context,
) -> Result<(), Failure> {
    pull::parse(text).map_err(|failure| {
        failure.within(format!("Unable to build from {}", access::shown(text)))
    })?;
    let platform = pull::platform(options)?;
    context.output.info("Starting build...");
    let request = pull::request(options, text, platform, context);
    if options.is_on("disable-cache") {
        context.without_cache();
    }
    let pulled = request.and_then(|request| pulling::pull(&request, Telling::Build, context));
    let host = access::host_of(text);
    let pulled = pulled.map_err(|failure| failure.about_host(&host).within(PERFORMING))?;
    context.output.info("Creating SIF file...");
    pulled.write(destination, context).map_err(|failure| failure.within(PERFORMING))
}

fn unable(source: &str, what: &str) -> Failure {
    Failure::new(Kind::FileFailed, what).within(format!("Unable to build from {source}"))
}

/// Looks whether the target may be written, and asks if it is there.
fn target(path: &Path, force: bool) -> Result<Destination, Failure> {
    let refused =
        |what: String| Failure::new(Kind::FileFailed, what).within("While checking build target");
    if !force && std::fs::symlink_metadata(path).is_ok() {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        if !std::io::stdin().is_terminal() {
            return Err(refused(format!(
                "build target '{name}' already exists. Use --force if you want to overwrite it"
            )));
        }
        let question = format!(
            "Build target '{name}' already exists and will be deleted during the build process. Do \
             you want to continue? [y/N] "
        );
        match prompt::ask(&question).as_deref() {
            Some("y" | "Y" | "yes" | "YES" | "Yes") => {}
            _ => return Err(refused("stopping build".to_owned())),
        }
    }
    Destination::check(path, None, true)
        .map_err(|failure| failure.within("While checking build target"))
}

/// The SIF that a path leads to.
fn local(path: &Path) -> Result<Pulled, Failure> {
    let shown = path.display().to_string();
    let cannot_open = |cause: &std::io::Error| {
        unable(&shown, &format!("unable to open file {shown}: {}", system_words(cause)))
    };
    let found = std::fs::metadata(path).map_err(|cause| cannot_open(&cause))?;
    let unsupported = |what: &str, hint: &str| {
        Failure::new(Kind::Unsupported, what)
            .within(format!("Unable to build from {shown}"))
            .hint(hint)
    };
    if found.is_dir() {
        return Err(unsupported(
            "building from a sandbox directory is not supported yet",
            "the directory can be run as it is",
        ));
    }
    if !found.is_file() {
        return Err(unable(&shown, "it is neither a file nor a URI"));
    }
    let file = File::open(path).map_err(|cause| cannot_open(&cause))?;
    let window = file.try_clone().and_then(Window::whole).map_err(|cause| cannot_open(&cause))?;
    let refused = |error: orlop_sif::Error| {
        Failure::caused(Kind::NotAnImage, &error).within(format!("Unable to build from {shown}"))
    };
    match recognise(&window).map_err(refused)? {
        ImageKind::Sif => {
            Sif::read(&window).map_err(refused)?;
            let (digest, stay) = (String::new(), Stay::nowhere());
            Ok(Pulled::Sif { size: found.len(), file, digest, stay })
        }
        ImageKind::Squashfs { .. } | ImageKind::Ext3 { .. } => Err(unsupported(
            "building from an image that is no SIF is not supported yet",
            "squashfs images can be run as they are",
        )),
        ImageKind::Unknown => Err(unsupported(
            "definition files are not supported yet",
            "build the image elsewhere and use docker://, docker-archive: or oci: as its source",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_sif_is_refused_with_what_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let definition = directory.path().join("a.def");
        std::fs::write(&definition, "Bootstrap: docker\nFrom: alpine\n").unwrap();
        for (path, words) in [
            (definition.as_path(), "definition files are not supported yet"),
            (directory.path(), "a sandbox directory is not supported yet"),
            (&directory.path().join("none"), "no such file or directory"),
        ] {
            let failure = local(path).unwrap_err();
            let text = failure.text();
            assert!(text.starts_with("Unable to build from "), "{text}");
            assert!(text.contains(words), "{text}");
        }
    }
}
