//! Credential helpers: programs that hold secrets for other programs.
//!
//! Protocol of docker-credential-helpers: `docker-credential-<name> get|store|erase|list`, one
//! request on stdin, JSON on stdout, failures as text on stdout with a non-zero status. A helper
//! gets the environment of the caller, descriptors 0 to 2, a process group of its own and a time
//! limit; it is looked for in absolute items of PATH only.
//!
//! Not here: which helper is asked ([`crate::docker_json`]).

use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orlop_config::limits;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{Credential, Error, Secret};

/// Most characters of a helper's own words that are shown.
const SHOWN: usize = 1024;

/// The environment a helper runs in: the caller's, not this process's.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// Variables as the caller has them, secrets of Orlop's own left out.
    variables: Vec<(OsString, OsString)>,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Surroundings({} variables)", self.variables.len())
    }
}

impl Surroundings {
    /// The environment for helpers: what a caller has or sent, without its passwords.
    #[must_use]
    pub fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let is_secret = |name: &OsStr| {
            let name = name.as_encoded_bytes();
            name.ends_with(b"_PASSWORD")
                || name.starts_with(b"ORLOP_DOCKER_")
                || name == b"DOCKER_AUTH_CONFIG"
        };
        let kept = variables.into_iter().filter(|(name, _)| !is_secret(name));
        Self { variables: kept.collect() }
    }

    fn find(&self, program: &str) -> Option<PathBuf> {
        let path = self.variables.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value);
        let path = path.map_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"), OsString::as_os_str);
        std::env::split_paths(path)
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(program))
            .find(|file| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    username: String,
    secret: String,
}

/// Says whether a text can be the `<name>` of a helper: one that cannot lead out of the search
/// path.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.bytes().all(is_good) && !text.starts_with('.')
}

/// Asks a helper for the login of a server key; `None` when it has none.
///
/// # Errors
/// [`Error::Helper`]: not to be started, no answer in time, an answer that makes no sense or is
/// for another server.
pub fn get(helper: &str, key: &str, around: &Surroundings) -> Result<Option<Credential>, Error> {
    let (good, output) = ask(helper, "get", key.as_bytes(), around, limits::HELPER_TIME)?;
    if !good {
        let said = String::from_utf8_lossy(&output);
        if said.trim() == "credentials not found in native keychain" {
            return Ok(None);
        }
        return Err(failed(helper, format!("says: {}", shown(said.trim()))));
    }
    let answer: Answer = serde_json::from_slice(&output)
        .map_err(|_| failed(helper, "gave an answer that is not its protocol's".to_owned()))?;
    if !answer.server_url.is_empty()
        && answer.server_url.trim_end_matches('/') != key.trim_end_matches('/')
    {
        return Err(failed(helper, format!("answered for {}", shown(&answer.server_url))));
    }
    let secret = Zeroizing::new(answer.secret);
    if secret.is_empty() {
        return Err(failed(helper, "gave an empty secret".to_owned()));
    }
    Ok(Some(Credential::from_pair(&answer.username, Secret::new(secret.as_bytes()))))
}

/// Gives a login to a helper.
///
/// # Errors
/// [`Error::Helper`], [`Error::Unusable`] for a secret that is not UTF-8.
pub fn store(
    helper: &str,
    key: &str,
    credential: &Credential,
    around: &Surroundings,
) -> Result<(), Error> {
    let (username, secret) = match credential {
        Credential::Password { username, secret } => (username.as_str(), secret),
        Credential::IdentityToken { secret, .. } | Credential::RegistryToken(secret) => {
            ("<token>", secret)
        }
    };
    let secret = std::str::from_utf8(secret.expose()).map_err(|_| Error::Unusable {
        what: "a credential helper cannot hold a password that is not UTF-8".to_owned(),
    })?;
    let request = serde_json::json!({ "ServerURL": key, "Username": username, "Secret": secret });
    let request = Zeroizing::new(request.to_string());
    done(helper, ask(helper, "store", request.as_bytes(), around, limits::HELPER_TIME)?)
}

/// Makes a helper forget a login.
///
/// # Errors
/// [`Error::Helper`]; one that never had it is no error.
pub fn erase(helper: &str, key: &str, around: &Surroundings) -> Result<(), Error> {
    let (good, output) = ask(helper, "erase", key.as_bytes(), around, limits::HELPER_TIME)?;
    if String::from_utf8_lossy(&output).trim() == "credentials not found in native keychain" {
        return Ok(());
    }
    done(helper, (good, output))
}

