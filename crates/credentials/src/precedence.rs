//! The order of sources: which credential goes to which host.
//!
//! Flags, then the environment (both only for the host that the user named), then an explicit
//! auth file, which is exclusive, else the default files in order with their helpers, else nobody.
//! `credential-helpers` of registries.conf puts further helpers before or after those files.
//! A mirror is looked up by its own name and never gets what was given for another host.
//!
//! Not here: reading the files ([`crate::update`]), which files there are (`orlop-config`).

use crate::docker_json::{AuthFile, Found};
use crate::programs::{self, Surroundings};
use crate::{Credential, Error, keys};

/// The word in `credential-helpers` of registries.conf that stands for the credential files.
pub const FILES: &str = "containers-auth.json";

/// All sources that one request may draw on.
#[derive(Debug, Default)]
pub struct Sources {
    /// Host that the user named: `host[:port]` of the reference.
    pub named: String,
    /// Given by flags.
    pub flags: Option<Credential>,
    /// Given by the environment.
    pub environment: Option<Credential>,
    /// An explicit auth file: no default file is looked at, unless this one says that Orlop holds
    /// the login.
    pub explicit: Option<AuthFile>,
    /// The default files, in order of reading.
    pub files: Vec<AuthFile>,
    /// `credential-helpers` of registries.conf, in order, [`FILES`] among them; empty: the files
    /// alone.
    pub helpers: Vec<String>,
    /// Environment for helpers.
    pub around: Surroundings,
}

/// A credential and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The credential.
    pub credential: Credential,
    /// Where from, for messages: a path, a helper's name, `flags`, `the environment`.
    pub origin: String,
}

