//! One command at a site: arguments, input and place, then run to its end or watched.

use super::{Outcome, Site};
use crate::faults::Faults;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// A command being put together.
#[derive(Debug)]
pub struct Run<'a> {
    site: &'a Site,
    line: String,
    command: Command,
    input: Option<Vec<u8>>,
    faults: Option<Faults>,
}

impl<'a> Run<'a> {
    pub(super) fn new(site: &'a Site, program: &Path, arguments: Vec<OsString>) -> Self {
        let mut line = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for argument in &arguments {
            line.push(' ');
            line.push_str(&argument.to_string_lossy());
        }
        let (program, arguments) = site.with_system(program, arguments);
        let mut command = Command::new(program);
        command.args(arguments);
        site.dress(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let faults = site.faults.clone();
        Self { site, line, command, input: None, faults }
    }

    /// Gives it this on standard input.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self.command.stdin(Stdio::piped());
        self
    }

    /// Sets a variable for this command alone.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes a variable for this command alone.
    #[must_use]
    pub fn no_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs it in this directory instead of the site's own.
    #[must_use]
    pub fn at(mut self, directory: impl Into<PathBuf>) -> Self {
        self.command.current_dir(directory.into());
        self
    }

    /// Lets its system calls, and those of what it starts, be decided by these faults instead of the site's.
    #[must_use]
    pub fn under(mut self, faults: &Faults) -> Self {
        self.faults = Some(faults.clone());
        self
    }

    /// Keeps its standard input open until [`Running::close_input`] or [`Running::outcome`].
    #[must_use]
    pub fn open_input(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        self.start().outcome()
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut self) -> Running<'a> {
        if let Some(faults) = &self.faults {
            faults.attach(&mut self.command);
        }
        let spawned = match &self.site.place {
            Some(place) => place.within(|| self.command.spawn()),
            None => self.command.spawn(),
        };
        let mut child = spawned.unwrap_or_else(|e| panic!("{}: {e}", self.line));
        let mut stdin = child.stdin.take();
        if let Some(bytes) = self.input.take()
            && let Some(mut pipe) = stdin.take()
        {
            // A program that does not read its input is no fault of the kit's.
            let _sent = pipe.write_all(&bytes);
        }
        Running { site: self.site, line: self.line, child, stdin }
    }
}

/// A command that runs.
#[derive(Debug)]
pub struct Running<'a> {
    site: &'a Site,
    line: String,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Running<'_> {
    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended and been waited for.
    pub fn signal(&self, signal: Signal) {
        let number = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(number.expect("numbers of processes are positive"), signal)
            .unwrap_or_else(|cause| panic!("{}: {cause}", self.line));
    }

    /// Whether it has ended.
    #[must_use]
    pub fn ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// The next line of its standard output, read byte by byte.
    ///
    /// # Panics
    /// When reading fails.
    #[must_use]
    pub fn line(&mut self) -> String {
        use std::io::Read as _;
        let out = self.child.stdout.as_mut().expect("it is piped");
        let mut text = Vec::new();
        let mut byte = [0];
        while out.read(&mut byte).expect("a pipe can be read") == 1 && byte != *b"\n" {
            text.push(byte[0]);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Reads its standard error until a line has this text; that line.
    ///
    /// # Panics
    /// When it ends without.
    #[must_use]
    pub fn says(&mut self, text: &str) -> String {
        use std::io::Read as _;
        let err = self.child.stderr.as_mut().expect("it is piped");
        let (mut said, mut line, mut byte) = (String::new(), Vec::new(), [0]);
        while err.read(&mut byte).expect("a pipe can be read") == 1 {
            line.push(byte[0]);
            if byte == *b"\n" {
                let whole = String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned();
                if whole.contains(text) {
                    return whole;
                }
                said.push_str(&whole);
            }
        }
        panic!("{}: {text:?} is not said:\n{said}", self.line)
    }

    /// Ends its input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Waits for its end; also gives the most memory it was seen to have, in bytes.
    ///
    /// # Panics
    /// When it does not end within half an hour; when reading its output fails.
    #[must_use]
    pub fn outcome_and_peak(mut self) -> (Outcome, u64) {
        let mut peak = 0;
        let mut looks = 0;
        while !self.ended() {
            peak = crate::memory::peak(self.pid()).unwrap_or(0).max(peak);
            looks += 1;
            assert!(looks < 180_000, "{}: it does not end", self.line);
            crate::until::pause();
        }
        (self.outcome(), peak)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When reading its output fails.
    #[must_use]
    pub fn outcome(mut self) -> Outcome {
        self.close_input();
        let output = self.child.wait_with_output().unwrap_or_else(|e| panic!("{}: {e}", self.line));
        Outcome::new(self.line, output, self.site.around())
    }
}
