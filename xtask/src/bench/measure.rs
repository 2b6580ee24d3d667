//! One repeat of one program: a fresh world, the cases in their order, times in milliseconds.

use super::peers::Program;
use crate::Failed;
use crate::command::{line, output};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Times that a warm start is measured in each repeat.
const STARTS: usize = 10;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measured {
    ColdPull,
    CachedPull,
    FirstExec,
    Exec,
    FirstImport,
    Import,
    Memory,
}

impl Measured {
    pub(crate) const ALL: [Self; 7] = [
        Self::ColdPull,
        Self::CachedPull,
        Self::FirstExec,
        Self::Exec,
        Self::FirstImport,
        Self::Import,
        Self::Memory,
    ];

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::ColdPull => "cold pull",
            Self::CachedPull => "cached pull",
            Self::FirstExec => "exec true, first",
            Self::Exec => "exec true, warm",
            Self::FirstImport => "python imports, first",
            Self::Import => "python imports, again",
            Self::Memory => "daemon's peak memory, MiB",
        }
    }
}

/// What was measured of one program.
#[derive(Debug, Default)]
pub(crate) struct Figures(BTreeMap<Measured, Vec<f64>>);

impl Figures {
    fn add(&mut self, what: Measured, figure: f64) {
        self.0.entry(what).or_default().push(figure);
    }

    /// The middle one; none when there is none.
    pub(crate) fn median(&self, what: Measured) -> Option<f64> {
        median(self.0.get(&what)?)
    }
}

/// The middle one; none when there is none.
pub(super) fn median(figures: &[f64]) -> Option<f64> {
    let mut all = figures.to_vec();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}

/// Measures all cases once.
pub(crate) fn one(
    program: &Program,
    image: &str,
    generated: bool,
    figures: &mut Figures,
) -> Result<(), Failed> {
    let world = World::new()?;
    let done = cases(program, &world, image, generated, figures);
    world.end(program);
    done
}

fn cases(
    program: &Program,
    world: &World,
    image: &str,
    generated: bool,
    figures: &mut Figures,
) -> Result<(), Failed> {
    figures.add(Measured::ColdPull, world.time(program, &program.pull(image, "first"))?);
    figures.add(Measured::CachedPull, world.time(program, &program.pull(image, "second"))?);
    let nothing: &[&str] = if generated { &["/bin/probe", "exit", "0"] } else { &["true"] };
    if let Some(words) = program.exec(image, "first", nothing) {
        figures.add(Measured::FirstExec, world.time(program, &words)?);
        for _ in 0..STARTS {
            figures.add(Measured::Exec, world.time(program, &words)?);
        }
    }
    let imports = ["python3", "-c", "import numpy, scipy, pandas, matplotlib"];
    let python = program.exec(image, "first", &imports).filter(|_| !generated);
    if let Some(words) = python
        && let Ok(first) = world.time(program, &words)
    {
        // An image without these fails the first time, and is not asked again.
        figures.add(Measured::FirstImport, first);
        figures.add(Measured::Import, world.time(program, &words)?);
    }
    if program.name == "orlop" {
        let status = output(world.command(program).args(["status", "--json"]))?;
        let status: serde_json::Value = serde_json::from_str(&status).unwrap_or_default();
        if let Some(bytes) = status["memory_peak_bytes"].as_f64() {
            figures.add(Measured::Memory, bytes / f64::from(1 << 20));
        }
    }
    Ok(())
}

/// An empty home with all that programs keep in one.
pub(super) struct World(PathBuf);

impl World {
    pub(super) fn new() -> Result<Self, Failed> {
        let made = output(Command::new("mktemp").args(["-d", "-t", "orlop-bench-XXXXXX"]))?;
        let root = PathBuf::from(made.trim());
        for name in ["run", "work", "tmp"] {
            std::fs::create_dir(root.join(name)).map_err(|e| format!("{}: {e}", root.display()))?;
        }
        output(Command::new("chmod").arg("0700").arg(root.join("run")))?;
        Ok(Self(root))
    }

    fn command(&self, program: &Program) -> Command {
        let mut command = Command::new(&program.path);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.0)
            .env("XDG_RUNTIME_DIR", self.0.join("run"))
            .env("TMPDIR", self.0.join("tmp"))
            .current_dir(self.0.join("work"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Milliseconds from start to end of a command that must end well.
    pub(super) fn time(&self, program: &Program, words: &[String]) -> Result<f64, Failed> {
        let mut command = self.command(program);
        command.args(words);
        let shown = line(&command);
        let began = Instant::now();
        let done = command.output().map_err(|cause| format!("{shown}: {cause}"))?;
        let took = began.elapsed().as_secs_f64() * 1000.0;
        if done.status.success() {
            return Ok(took);
        }
        let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        Err(format!("{shown}: {}\n{said}", done.status))
    }

    /// Where a daemon of this world listens.
    pub(super) fn socket(&self) -> String {
        self.0.join("run/orlop/orlopd.sock").display().to_string()
    }

    /// What a command that must end well has printed.
    pub(super) fn output(&self, program: &Program, words: &[&str]) -> Result<String, Failed> {
        output(self.command(program).args(words).stdout(Stdio::piped()))
    }

    /// Starts a command whose words nobody reads.
    pub(super) fn start(&self, program: &Program, words: &[String]) -> Result<Child, Failed> {
        let mut command = self.command(program);
        command.args(words).stderr(Stdio::null());
        command.spawn().map_err(|cause| format!("{}: {cause}", line(&command)))
    }

    /// Milliseconds from the start of all commands to the end of each; all must end well.
    pub(super) fn at_once(
        &self,
        program: &Program,
        commands: &[Vec<String>],
    ) -> Result<Vec<f64>, Failed> {
        let began = Instant::now();
        let started: Result<Vec<Child>, Failed> =
            commands.iter().map(|words| self.start(program, words)).collect();
        std::thread::scope(|scope| {
            let waiting: Vec<_> = started?
                .into_iter()
                .map(|mut child| {
                    scope.spawn(move || {
                        let status = child.wait().map_err(|cause| cause.to_string())?;
                        let took = began.elapsed().as_secs_f64() * 1000.0;
                        status.success().then_some(took).ok_or(format!("one of many: {status}"))
                    })
                })
                .collect();
            let lost = |_| Err("a thread panicked".to_owned());
            waiting.into_iter().map(|one| one.join().unwrap_or_else(lost)).collect()
        })
    }

    pub(super) fn end(&self, program: &Program) {
        let mut last = self.command(program);
        match program.name {
            "orlop" => drop(last.args(["daemon", "stop"]).output()),
            // Its storage has files of other users, which only itself can remove.
            "podman" => drop(last.args(["system", "reset", "--force"]).output()),
            _ => {}
        }
        if let Err(cause) = std::fs::remove_dir_all(&self.0) {
            println!("{}: {cause}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_figure_is_the_median() {
        let mut figures = Figures::default();
        assert_eq!(figures.median(Measured::Exec), None);
        for figure in [9.0, 1.0, 3.0] {
            figures.add(Measured::Exec, figure);
        }
        assert_eq!(figures.median(Measured::Exec), Some(3.0));
    }
}
