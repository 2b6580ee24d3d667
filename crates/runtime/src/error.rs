//! What can go wrong when a container is made.
//!
//! The texts begin with the words that Apptainer uses for the same fault, because sites search for
//! them. Not here: labels, hints and exit statuses (the client's).

use std::io;
use std::path::PathBuf;

/// A setting of the machine that keeps users from making user namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knob {
    /// `kernel.unprivileged_userns_clone` is 0 (Debian's and Arch's kernels).
    UnprivilegedClone,
    /// `user.max_user_namespaces` is 0.
    MaxUserNamespaces,
    /// `kernel.apparmor_restrict_unprivileged_userns` is 1 (Ubuntu 24.04 and later).
    AppArmor,
}

impl Knob {
    /// The sysctl and the value that allows it, as `sysctl -w` takes it.
    #[must_use]
    pub const fn cure(self) -> &'static str {
        match self {
            Self::UnprivilegedClone => "kernel.unprivileged_userns_clone=1",
            Self::MaxUserNamespaces => "user.max_user_namespaces=15000",
            Self::AppArmor => "kernel.apparmor_restrict_unprivileged_userns=0",
        }
    }

    /// The sysctl and its value now.
    #[must_use]
    pub const fn fact(self) -> &'static str {
        match self {
            Self::UnprivilegedClone => "kernel.unprivileged_userns_clone is 0",
            Self::MaxUserNamespaces => "user.max_user_namespaces is 0",
            Self::AppArmor => "kernel.apparmor_restrict_unprivileged_userns is 1",
        }
    }
}

fn fact(knob: Option<&Knob>) -> &'static str {
    knob.map_or("no sysctl says why; a container or chroot around this program may", |knob| {
        knob.fact()
    })
}

/// The kernel's answer in small letters, without number: `no such file or directory`.
pub(crate) fn words(cause: &io::Error) -> String {
    match cause.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_lowercase(),
        None => cause.to_string(),
    }
}

/// Why there is no container.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refuses user namespaces to this user.
    #[error("container creation failed: user namespaces are not allowed here: {}", fact(knob.as_ref()))]
    UserNamespaces {
        /// The sysctl that says so, when one does.
        knob: Option<Knob>,
        /// The kernel's answer.
        #[source]
        cause: io::Error,
    },
    /// A step before the first mount.
    #[error("container creation failed: {what}")]
    Setup {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        #[source]
        cause: io::Error,
    },
    /// A bind's source is not there.
    #[error(
        "container creation failed: mount hook function failure: mount {source_path}->{at} error: \
         while mounting {source_path}: mount source {source_path} doesn't exist"
    )]
    BindSource {
        /// Path on the host.
        source_path: String,
        /// Path inside.
        at: String,
    },
    /// A mount.
    #[error(
        "container creation failed: mount hook function failure: mount {source_path}->{at} error"
    )]
    Mount {
        /// What is mounted.
        source_path: String,
        /// Path inside.
        at: String,
        /// The kernel's answer.
        #[source]
        cause: io::Error,
    },
    /// A mount point that could not be made.
    #[error("container creation failed: failed to create {at} directory")]
    MountPoint {
        /// Path inside.
        at: String,
        /// The kernel's answer.
        #[source]
        cause: io::Error,
    },
    /// A credential file or directory could not be hidden.
    #[error("container creation failed: {} cannot be hidden from the container", path.display())]
    Mask {
        /// Path on the host.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        cause: io::Error,
    },
    /// `--pwd` names a directory that cannot be entered.
    #[error("failed to set working directory: chdir {}", path.display())]
    WorkingDirectory {
        /// Path inside.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        cause: io::Error,
    },
    /// The program is not in the container's PATH.
    #[error("\"{program}\": executable file not found in $PATH")]
    NotFound {
        /// As typed.
        program: String,
    },
    /// The program was named by a path where nothing is.
    #[error("stat {program}: {}", words(cause))]
    NoProgram {
        /// As typed.
        program: String,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// The program may not be executed.
    #[error("permission denied")]
    NotExecutable {
        /// As found.
        program: String,
    },
    /// The program's loader or interpreter is not in the image.
    #[error("exec {program} failed: a shared library is likely missing in the image")]
    NoLoader {
        /// As found.
        program: String,
    },
    /// The program is made for another machine.
    #[error("image targets '{image}', cannot run on '{host}'")]
    OtherMachine {
        /// Go's name of the program's machine.
        image: String,
        /// Go's name of this machine.
        host: &'static str,
    },
    /// execve failed in another way.
    #[error("exec {program} failed")]
    Exec {
        /// As found.
        program: String,
        /// The kernel's answer.
        #[source]
        cause: io::Error,
    },
    /// There is no shell for `shell`, or nothing to `run`.
    #[error("{0}")]
    NothingToRun(String),
    /// Environment code of the image needs a shell, and the image's shell failed or is missing.
    #[error("while evaluating {what}: {reason}")]
    Script {
        /// File, variable or argument.
        what: String,
        /// What happened.
        reason: String,
    },
    /// The image's own code ended the start: the status is the command's.
    #[error("the image's environment ended with status {status}")]
    Ended {
        /// Exit status.
        status: u8,
    },
    /// An environment file of the caller cannot be used.
    #[error("while processing environment file {}: {reason}", path.display())]
    EnvFile {
        /// As typed.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// A step that is not a mount.
    pub(crate) fn setup(what: impl Into<String>, cause: impl Into<io::Error>) -> Self {
        Self::Setup { what: what.into(), cause: cause.into() }
    }
}
