//! Tags: which digest a reference has, asked of a registry or remembered.
//!
//! A registry is asked once for all identical requests that run at the same time and began within
//! a second: same reference, same sources, same credentials, same surroundings. What it said is
//! remembered with proofs of whose rights opened the image, for work offline, for when the registry
//! is down, and so that a digest needs no request: an image that was opened with a credential is
//! given from memory only to whoever has that credential. A proof is a salted hash, made slow.
//! Source: reliability rows F20, F52; contract, section 11, row 6.
//!
//! Not here: documents ([`super::documents`]), requests (`orlop-registry`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orlop_credentials::Credential;
use orlop_oci::{Algorithm, Digest, Hasher, Reference};
use orlop_proto::v1::Kind;
use orlop_registry::Resolved;
use orlop_store::Tag;

use super::asking::Asked;
use crate::clock;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::flights::{Joined, heard};

/// How long an answer is shared with identical requests that begin while the first is served.
const SHARED: Duration = Duration::from_secs(1);
/// Age of what is remembered before it is written again though nothing changed.
const WRITE_AGAIN: Duration = Duration::from_secs(60);
/// Proofs that are remembered of one reference, the newest.
const PROOFS: usize = 16;
/// Rounds of hashing: what it costs to try one password on a proof.
const ROUNDS: u32 = 10_000;
/// Says that a reference was opened without a credential.
const ANYONE: &str = "anyone";

/// Credentials that a session was given, by `host/path`; none where it went without.
#[derive(Default)]
pub(crate) struct Given(Mutex<BTreeMap<String, Option<Credential>>>);

impl Given {
    /// Takes note of a credential that a session asked for.
    pub(crate) fn note(&self, place: String, credential: Option<Credential>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(place, credential);
    }

    fn list(&self) -> Vec<(String, Credential)> {
        let given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let given = given.iter();
        given.filter_map(|(place, one)| Some((place.clone(), one.clone()?))).collect()
    }
}

/// A registry's answer, and with whose rights it was had.
#[derive(Clone)]
pub(crate) struct Answer {
    resolved: Resolved,
    rights: Vec<(String, Credential)>,
    /// Manifests with which it is remembered: by one of those who share it.
    remembered: Arc<Mutex<BTreeSet<Digest>>>,
}

/// An answer as one caller has it. Others share it while this lives.
pub(crate) struct Answered {
    answer: Answer,
    _flight: Joined<Answer>,
}

impl Answered {
    /// What the registry said.
    pub(crate) fn resolved(&self) -> &Resolved {
        &self.answer.resolved
    }
}

/// Asks the registry which digest the reference has now, or shares the answer to an identical
/// request of the same moment.
///
/// # Errors
/// What the registry says.
pub(crate) async fn resolve(daemon: &Daemon, asked: &Asked) -> Result<Answered, Failure> {
    let rights = &asked.rights;
    let (shared, sources, given) = (daemon.clone(), asked.sources.clone(), rights.given.clone());
    let work = move |facts| async move {
        let sources = heard(&sources, &facts);
        shared.counts.tags_asked.add(1);
        let resolved = sources.resolve().await?;
        Ok(Answer { resolved, rights: given.list(), remembered: Arc::default() })
    };
    let flight = daemon.tags.join_within(SHARED, &rights.identity, "a tag", 0, work);
    let flight = flight.heard_by(&asked.session);
    let answer = flight.landed().await?;
    daemon.counts.tags_shared.add((!flight.is_own()).into());
    Ok(Answered { answer, _flight: flight })
}

/// What is remembered of a reference.
pub(crate) enum Known {
    /// This caller may have it.
    Open(Tag),
    /// It was opened by logins that this caller does not have.
    OfOthers,
    Nothing,
}

impl Known {
    /// What this caller may have.
    pub(crate) fn open(self) -> Option<Tag> {
        match self {
            Self::Open(tag) => Some(tag),
            Self::OfOthers | Self::Nothing => None,
        }
    }
}

