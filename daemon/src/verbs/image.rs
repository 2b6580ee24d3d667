//! An image of layers: from its manifest and config to its recipe in the cache.
//!
//! The layers come from registries or from a file; each is converted in a flight of its own, and
//! what they make together is merged. Not here: which manifest ([`super::documents`]); one layer
//! ([`super::convert`]).

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use orlop_config::limits;
use orlop_config::settings::{Compression, Settings};
use orlop_image::{Method, Options, Recipe, Workers, recipe_key, segment_key};
use orlop_oci::{ImageConfig, Platform};
use orlop_proto::v1::{self, Kind, pull_done, pull_event};
use orlop_registry::{Limits, Sources};
use orlop_store::{Entry, Key, Leased, Store};
use tokio::sync::Semaphore;

use super::checks;
use super::claims;
use super::convert::{self, Converted, Layer};
use super::documents::{self, Chosen};
use super::known::Made;
use super::landing::land;
use super::local;
use super::merge::{Merged, merge};
use super::needs::{self, Needs, There};
use super::pull::{Events, Pulled, absent, resolved, tell, warn};
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::flights::{Joined, heard};

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

/// Layers of one image that are converted at a time. Found once: the system reads files for the
/// number of processors, and each answer from the cache would wait for that.
static CONVERTED_AT_ONCE: LazyLock<usize> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors.max(limits::CONVERSIONS_PER_PULL)
});

/// What an image is wanted for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The platform.
    pub(crate) platform: Platform,
    /// The user named it.
    pub(crate) is_explicit: bool,
    /// Number (`st_dev`) of the file system that the caller writes the image to afterwards; 0 where
    /// it does not.
    pub(crate) output: u64,
}

impl Target {
    /// What an image turns out to be for. One without an index is taken whatever it says, unless the
    /// user named a platform.
    ///
    /// # Errors
    /// PLATFORM_MISSING.
    pub(super) fn settle(
        &self,
        chosen: &Chosen,
        config: &ImageConfig,
    ) -> Result<Platform, Failure> {
        let Some(found) = config.platform() else { return Ok(self.platform.clone()) };
        let fits = orlop_oci::selection::rank(&self.platform, &found).is_some();
        if !fits && self.is_explicit && !chosen.by_index {
            let (wanted, offered) = (self.platform.clone(), vec![found]);
            return Err(orlop_oci::selection::SelectionError { wanted, offered }.into());
        }
        Ok(found)
    }
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
    /// Its manifest.
    pub(super) chosen: Chosen,
    /// Its config.
    pub(super) config: ImageConfig,
    /// What it is for.
    pub(super) platform: Platform,
    /// What its SIF says it was made of.
    pub(super) named: Named,
    /// How it is converted.
    pub(super) options: Options,
    /// Of its recipe.
    pub(super) key: Key,
    /// The lowest first.
    pub(super) layers: Vec<Layer>,
    /// [`Target::output`].
    output: u64,
}

impl Image {
    pub(super) fn new(
        settings: &Settings,
        named: Named,
        chosen: Chosen,
        config: ImageConfig,
        target: &Target,
    ) -> Result<Self, Failure> {
        let platform = target.settle(&chosen, &config)?;
        let options = options(settings);
        let key = recipe_key(&chosen.digest, &platform, &named.key(), &options);
        let turns = Arc::new(Semaphore::new(*CONVERTED_AT_ONCE));
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
                    is_kept: settings.keep_layers,
                    turns: Arc::clone(&turns),
                })
            })
            .collect::<Result<_, Failure>>()?;
        let (key, output) = (store_key(key.as_str())?, target.output);
        Ok(Self { key, chosen, config, platform, named, options, layers, output })
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
    let image = Arc::new(image);
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
    image: &Arc<Image>,
    events: &Events,
) -> Result<Pulled, Failure> {
    if let Some(Cached { made, leases, looks }) = cached(daemon, image).await? {
        resolved(
            events,
            &image.chosen,
            true,
            image.chosen.manifest.layers.iter().map(|layer| (layer, true)),
        )
        .await;
        let (entries, unseen) = image_entries(image, &made);
        let done = done(daemon, image, &made, looks, true);
        return Ok(Pulled { done, leases, entries, unseen });
    }
    let counting = Counting::of(origin, image);
    let (store, count) = (daemon.store.clone(), counting.clone());
    let there = daemon.blocking("segments", move || count.there(&store)).await?;
    if matches!(origin, Origin::Registry(None)) && !there.iter().all(|there| there.is_whole()) {
        return Err(absent(&image.chosen.digest));
    }
    let present: Vec<bool> = there.iter().map(|there| there.is_converted()).collect();
    let layers = image.layers.iter().map(|layer| &layer.descriptor).zip(present.iter().copied());
    resolved(events, &image.chosen, false, layers).await;
    counting.needs(&daemon.store, there).make_room(daemon).await?;
    let counting_again = counting.clone();
    let count = move |store: &Store| Ok(counting.needs(store, counting.there(store)?));
    let mut outcome = make(daemon, origin, image, &present, events).await;
    if let Err(failure) = &outcome
        && needs::is_room_made_of(daemon, failure, wanted(image), count.clone()).await
    {
        let store = daemon.store.clone();
        let there = daemon.blocking("segments", move || counting_again.there(&store)).await?;
        let present: Vec<bool> = there.iter().map(|there| there.is_converted()).collect();
        outcome = make(daemon, origin, image, &present, events).await;
    }
    let made = match outcome {
        Ok(made) => made,
        Err(failure) => return Err(needs::told(daemon, failure, count).await),
    };
    // Opened once more: what others share in a flight cannot be handed on.
    let found = cached(daemon, image).await?;
    let (leases, looks) = found.map(|found| (found.leases, found.looks)).unwrap_or_default();
    let (entries, unseen) = image_entries(image, &made);
    Ok(Pulled { done: done(daemon, image, &made, looks, false), leases, entries, unseen })
}

