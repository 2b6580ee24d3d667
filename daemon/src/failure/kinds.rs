//! Which kind of failure each library error is.

use orlop_proto::v1::Kind;
use orlop_publish::is_disk_full;

use super::Failure;

impl From<orlop_registry::Error> for Failure {
    fn from(error: orlop_registry::Error) -> Self {
        use orlop_registry::Error as E;
        let kind = match &error {
            E::Unreachable { .. } => Kind::SourceUnreachable,
            E::Proxy { .. } => Kind::ProxyFailed,
            E::Tls { .. } => Kind::TlsRefused,
            E::NotARegistry { .. } => Kind::NotARegistry,
            E::Failed { .. } | E::Unusable { .. } => Kind::SourceFailed,
            E::Refused { .. } => Kind::CredentialsRefused,
            E::Challenge { .. } => Kind::ChallengeInvalid,
            E::Realm { .. } => Kind::RealmRefused,
            E::Token { .. } => Kind::TokenInvalid,
            E::Redirect { .. } => Kind::RedirectRefused,
            E::Limited { .. } => Kind::RateLimited,
            E::NotFound { .. } => Kind::ImageNotFound,
            E::Foreign { .. } => Kind::ImageUnsupported,
            E::DigestMismatch { .. }
            | E::SizeMismatch { .. }
            | E::Length { .. }
            | E::WrongRange { .. } => Kind::SourceLied,
            E::Broken { .. } | E::Whole { .. } => Kind::TransferBroken,
            E::Limit { .. } => Kind::LimitExceeded,
            E::Upload { .. } | E::MissingBlobs { .. } => Kind::UploadRefused,
            E::Content { .. } | E::Docker { .. } => Kind::FileFailed,
            E::Blocked { .. } => Kind::SourceBlocked,
            E::NoHost { .. } => Kind::ReferenceInvalid,
            E::Certificate { .. } | E::Settings(_) => Kind::SettingsInvalid,
            E::Credential(cause) => kind_of_credentials(cause),
        };
        Self::new(kind, &error)
    }
}

impl From<orlop_credentials::Error> for Failure {
    fn from(error: orlop_credentials::Error) -> Self {
        Self::new(kind_of_credentials(&error), &error)
    }
}

fn kind_of_credentials(error: &orlop_credentials::Error) -> Kind {
    use orlop_credentials::Error as E;
    match error {
        E::Helper { .. } => Kind::HelperFailed,
        E::Unusable { .. } => Kind::SettingsInvalid,
        E::Publish { cause, .. } if cause.is_disk_full() => Kind::DiskFull,
        E::Disk { .. } | E::Publish { .. } => Kind::FileFailed,
        E::Invalid { .. }
        | E::TooLarge { .. }
        | E::NotAFile { .. }
        | E::NotOurs { .. }
        | E::Locked { .. } => Kind::CredentialFileInvalid,
    }
}

impl From<orlop_config::Error> for Failure {
    fn from(error: orlop_config::Error) -> Self {
        Self::new(Kind::SettingsInvalid, &error)
    }
}

impl From<orlop_config::PathsError> for Failure {
    fn from(error: orlop_config::PathsError) -> Self {
        Self::new(Kind::SettingsInvalid, &error)
    }
}

impl From<orlop_store::Error> for Failure {
    fn from(error: orlop_store::Error) -> Self {
        use orlop_store::Error as E;
        let kind = match &error {
            E::Unusable { .. } | E::Format { .. } => Kind::FileFailed,
            E::DiskFull { .. } => Kind::DiskFull,
            E::NotTheBytes { .. } => Kind::SourceLied,
            E::Stopped => Kind::Cancelled,
            // Another node removed it: it is made again.
            E::Disk { .. } if error.is_stale() => Kind::CacheDamaged,
            E::Busy { .. } | E::Disk { .. } => Kind::FileFailed,
        };
        Self::new(kind, &error)
    }
}

impl From<orlop_image::Error> for Failure {
    fn from(error: orlop_image::Error) -> Self {
        use orlop_image::Error as E;
        let kind = match &error {
            E::Limit { .. } | E::ImageLimit { .. } => Kind::LimitExceeded,
            E::BlobDigest { .. } | E::BlobSize { .. } => Kind::SourceLied,
            E::Disk { cause, .. } if is_disk_full(cause) => Kind::DiskFull,
            E::Disk { .. } => Kind::FileFailed,
            E::Damaged { .. } => Kind::CacheDamaged,
            E::Source { .. } => Kind::TransferBroken,
            E::LayerInvalid { .. } | E::DiffId { .. } => Kind::LayerInvalid,
            E::Stopped => Kind::Cancelled,
            _ => Kind::LayerInvalid,
        };
        Self::new(kind, &error)
    }
}

impl From<orlop_oci::ManifestError> for Failure {
    fn from(error: orlop_oci::ManifestError) -> Self {
        let kind = match error.kind() {
            orlop_oci::manifest::ManifestErrorKind::Invalid => Kind::ManifestInvalid,
            orlop_oci::manifest::ManifestErrorKind::Unsupported => Kind::ImageUnsupported,
        };
        Self::new(kind, &error)
    }
}

impl From<orlop_oci::selection::SelectionError> for Failure {
    fn from(error: orlop_oci::selection::SelectionError) -> Self {
        Self::new(Kind::PlatformMissing, &error)
    }
}

impl From<orlop_archive::Error> for Failure {
    fn from(error: orlop_archive::Error) -> Self {
        use orlop_archive::Error as E;
        use orlop_oci::manifest::ManifestErrorKind;
        let kind = match &error {
            E::Open { .. } | E::Read { .. } | E::Kind { .. } | E::Changed { .. } => {
                Kind::FileFailed
            }
            E::Document { cause, .. } if cause.kind() == ManifestErrorKind::Unsupported => {
                Kind::ImageUnsupported
            }
            E::Platform(_) => Kind::PlatformMissing,
            E::Limit { .. } => Kind::LimitExceeded,
            E::Spool { cause, .. } if is_disk_full(cause) => Kind::DiskFull,
            E::Spool { .. } => Kind::FileFailed,
            E::Stopped => Kind::Cancelled,
            _ => Kind::NotAnImage,
        };
        Self::new(kind, &error)
    }
}
