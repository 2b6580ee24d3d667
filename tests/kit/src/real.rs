//! Debian's `docker-registry` as a process of its own, on a free port.
//!
//! Anonymous, with a password file and TLS by the kit's own authority, or with tokens that a
//! scripted registry signs ([`Registry::signs`]). Also as a pull-through proxy of another registry. Not here: installing it
//! (`xtask`).

use crate::registry::{Registry, Signer};
use crate::tls::Identity;
use crate::tools;
use crate::until::until;
use rustix::process::{Pid, Signal, kill_process};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Times that a port is looked for, each anew: somebody else may take it in between.
const TRIES: usize = 5;

/// A registry process; ends when dropped.
pub struct RealRegistry {
    program: PathBuf,
    child: Child,
    address: SocketAddr,
    identity: Option<Identity>,
    directory: TempDir,
}

impl fmt::Debug for RealRegistry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RealRegistry").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What one is like.
#[derive(Clone, Copy, Debug)]
struct Kind<'a> {
    access: Access<'a>,
    /// Host of the registry that it passes requests on to, by plain HTTP.
    upstream: Option<&'a str>,
}

/// Who may come in.
#[derive(Clone, Copy, Debug)]
enum Access<'a> {
    Everybody,
    Password { user: &'a str, secret: &'a str },
    Tokens { from: &'a str, signer: &'a Signer },
}

impl RealRegistry {
    /// One over plain HTTP for who has a token of this registry's, whose tokens this signer signs;
    /// `None`, said in one line, where the program is missing.
    #[must_use]
    pub fn with_tokens(tokens: &Registry, signer: &Signer) -> Option<Self> {
        let [program] = tools::all(["docker-registry"])?;
        let from = tokens.host();
        let access = Access::Tokens { from: &from, signer };
        Some(Self::start(&program, Kind { access, upstream: None }, None))
    }

    /// One for everybody over plain HTTP; `None`, said in one line, where the program is missing.
    #[must_use]
    pub fn anonymous() -> Option<Self> {
        let [program] = tools::all(["docker-registry"])?;
        Some(Self::start(&program, Kind { access: Access::Everybody, upstream: None }, None))
    }

    /// A pull-through proxy for everybody, over plain HTTP, of the registry at this `host:port`,
    /// which it asks by plain HTTP; `None`, said in one line, where the program is missing.
    #[must_use]
    pub fn proxy(upstream: &str) -> Option<Self> {
        let [program] = tools::all(["docker-registry"])?;
        let kind = Kind { access: Access::Everybody, upstream: Some(upstream) };
        Some(Self::start(&program, kind, None))
    }

    /// A pull-through proxy for this user alone, over TLS by an authority of its own; `None`, said
    /// in one line, where a program is missing.
    #[must_use]
    pub fn proxy_with_password(upstream: &str, user: &str, secret: &str) -> Option<Self> {
        let [program, _htpasswd] = tools::all(["docker-registry", "htpasswd"])?;
        let identity = Identity::new(&["127.0.0.1", "localhost"]);
        let kind = Kind { access: Access::Password { user, secret }, upstream: Some(upstream) };
        Some(Self::start(&program, kind, Some(identity)))
    }

    /// One for this user alone, over TLS by an authority of its own; `None`, said in one line,
    /// where a program is missing.
    #[must_use]
    pub fn with_password(user: &str, secret: &str) -> Option<Self> {
        let [program, _htpasswd] = tools::all(["docker-registry", "htpasswd"])?;
        let identity = Identity::new(&["127.0.0.1", "localhost"]);
        let kind = Kind { access: Access::Password { user, secret }, upstream: None };
        Some(Self::start(&program, kind, Some(identity)))
    }

    fn start(program: &Path, kind: Kind<'_>, identity: Option<Identity>) -> Self {
        for _ in 0..TRIES {
            let directory = tempfile::Builder::new()
                .prefix("orlop-registry-")
                .tempdir()
                .expect("a directory can be made");
            let address = free_address();
            let settings = settings(directory.path(), address, kind, identity.as_ref());
            let at = directory.path().join("registry.yml");
            std::fs::write(&at, settings).expect("the directory is new");
            let mut child = spawn(program, directory.path());
            if listens(&mut child, address) {
                let program = program.to_owned();
                return Self { program, child, address, identity, directory };
            }
            tools::note(&std::fs::read_to_string(directory.path().join("log")).unwrap_or_default());
        }
        panic!("docker-registry did not start in {TRIES} tries");
    }

