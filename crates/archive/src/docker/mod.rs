//! The image in what `docker save` wrote: `manifest.json`, a config and layers by name.
//!
//! Spec: Docker image specification 1.2; the form before it, without `manifest.json`, is in
//! [`legacy`]. There is no manifest in such an archive: one is made of the digests, so that the
//! same image is the same wherever its archive was written. Plain layers are named by the diff_ids
//! of the config, compressed ones by a digest of their own. Not here: links ([`crate::tree`]).

mod legacy;

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use orlop_config::limits::ARCHIVE_DOCUMENT_BYTES;
use orlop_oci::json::Json;
use orlop_oci::manifest::By;
use orlop_oci::media_type::{Compression, Distribution};
use orlop_oci::{
    Algorithm, Descriptor, Digest, Document, Hasher, ImageConfig, LocalImage, Manifest,
    ManifestError, MediaType, Platform, Reference,
};

use crate::chosen::Chosen;
use crate::error::Error;
use crate::layout;
use crate::names::shown;
use crate::tree::{Content, Tree};

/// The list of images.
const LIST: &str = "manifest.json";
/// Bytes hashed at a time.
const PIECE: usize = 1 << 20;

/// One image of the list.
struct Record {
    /// Name of the config's file.
    config: String,
    /// `name:tag`, as written.
    tags: Vec<String>,
    /// Names of the layers' files, the base first.
    layers: Vec<String>,
}

/// An image whose config has been read.
struct Found {
    config: Vec<u8>,
    layers: Vec<String>,
}

/// Finds the image that is meant: the first where none is named.
pub(crate) fn choose(
    tree: &Arc<Tree>,
    image: Option<&LocalImage>,
    platform: &Platform,
    stop: &AtomicBool,
) -> Result<Chosen, Error> {
    let archive = Saved { tree, stop };
    let found = match tree.read(LIST, "manifest-bytes", ARCHIVE_DOCUMENT_BYTES)? {
        Some(bytes) => archive.listed(&bytes, image)?,
        // `docker load` takes a layout as well.
        None if tree.content("index.json")?.is_some() => {
            return layout::choose(tree, image, platform);
        }
        None => archive.legacy(image)?,
    };
    archive.chosen(found)
}

struct Saved<'a> {
    tree: &'a Arc<Tree>,
    stop: &'a AtomicBool,
}

