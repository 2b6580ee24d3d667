//! Reads `registries-cases.toml`, whose head says what its rows mean.
//!
//! Used by the library's tests and by those of the built program, each with a `#[path]` of its own.

/// A row.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) id: String,
    #[serde(rename = "note")]
    _note: String,
    pub(crate) reference: String,
    pub(crate) matched: Option<String>,
    #[serde(default)]
    pub(crate) file: Vec<CaseFile>,
    #[serde(default)]
    pub(crate) source: Vec<CaseSource>,
    pub(crate) stage: Option<String>,
    pub(crate) error: Option<String>,
}

/// A file of `registries.conf`, and which of the places it is at.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct CaseFile {
    pub(crate) at: String,
    pub(crate) text: String,
}

/// A source that is expected.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct CaseSource {
    #[serde(rename = "ref")]
    pub(crate) reference: String,
    pub(crate) insecure: bool,
    pub(crate) blocked: bool,
}

/// All rows.
pub(crate) fn cases() -> Vec<Case> {
    #[derive(serde::Deserialize)]
    struct Cases {
        case: Vec<Case>,
    }
    toml::from_str::<Cases>(include_str!("registries-cases.toml")).unwrap().case
}
