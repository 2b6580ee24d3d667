//! The kit's registry as a process: ends with the pipe that it was started with.

use crate::Failed;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A registry that serves.
#[derive(Debug)]
pub(crate) struct Served {
    child: Child,
    said: BufReader<ChildStdout>,
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
        let stdout = child.stdout.take().ok_or("orlop-kit: no output")?;
        let mut served = Self { child, said: BufReader::new(stdout), host: String::new() };
        served.host = served.line()?;
        if served.host.is_empty() {
            return Err("the kit's registry did not start".to_owned());
        }
        Ok(served)
    }

    fn line(&mut self) -> Result<String, Failed> {
        let mut line = String::new();
        self.said.read_line(&mut line).map_err(|cause| format!("orlop-kit: {cause}"))?;
        Ok(line.trim().to_owned())
    }

    /// The requests since the last call, as the registry logged them: JSON.
    pub(crate) fn requests(&mut self) -> Result<String, Failed> {
        let input = self.child.stdin.as_mut().ok_or("orlop-kit: no input")?;
        input.write_all(b"requests\n").map_err(|cause| format!("orlop-kit: {cause}"))?;
        self.line()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // The end of its input is its sign to end.
        drop(self.child.stdin.take());
        let _ended = self.child.wait();
    }
}
