//! Images: layers, a config and a manifest, made without the code under test.
//!
//! [`Image`] is a builder; [`Built`] is what registries take. Layers are in [`Layer`]; an
//! [`Index`] holds images for several platforms; an [`Artifact`] is what `oras` pushes. Media
//! types: OCI image specification 1.1 and Docker's "schema 2". Not here: registries
//! ([`crate::registry`]).

mod artifact;
pub mod chances;
mod index;
mod layer;
mod layout;
pub mod likeness;
mod made;
pub mod model;
pub mod raw;
mod ready;
pub mod saved;
mod tar;

pub use artifact::Artifact;
pub use index::Index;
pub use layer::{Compression, Entry, Layer, Names, noise};
pub use made::Made;
pub use ready::probe;

use crate::digest::Digest;
use crate::registry::Blob;
use layer::BuiltLayer;
use serde_json::{Value, json};

/// Which family of media types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schema {
    /// `application/vnd.oci.image...`
    #[default]
    Oci,
    /// `application/vnd.docker.distribution...`
    Docker,
}

impl Schema {
    const fn manifest(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    const fn index(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.index.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    const fn config(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    const fn layer(self, compression: Compression) -> &'static str {
        match (self, compression) {
            (Self::Oci, Compression::Plain) => "application/vnd.oci.image.layer.v1.tar",
            (Self::Oci, Compression::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
            (Self::Oci, _) => "application/vnd.oci.image.layer.v1.tar+gzip",
            (Self::Docker, Compression::Plain) => "application/vnd.docker.image.rootfs.diff.tar",
            (Self::Docker, Compression::Zstd) => {
                "application/vnd.docker.image.rootfs.diff.tar.zstd"
            }
            (Self::Docker, _) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
        }
    }
}

/// An image for one platform.
#[derive(Clone, Debug)]
pub struct Image {
    layers: Vec<Layer>,
    schema: Schema,
    platform: (String, String, Option<String>),
    created: String,
    config: serde_json::Map<String, Value>,
    annotations: serde_json::Map<String, Value>,
}

impl Default for Image {
    fn default() -> Self {
        Self::new()
    }
}

impl Image {
    /// No layers, OCI media types, for the platform that the kit was built for.
    #[must_use]
    pub fn new() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self {
            layers: Vec::new(),
            schema: Schema::Oci,
            platform: ("linux".to_owned(), architecture.to_owned(), None),
            created: "2020-02-20T20:02:02Z".to_owned(),
            config: serde_json::Map::new(),
            annotations: serde_json::Map::new(),
        }
    }

    /// Adds a layer on top.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// The family of media types.
    #[must_use]
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schema = schema;
        self
    }

    /// `linux`, architecture, variant, as OCI spells them.
    #[must_use]
    pub fn platform(mut self, architecture: &str, variant: Option<&str>) -> Self {
        self.platform = ("linux".to_owned(), architecture.to_owned(), variant.map(str::to_owned));
        self
    }

    /// The config's `created`, RFC 3339.
    #[must_use]
    pub fn created(mut self, time: &str) -> Self {
        time.clone_into(&mut self.created);
        self
    }

    /// `ENTRYPOINT`.
    #[must_use]
    pub fn entrypoint(self, words: &[&str]) -> Self {
        self.config("Entrypoint", json!(words))
    }

    /// `CMD`.
    #[must_use]
    pub fn cmd(self, words: &[&str]) -> Self {
        self.config("Cmd", json!(words))
    }

    /// Adds one `ENV`.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        let all = self.config.entry("Env").or_insert_with(|| json!([]));
        if let Some(all) = all.as_array_mut() {
            all.push(json!(format!("{name}={value}")));
        }
        self
    }