impl Saved<'_> {
    fn listed(&self, bytes: &[u8], image: Option<&LocalImage>) -> Result<Found, Error> {
        let records = self.records(bytes)?;
        let offered = || records.iter().flat_map(|record| record.tags.clone()).collect();
        let no_image = |wanted: String| Error::NoImage {
            path: self.tree.path().to_owned(),
            wanted,
            offered: offered(),
        };
        let record = match image {
            None => records.first().ok_or_else(|| no_image(String::new()))?,
            Some(LocalImage::Name(name)) => {
                let is_named = |record: &&Record| record.tags.iter().any(|tag| is_same(tag, name));
                let place = name.strip_prefix('@').and_then(|place| place.parse::<usize>().ok());
                let found = records.iter().find(is_named);
                found.or_else(|| records.get(place?)).ok_or_else(|| no_image(name.clone()))?
            }
            Some(LocalImage::Digest(digest)) => {
                for record in &records {
                    let config = self.config(&record.config)?;
                    if Digest::of(digest.algorithm(), &config) == *digest {
                        return Ok(Found { config, layers: record.layers.clone() });
                    }
                }
                return Err(no_image(digest.to_string()));
            }
        };
        let config = self.config(&record.config)?;
        Ok(Found { config, layers: record.layers.clone() })
    }

    fn records(&self, bytes: &[u8]) -> Result<Vec<Record>, Error> {
        let json = Json::parse(bytes).map_err(|cause| self.wrong(LIST, cause.into()))?;
        let Json::Array(images) = &json else {
            return Err(self.field(LIST, String::from("document"), "a list of images"));
        };
        let read = |(place, image): (usize, &Json)| {
            let at = |key: &str| format!("[{place}].{key}");
            let strings = |key: &str| match image.get(key) {
                None => Ok(Vec::new()),
                Some(Json::Array(items)) => {
                    strings(items).ok_or_else(|| self.field(LIST, at(key), "a list of names"))
                }
                Some(_) => Err(self.field(LIST, at(key), "a list of names")),
            };
            let Some(Json::String(config)) = image.get("Config") else {
                return Err(self.field(LIST, at("Config"), "a name"));
            };
            Ok(Record {
                config: config.clone(),
                tags: strings("RepoTags")?,
                layers: strings("Layers")?,
            })
        };
        images.iter().enumerate().map(read).collect()
    }

    /// A config, compared with its digest where its name is one.
    fn config(&self, name: &str) -> Result<Vec<u8>, Error> {
        let bytes = self.tree.read(name, "config-bytes", self.tree.limits.config_bytes)?;
        let bytes = bytes.ok_or_else(|| self.missing(name))?;
        let actual = Digest::sha256(&bytes);
        let last = name.rsplit('/').next().unwrap_or(name);
        let stem = last.strip_suffix(".json").unwrap_or(last);
        let stem = stem.strip_prefix("sha256:").unwrap_or(stem);
        let is_digest = stem.len() == 64 && stem.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_digest && !stem.eq_ignore_ascii_case(actual.hex()) {
            let (path, name) = (self.tree.path().to_owned(), shown(name.as_bytes()));
            return Err(Error::Digest { path, name, actual });
        }
        Ok(bytes)
    }

    /// Puts a manifest to config and layers.
    fn chosen(&self, found: Found) -> Result<Chosen, Error> {
        let Found { config, layers } = found;
        let limit = self.tree.limits.layers;
        if layers.len() as u64 > limit {
            let (path, name) = (self.tree.path().to_owned(), LIST.to_owned());
            return Err(Error::Limit { path, name, key: "layers", limit });
        }
        let parsed =
            ImageConfig::parse(&config).map_err(|cause| self.wrong("the config", cause))?;
        if parsed.diff_ids.len() != layers.len() {
            let (layers, diff_ids) = (layers.len(), parsed.diff_ids.len());
            return Err(self.wrong(LIST, ManifestError::LayerCount { layers, diff_ids }));
        }
        let descriptors = layers.iter().zip(&parsed.diff_ids);
        let descriptors = descriptors.map(|(name, diff_id)| self.describe(name, &diff_id.0));
        let descriptors = descriptors.collect::<Result<Vec<_>, _>>()?;
        let bytes =
            Manifest::docker(&Descriptor::of(MediaType::DockerConfig, &config), &descriptors);
        let by = By::Descriptor(MediaType::DockerManifest);
        let manifest = match Document::parse(&bytes, None, by) {
            Ok((Document::Manifest(manifest), _)) => manifest,
            Ok(_) => return Err(self.wrong(LIST, ManifestError::NoKind)),
            Err(cause) => return Err(self.wrong(LIST, cause)),
        };
        Ok(Chosen {
            digest: Digest::sha256(&bytes),
            manifest,
            bytes,
            config,
            by_index: false,
            offered: None,
            warnings: Vec::new(),
            layers,
            tree: Arc::clone(self.tree),
        })
    }

    /// What is known of a layer before it is read: the size, and the digest under which it is
    /// converted.
    fn describe(&self, name: &str, diff_id: &Digest) -> Result<Descriptor, Error> {
        let content = self.tree.content(name)?.ok_or_else(|| self.missing(name))?;
        let size = content.size();
        let mut head = Vec::new();
        let read = content.clone().take(4).read_to_end(&mut head);
        read.map_err(|cause| Error::Read { path: self.tree.path().to_owned(), cause })?;
        let compression = Compression::of_first_bytes(&head);
        let digest = match compression {
            Compression::None => diff_id.clone(),
            _ => self.digest(content)?,
        };
        let media_type = MediaType::DockerLayer(compression, Distribution::Open);
        Ok(Descriptor::new(media_type, digest, size))
    }

    fn digest(&self, mut content: Content) -> Result<Digest, Error> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut buffer = vec![0; PIECE];
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            let got = content.read(&mut buffer);
            match got.map_err(|cause| Error::Read { path: self.tree.path().to_owned(), cause })? {
                0 => return Ok(hasher.finish()),
                count => hasher.update(buffer.get(..count).unwrap_or_default()),
            }
        }
    }

    fn missing(&self, name: &str) -> Error {
        Error::Missing { path: self.tree.path().to_owned(), name: shown(name.as_bytes()) }
    }

    fn wrong(&self, name: &str, cause: ManifestError) -> Error {
        Error::Document { path: self.tree.path().to_owned(), name: shown(name.as_bytes()), cause }
    }

    fn field(&self, name: &str, at: String, expected: &'static str) -> Error {
        self.wrong(name, ManifestError::Field { at, expected })
    }
}

fn strings(items: &[Json]) -> Option<Vec<String>> {
    let text = |item: &Json| match item {
        Json::String(text) => Some(text.clone()),
        _ => None,
    };
    items.iter().map(text).collect()
}

/// True when two names mean one image: `a:1` is `docker.io/library/a:1`.
fn is_same(tag: &str, name: &str) -> bool {
    tag == name
        || match (Reference::parse(tag), Reference::parse(name)) {
            (Ok(tag), Ok(name)) => tag.canonical() == name.canonical(),
            _ => false,
        }
}
