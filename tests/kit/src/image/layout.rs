//! OCI layout directories: images are taken from one and put into one (OCI image specification,
//! "Image Layout").
//!
//! Blobs stay files; what is read whole are index, manifest and config. Not here: the bytes of layers.

use super::{Built, Image, Schema, described, descriptor};
use crate::digest::Digest;
use crate::registry::Blob;
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};

/// The name of an image in a layout's index.
const NAME: &str = "org.opencontainers.image.ref.name";

/// A layer among a layout's blobs.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// Of the tar, without the algorithm.
    pub(super) diff_id: String,
    /// Of the blob, without the algorithm.
    pub(super) hex: String,
    /// Of the blob, in bytes.
    pub(super) size: u64,
}

/// Makes the directories and returns that of the blobs.
pub(super) fn begin(to: &Path) -> io::Result<PathBuf> {
    let blobs = to.join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    std::fs::write(to.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(blobs)
}

/// Gives a blob that was written under another name its own.
pub(super) fn place(draft: &Path, blob: &Path) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the kit uses no crate of the product")]
    std::fs::rename(draft, blob)
}

/// Writes configs, manifests and, last, the index of images of these gzip layers, all else like
/// `model`.
pub(super) fn end(to: &Path, model: &Image, images: &[(&str, Vec<Stored>)]) -> io::Result<()> {
    let blobs = to.join("blobs/sha256");
    let mut entries = Vec::new();
    for (name, layers) in images {
        let diff_ids: Vec<String> =
            layers.iter().map(|one| format!("sha256:{}", one.diff_id)).collect();
        let config = model.config_of(&diff_ids);
        std::fs::write(blobs.join(Digest::of(&config).hex()), &config)?;
        let media_type = Schema::Oci.layer(super::Compression::Gzip);
        let layers: Vec<Value> = layers
            .iter()
            .map(|one| described(media_type, &Digest::named(&one.hex), one.size))
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": Schema::Oci.manifest(),
            "config": descriptor(Schema::Oci.config(), &config),
            "layers": layers,
        });
        let manifest = manifest.to_string().into_bytes();
        std::fs::write(blobs.join(Digest::of(&manifest).hex()), &manifest)?;
        let mut entry = descriptor(Schema::Oci.manifest(), &manifest);
        entry["annotations"] = json!({ NAME: name });
        entries.push(entry);
    }
    let index = json!({"schemaVersion": 2, "manifests": entries});
    std::fs::write(to.join("index.json"), index.to_string())
}

impl Built {
    /// Takes the image that the layout's index calls `name`; its blobs stay files.
    ///
    /// # Errors
    /// What reading says, and which part of the layout is missing or not understood.
    pub fn from_layout(layout: &Path, name: &str) -> io::Result<Self> {
        let wrong = |what: &str| io::Error::other(format!("{}: {what}", layout.display()));
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).map_err(io::Error::other);
        let index = json(&std::fs::read(layout.join("index.json"))?)?;
        let all = index["manifests"].as_array().ok_or_else(|| wrong("no manifests"))?;
        let entry = all.iter().find(|one| one["annotations"][NAME] == name);
        let entry = entry.ok_or_else(|| wrong(&format!("no image {name}")))?;
        let at = |value: &Value| {
            let digest = Digest::named(value["digest"].as_str().unwrap_or_default());
            (layout.join("blobs/sha256").join(digest.hex()), digest)
        };
        let manifest = std::fs::read(at(entry).0)?;
        let document = json(&manifest)?;
        let mut built = Self { manifest, ..Self::default() };
        entry["mediaType"].as_str().unwrap_or_default().clone_into(&mut built.media_type);
        let layers =
            document["layers"].as_array().ok_or_else(|| wrong("an image without layers"))?;
        for (number, part) in std::iter::once(&document["config"]).chain(layers).enumerate() {
            let (path, digest) = at(part);
            let size = path.metadata()?.len();
            if number == 0 { &mut built.configs } else { &mut built.layers }.push(digest.clone());
            built.blobs.push((digest, Blob::File(path, size)));
        }
        Ok(built)
    }

    /// Writes it as a layout of its own in which it is called `name`, for programs that read those.
    ///
    /// # Errors
    /// What writing says.
    pub fn write_layout(&self, to: &Path, name: &str) -> io::Result<()> {
        let blobs = begin(to)?;
        for (digest, blob) in &self.blobs {
            io::copy(&mut blob.reader(0)?, &mut std::fs::File::create(blobs.join(digest.hex()))?)?;
        }
        for (_, bytes) in &self.children {
            std::fs::write(blobs.join(Digest::of(bytes).hex()), bytes)?;
        }
        std::fs::write(blobs.join(self.digest().hex()), &self.manifest)?;
        let mut entry = descriptor(&self.media_type, &self.manifest);
        entry["annotations"] = json!({ NAME: name });
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        std::fs::write(to.join("index.json"), index.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_taken_again() {
        let at = tempfile::tempdir().unwrap();
        let image = Image::two_layers().build();
        image.write_layout(at.path(), "here").unwrap();
        let back = Built::from_layout(at.path(), "here").unwrap();
        assert_eq!((back.digest(), &back.layers), (image.digest(), &image.layers));
        assert_eq!((&back.media_type, &back.configs), (&image.media_type, &image.configs));
        assert!(Built::from_layout(at.path(), "there").unwrap_err().to_string().contains("there"));
    }
}
