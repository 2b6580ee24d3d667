//! Credential helpers: programs that hold secrets for other programs.
//!
//! Protocol of docker-credential-helpers: `docker-credential-<name> get|store|erase|list`, one
//! request on stdin, JSON on stdout, failures as text on stdout with a non-zero status. A helper
//! gets the environment of the caller, descriptors 0 to 2, a process group of its own and a time
//! limit; it is looked for in absolute items of PATH only. The helper [`OWN`] is Orlop itself and
//! never started; what a helper starts asks no helper again.
//!
//! Not here: which helper is asked ([`crate::docker_json`]); Orlop as a helper of others (the
//! client).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Seek as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use orlop_config::{env, limits};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{Credential, Error, Limits, Secret};

/// Most characters of a helper's own words that are shown.
const SHOWN: usize = 1024;

/// What a helper says when it has no login.
pub const NOT_FOUND: &str = "credentials not found in native keychain";

/// The name by which files call Orlop as a helper: `docker-credential-orlop`.
pub const OWN: &str = "orlop";

/// True for the name of Orlop itself.
#[must_use]
pub fn is_own(helper: &str) -> bool {
    helper == OWN
}

/// The environment a helper runs in: the caller's, not this process's.
#[derive(Clone)]
pub struct Surroundings {
    /// Variables as the caller has them, secrets of Orlop's own left out.
    variables: Vec<(OsString, OsString)>,
    /// The caller runs within a helper: no other one is started.
    is_within: bool,
    /// When this becomes readable a helper that runs is ended.
    stop: Option<Arc<OwnedFd>>,
    /// Time for one call.
    limit: Duration,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self::of([])
    }
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
        let variables: Vec<_> = kept.collect();
        let is_within = variables.iter().any(|(name, _)| name == env::WITHIN_HELPER.name());
        let limit = Limits::default().helper_time;
        Self { variables, is_within, stop: None, limit }
    }

    /// The same, with a caller's limits.
    #[must_use]
    pub fn within(self, limits: Limits) -> Self {
        Self { limit: limits.helper_time, ..self }
    }

    /// The same, with a descriptor that becomes readable when helpers are to be ended: for a
    /// process that a signal may end.
    #[must_use]
    pub fn stopped_by(self, stop: OwnedFd) -> Self {
        Self { stop: Some(Arc::new(stop)), ..self }
    }

    /// Says whether a helper could be started, before anything depends on it.
    ///
    /// # Errors
    /// [`Error::Helper`] when there is no such program.
    pub fn check(&self, helper: &str) -> Result<(), Error> {
        self.program(helper).map(drop)
    }

    fn program(&self, helper: &str) -> Result<PathBuf, Error> {
        let program = format!("docker-credential-{helper}");
        let missing = |what: &str| missing(helper, what.to_owned());
        if self.is_within {
            return Err(missing("is not asked: a helper that Orlop asks is asking"));
        }
        self.find(&program).ok_or_else(|| missing("is not on PATH"))
    }

    fn find(&self, program: &str) -> Option<PathBuf> {
        let path = self.variables.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value);
        let path = path.map_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"), OsString::as_os_str);
        std::env::split_paths(path)
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(program))
            .find(|file| {
                file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
            })
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
    let said = ask(helper, "get", key.as_bytes(), around)?;
    if !said.good {
        said.log(helper, &[]);
        return if said.is_not_found() { Ok(None) } else { Err(said.failure(helper)) };
    }
    let answer: Answer = serde_json::from_slice(&said.output)
        .map_err(|_| failed(helper, "gave an answer that is not its protocol's".to_owned()))?;
    let secret = Zeroizing::new(answer.secret);
    said.log(helper, secret.as_bytes());
    if !answer.server_url.is_empty()
        && answer.server_url.trim_end_matches('/') != key.trim_end_matches('/')
    {
        return Err(failed(helper, format!("answered for {}", shown(&answer.server_url))));
    }
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
    let said = ask(helper, "store", request.as_bytes(), around)?;
    said.log(helper, secret.as_bytes());
    if said.good { Ok(()) } else { Err(said.failure(helper)) }
}

/// Makes a helper forget a login.
///
/// # Errors
/// [`Error::Helper`]; one that never had it is no error.
pub fn erase(helper: &str, key: &str, around: &Surroundings) -> Result<(), Error> {
    let said = ask(helper, "erase", key.as_bytes(), around)?;
    said.log(helper, &[]);
    if said.good || said.is_not_found() { Ok(()) } else { Err(said.failure(helper)) }
}

/// Asks a helper for the keys of all its logins with their user names, in order of key.
///
/// # Errors
/// As [`get`].
pub fn list(helper: &str, around: &Surroundings) -> Result<BTreeMap<String, String>, Error> {
    // The word that docker's own client sends where nothing is asked about.
    let said = ask(helper, "list", b"unused", around)?;
    said.log(helper, &[]);
    if !said.good {
        return if said.is_not_found() { Ok(BTreeMap::new()) } else { Err(said.failure(helper)) };
    }
    // Helpers in Go write a list without items so.
    if said.output.trim_ascii() == b"null" {
        return Ok(BTreeMap::new());
    }
    serde_json::from_slice(&said.output)
        .map_err(|_| failed(helper, "gave an answer that is not its protocol's".to_owned()))
}

