//! Worlds: an empty home with all that programs keep in one, and steps that are measured in it.
//!
//! Commands are run by `orlop-kit measure`, a process for each step, in the world's environment alone.
//! Disks are synced before. The daemon's time and memory are read from `/proc`. Not here: which steps.

use super::peers::Program;
use super::sample::Sample;
use crate::Failed;
use crate::command::{line, output};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where worlds are made, and the program that measures.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) kit: PathBuf,
    pub(super) worlds: PathBuf,
}

/// An empty home of one program.
#[derive(Debug)]
pub(super) struct World<'a> {
    kit: &'a Path,
    program: &'a Program,
    root: PathBuf,
}

/// What commands took.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// Milliseconds until each ended, in the order in which they did.
    pub(super) walls: Vec<f64>,
    /// Milliseconds until the only command said something.
    pub(super) first: Option<f64>,
    /// The same of the one that was held.
    pub(super) held: Option<f64>,
    /// The last one's end, and all else.
    pub(super) sample: Sample,
}

impl Step {
    /// The same with another time, in milliseconds.
    pub(super) fn at(&self, wall: Option<f64>) -> Sample {
        Sample { wall: wall.unwrap_or(f64::NAN), ..self.sample.clone() }
    }

    /// The middle one's end.
    pub(super) fn middle(&self) -> Sample {
        self.at(super::sample::median(self.walls.iter().copied()))
    }
}

/// A process: when it began, and what it used since.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Used {
    pid: u64,
    cpu: f64,
}

