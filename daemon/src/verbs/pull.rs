//! A pull as a whole: resolve, fly, convert, merge, recipe.
//!
//! Every caller asks for the manifest with its own credentials; only then it joins the flights of
//! layers that others may have started. Not here: words for the user, the output file (the
//! client's).

use std::sync::Arc;
use std::time::Duration;

use orlop_config::settings::{Compression, Settings};
use orlop_image::{ImageInputs, Method, Options, Recipe, SegmentIndex, build_recipe, segment_key};
use orlop_image::{SegmentKey, recipe_key};
use orlop_oci::{Descriptor, Digest, ImageConfig, Platform, Reference};
use orlop_proto::v1::{self, Kind, pull_done, pull_event};
use orlop_registry::{Elsewhere, Limits, Session, Source, Sources};
use orlop_store::{Entry, Key, Leased, Tag};
use tokio::sync::mpsc;

use super::checks;
use super::claims;
use super::convert::{self, Converted, Layer};
use super::documents::{self, Chosen};
use super::local;
use super::lookup::{self, Given};
use crate::caller::{Asking, Caller, Told};
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::flights::{FLIGHTS, Joined};

/// How often callers are told of bytes.
const TELL: Duration = Duration::from_millis(100);

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// What to pull.
    pub(crate) reference: Reference,
    /// A SIF artifact rather than an image of layers.
    pub(crate) is_oras: bool,
    /// Platform wanted.
    pub(crate) platform: Platform,
    /// The user named it.
    pub(crate) platform_explicit: bool,
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
}

/// Everything that asking the registries of a reference needs.
pub(crate) struct Asked {
    /// The sources, mirrors first.
    pub(crate) sources: Sources,
    /// When other nodes' claims are dead, by the caller's settings.
    pub(crate) times: claims::Times,
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
        documents::Origin { sources: &self.sources, times: self.times }
    }

    /// The notices so far, for an answer that carries them.
    pub(crate) fn notices(&mut self) -> Vec<String> {
        let told = std::iter::from_fn(|| self.notices.try_recv().ok());
        told.filter(|told| !told.is_detail).map(|told| told.text).collect()
    }
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
    mirrors: bool,
) -> Result<Asked, Failure> {
    let (sender, notices) = mpsc::unbounded_channel();
    let (shared, asking, named) = (daemon.clone(), caller.clone(), reference.clone());
    let (no_https, insecure) = (access.no_https, access.insecure);
    let (credentials, list, settings, is_insecure, is_blocked, warnings, identity) = daemon
        .blocking("settings", move || {
            let mut parts = asking.identity(&access);
            let settings = asking.settings()?;
            let (rules, mut warnings) = shared.rules.of(asking.paths())?;
            let list = rules.registries.sources(&named)?;
            let is_blocked = rules.registries.blocks(&named);
            let listed = is_listed_insecure(&asking, &named);
            let mut credentials = asking.credentials(named.host(), access, &mut warnings)?;
            credentials.helpers =
                rules.registries.credential_helpers().into_iter().map(str::to_owned).collect();
            let sources = list.into_iter().filter(|source| mirrors || !source.is_mirror);
            let sources = sources
                .map(|source| {
                    let is_named = source.reference.host() == named.host();
                    Source {
                        insecure: source.insecure || (is_named && (insecure || listed)),
                        no_https: is_named && no_https,
                        blocked: source.blocked,
                        reference: source.reference,
                        namespace: source.namespace,
                    }
                })
                .collect::<Vec<_>>();
            let is_insecure = sources
                .iter()
                .any(|source| source.insecure && source.reference.host() == named.host());
            parts.push(format!("{named} {sources:?} {:?}", credentials.helpers).into_bytes());
            let identity = lookup::identity(parts.iter().map(Vec::as_slice));
            let is_insecure = is_insecure || insecure || listed;
            Ok((credentials, sources, settings, is_insecure, is_blocked, warnings, identity))
        })
        .await?;
    for warning in warnings {
        drop(sender.send(warning.into()));
    }
    let (credentials, given) = (Arc::new(credentials), Arc::<Given>::default());
    let rights =
        Rights { credentials: Arc::clone(&credentials), given: Arc::clone(&given), identity };
    let asking = Asking { credentials, tasks: daemon.tasks.clone(), given, notices: sender };
    let limits = Limits::from(&settings.limits);
    let session = Session::with_limits(
        &daemon.pool,
        caller.surroundings(&settings),
        limits,
        Arc::new(asking),
    );
    let elsewhere = if settings.foreign_layers { Elsewhere::Allowed } else { Elsewhere::default() };
    let sources = session.sources(list).with_elsewhere(elsewhere);
    let times = claims::Times::of(&settings);
    Ok(Asked { sources, times, session, is_insecure, is_blocked, rights, notices })
}