/// What a helper said to one request.
struct Said {
    /// It ended with 0.
    good: bool,
    /// Its output: on failure its words.
    output: Zeroizing<Vec<u8>>,
    /// The beginning of what it wrote to stderr.
    aside: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Said {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Said({}, {} bytes)", self.good, self.output.len())
    }
}

impl Said {
    fn words(&self) -> String {
        String::from_utf8_lossy(&self.output).trim().to_owned()
    }

    fn is_not_found(&self) -> bool {
        !self.good && self.words() == NOT_FOUND
    }

    fn failure(&self, helper: &str) -> Error {
        failed(helper, format!("says: {}", shown(&self.words())))
    }

    /// Notes what it wrote to stderr, unless the secret is in it.
    fn log(&self, helper: &str, secret: &[u8]) {
        let holds_it = !secret.is_empty()
            && self.aside.windows(secret.len().min(SHOWN)).any(|part| secret.starts_with(part));
        if !self.aside.is_empty() && !holds_it {
            let said = shown(&String::from_utf8_lossy(&self.aside));
            tracing::debug!(helper, said, "a credential helper wrote to stderr");
        }
    }
}

fn ask(helper: &str, verb: &str, request: &[u8], around: &Surroundings) -> Result<Said, Error> {
    let missing = |what: String| missing(helper, what);
    let path = around.program(helper)?;
    let mut child = Command::new(path)
        .arg(verb)
        .env_clear()
        .envs(around.variables.iter().map(|(name, value)| (name, value)))
        .env(env::WITHIN_HELPER.name(), "1")
        .stdin(request_file(request).map_err(|cause| missing(format!("cannot be asked: {cause}")))?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .current_dir("/")
        .process_group(0)
        .spawn()
        .map_err(|cause| missing(format!("cannot be started: {cause}")))?;
    let stop = around.stop.as_ref().map(AsFd::as_fd);
    let outcome = converse(&mut child, around.limit, stop);
    // Whatever it started ends with it.
    if let Ok(pid) = i32::try_from(child.id())
        && let Some(group) = Pid::from_raw(pid)
    {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait();
    let (output, aside) = outcome.map_err(|what| failed(helper, what))?;
    match status {
        Ok(status) if status.code().is_some() => Ok(Said { good: status.success(), output, aside }),
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

type Heard = Zeroizing<Vec<u8>>;

/// Reads what it writes until it ends: all of its output, the beginning of its stderr.
fn converse(
    child: &mut Child,
    limit: Duration,
    stop: Option<BorrowedFd<'_>>,
) -> Result<(Heard, Heard), String> {
    let end = Instant::now().checked_add(limit);
    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    let ended = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let ended: Option<OwnedFd> = ended.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let (mut output, mut aside) = (Heard::default(), Heard::default());
    let mut was_over = false;
    loop {
        let left = end.map_or(limit, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Err(match stdout {
                Some(_) => format!("gave no answer within {limit:?}"),
                None => "does not end".to_owned(),
            });
        }
        let watched = [
            stdout.as_ref().map(AsFd::as_fd),
            stderr.as_ref().map(AsFd::as_fd),
            ended.as_ref().map(AsFd::as_fd),
            stop,
        ];
        let [has_output, has_aside, is_over, is_stopped] = wait(watched, left)?;
        if is_stopped {
            return Err("was interrupted".to_owned());
        }
        if has_output {
            let got = hear(&mut stdout, &mut output)?;
            if output.len() as u64 > limits::HELPER_ANSWER_BYTES {
                let limit = limits::HELPER_ANSWER_BYTES;
                return Err(format!("gave an answer of more than {limit} bytes"));
            }
            if !got && ended.is_none() {
                return Ok((output, aside));
            }
        }
        if has_aside {
            hear(&mut stderr, &mut aside)?;
            aside.truncate(SHOWN);
        }
        // Seen twice: its last words may have come between the looks at output and end.
        if is_over && !has_output && was_over {
            return Ok((output, aside));
        }
        was_over = is_over;
    }
}

/// Reads once; says whether there was anything. A pipe at its end is put away.
fn hear(pipe: &mut Option<impl Read>, into: &mut Heard) -> Result<bool, String> {
    let Some(open) = pipe else { return Ok(false) };
    let mut buffer = Zeroizing::new([0_u8; 4096]);
    let got = open.read(&mut *buffer).map_err(|cause| format!("gave no answer: {cause}"))?;
    into.extend_from_slice(buffer.get(..got).unwrap_or_default());
    if got == 0 {
        *pipe = None;
    }
    Ok(got > 0)
}

/// Which of the descriptors are readable or at their end.
fn wait(watched: [Option<BorrowedFd<'_>>; 4], left: Duration) -> Result<[bool; 4], String> {
    let open = watched.iter().flatten();
    let mut fds: Vec<_> = open.map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let left = Timespec::try_from(left).ok();
    match poll(&mut fds, left.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(cause) => return Err(format!("gave no answer: {cause}")),
    }
    let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
    Ok(watched.map(|fd| fd.is_some() && ready.next().unwrap_or(false)))
}

fn failed(helper: &str, what: String) -> Error {
    Error::Helper { program: format!("docker-credential-{helper}"), what, missing: false }
}

fn missing(helper: &str, what: String) -> Error {
    Error::Helper { program: format!("docker-credential-{helper}"), what, missing: true }
}

/// Foreign text without control characters, cut to what a person reads.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
pub(crate) mod tests;
