//! Manifests and indexes: strict JSON to checked documents, and the manifest of a pushed SIF.
//!
//! Spec: image spec, manifest.md and image-index.md; rules for disagreeing types: `registry.md`
//! §1.4 and §7.2; cases R41 to R67 of `reliability.md` as far as parsing goes. A document is one
//! kind or the other, never both. Not here: the limit on the bytes of a document (who reads the
//! body, `orlop-registry`); the image's config ([`crate::config`]).

use std::collections::BTreeMap;

use crate::descriptor::Descriptor;
use crate::digest::DigestError;
use crate::json::{self, Json, JsonError};
use crate::media_type::MediaType;

mod fields;

pub(crate) use fields::Fields;

#[cfg(test)]
mod tests;

/// An index or a manifest.
#[expect(clippy::large_enum_variant, reason = "one is alive at a time, and moved a few times")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// An image index or a Docker manifest list.
    Index(Index),
    /// An image manifest of either format.
    Manifest(Manifest),
}

/// A list of manifests, one for each platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The type as which it was read.
    pub media_type: MediaType,
    /// Entries in file order; may be empty.
    pub manifests: Vec<Descriptor>,
    /// Annotations, sorted by key.
    pub annotations: BTreeMap<String, String>,
    /// Type of an artifact that is no image.
    pub artifact_type: Option<String>,
}

/// One image, or an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The type as which it was read.
    pub media_type: MediaType,
    /// The config blob.
    pub config: Descriptor,
    /// Layers, the base first.
    pub layers: Vec<Descriptor>,
    /// Annotations, sorted by key.
    pub annotations: BTreeMap<String, String>,
    /// Type of an artifact that is no image.
    pub artifact_type: Option<String>,
}

/// How a document was asked for: it decides which of several types counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// By tag: header and body have to agree.
    Tag,
    /// By a digest that a user named: the body's type counts.
    Digest,
    /// Through a descriptor, whose type counts.
    Descriptor(MediaType),
}

/// What a caller can do about a [`ManifestError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestErrorKind {
    /// The document is broken.
    Invalid,
    /// The document is whole and asks for something that Orlop does not do.
    Unsupported,
}

/// Why bytes are no document that Orlop reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not strict JSON.
    #[error("not strict JSON")]
    Json(#[from] JsonError),
    /// A member is missing or has the wrong type or value.
    #[error("`{at}` is missing or is not {expected}")]
    Field {
        /// Place in the document, as in `layers[3].size`.
        at: String,
        /// What has to be there.
        expected: &'static str,
    },
    /// A digest is malformed.
    #[error("`{at}` is not a digest")]
    Digest {
        /// Place in the document.
        at: String,
        /// What is wrong with it.
        #[source]
        cause: DigestError,
    },
    /// Members of an index and of a manifest in one document (CVE-2021-41190).
    #[error("the document is read as {kind} and has the member `{member}` of the other kind")]
    BothKinds {
        /// What it is read as.
        kind: &'static str,
        /// The member that does not belong there.
        member: &'static str,
    },
    /// The type in the answer's header and the one in the body differ, or the header's is no
    /// manifest type.
    #[error("the registry calls the document {header:?}, its own `mediaType` is {body:?}")]
    MediaType {
        /// The header's type.
        header: String,
        /// The body's type, empty when it has none.
        body: String,
    },
    /// Nothing says what the document is.
    #[error("the document is neither an index nor a manifest")]
    NoKind,
    /// The layers' sizes have a sum beyond 2^64.
    #[error("the sizes of the layers have no sum below 2^64")]
    SizeSum,
    /// The config lists another number of layers than the manifest.
    #[error("the manifest has {layers} layers and the config has {diff_ids} diff_ids")]
    LayerCount {
        /// Layers in the manifest.
        layers: usize,
        /// Entries of `rootfs.diff_ids`.
        diff_ids: usize,
    },
    /// Docker's first manifest format.
    #[error(
        "the image is in Docker's schema 1 format and must be rebuilt in the OCI or Docker schema 2 format"
    )]
    Schema1,
    /// A digest algorithm that the image spec registers and Orlop lacks.
    #[error("`{at}` uses the digest algorithm {name}, and only sha256 and sha512 are supported")]
    UnsupportedAlgorithm {
        /// Place in the document.
        at: String,
        /// The algorithm.
        name: String,
    },
    /// A layer is encrypted.
    #[error("layer {layer} is encrypted ({media_type})")]
    Encrypted {
        /// Position in the list of layers, from 0.
        layer: usize,
        /// Its type.
        media_type: String,
    },
    /// A SIF file was pushed here: `oras://` fetches it.
    #[error("the repository holds a SIF file and no image of layers: use oras://")]
    SifArtifact,
    /// An image of layers where a SIF file was asked for.
    #[error("the repository holds an image of layers and no SIF file: use docker://")]
    NotSif,
    /// A SIF artifact has another number of layers than one. The text is Apptainer's.
    #[error("ORAS SIF image should have a single layer, found {found}")]
    SifLayers {
        /// How many there are.
        found: usize,
    },
    /// A SIF artifact's layer has another type. The text is Apptainer's.
    #[error("invalid layer mediatype: {media_type}")]
    SifLayerType {
        /// The type.
        media_type: String,
    },
    /// An artifact of another kind than an image.
    #[error("the manifest describes no image but an artifact of type {artifact:?}")]
    Artifact {
        /// Its type, or the config's.
        artifact: String,
    },
    /// A layer whose type is not known.
    #[error("layer {layer} has the unknown type {media_type:?}")]
    LayerType {
        /// Position in the list of layers, from 0.
        layer: usize,
        /// Its type.
        media_type: String,
    },
}

