//! Typed access to the members of a JSON object, with the member's place in every error.
//!
//! `null` counts as absent, except where a member is required. Not here: the documents.

use std::collections::BTreeMap;

use super::ManifestError;
use crate::json::Json;

/// An object in a document and where it is.
pub(crate) struct Fields<'a> {
    json: &'a Json,
    at: &'a str,
}

impl<'a> Fields<'a> {
    /// `at` is the object's place, empty for the document itself.
    pub(crate) fn new(json: &'a Json, at: &'a str) -> Result<Self, ManifestError> {
        match json {
            Json::Object(_) => Ok(Self { json, at }),
            _ => {
                let at = if at.is_empty() { "document" } else { at };
                Err(ManifestError::Field { at: at.to_owned(), expected: "an object" })
            }
        }
    }

    pub(crate) fn place(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) }
    }

    pub(crate) fn wrong(&self, key: &str, expected: &'static str) -> ManifestError {
        ManifestError::Field { at: self.place(key), expected }
    }

    pub(crate) fn string(&self, key: &str) -> Result<Option<&'a str>, ManifestError> {
        match self.json.get(key) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "a string")),
        }
    }

    pub(crate) fn required_string(&self, key: &str) -> Result<&'a str, ManifestError> {
        self.string(key)?.ok_or_else(|| self.wrong(key, "a string"))
    }

    /// A size in bytes: digits alone, below 2^63.
    pub(crate) fn size(&self, key: &str) -> Result<u64, ManifestError> {
        let digits = match self.json.get(key) {
            Some(Json::Number(text)) if text.bytes().all(|byte| byte.is_ascii_digit()) => text,
            _ => return Err(self.wrong(key, "a size in bytes")),
        };
        let size = digits.parse::<i64>().ok().and_then(|size| u64::try_from(size).ok());
        size.ok_or_else(|| self.wrong(key, "a size in bytes"))
    }

    pub(crate) fn required_array(
        &self,
        key: &str,
        expected: &'static str,
    ) -> Result<&'a [Json], ManifestError> {
        match self.json.get(key) {
            Some(Json::Array(items)) => Ok(items),
            _ => Err(self.wrong(key, expected)),
        }
    }

    pub(crate) fn strings(&self, key: &str) -> Result<Vec<String>, ManifestError> {
        let items = match self.json.get(key) {
            None => return Ok(Vec::new()),
            Some(Json::Array(items)) => items,
            Some(_) => return Err(self.wrong(key, "a list of strings")),
        };
        let read = |item: &Json| match item {
            Json::String(text) => Ok(text.clone()),
            _ => Err(self.wrong(key, "a list of strings")),
        };
        items.iter().map(read).collect()
    }

    pub(crate) fn string_map(&self, key: &str) -> Result<BTreeMap<String, String>, ManifestError> {
        let members = match self.json.get(key) {
            None => return Ok(BTreeMap::new()),
            Some(Json::Object(members)) => members,
            Some(_) => return Err(self.wrong(key, "an object of strings")),
        };
        let read = |(name, value): (&String, &Json)| match value {
            Json::String(text) => Ok((name.clone(), text.clone())),
            _ => Err(self.wrong(key, "an object of strings")),
        };
        members.iter().map(read).collect()
    }

    /// The keys of an object whose values carry nothing, as `ExposedPorts` has them.
    pub(crate) fn set(&self, key: &str) -> Result<Vec<String>, ManifestError> {
        match self.json.get(key) {
            None => Ok(Vec::new()),
            Some(Json::Object(members)) => Ok(members.keys().cloned().collect()),
            Some(_) => Err(self.wrong(key, "an object")),
        }
    }

    pub(crate) fn boolean(&self, key: &str) -> Result<bool, ManifestError> {
        match self.json.get(key) {
            None => Ok(false),
            Some(Json::Bool(value)) => Ok(*value),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// A member object; `None` when absent or null.
    pub(crate) fn object(&self, key: &str) -> Result<Option<&'a Json>, ManifestError> {
        match self.json.get(key) {
            None => Ok(None),
            Some(object @ Json::Object(_)) => Ok(Some(object)),
            Some(_) => Err(self.wrong(key, "an object")),
        }
    }
}
