//! `orlop registry explain`: which sources a reference is pulled from, and why.
//!
//! Asks no registry, starts no daemon and no credential helper: reads the files and says what a
//! pull would do. `--json` is a stable interface (docs/registries-conf.md). Not here: the rules
//! (`orlop-config`), the order of logins (`orlop-credentials`), words for people ([`super::why`]).

use orlop_config::registries::{self, Loaded};
use orlop_config::{Settings, Source};
use orlop_credentials::docker_json::AuthFile;
use orlop_credentials::loading::{self, Kind as FileKind};
use orlop_credentials::precedence::Sources;
use orlop_credentials::programs::Surroundings;
use orlop_credentials::telling::Origin;
use orlop_credentials::{Credential, Limits, Secret};
use orlop_oci::uri::UriError;
use orlop_oci::{ImageUri, Reference, Transport};
use orlop_proto::v1::Kind;
use serde_json::{Value, json};

use super::{AUTHFILE, why};
use crate::commands::{Command, pull};
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Flag, Spec};
use crate::options::Options;

const FLAGS: &[Flag] = &[
    AUTHFILE,
    Flag::text("docker-username", "NAME", "user name for the registry").hidden(),
    Flag::text("docker-password", "SECRET", "password for the registry").hidden(),
    Flag::switch("json", "print one JSON object").short('j'),
];

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "registry explain",
        arguments: "<reference>",
        about: "Show where an image would be pulled from, as whom and why",
        long_about: "Reads registries.conf and the credential files. No registry is asked and no \
            credential helper is started.\n\nExample: orlop registry explain docker://alpine",
        count: Count::exactly(1),
        flags: &[FLAGS],
        payload: false,
    },
    run,
};

/// What a pull of a reference would do.
pub(super) struct Explanation {
    pub(super) transport: Transport,
    pub(super) reference: Reference,
    pub(super) loaded: Loaded,
    /// Each with the places a login for it is looked for.
    pub(super) sources: Vec<(Source, Vec<Origin>)>,
    /// Mirrors are not used because the transport is `oras`.
    pub(super) mirrors_off: bool,
}

/// Why there is no explanation.
struct Refusal {
    /// `reference`, `config` or `pull`.
    stage: &'static str,
    /// A kind of `tests/data`, or one of docs/registries-conf.md.
    kind: &'static str,
    failure: Box<Failure>,
    file: Option<String>,
    line: Option<usize>,
}

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let as_json = options.is_on("json");
    match explain(options, context) {
        Ok(found) if as_json => context.output.json(&found.json()),
        Ok(found) => why::print(&found, &mut context.output),
        Err(refusal) => {
            if as_json {
                context.output.json(&refusal.json());
            }
            return Err(refusal.failure.with_exit(255));
        }
    }
    Ok(0)
}

fn explain(options: &Options, context: &mut Context) -> Result<Explanation, Refusal> {
    let argument = options.arguments().first().cloned().unwrap_or_default();
    let (transport, reference) = parse(&argument)?;
    let loaded = registries::load(&context.paths).map_err(|error| Refusal::config(&error))?;
    for warning in &loaded.warnings {
        context.output.warning(warning);
    }
    let settings = Settings::load(&context.paths).map_err(|error| Refusal::config(&error))?;
    let found = loaded.registries.sources(&reference);
    let found = found.map_err(|error| Refusal { stage: "pull", ..Refusal::config(&error) })?;
    let mirrors_off = transport == Transport::Oras && !settings.oras_mirrors;
    let found = found.into_iter().filter(|source| !(mirrors_off && source.is_mirror));
    let mut warnings = Vec::new();
    let limits = Limits::from(&settings.limits);
    let logins = logins(options, context, &reference, &loaded, limits, &mut warnings);
    let sources = logins.map(|logins| {
        let tell = |source: Source| {
            let (host, path) = (source.reference.host().as_str(), source.reference.path());
            let origins = logins.tell(host, path, &mut warnings);
            (source, origins)
        };
        found.map(tell).collect()
    });
    warnings.dedup();
    for warning in warnings {
        context.output.warning(&warning);
    }
    Ok(Explanation { transport, reference, loaded, sources: sources?, mirrors_off })
}

