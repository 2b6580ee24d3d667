//! The image as a mount, and the root that is made of it.
//!
//! Not here: what is mounted into the root ([`super::assembly`]).

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, mkdirat, openat};
use rustix::mount::MountAttrFlags;

use super::Root;
use super::assembly::{PATH, open_path};
use crate::error::{Error, words};
use crate::mounts::{self, BIND};
use crate::namespaces::denied;
use crate::wanted::Notice;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ImageKind {
    Mount,
    Directory,
}

/// The image as a mount of its own.
pub(super) fn image(root: Root) -> Result<(OwnedFd, ImageKind), Error> {
    match root {
        Root::Holder(holder) => Ok((holder.mount, ImageKind::Mount)),
        Root::Sandbox(path) => {
            let copy = open_path(&path).and_then(|opened| mounts::copy_tree(opened.as_fd()));
            let what = format!("cannot open the image {}", path.display());
            let copy = copy.map_err(|cause| denied(&what, cause))?;
            mounts::restrict(copy.as_fd(), BIND, true).map_err(|cause| denied(&what, cause))?;
            Ok((copy, ImageKind::Directory))
        }
    }
}

fn directory(stage: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    mkdirat(stage, name, Mode::from_raw_mode(0o755))?;
    Ok(openat(stage, name, PATH, Mode::empty())?)
}

pub(super) fn attach_directly(stage: &OwnedFd, image: &OwnedFd) -> io::Result<OwnedFd> {
    mounts::attach(image.as_fd(), directory(stage, "root")?.as_fd())?;
    Ok(openat(stage, "root", PATH, Mode::empty())?)
}

/// The image where an overlay, or what takes its place, finds it.
pub(super) fn attach_below(stage: &OwnedFd, image: &OwnedFd) -> io::Result<()> {
    mounts::attach(image.as_fd(), directory(stage, "image")?.as_fd())
}

/// An overlay over the image that is attached, whose upper part is memory.
pub(super) fn overlay(stage: &OwnedFd, at: &Path) -> io::Result<OwnedFd> {
    drop(directory(stage, "upper")?);
    drop(directory(stage, "work")?);
    let (lower, upper, work) = (at.join("image"), at.join("upper"), at.join("work"));
    let options = [
        ("lowerdir", Some(lower.as_path())),
        ("upperdir", Some(upper.as_path())),
        ("workdir", Some(work.as_path())),
        ("userxattr", None),
    ];
    let flags = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
    let overlay = mounts::new("overlay", &options, flags)?;
    mounts::attach(overlay.as_fd(), directory(stage, "root")?.as_fd())?;
    Ok(overlay)
}

/// The image alone, where the kernel refuses an overlay: what has no place in it is not shown.
pub(super) fn without_overlay(
    stage: &OwnedFd,
    cause: &io::Error,
    report: &mut dyn FnMut(Notice),
) -> io::Result<OwnedFd> {
    report(Notice::Warning(format!(
        "An overlay is refused here ({}): what the image has no place for is not mounted",
        words(cause)
    )));
    Ok(openat(stage, "image", PATH, Mode::empty())?)
}