/// What an image is made of, as far as it is there.
fn wanted(image: &Image) -> Vec<Entry> {
    let entries = image.layers.iter().flat_map(|layer| {
        [Entry::Segment(layer.key.clone()), Entry::Layer(layer.descriptor.digest.clone())]
    });
    entries.collect()
}

/// What it takes to count what an image needs.
#[derive(Clone)]
struct Counting {
    layers: Vec<Layer>,
    is_local: bool,
    output: u64,
}

impl Counting {
    fn of(origin: &Origin, image: &Image) -> Self {
        let is_local = matches!(origin, Origin::Local(_));
        Self { layers: image.layers.clone(), is_local, output: image.output }
    }

    /// What there is of each layer. Blocks.
    fn there(&self, store: &Store) -> Result<Vec<There>, Failure> {
        self.layers.iter().map(|layer| There::look(store, layer, self.is_local)).collect()
    }

    /// What has yet to be written.
    fn needs(&self, store: &Store, there: Vec<There>) -> Needs {
        let sizes = self.layers.iter().map(|layer| layer.descriptor.size);
        Needs::of_layers(sizes.zip(there), store.is_room_taken_on(self.output))
    }
}

/// Converts what is missing and merges all.
async fn make(
    daemon: &Daemon,
    origin: &Origin,
    image: &Arc<Image>,
    present: &[bool],
    events: &Events,
) -> Result<Arc<Made>, Failure> {
    let missing = image.layers.iter().zip(present).filter(|(_, present)| !**present);
    let missing = missing.map(|(Layer { descriptor, .. }, _)| descriptor);
    let missing: Vec<_> = missing.map(|layer| (layer.digest.clone(), layer.size)).collect();
    let phase = v1::PullPhase::Converting.into();
    tell(events, pull_event::Event::Phase(phase)).await;
    let workers = daemon.workers.for_image(&missing);
    let join = || -> Vec<Joined<Arc<Converted>>> {
        let layers = image.layers.iter().zip(present).enumerate();
        let mut layers: Vec<_> = layers.collect();
        // The largest has its place first: begun last, all would wait for it alone.
        layers.sort_by_key(|(_, (layer, _))| std::cmp::Reverse(layer.descriptor.size));
        let begin = |(number, (layer, present)): (usize, (&Layer, &bool))| {
            (number, fly(daemon, origin, number, (layer, &workers), *present))
        };
        let mut flights: Vec<_> = layers.into_iter().map(begin).collect();
        flights.sort_by_key(|(number, _)| *number);
        flights.into_iter().map(|(_, flight)| flight).collect()
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
    let Merged { made, warnings } = merge(daemon, image, converted).await?;
    for warning in warnings {
        warn(events, warning).await;
    }
    Ok(made)
}

/// What is read of an image, and the segments of its other layers.
fn image_entries(image: &Image, made: &Made) -> (Vec<Entry>, Vec<Entry>) {
    let mut entries = vec![Entry::Recipe(image.key.clone())];
    entries.extend(made.segments.iter().cloned().map(Entry::Segment));
    let seen: BTreeSet<_> = made.segments.iter().collect();
    let unseen = image.layers.iter().filter(|layer| !seen.contains(&layer.key));
    (entries, unseen.map(|layer| Entry::Segment(layer.key.clone())).collect())
}

/// The flight of one layer. What is in the cache lands at once.
fn fly(
    daemon: &Daemon,
    origin: &Origin,
    number: usize,
    (layer, workers): (&Layer, &Workers),
    is_present: bool,
) -> Joined<Arc<Converted>> {
    let (shared, origin, layer) = (daemon.clone(), origin.clone(), layer.clone());
    let workers = workers.clone();
    let (digest, size) = (layer.descriptor.digest.to_string(), layer.descriptor.size);
    let key = match &origin {
        Origin::Registry(_) => layer.key.to_string(),
        // A file that is damaged fails nobody who has the layer from elsewhere.
        Origin::Local(archive) => format!("{} {}", layer.key, archive.path().display()),
    };
    let session = match &origin {
        Origin::Registry(sources) => sources.as_ref().map(|sources| sources.session().clone()),
        Origin::Local(_) => None,
    };
    let flight = daemon.layers.join(&key, digest, size, move |facts| async move {
        if is_present {
            let (store, key) = (shared.store.clone(), layer.key.clone());
            let found = shared.blocking("segment", move || Ok(store.segment(&key)?)).await?;
            if let Some(segment) = found {
                facts.set_bytes(layer.descriptor.size);
                return Ok(Arc::new(Converted { segment, warnings: Vec::new() }));
            }
        }
        match origin {
            Origin::Registry(sources) => {
                let sources = sources.map(|sources| heard(&sources, &facts));
                convert::segment(shared, sources, layer, workers, facts).await
            }
            Origin::Local(archive) => {
                local::segment(shared, archive, number, (layer, workers), facts).await
            }
        }
    });
    match session {
        Some(session) => flight.heard_by(&session),
        None => flight,
    }
}

/// An image that is in the cache.
pub(super) struct Cached {
    /// What its recipe says.
    pub(super) made: Arc<Made>,
    /// Its recipe and its segments' data.
    leases: Vec<Leased>,
    /// Which of the data need no checking, and how they look.
    looks: Vec<v1::FileLook>,
}

/// What the recipe says, with its files leased, if it and all its segments are there.
pub(super) async fn cached(daemon: &Daemon, image: &Image) -> Result<Option<Cached>, Failure> {
    let (this, key) = (daemon.clone(), image.key.clone());
    daemon
        .blocking("recipe", move || {
            let store = &this.store;
            let Some(leased) = store.recipe(&key)? else { return Ok(None) };
            let made = match this.known.get(store, &key) {
                Some(made) => made,
                None => match read(&leased)? {
                    Some(made) => this.known.keep(store, &key, made),
                    None => {
                        store.move_aside(&Entry::Recipe(key), "it cannot be read")?;
                        return Ok(None);
                    }
                },
            };
            let (mut leases, mut looks) = (vec![leased], Vec::new());
            for segment in &made.segments {
                let Some(segment) = store.segment(segment)? else { return Ok(None) };
                looks.push(store.intact_look(&segment.data).map(look).unwrap_or_default());
                leases.push(segment.data);
            }
            Ok(Some(Cached { made, leases, looks }))
        })
        .await
}

fn look(look: orlop_store::Look) -> v1::FileLook {
    let orlop_store::Look { device, inode, size, modified, .. } = look;
    let (modified_seconds, modified_nanoseconds) = modified;
    v1::FileLook { device, inode, size, modified_seconds, modified_nanoseconds }
}

/// Reads a recipe's file; `None` when it is none.
fn read(leased: &Leased) -> Result<Option<Made>, Failure> {
    let recipe = Recipe::from_bytes(&leased.read()?);
    Ok(recipe.ok().and_then(|recipe| Made::of(&recipe).ok()))
}

fn done(
    daemon: &Daemon,
    image: &Image,
    made: &Made,
    looks: Vec<v1::FileLook>,
    cached: bool,
) -> v1::PullDone {
    let path = |entry: &Entry| daemon.store.path(entry).to_string_lossy().into_owned();
    let segments = made.segments.iter().cloned();
    let segments = segments.map(|key| format!("{}/data", path(&Entry::Segment(key))));
    v1::PullDone {
        lease: String::new(),
        found_by: Vec::new(),
        digest: image.chosen.digest.to_string(),
        source: image.chosen.source.clone(),
        cached,
        image: Some(pull_done::Image::Recipe(v1::RecipeImage {
            key: image.key.to_string(),
            path: path(&Entry::Recipe(image.key.clone())),
            segments: segments.collect(),
            size: made.size,
            looks,
        })),
    }
}
