//! A pull as a whole: resolve, fly, convert, merge, recipe.
//!
//! Every caller asks for the manifest with its own credentials; only then it joins the flights of
//! layers that others may have started. Not here: words for the user, the output file (the
//! client's).

use std::time::Duration;

use orlop_config::settings::Settings;
use orlop_oci::{Descriptor, Digest, Reference};
use orlop_proto::v1::{self, Kind, pull_done, pull_event};
use orlop_registry::{Limits, Sources};
use orlop_store::{Entry, Leased, Store, Tag};
use tokio::sync::mpsc;

use super::asking::{Asked, Mirrors, ask, passing_on};
use super::blob;
use super::checks;
use super::claims;
use super::documents::{self, Chosen};
use super::image::{self, Image, Named, Origin, Target};
use super::landing::land;
use super::lookup::{self, Known};
use super::needs::{self, Needs};
use crate::caller::{Caller, Told};
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::flights::heard;

/// How often an image is looked for of which another node removes something meanwhile.
const TRIES: u32 = 4;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// What to pull.
    pub(crate) reference: Reference,
    /// A SIF artifact rather than an image of layers.
    pub(crate) is_oras: bool,
    /// For which platform.
    pub(crate) target: Target,
    /// How to reach the registry and as whom.
    pub(crate) access: v1::Access,
    /// No registry is asked.
    pub(crate) offline: bool,
}

/// Where the facts of a pull go. A caller that has left ends its pull.
pub(crate) type Events = mpsc::Sender<pull_event::Event>;

/// An image that is in the cache.
#[derive(Debug)]
pub(crate) struct Pulled {
    /// What the caller is told.
    pub(crate) done: v1::PullDone,
    /// Keeps collectors off until the caller has opened the files itself.
    pub(crate) leases: Vec<Leased>,
    /// What the caller will use.
    pub(crate) entries: Vec<Entry>,
    /// Segments of layers of which the image shows nothing: its recipe under another name, such as
    /// that by digest, is made of them too.
    pub(crate) unseen: Vec<Entry>,
}

/// Brings an image into the cache.
///
/// # Errors
/// Everything that can be wrong with registries, images and disks.
pub(crate) async fn pull(
    daemon: &Daemon,
    caller: &Caller,
    wanted: Wanted,
    events: &Events,
) -> Result<Pulled, Failure> {
    daemon.usable()?;
    let access = wanted.access.clone();
    let mirrors = Mirrors::of(wanted.is_oras);
    let mut asked = ask(daemon, caller, &wanted.reference, access, mirrors).await?;
    // Its work borrows the rest.
    let (_, mut notices) = mpsc::unbounded_channel();
    std::mem::swap(&mut notices, &mut asked.notices);
    let (moved, _) = daemon.store.moved_aside();
    let work = Box::pin(find(daemon, &wanted, &asked, events));
    let mut details = Vec::new();
    let event = |Told { text, is_detail, explains }: Told| {
        // It matters only if all fails.
        if explains {
            details.push(text.clone());
        }
        pull_event::Event::Warning(v1::Warning { text, is_detail })
    };
    let outcome = passing_on(&mut notices, events, event, work).await;
    outcome.map_err(|failure| about_damage(daemon, moved, &wanted, failure).after(details))
}

/// Where something damaged was moved aside since then and nobody gives it again: that is what the
/// user has to know.
fn about_damage(daemon: &Daemon, moved: u64, wanted: &Wanted, failure: Failure) -> Failure {
    let (now, last) = daemon.store.moved_aside();
    let is_missing = wanted.offline && failure.kind() == Kind::ImageNotFound;
    match last {
        Some(aside) if now > moved && (is_missing || lookup::is_down(&failure)) => {
            let message = format!("{} was moved to {}", aside.name, aside.path.display());
            Failure::of(Kind::CacheDamaged, message)
                .because(failure.to_string())
                .with_hint("the same command fetches it again when the registry answers")
        }
        _ => failure,
    }
}

