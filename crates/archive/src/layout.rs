//! The image in an OCI layout: `index.json`, and blobs by their digests.
//!
//! Spec: image spec, image-layout.md. An image is named by `org.opencontainers.image.ref.name`, by
//! a digest, or as `@` and its place, from 0. Without a name it is the only one there is, or, where
//! the entries are one image for several platforms, the one for the platform. Not here: layers.

use std::sync::Arc;

use orlop_config::limits::ARCHIVE_DOCUMENT_BYTES;
use orlop_oci::json::Json;
use orlop_oci::manifest::By;
use orlop_oci::selection::{Choice, SelectionError, rank};
use orlop_oci::{
    Descriptor, Digest, Document, ImageConfig, Index, LocalImage, Manifest, ManifestError,
    MediaType, Platform, choose as choose_platform,
};

use crate::chosen::{Chosen, check_size};
use crate::error::Error;
use crate::tree::Tree;

/// Name of an image in a layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Full name of an image that containerd or Docker exported; the other is its tag alone then.
const FULL_NAME: &str = "io.containerd.image.name";

/// Finds the image that is meant.
pub(crate) fn choose(
    tree: &Arc<Tree>,
    image: Option<&LocalImage>,
    platform: &Platform,
) -> Result<Chosen, Error> {
    let layout = Layout { tree };
    layout.check_version()?;
    let index = layout.index()?;
    let (mut entry, mut by_index) = match layout.start(&index, image)? {
        Start::Entry(entry) => (entry, false),
        Start::Platforms(index) => (layout.choose_entry(&index, platform, &mut 0)?, true),
    };
    let (mut warnings, mut seen) = (Vec::new(), 0);
    for _ in 0..=tree.limits.index_depth {
        let (document, bytes, more) = layout.document(&entry)?;
        warnings.extend(more);
        match document {
            Document::Manifest(manifest) => {
                let config = layout.config(&manifest)?;
                let layers = manifest.layers.iter().map(|layer| blob_name(&layer.digest));
                return Ok(Chosen {
                    digest: entry.digest,
                    layers: layers.collect(),
                    manifest,
                    bytes,
                    config,
                    by_index,
                    offered: entry.platform.filter(|_| by_index),
                    warnings,
                    tree: Arc::clone(tree),
                });
            }
            Document::Index(index) => {
                by_index = true;
                entry = layout.choose_entry(&index, platform, &mut seen)?;
            }
        }
    }
    Err(layout.limit("the index", "index-depth", tree.limits.index_depth))
}

/// Where a blob is.
fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// Where looking for an image begins.
enum Start {
    Entry(Descriptor),
    /// One image, an entry for each platform.
    Platforms(Index),
}

struct Layout<'a> {
    tree: &'a Tree,
}

