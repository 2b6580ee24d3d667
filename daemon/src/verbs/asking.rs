//! A caller's asking of the registries of a reference: sources, session, rights.
//!
//! What registries.conf, settings, lists and credential files say comes together here, once a
//! request. Not here: what is asked ([`super::documents`], [`super::push`]).

use std::sync::Arc;

use orlop_config::settings::Settings;
use orlop_oci::Reference;
use orlop_proto::v1;
use orlop_registry::{Elsewhere, Session, Source, Sources};
use tokio::sync::mpsc;

use super::claims;
use super::documents;
use super::lookup::{self, Given};
use crate::caller::{Asking, Caller, Told};
use crate::daemon::Daemon;
use crate::failure::Failure;

/// Everything that asking the registries of a reference needs.
pub(crate) struct Asked {
    /// The sources, mirrors first.
    pub(crate) sources: Sources,
    /// The caller's settings, read once a request.
    pub(crate) settings: Settings,
    /// The session.
    pub(crate) session: Session,
    /// The reference's own host may be asked without certificates: by flag, login or
    /// registries.conf.
    pub(crate) is_insecure: bool,
    /// registries.conf says that the reference's own host must not be contacted.
    pub(crate) is_blocked: bool,
    /// Whose rights it is done with.
    pub(crate) rights: Rights,
    /// Where the session's notices arrive.
    pub(crate) notices: mpsc::UnboundedReceiver<Told>,
}

impl Asked {
    /// Where this asking's documents come from.
    pub(crate) fn origin(&self) -> documents::Origin<'_> {
        documents::Origin { sources: &self.sources, times: self.times() }
    }

    /// When another node's claim is dead, as the caller's settings say.
    pub(crate) fn times(&self) -> claims::Times {
        claims::Times::of(&self.settings)
    }

    /// The notices so far, for an answer that carries them.
    pub(crate) fn notices(&mut self) -> Vec<String> {
        let told = std::iter::from_fn(|| self.notices.try_recv().ok());
        told.filter(|told| !told.is_detail).map(|told| told.text).collect()
    }
}

/// Whether the mirrors of a reference are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mirrors {
    /// First.
    Asked,
    /// First where the caller's settings let them serve `oras://`.
    AskedIfSet,
    /// Not at all.
    PassedOver,
}

impl Mirrors {
    /// For reading what a reference of `docker://` or `oras://` names.
    pub(crate) const fn of(is_oras: bool) -> Self {
        if is_oras { Self::AskedIfSet } else { Self::Asked }
    }

    const fn are_asked(self, settings: &Settings) -> bool {
        match self {
            Self::Asked => true,
            Self::AskedIfSet => settings.oras_mirrors,
            Self::PassedOver => false,
        }
    }
}

/// Does work, and meanwhile makes an event of every notice. All that came before the work's end are
/// sent; a caller that does not listen any more is noticed where its work is dropped.
pub(crate) async fn passing_on<N, E, T>(
    notices: &mut mpsc::UnboundedReceiver<N>,
    events: &mpsc::Sender<E>,
    mut event: impl FnMut(N) -> E,
    work: impl Future<Output = T>,
) -> T {
    tokio::pin!(work);
    let done = loop {
        tokio::select! {
            biased;
            Some(told) = notices.recv() => drop(events.send(event(told)).await),
            done = &mut work => break done,
        }
    };
    while let Ok(told) = notices.try_recv() {
        drop(events.send(event(told)).await);
    }
    done
}

/// Whose rights an asking is done with.
pub(crate) struct Rights {
    /// All that may be used.
    pub(crate) credentials: Arc<orlop_credentials::precedence::Sources>,
    /// What was used.
    pub(crate) given: Arc<Given>,
    /// Equal for requests that get equal answers.
    pub(crate) identity: String,
}

