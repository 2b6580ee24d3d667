//! Logins: prove first, then store; list.
//!
//! Not here: which request proves a password (`orlop-registry`); editing the files
//! (`orlop-credentials`); removing a login ([`super::logout`]).

use std::path::PathBuf;
use std::sync::Arc;

use orlop_credentials::login::{Kept, check, keep};
use orlop_credentials::precedence::Sources;
use orlop_credentials::remote_yaml::Row;
use orlop_credentials::update::{self, Target};
use orlop_credentials::{Credential, Secret, keys, listing, loading};
use orlop_oci::Host;
use orlop_proto::v1::{self, Kind};
use orlop_registry::{Login, Proof};
use tokio::sync::mpsc;

use crate::caller::{Asking, Caller};
use crate::daemon::Daemon;
use crate::failure::Failure;

/// Which login.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// `docker` or `oras`.
    pub(crate) scheme: String,
    /// `host[:port]`, perhaps with `/namespace`.
    pub(crate) place: String,
    /// List file; none for the default one.
    pub(crate) list_file: Option<PathBuf>,
}

/// A login to be proven.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Which.
    pub(crate) place: Place,
    /// As whom.
    pub(crate) credential: Credential,
    /// Plain http only.
    pub(crate) no_https: bool,
    /// Certificates are not checked.
    pub(crate) insecure: bool,
    /// The caller stores it itself.
    pub(crate) verify_only: bool,
}

/// What came of a login.
#[derive(Debug)]
pub(crate) struct Done {
    /// What the registry said.
    pub(crate) login: Login,
    /// Files that were written.
    pub(crate) stored: Vec<String>,
    /// Sentences for the user.
    pub(crate) warnings: Vec<String>,
}

impl Place {
    fn uri(&self) -> String {
        format!("{}://{}", self.scheme, self.place)
    }

    fn list_file(&self, caller: &Caller) -> Result<PathBuf, Failure> {
        match &self.list_file {
            Some(path) => Ok(path.clone()),
            None => Ok(caller.paths().list_file()?),
        }
    }

    fn check(&self) -> Result<Host, Failure> {
        keys::check_place(&self.place)?;
        let host = keys::host_of(&self.place);
        host.parse()
            .map_err(|error: orlop_oci::HostError| Failure::new(Kind::ReferenceInvalid, &error))
    }
}

/// The default file that a login is written to.
pub(crate) fn default_target(caller: &Caller) -> Result<Target, Failure> {
    let limits = caller.credential_limits()?;
    let target = Target::of(caller.paths()).map(|target| target.within(limits));
    target.ok_or_else(|| match caller.paths().home() {
        Err(error) => error.into(),
        Ok(_) => Failure::of(Kind::CredentialFileInvalid, "there is no default credential file"),
    })
}

/// Proves a login and stores it in the default files.
///
/// # Errors
/// CREDENTIALS_REFUSED and what keeps the registry from being asked: nothing was stored.
pub(crate) async fn login(
    daemon: &Daemon,
    caller: Caller,
    wanted: Wanted,
) -> Result<Done, Failure> {
    let host = wanted.place.check()?;
    wanted.credential.check()?;
    if !wanted.verify_only {
        // Before the registry is asked: what cannot be stored need not be proven.
        let (caller, place) = (caller.clone(), wanted.place.clone());
        daemon
            .blocking("login", move || {
                let target = default_target(&caller)?;
                check(&target, &place.place, &caller.around_helpers(target.limits))?;
                place.list_file(&caller).map(drop)
            })
            .await?;
    }
    let (login, mut warnings) = prove(daemon, &caller, &wanted, &host).await?;
    if login.proof == Proof::Unproven && !wanted.verify_only {
        replaces_no_better_one(daemon, &caller, &wanted, &host).await?;
    }
    let mut stored = Vec::new();
    if !wanted.verify_only {
        let credential = match &login.identity_token {
            Some(token) => Credential::from_pair("<token>", Secret::new(token.expose())),
            None => wanted.credential,
        };
        let is_insecure = wanted.insecure || wanted.no_https;
        let store = move || store(&caller, &wanted.place, &credential, is_insecure);
        let (files, more) = daemon.blocking("login", store).await?;
        stored = files;
        warnings.extend(more);
    }
    Ok(Done { login, stored, warnings })
}