impl Layout<'_> {
    /// The marker of a layout may be missing, as it is in some programs' exports; one of another
    /// major version is refused.
    fn check_version(&self) -> Result<(), Error> {
        let name = "oci-layout";
        let Some(bytes) = self.tree.read(name, "manifest-bytes", ARCHIVE_DOCUMENT_BYTES)? else {
            return Ok(());
        };
        let json = Json::parse(&bytes).map_err(|cause| self.wrong(name, cause.into()))?;
        match json.get("imageLayoutVersion") {
            Some(Json::String(version)) if version.starts_with("1.") => Ok(()),
            _ => {
                let at = "imageLayoutVersion".to_owned();
                Err(self.wrong(name, ManifestError::Field { at, expected: "a version 1" }))
            }
        }
    }

    fn index(&self) -> Result<Index, Error> {
        let name = "index.json";
        let bytes = self.tree.read(name, "manifest-bytes", ARCHIVE_DOCUMENT_BYTES)?;
        let bytes = bytes.ok_or_else(|| self.missing(name))?;
        match Document::parse(&bytes, None, By::Descriptor(MediaType::OciIndex)) {
            Ok((Document::Index(index), _)) => Ok(index),
            Ok(_) => Err(self.wrong(name, ManifestError::NoKind)),
            Err(cause) => Err(self.wrong(name, cause)),
        }
    }

    fn start(&self, index: &Index, image: Option<&LocalImage>) -> Result<Start, Error> {
        let usable =
            |entry: &&Descriptor| entry.media_type.is_index() || entry.media_type.is_manifest();
        let wanted = |entry: &&Descriptor| match image {
            None => true,
            Some(LocalImage::Digest(digest)) => entry.digest == *digest,
            Some(LocalImage::Name(name)) => is_named(entry, name),
        };
        let mut found: Vec<_> = index.manifests.iter().filter(usable).filter(wanted).collect();
        if let Some(LocalImage::Name(name)) = image
            && found.is_empty()
            && let Some(place) = name.strip_prefix('@').and_then(|place| place.parse().ok())
        {
            found.extend(index.manifests.get::<usize>(place));
        }
        match found.as_slice() {
            [entry] => Ok(Start::Entry((*entry).clone())),
            [] => self.below(index, image),
            [first, ..] => {
                let name = |entry: &Descriptor| entry.annotations.get(REF_NAME).cloned();
                let is_one = found
                    .iter()
                    .all(|entry| entry.platform.is_some() && name(entry) == name(first));
                if image.is_some() || is_one {
                    let manifests = found.into_iter().cloned().collect();
                    return Ok(Start::Platforms(Index { manifests, ..index.clone() }));
                }
                Err(Error::Several { path: self.tree.path().to_owned(), offered: names(index) })
            }
        }
    }

    /// A digest may be that of a manifest within an index.
    fn below(&self, index: &Index, image: Option<&LocalImage>) -> Result<Start, Error> {
        if let Some(LocalImage::Digest(digest)) = image
            && let Some(bytes) = self.tree.read(
                &blob_name(digest),
                "manifest-bytes",
                self.tree.limits.manifest_bytes,
            )?
        {
            let parsed = Document::parse(&bytes, None, By::Digest);
            let (document, _) = parsed.map_err(|cause| self.wrong(&digest.to_string(), cause))?;
            let media_type = match document {
                Document::Index(index) => index.media_type,
                Document::Manifest(manifest) => manifest.media_type,
            };
            let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            return Ok(Start::Entry(Descriptor::new(media_type, digest.clone(), size)));
        }
        let wanted = match image {
            Some(LocalImage::Name(name)) => name.clone(),
            Some(LocalImage::Digest(digest)) => digest.to_string(),
            None => String::new(),
        };
        let path = self.tree.path().to_owned();
        Err(Error::NoImage { path, wanted, offered: names(index) })
    }

    /// The entry for a platform; where none names one, configs are looked into.
    fn choose_entry(
        &self,
        index: &Index,
        wanted: &Platform,
        seen: &mut u64,
    ) -> Result<Descriptor, Error> {
        let inside = match choose_platform(index, wanted)? {
            Choice::Entry(entry) => return Ok(entry.clone()),
            Choice::LookInside(entries) => entries,
        };
        let mut offered = Vec::new();
        for entry in inside {
            if entry.media_type.is_index() {
                return Ok(entry.clone());
            }
            *seen = seen.saturating_add(1);
            let most = self.tree.limits.index_manifests;
            if *seen > most {
                return Err(self.limit("the index", "index-manifests", most));
            }
            let (Document::Manifest(manifest), ..) = self.document(entry)? else { continue };
            if !manifest.config.media_type.is_image_config() {
                continue;
            }
            let config = ImageConfig::parse(&self.config(&manifest)?);
            let name = manifest.config.digest.to_string();
            match config.map_err(|cause| self.wrong(&name, cause))?.platform() {
                Some(found) if rank(wanted, &found).is_some() => return Ok(entry.clone()),
                found => offered.extend(found),
            }
        }
        Err(SelectionError { wanted: wanted.clone(), offered }.into())
    }

    fn document(&self, entry: &Descriptor) -> Result<(Document, Vec<u8>, Vec<String>), Error> {
        let bytes = self.blob(entry, "manifest-bytes", self.tree.limits.manifest_bytes)?;
        let by = By::Descriptor(entry.media_type.clone());
        let parsed = Document::parse(&bytes, None, by);
        let name = entry.digest.to_string();
        let (document, warnings) = parsed.map_err(|cause| self.wrong(&name, cause))?;
        Ok((document, bytes, warnings))
    }

    fn config(&self, manifest: &Manifest) -> Result<Vec<u8>, Error> {
        self.blob(&manifest.config, "config-bytes", self.tree.limits.config_bytes)
    }

    /// A small blob, compared with its descriptor.
    fn blob(
        &self,
        descriptor: &Descriptor,
        key: &'static str,
        limit: u64,
    ) -> Result<Vec<u8>, Error> {
        if let Some(data) = &descriptor.data {
            return Ok(data.clone());
        }
        let name = blob_name(&descriptor.digest);
        let bytes = self.tree.read(&name, key, limit)?.ok_or_else(|| self.missing(&name))?;
        let actual = Digest::of(descriptor.digest.algorithm(), &bytes);
        if actual != descriptor.digest {
            return Err(Error::Digest { path: self.tree.path().to_owned(), name, actual });
        }
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        check_size(self.tree, &name, descriptor, size)?;
        Ok(bytes)
    }

    fn missing(&self, name: &str) -> Error {
        Error::Missing { path: self.tree.path().to_owned(), name: name.to_owned() }
    }

    fn wrong(&self, name: &str, cause: ManifestError) -> Error {
        Error::Document { path: self.tree.path().to_owned(), name: name.to_owned(), cause }
    }

    fn limit(&self, name: &str, key: &'static str, limit: u64) -> Error {
        Error::Limit { path: self.tree.path().to_owned(), name: name.to_owned(), key, limit }
    }
}

fn is_named(entry: &Descriptor, name: &str) -> bool {
    [REF_NAME, FULL_NAME].iter().any(|key| entry.annotations.get(*key).is_some_and(|it| it == name))
}

/// What entries are called, their digests where they have no name.
fn names(index: &Index) -> Vec<String> {
    let entries = index.manifests.iter();
    let names = entries.map(|entry| match entry.annotations.get(REF_NAME) {
        Some(name) => name.clone(),
        None => entry.digest.to_string(),
    });
    names.collect()
}
