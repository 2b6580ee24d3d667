//! `docker-credential-orlop`: Orlop's logins for docker, podman, skopeo and oras.
//!
//! Protocol of docker-credential-helpers: one verb as the only argument, the request on stdin, the
//! answer on stdout, and on stdout too, with status 1, the words of a failure. Secrets are on stdin
//! and stdout alone. A login is found in every place where a pull of Orlop's would find it, and is
//! kept where `orlop registry login` would keep it: but in Orlop's own file where the credential
//! file names Orlop as its helper, and no marker is left, which is the caller's business. No daemon
//! is asked or started.
//!
//! Not here: the files ([`orlop_credentials::loading`], [`orlop_credentials::login`]).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::path::Path;

use orlop_config::env::{Environment, WITHIN_HELPER};
use orlop_config::{Face, Paths, Settings, limits};
use orlop_credentials::docker_json::AuthFile;
use orlop_credentials::precedence::Sources;
use orlop_credentials::programs::{self, NOT_FOUND, Surroundings};
use orlop_credentials::update::{self, Target};
use orlop_credentials::{Credential, Error, Limits, Secret, keys, loading, login};
use zeroize::Zeroizing;

use crate::failure::system_words;
use crate::output::{DEFAULT_LEVEL, Output};

/// By this name other programs call Orlop.
const NAME: &str = "docker-credential-orlop";

/// True when the program was called by the helper's name.
pub(crate) fn is_called(program: Option<&OsString>) -> bool {
    program.is_some_and(|path| Path::new(path).file_name() == Some(OsStr::new(NAME)))
}

/// Does one request: `words` is what follows the program's name. Returns the exit status.
pub(crate) fn main(words: &[OsString], environment: &Environment) -> u8 {
    let mut output = Output::new(DEFAULT_LEVEL, true);
    let verb = match words {
        [verb] => verb.to_str().unwrap_or_default(),
        _ => "",
    };
    let mut warnings = Vec::new();
    let helper = || Helper::new(environment);
    let answer = match verb {
        "get" => helper().and_then(|helper| helper.get(&mut warnings)),
        "store" => helper().and_then(|helper| helper.store()),
        "erase" => helper().and_then(|helper| helper.erase()),
        "list" => helper().and_then(|helper| helper.list(&mut warnings)),
        "version" | "--version" | "-v" => {
            Ok(format!("{NAME} (orlop) {}", env!("CARGO_PKG_VERSION")))
        }
        "--help" | "-h" => Ok(usage()),
        _ => Err(usage()),
    };
    for warning in warnings {
        output.warning(&warning);
    }
    let (text, exit) = match answer {
        Ok(text) => (Zeroizing::new(text), 0),
        Err(words) => (Zeroizing::new(words), 1),
    };
    if !text.is_empty() {
        output.data(text.as_bytes());
        output.data(b"\n");
    }
    exit
}

fn usage() -> String {
    format!("Usage: {NAME} <get|store|erase|list|version>")
}

/// An answer, or the words of a failure.
type Answer = Result<String, String>;

struct Helper {
    environment: Environment,
    paths: Paths,
    limits: Limits,
    around: Surroundings,
    /// A helper that Orlop asks is asking Orlop: only what is in files counts.
    is_within: bool,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Login<'a> {
    #[serde(rename = "ServerURL")]
    server_url: &'a str,
    username: &'a str,
    secret: &'a str,
}

impl Helper {
    fn new(environment: &Environment) -> Result<Self, String> {
        let variables = environment.iter();
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let paths = Paths::of(environment, Face::Orlop, rustix::process::geteuid().as_raw());
        let settings = Settings::load(&paths).map_err(|error| error.to_string())?;
        let limits = Limits::from(&settings.limits);
        Ok(Self {
            environment: environment.clone(),
            paths,
            limits,
            around: Surroundings::of(variables).within(limits),
            is_within: environment.get(WITHIN_HELPER).is_some(),
        })
    }

    fn get(&self, warnings: &mut Vec<String>) -> Answer {
        let key = key()?;
        let files = self.files(warnings)?;
        let credential = match keys::asked_place(&key) {
            None => files.iter().find_map(|file| file.exact(&key)),
            Some(place) => {
                let (host, path) = place.split_once('/').unwrap_or((place, ""));
                let sources = Sources { files, around: self.around.clone(), ..Sources::default() };
                let known = sources.find(host, path, warnings).map_err(words)?;
                known.map(|known| known.credential)
            }
        };
        let (username, secret) = match &credential {
            Some(Credential::Password { username, secret }) => (username.as_str(), secret),
            Some(Credential::IdentityToken { secret, .. }) => ("<token>", secret),
            // The protocol has no words for a ready token.
            Some(Credential::RegistryToken(_)) | None => return Err(NOT_FOUND.to_owned()),
        };
        let secret = std::str::from_utf8(secret.expose())
            .map_err(|_| format!("the password for {} is not UTF-8", keys::place_of(&key)))?;
        serde_json::to_string(&Login { server_url: &key, username, secret })
            .map_err(|error| error.to_string())
    }

