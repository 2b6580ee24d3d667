//! Containers as the client starts them: the image found, the container wanted, this process gone.
//!
//! Everything asynchronous ends before the container begins: namespaces need a process with one
//! thread, and the payload takes its place.
//!
//! Not here: flags ([`flags`]), what they come to ([`wanted`]), namespaces (`orlop-runtime`).

pub(crate) mod flags;
mod image;
mod machine;
mod masks;
#[cfg(test)]
mod tests;
mod wanted;

use std::ffi::OsString;

use orlop_proto::v1::Kind;
use orlop_runtime::{Action, Error, Notice};

use crate::context::Context;
use crate::failure::Failure;
use crate::options::Options;

/// Starts what a command line asks for in the image that it names first.
///
/// # Errors
/// CONTAINER_FAILED, NOT_AN_IMAGE, SETTINGS_INVALID of a flag, and what a pull fails with.
pub(crate) fn start(
    action: Action,
    options: &Options,
    context: &mut Context,
) -> Result<u8, Failure> {
    // Before anything is downloaded: neither the mount holder nor the container does without.
    if let Err(cause) = std::fs::symlink_metadata("/proc/self") {
        let message = "container creation failed: /proc is not mounted";
        return Err(Failure::with_cause(Kind::ContainerFailed, message, &cause));
    }
    let named = options.arguments().first().cloned().unwrap_or_default();
    let mut wanted = wanted::wanted(action, &named, options, context)?;
    let root = image::root(&named, &wanted, options, context)?;
    if !options.is_on("show-credentials") {
        wanted.masks.extend(masks::of_cache(context));
    }
    context.hang_up();
    let mut report = |notice: Notice| match notice {
        Notice::Warning(text) => context.output.warning(&text),
        Notice::Info(text) => context.output.info(&text),
        Notice::Verbose(text) => context.output.verbose(&text),
    };
    match orlop_runtime::run(&wanted, root, &mut report) {
        Ok(status) => Ok(status),
        Err(Error::Ended { status }) => Ok(status),
        Err(error) => Err(failure(&error)),
    }
}

/// The arguments after the image.
pub(crate) fn arguments(options: &Options) -> Vec<OsString> {
    options.arguments().iter().skip(1).cloned().collect()
}

fn failure(error: &Error) -> Failure {
    let failure = Failure::caused(Kind::ContainerFailed, error);
    match error {
        Error::UserNamespaces { knob: Some(knob), .. } => failure.hint(format!(
            "containers of ordinary users need user namespaces; an administrator can allow them: \
             sysctl -w {}",
            knob.cure()
        )),
        Error::UserNamespaces { knob: None, .. } => failure.hint(
            "containers of ordinary users need user namespaces; ask who administers this machine",
        ),
        Error::NothingToRun(_) => failure.with_exit(1),
        _ => failure,
    }
}
