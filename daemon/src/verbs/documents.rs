//! The documents of an image: from a reference to a manifest and its config.
//!
//! The tag is asked for with the caller's own credentials at each request; documents that are in
//! the cache under the digest that came are not fetched again. Not here: layers.

use std::collections::BTreeSet;

use bytes::Bytes;
use orlop_config::limits::{INDEX_DEPTH, INDEX_MANIFESTS};
use orlop_oci::manifest::By;
use orlop_oci::selection::{Choice, SelectionError};
use orlop_oci::{Descriptor, Digest, Document, Index, Manifest, Platform, Reference, choose};
use orlop_proto::v1::Kind;
use orlop_registry::{Fetched, Resolved, Sources};
use orlop_store::{Entry, Store, Tag};

use super::asking::Asked;
use super::claims::{self, Times, Turn};
use super::lookup::{self, Answered};
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::flights::{FLIGHTS, Facts, heard};

/// A manifest that was chosen and verified.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    /// The top document: the manifest itself, or the index that led to it.
    pub(crate) top: Fetched,
    /// Digest of the manifest.
    pub(crate) digest: Digest,
    /// The manifest.
    pub(crate) manifest: Manifest,
    /// Its bytes.
    pub(crate) bytes: Bytes,
    /// `host/path` that answered.
    pub(crate) source: String,
    /// True when an index led to it.
    pub(crate) by_index: bool,
    /// The platform that the index offers it for.
    pub(crate) offered: Option<Platform>,
    /// What else was read to find it: indexes in the index, and what was looked into for want of
    /// platforms. Without these it is not found again.
    pub(crate) passed: Vec<Digest>,
    /// Sentences for the user.
    pub(crate) warnings: Vec<String>,
}

impl Chosen {
    /// All documents that lead to the image, each once.
    pub(crate) fn documents(&self) -> BTreeSet<Digest> {
        let named = [&self.top.digest, &self.digest, &self.manifest.config.digest];
        named.into_iter().chain(&self.passed).cloned().collect()
    }
}

/// Where documents that are not in the cache come from.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// The sources.
    pub(crate) sources: &'a Sources,
    /// When another node's claim on a document is dead.
    pub(crate) times: Times,
}

/// Finds the manifest of a reference for a platform. What it had to ask for is remembered with the
/// image ([`lookup::remember`]).
///
/// # Errors
/// What the registry says; PLATFORM_MISSING, MANIFEST_INVALID, IMAGE_UNSUPPORTED, LIMIT_EXCEEDED.
pub(crate) async fn choose_manifest(
    daemon: &Daemon,
    asked: &Asked,
    reference: &Reference,
    wanted: &Platform,
) -> Result<(Chosen, Answered), Failure> {
    let answered = lookup::resolve(daemon, asked).await;
    let answered = answered.map_err(|failure| failure.naming(reference))?;
    let (shared, sources, times) = (daemon.clone(), asked.sources.clone(), asked.times());
    let (reference, wanted) = (reference.clone(), wanted.clone());
    let choose = async move {
        let (by, resolved) = (by_of(&reference), answered.resolved());
        let top = top_document(&shared, &sources, resolved, Some(&by)).await;
        let top = top.map_err(|failure| failure.naming(&reference))?;
        let (origin, source) = (Origin { sources: &sources, times }, resolved.source.clone());
        let chosen = choose_below(&shared, Some(origin), &reference, &wanted, top, source).await?;
        Ok((chosen, answered))
    };
    daemon.at_once(choose).await
}

fn by_of(reference: &Reference) -> By {
    if reference.digest().is_some() { By::Digest } else { By::Tag }
}