/// Refuses a login of which the registry says nothing where it knows the one that is there: it tells
/// right from wrong then, though it lets in who is wrong. An identity token that is there is no
/// measure: it is taken or refused by other rules than passwords. A registry that is open to all knows
/// none, and is not asked.
async fn replaces_no_better_one(
    daemon: &Daemon,
    caller: &Caller,
    wanted: &Wanted,
    host: &Host,
) -> Result<(), Failure> {
    let (place, caller_too, named) = (wanted.place.place.clone(), caller.clone(), host.clone());
    let find = move || {
        let path = place.split_once('/').map_or("", |(_, path)| path);
        let access = v1::Access::default();
        let known = caller_too.credentials(&named, access, &mut Vec::new())?;
        Ok(known.find(named.as_str(), path, &mut Vec::new())?)
    };
    // What cannot be looked at now is no reason against a login.
    let Ok(Some(known)) = daemon.blocking("login", find).await else { return Ok(()) };
    let is_password = matches!(known.credential, Credential::Password { .. });
    if !is_password || known.credential == wanted.credential {
        return Ok(());
    }
    let there = Wanted { place: wanted.place.clone(), credential: known.credential, ..*wanted };
    match prove(daemon, caller, &there, host).await {
        Ok((login, _)) if login.proof == Proof::Verified => {
            let message = format!(
                "the registry does not know this user name and password, and knows those in {}: \
                 to replace them all the same, log out first",
                known.origin
            );
            Err(Failure::of(Kind::CredentialsRefused, message))
        }
        _ => Ok(()),
    }
}

/// Has the registry prove a login; also gives what it made Orlop say.
async fn prove(
    daemon: &Daemon,
    caller: &Caller,
    wanted: &Wanted,
    host: &Host,
) -> Result<(Login, Vec<String>), Failure> {
    let (notices, mut told) = mpsc::unbounded_channel();
    let asking = Asking {
        credentials: Arc::new(Sources::default()),
        tasks: daemon.tasks.clone(),
        given: Arc::default(),
        notices,
    };
    let settled = caller.clone();
    let settings = daemon.blocking("settings", move || settled.settings()).await?;
    let session = caller.session(daemon, &settings, asking);
    let target = orlop_registry::Target {
        host: host.clone(),
        path: wanted.place.place.split_once('/').map(|(_, path)| path.to_owned()),
        insecure: wanted.insecure,
        no_https: wanted.no_https,
    };
    let proven = session.prove_login(&target, wanted.credential.clone()).await;
    let login = proven.map_err(refusal)?;
    drop(session);
    let warnings = std::iter::from_fn(|| told.try_recv().ok()).map(|told| told.text);
    Ok((login, warnings.collect()))
}

/// A login that was refused in the words that users of Apptainer's documentation look for.
fn refusal(error: orlop_registry::Error) -> Failure {
    match error {
        orlop_registry::Error::Refused { status, .. } => {
            let reason = match status {
                401 => "401 Unauthorized".to_owned(),
                403 => "403 Forbidden".to_owned(),
                other => other.to_string(),
            };
            Failure::of(
                Kind::CredentialsRefused,
                format!("the registry refused this user name and password ({reason})"),
            )
        }
        other => other.into(),
    }
}

fn store(
    caller: &Caller,
    place: &Place,
    credential: &Credential,
    insecure: bool,
) -> Result<(Vec<String>, Vec<String>), Failure> {
    let target = default_target(caller)?;
    let kept = keep(&target, &place.place, credential, &caller.around_helpers(target.limits))?;
    let mut warnings = before(caller, &target, &place.place);
    let first = match kept {
        Kept::File => target.name,
        Kept::Own(own) => own,
        Kept::Helper(helper) => format!("{helper}, as {} says", target.name),
    };
    let list = Target::default_file(&place.list_file(caller)?).within(target.limits);
    let mut stored = vec![first];
    // The login is there: a list that cannot be kept is no failure of it (row S38).
    match update::store_row(&list, &Row { uri: place.uri(), insecure }) {
        Ok(_) => stored.push(list.name),
        Err(error) => warnings.push(unlisted(error)),
    }
    Ok((stored, warnings))
}

/// Names the sources with another login of the place that are asked before the file it is kept in.
fn before(caller: &Caller, target: &Target, place: &str) -> Vec<String> {
    // What cannot be read is told when it is used.
    let files = caller.default_files(target.limits, &mut Vec::new()).unwrap_or_default();
    let earlier = files.iter().take_while(|file| file.name() != target.name);
    let has_it =
        earlier.filter(|file| file.users().iter().any(|(key, _)| keys::is_login_of(key, place)));
    has_it
        .map(|file| format!("the login to {place} in {} comes before this one", file.name()))
        .collect()
}

pub(crate) fn unlisted(error: orlop_credentials::Error) -> String {
    format!("The list of logins is left as it is: {}", Failure::from(error))
}

/// Lists the logins of the default files. Blocks.
///
/// # Errors
/// CREDENTIAL_FILE_INVALID.
pub(crate) fn list(
    caller: &Caller,
    list_file: Option<PathBuf>,
) -> Result<(Vec<Row>, Vec<String>), Failure> {
    let mut warnings = Vec::new();
    let files = caller.default_files(caller.credential_limits()?, &mut warnings)?;
    let path = match list_file {
        Some(path) => path,
        None => caller.paths().list_file()?,
    };
    let list = loading::list_file(&path, &path.display().to_string());
    let list = list.unwrap_or_else(|error| {
        warnings.push(Failure::from(error).to_string());
        None
    });
    Ok((listing::rows(list.as_ref(), &files), warnings))
}
