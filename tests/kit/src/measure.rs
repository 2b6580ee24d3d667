//! Commands are run and what they took is told: wall time, processor time, memory.
//!
//! In a process of its own (`orlop-kit measure`), since the system tells the time and memory of
//! children for all of a process together (getrusage(2), `RUSAGE_CHILDREN`): that of commands and of
//! what they waited for, not of daemons. Not here: daemons, and what is measured (`xtask bench`).

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::sys::wait::{WaitStatus, wait};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// What is run. Read from JSON: `{"commands": [["true"]], "log": "errors", "held": ["cat"]}`.
#[derive(Debug)]
pub struct Wanted {
    /// Started at once; each must end well.
    commands: Vec<Vec<String>>,
    /// Runs before the others and while they do: it is waited for until it has said something, and
    /// its input ends after them.
    held: Option<Vec<String>>,
    /// Where what they say to standard error goes.
    log: String,
}

impl Wanted {
    /// Reads a request.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let request: Value = serde_json::from_str(text).map_err(|cause| cause.to_string())?;
        let words = |value: &Value| {
            let words = value.as_array().ok_or("a command is a list of words")?;
            let words = words.iter().map(|word| word.as_str().map(str::to_owned));
            words.collect::<Option<Vec<String>>>().ok_or("a word is text")
        };
        let commands = request["commands"].as_array().ok_or("no commands")?;
        let commands = commands.iter().map(words).collect::<Result<Vec<_>, _>>()?;
        let held = request.get("held").filter(|held| !held.is_null());
        let log = request["log"].as_str().ok_or("no log")?.to_owned();
        Ok(Self { commands, held: held.map(words).transpose()?, log })
    }

    fn command(&self, words: &[String], stdout: Stdio) -> Result<Child, String> {
        let (program, words) = words.split_first().ok_or("a command without words")?;
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.map_err(|cause| format!("{}: {cause}", self.log))?;
        let held = self.held.is_some();
        let mut command = Command::new(program);
        command.args(words).stdout(stdout).stderr(log);
        command.stdin(if held { Stdio::piped() } else { Stdio::null() });
        command.spawn().map_err(|cause| format!("{program}: {cause}"))
    }

    /// Runs all and tells, as JSON: `walls_ms` of the commands from the start of the first to the end
    /// of each, in the order in which they ended; `first_ms` until the one command said something, null
    /// where there are many; `held_ms` likewise; `cpu_s`; `peak_bytes` of the largest process.
    ///
    /// # Errors
    /// Which command could not be started or did not end well.
    pub fn run(&self) -> Result<Value, String> {
        let (mut first, mut held_first) = (None, None);
        let mut held = Vec::new();
        if let Some(words) = &self.held {
            let began = Instant::now();
            let mut child = self.command(words, Stdio::piped())?;
            held_first = said(&mut child, began).map_err(|cause| cause.to_string())?;
            held.push(child);
        }
        let alone = self.commands.len() == 1;
        let began = Instant::now();
        // Kept to the end: what they say later must find an open pipe.
        let mut children = Vec::new();
        let mut under_way = BTreeMap::new();
        for words in &self.commands {
            let stdout = if alone { Stdio::piped() } else { Stdio::null() };
            let mut child = self.command(words, stdout)?;
            // Only the held one waits for the end of its input.
            drop(child.stdin.take());
            if alone {
                first = said(&mut child, began).map_err(|cause| cause.to_string())?;
            }
            under_way.insert(child.id(), words.join(" "));
            children.push(child);
        }
        let walls = ends(under_way, began)?;
        drop(children);
        for mut child in held {
            drop(child.stdin.take());
            let status = child.wait().map_err(|cause| cause.to_string())?;
            if !status.success() {
                return Err(format!("the held command: {status}"));
            }
        }
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|cause| cause.to_string())?;
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        let cpu = std::time::Duration::from_micros(u64::try_from(micros).unwrap_or(0));
        let peak = u64::try_from(usage.max_rss()).unwrap_or(0) << 10;
        Ok(json!({
            "walls_ms": walls,
            "first_ms": first,
            "held_ms": held_first,
            "cpu_s": cpu.as_secs_f64(),
            "peak_bytes": peak,
        }))
    }
}

/// Milliseconds since then.
fn since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0
}

/// When the child said its first byte, if it said one. What it says later is read by nobody and kept
/// by nobody: it must fit into a pipe.
fn said(child: &mut Child, began: Instant) -> io::Result<Option<f64>> {
    let Some(stdout) = &mut child.stdout else { return Ok(None) };
    let count = stdout.read(&mut [0])?;
    Ok((count > 0).then(|| since(began)))
}

/// Waits for all of these; when each ended, or which did not end well.
fn ends(mut under_way: BTreeMap<u32, String>, began: Instant) -> Result<Vec<f64>, String> {
    let (mut walls, mut failed) = (Vec::new(), Vec::new());
    while !under_way.is_empty() {
        let status = wait().map_err(|cause| cause.to_string())?;
        let took = since(began);
        let pid = status.pid().and_then(|pid| u32::try_from(pid.as_raw()).ok());
        match pid.and_then(|pid| under_way.remove(&pid)) {
            None => failed.push("the held command ended".to_owned()),
            Some(_) if matches!(status, WaitStatus::Exited(_, 0)) => walls.push(took),
            Some(words) => failed.push(format!("{words}: {status:?}")),
        }
    }
    match failed.first() {
        None => Ok(walls),
        Some(one) => Err(format!("{} failed, the first: {one}", failed.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        let wanted = Wanted::read(r#"{"commands": [["a", "b"], ["c"]], "log": "l", "held": null}"#);
        let wanted = wanted.unwrap();
        assert_eq!(wanted.commands, [vec!["a", "b"], vec!["c"]]);
        assert_eq!((wanted.held, wanted.log.as_str()), (None, "l"));
        for wrong in
            ["", "{}", r#"{"commands": [1], "log": ""}"#, r#"{"commands": [[1]], "log": ""}"#]
        {
            assert!(Wanted::read(wrong).is_err(), "{wrong}");
        }
    }
}
