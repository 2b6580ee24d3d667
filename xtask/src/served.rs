//! The kit's registry as a process: ends with the pipe that it was started with.

use crate::Failed;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A registry that serves.
#[derive(Debug)]
pub(crate) struct Served {
    child: Child,
    /// `127.0.0.1:<port>`.
    pub(crate) host: String,
}

impl Served {
    /// Starts `orlop-kit serve` of this directory with these arguments.
    pub(crate) fn start(programs: &Path, words: &[&str]) -> Result<Self, Failed> {
        let mut child = Command::new(programs.join("orlop-kit"))
            .arg("serve")
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|cause| format!("orlop-kit: {cause}"))?;
        let mut host = String::new();
        if let Some(stdout) = &mut child.stdout {
            let mut first = BufReader::new(stdout);
            first.read_line(&mut host).map_err(|cause| format!("orlop-kit: {cause}"))?;
        }
        let host = host.trim().to_owned();
        if host.is_empty() {
            return Err("the kit's registry did not start".to_owned());
        }
        Ok(Self { child, host })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // The end of its input is its sign to end.
        drop(self.child.stdin.take());
        let _ended = self.child.wait();
    }
}