/// The same without a request: from the digest of a top document that is in the cache, `None` when
/// one that is needed is not.
///
/// # Errors
/// PLATFORM_MISSING, MANIFEST_INVALID, IMAGE_UNSUPPORTED.
pub(crate) async fn choose_kept(
    daemon: &Daemon,
    tag: &Tag,
    reference: &Reference,
    wanted: &Platform,
) -> Result<Option<Chosen>, Failure> {
    let (digest, source) = (&tag.digest, tag.source.clone());
    let Some(bytes) = kept(daemon, digest).await? else { return Ok(None) };
    let top = Fetched { bytes, digest: digest.clone(), content_type: None };
    match choose_below(daemon, None, reference, wanted, top, source).await {
        Err(failure) if failure.kind() == Kind::ImageNotFound => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// From a top document down to the manifest. Without sources only the cache is looked at.
async fn choose_below(
    daemon: &Daemon,
    from: Option<Origin<'_>>,
    reference: &Reference,
    wanted: &Platform,
    top: Fetched,
    source: String,
) -> Result<Chosen, Failure> {
    // What is kept was looked at when it came, with the type that came with it.
    let by = if from.is_some() { by_of(reference) } else { By::Digest };
    let parsed = Document::parse(&top.bytes, top.content_type.as_deref(), by);
    let (mut document, mut warnings) = parsed.map_err(|e| Failure::from(e).naming(reference))?;
    let (mut digest, mut bytes) = (top.digest.clone(), top.bytes.clone());
    let deepest = from.map_or(INDEX_DEPTH as u64, |from| from.sources.limits().index_depth);
    let (mut entry, mut depth) = (None::<Descriptor>, 0);
    let mut search = Search::default();
    loop {
        let index = match document {
            Document::Manifest(manifest) => {
                let by_index = entry.is_some();
                let offered = entry.and_then(|entry| entry.platform);
                let passed = search.read;
                return Ok(Chosen {
                    top,
                    digest,
                    manifest,
                    bytes,
                    source,
                    by_index,
                    offered,
                    passed,
                    warnings,
                });
            }
            Document::Index(_) if depth == deepest => {
                return Err(over_limit(&top.digest, "index-depth", deepest));
            }
            Document::Index(index) => index,
        };
        let (next, level) = search.choose(daemon, from, &index, wanted, depth).await?;
        bytes = document_of(daemon, from, &next).await?;
        digest = next.digest.clone();
        search.read.push(digest.clone());
        let by = By::Descriptor(next.media_type.clone());
        let (inner, more) = Document::parse(&bytes, None, by)?;
        document = inner;
        warnings.extend(more);
        (entry, depth) = (Some(next), level);
    }
}

/// One of Orlop's limits, reached by a document.
pub(crate) fn over_limit(document: &Digest, key: &str, limit: u64) -> Failure {
    Failure::of(Kind::LimitExceeded, format!("{document} reached the limit {key} = {limit}"))
}

/// Finds the top document of a reference, whatever it is, and who named it.
///
/// # Errors
/// What the registry says.
pub(crate) async fn find_top(
    daemon: &Daemon,
    asked: &Asked,
) -> Result<(Fetched, String, Answered), Failure> {
    let answered = lookup::resolve(daemon, asked).await?;
    let resolved = answered.resolved();
    let top = top_document(daemon, &asked.sources, resolved, None).await?;
    Ok((top, resolved.source.clone(), answered))
}

/// The document that a reference names. What is not valid is not kept, where it is said how it
/// was asked for.
async fn top_document(
    daemon: &Daemon,
    sources: &Sources,
    resolved: &Resolved,
    by: Option<&By>,
) -> Result<Fetched, Failure> {
    if let Some(document) = &resolved.document {
        check(document, by)?;
        keep(daemon, &document.digest, &document.bytes).await?;
        return Ok(document.clone());
    }
    let fetch = |sources: Sources| {
        let (wanted, by) = (resolved.clone(), by.cloned());
        async move {
            let fetched = sources.fetch_top(&wanted).await?;
            check(&fetched, by.as_ref())?;
            Ok(fetched)
        }
    };
    // By tag a document is looked at more closely than by digest.
    let how = match by {
        Some(By::Tag) => " by tag",
        Some(_) => "",
        None => " as it is",
    };
    let mut fetched = document(daemon, sources, &resolved.digest, how, fetch, None).await?;
    // One from the cache has lost its header: what HEAD said counts.
    if fetched.content_type.is_none() {
        fetched.content_type = resolved.media_type.as_ref().map(ToString::to_string);
    }
    Ok(fetched)
}

fn check(document: &Fetched, by: Option<&By>) -> Result<(), Failure> {
    if let Some(by) = by {
        Document::parse(&document.bytes, document.content_type.as_deref(), by.clone())?;
    }
    Ok(())
}

/// A document from the cache, or from a source: once for all who want it at the same time. Whoever
/// comes here has asked for the image's top document with credentials of its own; what fails by
/// the credentials or the proxy of the one who fetches is fetched anew by the others. A blob is
/// claimed for these times, so that other nodes do not fetch it too.
///
/// `fetch` checks what it returns: that is kept. `how` tells flights of one digest apart.
async fn document<F>(
    daemon: &Daemon,
    sources: &Sources,
    digest: &Digest,
    how: &str,
    fetch: impl Fn(Sources) -> F,
    blob: Option<Times>,
) -> Result<Fetched, Failure>
where
    F: Future<Output = Result<Fetched, Failure>> + Send + 'static,
{
    if let Some(bytes) = kept(daemon, digest).await? {
        return Ok(Fetched { bytes, digest: digest.clone(), content_type: None });
    }
    let (key, name) = (format!("{digest}{how}"), digest.to_string());
    let mut tries = 1;
    loop {
        let (shared, wanted) = (daemon.clone(), digest.clone());
        let work = |facts| {
            let fetch = fetch(heard(sources, &facts));
            async move {
                // It may have landed between the look and the start.
                if let Some(bytes) = kept(&shared, &wanted).await? {
                    return Ok(Fetched { bytes, digest: wanted, content_type: None });
                }
                let mut _held = None;
                if let Some(times) = blob {
                    match claim(&shared, &wanted, times, &facts).await? {
                        Turn::Made(bytes) => {
                            let bytes = bytes.into();
                            return Ok(Fetched { bytes, digest: wanted, content_type: None });
                        }
                        Turn::Ours(held) => _held = Some(held),
                    }
                }
                let fetched = fetch.await?;
                keep(&shared, &fetched.digest, &fetched.bytes).await?;
                Ok(fetched)
            }
        };
        let flight = daemon.documents.join(&key, name.clone(), 0, work);
        let flight = flight.heard_by(sources.session());
        match flight.landed().await {
            Err(failure) if !flight.is_own() && failure.is_of_caller() && tries < FLIGHTS => {
                tries += 1;
            }
            landed => return landed,
        }
    }
}

async fn claim(
    daemon: &Daemon,
    digest: &Digest,
    times: Times,
    facts: &Facts,
) -> Result<Turn<Vec<u8>>, Failure> {
    let (entry, wanted) = (Entry::Blob(digest.clone()), digest.clone());
    let found = move |store: &Store| store.document(&wanted);
    claims::turn(daemon, &entry, times, facts, found).await
}

/// The way down through indexes: what was passed over because it names no platform, and is looked
/// into, in file order, where nothing that names one fits.
#[derive(Default)]
struct Search {
    /// With the number of indexes above each; the next one last.
    waiting: Vec<(Descriptor, u64)>,
    offered: Vec<Platform>,
    /// Documents of all levels that were fetched to look into.
    looks: u64,
    /// All that was read.
    read: Vec<Digest>,
}

impl Search {
    /// The entry to go on with, of this index or of one above it, and its level.
    async fn choose(
        &mut self,
        daemon: &Daemon,
        from: Option<Origin<'_>>,
        index: &Index,
        wanted: &Platform,
        depth: u64,
    ) -> Result<(Descriptor, u64), Failure> {
        let level = depth.saturating_add(1);
        match choose(index, wanted) {
            Ok(Choice::Entry(entry)) => return Ok((entry.clone(), level)),
            Ok(Choice::LookInside(entries)) => {
                self.waiting.extend(entries.into_iter().rev().map(|entry| (entry.clone(), level)));
            }
            Err(none) => self.note(none.offered),
        }
        while let Some((entry, level)) = self.waiting.pop() {
            let most =
                from.map_or(INDEX_MANIFESTS as u64, |from| from.sources.limits().index_manifests);
            if self.looks >= most {
                return Err(over_limit(&entry.digest, "index-manifests", most));
            }
            self.looks += 1;
            if entry.media_type.is_index() {
                return Ok((entry, level));
            }
            self.read.push(entry.digest.clone());
            match platform_inside(daemon, from, &entry, &mut self.read).await? {
                Some(found) if orlop_oci::selection::rank(wanted, &found).is_some() => {
                    return Ok((entry, level));
                }
                found => self.note(found),
            }
        }
        let offered = std::mem::take(&mut self.offered);
        Err(SelectionError { wanted: wanted.clone(), offered }.into())
    }

    /// Notes what does not fit, each once.
    fn note(&mut self, offered: impl IntoIterator<Item = Platform>) {
        for platform in offered {
            if !self.offered.contains(&platform) {
                self.offered.push(platform);
            }
        }
    }
}

/// The platform in the config of a manifest, `None` where there is none. Notes what it `read`.
async fn platform_inside(
    daemon: &Daemon,
    from: Option<Origin<'_>>,
    entry: &Descriptor,
    read: &mut Vec<Digest>,
) -> Result<Option<Platform>, Failure> {
    let bytes = document_of(daemon, from, entry).await?;
    let by = By::Descriptor(entry.media_type.clone());
    let (Document::Manifest(manifest), _) = Document::parse(&bytes, None, by)? else {
        return Ok(None);
    };
    if !manifest.config.media_type.is_image_config() {
        return Ok(None);
    }
    read.push(manifest.config.digest.clone());
    Ok(config_of(daemon, from, &manifest).await?.platform())
}

/// A manifest or index by its descriptor, from the cache or a source.
async fn document_of(
    daemon: &Daemon,
    from: Option<Origin<'_>>,
    descriptor: &Descriptor,
) -> Result<Bytes, Failure> {
    let Some(Origin { sources, .. }) = from else {
        return only_kept(daemon, &descriptor.digest).await;
    };
    let fetch = |sources: Sources| {
        let wanted = descriptor.clone();
        async move {
            let bytes = sources.fetch_manifest(&wanted).await?;
            Document::parse(&bytes, None, By::Descriptor(wanted.media_type))?;
            Ok(Fetched { bytes, digest: wanted.digest, content_type: None })
        }
    };
    Ok(document(daemon, sources, &descriptor.digest, "", fetch, None).await?.bytes)
}

/// A document that has to be in the cache.
async fn only_kept(daemon: &Daemon, digest: &Digest) -> Result<Bytes, Failure> {
    let found = kept(daemon, digest).await?;
    found.ok_or_else(|| Failure::of(Kind::ImageNotFound, format!("{digest} is not in the cache")))
}

/// The bytes of an image's config, from the cache or a source.
///
/// # Errors
/// What the registry or the disk says.
pub(crate) async fn config_bytes(
    daemon: &Daemon,
    from: Option<Origin<'_>>,
    manifest: &Manifest,
) -> Result<Bytes, Failure> {
    let Some(Origin { sources, times }) = from else {
        return only_kept(daemon, &manifest.config.digest).await;
    };
    let fetch = |sources: Sources| {
        let wanted = manifest.config.clone();
        async move {
            let bytes = sources.fetch_config(&wanted).await?;
            if wanted.media_type.is_image_config() {
                orlop_oci::ImageConfig::parse(&bytes)?;
            }
            Ok(Fetched { bytes, digest: wanted.digest, content_type: None })
        }
    };
    let digest = &manifest.config.digest;
    Ok(document(daemon, sources, digest, "", fetch, Some(times)).await?.bytes)
}

/// The config of an image.
///
/// # Errors
/// As [`config_bytes`]; MANIFEST_INVALID.
pub(crate) async fn config_of(
    daemon: &Daemon,
    from: Option<Origin<'_>>,
    manifest: &Manifest,
) -> Result<orlop_oci::ImageConfig, Failure> {
    let bytes = config_bytes(daemon, from, manifest).await?;
    Ok(orlop_oci::ImageConfig::parse(&bytes)?)
}

async fn kept(daemon: &Daemon, digest: &Digest) -> Result<Option<Bytes>, Failure> {
    let (store, digest) = (daemon.store.clone(), digest.clone());
    let found = daemon.blocking("document", move || Ok(store.document(&digest)?)).await?;
    Ok(found.map(Bytes::from))
}

async fn keep(daemon: &Daemon, digest: &Digest, bytes: &Bytes) -> Result<(), Failure> {
    let (store, digest, bytes) = (daemon.store.clone(), digest.clone(), bytes.clone());
    daemon.blocking("document", move || Ok(store.put_document(&digest, &bytes)?)).await
}