impl ManifestError {
    /// Tells a broken document from one that asks for too much.
    #[must_use]
    pub const fn kind(&self) -> ManifestErrorKind {
        match self {
            Self::Json(_)
            | Self::Field { .. }
            | Self::Digest { .. }
            | Self::BothKinds { .. }
            | Self::MediaType { .. }
            | Self::NoKind
            | Self::SizeSum
            | Self::LayerCount { .. } => ManifestErrorKind::Invalid,
            Self::Schema1
            | Self::UnsupportedAlgorithm { .. }
            | Self::Encrypted { .. }
            | Self::SifArtifact
            | Self::NotSif
            | Self::SifLayers { .. }
            | Self::SifLayerType { .. }
            | Self::Artifact { .. }
            | Self::LayerType { .. } => ManifestErrorKind::Unsupported,
        }
    }
}

impl Document {
    /// Parses a document, with the `Content-Type` of the answer and the way it was asked for.
    /// The second half of the result is warnings for the user.
    ///
    /// # Errors
    /// [`ManifestError`]; nothing is read from a document that is not whole and of one kind.
    pub fn parse(
        bytes: &[u8],
        content_type: Option<&str>,
        by: By,
    ) -> Result<(Self, Vec<String>), ManifestError> {
        let json = Json::parse(bytes)?;
        let fields = Fields::new(&json, "")?;
        let header =
            content_type.map(MediaType::parse).filter(|header| !header.as_str().is_empty());
        let body =
            fields.string("mediaType")?.filter(|text| !text.is_empty()).map(MediaType::parse);
        if is_schema1(&json, header.as_ref(), body.as_ref()) {
            return Err(ManifestError::Schema1);
        }
        if json.get("schemaVersion") != Some(&Json::Number("2".into())) {
            return Err(fields.wrong("schemaVersion", "2"));
        }
        let mut warnings = Vec::new();
        let media_type = decide(&json, header, body, by, &mut warnings)?;
        let document = if media_type.is_index() {
            Self::Index(read_index(&json, &fields, media_type)?)
        } else {
            Self::Manifest(read_manifest(&json, &fields, media_type)?)
        };
        Ok((document, warnings))
    }

    /// Returns the type as which the document was read.
    #[must_use]
    pub const fn media_type(&self) -> &MediaType {
        match self {
            Self::Index(index) => &index.media_type,
            Self::Manifest(manifest) => &manifest.media_type,
        }
    }
}

fn is_schema1(json: &Json, header: Option<&MediaType>, body: Option<&MediaType>) -> bool {
    [header, body].into_iter().flatten().any(|one| matches!(one, MediaType::DockerSchema1(_)))
        || json.get("schemaVersion") == Some(&Json::Number("1".into()))
}

