//! The image's own shell, for code that [`crate::script`] does not know.
//!
//! The shell runs the code and lists its exported variables, which are read back. bash is asked
//! before sh, because images are written against a bash-like interpreter.
//!
//! Not here: which code that is ([`crate::inside`]).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::process::{Command, Stdio};

use crate::script::{self, NoFiles, Shell};

/// stdout of the code is the caller's, passed as 0; the list goes to the pipe at 1.
const BEFORE: &[u8] = b"exec 9>&1 1>&0 0</dev/null; trap 'export -p >&9' EXIT\n";

/// The variable in which an expanded text comes back.
const RESULT: &str = "ORLOP_EXPANDED";

/// Runs code with the shell's variables and takes over what it exports. `extra` variables are there
/// for the code alone.
///
/// # Errors
/// What happened, in words.
pub(crate) fn evaluate(
    shell: &mut Shell,
    code: &[u8],
    extra: &[(&str, &OsStr)],
) -> Result<(), String> {
    let program = ["/bin/bash", "/bin/sh"]
        .into_iter()
        .find(|program| nix::unistd::access(*program, nix::unistd::AccessFlags::X_OK).is_ok())
        .ok_or("it needs a shell, and the image has none")?;
    let stdout = io::stdout().as_fd().try_clone_to_owned().map_or(Stdio::null(), Stdio::from);
    let mut text = BEFORE.to_vec();
    text.extend_from_slice(code);
    let output = Command::new(program)
        .arg("-c")
        .arg(OsStr::from_bytes(&text))
        .env_clear()
        .envs(shell.environment())
        .envs(extra.iter().copied())
        .stdin(stdout)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let code = script::parse(&output.stdout).map_err(|_| "the shell's answer is not usable")?;
    let mut answer = Shell::default();
    answer.run(&code, &NoFiles).map_err(|_| "the shell's answer is not usable")?;
    for (name, _) in extra {
        answer.unset(name);
    }
    // The shell's own bookkeeping.
    for name in ["OLDPWD", "SHLVL", "_"] {
        answer.unset(name);
    }
    *shell = answer;
    Ok(())
}

/// Expands a text as between double quotes.
///
/// # Errors
/// What happened, in words.
pub(crate) fn expand(shell: &Shell, text: &[u8]) -> Result<OsString, String> {
    let mut code = format!("export {RESULT}=\"").into_bytes();
    code.extend_from_slice(text);
    code.extend_from_slice(b"\"\n");
    let mut answer = shell.clone();
    evaluate(&mut answer, &code, &[])?;
    let value = answer.get(RESULT).ok_or("the shell could not evaluate it")?;
    Ok(OsString::from_vec(value.to_vec()))
}
