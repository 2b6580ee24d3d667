//! What a command of a test did.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Output;

/// A command that has ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The command line as typed.
    pub line: String,
    /// Exit status; 128 + number for one that a signal ended.
    pub status: i32,
    /// Standard output; bytes that are no text are replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// Standard output as it came.
    pub bytes: Vec<u8>,
    /// The logs around it: printed by a check that fails.
    pub(super) around: String,
}

impl Outcome {
    pub(super) fn new(line: String, output: Output, around: String) -> Self {
        let status = output.status;
        let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Self {
            line,
            status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            bytes: output.stdout,
            around,
        }
    }

    /// Everything a reader of a failed test needs.
    #[must_use]
    pub fn report(&self) -> String {
        format!(
            "$ {}\nstatus {}\n--- stderr\n{}--- stdout\n{}{}",
            self.line, self.status, self.stderr, self.stdout, self.around
        )
    }

    /// Checks that it ended with 0.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn success(self) -> Self {
        self.fails(0)
    }

    /// Checks that it ended with this status.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn fails(self, status: i32) -> Self {
        assert!(self.status == status, "status {status} was expected\n{}", self.report());
        self
    }

    /// Checks that standard error has this text.
    ///
    /// # Panics
    /// When it has not.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} was expected\n{}", self.report());
        self
    }

    /// Checks that standard output is exactly this.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.stdout == text, "output {text:?} was expected\n{}", self.report());
        self
    }
}
