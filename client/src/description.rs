//! A description of an image: its documents, told in lines for people and as JSON for programs.
//!
//! The JSON is a stable object: members are added, none changes its meaning or goes; what is not
//! known is `null` or empty. Documents are read strictly, as everywhere. Not here: fetching them
//! (the daemon), escaping ([`crate::output`]).

use std::collections::BTreeMap;

use orlop_oci::manifest::By;
use orlop_oci::{Descriptor, Document, ImageConfig, Index, Manifest};
use orlop_proto::v1::{InspectDone, Kind};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{date, size};

/// An image's documents as they came.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    /// The top document, an index or the manifest.
    pub(crate) top: Vec<u8>,
    /// The manifest, where it is another document.
    pub(crate) manifest: Vec<u8>,
    /// The config.
    pub(crate) config: Vec<u8>,
    /// What is known besides.
    pub(crate) done: InspectDone,
}

impl Documents {
    /// The manifest's bytes.
    pub(crate) fn manifest(&self) -> &[u8] {
        if self.manifest.is_empty() { &self.top } else { &self.manifest }
    }
}

/// What an image is.
#[derive(Debug, Serialize)]
pub(crate) struct Description {
    /// Canonical reference.
    reference: String,
    /// Digest of what the reference names.
    digest: String,
    /// Its type.
    media_type: String,
    /// `host/path` that answered.
    source: String,
    /// Images of the index; empty where there is none.
    platforms: Vec<Entry>,
    /// The manifest that is described.
    manifest: Part,
    /// Type of an artifact that is no image.
    artifact_type: Option<String>,
    annotations: BTreeMap<String, String>,
    /// Where the config says for what the image is.
    platform: Option<Platform>,
    /// When it was made: seconds since 1970, UTC.
    created: Option<i64>,
    config: Config,
    /// The base first.
    layers: Vec<Layer>,
}

#[derive(Debug, Serialize)]
struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

#[derive(Debug, Serialize)]
struct Entry {
    /// None where the index does not say.
    platform: Option<Platform>,
    digest: String,
    size: u64,
    media_type: String,
}

#[derive(Debug, Serialize)]
struct Part {
    digest: String,
    size: u64,
    media_type: String,
}

#[derive(Debug, Serialize)]
struct Layer {
    #[serde(flatten)]
    part: Part,
    annotations: BTreeMap<String, String>,
}

/// How an image wants to be run; empty for what is no image of layers.
#[derive(Debug, Serialize)]
struct Config {
    #[serde(flatten)]
    part: Part,
    env: Vec<String>,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    working_dir: String,
    user: String,
    labels: BTreeMap<String, String>,
    exposed_ports: Vec<String>,
    volumes: Vec<String>,
    stop_signal: String,
}

impl Description {
    /// Describes an image by its documents.
    ///
    /// # Errors
    /// MANIFEST_INVALID, IMAGE_UNSUPPORTED.
    pub(crate) fn of(documents: &Documents) -> Result<Self, Failure> {
        let done = &documents.done;
        let (manifest, entries) = read(documents)?;
        let config = if manifest.config.media_type.is_image_config() {
            ImageConfig::parse(&documents.config).map_err(|error| invalid(&error))?
        } else {
            ImageConfig::default()
        };
        let (platform, created) = (config.platform().as_ref().map(named), config.created);
        Ok(Self {
            reference: done.reference.clone(),
            digest: done.digest.clone(),
            media_type: done.media_type.clone(),
            source: done.source.clone(),
            platforms: entries,
            manifest: Part {
                digest: done.manifest_digest.clone(),
                size: documents.manifest().len() as u64,
                media_type: manifest.media_type.to_string(),
            },
            artifact_type: manifest.artifact_type.clone(),
            annotations: manifest.annotations.clone(),
            platform,
            created,
            layers: manifest.layers.iter().map(Layer::of).collect(),
            config: Config::of(&manifest.config, config),
        })
    }