/// Reads `docker://NAME`, `oras://NAME`, or a bare name as Docker's.
fn parse(argument: &std::ffi::OsStr) -> Result<(Transport, Reference), Refusal> {
    let refuse = |kind, failure: Failure| Refusal {
        stage: "reference",
        kind,
        failure: Box::new(failure),
        file: None,
        line: None,
    };
    let bare = |text: &str| {
        let parsed = Reference::parse(text).map(|reference| (Transport::Docker, reference));
        parsed.map_err(|error| {
            refuse(error.kind.name(), Failure::caused(Kind::ReferenceInvalid, &error))
        })
    };
    match ImageUri::parse(argument) {
        Ok(ImageUri::Docker(reference)) => Ok((Transport::Docker, reference)),
        Ok(ImageUri::Oras(reference)) => Ok((Transport::Oras, reference)),
        Ok(ImageUri::Path(path)) => bare(&path.to_string_lossy()),
        Ok(other) => {
            let transport = other.transport().map(Transport::name).unwrap_or_default();
            let message = format!("{transport}: names no image of a registry");
            let failure = Failure::new(Kind::ReferenceInvalid, message);
            Err(refuse("format", failure.hint("use docker:// or oras://")))
        }
        Err(error) => {
            let kind = match &error {
                UriError::Reference { cause, .. } => cause.kind.name(),
                UriError::Empty => "empty",
                _ => "format",
            };
            Err(refuse(kind, pull::uri_failure(&error)))
        }
    }
}

/// All that a pull may log in with.
fn logins(
    options: &Options,
    context: &Context,
    reference: &Reference,
    loaded: &Loaded,
    limits: Limits,
    warnings: &mut Vec<String>,
) -> Result<Sources, Refusal> {
    let explicit = match options.path("authfile") {
        Some(path) => {
            let file = loading::auth_file(path, FileKind::Named, limits, warnings);
            let shown = path.display().to_string();
            Some(file.map_err(Refusal::credentials)?.unwrap_or_else(|| {
                warnings.push(format!("The credential file {shown} does not exist"));
                AuthFile::empty(&shown)
            }))
        }
        None => None,
    };
    // A named file stands alone, unless it says itself that Orlop holds logins.
    let files = match &explicit {
        Some(file) if !file.names_own() => Vec::new(),
        _ => loading::default_files(&context.environment, &context.paths, limits, warnings)
            .map_err(Refusal::credentials)?,
    };
    // Only whether they are there is told, and whose they are.
    let user = |name: &str| Credential::from_pair(name, Secret::new(Vec::new()));
    let is_flagged =
        ["docker-username", "docker-password"].iter().any(|flag| options.text(flag).is_some());
    let flagged = options.text("docker-username").unwrap_or_default();
    let (login, halves) = context.environment.login();
    warnings.extend(halves);
    Ok(Sources {
        named: reference.host().as_str().to_owned(),
        flags: is_flagged.then(|| user(&flagged)),
        environment: login.map(|login| user(&login.username.to_string_lossy())),
        explicit,
        files,
        helpers: loaded.registries.credential_helpers().into_iter().map(str::to_owned).collect(),
        around: Surroundings::default(),
    })
}

impl Explanation {
    fn json(&self) -> Value {
        let reference = &self.reference;
        let matched = self.loaded.registries.table_of(reference);
        let sources = self.sources.iter().map(|(source, origins)| {
            json!({
                "ref": source.reference.canonical(),
                "insecure": source.insecure,
                "blocked": source.blocked,
                "mirror": source.is_mirror,
                "credentials": where_from(origins),
            })
        });
        json!({
            "reference": {
                "transport": self.transport.name(),
                "host": reference.host().as_str(),
                "path": reference.path(),
                "tag": reference.tag(),
                "digest": reference.digest().map(ToString::to_string),
                "canonical": reference.canonical(),
                "familiar": reference.familiar(),
            },
            "matched": matched.map_or("", |table| &table.prefix),
            "sources": sources.collect::<Vec<_>>(),
        })
    }
}

/// The places of a login, `none` without one.
pub(super) fn where_from(origins: &[Origin]) -> String {
    if origins.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<&str> = origins.iter().map(|origin| origin.name.as_str()).collect();
    names.join(", else ")
}

impl Refusal {
    fn config(error: &orlop_config::Error) -> Self {
        let place = error.place();
        Self {
            stage: "config",
            kind: error.name(),
            failure: Box::new(Failure::caused(Kind::SettingsInvalid, error)),
            line: place.as_ref().and_then(|place| place.line),
            file: place.map(|place| place.path.display().to_string()),
        }
    }

    fn credentials(error: orlop_credentials::Error) -> Self {
        use orlop_credentials::Error as E;
        let (file, line) = match &error {
            E::Invalid { file, line, .. } => (Some(file.clone()), Some(*line)),
            E::TooLarge { file, .. } | E::NotAFile { file, .. } | E::NotOurs { file, .. } => {
                (Some(file.clone()), None)
            }
            E::Disk { path, .. } => (Some(path.display().to_string()), None),
            _ => (None, None),
        };
        Self {
            stage: "config",
            kind: "credential-file",
            failure: Box::new(error.into()),
            file,
            line,
        }
    }

    fn json(&self) -> Value {
        json!({
            "error": {
                "stage": self.stage,
                "kind": self.kind,
                "message": self.failure.text(),
                "file": self.file,
                "line": self.line,
            },
        })
    }
}