/// Decides as what the document is read.
fn decide(
    json: &Json,
    header: Option<MediaType>,
    body: Option<MediaType>,
    by: By,
    warnings: &mut Vec<String>,
) -> Result<MediaType, ManifestError> {
    let known = |one: &MediaType| one.is_index() || one.is_manifest();
    let agree = match (&header, &body) {
        (Some(header), Some(body)) => header == body,
        _ => true,
    };
    let mismatch = || ManifestError::MediaType {
        header: header.as_ref().map(ToString::to_string).unwrap_or_default(),
        body: body.as_ref().map(ToString::to_string).unwrap_or_default(),
    };
    let decided = match by {
        By::Tag if !agree || header.as_ref().is_some_and(|header| !known(header)) => {
            return Err(mismatch());
        }
        By::Tag => header.clone().or_else(|| body.clone()),
        By::Digest => body.clone().filter(known).or_else(|| header.clone().filter(known)),
        By::Descriptor(ref wanted) => Some(wanted.clone()),
    };
    let decided = match decided.or_else(|| shape(json)) {
        Some(decided) if known(&decided) => decided,
        _ => return Err(ManifestError::NoKind),
    };
    if let Some(other) = [&header, &body].into_iter().flatten().find(|other| **other != decided) {
        let text = other.as_str();
        warnings.push(format!("a document of type {decided} is also called {text:?}"));
    }
    Ok(decided)
}

/// What a document without any type must be, from its members.
fn shape(json: &Json) -> Option<MediaType> {
    match (json.get("manifests"), json.get("config")) {
        (Some(_), None) => Some(MediaType::OciIndex),
        (None, Some(_)) => Some(MediaType::OciManifest),
        _ => None,
    }
}