/// Prepares a caller's asking for a reference.
///
/// # Errors
/// SETTINGS_INVALID, CREDENTIAL_FILE_INVALID.
pub(crate) async fn ask(
    daemon: &Daemon,
    caller: &Caller,
    reference: &Reference,
    access: v1::Access,
    mirrors: Mirrors,
) -> Result<Asked, Failure> {
    let (sender, notices) = mpsc::unbounded_channel();
    let (shared, asking, named) = (daemon.clone(), caller.clone(), reference.clone());
    let read = async move { said(&shared, &asking, &named, access, mirrors) };
    let Said { credentials, sources, settings, is_insecure, is_blocked, warnings, identity } =
        daemon.at_once(read).await?;
    for warning in warnings {
        drop(sender.send(warning.into()));
    }
    let (credentials, given) = (Arc::new(credentials), Arc::<Given>::default());
    let rights =
        Rights { credentials: Arc::clone(&credentials), given: Arc::clone(&given), identity };
    let asking = Asking { credentials, tasks: daemon.tasks.clone(), given, notices: sender };
    let session = caller.session(daemon, &settings, asking);
    let elsewhere = if settings.foreign_layers { Elsewhere::Allowed } else { Elsewhere::default() };
    let sources = session.sources(sources).with_elsewhere(elsewhere);
    Ok(Asked { sources, settings, session, is_insecure, is_blocked, rights, notices })
}

/// What settings, lists and credential files say of a reference.
struct Said {
    credentials: orlop_credentials::precedence::Sources,
    sources: Vec<Source>,
    settings: Settings,
    is_insecure: bool,
    is_blocked: bool,
    warnings: Vec<String>,
    identity: String,
}

/// Reads them. Blocks.
fn said(
    daemon: &Daemon,
    caller: &Caller,
    reference: &Reference,
    access: v1::Access,
    mirrors: Mirrors,
) -> Result<Said, Failure> {
    let (no_https, insecure) = (access.no_https, access.insecure);
    let mut parts = caller.identity(&access);
    let settings = caller.settings()?;
    let (rules, mut warnings) = daemon.rules.of(caller.paths())?;
    let list = rules.registries.sources(reference)?;
    let is_blocked = rules.registries.blocks(reference);
    let listed = is_listed_insecure(caller, reference);
    let mut credentials = caller.credentials(reference.host(), access, &mut warnings)?;
    credentials.helpers =
        rules.registries.credential_helpers().into_iter().map(str::to_owned).collect();
    let with_mirrors = mirrors.are_asked(&settings);
    let is_named = |reference_of: &Reference| reference_of.host() == reference.host();
    let sources = list.into_iter().filter(|source| with_mirrors || !source.is_mirror);
    let sources: Vec<_> = sources
        .map(|source| {
            let is_named = is_named(&source.reference);
            Source {
                insecure: source.insecure || (is_named && (insecure || listed)),
                no_https: is_named && no_https,
                blocked: source.blocked,
                reference: source.reference,
                namespace: source.namespace,
            }
        })
        .collect();
    let is_insecure = sources.iter().any(|source| source.insecure && is_named(&source.reference));
    parts.push(format!("{reference} {sources:?} {:?}", credentials.helpers).into_bytes());
    let identity = lookup::identity(parts.iter().map(Vec::as_slice));
    let is_insecure = is_insecure || insecure || listed;
    Ok(Said { credentials, sources, settings, is_insecure, is_blocked, warnings, identity })
}

/// A login that was made with `--insecure` or `--no-https` is honoured.
fn is_listed_insecure(caller: &Caller, reference: &Reference) -> bool {
    let Ok(path) = caller.paths().list_file() else { return false };
    let list = orlop_credentials::loading::list_file(&path, "the list file").ok().flatten();
    let rows = list.map(|list| list.rows()).unwrap_or_default();
    rows.iter().any(|row| {
        row.insecure
            && orlop_credentials::keys::is_same_place(row.place(), reference.host().as_str())
    })
}