/// What is remembered of a reference, and whether this caller may have it. That it is there is no
/// secret of the user's jobs from each other: they list the cache.
///
/// # Errors
/// FILE_FAILED.
pub(crate) async fn known(
    daemon: &Daemon,
    asked: &Asked,
    reference: &Reference,
) -> Result<Known, Failure> {
    let (store, names) = (daemon.store.clone(), names(reference));
    let credentials = Arc::clone(&asked.rights.credentials);
    let look = move || {
        // A place is looked up once: a helper may have to be started for it.
        let mut found = BTreeMap::new();
        let mut known = Known::Nothing;
        for name in names {
            if let Some(tag) = store.tag(&name)? {
                if tag.proofs.iter().any(|proof| is_proven(proof, &credentials, &mut found)) {
                    return Ok(Known::Open(tag));
                }
                known = Known::OfOthers;
            }
        }
        Ok(known)
    };
    daemon.blocking("tag", look).await
}

/// Names under which a reference is remembered: its own, and that of its digest alone.
pub(crate) fn names(reference: &Reference) -> Vec<String> {
    let mut names = vec![reference.canonical()];
    names.extend(reference.digest().map(|digest| by_digest(reference, digest)));
    names.dedup();
    names
}

/// The name under which a digest of a repository is remembered.
pub(crate) fn by_digest(reference: &Reference, digest: &Digest) -> String {
    format!("{}@{digest}", reference.repository())
}

/// Remembers which digest a reference had and with whose rights that was learned. Nobody waits.
pub(crate) fn remember(
    daemon: &Daemon,
    reference: &Reference,
    answered: &Answered,
    chosen: &Digest,
) {
    let Answer { resolved, rights, remembered } = &answered.answer;
    if !remembered.lock().unwrap_or_else(PoisonError::into_inner).insert(chosen.clone()) {
        return;
    }
    let mut names = BTreeMap::from([(reference.canonical(), resolved.digest.clone())]);
    let source = resolved.source.clone();
    for digest in [&resolved.digest, chosen] {
        names.insert(by_digest(reference, digest), digest.clone());
    }
    let (store, rights, life) = (daemon.store.clone(), rights.clone(), daemon.life.busy());
    daemon.tasks.detached("tag", move || {
        let _busy = life;
        for (name, digest) in names {
            if let Err(error) = put(&store, &name, &digest, &source, &rights) {
                tracing::debug!(%error, name, "the tag is not remembered");
            }
        }
    });
}

fn put(
    store: &orlop_store::Store,
    name: &str,
    digest: &Digest,
    source: &str,
    rights: &[(String, Credential)],
) -> Result<(), orlop_store::Error> {
    let now = clock::now();
    let old = store.tag(name)?.filter(|old| old.digest == *digest && old.source == source);
    let is_recent = old
        .as_ref()
        .is_some_and(|old| now.duration_since(old.seen).is_ok_and(|age| age < WRITE_AGAIN));
    let mut proofs = old.map(|old| old.proofs).unwrap_or_default();
    let mut missing = Vec::new();
    if rights.is_empty() && !proofs.iter().any(|proof| proof == ANYONE) {
        missing.push(ANYONE.to_owned());
    }
    for (place, credential) in rights {
        if !proofs.iter().any(|proof| is_proof_of(proof, place, credential)) {
            missing.push(proof(place, credential));
        }
    }
    if is_recent && missing.is_empty() {
        return Ok(());
    }
    proofs.extend(missing);
    proofs.drain(..proofs.len().saturating_sub(PROOFS));
    store
        .put_tag(name, Tag { digest: digest.clone(), source: source.to_owned(), seen: now, proofs })
}

/// Whether the credentials that a caller has are those that opened the image. May start helpers;
/// what they said of a place is kept in `found`.
fn is_proven(
    proof: &str,
    credentials: &orlop_credentials::precedence::Sources,
    found: &mut BTreeMap<String, Option<Credential>>,
) -> bool {
    if proof == ANYONE {
        return true;
    }
    let Some(place) = place_of(proof) else { return false };
    let Some((host, path)) = place.split_once('/') else { return false };
    let find = || {
        let known = credentials.find(host, path, &mut Vec::new()).ok().flatten();
        known.map(|known| known.credential)
    };
    let credential = found.entry(place.to_owned()).or_insert_with(find);
    credential.as_ref().is_some_and(|credential| is_proof_of(proof, place, credential))
}

/// A proof: `SALT HASH HOST/PATH`.
fn proof(place: &str, credential: &Credential) -> String {
    let mut salt = [0; 16];
    // Without random numbers two proofs of one credential look alike.
    let _ = rustix::rand::getrandom(&mut salt, rustix::rand::GetRandomFlags::empty());
    let salt: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
    let hash = fingerprint(&salt, place, credential);
    format!("{salt} {hash} {place}")
}

