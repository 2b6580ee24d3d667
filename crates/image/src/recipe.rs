//! stub
use orlop_oci::config::ImageConfig;
use orlop_oci::digest::Digest;
use orlop_oci::platform::Platform;
use crate::error::Error;
use crate::key::SegmentKey;
use crate::options::Options;
use crate::segment::SegmentIndex;

/// What, besides its layers, an image's SIF is made of.
#[derive(Clone, Debug)]
pub struct ImageInputs {
    /// Digest of the manifest of this platform (not of the index).
    pub manifest_digest: Digest,
    /// The platform asked for and found.
    pub platform: Platform,
    /// The canonical reference the user named, `host/path[:tag]`, without a digest.
    pub name: String,
    /// The image config.
    pub config: ImageConfig,
    /// `docker` for images from a registry.
    pub scheme: String,
}

/// Recipe
#[derive(Clone, Debug)]
pub struct Recipe { segments: Vec<SegmentKey> }
impl Recipe {
    /// bytes
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> { Vec::new() }
    /// parse
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> { let _ = bytes; Err(Error::Stopped) }
    /// Bytes of the SIF
    #[must_use]
    pub fn sif_size(&self) -> u64 { 0 }
    /// Segments data is taken from, in order
    #[must_use]
    pub fn segments(&self) -> &[SegmentKey] { &self.segments }
    /// Offset and length of the squashfs partition in the SIF, in bytes.
    #[must_use]
    pub fn partition(&self) -> (u64, u64) { (0, 0) }
    /// Facts a user may want to know (merge), one line each, escaped. Not part of the bytes.
    #[must_use]
    pub fn warnings(&self) -> &[String] { &[] }
}
/// build
pub fn build_recipe(inputs: &ImageInputs, layers: &[(SegmentKey, &SegmentIndex)], options: &Options) -> Result<Recipe, Error> {
    let _ = (inputs, layers, options);
    Err(Error::Stopped)
}
