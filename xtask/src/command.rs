//! Commands: shown, then run.

use crate::Failed;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The workspace's directory.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// The cargo that started this, in the workspace's directory.
pub(crate) fn cargo<const N: usize>(words: [&str; N]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words).current_dir(root());
    command
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut text = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for word in command.get_args() {
        let word = word.to_string_lossy();
        text.push(' ');
        if word.is_empty() || word.contains([' ', '\'', '"', '$', '(', '&', '|']) {
            text.push_str(&format!("'{word}'"));
        } else {
            text.push_str(&word);
        }
    }
    text
}

/// Runs with the person's own terminal.
pub(crate) fn run(command: &mut Command) -> Result<(), Failed> {
    let words = line(command);
    println!("$ {words}");
    let status = command.stdin(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{words}: {status}")),
        Err(cause) => Err(format!("{words}: {cause}")),
    }
}

/// Runs and returns what was printed; the error has what was said.
pub(crate) fn output(command: &mut Command) -> Result<String, Failed> {
    let words = line(command);
    let done = command.stdin(Stdio::null()).output().map_err(|e| format!("{words}: {e}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(format!("{words}: {}\n{said}", done.status))
}

/// Whether a command can be run and ends well; what it says is not shown.
pub(crate) fn works(program: &str, words: &[&str]) -> bool {
    output(Command::new(program).args(words)).is_ok()
}

/// Whether this is root.
pub(crate) fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0")
}

/// Builds the programs in this profile, with the tests' features, and returns their directory.
pub(crate) fn build_programs(profile: &str) -> Result<PathBuf, Failed> {
    let mut build = cargo(["build", "--locked", "--workspace", "--bins", "--profile", profile]);
    run(&mut build)?;
    let metadata = metadata()?;
    let target = metadata["target_directory"].as_str().ok_or("cargo names no target directory")?;
    let directory = if profile == "dev" { "debug" } else { profile };
    Ok(Path::new(target).join(directory))
}

/// What cargo says about the workspace.
pub(crate) fn metadata() -> Result<serde_json::Value, Failed> {
    let text = output(&mut cargo(["metadata", "--locked", "--no-deps", "--format-version", "1"]))?;
    serde_json::from_str(&text).map_err(|cause| format!("cargo metadata: {cause}"))
}