/// Finds the image, again where another node removes what was found.
async fn find(
    daemon: &Daemon,
    wanted: &Wanted,
    asked: &Asked,
    events: &Events,
) -> Result<Pulled, Failure> {
    let mut tries = 1;
    loop {
        match Box::pin(find_once(daemon, wanted, asked, events)).await {
            Err(failure) if failure.kind() == Kind::CacheDamaged && tries < TRIES => {
                tracing::info!(%failure, "the image is looked for again");
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

/// From the cache alone where the request says so or a digest allows it, else with a registry;
/// where none can be asked, as the image was last.
async fn find_once(
    daemon: &Daemon,
    wanted: &Wanted,
    asked: &Asked,
    events: &Events,
) -> Result<Pulled, Failure> {
    let reference = &wanted.reference;
    asked.sources.check_open()?;
    if wanted.offline || reference.digest().is_some() {
        let known = lookup::known(daemon, asked, reference).await?;
        let is_of_others = matches!(known, Known::OfOthers);
        if let Some(tag) = known.open()
            && let Some(pulled) = from_cache(daemon, &asked.settings, wanted, &tag, events).await?
        {
            return Ok(pulled);
        }
        if wanted.offline {
            let why = if is_of_others { lookup::of_others } else { lookup::not_there };
            return Err(why(reference));
        }
    }
    let answer = documents::choose_manifest(daemon, asked, reference, &wanted.target.platform);
    tokio::pin!(answer);
    let patience = asked.settings.limits.fallback_time;
    let answer = match tokio::time::timeout(patience, &mut answer).await {
        Ok(answer) => answer,
        Err(_) => {
            let silent = silence(patience);
            if let Some(pulled) = as_last(daemon, wanted, asked, &silent, events).await? {
                return Ok(pulled);
            }
            answer.await
        }
    };
    let (chosen, answered) = match answer {
        Ok(answer) => answer,
        Err(failure) if lookup::is_down(&failure) => {
            let pulled = as_last(daemon, wanted, asked, &failure, events).await?;
            return pulled.ok_or(failure);
        }
        Err(failure) => return Err(failure),
    };
    let manifest = chosen.digest.clone();
    let (shared, settings, sources) =
        (daemon.clone(), asked.settings.clone(), asked.sources.clone());
    let (its, sent) = (wanted.clone(), events.clone());
    // On one thread where all of it is there.
    let work = async move { bring(&shared, &settings, &its, Some(&sources), chosen, &sent).await };
    let pulled = daemon.at_once(work).await?;
    lookup::remember(daemon, reference, &answered, &manifest);
    Ok(pulled)
}

/// Of a registry that says neither yes nor no.
fn silence(time: Duration) -> Failure {
    let message = format!("the registry has not answered for {} s", time.as_secs());
    Failure::of(Kind::SourceUnreachable, message)
}

/// What a tag was when the registry last answered, with a warning; if this caller may have it and
/// it is all there.
async fn as_last(
    daemon: &Daemon,
    wanted: &Wanted,
    asked: &Asked,
    why: &Failure,
    events: &Events,
) -> Result<Option<Pulled>, Failure> {
    let reference = &wanted.reference;
    if reference.digest().is_some() {
        return Ok(None);
    }
    let known = lookup::known(daemon, asked, reference).await?;
    let Some(tag) = known.open() else { return Ok(None) };
    let pulled = from_cache(daemon, &asked.settings, wanted, &tag, events).await?;
    if pulled.is_some() {
        daemon.counts.fallbacks.add(1);
        warn(events, lookup::stale_words(reference, &tag, why)).await;
    }
    Ok(pulled)
}

/// The image as it was remembered, if all of it is in the cache.
async fn from_cache(
    daemon: &Daemon,
    settings: &Settings,
    wanted: &Wanted,
    tag: &Tag,
    events: &Events,
) -> Result<Option<Pulled>, Failure> {
    let (reference, platform) = (&wanted.reference, &wanted.target.platform);
    let chosen = documents::choose_kept(daemon, tag, reference, platform).await?;
    let Some(chosen) = chosen else { return Ok(None) };
    match bring(daemon, settings, wanted, None, chosen, events).await {
        Err(failure) if failure.kind() == Kind::ImageNotFound => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// Brings what a manifest names into the cache; without sources it has to be there.
async fn bring(
    daemon: &Daemon,
    settings: &Settings,
    wanted: &Wanted,
    sources: Option<&Sources>,
    chosen: Chosen,
    events: &Events,
) -> Result<Pulled, Failure> {
    for warning in &chosen.warnings {
        warn(events, warning.clone()).await;
    }
    let found_by = found_by(daemon, &wanted.reference, &chosen);
    let mut pulled = make(daemon, settings, wanted, sources, chosen, events).await?;
    let data = |entry| daemon.store.path(entry).join("data").to_string_lossy().into_owned();
    pulled.done.found_by = found_by;
    pulled.done.found_by.extend(pulled.unseen.iter().map(data));
    Ok(pulled)
}

/// Where the documents and tags are that lead to an image.
fn found_by(daemon: &Daemon, reference: &Reference, chosen: &Chosen) -> Vec<String> {
    let documents = chosen.documents().into_iter().map(Entry::Blob);
    let mut names = lookup::names(reference);
    for digest in [&chosen.top.digest, &chosen.digest] {
        names.push(lookup::by_digest(reference, digest));
    }
    names.sort();
    names.dedup();
    let entries = documents.chain(Store::tag_entries(&names));
    entries.map(|entry| daemon.store.path(&entry).to_string_lossy().into_owned()).collect()
}

async fn make(
    daemon: &Daemon,
    settings: &Settings,
    wanted: &Wanted,
    sources: Option<&Sources>,
    chosen: Chosen,
    events: &Events,
) -> Result<Pulled, Failure> {
    let times = claims::Times::of(settings);
    if wanted.is_oras {
        let output = wanted.target.output;
        return pull_sif(daemon, sources, &chosen, times, output, events).await;
    }
    image::check_image(&chosen, &Limits::from(&settings.limits))?;
    let origin = sources.map(|sources| documents::Origin { sources, times });
    let config = documents::config_of(daemon, origin, &chosen.manifest).await?;
    chosen.manifest.check_diff_ids(config.diff_ids.len())?;
    for warning in image::disagreement(&chosen, &config).iter().chain(&config.warnings) {
        warn(events, warning.clone()).await;
    }
    let named = Named { scheme: "docker", name: name_of(&wanted.reference) };
    let image = Image::new(settings, named, chosen, config, &wanted.target)?;
    image::pull_image(daemon, &Origin::Registry(sources.cloned()), image, events).await
}

/// The entries of an image that is in the cache: itself and all that it is made of.
///
/// # Errors
/// As [`pull`]; `None` when it is not all there.
pub(crate) async fn entries(
    daemon: &Daemon,
    caller: &Caller,
    wanted: &Wanted,
    tag: &Tag,
) -> Result<Option<Vec<Entry>>, Failure> {
    let asking = caller.clone();
    let settings = daemon.blocking("settings", move || asking.settings()).await?;
    let (events, mut told) = mpsc::channel(1);
    let found = from_cache(daemon, &settings, wanted, tag, &events);
    let deaf = async { while told.recv().await.is_some() {} };
    let found = tokio::select! {
        found = found => found?,
        () = deaf => None,
    };
    let Some(pulled) = found else { return Ok(None) };
    let chosen =
        documents::choose_kept(daemon, tag, &wanted.reference, &wanted.target.platform).await?;
    let Some(chosen) = chosen else { return Ok(None) };
    let mut entries: Vec<Entry> = chosen.documents().into_iter().map(Entry::Blob).collect();
    entries.extend(pulled.entries.into_iter().chain(pulled.unseen));
    Ok(Some(entries))
}

/// What the SIF says it was made of: the reference as named, without a digest.
fn name_of(reference: &Reference) -> String {
    match reference.tag() {
        Some(tag) => format!("{}:{tag}", reference.repository()),
        None if reference.digest().is_some() => reference.repository(),
        None => format!("{}:latest", reference.repository()),
    }
}

pub(super) async fn warn(events: &Events, text: String) {
    tell(events, pull_event::Event::Warning(v1::Warning { text, is_detail: false })).await;
}

/// A caller that does not listen any more is noticed where its pull is dropped.
pub(super) async fn tell(events: &Events, event: pull_event::Event) {
    drop(events.send(event).await);
}

pub(super) fn absent(digest: &Digest) -> Failure {
    Failure::of(Kind::ImageNotFound, format!("{digest} is not whole in the cache"))
}

pub(super) async fn resolved<'a>(
    events: &Events,
    chosen: &Chosen,
    cached: bool,
    layers: impl Iterator<Item = (&'a Descriptor, bool)>,
) {
    let layers = layers.map(|(layer, cached)| v1::PullLayer {
        digest: layer.digest.to_string(),
        size: layer.size,
        cached,
    });
    let event = v1::PullResolved {
        digest: chosen.digest.to_string(),
        source: chosen.source.clone(),
        cached,
        layers: layers.collect(),
    };
    tell(events, pull_event::Event::Resolved(event)).await;
}

async fn pull_sif(
    daemon: &Daemon,
    sources: Option<&Sources>,
    chosen: &Chosen,
    times: claims::Times,
    output: u64,
    events: &Events,
) -> Result<Pulled, Failure> {
    let layer = chosen.manifest.sif_layer()?.clone();
    let entry = Entry::Blob(layer.digest.clone());
    let (store, wanted) = (daemon.store.clone(), layer.clone());
    let look = move || Ok(store.blob(&wanted.digest, wanted.size)?);
    let mut found = daemon.blocking("blob", look).await?;
    if found.is_some() && !checks::before_use(daemon, vec![entry.clone()]).await? {
        found = None;
    }
    let cached = found.is_some();
    resolved(events, chosen, cached, std::iter::once((&layer, cached))).await;
    if found.is_none() {
        let sources = sources.ok_or_else(|| absent(&layer.digest))?;
        fetch_sif(daemon, sources, &layer, times, output, events).await?;
        let (store, wanted) = (daemon.store.clone(), layer.clone());
        let look = move || Ok(store.blob(&wanted.digest, wanted.size)?);
        found = daemon.blocking("blob", look).await?;
    }
    daemon.whereabouts.note(&chosen.source, &layer.digest);
    let path = daemon.store.path(&entry);
    let done = v1::PullDone {
        lease: String::new(),
        found_by: Vec::new(),
        digest: chosen.digest.to_string(),
        source: chosen.source.clone(),
        cached,
        image: Some(pull_done::Image::Sif(v1::SifImage {
            digest: layer.digest.to_string(),
            path: path.to_string_lossy().into_owned(),
            size: layer.size,
        })),
    };
    Ok(Pulled {
        done,
        leases: found.into_iter().collect(),
        entries: vec![entry],
        unseen: Vec::new(),
    })
}

/// Fetches a SIF blob, in a flight that others may join.
async fn fetch_sif(
    daemon: &Daemon,
    sources: &Sources,
    layer: &Descriptor,
    times: claims::Times,
    output: u64,
    events: &Events,
) -> Result<(), Failure> {
    let wanted = layer.clone();
    let count =
        move |store: &Store| Ok(Needs::of_blob(store, &wanted, store.is_room_taken_on(output)));
    let (store, needs) = (daemon.store.clone(), count.clone());
    daemon.blocking("needs", move || needs(&store)).await?.make_room(daemon).await?;
    let digest = layer.digest.to_string();
    let join = || {
        let (shared, sources, wanted) = (daemon.clone(), sources.clone(), layer.clone());
        let session = sources.session().clone();
        let flight = daemon.blobs.join(&digest, digest.clone(), layer.size, move |facts| {
            blob::blob(shared, heard(&sources, &facts), wanted, times, facts)
        });
        vec![flight.heard_by(&session)]
    };
    let mut outcome = land(&join, events).await;
    let itself = vec![Entry::Blob(layer.digest.clone())];
    if let Err(failure) = &outcome
        && needs::is_room_made_of(daemon, failure, itself, count.clone()).await
    {
        outcome = land(&join, events).await;
    }
    match outcome {
        Ok(_) => Ok(()),
        Err(failure) => Err(needs::told(daemon, failure, count).await),
    }
}