impl Sources {
    /// Finds the credential for a repository; `None` is anonymous. May start helpers and block.
    ///
    /// # Errors
    /// [`Error::Helper`] when a helper fails that the file names. One that cannot be started is a
    /// warning: the pull may be of a public image.
    pub fn find(
        &self,
        host: &str,
        path: &str,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Known>, Error> {
        if let Some((credential, origin)) = self.given(host) {
            let origin = origin.to_owned();
            return Ok(Some(Known { credential: credential.clone(), origin }));
        }
        if let Some(file) = &self.explicit {
            match self.find_in(file, host, path, warnings)? {
                Answer::Own => {}
                answer => return Ok(answer.known()),
            }
        }
        for step in self.steps(warnings) {
            if step != FILES {
                if let Answer::Known(known) = self.ask(step, false, host.to_owned(), warnings)? {
                    return Ok(Some(known));
                }
                continue;
            }
            for file in &self.files {
                match self.find_in(file, host, path, warnings)? {
                    Answer::Own | Answer::Nothing => {}
                    answer => return Ok(answer.known()),
                }
            }
        }
        Ok(None)
    }

    /// What flags or the environment give for this host, and which of the two.
    pub(crate) fn given(&self, host: &str) -> Option<(&Credential, &'static str)> {
        let is_named = host == self.named || (keys::is_hub(host) && keys::is_hub(&self.named));
        let flags = self.flags.as_ref().map(|credential| (credential, "the command line"));
        let environment = || Some((self.environment.as_ref()?, "the environment"));
        flags.or_else(environment).filter(|_| is_named)
    }

    /// What is asked in which order: global helpers, by the bare host, and [`FILES`]. A name that
    /// could lead out of the search path is left out with a warning.
    pub(crate) fn steps(&self, warnings: &mut Vec<String>) -> Vec<&str> {
        if self.helpers.is_empty() {
            return vec![FILES];
        }
        let (good, bad): (Vec<&str>, Vec<&str>) =
            self.helpers.iter().map(String::as_str).partition(|name| programs::is_name(name));
        warnings.extend(bad.into_iter().map(|name| {
            format!(
                "credential-helpers of registries.conf: \"{}\" is not a credential helper's \
                 name; it is ignored",
                name.escape_debug()
            )
        }));
        // Orlop as a helper is Orlop's own files.
        good.into_iter().map(|name| if programs::is_own(name) { FILES } else { name }).collect()
    }

    fn find_in(
        &self,
        file: &AuthFile,
        host: &str,
        path: &str,
        warnings: &mut Vec<String>,
    ) -> Result<Answer, Error> {
        let (helper, is_final) = match file.lookup(host, path, warnings) {
            Found::Credential(credential) => {
                let origin = file.name().to_owned();
                return Ok(Answer::Known(Known { credential, origin }));
            }
            Found::Helper(helper) => (helper, true),
            Found::Store(helper) => (helper, false),
            Found::Own => return Ok(Answer::Own),
            Found::Nothing => return Ok(Answer::Nothing),
        };
        self.ask(&helper, is_final, keys::helper_key(host), warnings)
    }

    /// Asks a helper for a key. `is_final`: a file names it for this very host.
    fn ask(
        &self,
        helper: &str,
        is_final: bool,
        key: String,
        warnings: &mut Vec<String>,
    ) -> Result<Answer, Error> {
        match programs::get(helper, &key, &self.around) {
            Ok(Some(credential)) => {
                let origin = format!("docker-credential-{helper}");
                Ok(Answer::Known(Known { credential, origin }))
            }
            Ok(None) if is_final => Ok(Answer::Final),
            Ok(None) => Ok(Answer::Nothing),
            Err(error @ Error::Helper { missing: false, .. }) => Err(error),
            Err(error) => {
                warnings.push(format!("{error}; going on without a login"));
                Ok(Answer::Nothing)
            }
        }
    }
}

enum Answer {
    Known(Known),
    /// The file's own last word: there is no login.
    Final,
    /// Orlop's own logins count.
    Own,
    Nothing,
}

impl Answer {
    fn known(self) -> Option<Known> {
        match self {
            Self::Known(known) => Some(known),
            Self::Final | Self::Own | Self::Nothing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(username: &str) -> Credential {
        Credential::Password { username: username.to_owned(), secret: "p".into() }
    }

    fn file(name: &str, text: &str) -> AuthFile {
        AuthFile::parse(text.as_bytes(), name).unwrap()
    }

    fn user(sources: &Sources, host: &str) -> Option<String> {
        let known = sources.find(host, "x", &mut Vec::new()).unwrap()?;
        Some(known.credential.username().unwrap_or_default().to_owned())
    }

    #[test]
    fn flags_environment_explicit_default_anonymous() {
        let mut sources = Sources {
            named: "h".to_owned(),
            flags: Some(password("flag")),
            environment: Some(password("env")),
            explicit: Some(file("e", r#"{"auths":{"h":{"auth":"ZXhwOnA="}}}"#)),
            files: vec![
                file("a", "{}"),
                file("b", r#"{"auths":{"h":{"auth":"ZGVmOnA="},"m":{"auth":"bWlyOnA="}}}"#),
            ],
            ..Sources::default()
        };
        assert_eq!(user(&sources, "h").as_deref(), Some("flag"));
        sources.flags = None;
        assert_eq!(user(&sources, "h").as_deref(), Some("env"));
        assert_eq!(user(&sources, "m"), None, "an explicit file is exclusive");
        sources.environment = None;
        assert_eq!(user(&sources, "h").as_deref(), Some("exp"));
        sources.explicit = None;
        assert_eq!(user(&sources, "h").as_deref(), Some("def"));
        assert_eq!(user(&sources, "other"), None);
    }

    #[test]
    fn a_mirror_never_gets_what_was_given_for_the_named_host() {
        let sources = Sources {
            named: "docker.io".to_owned(),
            flags: Some(password("flag")),
            environment: Some(password("env")),
            ..Sources::default()
        };
        assert_eq!(user(&sources, "registry-1.docker.io").as_deref(), Some("flag"));
        assert_eq!(user(&sources, "mirror.example"), None);
    }

    #[test]
    fn a_file_that_names_orlop_as_its_helper_starts_nothing_and_the_next_files_count() {
        let own = || file("own", r#"{"auths":{"h":{"auth":"b3duOnA="},"e":{"auth":"b3duOnA="}}}"#);
        for text in [r#"{"credHelpers":{"h":"orlop"}}"#, r#"{"credsStore":"orlop"}"#] {
            let sources = Sources { files: vec![file("a", text), own()], ..Sources::default() };
            assert_eq!(user(&sources, "h").as_deref(), Some("own"), "{text}");
        }
        let explicit = file("x", r#"{"credHelpers":{"h":"orlop"},"auths":{"m":{}}}"#);
        assert!(explicit.names_own());
        let sources =
            Sources { explicit: Some(explicit), files: vec![own()], ..Sources::default() };
        assert_eq!(user(&sources, "h").as_deref(), Some("own"));
        assert_eq!(user(&sources, "e"), None, "the named file does not say so of this host");
    }

    #[test]
    fn a_missing_helper_is_a_warning_and_anonymous() {
        let sources = Sources {
            files: vec![file("a", r#"{"credHelpers":{"h":"not-there"}}"#)],
            ..Sources::default()
        };
        let mut warnings = Vec::new();
        assert_eq!(sources.find("h", "x", &mut warnings).unwrap(), None);
        assert_eq!(
            warnings,
            [
                "credential helper docker-credential-not-there is not on PATH; going on without a login"
            ]
        );
    }
}
