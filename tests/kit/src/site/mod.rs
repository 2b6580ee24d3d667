//! A site: one person's world, with nothing of the machine's own settings in it.
//!
//! Own home, runtime directory, temporary directory and working directory below one directory
//! that goes with the site; a daemon that the first command starts as it would for a user, and
//! that is ended by number. Not here: registries ([`crate::registry`], [`crate::real`]).

mod invariants;
mod outcome;
mod processes;
mod programs;
mod run;
mod system;

pub use outcome::Outcome;
pub use processes::{end, naming};
pub use programs::Programs;
pub use run::{Run, Running};

use crate::disk::Disk;
use crate::faults::Faults;
use crate::nodes::Place;
use crate::person::Person;
use crate::registry::{Log, Registry};
use crate::tls::Identity;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

/// One person's world.
#[derive(Debug)]
pub struct Site {
    programs: Programs,
    person: Person,
    directory: Option<TempDir>,
    root: PathBuf,
    env: Vec<(OsString, OsString)>,
    logs: Vec<Log>,
    settings: String,
    faults: Option<Faults>,
    place: Option<Arc<Place>>,
    disk: Option<Disk>,
}

impl Site {
    /// A world for an ordinary user ([`Person::ordinary`]).
    ///
    /// # Panics
    /// When the directory cannot be made.
    #[must_use]
    pub fn new(programs: &Programs) -> Self {
        Self::of(Person::ordinary(), programs)
    }

    /// A world for this person.
    ///
    /// # Panics
    /// When the directory cannot be made.
    #[must_use]
    pub fn of(person: Person, programs: &Programs) -> Self {
        let programs =
            if person == Person::own() { programs.clone() } else { programs.for_everybody() };
        let directory = tempfile::Builder::new()
            .prefix("orlop-site-")
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir()
            .expect("a directory can be made");
        let root = directory.path().to_owned();
        let site = Self {
            programs,
            person,
            directory: Some(directory),
            root,
            env: Vec::new(),
            logs: Vec::new(),
            settings: String::new(),
            faults: None,
            place: None,
            disk: None,
        };
        for at in [site.home(), site.runtime(), site.work(), site.temp(), site.bin()] {
            site.make_dir(&at, 0o700);
        }
        site
    }

    /// Tells registries.conf that this registry speaks plain HTTP; its log is printed by checks
    /// that fail.
    #[must_use]
    pub fn insecure(mut self, registry: &Registry) -> Self {
        for host in registry.hosts() {
            let _infallible =
                write!(self.settings, "[[registry]]\nlocation = \"{host}\"\ninsecure = true\n\n");
        }
        self.write_settings();
        self.watch(registry)
    }

    /// Like [`Site::insecure`], for a real registry's `host:port`.
    #[must_use]
    pub fn insecure_host(mut self, host: &str) -> Self {
        let _infallible =
            write!(self.settings, "[[registry]]\nlocation = \"{host}\"\ninsecure = true\n\n");
        self.write_settings();
        self
    }

    /// Lets checks that fail print this registry's log.
    #[must_use]
    pub fn watch(mut self, registry: &Registry) -> Self {
        self.logs.push(registry.log_handle());
        self
    }

    /// Trusts the authority of this identity for `host:port`, by certs.d.
    #[must_use]
    pub fn trust(self, identity: &Identity, host: &str) -> Self {
        self.write_home(
            &format!(".config/containers/certs.d/{host}/ca.crt"),
            identity.ca_pem().as_bytes(),
        );
        self
    }

    /// Runs all commands on a node of its own.
    #[must_use]
    pub(crate) fn inside(mut self, place: Arc<Place>) -> Self {
        self.place = Some(place);
        self
    }

    /// Puts a disk of its own ([`Disk`]) where this directory of the site is, which is made; `None`
    /// where FUSE cannot be had.
    #[must_use]
    pub fn with_disk(mut self, at: &Path) -> Option<Self> {
        if !at.exists() {
            self.make_dir(at, 0o700);
        }
        self.disk = Some(Disk::mount(at, self.person)?);
        Some(self)
    }