/// Whether the caller's settings let mirrors serve `oras://`.
async fn serve_oras(daemon: &Daemon, caller: &Caller) -> Result<bool, Failure> {
    let asking = caller.clone();
    let settings = daemon.blocking("settings", move || asking.settings()).await?;
    Ok(settings.oras_mirrors)
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
    let mirrors = !wanted.is_oras || serve_oras(daemon, caller).await?;
    let mut asked = ask(daemon, caller, &wanted.reference, access, mirrors).await?;
    // Its work borrows the rest.
    let (_, mut notices) = mpsc::unbounded_channel();
    std::mem::swap(&mut notices, &mut asked.notices);
    let work = find(daemon, caller, &wanted, &asked, events);
    tokio::pin!(work);
    let mut details = Vec::new();
    let outcome = loop {
        tokio::select! {
            biased;
            Some(told) = notices.recv() => pass_on(told, events, &mut details).await,
            outcome = &mut work => break outcome,
        }
    };
    while let Ok(told) = notices.try_recv() {
        pass_on(told, events, &mut details).await;
    }
    outcome.map_err(|failure| failure.after(details))
}

/// Tells a sentence of the session's, and keeps it where it matters only if all fails.
async fn pass_on(told: Told, events: &Events, details: &mut Vec<String>) {
    let Told { text, is_detail, explains } = told;
    if explains {
        details.push(text.clone());
    }
    tell(events, pull_event::Event::Warning(v1::Warning { text, is_detail })).await;
}

/// From the cache alone where the request says so or a digest allows it, else with a registry;
/// where none can be asked, as the image was last.
async fn find(
    daemon: &Daemon,
    caller: &Caller,
    wanted: &Wanted,
    asked: &Asked,
    events: &Events,
) -> Result<Pulled, Failure> {
    let reference = &wanted.reference;
    asked.sources.check_open()?;
    if wanted.offline || reference.digest().is_some() {
        if let Some(tag) = lookup::known(daemon, asked, reference).await?
            && let Some(pulled) = from_cache(daemon, caller, wanted, &tag, events).await?
        {
            return Ok(pulled);
        }
        if wanted.offline {
            return Err(lookup::not_there(reference));
        }
    }
    let answer = documents::choose_manifest(daemon, asked, reference, &wanted.platform).await;
    let (chosen, answered) = match answer {
        Ok(answer) => answer,
        Err(failure) if lookup::is_down(&failure) && reference.digest().is_none() => {
            let Some(tag) = lookup::known(daemon, asked, reference).await? else {
                return Err(failure);
            };
            let pulled = from_cache(daemon, caller, wanted, &tag, events).await?;
            let pulled = pulled.ok_or_else(|| failure.clone())?;
            daemon.counts.fallbacks.add(1);
            warn(events, lookup::stale_words(reference, &tag, &failure)).await;
            return Ok(pulled);
        }
        Err(failure) => return Err(failure),
    };
    let manifest = chosen.digest.clone();
    let pulled = bring(daemon, caller, wanted, Some(&asked.sources), chosen, events).await?;
    lookup::remember(daemon, reference, &answered, &manifest);
    Ok(pulled)
}

