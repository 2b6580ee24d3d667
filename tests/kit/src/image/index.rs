//! An index: one name for images of several platforms.

use super::{Built, Image, Schema, descriptor};
use serde_json::json;

/// Images behind one name.
#[derive(Clone, Debug, Default)]
pub struct Index {
    images: Vec<Image>,
    schema: Schema,
    attestations: bool,
}

impl Index {
    /// Without images, OCI media type.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an image; the entry's platform is the image's own.
    #[must_use]
    pub fn image(mut self, image: Image) -> Self {
        self.images.push(image);
        self
    }

    /// The family of the index's own media type.
    #[must_use]
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schema = schema;
        self
    }

    /// Puts first an entry of platform `unknown/unknown`, as builders add for attestations.
    #[must_use]
    pub fn attestation(mut self) -> Self {
        self.attestations = true;
        self
    }

    /// Makes everything.
    #[must_use]
    pub fn build(&self) -> Built {
        let mut all = Built { media_type: self.schema.index().to_owned(), ..Built::default() };
        let mut entries = Vec::new();
        if self.attestations {
            let built = Image::new().platform("unknown", None).build();
            let mut entry = descriptor(&built.media_type, &built.manifest);
            entry["platform"] = json!({"os": "unknown", "architecture": "unknown"});
            entry["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
            entries.push(entry);
            take(&mut all, built);
        }
        for image in &self.images {
            let built = image.build();
            let (os, architecture, variant) = &image.platform;
            let mut entry = descriptor(&built.media_type, &built.manifest);
            entry["platform"] = json!({"os": os, "architecture": architecture});
            if let Some(variant) = variant {
                entry["platform"]["variant"] = json!(variant);
            }
            entries.push(entry);
            take(&mut all, built);
        }
        let index = json!({
            "schemaVersion": 2, "mediaType": self.schema.index(), "manifests": entries,
        });
        all.manifest = index.to_string().into_bytes();
        all
    }
}

fn take(all: &mut Built, built: Built) {
    all.children.push((built.media_type, built.manifest));
    all.blobs.extend(built.blobs);
    all.configs.extend(built.configs);
    all.layers.extend(built.layers);
}

impl From<Index> for Built {
    fn from(index: Index) -> Self {
        index.build()
    }
}
