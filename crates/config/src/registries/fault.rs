//! What can be wrong with a file of `registries.conf`, in containers/image's words, which users
//! search the web for. Table: `registry.md` §4.6.

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not TOML. The text is the parser's.
    #[error("{0}")]
    TomlSyntax(String),
    /// A value has another type than its key wants. The text is the parser's.
    #[error("{0}")]
    Type(String),
    /// Version 1 of the format.
    #[error(
        "registry must be in v2 format but is in v1: use unqualified-search-registries for \
         [registries.search], and insecure = true and blocked = true in a [[registry]] for \
         [registries.insecure] and [registries.block]"
    )]
    V1Format,
    /// A location or prefix is a URL.
    #[error("invalid location '{0}': URI schemes are not supported")]
    Scheme(String),
    /// A table says nothing about what it is for.
    #[error("invalid condition: both location and prefix are unset")]
    NoPrefixNoLocation,
    /// A table has a prefix alone.
    #[error("invalid condition: location is unset and prefix is not in the format: *.example.com")]
    LocationUnset,
    /// A mirror has no location.
    #[error("invalid condition: mirror location is unset")]
    MirrorLocationUnset,
    /// Two tables of one location disagree.
    #[error("registry '{0}' is defined multiple times with conflicting 'insecure' setting")]
    ConflictInsecure(String),
    /// Two tables of one location disagree.
    #[error("registry '{0}' is defined multiple times with conflicting 'blocked' setting")]
    ConflictBlocked(String),
    /// A mirror's key in a table.
    #[error("pull-from-mirror must not be set for a non-mirror registry \"{0}\"")]
    PullFromMirrorMisplaced(String),
    /// Two keys for one thing.
    #[error(
        "cannot set mirror usage mirror-by-digest-only for the registry (\"{prefix}\") and \
         pull-from-mirror for per-mirror (\"{mirror}\") at the same time"
    )]
    PullFromMirrorConflict {
        /// The table's prefix.
        prefix: String,
        /// The mirror's location.
        mirror: String,
    },
    /// A value that is not known.
    #[error("unsupported pull-from-mirror value \"{value}\" for mirror \"{mirror}\"")]
    PullFromMirrorValue {
        /// The value.
        value: String,
        /// The mirror's location.
        mirror: String,
    },
    /// An entry of the search list is not a host.
    #[error("Invalid unqualified-search-registries entry \"{0}\"")]
    SearchEntry(String),
    /// A value that is not known.
    #[error("invalid short-name mode: \"{0}\"")]
    ShortNameMode(String),
    /// A `*` where it means nothing.
    #[error(
        "Wildcarded prefix should be in the format: *.example.com. Current prefix \"{0}\" is \
         incorrectly formatted"
    )]
    WildcardPrefix(String),
    /// An alias that is none.
    #[error("invalid alias \"{alias}\": {reason}")]
    Alias {
        /// Its name or value.
        alias: String,
        /// Why.
        reason: &'static str,
    },
}

impl Fault {
    /// Returns the kind's name in `tests/data/registries-cases.toml`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TomlSyntax(_) => "toml-syntax",
            Self::Type(_) => "type",
            Self::V1Format => "v1-format",
            Self::Scheme(_) => "scheme",
            Self::NoPrefixNoLocation => "no-prefix-no-location",
            Self::LocationUnset => "location-unset",
            Self::MirrorLocationUnset => "mirror-location-unset",
            Self::ConflictInsecure(_) => "conflict-insecure",
            Self::ConflictBlocked(_) => "conflict-blocked",
            Self::PullFromMirrorMisplaced(_) => "pull-from-mirror-misplaced",
            Self::PullFromMirrorConflict { .. } => "pull-from-mirror-conflict",
            Self::PullFromMirrorValue { .. } => "pull-from-mirror-value",
            Self::SearchEntry(_) => "search-entry",
            Self::ShortNameMode(_) => "short-name-mode",
            Self::WildcardPrefix(_) => "wildcard-prefix",
            Self::Alias { .. } => "alias",
        }
    }
}
