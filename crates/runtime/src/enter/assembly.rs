//! Putting a container's tree together.
//!
//! Not here: the image itself ([`super::image`]), `/dev` of a contained container
//! ([`super::devices`]), hiding credentials ([`super::hide`]).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, Stat, fstat, mkdirat, openat, readlinkat, statat};
use rustix::mount::MountAttrFlags;

use super::Root;
use super::image::{ImageKind, attach_below, attach_directly, image, overlay, without_overlay};
use crate::accounts;
use crate::error::{Error, words};
use crate::masks::Made;
use crate::mounts::{self, Attributes, BIND};
use crate::namespaces::denied;
use crate::plan::{Absent, Step};
use crate::tree::{Kind, Tree, is_directory, same_file};
use crate::wanted::{Notice, Wanted, Writable};

/// Directories of the host over which the private tmpfs may be put: there is nothing below them
/// that anybody binds.
const STAGES: [&str; 6] = ["/proc/fs", "/proc/driver", "/sys/fs", "/mnt", "/media", "/srv"];

/// A container's tree under way.
pub(super) struct Assembly<'a> {
    pub(super) wanted: &'a Wanted,
    pub(super) tree: Tree,
    /// The private tmpfs.
    pub(super) stage: OwnedFd,
    /// Copies of what the private tmpfs lies upon, made before it was put there.
    early: BTreeMap<PathBuf, OwnedFd>,
    /// What was bound where, for masks.
    pub(super) made: Vec<Made>,
    fresh: u32,
}

impl<'a> Assembly<'a> {
    /// Mounts the private tmpfs, and the root in it.
    pub(super) fn begin(
        wanted: &'a Wanted,
        steps: &[Step],
        root: Root,
        report: &mut dyn FnMut(Notice),
    ) -> Result<Self, Error> {
        let at = STAGES.into_iter().map(Path::new).find(|path| path.is_dir());
        let at = at.ok_or_else(|| {
            Error::setup("no directory to work in (/proc is not mounted)", io::ErrorKind::NotFound)
        })?;
        let early = early_copies(steps, at)?;
        // The sandbox may be anywhere, so it too comes before the tmpfs.
        let (image, kind) = image(root)?;
        let flags = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
        let mode = Path::new("0755");
        let stage = mounts::new("tmpfs", &[("mode", Some(mode))], flags)
            .map_err(|cause| denied("cannot mount a tmpfs", cause))?;
        mounts::attach_at(stage.as_fd(), at)
            .map_err(|cause| denied("cannot mount a tmpfs", cause))?;
        let root = match (wanted.writable, kind) {
            (Writable::Image, ImageKind::Directory) => attach_directly(&stage, &image),
            (Writable::No, _) => attach_below(&stage, &image).and_then(|()| {
                overlay(&stage, at).or_else(|cause| without_overlay(&stage, &cause, report))
            }),
            _ => attach_below(&stage, &image).and_then(|()| overlay(&stage, at)),
        }
        .map_err(|cause| denied("cannot mount the image", cause))?;
        let tree = Tree::new(root);
        Ok(Self { wanted, tree, stage, early, made: Vec::new(), fresh: 0 })
    }

    /// Walks the steps, closes the tree to writing, and makes it the root.
    pub(super) fn finish(
        mut self,
        steps: &[Step],
        report: &mut dyn FnMut(Notice),
    ) -> Result<(), Error> {
        for step in steps {
            self.step(step, report)?;
        }
        if self.wanted.writable == Writable::No {
            let only = Attributes { read_only: true, ..Attributes::default() };
            mounts::restrict(self.tree.root(), only, false)
                .map_err(|cause| Error::setup("cannot make the image read-only", cause))?;
        }
        self.pivot().map_err(|cause| Error::setup("cannot change the root directory", cause))
    }

    fn pivot(self) -> io::Result<()> {
        rustix::process::fchdir(self.tree.root())?;
        rustix::process::pivot_root(c".", c".")?;
        rustix::mount::unmount(c".", rustix::mount::UnmountFlags::DETACH)?;
        rustix::process::chdir(c"/")?;
        Ok(())
    }

    fn step(&mut self, step: &Step, report: &mut dyn FnMut(Notice)) -> Result<(), Error> {
        match step {
            Step::Proc => self.proc(report),
            Step::Bind { source, at, read_only, devices, absent, real } => {
                let attributes =
                    Attributes { read_only: *read_only, no_devices: !*devices, ..BIND };
                self.bind(source, at, attributes, *absent, *real, report)
            }
            Step::Fresh { at, mode } => self.fresh_directory(at, *mode),
            Step::HostDirectory { path, mode } => host_directory(path, *mode),
            Step::Devices { console, pts, message_queues } => {
                self.devices(console.as_deref(), *pts, *message_queues, report)
            }
            Step::Accounts => self.accounts(report),
            Step::File { at, text } => self.file(at, text.as_bytes()).map_err(|cause| {
                Error::Mount { source_path: "text".into(), at: at.display().to_string(), cause }
            }),
            Step::Cwd { at } => self.caller_directory(at, report),
            Step::LogicalCwd { at, to } => {
                self.logical_directory(at, to);
                Ok(())
            }
            Step::Mask { path } => self.mask(path),
        }
    }

