//! The programs that cargo built, and worlds around them.

use orlop_kit::{Auth, Identity, Outcome, Programs, Registry, Site};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The one user of a registry with logins.
pub(crate) const USER: &str = "u";
/// That user's password.
pub(crate) const SECRET: &str = "s3cret";
/// Both as a credential file has them.
pub(crate) const AUTH: &str = "dTpzM2NyZXQ=";

/// Basic for [`USER`].
pub(crate) fn basic() -> Auth {
    Auth::Basic { user: USER.into(), secret: SECRET.into() }
}

/// Tokens for [`USER`]; whether everybody may pull.
pub(crate) fn bearer(anonymous_pull: bool) -> Auth {
    Auth::Bearer { user: USER.into(), secret: SECRET.into(), anonymous_pull }
}

/// Logs [`USER`] in to the registry, with more words before its URI.
pub(crate) fn log_in(site: &Site, registry: &Registry, extra: &[&str]) -> Outcome {
    log_in_as(site, registry, extra, USER, SECRET)
}

/// Likewise as somebody, with these bytes on stdin.
pub(crate) fn log_in_as(
    site: &Site,
    registry: &Registry,
    extra: &[&str],
    user: &str,
    secret: impl Into<Vec<u8>>,
) -> Outcome {
    let uri = format!("docker://{}", registry.host());
    let mut words = vec!["registry", "login", "--username", user, "--password-stdin"];
    words.extend(extra);
    words.push(&uri);
    site.run(words).input(secret).outcome()
}

/// The secret of a host in a credential file: user and password, or a refresh token.
pub(crate) fn stored_secret(text: &str, host: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(text).expect("credential files are JSON");
    let entry = &json["auths"][host];
    entry["auth"].as_str().or(entry["identitytoken"].as_str()).map(str::to_owned)
}

/// A program of the site's own: a shell script in its `bin`, which a test puts on PATH.
pub(crate) fn script(site: &Site, name: &str, text: &str) -> PathBuf {
    use std::io::Write as _;
    let at = site.root().join("bin").join(name);
    // Another process writes it: a file that is open for writing in a child that some other test
    // starts just now cannot be executed.
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(&at)
        .stdin(Stdio::piped())
        .spawn()
        .expect("there is a shell");
    let mut pipe = writer.stdin.take().expect("it is piped");
    write!(pipe, "#!/bin/sh\n{text}\n").expect("it reads");
    drop(pipe);
    assert!(writer.wait().expect("it was started").success());
    site.person().give(&at);
    at
}

/// The two programs.
pub(crate) fn programs() -> Programs {
    Programs::new(env!("CARGO_BIN_EXE_orlop"), env!("CARGO_BIN_EXE_orlopd"))
}

/// A world that knows of this registry that it speaks plain HTTP.
pub(crate) fn site(registry: &Registry) -> Site {
    Site::new(&programs()).insecure(registry)
}

/// A world that knows of no registry.
pub(crate) fn bare_site() -> Site {
    Site::new(&programs())
}

/// What a command that succeeds says in JSON.
#[track_caller]
pub(crate) fn json(site: &Site, words: &[&str]) -> serde_json::Value {
    let outcome = site.orlop(words.iter().copied()).success();
    serde_json::from_slice(&outcome.bytes)
        .unwrap_or_else(|cause| panic!("{cause}: {}", outcome.report()))
}

/// Bytes of a file in the site's working directory.
#[track_caller]
pub(crate) fn bytes(site: &Site, name: &str) -> Vec<u8> {
    std::fs::read(site.work().join(name)).unwrap_or_else(|cause| panic!("{name}: {cause}"))
}

/// Starts a registry with TLS, and a site that trusts it: what users have, without the warning
/// that plain HTTP is given.
pub(crate) fn secure(registry: Registry) -> (Registry, Site) {
    let identity = Identity::new(&["127.0.0.1"]);
    let registry = registry.tls(&identity).start();
    let site = bare_site().watch(&registry).trust(&identity, &registry.host());
    (registry, site)
}

/// Numbers that look like chance and come again with the seed.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// The next one, below `most`.
    pub(crate) fn below(&mut self, most: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most
    }
}
