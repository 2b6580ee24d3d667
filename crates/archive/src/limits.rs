//! What archives and layouts may ask for.
//!
//! Defaults: `orlop_config::limits`. Not here: what their layers may, once they are converted.

use orlop_config::limits;

/// Limits on archives and layouts.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Of tars, and of what an archive or layer is unpacked to.
    pub tar: orlop_image::Limits,
    /// Bytes of a manifest or an index.
    pub manifest_bytes: u64,
    /// Bytes of a config.
    pub config_bytes: u64,
    /// Indexes within indexes.
    pub index_depth: u64,
    /// Manifests looked into to choose from one index.
    pub index_manifests: u64,
    /// Layers of one image.
    pub layers: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let number = |count| u64::try_from(count).unwrap_or(u64::MAX);
        Self {
            tar: orlop_image::Limits::default(),
            manifest_bytes: limits::MANIFEST_BYTES,
            config_bytes: limits::CONFIG_BYTES,
            index_depth: number(limits::INDEX_DEPTH),
            index_manifests: number(limits::INDEX_MANIFESTS),
            layers: number(limits::LAYERS),
        }
    }
}