    /// Binds something of the host.
    pub(super) fn bind(
        &mut self,
        source: &Path,
        at: &Path,
        attributes: Attributes,
        absent: Absent,
        real: bool,
        report: &mut dyn FnMut(Notice),
    ) -> Result<(), Error> {
        let (source_path, at_path) = (source.display().to_string(), at.display().to_string());
        let opened = match open_path(source) {
            Ok(opened) => opened,
            Err(cause) => {
                let text = format!(
                    "skipping mount of {source_path}: stat {source_path}: {}",
                    words(&cause)
                );
                return match absent {
                    Absent::Fail => {
                        report(Notice::Warning(text));
                        Err(Error::BindSource { source_path, at: at_path })
                    }
                    Absent::Warn => {
                        report(Notice::Warning(text));
                        Ok(())
                    }
                    Absent::Skip => {
                        report(Notice::Verbose(text));
                        Ok(())
                    }
                };
            }
        };
        match self.bind_opened(source, &opened, at, attributes, real) {
            Ok(()) => Ok(()),
            Err(Fault::Place(cause)) if absent == Absent::Fail => {
                Err(Error::MountPoint { at: at_path, cause })
            }
            Err(Fault::Mount(cause)) if absent == Absent::Fail => {
                Err(Error::Mount { source_path, at: at_path, cause })
            }
            Err(Fault::Place(cause) | Fault::Mount(cause)) => {
                let text = format!("skipping mount of {source_path}: {}", words(&cause));
                report(match absent {
                    Absent::Skip => Notice::Verbose(text),
                    _ => Notice::Warning(text),
                });
                Ok(())
            }
        }
    }

    fn bind_opened(
        &mut self,
        source: &Path,
        opened: &OwnedFd,
        at: &Path,
        attributes: Attributes,
        real: bool,
    ) -> Result<(), Fault> {
        let stat = fstat(opened).map_err(|errno| Fault::Mount(errno.into()))?;
        let kind = if is_directory(&stat) { Kind::Directory } else { Kind::File };
        let mount = match self.early.remove(source) {
            Some(mount) => mount,
            None => mounts::copy_tree(opened.as_fd()).map_err(Fault::Mount)?,
        };
        mounts::restrict(mount.as_fd(), attributes, true).map_err(Fault::Mount)?;
        let place = self.place(at, kind, real).map_err(Fault::Place)?;
        mounts::attach(mount.as_fd(), place.as_fd()).map_err(Fault::Mount)?;
        if !self.wanted.masks.is_empty() {
            let source = resolved(opened).map_err(Fault::Mount)?;
            self.made.push(Made { source, at: at.to_owned() });
        }
        Ok(())
    }

    fn place(&self, at: &Path, kind: Kind, real: bool) -> io::Result<OwnedFd> {
        if self.wanted.writable == Writable::Image {
            return self.tree.find(at);
        }
        self.tree.place(at, kind, real)
    }

    /// An empty directory of the private tmpfs.
    pub(super) fn fresh_directory(&mut self, at: &Path, mode: u32) -> Result<(), Error> {
        let make = || {
            let name = format!("fresh-{}", self.fresh);
            mkdirat(&self.stage, name.as_str(), Mode::from_raw_mode(mode))?;
            let directory = openat(&self.stage, name.as_str(), PATH, Mode::empty())?;
            let mount = mounts::copy_tree(directory.as_fd())?;
            let place = self.place(at, Kind::Directory, true)?;
            mounts::attach(mount.as_fd(), place.as_fd())
        };
        let made = make();
        self.fresh += 1;
        made.map_err(|cause| Error::Mount {
            source_path: "tmpfs".into(),
            at: at.display().to_string(),
            cause,
        })
    }

    /// A new procfs; where the kernel refuses one, because parts of the host's are hidden, the
    /// host's.
    fn proc(&mut self, report: &mut dyn FnMut(Notice)) -> Result<(), Error> {
        let flags = MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let at = Path::new("/proc");
        let mount = mounts::new("proc", &[], flags).and_then(|mount| {
            mounts::attach(mount.as_fd(), self.place(at, Kind::Directory, true)?.as_fd())
        });
        match mount {
            Ok(()) => Ok(()),
            Err(cause) => {
                report(Notice::Warning(format!(
                    "/proc shows the host's processes: a new one is refused here: {}",
                    words(&cause)
                )));
                self.bind(at, at, BIND, Absent::Warn, true, report)
            }
        }
    }