    /// Ends it at once, as a crash would; what it holds stays.
    pub fn kill(&mut self) {
        // Not waited for yet, so the number is still its own.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }

    /// Starts it again after [`RealRegistry::kill`], at the same address and with what it held.
    ///
    /// # Panics
    /// When it does not start, as when somebody else took the address.
    pub fn restart(&mut self) {
        self.child = spawn(&self.program, self.directory.path());
        assert!(listens(&mut self.child, self.address), "{}", self.log());
    }

    /// Bytes of all uploads that are open.
    #[must_use]
    pub fn uploading(&self) -> u64 {
        let mut bytes = 0;
        let mut left = vec![self.directory.path().join("data")];
        while let Some(at) = left.pop() {
            for entry in std::fs::read_dir(&at).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    left.push(path);
                } else if entry.file_name() == "data"
                    && path.components().any(|part| part.as_os_str() == "_uploads")
                {
                    bytes += entry.metadata().map_or(0, |found| found.len());
                }
            }
        }
        bytes
    }

    /// `127.0.0.1:<port>`.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Its identity, when it speaks TLS.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// `docker://host/name:tag`.
    #[must_use]
    pub fn docker(&self, reference: &str) -> String {
        format!("docker://{}/{reference}", self.host())
    }

    /// `oras://host/name:tag`.
    #[must_use]
    pub fn oras(&self, reference: &str) -> String {
        format!("oras://{}/{reference}", self.host())
    }

    /// What it wrote so far: its access log among other things.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // Not waited for yet, so the number is still its own.
            let _asked = kill_process(pid, Signal::TERM);
        }
        let _ended = self.child.wait();
    }
}

/// Starts the program on the settings of this directory.
fn spawn(program: &Path, directory: &Path) -> Child {
    let mut log = std::fs::OpenOptions::new();
    let log = log.create(true).append(true).open(directory.join("log"));
    let log = log.expect("the directory is the registry's own");
    Command::new(program)
        .arg("serve")
        .arg(directory.join("registry.yml"))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a descriptor can be copied"))
        .stderr(log)
        .spawn()
        .unwrap_or_else(|cause| panic!("{}: {cause}", program.display()))
}

/// Waits until it listens; false when it ended instead.
fn listens(child: &mut Child, address: SocketAddr) -> bool {
    let listens = until("docker-registry listens or ends", || {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return Ok(false);
        }
        TcpStream::connect(address).map(|_| true).map_err(|cause| cause.to_string())
    });
    listens && matches!(child.try_wait(), Ok(None))
}

/// An address that nobody listens on now.
#[must_use]
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a listener has an address")
}

fn settings(
    directory: &Path,
    address: SocketAddr,
    kind: Kind<'_>,
    identity: Option<&Identity>,
) -> String {
    let at = directory.display();
    let mut text = format!(
        "version: 0.1\n\
         log: {{level: warn, accesslog: {{disabled: false}}}}\n\
         storage: {{filesystem: {{rootdirectory: {at}/data}}, delete: {{enabled: true}}}}\n\
         http:\n  addr: {address}\n  secret: kit\n"
    );
    if let Some(identity) = identity {
        std::fs::write(directory.join("cert.pem"), identity.certificate_pem()).expect("it is new");
        std::fs::write(directory.join("key.pem"), identity.key_pem()).expect("it is new");
        text.push_str(&format!("  tls: {{certificate: {at}/cert.pem, key: {at}/key.pem}}\n"));
    }
    if let Some(upstream) = kind.upstream {
        text.push_str(&format!("proxy: {{remoteurl: \"http://{upstream}\"}}\n"));
    }
    if let Access::Tokens { from, signer } = kind.access {
        std::fs::write(directory.join("tokens.pem"), signer.certificate_pem()).expect("it is new");
        text.push_str(&format!(
            "auth: {{token: {{realm: \"http://{from}/token\", service: kit, issuer: kit, \
             rootcertbundle: {at}/tokens.pem}}}}\n"
        ));
    }
    if let Access::Password { user, secret } = kind.access {
        let line = tools::output(Command::new("htpasswd").args(["-Bbn", "-C", "4", user, secret]));
        std::fs::write(directory.join("passwords"), line).expect("it is new");
        text.push_str(&format!("auth: {{htpasswd: {{realm: kit, path: {at}/passwords}}}}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn a_real_registry_answers_the_ping() {
        let Some(registry) = RealRegistry::anonymous() else { return };
        let mut stream = TcpStream::connect(registry.host()).unwrap();
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: kit\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        drop(registry);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
}
