//! Media types of the OCI and Docker image formats.
//!
//! Table: `registry.md` §7.1. Parameters after `;` are no part of a media type. Not here: what to
//! do when a document's type and a header disagree ([`crate::manifest`]).

use std::fmt;

/// How a layer's tar is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Compression {
    /// A plain tar.
    None,
    /// One or several gzip members.
    Gzip,
    /// One or several zstd frames.
    Zstd,
}

impl Compression {
    /// Tells by the first bytes, of which four are enough; what is neither is taken for a plain tar.
    #[must_use]
    pub const fn of_first_bytes(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or one to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::None => "plain tar",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// Whether a layer may be served by any registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Distribution {
    /// An ordinary layer.
    Open,
    /// A foreign (Docker) or nondistributable (OCI) layer: its bytes may be elsewhere only.
    Foreign,
}

/// A media type, told apart as far as Orlop treats it differently.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MediaType {
    /// `application/vnd.oci.image.index.v1+json`
    OciIndex,
    /// `application/vnd.docker.distribution.manifest.list.v2+json`
    DockerList,
    /// `application/vnd.oci.image.manifest.v1+json`
    OciManifest,
    /// `application/vnd.docker.distribution.manifest.v2+json`
    DockerManifest,
    /// `application/vnd.docker.distribution.manifest.v1+json`, also `+prettyjws`: refused.
    DockerSchema1(Schema1),
    /// `application/vnd.oci.image.config.v1+json`
    OciConfig,
    /// `application/vnd.docker.container.image.v1+json`
    DockerConfig,
    /// `application/vnd.oci.empty.v1+json`: the two bytes `{}`.
    OciEmpty,
    /// An OCI layer.
    OciLayer(Compression, Distribution),
    /// A Docker layer.
    DockerLayer(Compression, Distribution),
    /// `application/vnd.sylabs.sif.config.v1+json`
    SifConfig,
    /// `application/vnd.sylabs.sif.layer.v1.sif`
    SifLayer,
    /// `appliciation/vnd.sylabs.sif.layer.tar`, the misspelt type of old pushes of a SIF.
    OldSifLayer,
    /// Anything else, as written.
    Other(String),
}

/// The two spellings of Docker's first manifest format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Schema1 {
    /// Without signatures.
    Plain,
    /// With signatures, `+prettyjws`.
    Signed,
}

use Compression::{Gzip, None as Plain, Zstd};
use Distribution::{Foreign, Open};

/// Each known type with its text.
const KNOWN: &[(MediaType, &str)] = &[
    (MediaType::OciIndex, "application/vnd.oci.image.index.v1+json"),
    (MediaType::DockerList, "application/vnd.docker.distribution.manifest.list.v2+json"),
    (MediaType::OciManifest, "application/vnd.oci.image.manifest.v1+json"),
    (MediaType::DockerManifest, "application/vnd.docker.distribution.manifest.v2+json"),
    (
        MediaType::DockerSchema1(Schema1::Plain),
        "application/vnd.docker.distribution.manifest.v1+json",
    ),
    (
        MediaType::DockerSchema1(Schema1::Signed),
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    ),
    (MediaType::OciConfig, "application/vnd.oci.image.config.v1+json"),
    (MediaType::DockerConfig, "application/vnd.docker.container.image.v1+json"),
    (MediaType::OciEmpty, "application/vnd.oci.empty.v1+json"),
    (MediaType::OciLayer(Plain, Open), "application/vnd.oci.image.layer.v1.tar"),
    (MediaType::OciLayer(Gzip, Open), "application/vnd.oci.image.layer.v1.tar+gzip"),
    (MediaType::OciLayer(Zstd, Open), "application/vnd.oci.image.layer.v1.tar+zstd"),
    (
        MediaType::OciLayer(Plain, Foreign),
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
    ),
    (
        MediaType::OciLayer(Gzip, Foreign),
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ),
    (
        MediaType::OciLayer(Zstd, Foreign),
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    ),
    (MediaType::DockerLayer(Plain, Open), "application/vnd.docker.image.rootfs.diff.tar"),
    (MediaType::DockerLayer(Gzip, Open), "application/vnd.docker.image.rootfs.diff.tar.gzip"),
    (MediaType::DockerLayer(Zstd, Open), "application/vnd.docker.image.rootfs.diff.tar.zstd"),
    (
        MediaType::DockerLayer(Plain, Foreign),
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ),
    (
        MediaType::DockerLayer(Gzip, Foreign),
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ),
    (MediaType::SifConfig, "application/vnd.sylabs.sif.config.v1+json"),
    (MediaType::SifLayer, "application/vnd.sylabs.sif.layer.v1.sif"),
    (MediaType::OldSifLayer, "appliciation/vnd.sylabs.sif.layer.tar"),
];

