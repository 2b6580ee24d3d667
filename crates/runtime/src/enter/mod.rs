//! Entering a container: the one walk through a plan's steps, with system calls.
//!
//! The root is an overlay over the image whose upper part is memory; everything else is attached to
//! it by descriptor. The place where it is put together is a tmpfs of a private mount namespace, so
//! that nothing is left on the host, however it ends.
//!
//! Not here: which steps ([`crate::plan`]), single places ([`crate::tree`]), what is started
//! ([`crate::inside`]).

mod assembly;
mod devices;
mod hide;
mod image;

use std::os::fd::AsFd as _;
use std::path::PathBuf;

use nix::sys::stat::{Mode, umask};

use crate::error::Error;
use crate::exec;
use crate::holder::Holder;
use crate::inside;
use crate::namespaces::{self, Numbers};
use crate::plan::{self, Directory, Host, Plan};
use crate::supervise;
use crate::wanted::{Notice, Wanted};

use assembly::Assembly;

/// Where the image's tree is.
#[derive(Debug)]
pub enum Root {
    /// A mount holder's. For `--fakeroot` its mapping must show the caller as root.
    Holder(Holder),
    /// A directory of the host.
    Sandbox(PathBuf),
}

/// Makes the container and becomes its payload. Needs a process with one thread.
///
/// Returns only when the payload did not take this process's place: with an own pid namespace its
/// status (128 plus the signal that killed it), or 0 when there was nothing to do.
///
/// With an own pid namespace this function returns an error in the child, whose caller reports it
/// and ends with 255; the parent passes that on.
///
/// # Errors
/// [`Error`].
pub fn run(wanted: &Wanted, root: Root, report: &mut dyn FnMut(Notice)) -> Result<u8, Error> {
    let terminal = if wanted.contain { devices::terminal() } else { None };
    let plan = plan::plan(wanted, &Host { terminal });
    plan.notices.iter().cloned().for_each(&mut *report);
    match &root {
        Root::Holder(holder) => namespaces::join_user(holder.user_namespace.as_fd())?,
        Root::Sandbox(_) => {
            let (uid, gid) = (wanted.caller.uid, wanted.caller.gid);
            namespaces::new_user(if wanted.fakeroot {
                Numbers::Root { uid, gid }
            } else {
                Numbers::Own { uid, gid }
            })?;
        }
    }
    namespaces::new_others(&wanted.namespaces)?;
    if wanted.namespaces.pid
        && let Some(status) = supervise::split(wanted.namespaces.no_init)?
    {
        return Ok(status);
    }
    start(wanted, plan, root, report)
}

/// The part that happens in the process that becomes the payload.
fn start(
    wanted: &Wanted,
    plan: Plan,
    root: Root,
    report: &mut dyn FnMut(Notice),
) -> Result<u8, Error> {
    let caller_umask = umask(Mode::empty());
    namespaces::new_mount()?;
    let own = namespaces::own_directory()?;
    let assembly = Assembly::begin(wanted, &plan.steps, root, report)?;
    assembly.finish(&plan.steps, report)?;
    if let Some(name) = wanted.hostname.as_ref().filter(|_| wanted.namespaces.uts) {
        namespaces::set_hostname(name)?;
    }
    umask(wanted.umask.map_or(caller_umask, Mode::from_bits_truncate));
    let is_root = wanted.fakeroot || wanted.caller.uid == 0;
    if is_root {
        namespaces::lock_mounts(&own)?;
    }
    drop(own);
    exec::give_up_rights(is_root)?;
    let Plan { directory, mut start, .. } = plan;
    let cwd = change_directory(&directory, wanted, report)?;
    start.insert("PWD".into(), cwd.into());
    match inside::payload(wanted, start, report)? {
        Some(payload) => exec::replace(&payload),
        None => Ok(0),
    }
}

/// Enters the first directory; returns which one it was.
fn change_directory(
    directory: &Directory,
    wanted: &Wanted,
    report: &mut dyn FnMut(Notice),
) -> Result<PathBuf, Error> {
    let change = |path: &PathBuf| nix::unistd::chdir(path).map_err(std::io::Error::from);
    let path = match directory {
        Directory::Must(path) => {
            let failed = |cause| Error::WorkingDirectory { path: path.clone(), cause };
            return change(path).map_err(failed).map(|()| path.clone());
        }
        Directory::Try(path) => path,
    };
    let Err(cause) = change(path) else { return Ok(path.clone()) };
    let home = wanted.home.at.clone();
    let instead = if change(&home).is_ok() { home } else { PathBuf::from("/") };
    report(Notice::Warning(format!(
        "Error changing the container working directory. Using '{}' instead: chdir {}: {}",
        instead.display(),
        path.display(),
        crate::error::words(&cause)
    )));
    Ok(instead)
}