fn is_proof_of(proof: &str, place: &str, credential: &Credential) -> bool {
    let mut parts = proof.splitn(3, ' ');
    let (salt, hash) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    parts.next() == Some(place) && fingerprint(salt, place, credential) == hash
}

fn place_of(proof: &str) -> Option<&str> {
    proof.splitn(3, ' ').nth(2)
}

fn fingerprint(salt: &str, place: &str, credential: &Credential) -> String {
    let (kind, username, secret): (_, &str, _) = match credential {
        Credential::Password { username, secret } => ("password", username, secret),
        Credential::IdentityToken { username, secret } => ("identity", username, secret),
        Credential::RegistryToken(secret) => ("token", "", secret),
    };
    let mut text = Vec::new();
    for part in [salt.as_bytes(), place.as_bytes(), kind.as_bytes(), username.as_bytes()] {
        text.extend_from_slice(part);
        text.push(0);
    }
    text.extend_from_slice(secret.expose());
    let mut digest = Digest::sha256(&text);
    text.fill(0);
    for _ in 0..ROUNDS {
        let mut hash = Hasher::new(Algorithm::Sha256);
        hash.update(digest.hex().as_bytes());
        digest = hash.finish();
    }
    digest.hex().to_owned()
}

/// True where the registry cannot be asked now, rather than says no.
pub(crate) fn is_down(failure: &Failure) -> bool {
    matches!(
        failure.kind(),
        Kind::SourceUnreachable
            | Kind::SourceFailed
            | Kind::TransferBroken
            | Kind::ProxyFailed
            | Kind::RateLimited
    )
}

/// What is said where the cache has to do and does not.
pub(crate) fn not_there(reference: &Reference) -> Failure {
    let name = reference.canonical();
    let message = format!("{name} is not in the cache, and --offline allows no request");
    Failure::of(Kind::ImageNotFound, message)
}

/// What is said where the cache has to do and knows the image from another login.
pub(crate) fn of_others(reference: &Reference) -> Failure {
    let name = reference.canonical();
    let message = format!(
        "{name} was pulled with another login than this command has, and --offline allows no request"
    );
    Failure::of(Kind::CredentialsRefused, message)
}

/// The warning of a pull that goes on with what was last known.
pub(crate) fn stale_words(reference: &Reference, tag: &Tag, why: &Failure) -> String {
    let age = clock::now().duration_since(tag.seen).unwrap_or_default();
    let (name, digest) = (reference.canonical(), &tag.digest);
    format!("{why}: going on with {name} as it was {} ago, {digest}", age_words(age))
}

fn age_words(age: Duration) -> String {
    let (count, unit) = match age.as_secs() {
        seconds @ ..60 => (seconds, "second"),
        seconds @ 60..3_600 => (seconds / 60, "minute"),
        seconds @ 3_600..172_800 => (seconds / 3_600, "hour"),
        seconds => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// Names an identical request: the text of all that decides what a registry answers, hashed.
pub(crate) fn identity<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Hasher::new(Algorithm::Sha256);
    for part in parts {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finish().hex().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(secret: &str) -> Credential {
        Credential::Password { username: "u".to_owned(), secret: secret.into() }
    }

    #[test]
    fn a_proof_fits_its_credential_and_place_alone_and_tells_neither() {
        let made = proof("h/a", &credential("secret"));
        assert!(!made.contains("secret"), "{made}");
        assert!(is_proof_of(&made, "h/a", &credential("secret")));
        assert!(!is_proof_of(&made, "h/b", &credential("secret")));
        assert!(!is_proof_of(&made, "h/a", &credential("another")));
        assert!(!is_proof_of(ANYONE, "h/a", &credential("secret")));
        assert_ne!(made, proof("h/a", &credential("secret")), "each has its own salt");
    }

    #[test]
    fn ages_read_as_people_say_them() {
        let words = |seconds| age_words(Duration::from_secs(seconds));
        assert_eq!(words(1), "1 second");
        assert_eq!(words(185), "3 minutes");
        assert_eq!(words(3 * 3_600), "3 hours");
        assert_eq!(words(5 * 86_400), "5 days");
    }
}