    /// A small file over the one at a path.
    fn file(&mut self, at: &Path, bytes: &[u8]) -> io::Result<()> {
        let name = format!("file-{}", self.fresh);
        self.fresh += 1;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&self.stage, name.as_str(), flags, Mode::from_raw_mode(0o644))?;
        File::from(file).write_all(bytes)?;
        let opened = openat(&self.stage, name.as_str(), PATH, Mode::empty())?;
        let mount = mounts::copy_tree(opened.as_fd())?;
        mounts::restrict(mount.as_fd(), BIND, false)?;
        let place = self.place(at, Kind::File, false)?;
        mounts::attach(mount.as_fd(), place.as_fd())
    }

    fn accounts(&mut self, report: &mut dyn FnMut(Notice)) -> Result<(), Error> {
        // Nothing of what belongs there can be put there, and nothing inside would find it.
        if let Err(cause) = self.tree.find(Path::new("/etc"))
            && cause.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
        {
            return Err(Error::Setup { what: "opening /etc of the image".into(), cause });
        }
        let (caller, home) = (&self.wanted.caller, &self.wanted.home.at);
        for name in ["passwd", "group"] {
            let at = Path::new("/etc").join(name);
            let written = self.tree.read(&at, accounts::LIMIT).and_then(|image| {
                let bytes = match name {
                    "passwd" => accounts::passwd(&image, caller, home),
                    _ => accounts::group(&image, caller),
                };
                self.file(&at, &bytes)
            });
            match written {
                Ok(()) => {}
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                    report(Notice::Warning(format!(
                        "{name} file doesn't exist in container, not updating"
                    )));
                }
                Err(cause) => report(Notice::Warning(format!(
                    "{name} file of the container cannot be updated: {}",
                    words(&cause)
                ))),
            }
        }
        Ok(())
    }

    /// Binds the caller's directory unless it is seen already. Never through a link of the image.
    fn caller_directory(&mut self, at: &Path, report: &mut dyn FnMut(Notice)) -> Result<(), Error> {
        let Ok(host) = stat(at) else { return Ok(()) };
        if self.shows(at, &host) {
            return Ok(());
        }
        let existing = at.ancestors().find(|path| self.tree.find(path).is_ok());
        if existing.is_none_or(|path| self.tree.find_unlinked(path).is_err()) {
            return Ok(());
        }
        self.bind(at, at, BIND, Absent::Skip, false, report)
    }

    fn logical_directory(&self, at: &Path, to: &Path) {
        let visible = stat(to).is_ok_and(|host| self.shows(to, &host));
        if visible && self.wanted.writable != Writable::Image {
            // The other name is a comfort: without it the process starts in the real directory.
            drop(self.tree.link(at, to));
        }
    }

    /// True when the file of the host is what stands at this path inside.
    fn shows(&self, at: &Path, host: &Stat) -> bool {
        let inside = self.tree.find(at).ok().and_then(|place| fstat(place).ok());
        inside.is_some_and(|inside| same_file(&inside, host))
    }
}

/// What failed of a bind.
enum Fault {
    Place(io::Error),
    Mount(io::Error),
}

pub(super) const PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

pub(super) fn open_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, PATH, Mode::empty())?)
}

pub(super) fn stat(path: &Path) -> io::Result<Stat> {
    Ok(statat(CWD, path, rustix::fs::AtFlags::empty())?)
}

/// The path of something open, all links resolved.
pub(super) fn resolved(opened: &OwnedFd) -> io::Result<PathBuf> {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::ffi::OsStringExt as _;
    let link = readlinkat(CWD, format!("/proc/self/fd/{}", opened.as_raw_fd()), Vec::new())?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(link.into_bytes())))
}

/// Copies of those sources that the private tmpfs would show up in.
fn early_copies(steps: &[Step], stage: &Path) -> Result<BTreeMap<PathBuf, OwnedFd>, Error> {
    let mut early = BTreeMap::new();
    for step in steps {
        let Step::Bind { source, .. } = step else { continue };
        if stage.starts_with(source) && !early.contains_key(source) {
            let copy = open_path(source).and_then(|opened| mounts::copy_tree(opened.as_fd()));
            let copy = copy.map_err(|cause| denied("cannot copy a mount", cause))?;
            early.insert(source.clone(), copy);
        }
    }
    Ok(early)
}

/// Makes a directory of `--workdir` on the host.
fn host_directory(path: &Path, mode: u32) -> Result<(), Error> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let failed = |cause| Error::MountPoint { at: path.display().to_string(), cause };
    if path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)
}

/// Borrowed for [`super::devices`].
impl Assembly<'_> {
    pub(super) fn attach_new(&self, mount: BorrowedFd<'_>, at: &Path) -> io::Result<()> {
        let place = self.place(at, Kind::Directory, true)?;
        mounts::attach(mount, place.as_fd())
    }
}
