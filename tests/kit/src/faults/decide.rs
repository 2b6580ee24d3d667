//! What becomes of one call: the loader's are let go, the programs' are counted, rules are asked.

use super::calls::{BEGINNING, Call, LOOKING, NAMING, Names};
use super::listen;
use super::rule::{Act, Rule};
use nix::libc::{self, seccomp_notif};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

/// The answer to a question of the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict {
    Go,
    Error(Errno),
    Answer(i64),
    Hold,
    Short(usize),
}

/// A call that a rule met.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The call's name.
    pub call: &'static str,
    /// The program: `orlop` or `orlopd`.
    pub program: String,
    /// What it was about, as far as it can be seen.
    pub path: String,
}

/// Who makes a call.
struct Who {
    node: u32,
    process: u32,
    program: String,
}

/// What the threads of all commands share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    rules: Vec<Rule>,
    is_counting: bool,
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) hits: Vec<Hit>,
    pub(super) held: Vec<(Arc<OwnedFd>, u64)>,
    /// Processes in which the loader is at work.
    loading: HashSet<u32>,
    /// Names that are not seen yet by other nodes than this one.
    late: HashMap<String, (u32, Instant)>,
}

impl Shared {
    pub(super) fn begin(&mut self, rules: Vec<Rule>) {
        self.release();
        self.rules = rules;
        self.is_counting = true;
        self.counts.clear();
        self.hits.clear();
    }

    pub(super) fn rest(&mut self) {
        self.release();
        self.rules.clear();
        self.late.clear();
        self.is_counting = false;
    }

    pub(super) fn release(&mut self) {
        for (listener, id) in self.held.drain(..) {
            listen::answer(&listener, id, Verdict::Go);
        }
    }

    pub(super) fn decide(&mut self, node: u32, asked: &seccomp_notif) -> Verdict {
        let Some(call) = Call::numbered(asked.data.nr.into()) else { return Verdict::Go };
        let Some(process) = process_of(asked.pid) else { return Verdict::Go };
        if call.number == BEGINNING && self.loading.remove(&process) {
            return Verdict::Go;
        }
        if self.loading.contains(&process) {
            return Verdict::Go;
        }
        if !self.is_counting {
            self.note_program(&call, process);
            return Verdict::Go;
        }
        let verdict = match program_of(process) {
            Some(program) => {
                let who = Who { node, process, program };
                self.decide_of(&call, &who, asked)
            }
            None => Verdict::Go,
        };
        if matches!(verdict, Verdict::Go) {
            self.note_program(&call, process);
        }
        verdict
    }

    /// After an `execve` the loader is at work; one that fails is followed by no loader, and by
    /// nothing that is worth a fault.
    fn note_program(&mut self, call: &Call, process: u32) {
        if call.number == libc::SYS_execve {
            self.loading.insert(process);
        }
    }

    fn decide_of(&mut self, call: &Call, who: &Who, asked: &seccomp_notif) -> Verdict {
        let mut paths = None;
        if matches!(call.name, "write" | "writev" | "read") {
            let seen = paths.get_or_insert_with(|| paths_of(call, asked));
            // No kernel refuses to count, and runtimes take it for granted. An answer of FUSE that
            // is not taken leaves who asked waiting for ever, where nothing can kill it.
            let is_answer = call.name != "read" && seen.iter().any(|path| path == "/dev/fuse");
            if is_answer || seen.iter().any(|path| path == "anon_inode:[eventfd]") {
                return Verdict::Go;
            }
        }
        *self.counts.entry(call.name).or_default() += 1;
        if !self.late.is_empty() && LOOKING.contains(&call.name) {
            let seen = paths.get_or_insert_with(|| paths_of(call, asked));
            if self.is_late(seen, who.node) {
                return Verdict::Error(Errno::NOENT);
            }
        }
        let mut act = None;
        for rule in &mut self.rules {
            let is_met = rule.names.iter().any(|name| name == call.name)
                && rule.program.as_deref().is_none_or(|wanted| wanted == who.program)
                && rule.within.as_deref().is_none_or(|part| {
                    let seen = paths.get_or_insert_with(|| paths_of(call, asked));
                    seen.iter().any(|path| path.contains(part))
                })
                && rule.end.as_deref().is_none_or(|end| {
                    let seen = paths.get_or_insert_with(|| paths_of(call, asked));
                    seen.iter().any(|path| path.ends_with(end))
                });
            if is_met {
                rule.seen += 1;
                if rule.seen >= rule.first && rule.seen - rule.first < rule.times {
                    act = Some(rule.act);
                    break;
                }
            }
        }
        let Some(act) = act else { return Verdict::Go };
        let paths = paths.unwrap_or_else(|| paths_of(call, asked));
        let is_stream = |path: &String| path.starts_with("socket:") || path.starts_with("pipe:");
        // A stream that has nothing just now will wake who waits for it; this one would not.
        if act == Act::Error(Errno::AGAIN) && paths.iter().any(is_stream) {
            return Verdict::Go;
        }
        self.act(act, call, who, &paths)
    }

