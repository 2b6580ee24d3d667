//! A client in small, for tests: joins the holder of a squashfs file, mounts the copy, uses it.
//!
//! `orlop-runtime-probe IMAGE SOCKET_DIRECTORY SCOPE GRACE_MS WAIT_MS MOUNT_POINT UNPACK_INTO VERB
//! [ARG...]`; `-` to unpack into: not at all.
//!
//! IMAGE is a squashfs, or a directory with the files `recipe` and `segment`.
//!
//! The first line it prints is how the holder came to be and the microseconds it took. Verbs:
//! `tree` prints every file, `cat` one, `hold` waits for the end of standard input, `linger`
//! ends at once and leaves a child that does `cat` when it gets a line, `exec` becomes a program of
//! the image.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::chroot;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use orlop_runtime::holder::{self, Image, Mapping, Options, Scope};
use rustix::fs::CWD;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, mount_change, move_mount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

mod tree;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    if let Some(code) = holder::maybe_holder_main(arguments) {
        return code;
    }
    match run(std::env::args_os().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            writeln!(std::io::stderr(), "{text}").ok();
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<OsString>) -> Outcome<()> {
    let [image, sockets, scope, grace, wait, mount_point, unpack_into, verb, rest @ ..] =
        arguments.as_slice()
    else {
        return Err("too few arguments".into());
    };
    let milliseconds = |text: &OsString| -> Outcome<Duration> {
        Ok(Duration::from_millis(text.to_str().unwrap_or_default().parse()?))
    };
    let image = open(Path::new(image))?;
    let scope = Scope::new("", scope.to_str(), None);
    let mut options = Options::new(Path::new(sockets), Mapping::of_caller());
    options.grace = milliseconds(grace)?;
    options.wait = milliseconds(wait)?;
    options.unpack_into = (unpack_into != "-").then(|| PathBuf::from(unpack_into));

    let before = Instant::now();
    let holder = holder::join_or_start(&image, &scope, &options)?;
    let joined = before.elapsed();
    enter(&holder, Path::new(mount_point))?;
    let entered = before.elapsed();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:?} unpacked={} joined={} entered={}",
        holder.origin,
        holder.is_unpacked,
        joined.as_micros(),
        entered.as_micros()
    )?;
    out.flush()?;
    match verb.to_str().unwrap_or_default() {
        "tree" => tree::write(Path::new("."), &mut out)?,
        "cat" => {
            for path in rest {
                std::io::copy(&mut File::open(path)?, &mut out)?;
            }
        }
        "hold" => {
            std::io::stdin().read_to_end(&mut Vec::new())?;
        }
        "linger" => {
            // The child is no user that the holder counts, but it has the mount.
            let script = format!("read line && cat {}", rest.join(OsStr::new(" ")).display());
            Command::new("/bin/sh").arg("-c").arg(script).spawn()?;
        }
        "exec" => {
            chroot(".")?;
            let (program, arguments) = rest.split_first().ok_or("no program")?;
            return Err(Command::new(program).args(arguments).exec().into());
        }
        _ => return Err("unknown verb".into()),
    }
    Ok(())
}

/// A squashfs file, or a directory with a recipe and segments in it.
fn open(path: &Path) -> Outcome<Image> {
    if path.is_dir() {
        let recipe = File::open(path.join("recipe"))?;
        return Ok(Image::of_recipe("key", recipe, vec![File::open(path.join("segment"))?])?);
    }
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok(Image::of_file(file, 0, length)?)
}

/// Enters the holder's user namespace and a mount namespace of its own, with the image at the
/// mount point and as the current directory.
#[expect(unsafe_code, reason = "rustix's unshare")]
fn enter(holder: &holder::Holder, mount_point: &Path) -> Outcome<()> {
    use std::os::fd::AsFd as _;
    move_into_link_name_space(holder.user_namespace.as_fd(), Some(LinkNameSpaceType::User))?;
    // SAFETY: the table of descriptors, which alone threads could miss, is not unshared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS)? };
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&holder.mount, "", CWD, mount_point, flags)?;
    std::env::set_current_dir(mount_point)?;
    Ok(())
}
