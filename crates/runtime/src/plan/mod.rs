//! Which mounts make a container, in order; and where its process starts.
//!
//! Pure: a [`Wanted`] and a few facts in, a list of steps out. The order is that of contract.md
//! section 8.4 of the design notes, with two changes: home and the user's binds come after the
//! temporary directories, so that what lies below `/tmp` is seen, and masks come last, so that no bind uncovers
//! them.
//!
//! Not here: the system calls ([`crate::enter`]).

use std::path::{Path, PathBuf};

use crate::environment;
use crate::wanted::{Notice, Wanted, Writable};

/// What to do when the source of a bind, or a place for it, is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// The user asked for it: no container.
    Fail,
    /// A warning, and the container starts without it.
    Warn,
    /// It is a matter of course: a verbose line.
    Skip,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A new procfs, for an own pid namespace.
    Proc,
    /// A file or directory of the host, with all that is mounted below.
    Bind {
        source: PathBuf,
        at: PathBuf,
        read_only: bool,
        /// Device nodes work.
        devices: bool,
        absent: Absent,
        /// The last part of `at` becomes a real directory when it is a link in the image.
        real: bool,
    },
    /// An empty directory in memory.
    Fresh { at: PathBuf, mode: u32 },
    /// A directory made on the host, for `--workdir`.
    HostDirectory { path: PathBuf, mode: u32 },
    /// Own `/dev` with the few devices that every program expects.
    Devices { console: Option<PathBuf>, pts: bool, message_queues: bool },
    /// The caller in the passwd and group files.
    Accounts,
    /// A small file of ours.
    File { at: PathBuf, text: String },
    /// The caller's directory, where it is not to be seen already.
    Cwd { at: PathBuf },
    /// The caller's other name for it.
    LogicalCwd { at: PathBuf, to: PathBuf },
    /// Something of the host that must not be seen, wherever it is bound.
    Mask { path: PathBuf },
}

/// Where the process starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Directory {
    /// There, or the command fails.
    Must(PathBuf),
    /// There, else in the home directory, else in `/`.
    Try(PathBuf),
}

/// A container's making.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Mounts in order.
    pub(crate) steps: Vec<Step>,
    /// First directory.
    pub(crate) directory: Directory,
    /// The environment before the image's files.
    pub(crate) start: environment::Start,
    /// What to tell first.
    pub(crate) notices: Vec<Notice>,
}

/// Facts of the machine that a plan needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    /// The caller's terminal.
    pub(crate) terminal: Option<PathBuf>,
}

/// Directories that are the container's own, never the caller's, when a job starts in them.
const OWN: [&str; 10] =
    ["/", "/etc", "/bin", "/mnt", "/usr", "/var", "/opt", "/sbin", "/lib", "/lib64"];

/// Says how the container is made.
pub(crate) fn plan(wanted: &Wanted, host: &Host) -> Plan {
    let mut notices = Vec::new();
    let binds = user_binds(wanted, &mut notices);
    let taken: Vec<PathBuf> = binds.iter().filter_map(place).collect();
    let mut steps = kernel(wanted, host);
    steps.extend(system_binds(wanted));
    steps.extend(temporary(wanted));
    steps.extend(home(wanted, &mut notices));
    steps.retain(|step| place(step).is_none_or(|at| !taken.contains(&at)));
    for at in &wanted.scratch {
        match &wanted.workdir {
            Some(workdir) => {
                let below = at.strip_prefix("/").unwrap_or(at);
                steps.extend(on_host(workdir.join("scratch").join(below), 0o750, at));
            }
            None => steps.push(Step::Fresh { at: at.clone(), mode: 0o755 }),
        }
    }
    steps.extend(binds);
    steps.extend(files(wanted, &taken));
    let directory = directory(wanted);
    if let (Directory::Try(at), None, false) = (&directory, &wanted.cwd, wanted.contain) {
        steps.extend(caller_directory(wanted, at));
    }
    steps.extend(wanted.masks.iter().map(|path| Step::Mask { path: path.clone() }));
    let first = match &directory {
        Directory::Must(path) | Directory::Try(path) => path,
    };
    let start = environment::start(wanted, &taken, first);
    Plan { steps, directory, start, notices }
}

/// The place inside that a step fills.
fn place(step: &Step) -> Option<PathBuf> {
    match step {
        Step::Bind { at, .. } | Step::Fresh { at, .. } | Step::File { at, .. } => Some(at.clone()),
        _ => None,
    }
}

fn user_binds(wanted: &Wanted, notices: &mut Vec<Notice>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for bind in &wanted.binds {
        if steps.iter().any(|step| place(step).is_some_and(|at| at == bind.at)) {
            notices.push(Notice::Warning(format!(
                "While bind mounting '{}:{}': destination is already in the mount point list",
                bind.source.display(),
                bind.at.display()
            )));
            continue;
        }
        steps.push(Step::Bind {
            source: bind.source.clone(),
            at: bind.at.clone(),
            read_only: bind.read_only,
            devices: bind.at.starts_with("/dev"),
            absent: Absent::Fail,
            real: false,
        });
    }
    steps
}

fn same(path: &str, devices: bool) -> Step {
    Step::Bind {
        source: path.into(),
        at: path.into(),
        read_only: false,
        devices,
        absent: Absent::Warn,
        real: true,
    }
}