    /// Adds one `LABEL`.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        let all = self.config.entry("Labels").or_insert_with(|| json!({}));
        all[name] = json!(value);
        self
    }

    /// `WORKDIR`.
    #[must_use]
    pub fn workdir(self, path: &str) -> Self {
        self.config("WorkingDir", json!(path))
    }

    /// `USER`.
    #[must_use]
    pub fn user(self, user: &str) -> Self {
        self.config("User", json!(user))
    }

    /// Any key of the config's `config`, whatever its value.
    #[must_use]
    pub fn config(mut self, key: &str, value: Value) -> Self {
        self.config.insert(key.to_owned(), value);
        self
    }

    /// Adds an annotation of the manifest.
    #[must_use]
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.to_owned(), json!(value));
        self
    }

    /// Makes the blobs and the manifest.
    #[must_use]
    pub fn build(&self) -> Built {
        let layers: Vec<BuiltLayer> = self.layers.iter().map(Layer::built).collect();
        let diff_ids: Vec<String> = layers.iter().map(|one| one.diff_id.to_string()).collect();
        let config = self.config_of(&diff_ids);
        let mut built = Built { media_type: self.schema.manifest().to_owned(), ..Built::default() };
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": self.schema.manifest(),
            "config": descriptor(self.schema.config(), &config),
            "layers": layers
                .iter()
                .map(|one| described(self.schema.layer(one.compression), &one.digest, one.blob.len()))
                .collect::<Vec<_>>(),
        });
        if !self.annotations.is_empty() {
            manifest["annotations"] = Value::Object(self.annotations.clone());
        }
        built.configs.push(Digest::of(&config));
        built.blobs.push((Digest::of(&config), config.into()));
        for layer in layers {
            built.layers.push(layer.digest.clone());
            built.blobs.push((layer.digest, layer.blob));
        }
        built.manifest = manifest.to_string().into_bytes();
        built
    }

    /// The config of an image of layers of these digests of their tars.
    fn config_of(&self, diff_ids: &[String]) -> Vec<u8> {
        let (os, architecture, variant) = &self.platform;
        let mut config = json!({
            "created": self.created,
            "architecture": architecture,
            "os": os,
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": diff_ids.iter().map(|_| json!({"created_by": "kit"})).collect::<Vec<_>>(),
        });
        if let Some(variant) = variant {
            config["variant"] = json!(variant);
        }
        config.to_string().into_bytes()
    }
}

/// An image, an index or an artifact in the form in which registries hold it.
#[derive(Clone, Debug, Default)]
pub struct Built {
    /// Media type of the manifest.
    pub media_type: String,
    /// Bytes of the manifest or index.
    pub manifest: Vec<u8>,
    /// Manifests that an index names, with their media types.
    pub children: Vec<(String, Vec<u8>)>,
    /// Configs and layers.
    pub blobs: Vec<(Digest, Blob)>,
    /// Which of the blobs are configs.
    pub configs: Vec<Digest>,
    /// Which of the blobs are layers, bottom first.
    pub layers: Vec<Digest>,
}

impl Built {
    /// Digest of the manifest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// The same image under another manifest, such as a wrong one.
    #[must_use]
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        let mut manifest = serde_json::from_slice(&self.manifest).expect("manifests are JSON");
        change(&mut manifest);
        self.manifest = manifest.to_string().into_bytes();
        self
    }
}

impl From<Image> for Built {
    fn from(image: Image) -> Self {
        image.build()
    }
}

impl From<&Image> for Built {
    fn from(image: &Image) -> Self {
        image.build()
    }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    described(media_type, &Digest::of(bytes), bytes.len() as u64)
}

fn described(media_type: &str, digest: &Digest, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": digest.to_string(), "size": size})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_image_is_the_same_bytes() {
        assert_eq!(Image::two_layers().build().digest(), Image::two_layers().build().digest());
    }

    #[test]
    fn the_manifest_names_every_blob() {
        let built = Image::two_layers().schema(Schema::Docker).build();
        let text = String::from_utf8(built.manifest.clone()).unwrap();
        assert_eq!(built.blobs.len(), 3);
        for (digest, blob) in &built.blobs {
            assert!(text.contains(&digest.to_string()), "{digest} is not in {text}");
            assert_eq!(Digest::of(&blob.to_vec().unwrap()), *digest);
        }
    }
}