/// The image as it was remembered, if all of it is in the cache.
async fn from_cache(
    daemon: &Daemon,
    caller: &Caller,
    wanted: &Wanted,
    tag: &Tag,
    events: &Events,
) -> Result<Option<Pulled>, Failure> {
    let (reference, platform) = (&wanted.reference, &wanted.platform);
    let chosen = documents::choose_kept(daemon, tag, reference, platform).await?;
    let Some(chosen) = chosen else { return Ok(None) };
    match bring(daemon, caller, wanted, None, chosen, events).await {
        Err(failure) if failure.kind() == Kind::ImageNotFound => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// Brings what a manifest names into the cache; without sources it has to be there.
async fn bring(
    daemon: &Daemon,
    caller: &Caller,
    wanted: &Wanted,
    sources: Option<&Sources>,
    chosen: Chosen,
    events: &Events,
) -> Result<Pulled, Failure> {
    for warning in &chosen.warnings {
        warn(events, warning.clone()).await;
    }
    let asking = caller.clone();
    let settings = daemon.blocking("settings", move || asking.settings()).await?;
    let times = claims::Times::of(&settings);
    if wanted.is_oras {
        return pull_sif(daemon, sources, &chosen, times, events).await;
    }
    check_image(&chosen, &Limits::from(&settings.limits))?;
    let origin = sources.map(|sources| documents::Origin { sources, times });
    let config = documents::config_of(daemon, origin, &chosen.manifest).await?;
    chosen.manifest.check_diff_ids(config.diff_ids.len())?;
    for warning in disagreement(&chosen, &config).iter().chain(&config.warnings) {
        warn(events, warning.clone()).await;
    }
    let (platform, is_explicit) = (wanted.platform.clone(), wanted.platform_explicit);
    let platform = settle_platform(&chosen, &config, platform, is_explicit)?;
    let named = Named { scheme: "docker", name: name_of(&wanted.reference) };
    let image = Image::new(&settings, named, chosen, config, platform)?;
    pull_image(daemon, &Origin::Registry(sources.cloned()), image, events).await
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
    let (events, mut told) = mpsc::channel(1);
    let found = from_cache(daemon, caller, wanted, tag, &events);
    let deaf = async { while told.recv().await.is_some() {} };
    let found = tokio::select! {
        found = found => found?,
        () = deaf => None,
    };
    let Some(pulled) = found else { return Ok(None) };
    let chosen = documents::choose_kept(daemon, tag, &wanted.reference, &wanted.platform).await?;
    let Some(chosen) = chosen else { return Ok(None) };
    let mut entries = vec![
        Entry::Blob(chosen.top.digest.clone()),
        Entry::Blob(chosen.digest.clone()),
        Entry::Blob(chosen.manifest.config.digest.clone()),
    ];
    entries.extend(pulled.entries);
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

/// What can be said of a manifest before anything that it names is asked for.
pub(super) fn check_image(chosen: &Chosen, limits: &Limits) -> Result<(), Failure> {
    if chosen.manifest.layers.len() as u64 > limits.layers {
        return Err(documents::over_limit(&chosen.digest, "layers", limits.layers));
    }
    Ok(chosen.manifest.check_image()?)
}

/// Labels of indexes are wrong at times: the config counts, and the user hears of it.
pub(super) fn disagreement(chosen: &Chosen, config: &ImageConfig) -> Option<String> {
    let (offered, found) = (chosen.offered.as_ref()?, config.platform()?);
    let is_same = offered.os == found.os && offered.architecture == found.architecture;
    (!is_same).then(|| format!("the index offers {offered} and the image says {found}"))
}

/// An image without an index is taken whatever it says, unless the user named a platform.
pub(super) fn settle_platform(
    chosen: &Chosen,
    config: &ImageConfig,
    wanted: Platform,
    is_explicit: bool,
) -> Result<Platform, Failure> {
    let Some(found) = config.platform() else { return Ok(wanted) };
    let fits = orlop_oci::selection::rank(&wanted, &found).is_some();
    if !fits && is_explicit && !chosen.by_index {
        let offered = vec![found];
        return Err(orlop_oci::selection::SelectionError { wanted, offered }.into());
    }
    Ok(found)
}

/// Where the layers of an image come from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// Registries; none where all has to be in the cache.
    Registry(Option<Sources>),
    /// A file or directory of the caller's.
    Local(Arc<orlop_archive::Chosen>),
}

/// What a SIF says it was made of.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// How it was named: `docker`, `oci`, ...
    pub(super) scheme: &'static str,
    /// As what.
    pub(super) name: String,
}

impl Named {
    /// What the recipe is found by. Names of different schemes are different names.
    fn key(&self) -> String {
        match self.scheme {
            "docker" => self.name.clone(),
            scheme => format!("{scheme}:{}", self.name),
        }
    }
}

/// An image that is to be put together.
pub(super) struct Image {
    chosen: Chosen,
    config: ImageConfig,
    platform: Platform,
    named: Named,
    options: Options,
    key: Key,
    layers: Vec<Layer>,
}

impl Image {
    pub(super) fn new(
        settings: &Settings,
        named: Named,
        chosen: Chosen,
        config: ImageConfig,
        platform: Platform,
    ) -> Result<Self, Failure> {
        let options = options(settings);
        let key = recipe_key(&chosen.digest, &platform, &named.key(), &options);
        let layers = chosen.manifest.layers.iter().zip(&config.diff_ids);
        let layers = layers
            .map(|(descriptor, diff_id)| {
                let key = segment_key(&descriptor.digest, &options);
                let diff_id = Some(diff_id.clone());
                Ok(Layer {
                    descriptor: descriptor.clone(),
                    diff_id,
                    key: store_key(key.as_str())?,
                    options,
                    times: claims::Times::of(settings),
                })
            })
            .collect::<Result<_, Failure>>()?;
        Ok(Self { key: store_key(key.as_str())?, chosen, config, platform, named, options, layers })
    }
}

fn options(settings: &Settings) -> Options {
    let level = settings.level.and_then(|level| u8::try_from(level).ok());
    let compression = match (settings.compression, Options::default().compression) {
        (Compression::Zstd, Method::Zstd { level: default }) => {
            Method::Zstd { level: level.unwrap_or(default) }
        }
        (Compression::Zstd, other) => other,
        (Compression::Gzip, _) => Method::Gzip { level: level.unwrap_or(GZIP_LEVEL) },
    };
    Options { compression, limits: limits(&settings.limits), ..Options::default() }
}

/// What a layer may ask for, as the caller's settings say.
pub(super) fn limits(set: &orlop_config::settings::Limits) -> orlop_image::Limits {
    orlop_image::Limits {
        layer_bytes: set.layer_bytes,
        ratio: set.ratio,
        zstd_window_log: set.zstd_window.max(1).ilog2(),
        entries: set.entries,
        image_entries: set.image_entries,
        pax_bytes: set.pax_bytes,
        sparse_map: set.sparse_map,
        file_bytes: set.file_bytes,
        xattr_bytes: set.xattr_bytes,
    }
}

/// What gzip's own program and mksquashfs take to be a fair bargain.
const GZIP_LEVEL: u8 = 6;

fn store_key(text: &str) -> Result<Key, Failure> {
    text.parse().map_err(|error: orlop_store::KeyError| Failure::new(Kind::Internal, &error))
}

pub(super) async fn pull_image(
    daemon: &Daemon,
    origin: &Origin,
    image: Image,
    events: &Events,
) -> Result<Pulled, Failure> {
    let outcome = try_pull_image(daemon, origin, &image, events).await;
    match outcome {
        // What was damaged has been moved aside: it is made anew.
        Err(failure) if failure.kind() == Kind::CacheDamaged => {
            tracing::warn!(%failure, "an image is made anew");
        }
        Ok(pulled) => {
            if checks::before_use(daemon, pulled.entries.clone()).await? {
                return Ok(pulled);
            }
            tracing::warn!("an image that was damaged is made anew");
        }
        Err(failure) => return Err(failure),
    }
    try_pull_image(daemon, origin, &image, events).await
}

async fn try_pull_image(
    daemon: &Daemon,
    origin: &Origin,
    image: &Image,
    events: &Events,
) -> Result<Pulled, Failure> {
    if let Some((recipe, leases)) = cached(daemon, image).await? {
        resolved(
            events,
            &image.chosen,
            true,
            image.chosen.manifest.layers.iter().map(|layer| (layer, true)),
        )
        .await;
        let entries = image_entries(image, &recipe);
        return Ok(Pulled { done: done(daemon, image, &recipe, true), leases, entries });
    }
    let present = present(daemon, image).await?;
    let layers = image.layers.iter().map(|layer| &layer.descriptor).zip(present.iter().copied());
    if matches!(origin, Origin::Registry(None)) && present.contains(&false) {
        return Err(absent(&image.chosen.digest));
    }
    resolved(events, &image.chosen, false, layers).await;
    let missing = image.layers.iter().zip(&present).filter(|(_, present)| !**present);
    let missing = missing.map(|(layer, _)| layer.descriptor.size).fold(0, u64::saturating_add);
    make_room(daemon, missing).await?;
    let phase = v1::PullPhase::Converting.into();
    tell(events, pull_event::Event::Phase(phase)).await;
    let join = || -> Vec<Joined<Arc<Converted>>> {
        let layers = image.layers.iter().zip(&present).enumerate();
        layers
            .map(|(number, (layer, present))| fly(daemon, origin, number, layer, *present))
            .collect()
    };
    let converted = land(join, events).await?;
    if let Origin::Local(archive) = origin {
        local::unchanged(daemon, archive).await?;
    }
    for warning in converted.iter().flat_map(|layer| &layer.warnings) {
        warn(events, warning.clone()).await;
    }
    let phase = v1::PullPhase::Merging.into();
    tell(events, pull_event::Event::Phase(phase)).await;
    let recipe = merge(daemon, image, converted).await?;
    daemon.checked.note(&daemon.store, &Entry::Recipe(image.key.clone()));
    for warning in recipe.warnings() {
        warn(events, warning.clone()).await;
    }
    // Opened once more: what others share in a flight cannot be handed on.
    let leases = cached(daemon, image).await?.map(|(_, leases)| leases).unwrap_or_default();
    let entries = image_entries(image, &recipe);
    Ok(Pulled { done: done(daemon, image, &recipe, false), leases, entries })
}

fn absent(digest: &Digest) -> Failure {
    Failure::of(Kind::ImageNotFound, format!("{digest} is not whole in the cache"))
}

fn image_entries(image: &Image, recipe: &Recipe) -> Vec<Entry> {
    let segments = recipe.segments().iter().filter_map(|key| key.as_str().parse().ok());
    let mut entries = vec![Entry::Recipe(image.key.clone())];
    entries.extend(segments.map(Entry::Segment));
    entries
}

/// Sees to room for downloads before any is asked for.
pub(super) async fn make_room(daemon: &Daemon, bytes: u64) -> Result<(), Failure> {
    if bytes == 0 {
        return Ok(());
    }
    let store = daemon.store.clone();
    daemon.blocking("room", move || Ok(store.make_room(bytes).map(drop)?)).await
}

/// The flight of one layer. What is in the cache lands at once.
fn fly(
    daemon: &Daemon,
    origin: &Origin,
    number: usize,
    layer: &Layer,
    is_present: bool,
) -> Joined<Arc<Converted>> {
    let (shared, origin, layer) = (daemon.clone(), origin.clone(), layer.clone());
    let (digest, size) = (layer.descriptor.digest.to_string(), layer.descriptor.size);
    let key = match &origin {
        Origin::Registry(_) => layer.key.to_string(),
        // A file that is damaged fails nobody who has the layer from elsewhere.
        Origin::Local(archive) => format!("{} {}", layer.key, archive.path().display()),
    };
    daemon.layers.join(&key, digest, size, move |facts| async move {
        if is_present {
            let (store, key) = (shared.store.clone(), layer.key.clone());
            let found = shared.blocking("segment", move || Ok(store.segment(&key)?)).await?;
            if let Some(segment) = found {
                facts.set_bytes(layer.descriptor.size);
                return Ok(Arc::new(Converted { segment, warnings: Vec::new() }));
            }
        }
        match origin {
            Origin::Registry(Some(sources)) => {
                convert::segment(shared, sources, layer, facts).await
            }
            Origin::Registry(None) => Err(absent(&layer.descriptor.digest)),
            Origin::Local(archive) => local::segment(shared, archive, number, layer, facts).await,
        }
    })
}

/// Joins flights and waits for them. Where one failed that another caller had started, with its
/// credentials and its proxy, it is flown once more: one caller's lack is no other's.
async fn land<T: Clone>(
    join: impl Fn() -> Vec<Joined<T>>,
    events: &Events,
) -> Result<Vec<T>, Failure> {
    let mut flights = join();
    let mut tries = 1;
    loop {
        match watch(&flights, events).await {
            Ok(landed) => return Ok(landed),
            Err(lost) if !lost.is_own && lost.failure.is_of_caller() && tries < FLIGHTS => {
                tracing::debug!(failure = %lost.failure, "flown again for another caller");
                tries += 1;
                // Joined anew before the old ones are let go: what still flies flies on.
                flights = join();
            }
            Err(lost) => return Err(lost.failure),
        }
    }
}

/// A flight that failed.
#[derive(Debug)]
pub(super) struct Lost {
    /// Why.
    pub(super) failure: Failure,
    /// This caller had started it.
    pub(super) is_own: bool,
}

/// Waits for all flights and tells of their bytes.
pub(super) async fn watch<T: Clone>(
    flights: &[Joined<T>],
    events: &Events,
) -> Result<Vec<T>, Lost> {
    let landed =
        futures::future::try_join_all((1_usize..).zip(flights).map(async |(at, flight)| {
            let is_own = flight.is_own();
            flight.landed().await.map_err(|failure| Lost { failure: failure.of_layer(at), is_own })
        }));
    tokio::pin!(landed);
    let mut ticks = tokio::time::interval(TELL);
    let mut told = vec![0; flights.len()];
    loop {
        tokio::select! {
            biased;
            all = &mut landed => return all,
            _ = ticks.tick() => {
                for (layer, (flight, told)) in flights.iter().zip(&mut told).enumerate() {
                    let bytes = flight.facts().bytes();
                    if bytes != *told {
                        *told = bytes;
                        let layer = u32::try_from(layer).unwrap_or(u32::MAX);
                        let progress = v1::PullProgress { layer, bytes, total: flight.facts().total() };
                        // A caller that is slow gets the next one.
                        drop(events.try_send(pull_event::Event::Progress(progress)));
                    }
                }
            }
        }
    }
}

async fn resolved<'a>(
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

/// The recipe with its files leased, if it and all its segments are there.
async fn cached(daemon: &Daemon, image: &Image) -> Result<Option<(Recipe, Vec<Leased>)>, Failure> {
    let (store, key) = (daemon.store.clone(), image.key.clone());
    daemon
        .blocking("recipe", move || {
            let Some(leased) = store.recipe(&key)? else { return Ok(None) };
            let Ok(recipe) = Recipe::from_bytes(&leased.read()?) else {
                store.move_aside(&Entry::Recipe(key), "it cannot be read")?;
                return Ok(None);
            };
            let mut leases = vec![leased];
            for segment in recipe.segments() {
                match store.segment(&store_key(segment.as_str())?)? {
                    Some(segment) => leases.push(segment.data),
                    None => return Ok(None),
                }
            }
            Ok(Some((recipe, leases)))
        })
        .await
}

/// Which layers' segments are in the cache.
async fn present(daemon: &Daemon, image: &Image) -> Result<Vec<bool>, Failure> {
    let store = daemon.store.clone();
    let keys: Vec<Key> = image.layers.iter().map(|layer| layer.key.clone()).collect();
    let look = move || keys.iter().map(|key| Ok(store.segment(key)?.is_some())).collect();
    daemon.blocking("segments", look).await
}

async fn merge(
    daemon: &Daemon,
    image: &Image,
    converted: Vec<Arc<Converted>>,
) -> Result<Recipe, Failure> {
    let inputs = ImageInputs {
        manifest_digest: image.chosen.digest.clone(),
        platform: image.platform.clone(),
        name: image.named.name.clone(),
        config: image.config.clone(),
        scheme: image.named.scheme.to_owned(),
    };
    let layers: Vec<(Descriptor, Key)> =
        image.layers.iter().map(|layer| (layer.descriptor.clone(), layer.key.clone())).collect();
    let (store, key, options) = (daemon.store.clone(), image.key.clone(), image.options);
    daemon
        .blocking("merge", move || {
            let mut indexes = Vec::new();
            for ((descriptor, key), converted) in layers.iter().zip(&converted) {
                let index = SegmentIndex::from_bytes(&converted.segment.index.read()?);
                let index = index.inspect_err(|error| {
                    let aside = store.move_aside(&Entry::Segment(key.clone()), &error.to_string());
                    tracing::warn!(%key, ?aside, "a damaged segment was moved aside");
                })?;
                indexes.push((segment_key(&descriptor.digest, &options), index));
            }
            let layers: Vec<(SegmentKey, &SegmentIndex)> =
                indexes.iter().map(|(key, index)| (key.clone(), index)).collect();
            let recipe = build_recipe(&inputs, &layers, &options)?;
            store.put_recipe(&key, &recipe.to_bytes())?;
            Ok(recipe)
        })
        .await
}

fn done(daemon: &Daemon, image: &Image, recipe: &Recipe, cached: bool) -> v1::PullDone {
    let path = |entry: &Entry| daemon.store.path(entry).to_string_lossy().into_owned();
    let segments = recipe.segments().iter().filter_map(|key| key.as_str().parse().ok());
    let segments = segments.map(|key| format!("{}/data", path(&Entry::Segment(key))));
    v1::PullDone {
        digest: image.chosen.digest.to_string(),
        source: image.chosen.source.clone(),
        cached,
        image: Some(pull_done::Image::Recipe(v1::RecipeImage {
            key: image.key.to_string(),
            path: path(&Entry::Recipe(image.key.clone())),
            segments: segments.collect(),
            size: recipe.sif_size(),
        })),
    }
}

async fn pull_sif(
    daemon: &Daemon,
    sources: Option<&Sources>,
    chosen: &Chosen,
    times: claims::Times,
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
        let (shared, sources, wanted) = (daemon.clone(), sources.clone(), layer.clone());
        let digest = layer.digest.to_string();
        make_room(daemon, layer.size).await?;
        let join = || {
            let (shared, sources, wanted) = (shared.clone(), sources.clone(), wanted.clone());
            vec![daemon.blobs.join(&digest, digest.clone(), layer.size, move |facts| {
                convert::blob(shared, sources, wanted, times, facts)
            })]
        };
        land(join, events).await?;
        let (store, wanted) = (daemon.store.clone(), layer.clone());
        let look = move || Ok(store.blob(&wanted.digest, wanted.size)?);
        found = daemon.blocking("blob", look).await?;
    }
    daemon.whereabouts.note(&chosen.source, &layer.digest);
    let path = daemon.store.path(&entry);
    let done = v1::PullDone {
        digest: chosen.digest.to_string(),
        source: chosen.source.clone(),
        cached,
        image: Some(pull_done::Image::Sif(v1::SifImage {
            digest: layer.digest.to_string(),
            path: path.to_string_lossy().into_owned(),
            size: layer.size,
        })),
    };
    Ok(Pulled { done, leases: found.into_iter().collect(), entries: vec![entry] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flights::Flights;
    use crate::tasks::Tasks;

    /// A caller that joins a flight which fails with `kind`; what its own would give is 7.
    async fn joins_one_that_fails(kind: Kind) -> Result<Vec<u8>, Failure> {
        let flights = Flights::new(Tasks::default());
        let (open, gate) = tokio::sync::oneshot::channel::<()>();
        let first = flights.join("k", "", 0, |_| async move {
            drop(gate.await);
            Err(Failure::of(kind, "of the first"))
        });
        let (events, _told) = mpsc::channel(8);
        let mut open = Some(open);
        let second = land(|| vec![flights.join("k", "", 0, |_| async { Ok(7) })], &events);
        tokio::pin!(second);
        assert!(futures::FutureExt::now_or_never(&mut second).is_none());
        drop(open.take());
        assert_eq!(first.landed().await.unwrap_err().kind(), kind);
        second.await
    }

    #[tokio::test]
    async fn a_caller_without_rights_does_not_fail_one_that_has_them() {
        assert_eq!(joins_one_that_fails(Kind::CredentialsRefused).await.unwrap(), [7]);
        let failure = joins_one_that_fails(Kind::LayerInvalid).await.unwrap_err();
        assert_eq!(failure.kind(), Kind::LayerInvalid, "a wrong layer is wrong for all");
    }
}