/// What manifest requests accept, best first.
pub const ACCEPTED_MANIFESTS: [MediaType; 4] =
    [MediaType::OciIndex, MediaType::DockerList, MediaType::OciManifest, MediaType::DockerManifest];

impl MediaType {
    /// Reads a media type or a `Content-Type` header; parameters are dropped. Never fails: what is
    /// not known is [`MediaType::Other`].
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let essence = text.split(';').next().unwrap_or_default().trim();
        KNOWN
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(essence))
            .map_or_else(|| Self::Other(essence.to_owned()), |(known, _)| known.clone())
    }

    /// Returns the text as it stands in documents and headers.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(text) => text,
            known => KNOWN.iter().find(|(listed, _)| listed == known).map_or("", |(_, text)| *text),
        }
    }

    /// Says whether this is an index or a manifest list.
    #[must_use]
    pub const fn is_index(&self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerList)
    }

    /// Says whether this is an image manifest that Orlop reads.
    #[must_use]
    pub const fn is_manifest(&self) -> bool {
        matches!(self, Self::OciManifest | Self::DockerManifest)
    }

    /// Says whether this is the config of a runnable image.
    #[must_use]
    pub const fn is_image_config(&self) -> bool {
        matches!(self, Self::OciConfig | Self::DockerConfig)
    }

    /// Says whether this is a SIF file pushed as an artifact's layer.
    #[must_use]
    pub const fn is_sif(&self) -> bool {
        matches!(self, Self::SifLayer | Self::OldSifLayer)
    }

    /// Says whether this layer may be missing at the registry by design.
    #[must_use]
    pub const fn is_foreign(&self) -> bool {
        matches!(self, Self::OciLayer(_, Foreign) | Self::DockerLayer(_, Foreign))
    }

    /// Says whether the type names an encrypted layer.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.as_str().ends_with("+encrypted")
    }

    /// Returns how a layer's tar is compressed, as the type says; `None` when this is no layer of
    /// tar. Docker's plain type is often put on gzip data: the bytes decide.
    #[must_use]
    pub const fn layer_compression(&self) -> Option<Compression> {
        match self {
            Self::OciLayer(compression, _) | Self::DockerLayer(compression, _) => {
                Some(*compression)
            }
            _ => None,
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_type_reads_as_itself() {
        for (known, text) in KNOWN {
            assert_eq!(MediaType::parse(text), *known);
            assert_eq!(known.as_str(), *text);
        }
    }

    #[test]
    fn parameters_and_case_do_not_matter() {
        let header = "Application/vnd.oci.image.Manifest.v1+json; charset=utf-8";
        assert_eq!(MediaType::parse(header), MediaType::OciManifest);
    }

    #[test]
    fn an_encrypted_layer_is_told_by_its_suffix() {
        let text = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
        let encrypted = MediaType::parse(text);
        assert!(encrypted.is_encrypted());
        assert_eq!(encrypted.layer_compression(), None);
        assert_eq!(encrypted.as_str(), text);
    }
}