fn refuse_members(
    json: &Json,
    kind: &'static str,
    members: &[&'static str],
) -> Result<(), ManifestError> {
    let Json::Object(present) = json else { return Ok(()) };
    match members.iter().find(|member| present.contains_key(**member)) {
        Some(member) => Err(ManifestError::BothKinds { kind, member }),
        None => Ok(()),
    }
}

fn read_index(
    json: &Json,
    fields: &Fields<'_>,
    media_type: MediaType,
) -> Result<Index, ManifestError> {
    refuse_members(json, "an index", &["layers", "config", "fsLayers", "history"])?;
    Ok(Index {
        media_type,
        manifests: descriptors(fields, "manifests")?,
        annotations: fields.string_map("annotations")?,
        artifact_type: fields.string("artifactType")?.map(str::to_owned),
    })
}

fn read_manifest(
    json: &Json,
    fields: &Fields<'_>,
    media_type: MediaType,
) -> Result<Manifest, ManifestError> {
    refuse_members(json, "a manifest", &["manifests", "fsLayers", "history"])?;
    let config = json.get("config").ok_or_else(|| fields.wrong("config", "a descriptor"))?;
    let manifest = Manifest {
        media_type,
        config: Descriptor::from_json(config, "config")?,
        layers: descriptors(fields, "layers")?,
        annotations: fields.string_map("annotations")?,
        artifact_type: fields.string("artifactType")?.map(str::to_owned),
    };
    manifest.checked_size().map(|_sum| manifest)
}

fn descriptors(fields: &Fields<'_>, key: &'static str) -> Result<Vec<Descriptor>, ManifestError> {
    let items = fields.required_array(key, "a list of descriptors")?;
    let read = |(place, item)| Descriptor::from_json(item, &format!("{key}[{place}]"));
    items.iter().enumerate().map(read).collect()
}

impl Manifest {
    fn checked_size(&self) -> Result<u64, ManifestError> {
        self.layers
            .iter()
            .try_fold(self.config.size, |sum, layer| sum.checked_add(layer.size))
            .ok_or(ManifestError::SizeSum)
    }

    /// Returns the bytes of config and layers together.
    #[must_use]
    pub fn total_size(&self) -> u64 {
        // A parsed manifest has been checked; one built by hand saturates.
        self.checked_size().unwrap_or(u64::MAX)
    }

    /// Checks that this is an image of layers that can be converted: `docker://`.
    ///
    /// # Errors
    /// One of the unsupported kinds, with what the user can do in its text.
    pub fn check_image(&self) -> Result<(), ManifestError> {
        if self.layers.iter().any(|layer| layer.media_type.is_sif())
            || self.config.media_type == MediaType::SifConfig
        {
            return Err(ManifestError::SifArtifact);
        }
        for (layer, descriptor) in self.layers.iter().enumerate() {
            if descriptor.media_type.is_encrypted() {
                let media_type = descriptor.media_type.to_string();
                return Err(ManifestError::Encrypted { layer, media_type });
            }
        }
        if !self.config.media_type.is_image_config() {
            let config = self.config.media_type.to_string();
            let artifact = self.artifact_type.clone().unwrap_or(config);
            return Err(ManifestError::Artifact { artifact });
        }
        let unknown =
            self.layers.iter().position(|layer| layer.media_type.layer_compression().is_none());
        match unknown.and_then(|layer| Some((layer, self.layers.get(layer)?))) {
            Some((layer, descriptor)) => {
                let media_type = descriptor.media_type.to_string();
                Err(ManifestError::LayerType { layer, media_type })
            }
            None => Ok(()),
        }
    }

    /// Returns the one layer of a SIF artifact: `oras://`. The config's type does not matter.
    ///
    /// # Errors
    /// [`ManifestError::NotSif`] for an image of layers, else Apptainer's two texts.
    pub fn sif_layer(&self) -> Result<&Descriptor, ManifestError> {
        let is_tar = |layer: &Descriptor| layer.media_type.layer_compression().is_some();
        match self.layers.as_slice() {
            [layer] if layer.media_type.is_sif() => Ok(layer),
            layers if layers.iter().any(is_tar) || self.config.media_type.is_image_config() => {
                Err(ManifestError::NotSif)
            }
            [layer] => {
                Err(ManifestError::SifLayerType { media_type: layer.media_type.to_string() })
            }
            layers => Err(ManifestError::SifLayers { found: layers.len() }),
        }
    }

    /// Checks that the config lists as many layers as this manifest.
    ///
    /// # Errors
    /// [`ManifestError::LayerCount`].
    pub fn check_diff_ids(&self, diff_ids: usize) -> Result<(), ManifestError> {
        let layers = self.layers.len();
        if layers == diff_ids {
            Ok(())
        } else {
            Err(ManifestError::LayerCount { layers, diff_ids })
        }
    }

    /// Returns the manifest that `push` writes for the SIF file `layer`, named `title`: the bytes
    /// that Apptainer 1.4.5 writes for the same file, plus `annotations` when there are any
    /// (`contract.md` §5.1).
    #[must_use]
    pub fn sif(layer: &Descriptor, title: &str, annotations: &BTreeMap<String, String>) -> Vec<u8> {
        let config = Descriptor::of(MediaType::SifConfig, SIF_CONFIG);
        let titled =
            BTreeMap::from([("org.opencontainers.image.title".to_owned(), title.to_owned())]);
        let layer = Descriptor { media_type: MediaType::SifLayer, ..layer.clone() };
        let mut members = vec![
            ("schemaVersion", "2".to_owned()),
            ("mediaType", json::string_text(MediaType::OciManifest.as_str())),
            ("config", descriptor_text(&config, &BTreeMap::new())),
            ("layers", format!("[{}]", descriptor_text(&layer, &titled))),
        ];
        if !annotations.is_empty() {
            members.push(("annotations", string_map_text(annotations)));
        }
        json::object_text(members).into_bytes()
    }
}

impl Manifest {
    /// Returns a manifest of Docker's schema 2 with these members and nothing else: what an image
    /// without a manifest is told by.
    #[must_use]
    pub fn docker(config: &Descriptor, layers: &[Descriptor]) -> Vec<u8> {
        let none = BTreeMap::new();
        let layers: Vec<_> = layers.iter().map(|layer| descriptor_text(layer, &none)).collect();
        let members = [
            ("schemaVersion", "2".to_owned()),
            ("mediaType", json::string_text(MediaType::DockerManifest.as_str())),
            ("config", descriptor_text(config, &none)),
            ("layers", format!("[{}]", layers.join(","))),
        ];
        json::object_text(members).into_bytes()
    }
}

/// The config blob of a pushed SIF.
pub const SIF_CONFIG: &[u8] = b"{}";

/// The members in the order in which Apptainer's library writes them.
fn descriptor_text(descriptor: &Descriptor, annotations: &BTreeMap<String, String>) -> String {
    let mut members = vec![
        ("mediaType", json::string_text(descriptor.media_type.as_str())),
        ("size", descriptor.size.to_string()),
        ("digest", json::string_text(&descriptor.digest.to_string())),
    ];
    if !annotations.is_empty() {
        members.push(("annotations", string_map_text(annotations)));
    }
    json::object_text(members)
}

fn string_map_text(map: &BTreeMap<String, String>) -> String {
    json::object_text(map.iter().map(|(key, value)| (key.as_str(), json::string_text(value))))
}
