//! Who asks: the environment, the places and the credentials that one request brought.
//!
//! The daemon's own environment decides nothing. What a caller sent as secret is used for its
//! request and forgotten with it. Not here: the order of sources (`orlop-credentials`).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::Arc;

use futures::future::BoxFuture;
use orlop_config::env::Environment;
use orlop_config::{Face, Paths, Settings};
use orlop_credentials::docker_json::AuthFile;
use orlop_credentials::loading;
use orlop_credentials::precedence::Sources;
use orlop_credentials::programs::Surroundings as HelperSurroundings;
use orlop_credentials::{Credential, Limits as CredentialLimits, Secret};
use orlop_oci::Host;
use orlop_proto::v1::{self, Kind};
use orlop_registry::{Limits, Looked, Notice, Session, Surroundings};
use tokio::sync::mpsc;

use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::tasks::Tasks;
use crate::verbs::lookup::Given;

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    environment: Environment,
    paths: Paths,
    request_id: String,
}

impl Caller {
    /// Reads what a request says of its caller.
    ///
    /// # Errors
    /// USAGE_INVALID when it says nothing.
    pub(crate) fn of(context: Option<v1::Context>) -> Result<Self, Failure> {
        let context =
            context.ok_or_else(|| Failure::of(Kind::UsageInvalid, "the request has no context"))?;
        let face = match context.face() {
            v1::Face::Orlop => Face::Orlop,
            v1::Face::Apptainer => Face::Apptainer,
        };
        let pairs = context.variables.into_iter();
        let pairs = pairs.map(|one| (OsString::from(one.name), OsString::from_vec(one.value)));
        let environment = Environment::from_pairs(pairs);
        let paths = Paths::of(&environment, face, rustix::process::geteuid().as_raw());
        let request_id = context.request_id.chars().take(64).collect();
        Ok(Self { environment, paths, request_id })
    }

    /// Where this caller's things are.
    pub(crate) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Text that follows this request through the log.
    pub(crate) fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Names this caller's surroundings and credentials as they are now: two requests with the same
    /// name get the same answers. Blocks.
    pub(crate) fn identity(&self, access: &v1::Access) -> Vec<Vec<u8>> {
        use std::os::unix::ffi::OsStrExt as _;
        use std::os::unix::fs::MetadataExt as _;
        let mut parts = vec![orlop_proto::bytes_of(access)];
        for (name, value) in self.environment.iter() {
            parts.extend([name.as_bytes().to_vec(), value.as_bytes().to_vec()]);
        }
        for file in self.paths.credential_files().read {
            let found = std::fs::metadata(&file.path);
            let look =
                found.map(|f| format!("{} {} {} {}", f.ino(), f.len(), f.mtime(), f.mtime_nsec()));
            parts.push(look.unwrap_or_default().into_bytes());
        }
        parts
    }

    /// Environment for credential helpers.
    pub(crate) fn around_helpers(&self, limits: CredentialLimits) -> HelperSurroundings {
        let variables = self.environment.iter();
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        HelperSurroundings::of(variables).within(limits)
    }

    /// This caller's limits on credential files and helpers. Blocks.
    ///
    /// # Errors
    /// SETTINGS_INVALID.
    pub(crate) fn credential_limits(&self) -> Result<CredentialLimits, Failure> {
        Ok(CredentialLimits::from(&self.settings()?.limits))
    }

    /// Registries, with this caller's proxies, certificates and limits; `asking` has its credentials.
    pub(crate) fn session(
        &self,
        daemon: &Daemon,
        settings: &Settings,
        asking: impl orlop_registry::Caller + 'static,
    ) -> Session {
        let surroundings = Surroundings::of(&self.environment, &settings.network, &self.paths);
        let limits = Limits::from(&settings.limits);
        Session::with_limits(&daemon.pool, surroundings, limits, Arc::new(asking))
    }

