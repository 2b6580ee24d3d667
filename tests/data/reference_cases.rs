//! Reads `reference-cases.toml`, whose head says what its rows mean.
//!
//! Used by the library's tests and by those of the built program, each with a `#[path]` of its own.

/// A row.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) input: String,
    pub(crate) host: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<String>,
    pub(crate) canonical: Option<String>,
    pub(crate) familiar: Option<String>,
    pub(crate) error: Option<String>,
}

/// All rows.
pub(crate) fn cases() -> Vec<Case> {
    #[derive(serde::Deserialize)]
    struct Cases {
        case: Vec<Case>,
    }
    toml::from_str::<Cases>(include_str!("reference-cases.toml")).unwrap().case
}