    /// Tells it in lines; what is empty is left out.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Lines::default();
        lines.add("Reference", &self.reference);
        lines.add("Digest", &self.digest);
        lines.add("Media type", &self.media_type);
        if !self.reference.starts_with(&self.source) {
            lines.add("Served by", &self.source);
        }
        lines.add("Platforms", &self.platform_list());
        if self.manifest.digest != self.digest {
            lines.add("Manifest", &self.manifest.digest);
            lines.add("", &self.manifest.media_type);
        }
        lines.add("Platform", &self.platform.as_ref().map(shown).unwrap_or_default());
        lines.add("Artifact type", self.artifact_type.as_deref().unwrap_or_default());
        lines.add_all("Annotations", &pairs(&self.annotations));
        let created = self.created.map(|seconds| format!("{} UTC", date(seconds)));
        lines.add("Created", &created.unwrap_or_default());
        lines.add("Config", &self.config.part.digest);
        lines.add("Entrypoint", &words(&self.config.entrypoint));
        lines.add("Cmd", &words(&self.config.cmd));
        lines.add("Directory", &self.config.working_dir);
        lines.add("User", &self.config.user);
        lines.add("Ports", &self.config.exposed_ports.join(", "));
        lines.add("Volumes", &self.config.volumes.join(", "));
        lines.add_all("Environment", &self.config.env);
        lines.add_all("Labels", &pairs(&self.config.labels));
        let bytes =
            self.layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.part.size));
        lines.add("Layers", &format!("{}, {}", self.layers.len(), size(bytes)));
        for Layer { part, .. } in &self.layers {
            let Part { digest, size, media_type } = part;
            lines.add("", &format!("{digest} {size} {media_type}"));
        }
        lines.0
    }

    fn platform_list(&self) -> String {
        let named = self.platforms.iter().filter_map(|entry| entry.platform.as_ref());
        let is_image = |platform: &&Platform| platform.os != "unknown";
        named.filter(is_image).map(shown).collect::<Vec<_>>().join(", ")
    }
}

/// The manifest, and the entries of the index that led to it.
fn read(documents: &Documents) -> Result<(Manifest, Vec<Entry>), Failure> {
    let top = parse(&documents.top, &documents.done.media_type)?;
    let (manifest, entries) = match top {
        Document::Manifest(manifest) => return Ok((manifest, Vec::new())),
        Document::Index(Index { manifests, .. }) => {
            (parse(&documents.manifest, "")?, manifests.iter().map(Entry::of).collect())
        }
    };
    match manifest {
        Document::Manifest(manifest) => Ok((manifest, entries)),
        Document::Index(_) => Err(Failure::new(Kind::Internal, "the daemon sent two indexes")),
    }
}

fn parse(bytes: &[u8], media_type: &str) -> Result<Document, Failure> {
    let media_type = Some(media_type).filter(|text| !text.is_empty());
    let parsed = Document::parse(bytes, media_type, By::Digest);
    parsed.map(|(document, _)| document).map_err(|error| invalid(&error))
}

fn invalid(error: &orlop_oci::ManifestError) -> Failure {
    use orlop_oci::manifest::ManifestErrorKind as E;
    let kind = match error.kind() {
        E::Invalid => Kind::ManifestInvalid,
        E::Unsupported => Kind::ImageUnsupported,
    };
    Failure::caused(kind, error)
}

impl Part {
    fn of(descriptor: &Descriptor) -> Self {
        Self {
            digest: descriptor.digest.to_string(),
            size: descriptor.size,
            media_type: descriptor.media_type.to_string(),
        }
    }
}

impl Entry {
    fn of(descriptor: &Descriptor) -> Self {
        let Part { digest, size, media_type } = Part::of(descriptor);
        let platform = descriptor.platform.as_ref().map(named);
        Self { platform, digest, size, media_type }
    }
}

impl Layer {
    fn of(descriptor: &Descriptor) -> Self {
        Self { part: Part::of(descriptor), annotations: descriptor.annotations.clone() }
    }
}

impl Config {
    fn of(descriptor: &Descriptor, config: ImageConfig) -> Self {
        Self {
            part: Part::of(descriptor),
            env: config.env,
            entrypoint: config.entrypoint,
            cmd: config.cmd,
            working_dir: config.working_dir,
            user: config.user,
            labels: config.labels,
            exposed_ports: config.exposed_ports,
            volumes: config.volumes,
            stop_signal: config.stop_signal,
        }
    }
}

fn named(platform: &orlop_oci::Platform) -> Platform {
    let orlop_oci::Platform { os, architecture, variant } = platform.clone();
    Platform { os, architecture, variant }
}

fn shown(platform: &Platform) -> String {
    let Platform { os, architecture, variant } = platform;
    match variant {
        Some(variant) => format!("{os}/{architecture}/{variant}"),
        None => format!("{os}/{architecture}"),
    }
}

fn pairs(map: &BTreeMap<String, String>) -> Vec<String> {
    map.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

/// Arguments with their borders seen.
fn words(words: &[String]) -> String {
    if words.is_empty() {
        return String::new();
    }
    serde_json::to_string(words).unwrap_or_default()
}

/// Lines with a column of names.
#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    fn add(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            let name = if name.is_empty() { String::new() } else { format!("{name}:") };
            self.0.push(format!("{name:14} {text}"));
        }
    }

    fn add_all(&mut self, name: &str, texts: &[String]) {
        for (index, text) in texts.iter().enumerate() {
            self.add(if index == 0 { name } else { "" }, text);
        }
    }
}