    /// Orlop's own settings as they are now for this caller. Blocks.
    ///
    /// # Errors
    /// SETTINGS_INVALID with file and line, or with the variable.
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        Ok(Settings::load(&self.paths)?)
    }

    /// The default credential files as they are now, first the one that counts first. Blocks.
    ///
    /// # Errors
    /// CREDENTIAL_FILE_INVALID: a file that is there cannot be used.
    pub(crate) fn default_files(
        &self,
        limits: CredentialLimits,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<AuthFile>, Failure> {
        Ok(loading::default_files(&self.environment, &self.paths, limits, warnings)?)
    }

    /// All credentials that a request for a reference at `host` may use. Blocks.
    ///
    /// # Errors
    /// As [`Caller::default_files`]; the same of a named auth file; SETTINGS_INVALID.
    pub(crate) fn credentials(
        &self,
        host: &Host,
        access: v1::Access,
        warnings: &mut Vec<String>,
    ) -> Result<Sources, Failure> {
        let limits = self.credential_limits()?;
        let explicit = match access.auth_file {
            Some(file) if file.missing => Some(AuthFile::empty(&file.path)),
            Some(file) => {
                let content = file.content.map(|secret| secret.value).unwrap_or_default();
                Some(AuthFile::parse(&content, &file.path)?)
            }
            None => None,
        };
        // A named file stands alone, unless it says itself that Orlop holds logins.
        let needs_files = explicit.as_ref().is_none_or(AuthFile::names_own);
        let files = if needs_files { self.default_files(limits, warnings)? } else { Vec::new() };
        Ok(Sources {
            named: host.as_str().to_owned(),
            flags: access.flags.map(credential),
            environment: access.environment.map(credential),
            explicit,
            files,
            helpers: Vec::new(),
            around: self.around_helpers(limits),
        })
    }
}

/// A credential as it travels.
pub(crate) fn credential(sent: v1::Credential) -> Credential {
    let secret = sent.secret.map(|secret| secret.value).unwrap_or_default();
    Credential::from_pair(&sent.username, Secret::new(secret))
}

/// One request's part in talking to registries: gives credentials, passes notices on.
pub(crate) struct Asking {
    /// All that may be used.
    pub(crate) credentials: Arc<Sources>,
    /// Who runs helpers, which block.
    pub(crate) tasks: Tasks,
    /// Takes note of what was given.
    pub(crate) given: Arc<Given>,
    /// Gets what the user may want to read. Nobody need listen.
    pub(crate) notices: mpsc::UnboundedSender<Told>,
}

/// A sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The sentence; foreign parts are escaped.
    pub(crate) text: String,
    /// Worth reading only for who asked for details.
    pub(crate) is_detail: bool,
    /// Worth reading for everybody where the request fails in the end.
    pub(crate) explains: bool,
}

impl From<String> for Told {
    fn from(text: String) -> Self {
        Self { text, is_detail: false, explains: false }
    }
}

impl orlop_registry::Caller for Asking {
    fn credential<'a>(&'a self, host: &'a Host, path: &'a str) -> BoxFuture<'a, Looked> {
        let credentials = Arc::clone(&self.credentials);
        let (host, path) = (host.as_str().to_owned(), path.to_owned());
        let place = format!("{host}/{path}");
        Box::pin(async move {
            let find = move |_: &_| {
                let mut warnings = Vec::new();
                let found = credentials.find(&host, &path, &mut warnings);
                (found, warnings)
            };
            let (found, warnings) = match self.tasks.blocking("credentials", find).await {
                Ok(done) => done,
                Err(lost) => {
                    let what = format!("looking up a login failed: {lost}");
                    (Err(orlop_credentials::Error::Unusable { what }), Vec::new())
                }
            };
            if let Ok(known) = &found {
                self.given.note(place, known.as_ref().map(|known| known.credential.clone()));
            }
            Looked { found, warnings }
        })
    }

    fn notice(&self, notice: Notice) {
        let text = notice.to_string();
        tracing::debug!(text, "notice");
        // A mirror that fails is a detail; one that lies is named to the user.
        let explains = matches!(notice, Notice::SourceFailed { lied: false, .. });
        let is_detail = explains || matches!(notice, Notice::Login { .. });
        // A caller that has left does not listen any more.
        drop(self.notices.send(Told { text, is_detail, explains }));
    }
}