fn done(helper: &str, (good, output): (bool, Zeroizing<Vec<u8>>)) -> Result<(), Error> {
    if good {
        return Ok(());
    }
    Err(failed(helper, format!("says: {}", shown(String::from_utf8_lossy(&output).trim()))))
}

fn ask(
    helper: &str,
    verb: &str,
    request: &[u8],
    around: &Surroundings,
    limit: Duration,
) -> Result<(bool, Zeroizing<Vec<u8>>), Error> {
    let program = format!("docker-credential-{helper}");
    let missing = |what: String| Error::Helper { program: program.clone(), what, missing: true };
    let path = around.find(&program).ok_or_else(|| missing("is not on PATH".to_owned()))?;
    let mut child = Command::new(path)
        .arg(verb)
        .env_clear()
        .envs(around.variables.iter().map(|(name, value)| (name, value)))
        .stdin(request_file(request).map_err(|cause| missing(format!("cannot be asked: {cause}")))?)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .current_dir("/")
        .process_group(0)
        .spawn()
        .map_err(|cause| missing(format!("cannot be started: {cause}")))?;
    let outcome = converse(&mut child, limit);
    // Whatever it started ends with it.
    if let Ok(pid) = i32::try_from(child.id())
        && let Some(group) = Pid::from_raw(pid)
    {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait();
    let output = outcome.map_err(|what| failed(helper, what))?;
    match status {
        Ok(status) if status.code().is_some() => Ok((status.success(), output)),
        _ => Err(failed(helper, "was killed".to_owned())),
    }
}

/// The request as an open file in memory: a helper that does not read it blocks nobody.
fn request_file(request: &[u8]) -> std::io::Result<Stdio> {
    let file = rustix::fs::memfd_create("request", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(file);
    file.write_all(request)?;
    file.rewind()?;
    Ok(file.into())
}

fn converse(child: &mut Child, limit: Duration) -> Result<Zeroizing<Vec<u8>>, String> {
    let end = Instant::now().checked_add(limit);
    let mut stdout = child.stdout.take().ok_or("has no output")?;
    let ended = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let ended: Option<OwnedFd> = ended.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let mut output = Zeroizing::new(Vec::new());
    let mut buffer = Zeroizing::new([0_u8; 4096]);
    loop {
        let left = end.map_or(limit, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Err(format!("gave no answer within {} s", limit.as_secs()));
        }
        let (readable, over) = wait(stdout.as_fd(), ended.as_ref(), left)?;
        if readable {
            let got =
                stdout.read(&mut *buffer).map_err(|cause| format!("gave no answer: {cause}"))?;
            output.extend_from_slice(buffer.get(..got).unwrap_or_default());
            if output.len() as u64 > limits::HELPER_ANSWER_BYTES {
                let limit = limits::HELPER_ANSWER_BYTES;
                return Err(format!("gave an answer of more than {limit} bytes"));
            }
            if got > 0 {
                continue;
            }
            if ended.is_none() {
                return Ok(output);
            }
        }
        if over {
            return Ok(output);
        }
        if readable {
            // Its output is closed but it has not ended: nothing is left to wait for but its end.
            let left = end.map_or(limit, |end| end.saturating_duration_since(Instant::now()));
            let over = ended.as_ref().is_some_and(|fd| wait_one(fd, left));
            return if over { Ok(output) } else { Err("does not end".to_owned()) };
        }
    }
}

fn wait(
    output: impl AsFd,
    ended: Option<&OwnedFd>,
    left: Duration,
) -> Result<(bool, bool), String> {
    let output = output.as_fd();
    let mut fds = vec![PollFd::from_borrowed_fd(output, PollFlags::IN)];
    fds.extend(ended.map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)));
    let left = Timespec::try_from(left).ok();
    match poll(&mut fds, left.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(cause) => return Err(format!("gave no answer: {cause}")),
    }
    let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
    Ok((ready(0), ready(1)))
}

fn wait_one(fd: &OwnedFd, left: Duration) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let left = Timespec::try_from(left).ok();
    matches!(poll(&mut fds, left.as_ref()), Ok(ready) if ready > 0)
}

fn failed(helper: &str, what: String) -> Error {
    Error::Helper { program: format!("docker-credential-{helper}"), what, missing: false }
}

/// Foreign text without control characters, cut to what a person reads.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
pub(crate) mod tests;