    fn act(&mut self, act: Act, call: &Call, who: &Who, paths: &[String]) -> Verdict {
        if !matches!(act, Act::Short(_)) {
            let (program, path) = (who.program.clone(), paths.join(" <- "));
            self.hits.push(Hit { call: call.name, program, path });
        }
        match act {
            Act::Error(with) => Verdict::Error(with),
            Act::Answer(value) => Verdict::Answer(value),
            Act::Hold => Verdict::Hold,
            Act::Note => Verdict::Go,
            Act::Short(most) => Verdict::Short(most),
            Act::Kill => {
                crate::site::end(who.process, rustix::process::Signal::KILL);
                Verdict::Error(Errno::INTR)
            }
            Act::Late(by) => {
                if NAMING.contains(&call.name)
                    && let Some(to) = paths.first()
                {
                    self.late.insert(to.clone(), (who.node, Instant::now() + by));
                }
                Verdict::Go
            }
        }
    }

    /// Whether a name, or what is below it, is not to be seen yet on this node.
    fn is_late(&self, paths: &[String], node: u32) -> bool {
        let now = Instant::now();
        paths.iter().any(|path| {
            std::path::Path::new(path).ancestors().any(|above| {
                let found = above.to_str().and_then(|above| self.late.get(above));
                found.is_some_and(|(by, until)| *by != node && *until > now)
            })
        })
    }
}

/// The process of a thread.
pub(super) fn process_of(thread: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
}

/// Which of the two programs a process runs; `None` for others.
fn program_of(process: u32) -> Option<String> {
    let path = std::fs::read_link(format!("/proc/{process}/exe")).ok()?;
    let name = path.file_name()?.to_str()?.trim_end_matches(" (deleted)");
    matches!(name, "orlop" | "orlopd").then(|| name.to_owned())
}

/// The files of a call: absolute where that can be told.
fn paths_of(call: &Call, asked: &seccomp_notif) -> Vec<String> {
    let mut paths = Vec::new();
    for files in call.files {
        let path = match files {
            Names::Nothing => None,
            Names::Fd(at) => link(asked.pid, asked.data.args[at]),
            Names::Path(at) => {
                let path = text(asked.pid, asked.data.args[at]).unwrap_or_default();
                let directory = at.checked_sub(1).map(|before| asked.data.args[before]);
                // A name below a directory that the argument before it is of; `fstatat` of a
                // descriptor has none.
                match directory.filter(|_| !path.starts_with('/')) {
                    Some(directory) => link(asked.pid, directory).map(|above| {
                        if path.is_empty() { above } else { format!("{above}/{path}") }
                    }),
                    None => Some(path),
                }
            }
        };
        paths.extend(path.filter(|path| !path.is_empty()));
    }
    paths
}

/// What a descriptor of a thread is open on.
fn link(thread: u32, descriptor: u64) -> Option<String> {
    #[expect(clippy::cast_possible_truncation, reason = "the kernel looks at the low half alone")]
    let number = (descriptor as u32).cast_signed();
    let at = match number {
        libc::AT_FDCWD => format!("/proc/{thread}/cwd"),
        number => format!("/proc/{thread}/fd/{number}"),
    };
    Some(std::fs::read_link(at).ok()?.to_string_lossy().into_owned())
}

/// A text in a thread's memory.
fn text(thread: u32, address: u64) -> Option<String> {
    let mut bytes = vec![0; 4096];
    let base = usize::try_from(address).ok().filter(|base| *base != 0)?;
    // Not past the end of a page at once: what is behind may not be there.
    let first = 4096 - base % 4096;
    let parts =
        [RemoteIoVec { base, len: first }, RemoteIoVec { base: base + first, len: 4096 - first }];
    let number = nix::unistd::Pid::from_raw(i32::try_from(thread).ok()?);
    let parts = if first == 4096 { &parts[..1] } else { &parts[..] };
    let read = process_vm_readv(number, &mut [IoSliceMut::new(&mut bytes)], parts).ok()?;
    let end = bytes[..read].iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
}
