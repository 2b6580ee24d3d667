//! Credentials of the host are covered wherever they show inside.
//!
//! What is not there needs no cover. Whatever else keeps a file from being found ends the command:
//! who cannot look does not know that nothing shows. Not here: which files (the client), and where
//! they may show ([`crate::masks`]).

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, fstat, mkdirat, openat};
use rustix::io::Errno;

use super::assembly::{Assembly, PATH, open_path, resolved, stat};
use crate::error::Error;
use crate::masks;
use crate::mounts::{self, Attributes, BIND};
use crate::tree::{is_directory, same_file};

impl Assembly<'_> {
    /// Covers something of the host wherever it is seen.
    pub(super) fn mask(&self, path: &Path) -> Result<(), Error> {
        self.hide(path).map_err(|cause| Error::Mask { path: path.to_owned(), cause })
    }

    fn hide(&self, path: &Path) -> io::Result<()> {
        let refused = |found: &io::Result<_>| is_refused(found.as_ref().err());
        let mut opened = open_path(path);
        if refused(&opened) {
            // What is closed stays so: a refusal that passes would show the file to who comes later.
            opened = open_path(path);
            if refused(&opened) {
                return Ok(());
            }
        }
        let Some(opened) = reached(opened)? else { return Ok(()) };
        for seen in masks::seen_at(&resolved(&opened)?, &self.made) {
            let Some(host) = reached(stat(&seen.host))? else { continue };
            let Some(inside) = reached(self.tree.find(&seen.at))? else { continue };
            if same_file(&fstat(&inside)?, &host) {
                self.cover(&seen.at, is_directory(&host))?;
            }
        }
        Ok(())
    }

    fn cover(&self, at: &Path, directory: bool) -> io::Result<()> {
        let name = if directory { "empty" } else { "empty-file" };
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let made = if directory {
            mkdirat(&self.stage, name, Mode::from_raw_mode(0o555))
        } else {
            openat(&self.stage, name, flags, Mode::from_raw_mode(0o444)).map(drop)
        };
        // One serves for all.
        if let Err(cause) = made
            && cause != Errno::EXIST
        {
            return Err(cause.into());
        }
        let opened = openat(&self.stage, name, PATH, Mode::empty())?;
        let mount = mounts::copy_tree(opened.as_fd())?;
        mounts::restrict(mount.as_fd(), Attributes { read_only: true, ..BIND }, false)?;
        mounts::attach(mount.as_fd(), self.tree.find(at)?.as_fd())
    }
}

/// Whether somebody may not get to a place, as nobody of the container may.
fn is_refused(cause: Option<&io::Error>) -> bool {
    cause.and_then(Errno::from_io_error) == Some(Errno::ACCESS)
}

/// `None` for what is not there.
fn reached<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(cause) => match Errno::from_io_error(&cause) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            _ => Err(cause),
        },
    }
}
