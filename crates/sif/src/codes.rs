//! Numbers in descriptors and their names in listings.

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// A definition file, 0x4001.
    Definition,
    /// Environment variables, 0x4002.
    Environment,
    /// Labels as JSON, 0x4003.
    Labels,
    /// A file system, 0x4004.
    Partition,
    /// A signature, 0x4005.
    Signature,
    /// Any JSON, 0x4006.
    GenericJson,
    /// Anything, 0x4007.
    Generic,
    /// A cryptographic message, 0x4008.
    CryptographicMessage,
    /// A bill of materials, 0x4009.
    Sbom,
    /// An OCI index, 0x400A.
    OciRootIndex,
    /// An OCI blob, 0x400B.
    OciBlob,
    /// Another number.
    Unknown(u32),
}

const DATA_TYPES: [(u32, DataType, &str); 11] = [
    (0x4001, DataType::Definition, "Def.FILE"),
    (0x4002, DataType::Environment, "Env.Vars"),
    (0x4003, DataType::Labels, "JSON.Labels"),
    (0x4004, DataType::Partition, "FS"),
    (0x4005, DataType::Signature, "Signature"),
    (0x4006, DataType::GenericJson, "JSON.Generic"),
    (0x4007, DataType::Generic, "Generic/Raw"),
    (0x4008, DataType::CryptographicMessage, "Cryptographic Message"),
    (0x4009, DataType::Sbom, "SBOM"),
    (0x400a, DataType::OciRootIndex, "OCI.RootIndex"),
    (0x400b, DataType::OciBlob, "OCI.Blob"),
];

impl DataType {
    pub(crate) fn from_code(code: u32) -> Self {
        let known = DATA_TYPES.iter().find(|(known, ..)| *known == code);
        known.map_or(Self::Unknown(code), |(_, found, _)| *found)
    }

    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Unknown(code) => code,
            known => DATA_TYPES.iter().find(|(_, kind, _)| *kind == known).map_or(0, |row| row.0),
        }
    }

    /// The name in listings.
    #[must_use]
    pub fn name(self) -> &'static str {
        DATA_TYPES.iter().find(|(_, kind, _)| *kind == self).map_or("Unknown", |row| row.2)
    }
}

/// The file system of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileSystem {
    /// 1.
    Squashfs,
    /// 2.
    Ext3,
    /// 3: an archive.
    Archive,
    /// 4: raw data.
    Raw,
    /// 5: squashfs in a LUKS container.
    EncryptedSquashfs,
    /// 6: squashfs of a gocryptfs tree.
    GocryptfsSquashfs,
    /// Another number.
    Unknown(u32),
}

impl FileSystem {
    pub(crate) fn from_code(code: u32) -> Self {
        match code {
            1 => Self::Squashfs,
            2 => Self::Ext3,
            3 => Self::Archive,
            4 => Self::Raw,
            5 => Self::EncryptedSquashfs,
            6 => Self::GocryptfsSquashfs,
            other => Self::Unknown(other),
        }
    }

    /// The name in listings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Squashfs => "Squashfs",
            Self::Ext3 => "Ext3",
            Self::Archive => "Archive",
            Self::Raw => "Raw",
            Self::EncryptedSquashfs => "Encrypted squashfs",
            Self::GocryptfsSquashfs => "Gocryptfs squashfs",
            Self::Unknown(_) => "Unknown",
        }
    }
}

/// What a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartitionKind {
    /// 1: a system.
    System,
    /// 2: the system that runs.
    PrimarySystem,
    /// 3: data.
    Data,
    /// 4: a writable layer.
    Overlay,
    /// Another number.
    Unknown(u32),
}

impl PartitionKind {
    pub(crate) fn from_code(code: u32) -> Self {
        match code {
            1 => Self::System,
            2 => Self::PrimarySystem,
            3 => Self::Data,
            4 => Self::Overlay,
            other => Self::Unknown(other),
        }
    }

    /// The name in listings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "System",
            Self::PrimarySystem => "*System",
            Self::Data => "Data",
            Self::Overlay => "Overlay",
            Self::Unknown(_) => "Unknown",
        }
    }
}

/// The name of a signature's hash.
pub(crate) fn hash_name(code: u32) -> &'static str {
    named(&["SHA-256", "SHA-384", "SHA-512", "BLAKE2s-256", "BLAKE2b-256"], code)
}

/// The name of a cryptographic message's format.
pub(crate) fn message_format_name(code: u32) -> &'static str {
    named(&["OpenPGP", "PEM"], code)
}

/// The name of what a cryptographic message is.
pub(crate) fn message_name(code: u32) -> &'static str {
    match code {
        0x100 => "Clear Signature",
        0x200 => "RSA-OAEP",
        _ => "unknown",
    }
}

/// The name of a bill of materials' format.
pub(crate) fn sbom_name(code: u32) -> &'static str {
    const NAMES: [&str; 8] = [
        "cyclonedx-json",
        "cyclonedx-xml",
        "github-json",
        "spdx-json",
        "spdx-rdf",
        "spdx-tag-value",
        "spdx-yaml",
        "syft-json",
    ];
    named(&NAMES, code)
}

/// The name of a number that counts from 1.
fn named(names: &[&'static str], code: u32) -> &'static str {
    let position = code.checked_sub(1).and_then(|position| usize::try_from(position).ok());
    position.and_then(|position| names.get(position)).copied().unwrap_or("unknown")
}
