//! The form of Docker before 1.10: `repositories` names an image by its top layer, each layer's
//! `json` names its parent, and no config lists the layers: one is made.
//!
//! Spec: Docker image specification 1.0. Not here: everything else ([`super`]).

use orlop_config::limits::ARCHIVE_DOCUMENT_BYTES;
use orlop_oci::LocalImage;
use orlop_oci::json::{self, Json};

use super::{Found, Saved, is_same};
use crate::error::Error;

/// Names of images, and their top layers.
const LIST: &str = "repositories";
/// Members of a layer's description that a config has too.
const KEPT: [&str; 6] = ["architecture", "os", "variant", "created", "author", "config"];

impl Saved<'_> {
    /// The image that is meant, with a config made of what its layers say.
    pub(super) fn legacy(&self, image: Option<&LocalImage>) -> Result<Found, Error> {
        let names = self.repositories()?;
        let wanted = match image {
            None => String::new(),
            Some(LocalImage::Name(name)) => name.clone(),
            Some(LocalImage::Digest(digest)) => digest.to_string(),
        };
        let is_meant = |tag: &&(String, String)| image.is_none() || is_same(&tag.0, &wanted);
        let Some((_, top)) = names.iter().find(is_meant) else {
            let offered = names.iter().map(|(name, _)| name.clone()).collect();
            let path = self.tree.path().to_owned();
            return Err(Error::NoImage { path, wanted, offered });
        };
        let (mut ids, mut config) = (Vec::new(), None);
        let mut next = Some(top.clone());
        while let Some(id) = next {
            let limit = self.tree.limits.layers;
            if ids.len() as u64 >= limit || ids.contains(&id) {
                let (path, name) = (self.tree.path().to_owned(), LIST.to_owned());
                return Err(Error::Limit { path, name, key: "layers", limit });
            }
            let layer = self.layer_json(&id)?;
            next = match layer.get("parent") {
                Some(Json::String(parent)) if !parent.is_empty() => Some(parent.clone()),
                _ => None,
            };
            ids.push(id);
            config.get_or_insert(layer);
        }
        ids.reverse();
        let layers: Vec<String> = ids.iter().map(|id| format!("{id}/layer.tar")).collect();
        let config = self.config_of(&config.unwrap_or(Json::Null), &layers)?;
        Ok(Found { config, layers })
    }

    /// All `name:tag` with the ids of their top layers.
    fn repositories(&self) -> Result<Vec<(String, String)>, Error> {
        let bytes = self.tree.read(LIST, "manifest-bytes", ARCHIVE_DOCUMENT_BYTES)?;
        let bytes = bytes.ok_or_else(|| Error::NotAnArchive {
            path: self.tree.path().to_owned(),
            wanted: "an archive of docker save",
            what: "it has no manifest.json".to_owned(),
        })?;
        let json = Json::parse(&bytes).map_err(|cause| self.wrong(LIST, cause.into()))?;
        let Json::Object(repositories) = &json else {
            return Err(self.field(LIST, "document".to_owned(), "an object"));
        };
        let mut names = Vec::new();
        for (name, tags) in repositories {
            let Json::Object(tags) = tags else {
                return Err(self.field(LIST, name.clone(), "an object"));
            };
            for (tag, id) in tags {
                let Json::String(id) = id else {
                    return Err(self.field(LIST, format!("{name}.{tag}"), "an id"));
                };
                names.push((format!("{name}:{tag}"), id.clone()));
            }
        }
        Ok(names)
    }

    fn layer_json(&self, id: &str) -> Result<Json, Error> {
        let name = format!("{id}/json");
        let bytes = self.tree.read(&name, "config-bytes", self.tree.limits.config_bytes)?;
        let bytes = bytes.ok_or_else(|| self.missing(&name))?;
        Json::parse(&bytes).map_err(|cause| self.wrong(&name, cause.into()))
    }

    /// The config of these layers, whose diff_ids are found by reading them.
    fn config_of(&self, top: &Json, layers: &[String]) -> Result<Vec<u8>, Error> {
        let mut diff_ids = Vec::new();
        for name in layers {
            let content = self.tree.content(name)?.ok_or_else(|| self.missing(name))?;
            diff_ids.push(json::string_text(&self.digest(content)?.to_string()));
        }
        let rootfs = json::object_text([
            ("type", json::string_text("layers")),
            ("diff_ids", format!("[{}]", diff_ids.join(","))),
        ]);
        let kept = KEPT.iter().filter_map(|key| Some((*key, text(top.get(key)?))));
        let members = kept.chain([("rootfs", rootfs)]);
        Ok(json::object_text(members).into_bytes())
    }
}

fn text(json: &Json) -> String {
    match json {
        Json::Null => "null".to_owned(),
        Json::Bool(value) => value.to_string(),
        Json::Number(number) => number.clone(),
        Json::String(text) => json::string_text(text),
        Json::Array(items) => {
            format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(","))
        }
        Json::Object(members) => {
            json::object_text(members.iter().map(|(key, value)| (key.as_str(), text(value))))
        }
    }
}
