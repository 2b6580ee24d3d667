//! Cargo's tools that the checks use: found, or installed once outside the target directory.

use crate::command::{cargo, run, works};
use std::path::PathBuf;

/// The versions that the project is checked with.
const NEXTEST: (&str, &str) = ("cargo-nextest", "0.9.143");
const DENY: (&str, &str) = ("cargo-deny", "0.20.2");

/// Path of cargo-nextest, or why there is none.
pub(crate) fn nextest(install: bool) -> Result<PathBuf, String> {
    provide(NEXTEST, install)
}

/// Path of cargo-deny, or why there is none.
pub(crate) fn deny(install: bool) -> Result<PathBuf, String> {
    provide(DENY, install)
}

fn provide((name, version): (&str, &str), install: bool) -> Result<PathBuf, String> {
    if works(name, &["--version"]) {
        return Ok(name.into());
    }
    let root = home()?.join("tools");
    let at = root.join("bin").join(name);
    if works(&at.to_string_lossy(), &["--version"]) {
        return Ok(at);
    }
    if !install {
        return Err(format!("{name} is not installed"));
    }
    println!("{name} is not there: building {version} once, into {}", root.display());
    let mut command = cargo(["install", "--quiet", "--locked", name, "--version", version]);
    command.arg("--root").arg(&root);
    run(&mut command).map(|()| at).map_err(|_| format!("{name} cannot be installed"))
}

/// Where tools that were built for the checks are kept.
fn home() -> Result<PathBuf, String> {
    let own = directories::BaseDirs::new().ok_or("there is no home directory")?;
    Ok(own.cache_dir().join("orlop"))
}
