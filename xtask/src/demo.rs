//! The demo: the commands that a user would type, against a registry of the demo's own.
//!
//! Each command is shown before what it prints. Home, cache and registry are the demo's own and
//! go with it. Not here: the registry and its image (the kit).

use crate::Failed;
use crate::command::{build_programs, works};
use crate::served::Served;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const USER: &str = "demo";
const PASSWORD: &str = "open-sesame";

/// Runs the demo; the error is its verdict.
pub(crate) fn run() -> Result<(), Failed> {
    let programs = build_programs("dev")?;
    let world = World::new(&programs)?;
    let authority = world.root.join("ca.crt");
    let (at, image) = (authority.to_string_lossy(), "hello:1=tiny");
    let registry =
        Served::start(&programs, &["--ca", &at, "--user", USER, "--password", PASSWORD, image])?;
    let host = &registry.host;
    let certificate = std::fs::read_to_string(&authority).map_err(|e| format!("demo: {e}"))?;
    world.write(&format!(".config/containers/certs.d/{host}/ca.crt"), &certificate)?;
    println!(
        "\nA registry with the image hello:1 serves at {host}, for this demo alone.\n\
         Its user is {USER}, the password {PASSWORD}.\n"
    );
    let steps = steps(&world, host);
    world.end();
    steps.map(|count| println!("demo: all {count} steps worked"))
}

fn steps(world: &World, host: &str) -> Result<usize, Failed> {
    let docker = format!("docker://{host}");
    let image = format!("docker://{host}/hello:1");
    let pushed = format!("oras://{host}/sifs/hello:1");
    let mut done = 0;
    let mut step = |words: &[&str], input: Option<&str>| {
        let said = world.orlop(words, input)?;
        done += 1;
        Ok::<String, Failed>(said)
    };
    step(&["registry", "login", "--username", USER, "--password-stdin", &docker], Some(PASSWORD))?;
    step(&["registry", "list"], None)?;
    step(&["pull", "hello.sif", &image], None)?;
    if works("unshare", &["--user", "--map-root-user", "true"]) {
        let said = step(&["run", "hello.sif"], None)?;
        if !said.contains("Hello from inside the container") {
            return Err("demo: the container did not greet".to_owned());
        }
    } else {
        println!("SKIPPED orlop run: this machine allows no user namespaces\n");
    }
    step(&["push", "hello.sif", &pushed], None)?;
    step(&["pull", "back.sif", &pushed], None)?;
    println!("$ cmp hello.sif back.sif");
    let read = |name: &str| {
        std::fs::read(world.root.join(name)).map_err(|cause| format!("demo: {name}: {cause}"))
    };
    if read("hello.sif")? != read("back.sif")? {
        return Err("demo: what came back is not what was pushed".to_owned());
    }
    println!("(no difference)\n");
    step(&["registry", "logout", &docker], None)?;
    Ok(done + 1)
}

/// A home of the demo's own, with the programs' directory.
struct World {
    root: PathBuf,
    programs: PathBuf,
}

impl World {
    fn new(programs: &Path) -> Result<Self, Failed> {
        let made =
            crate::command::output(Command::new("mktemp").args(["-d", "-t", "orlop-demo-XXXXXX"]))?;
        let world = Self { root: made.trim().into(), programs: programs.to_owned() };
        world.write("run/.keep", "")?;
        Ok(world)
    }

    fn write(&self, path: &str, text: &str) -> Result<(), Failed> {
        let at = self.root.join(path);
        let words = |cause: std::io::Error| format!("demo: {}: {cause}", at.display());
        std::fs::create_dir_all(at.parent().unwrap_or(&self.root)).map_err(words)?;
        std::fs::write(&at, text).map_err(words)
    }

    fn command(&self) -> Command {
        use std::os::unix::fs::PermissionsExt as _;
        let run = self.root.join("run");
        // The mode that the directory must have; made anew it would depend on the umask.
        let _private = std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o700));
        let mut command = Command::new(self.programs.join("orlop"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["ORLOP_", "APPTAINER", "SINGULARITY", "DOCKER_"].iter().any(|p| text.starts_with(p))
            {
                command.env_remove(&name);
            }
        }
        command
            .env("HOME", &self.root)
            .env("XDG_RUNTIME_DIR", run)
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_STATE_HOME")
            .env_remove("REGISTRY_AUTH_FILE")
            .current_dir(&self.root);
        command
    }

    /// Shows a command, runs it, shows what it said, and returns that.
    fn orlop(&self, words: &[&str], input: Option<&str>) -> Result<String, Failed> {
        let shown = words.join(" ");
        match input {
            Some(_) => println!("$ echo '{PASSWORD}' | orlop {shown}"),
            None => println!("$ orlop {shown}"),
        }
        let failed = |cause: std::io::Error| format!("demo: orlop: {cause}");
        let mut command = self.command();
        command.args(words).stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        // One stream, so that the lines keep their order.
        let (mut reader, writer) = std::io::pipe().map_err(failed)?;
        command.stdout(writer.try_clone().map_err(failed)?).stderr(writer);
        let mut child = command.spawn().map_err(failed)?;
        drop(command);
        if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
            pipe.write_all(text.as_bytes()).map_err(failed)?;
        }
        let mut said = String::new();
        std::io::Read::read_to_string(&mut reader, &mut said).map_err(failed)?;
        println!("{said}");
        let status = child.wait().map_err(failed)?;
        if status.success() {
            return Ok(said);
        }
        Err(format!("demo: orlop {shown} failed: {status}"))
    }

    /// Stops the daemon and removes everything.
    fn end(&self) {
        let mut stop = self.command();
        stop.args(["daemon", "stop"]).stdin(Stdio::null());
        if !stop.output().is_ok_and(|done| done.status.success()) {
            println!("The demo's daemon could not be stopped; it ends by itself when idle.");
        }
        if let Err(cause) = std::fs::remove_dir_all(&self.root) {
            println!("{}: {cause}", self.root.display());
        }
    }
}