    fn store(&self) -> Answer {
        let request: Request = serde_json::from_slice(&input()?)
            .map_err(|_| "the request is not the JSON of this protocol".to_owned())?;
        let key = request.server_url.trim();
        if key.is_empty() {
            return Err("no credentials server URL".to_owned());
        }
        if request.username.is_empty() {
            return Err("no credentials username".to_owned());
        }
        let secret = Secret::new(request.secret.into_bytes());
        let credential = Credential::from_pair(&request.username, secret);
        credential.check().map_err(words)?;
        let target = self.target()?;
        match keys::asked_place(key) {
            Some(place) if self.is_within => {
                let key = keys::key_to_write(place);
                target.own().and_then(|own| update::store_login(&own, &key, &credential))
            }
            Some(place) => login::hold(&target, place, &credential, &self.around).map(drop),
            None => target.own().and_then(|own| update::store_login(&own, key, &credential)),
        }
        .map_err(words)?;
        Ok(String::new())
    }

    /// Forgets a login; one that is not there is forgotten already.
    fn erase(&self) -> Answer {
        let key = key()?;
        let target = self.target()?;
        let own = target.own().map_err(words)?;
        let Some(place) = keys::asked_place(&key) else {
            update::remove_key(&own, &key).map_err(words)?;
            return Ok(String::new());
        };
        if self.is_within {
            update::remove_login(&own, place).map_err(words)?;
            return Ok(String::new());
        }
        login::forget(&target, place, &self.around).map_err(words)?;
        for list in self.paths.list_files() {
            // A list holds no secret: one that cannot be changed does not keep a login.
            drop(update::remove_rows(&Target::default_file(&list).within(self.limits), place));
        }
        Ok(String::new())
    }

    fn list(&self, warnings: &mut Vec<String>) -> Answer {
        let files = self.files(warnings)?;
        let mut all = BTreeMap::new();
        for file in &files {
            for (key, username) in file.users() {
                let key = keys::asked_place(&key).map_or(key.clone(), keys::key_to_write);
                all.entry(key).or_insert(username);
            }
            if let Some(store) = file.store().filter(|store| !programs::is_own(store)) {
                match programs::list(&store, &self.around) {
                    Ok(held) => held.into_iter().for_each(|(key, username)| {
                        all.entry(key).or_insert(username);
                    }),
                    Err(error) => warnings.push(error.to_string()),
                }
            }
        }
        serde_json::to_string(&all).map_err(|error| error.to_string())
    }

    fn files(&self, warnings: &mut Vec<String>) -> Result<Vec<AuthFile>, String> {
        let files = loading::default_files(&self.environment, &self.paths, self.limits, warnings);
        files.map_err(words)
    }

    fn target(&self) -> Result<Target, String> {
        let target = Target::of(&self.paths).map(|target| target.within(self.limits));
        target.ok_or_else(|| match self.paths.home() {
            Err(error) => error.to_string(),
            Ok(_) => "there is no default credential file".to_owned(),
        })
    }
}

/// The server key on stdin.
fn key() -> Result<String, String> {
    let input = input()?;
    let key = std::str::from_utf8(&input).map_err(|_| "the server URL is not UTF-8")?.trim();
    if key.is_empty() { Err("no credentials server URL".to_owned()) } else { Ok(key.to_owned()) }
}

fn input() -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bytes = Zeroizing::new(Vec::new());
    let limit = limits::HELPER_ANSWER_BYTES;
    let read = io::stdin().lock().take(limit.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|cause| format!("cannot read the request: {}", system_words(&cause)))?;
    if bytes.len() as u64 > limit {
        return Err(format!("the request has more than {limit} bytes"));
    }
    Ok(bytes)
}

/// An error with its causes, in one line.
fn words(error: Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_last_part_of_the_path_and_nothing_else() {
        for (path, is_ours) in [
            ("docker-credential-orlop", true),
            ("/opt/bin/docker-credential-orlop", true),
            ("docker-credential-orlop2", false),
            ("/docker-credential-orlop/orlop", false),
        ] {
            assert_eq!(is_called(Some(&path.into())), is_ours, "{path}");
        }
        assert!(!is_called(None));
    }
}