    /// The disk of [`Site::with_disk`].
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("the site has a disk")
    }

    /// Has its commands run on a machine that has been started again: under another boot's identity,
    /// by the means of [`Site::write_system`].
    #[must_use]
    pub fn after_reboot(self) -> Self {
        let boot = b"ffffffff-0000-4000-8000-000000000000\n";
        self.write_system("orlop-kit-boot", boot);
        self
    }

    /// Sets a variable for all commands.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Lets the system calls of all its commands, and of the daemon that they start, be decided by
    /// these faults.
    #[must_use]
    pub fn under(mut self, faults: &Faults) -> Self {
        self.faults = Some(faults.clone());
        self
    }

    /// Whose world it is.
    #[must_use]
    pub const fn person(&self) -> Person {
        self.person
    }

    /// The directory that holds everything.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `HOME`.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// `XDG_RUNTIME_DIR`.
    #[must_use]
    pub fn runtime(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Where commands are run.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// `TMPDIR`.
    #[must_use]
    pub fn temp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// The cache, where the default places it.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.home().join(".cache/orlop")
    }

    /// Makes the cache's directory; returns it.
    pub(crate) fn make_cache(&self) -> PathBuf {
        let cache = self.cache();
        for at in [self.home().join(".cache"), cache.clone()] {
            if !at.exists() {
                self.make_dir(&at, 0o700);
            }
        }
        cache
    }

    fn bin(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// Runs `orlop` with these arguments to its end.
    #[must_use]
    pub fn orlop<A: Into<OsString>>(&self, arguments: impl IntoIterator<Item = A>) -> Outcome {
        self.run(arguments).outcome()
    }

    /// `orlop` with these arguments, not started yet.
    #[must_use]
    pub fn run<A: Into<OsString>>(&self, arguments: impl IntoIterator<Item = A>) -> Run<'_> {
        Run::new(self, &self.programs.orlop, arguments.into_iter().map(Into::into).collect())
    }

    /// `orlop` under another name, such as `apptainer`, by a symbolic link.
    ///
    /// # Panics
    /// When the link cannot be made.
    #[must_use]
    pub fn run_as<A: Into<OsString>>(
        &self,
        name: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Run<'_> {
        let link = self.bin().join(name);
        if link.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(&self.programs.orlop, &link).expect("a link can be made");
        }
        Run::new(self, &link, arguments.into_iter().map(Into::into).collect())
    }

    /// Any program in this world, by its path.
    #[must_use]
    pub fn program<A: Into<OsString>>(
        &self,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Run<'_> {
        Run::new(self, program, arguments.into_iter().map(Into::into).collect())
    }

    /// The paths of the programs.
    #[must_use]
    pub const fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Gives a command this world's person, variables and directory.
    fn dress(&self, command: &mut Command) {
        self.person.apply(command);
        command
            .env_clear()
            .env("HOME", self.home())
            .env("XDG_RUNTIME_DIR", self.runtime())
            .env("TMPDIR", self.temp())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("ORLOP_DAEMON", &self.programs.orlopd)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.work());
    }

    /// Writes a file below the home, with its directories, owned by the person.
    ///
    /// # Panics
    /// When that fails.
    pub fn write_home(&self, path: &str, bytes: &[u8]) {
        self.write(&self.home().join(path), bytes);
    }

    /// Writes a file below the working directory, owned by the person.
    ///
    /// # Panics
    /// When that fails.
    pub fn write_work(&self, path: &str, bytes: &[u8]) {
        self.write(&self.work().join(path), bytes);
    }

    fn write(&self, at: &Path, bytes: &[u8]) {
        let mut missing: Vec<&Path> =
            at.ancestors().skip(1).take_while(|directory| !directory.exists()).collect();
        while let Some(directory) = missing.pop() {
            self.make_dir(directory, 0o700);
        }
        std::fs::write(at, bytes).unwrap_or_else(|e| panic!("{}: {e}", at.display()));
        self.person.give(at);
    }

    fn write_settings(&self) {
        self.write_home(".config/containers/registries.conf", self.settings.as_bytes());
    }

    fn make_dir(&self, at: &Path, mode: u32) {
        std::fs::create_dir(at).unwrap_or_else(|e| panic!("{}: {e}", at.display()));
        std::fs::set_permissions(at, std::fs::Permissions::from_mode(mode)).expect("just made");
        self.person.give(at);
    }

    /// A file of the home as text; none when it is not there.
    #[must_use]
    pub fn read_home(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.home().join(path)).ok()
    }

    /// Paths below a directory, sorted, relative to it, directories with a slash at the end.
    #[must_use]
    pub fn tree(&self, directory: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut left = vec![directory.to_owned()];
        while let Some(at) = left.pop() {
            for entry in std::fs::read_dir(&at).into_iter().flatten().flatten() {
                let path = entry.path();
                let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let relative = path.strip_prefix(directory).unwrap_or(&path);
                let slash = if is_dir { "/" } else { "" };
                found.push(format!("{}{slash}", relative.display()));
                if is_dir {
                    left.push(path);
                }
            }
        }
        found.sort();
        found
    }

    /// Numbers of the site's processes that run now.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        naming(&self.root)
    }

    /// Numbers of the site's daemons that run now.
    #[must_use]
    pub fn daemons(&self) -> Vec<u32> {
        let is_daemon = |pid: &u32| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            name.is_ok_and(|name| name.trim_end() == "orlopd")
        };
        self.processes().into_iter().filter(is_daemon).collect()
    }

    /// Ends all processes of the site, as a node that goes down would.
    pub fn stop(&self) {
        processes::end_all(&self.root);
    }

    /// The registries' logs and the end of the daemon's.
    fn around(&self) -> String {
        let mut text = String::new();
        for log in &self.logs {
            let _infallible = write!(text, "--- registry\n{log}");
        }
        for path in self.tree(&self.home()).iter().filter(|path| path.ends_with(".log")) {
            let whole = self.read_home(path).unwrap_or_default();
            let lines: Vec<&str> = whole.lines().collect();
            let last = lines[lines.len().saturating_sub(50)..].join("\n");
            let _infallible = write!(text, "--- {path}\n{last}\n");
        }
        text
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(disk) = &self.disk {
            disk.goes_on();
        }
        self.stop();
        // Nobody has a file of it open any more.
        drop(self.disk.take());
        let Some(directory) = self.directory.take() else { return };
        if std::thread::panicking() {
            crate::tools::note(&format!("kept for a look: {}", directory.keep().display()));
        }
    }
}

#[cfg(test)]
mod tests;