impl<'a> World<'a> {
    pub(super) fn new(ground: &'a Ground, program: &'a Program) -> Result<Self, Failed> {
        let mut make = Command::new("mktemp");
        make.arg("-d").arg("-p").arg(&ground.worlds).arg("orlop-bench-XXXXXX");
        let root = PathBuf::from(output(&mut make)?.trim());
        for name in ["run", "work", "tmp"] {
            std::fs::create_dir(root.join(name)).map_err(|e| format!("{}: {e}", root.display()))?;
        }
        output(Command::new("chmod").arg("0700").arg(root.join("run")))?;
        Ok(Self { kit: &ground.kit, program, root })
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.root)
            .env("XDG_RUNTIME_DIR", self.root.join("run"))
            .env("TMPDIR", self.root.join("tmp"))
            .current_dir(self.root.join("work"))
            .stdin(Stdio::null());
        command
    }

    /// Where a file of this name is that a command made.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.root.join("work").join(name)
    }

    /// Where a daemon of this world listens.
    pub(super) fn socket(&self) -> String {
        self.root.join("run/orlop/orlopd.sock").display().to_string()
    }

    /// What a command of the world's program that must end well has printed.
    pub(super) fn output(&self, words: &[&str]) -> Result<String, Failed> {
        output(self.command(&self.program.path).args(words))
    }

    /// The same of any program.
    pub(super) fn output_of(&self, program: &Path, words: &[&str]) -> Result<String, Failed> {
        output(self.command(program).args(words))
    }

    /// Starts a command whose words nobody reads.
    pub(super) fn start(&self, words: &[String]) -> Result<Child, Failed> {
        let (program, words) = words.split_first().ok_or("a command without words")?;
        let mut command = self.command(Path::new(program));
        command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map_err(|cause| format!("{}: {cause}", line(&command)))
    }

    /// Runs commands at once that have to do with no daemon; all must end well.
    pub(super) fn plain(&self, commands: &[Vec<String>]) -> Result<Step, Failed> {
        self.measure(commands, None)
    }

    /// Runs commands of the program at once, after `held` said something and while it lives; all must
    /// end well. What the daemon used meanwhile counts.
    pub(super) fn step(
        &self,
        commands: &[Vec<String>],
        held: Option<&[String]>,
    ) -> Result<Step, Failed> {
        let before = self.daemon();
        if let Some(Used { pid, .. }) = before {
            // Begins the peak anew; where that may not be, the peak is of the world so far.
            let _begun = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
        let mut step = self.measure(commands, held)?;
        if let Some(after) = self.daemon() {
            let earlier = before.filter(|before| before.pid == after.pid);
            let used = after.cpu - earlier.map_or(0.0, |before| before.cpu);
            step.sample.cpu = step.sample.cpu.map(|cpu| cpu + used);
            let status = std::fs::read_to_string(format!("/proc/{}/status", after.pid));
            step.sample.daemon_peak = peak(&status.unwrap_or_default());
        }
        Ok(step)
    }

    fn measure(&self, commands: &[Vec<String>], held: Option<&[String]>) -> Result<Step, Failed> {
        output(&mut Command::new("sync"))?;
        let log = self.root.join("errors");
        let request = json!({"commands": commands, "held": held, "log": log.display().to_string()});
        let mut command = self.command(self.kit);
        command.arg("measure").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |cause: std::io::Error| format!("orlop-kit: {cause}");
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(request.to_string().as_bytes()).map_err(failed)?;
        }
        let done = child.wait_with_output().map_err(failed)?;
        if !done.status.success() {
            let why = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            let said = std::fs::read_to_string(log).unwrap_or_default();
            let last = said.lines().last().unwrap_or_default();
            return Err(format!("{why}; {last}"));
        }
        let told: Value =
            serde_json::from_slice(&done.stdout).map_err(|cause| cause.to_string())?;
        let walls = told["walls_ms"].as_array().into_iter().flatten();
        let walls: Vec<f64> = walls.filter_map(Value::as_f64).collect();
        let sample = Sample {
            wall: walls.last().copied().unwrap_or(f64::NAN),
            cpu: told["cpu_s"].as_f64(),
            client_peak: told["peak_bytes"].as_u64(),
            ..Sample::default()
        };
        let (first, held) = (told["first_ms"].as_f64(), told["held_ms"].as_f64());
        Ok(Step { walls, first, held, sample })
    }

    /// Puts a file of the world out of the page cache.
    pub(super) fn forget(&self, name: &str) -> Result<(), Failed> {
        let file = format!("if={}", self.file(name).display());
        output(Command::new("sync").arg(self.file(name)))?;
        output(Command::new("dd").args([&file, "iflag=nocache", "count=0", "status=none"]))?;
        Ok(())
    }

    /// The daemon that runs, if one does.
    fn daemon(&self) -> Option<Used> {
        if !self.program.is_own() {
            return None;
        }
        let status = self.output(&["status", "--json"]).ok()?;
        let status: Value = serde_json::from_str(&status).ok()?;
        let pid = status["pid"].as_u64().filter(|pid| *pid > 0)?;
        let mut stat = String::new();
        let mut file = std::fs::File::open(format!("/proc/{pid}/stat")).ok()?;
        file.read_to_string(&mut stat).ok()?;
        Some(Used { pid, cpu: ticks(&stat)? / 100.0 })
    }

    pub(super) fn end(self) {
        let mut last = self.command(&self.program.path);
        match self.program.name {
            "orlop" => drop(last.args(["daemon", "stop"]).output()),
            // Its storage has files of other users, which only itself can remove.
            "podman" => drop(last.args(["system", "reset", "--force"]).output()),
            _ => {}
        }
        if let Err(cause) = std::fs::remove_dir_all(&self.root) {
            println!("{}: {cause}", self.root.display());
        }
    }
}

/// `VmHWM` in bytes, from a process's `status` (proc_pid_status(5)).
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// Hundredths of a second in user and system mode, from a process's `stat` (proc_pid_stat(5), fields
/// 14 and 15; the name before them may have spaces).
fn ticks(stat: &str) -> Option<f64> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_tells_of_a_process_is_read() {
        assert_eq!(peak("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2 << 20));
        assert_eq!(peak("Name:\tx\n"), None);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 31 11 0 0 20 0 1 0 5 1 1";
        assert_eq!(ticks(stat), Some(42.0));
        assert_eq!(ticks("7 (a"), None);
    }
}
