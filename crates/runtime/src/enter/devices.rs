//! `/dev` of a contained container: a few devices, links, own pseudo-terminals.
//!
//! Not here: the host's `/dev`, which is an ordinary bind.

use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::mount::MountAttrFlags;

use super::assembly::Assembly;
use crate::error::{Error, words};
use crate::mounts::{self, Attributes, BIND};
use crate::plan::Absent;
use crate::wanted::Notice;

/// Devices that are there in every container.
const DEVICES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// Links that are there in every container.
const LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// The caller's terminal, when one of the three streams is one.
pub(super) fn terminal() -> Option<PathBuf> {
    [
        nix::unistd::ttyname(io::stdin()),
        nix::unistd::ttyname(io::stdout()),
        nix::unistd::ttyname(io::stderr()),
    ]
    .into_iter()
    .find_map(Result::ok)
}

impl Assembly<'_> {
    /// Makes `/dev`.
    pub(super) fn devices(
        &mut self,
        console: Option<&Path>,
        pts: bool,
        message_queues: bool,
        report: &mut dyn FnMut(Notice),
    ) -> Result<(), Error> {
        self.fresh_directory(Path::new("/dev"), 0o755)?;
        let device = Attributes { no_devices: false, ..BIND };
        for path in DEVICES.map(Path::new) {
            self.bind(path, path, device, Absent::Skip, false, report)?;
        }
        if let Some(console) = console {
            let at = Path::new("/dev/console");
            self.bind(console, at, device, Absent::Skip, false, report)?;
        }
        for (at, to) in LINKS {
            self.tree
                .link(Path::new(at), Path::new(to))
                .map_err(|cause| Error::MountPoint { at: at.to_owned(), cause })?;
        }
        self.fresh_directory(Path::new("/dev/shm"), 0o1777)?;
        if pts && let Err(cause) = self.pseudo_terminals() {
            let text = format!("no pseudo-terminals in the container: {}", words(&cause));
            report(Notice::Verbose(text));
        }
        if message_queues {
            let mounted = mounts::new("mqueue", &[], MountAttrFlags::MOUNT_ATTR_NODEV)
                .and_then(|mount| self.attach_new(mount.as_fd(), Path::new("/dev/mqueue")));
            if let Err(cause) = mounted {
                let text = format!("no message queues in the container: {}", words(&cause));
                report(Notice::Verbose(text));
            }
        }
        Ok(())
    }

    fn pseudo_terminals(&self) -> io::Result<()> {
        let options = [
            ("newinstance", None),
            ("ptmxmode", Some(Path::new("0666"))),
            ("mode", Some(Path::new("0620"))),
        ];
        let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let mount = mounts::new("devpts", &options, flags)?;
        self.attach_new(mount.as_fd(), Path::new("/dev/pts"))?;
        self.tree.link(Path::new("/dev/ptmx"), Path::new("pts/ptmx")).map(drop)
    }
}
