//! The nouns of the image and distribution specifications: digests, references, descriptors,
//! manifests, configs, platforms, and the choice of a platform from an index.
//!
//! Everything here is parsing, printing and deciding: no file is opened, no request is sent, no
//! clock is read. Foreign bytes come in as `&[u8]` or `&str` and leave as checked types or errors.
//! Not here: settings and `registries.conf` (`orlop-config`); HTTP (`orlop-registry`); tar and
//! squashfs (`orlop-image`).
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod config;
pub mod descriptor;
pub mod digest;
pub mod host;
pub mod json;
pub mod manifest;
pub mod media_type;
pub mod platform;
pub mod reference;
pub mod selection;
pub mod text;
pub mod uri;

pub use config::ImageConfig;
pub use descriptor::Descriptor;
pub use digest::{Algorithm, DiffId, Digest, DigestError, Hasher};
pub use host::{Host, HostError};
pub use manifest::{By, Document, Index, Manifest, ManifestError, ManifestErrorKind};
pub use media_type::{Compression, MediaType};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError, ReferenceErrorKind};
pub use selection::{Choice, SelectionError, choose};
pub use uri::{ImageUri, LocalImage, Transport, UriError};
