//! Archives as `docker save` writes them and wrote them, and as other programs do.
//!
//! Docker image specification 1.2 ("Combined Image JSON + Filesystem Changeset Format") and what
//! came before and after it. Not here: OCI layouts ([`super::Built::write_layout`]).

use super::layer::{BuiltLayer, pack};
use super::{Built, Compression, Entry, Image, Layer};
use crate::digest::Digest;
use serde_json::{Value, json};

/// Who wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// skopeo: layers are files beside the config, named by their digests.
    #[default]
    Plain,
    /// Docker from 1.10 to 24: a directory for each layer.
    Directories,
    /// Such directories with links to one file for each layer: symbolic and hard ones.
    Links,
    /// Docker since 25: an OCI layout too.
    Blobs,
    /// Docker before 1.10: no `manifest.json`, no config.
    Repositories,
}

/// How the whole archive is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wrapping {
    /// Not at all.
    #[default]
    None,
    /// `.tar.gz`
    Gzip,
    /// `.tar.zst`
    Zstd,
}

/// An archive of images.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    images: Vec<(String, Image)>,
    sort: Sort,
    wrapping: Wrapping,
    layers: Option<Compression>,
    removed: Vec<String>,
    added: Vec<Entry>,
}

impl Saved {
    /// One image of this `name:tag`, as skopeo writes it.
    #[must_use]
    pub fn new(name: &str, image: Image) -> Self {
        Self::default().image(name, image)
    }

    /// Adds another image.
    #[must_use]
    pub fn image(mut self, name: &str, image: Image) -> Self {
        self.images.push((name.to_owned(), image));
        self
    }

    /// Writes it as this program does.
    #[must_use]
    pub fn sort(mut self, sort: Sort) -> Self {
        self.sort = sort;
        self
    }

    /// Compresses the whole.
    #[must_use]
    pub fn wrapped(mut self, wrapping: Wrapping) -> Self {
        self.wrapping = wrapping;
        self
    }

    /// Compresses each layer, which the format does not foresee and programs do.
    #[must_use]
    pub fn layers_as(mut self, compression: Compression) -> Self {
        self.layers = Some(compression);
        self
    }

    /// Leaves out the entries of this name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.removed.push(name.to_owned());
        self
    }

    /// Adds an entry at the end.
    #[must_use]
    pub fn entry(mut self, entry: Entry) -> Self {
        self.added.push(entry);
        self
    }

    /// Name of the first image's config in the forms that name it by its digest.
    #[must_use]
    pub fn config_name(&self) -> String {
        let (config, _) = self.parts(0);
        format!("{}.json", Digest::of(&config).hex())
    }

    /// Name of a layer's file in [`Sort::Plain`].
    #[must_use]
    pub fn layer_name(&self, number: usize) -> String {
        let (_, layers) = self.parts(0);
        layers[number].0.clone()
    }

    /// The archive.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut entries = Vec::new();
        let mut list = Vec::new();
        let mut names = serde_json::Map::new();
        for (number, (name, image)) in self.images.iter().enumerate() {
            let (config, layers) = self.parts(number);
            let config_name = self.config_entry(&config, &mut entries);
            let built = image.build();
            let files = self.layer_entries(&built, &layers, &config, &mut entries);
            let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
            let top = files.last().map(|file| file.trim_end_matches("/layer.tar").to_owned());
            names.insert(repository.to_owned(), json!({ tag: top }));
            list.push(json!({"Config": config_name, "RepoTags": [name], "Layers": files}));
        }
        if self.sort != Sort::Repositories {
            entries.push(Entry::file("manifest.json", Value::from(list).to_string()));
        }
        if matches!(self.sort, Sort::Directories | Sort::Repositories) {
            entries.push(Entry::file("repositories", Value::from(names).to_string()));
        }
        entries.retain(|entry| !self.removed.iter().any(|name| name.as_bytes() == entry.path));
        entries.extend(self.added.iter().cloned());
        let tar = Layer::new().entries(entries).tar();
        match self.wrapping {
            Wrapping::None => tar,
            Wrapping::Gzip => pack(tar, Compression::Gzip),
            Wrapping::Zstd => pack(tar, Compression::Zstd),
        }
    }

    /// The config, and the layers with their names in [`Sort::Plain`].
    fn parts(&self, number: usize) -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
        let image = &self.images[number].1;
        let built = image.build();
        let config = built.blobs.iter().find(|(digest, _)| built.configs.contains(digest));
        let config = config.expect("images have configs").1.to_vec().expect("it is in memory");
        let layers = image.layers.iter().map(|layer| {
            let BuiltLayer { diff_id, .. } = layer.built();
            let tar = layer.tar();
            let (ending, bytes) = match self.layers {
                None => ("tar", tar),
                Some(compression) => ("tar.gz", pack(tar, compression)),
            };
            (format!("{}.{ending}", diff_id.hex()), bytes)
        });
        (config, layers.collect())
    }

    fn config_entry(&self, config: &[u8], entries: &mut Vec<Entry>) -> String {
        let hex = Digest::of(config).hex().to_owned();
        let name = match self.sort {
            Sort::Repositories => return String::new(),
            Sort::Blobs => format!("blobs/sha256/{hex}"),
            _ => format!("{hex}.json"),
        };
        entries.push(Entry::file(name.clone(), config));
        name
    }

    /// Adds the entries of the layers and gives the names by which they are listed.
    fn layer_entries(
        &self,
        built: &Built,
        layers: &[(String, Vec<u8>)],
        config: &[u8],
        entries: &mut Vec<Entry>,
    ) -> Vec<String> {
        let mut names = Vec::new();
        let mut parent: Option<String> = None;
        for (number, (plain, bytes)) in layers.iter().enumerate() {
            let id = Digest::of(format!("{plain} {number}").as_bytes()).hex().to_owned();
            let name = match self.sort {
                Sort::Plain => plain.clone(),
                Sort::Blobs => format!("blobs/sha256/{}", Digest::of(bytes).hex()),
                _ => format!("{id}/layer.tar"),
            };
            match self.sort {
                Sort::Plain | Sort::Blobs => entries.push(Entry::file(name.clone(), &bytes[..])),
                Sort::Links => {
                    entries.push(Entry::file(plain.clone(), &bytes[..]));
                    entries.push(Entry::dir(id.clone()));
                    entries.push(match number % 2 {
                        0 => Entry::symlink(name.clone(), format!("../{plain}")),
                        _ => Entry::hardlink(name.clone(), plain.clone()),
                    });
                }
                Sort::Directories | Sort::Repositories => {
                    let mut says: Value = serde_json::from_slice(config).expect("it is JSON");
                    says["id"] = json!(id);
                    says["parent"] = json!(parent);
                    if let Some(members) = says.as_object_mut() {
                        members.remove("rootfs");
                        members.remove("history");
                    }
                    entries.push(Entry::dir(id.clone()));
                    entries.push(Entry::file(format!("{id}/VERSION"), "1.0"));
                    entries.push(Entry::file(format!("{id}/json"), says.to_string()));
                    entries.push(Entry::file(name.clone(), &bytes[..]));
                }
            }
            parent = Some(id);
            names.push(name);
        }
        if self.sort == Sort::Blobs {
            let entry = super::descriptor(&built.media_type, &built.manifest);
            let index = json!({"schemaVersion": 2, "manifests": [entry]});
            let version = r#"{"imageLayoutVersion":"1.0.0"}"#;
            entries.push(Entry::file("oci-layout", version));
            entries.push(Entry::file("index.json", index.to_string()));
        }
        names
    }
}
