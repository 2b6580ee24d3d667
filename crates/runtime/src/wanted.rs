//! What a container should be: a value made by the client from flags and variables.
//!
//! Reads nothing and checks nothing of the machine; names and numbers are the caller's. Rules of
//! each field: contract.md sections 1.7 and 8 of the design notes.
//!
//! Not here: parsing of binds ([`crate::binds`]); what follows from it all ([`crate::plan`]).

use std::ffi::OsString;
use std::path::PathBuf;

use crate::binds::Bind;
use crate::caller::Caller;

/// Under which name the program was called: its words and prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// `orlop`.
    Orlop,
    /// `apptainer` or `singularity`.
    Apptainer,
}

/// What is started inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A program looked up in the container's PATH, and its arguments. Never empty.
    Exec(Vec<OsString>),
    /// The image's runscript with these arguments.
    Run(Vec<OsString>),
    /// A shell: the one named, else bash, else sh.
    Shell(Option<OsString>),
    /// The image's test script with these arguments.
    Test(Vec<OsString>),
}

impl Action {
    /// The word that `APPTAINER_COMMAND` shows inside.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::Run(_) => "run",
            Self::Shell(_) => "shell",
            Self::Test(_) => "test",
        }
    }
}

/// The home directory inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Absolute path inside; also `HOME`.
    pub at: PathBuf,
    /// Directory of the host shown there.
    pub source: PathBuf,
    /// Named by `--home`: shown under `--contain` as well.
    pub named: bool,
    /// Shown at all; false for `--no-home`.
    pub shown: bool,
}

/// What may be written in the image's tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writable {
    /// Nothing: EROFS.
    #[default]
    No,
    /// Everything, into memory that is gone at the end.
    Tmpfs,
    /// Everything, into the sandbox directory itself.
    Image,
}

/// Namespaces beyond user and mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Own process numbers.
    pub pid: bool,
    /// With `pid`: the payload itself is number 1, without a process that reaps for it.
    pub no_init: bool,
    /// Own System V and POSIX IPC.
    pub ipc: bool,
    /// Own host name.
    pub uts: bool,
    /// Own network that has nothing but loopback.
    pub net: bool,
}

/// What `--no-mount` leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one flag a word of the option")]
pub struct NoMount {
    /// `/proc`.
    pub proc: bool,
    /// `/sys`.
    pub sys: bool,
    /// `/dev`.
    pub dev: bool,
    /// `/dev/pts` under `--contain`.
    pub devpts: bool,
    /// The home directory.
    pub home: bool,
    /// `/tmp` and `/var/tmp`.
    pub tmp: bool,
    /// The working directory.
    pub cwd: bool,
    /// All binds of the settings.
    pub system_binds: bool,
    /// Single binds of the settings, by their path inside.
    pub paths: Vec<PathBuf>,
}

impl NoMount {
    /// Reads the words of `--no-mount`; returns the words that mean nothing.
    pub fn parse(words: &[String]) -> (Self, Vec<String>) {
        let mut no = Self::default();
        let mut unknown = Vec::new();
        for word in words {
            match word.as_str() {
                "proc" => no.proc = true,
                "sys" => no.sys = true,
                "dev" => no.dev = true,
                "devpts" => no.devpts = true,
                "home" => no.home = true,
                "tmp" => no.tmp = true,
                "hostfs" => {}
                "cwd" => no.cwd = true,
                "bind-paths" => no.system_binds = true,
                path if path.starts_with('/') => no.paths.push(PathBuf::from(path)),
                _ => unknown.push(word.clone()),
            }
        }
        (no, unknown)
    }
}

/// How the environment inside is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvironmentRules {
    /// Only a few variables of the caller pass.
    pub clean: bool,
    /// Variables set inside whatever the image says, in order; from `--env`, `--env-file` and
    /// `APPTAINERENV_` variables ([`crate::forwarded`]).
    pub forwarded: Vec<(String, OsString)>,
    /// Names of the caller's variables that do not pass.
    pub withheld: Vec<String>,
    /// Values and arguments are taken literally.
    pub no_eval: bool,
}

/// A container that is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Words and prompt.
    pub face: Face,
    /// What is started.
    pub action: Action,
    /// SCIF app.
    pub app: Option<String>,
    /// What `APPTAINER_CONTAINER` shows: absolute path of the image, or its reference.
    pub image: OsString,
    /// Who asks, and from where.
    pub caller: Caller,
    /// Binds of the user, in order.
    pub binds: Vec<Bind>,
    /// Files and directories of the host that the settings bind at the same path.
    pub system_binds: Vec<PathBuf>,
    /// Home directory.
    pub home: Home,
    /// Working directory inside that must exist.
    pub cwd: Option<PathBuf>,
    /// Own `/tmp`, home and devices.
    pub contain: bool,
    /// Directory of the host behind what `contain` makes.
    pub workdir: Option<PathBuf>,
    /// Fresh writable directories at these paths.
    pub scratch: Vec<PathBuf>,
    /// What may be written.
    pub writable: Writable,
    /// What is not mounted.
    pub no_mount: NoMount,
    /// Further namespaces.
    pub namespaces: Namespaces,
    /// Host name inside; needs `namespaces.uts`.
    pub hostname: Option<String>,
    /// Name servers for an own `/etc/resolv.conf`; empty: the host's file.
    pub dns: Vec<String>,
    /// Environment.
    pub environment: EnvironmentRules,
    /// The caller is root inside.
    pub fakeroot: bool,
    /// File mode mask inside; absent: the caller's.
    pub umask: Option<u32>,
    /// Files and directories of the host that must not be seen inside, by whatever path.
    pub masks: Vec<PathBuf>,
}

/// What the user should hear while a container is made. The client gives it its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something is not as asked, and the container starts all the same.
    Warning(String),
    /// Something done that was not asked in so many words.
    Info(String),
    /// A detail.
    Verbose(String),
}
