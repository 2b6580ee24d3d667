//! The last step: rights given up, the program found, this process replaced.
//!
//! Not here: which program ([`crate::inside`]).

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use orlop_sif::{Architecture, PROGRAM_HEAD_BYTES};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::error::Error;

/// What becomes of this process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    /// Program as named, and its arguments. Never empty.
    pub(crate) arguments: Vec<OsString>,
    /// The whole environment.
    pub(crate) environment: BTreeMap<OsString, OsString>,
    /// Where a program without a slash is looked for.
    pub(crate) path: OsString,
}

/// Gives up what this process may do in its user namespace, for good; root inside keeps its
/// capabilities, which count in there alone. In both cases nothing can be gained any more.
pub(crate) fn give_up_rights(keep: bool) -> Result<(), Error> {
    if !keep {
        // Numbers past the last one are refused: that is where it ends.
        let mut rest = (0..64).map(|bit| CapabilitySet::from_bits_retain(1 << bit));
        while rest
            .next()
            .is_some_and(|one| rustix::thread::remove_capability_from_bounding_set(one).is_ok())
        {
        }
        let none = CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        };
        rustix::thread::set_capabilities(None, none)
            .map_err(|errno| Error::setup("cannot give up capabilities", errno))?;
    }
    rustix::thread::set_no_new_privs(true)
        .map_err(|errno| Error::setup("cannot set no_new_privs", errno))
}

/// Becomes the payload.
///
/// # Errors
/// Why not; on success there is no return.
pub(crate) fn replace(payload: &Payload) -> Result<u8, Error> {
    let first = payload.arguments.first().map(OsString::as_os_str).unwrap_or_default();
    let program = find(first, &payload.path)?;
    let arguments: Vec<CString> =
        payload.arguments.iter().filter_map(|text| c_string(text)).collect();
    let environment: Vec<CString> = payload
        .environment
        .iter()
        .filter_map(|(name, value)| {
            let mut pair = name.clone();
            pair.push("=");
            pair.push(value);
            c_string(&pair)
        })
        .collect();
    crate::signals::restore();
    let path = c_string(&program).unwrap_or_default();
    let Err(errno) = nix::unistd::execve(&path, &arguments, &environment);
    if errno == Errno::ENOEXEC {
        if let Some(machine) = foreign_machine(Path::new(&program)) {
            return Err(machine);
        }
        // A text without `#!` is the shell's.
        let mut with_shell = vec![c"/bin/sh".to_owned(), path];
        with_shell.extend(arguments.into_iter().skip(1));
        let Err(errno) = nix::unistd::execve(c"/bin/sh", &with_shell, &environment);
        return Err(refusal(&program, errno));
    }
    Err(refusal(&program, errno))
}

fn c_string(text: &OsStr) -> Option<CString> {
    CString::new(text.as_bytes()).ok()
}

fn refusal(program: &OsStr, errno: Errno) -> Error {
    let program = program.to_string_lossy().into_owned();
    match errno {
        // It was found a moment ago: what is missing is its loader or interpreter.
        Errno::ENOENT => Error::NoLoader { program },
        Errno::EACCES => Error::NotExecutable { program },
        errno => Error::Exec { program, cause: errno.into() },
    }
}

/// The program's path: as named when it has a slash, else the first in `path` that may be executed.
fn find(name: &OsStr, path: &OsStr) -> Result<OsString, Error> {
    let program = name.to_string_lossy().into_owned();
    if name.as_bytes().contains(&b'/') {
        return match fs::metadata(name) {
            Ok(_) => Ok(name.to_owned()),
            Err(cause) => Err(Error::NoProgram { program, cause }),
        };
    }
    let mut forbidden = false;
    for directory in path.as_bytes().split(|byte| *byte == b':') {
        let directory = if directory.is_empty() { b"." } else { directory };
        let candidate = OsString::from_vec([directory, name.as_bytes()].join(&b'/'));
        if !fs::metadata(&candidate).is_ok_and(|found| found.is_file()) {
            continue;
        }
        if access(candidate.as_os_str(), AccessFlags::X_OK).is_ok() {
            return Ok(candidate);
        }
        forbidden = true;
    }
    Err(if forbidden { Error::NotExecutable { program } } else { Error::NotFound { program } })
}

/// The error for an ELF program of another machine.
fn foreign_machine(program: &Path) -> Option<Error> {
    let mut head = [0; PROGRAM_HEAD_BYTES];
    fs::File::open(program).and_then(|mut file| file.read_exact(&mut head)).ok()?;
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    let image = Architecture::of_program(&head).map_or("an unknown machine", Architecture::name);
    Some(Error::OtherMachine { image: image.to_owned(), host: host_machine() })
}

/// Go's name of this machine.
const fn host_machine() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "amd64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else if cfg!(target_arch = "powerpc64") {
        "ppc64le"
    } else if cfg!(target_arch = "s390x") {
        "s390x"
    } else if cfg!(target_arch = "riscv64") {
        "riscv64"
    } else {
        "this machine"
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file(directory: &Path, name: &str, mode: u32) {
        fs::write(directory.join(name), "").unwrap();
        fs::set_permissions(directory.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_program_is_the_first_in_path_that_may_be_executed() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (directory.path().join("1"), directory.path().join("2"));
        fs::create_dir(&one).unwrap();
        fs::create_dir(&two).unwrap();
        file(&one, "tool", 0o644);
        file(&two, "tool", 0o755);
        let path = OsString::from(format!("{}:{}", one.display(), two.display()));
        assert_eq!(find(OsStr::new("tool"), &path).unwrap(), two.join("tool").as_os_str());
        let only = one.as_os_str();
        assert!(matches!(find(OsStr::new("tool"), only), Err(Error::NotExecutable { .. })));
        let missing = find(OsStr::new("nosuch"), &path).unwrap_err();
        assert_eq!(missing.to_string(), "\"nosuch\": executable file not found in $PATH");
        let missing = find(OsStr::new("/no/such"), &path).unwrap_err();
        assert_eq!(missing.to_string(), "stat /no/such: no such file or directory");
    }

    #[test]
    fn a_program_of_another_machine_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("p");
        let mut head = b"\x7fELF\x02\x01\x01".to_vec();
        head.resize(18, 0);
        head.extend([183, 0]);
        fs::write(&program, head).unwrap();
        let error = foreign_machine(&program).unwrap().to_string();
        assert!(error.starts_with("image targets 'arm64', cannot run on "), "{error}");
        fs::write(&program, "echo hello, this is a text").unwrap();
        assert!(foreign_machine(&program).is_none());
    }
}