/// `/proc`, `/sys`, `/dev`.
fn kernel(wanted: &Wanted, host: &Host) -> Vec<Step> {
    let no = &wanted.no_mount;
    let mut steps = Vec::new();
    if !no.proc {
        steps.push(if wanted.namespaces.pid { Step::Proc } else { same("/proc", false) });
    }
    if !no.sys {
        steps.push(same("/sys", false));
    }
    if !no.dev {
        steps.push(if wanted.contain {
            Step::Devices {
                console: host.terminal.clone(),
                pts: !no.devpts,
                message_queues: wanted.namespaces.ipc,
            }
        } else {
            same("/dev", true)
        });
    }
    steps
}

fn system_binds(wanted: &Wanted) -> Vec<Step> {
    let no = &wanted.no_mount;
    let kept = |path: &&PathBuf| {
        let own_hosts = wanted.namespaces.net && path.as_path() == Path::new("/etc/hosts");
        !no.system_binds && !no.paths.contains(path) && !own_hosts
    };
    wanted
        .system_binds
        .iter()
        .filter(kept)
        .map(|path| Step::Bind {
            source: path.clone(),
            at: path.clone(),
            read_only: false,
            devices: false,
            absent: Absent::Skip,
            real: false,
        })
        .collect()
}

fn home(wanted: &Wanted, notices: &mut Vec<Notice>) -> Vec<Step> {
    let home = &wanted.home;
    if !home.shown || wanted.no_mount.home {
        return Vec::new();
    }
    if home.at == Path::new("/") {
        notices.push(Notice::Warning("Not mounting HOME: the home directory is /".to_owned()));
        return Vec::new();
    }
    if !wanted.contain || home.named {
        return vec![Step::Bind {
            source: home.source.clone(),
            at: home.at.clone(),
            read_only: false,
            devices: false,
            absent: if home.named { Absent::Fail } else { Absent::Warn },
            real: true,
        }];
    }
    match &wanted.workdir {
        Some(workdir) => on_host(workdir.join("home"), 0o700, &home.at).into(),
        None => vec![Step::Fresh { at: home.at.clone(), mode: 0o700 }],
    }
}

fn temporary(wanted: &Wanted) -> Vec<Step> {
    if wanted.no_mount.tmp {
        return Vec::new();
    }
    if !wanted.contain {
        return vec![same("/tmp", false), same("/var/tmp", false)];
    }
    match &wanted.workdir {
        Some(workdir) => {
            let tmp = on_host(workdir.join("tmp"), 0o1777, Path::new("/tmp"));
            let var_tmp = on_host(workdir.join("var_tmp"), 0o1777, Path::new("/var/tmp"));
            tmp.into_iter().chain(var_tmp).collect()
        }
        None => vec![
            Step::Fresh { at: "/tmp".into(), mode: 0o1777 },
            Step::Fresh { at: "/var/tmp".into(), mode: 0o1777 },
        ],
    }
}

/// A directory of `--workdir`, made when it is missing, and shown.
fn on_host(path: PathBuf, mode: u32, at: &Path) -> [Step; 2] {
    let bind = Step::Bind {
        source: path.clone(),
        at: at.to_owned(),
        read_only: false,
        devices: false,
        absent: Absent::Fail,
        real: true,
    };
    [Step::HostDirectory { path, mode }, bind]
}

/// passwd, group, resolv.conf, hosts, hostname.
fn files(wanted: &Wanted, taken: &[PathBuf]) -> Vec<Step> {
    let mut steps = Vec::new();
    let root_inside = wanted.caller.uid == 0;
    if !(wanted.fakeroot || root_inside && wanted.writable == Writable::Image) {
        steps.push(Step::Accounts);
    }
    if !wanted.dns.is_empty() {
        let text = wanted.dns.iter().map(|server| format!("nameserver {server}\n")).collect();
        steps.push(Step::File { at: "/etc/resolv.conf".into(), text });
    } else if !wanted.no_mount.paths.iter().any(|path| path == Path::new("/etc/resolv.conf")) {
        steps.push(Step::Bind {
            source: "/etc/resolv.conf".into(),
            at: "/etc/resolv.conf".into(),
            read_only: false,
            devices: false,
            absent: Absent::Skip,
            real: false,
        });
    }
    if wanted.namespaces.net {
        let text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
        steps.push(Step::File { at: "/etc/hosts".into(), text });
    }
    if let Some(name) = &wanted.hostname {
        steps.push(Step::File { at: "/etc/hostname".into(), text: format!("{name}\n") });
    }
    steps.retain(|step| place(step).is_none_or(|at| !taken.contains(&at)));
    steps
}

fn directory(wanted: &Wanted) -> Directory {
    match &wanted.cwd {
        Some(path) => Directory::Must(path.clone()),
        None if wanted.contain => Directory::Try(wanted.home.at.clone()),
        None => Directory::Try(wanted.caller.cwd.clone()),
    }
}

/// The caller's directory and its other name, unless they are the container's own.
fn caller_directory(wanted: &Wanted, at: &Path) -> Vec<Step> {
    let own = OWN.iter().any(|own| at == Path::new(own))
        || ["/sys", "/proc", "/dev"].iter().any(|tree| at.starts_with(tree));
    if own || wanted.no_mount.cwd {
        return Vec::new();
    }
    let mut steps = vec![Step::Cwd { at: at.to_owned() }];
    if let Some(logical) = &wanted.caller.logical_cwd {
        steps.push(Step::LogicalCwd { at: logical.clone(), to: at.to_owned() });
    }
    steps
}

#[cfg(test)]
mod tests;
