//! Artifacts: a SIF file under a manifest, in the forms that pushing programs write.

use super::{Built, descriptor};
use crate::digest::Digest;
use serde_json::json;

/// Media type of a SIF layer.
const SIF: &str = "application/vnd.sylabs.sif.layer.v1.sif";

/// A SIF as `oras://` holds it.
#[derive(Clone, Debug)]
pub struct Artifact {
    bytes: Vec<u8>,
    media_type: String,
    config_type: String,
    title: String,
}

impl Artifact {
    /// As Apptainer's push writes it: an empty config of type
    /// `application/vnd.sylabs.sif.config.v1`, one layer, its title the file's name.
    #[must_use]
    pub fn sif(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            media_type: SIF.to_owned(),
            config_type: "application/vnd.sylabs.sif.config.v1".to_owned(),
            title: "image.sif".to_owned(),
        }
    }

    /// Another media type of the layer.
    #[must_use]
    pub fn media_type(mut self, media_type: &str) -> Self {
        media_type.clone_into(&mut self.media_type);
        self
    }

    /// Another media type of the config.
    #[must_use]
    pub fn config_type(mut self, media_type: &str) -> Self {
        media_type.clone_into(&mut self.config_type);
        self
    }

    /// Another file name.
    #[must_use]
    pub fn title(mut self, title: &str) -> Self {
        title.clone_into(&mut self.title);
        self
    }

    /// Makes config and manifest.
    #[must_use]
    pub fn build(&self) -> Built {
        let config = b"{}".to_vec();
        let mut layer = descriptor(&self.media_type, &self.bytes);
        layer["annotations"] = json!({"org.opencontainers.image.title": self.title});
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": descriptor(&self.config_type, &config),
            "layers": [layer],
        });
        let (config_digest, layer_digest) = (Digest::of(&config), Digest::of(&self.bytes));
        Built {
            media_type: media_type.to_owned(),
            manifest: manifest.to_string().into_bytes(),
            children: Vec::new(),
            blobs: vec![
                (config_digest.clone(), config.into()),
                (layer_digest.clone(), self.bytes.clone().into()),
            ],
            configs: vec![config_digest],
            layers: vec![layer_digest],
        }
    }
}

impl From<Artifact> for Built {
    fn from(artifact: Artifact) -> Self {
        artifact.build()
    }
}
