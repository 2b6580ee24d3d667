//! Metadata of an image file: what its builder said of it, as Apptainer's `inspect` shows it.
//!
//! A SIF holds it as an object; of an older one, of a squashfs and of a sandbox the files below
//! `.singularity.d` are read, without starting anything. Contract, section 1.10. Not here: images
//! of registries ([`crate::description`]).

mod tree;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use orlop_proto::v1::Kind;
use orlop_sif::{DataType, ImageKind, Sif, recognise};
use orlop_squashfs::{ReadAt as _, Window};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use tree::Tree;

/// Name of the object that has it all.
const OBJECT: &str = "inspect-metadata.json";
/// Bytes of one object or file that are read.
const LIMIT: u64 = orlop_config::limits::CONFIG_BYTES;

/// Named texts.
type Texts = BTreeMap<String, String>;

/// What is said of an image or of an app in it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default)]
pub(crate) struct Attributes {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    apps: BTreeMap<String, Attributes>,
    /// Scripts by their paths.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    environment: Texts,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: Texts,
    #[serde(skip_serializing_if = "String::is_empty")]
    runscript: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    test: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    helpfile: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    deffile: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    startscript: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Object {
    data: Data,
    #[serde(rename = "type", default)]
    kind: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Data {
    attributes: Attributes,
}

/// Which parts are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) apps: bool,
    pub(crate) deffile: bool,
    pub(crate) runscript: bool,
    pub(crate) startscript: bool,
    pub(crate) test: bool,
    pub(crate) helpfile: bool,
    pub(crate) environment: bool,
    pub(crate) labels: bool,
}

impl Parts {
    /// Everything.
    pub(crate) const ALL: Self = Self {
        apps: true,
        deffile: true,
        runscript: true,
        startscript: true,
        test: true,
        helpfile: true,
        environment: true,
        labels: true,
    };
}

impl Attributes {
    /// Reads what an image file or a sandbox directory says of itself.
    ///
    /// # Errors
    /// FILE_FAILED, NOT_AN_IMAGE.
    pub(crate) fn of(path: &Path) -> Result<Self, Failure> {
        let within = format!("Failed to open image {}", path.display());
        let failed = |cause: std::io::Error| Failure::file("read", path, &cause);
        let read = || {
            let found = path.metadata().map_err(failed)?;
            if found.is_dir() {
                return Ok(from_tree(&Tree::Directory(path.to_owned())));
            }
            let file = File::open(path).map_err(failed)?;
            let window = Window::whole(file.try_clone().map_err(failed)?).map_err(failed)?;
            let invalid = |error: orlop_sif::Error| Failure::caused(Kind::NotAnImage, &error);
            if recognise(&window).map_err(invalid)? == ImageKind::Sif {
                let sif = Sif::read(&window).map_err(invalid)?;
                if let Some(attributes) = from_object(&sif, &window) {
                    return Ok(attributes);
                }
                let mut attributes = from_tree(&Tree::of_image(file, &window).map_err(invalid)?);
                let is_definition = |data: &DataType| *data == DataType::Definition;
                if let Some(text) = object(&sif, &window, is_definition) {
                    attributes.deffile = text;
                }
                return Ok(attributes);
            }
            Ok(from_tree(&Tree::of_image(file, &window).map_err(invalid)?))
        };
        read().map_err(|failure: Failure| failure.within(within))
    }

    /// Keeps the wanted parts alone, of one app where one is named.
    pub(crate) fn only(mut self, parts: Parts, app: Option<&str>) -> Self {
        let keep = |of: &mut Self| {
            let texts = [
                (parts.deffile, &mut of.deffile),
                (parts.runscript, &mut of.runscript),
                (parts.startscript, &mut of.startscript),
                (parts.test, &mut of.test),
                (parts.helpfile, &mut of.helpfile),
            ];
            for (_, text) in texts.into_iter().filter(|(wanted, _)| !wanted) {
                text.clear();
            }
            let maps = [(parts.environment, &mut of.environment), (parts.labels, &mut of.labels)];
            for (_, map) in maps.into_iter().filter(|(wanted, _)| !wanted) {
                map.clear();
            }
        };
        if let Some(name) = app {
            let mut of_app = self.apps.remove(name).unwrap_or_default();
            keep(&mut of_app);
            let listed = if parts.apps { std::mem::take(&mut self.apps) } else { BTreeMap::new() };
            self = Self { apps: listed, ..Self::default() };
            if of_app != Self::default() {
                self.apps.insert(name.to_owned(), of_app);
            }
            return self;
        }
        keep(&mut self);
        if !parts.apps {
            self.apps.clear();
        } else if parts != Parts::ALL {
            self.apps.values_mut().for_each(keep);
        }
        self
    }

    /// As Apptainer's JSON object.
    pub(crate) fn into_json(self) -> impl Serialize {
        Object { data: Data { attributes: self }, kind: "container".to_owned() }
    }

    /// As sections one after another, in Apptainer's order.
    pub(crate) fn sections(&self, parts: Parts, app: Option<&str>) -> String {
        let mut text = String::new();
        if parts.apps {
            self.apps.keys().for_each(|name| text.push_str(&format!("{name}\n")));
        }
        let shown = app.and_then(|name| self.apps.get(name)).unwrap_or(self);
        let texts = [&shown.deffile, &shown.runscript, &shown.startscript, &shown.test];
        for section in texts.into_iter().chain([&shown.helpfile]).filter(|one| !one.is_empty()) {
            text.push_str(&format!("{section}\n"));
        }
        for (path, script) in &shown.environment {
            text.push_str(&format!("=== {path} ===\n{script}\n\n"));
        }
        for (name, value) in &shown.labels {
            text.push_str(&format!("{name}: {value}\n"));
        }
        text
    }
}

fn from_object(sif: &Sif, window: &Window) -> Option<Attributes> {
    let found = sif.named(DataType::GenericJson, OBJECT)?;
    let bytes = bytes_of(window, found.offset, found.size)?;
    let object: Object = serde_json::from_slice(&bytes).ok()?;
    Some(object.data.attributes)
}

fn object(sif: &Sif, window: &Window, is_it: impl Fn(&DataType) -> bool) -> Option<String> {
    let found = sif.descriptors().iter().find(|object| is_it(&object.data_type))?;
    bytes_of(window, found.offset, found.size).map(text_of)
}

fn bytes_of(window: &Window, offset: u64, size: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size).ok().filter(|_| size <= LIMIT)?];
    window.read_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

fn text_of(bytes: Vec<u8>) -> String {
    let text = String::from_utf8_lossy(&bytes);
    text.trim_end_matches(['\n', '\0']).to_owned()
}

/// Collects what the files of a tree say.
fn from_tree(tree: &Tree) -> Attributes {
    const APPS: &str = "scif/apps";
    let mut attributes = below(tree, ".singularity.d");
    for name in [".singularity.d/Singularity", ".singularity.d/Apptainer"] {
        if attributes.deffile.is_empty() {
            attributes.deffile = tree.read(name, LIMIT).map(text_of).unwrap_or_default();
        }
    }
    for name in tree.names(APPS) {
        let at = format!("{APPS}/{name}/scif");
        if tree.is_directory(&at) {
            attributes.apps.insert(name, below(tree, &at));
        }
    }
    attributes
}

fn below(tree: &Tree, directory: &str) -> Attributes {
    let read = |name: &str| {
        tree.read(&format!("{directory}/{name}"), LIMIT).map(text_of).unwrap_or_default()
    };
    let of_docker = |name: &str| name.starts_with("10-docker") && directory == ".singularity.d";
    let is_script = |name: &str| {
        let is_own = name.starts_with('9') && name.ends_with("-environment.sh");
        is_own || (of_docker(name) && name.ends_with(".sh"))
    };
    let names = tree.names(&format!("{directory}/env")).into_iter().filter(|name| is_script(name));
    let environment = names
        .map(|name| (format!("/{directory}/env/{name}"), read(&format!("env/{name}"))))
        .collect();
    Attributes {
        apps: BTreeMap::new(),
        environment,
        labels: serde_json::from_str(&read("labels.json")).unwrap_or_default(),
        runscript: read("runscript"),
        test: read("test"),
        helpfile: read("runscript.help"),
        deffile: String::new(),
        startscript: read("startscript"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes() -> Attributes {
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let app = Attributes { runscript: "app".into(), ..Attributes::default() };
        Attributes {
            apps: BTreeMap::from([("x".to_owned(), app)]),
            labels,
            runscript: "run".into(),
            deffile: "def".into(),
            environment: BTreeMap::from([("/e".to_owned(), "E=1".to_owned())]),
            ..Attributes::default()
        }
    }

    #[test]
    fn sections_come_in_one_order_and_absent_ones_print_nothing() {
        let all = attributes();
        assert_eq!(all.sections(Parts::ALL, None), "x\ndef\nrun\n=== /e ===\nE=1\n\na: b\n");
        let parts = Parts { test: true, ..Parts::default() };
        assert_eq!(all.clone().only(parts, None).sections(parts, None), "");
        let parts = Parts { runscript: true, ..Parts::default() };
        assert_eq!(all.clone().only(parts, Some("x")).sections(parts, Some("x")), "app\n");
        assert_eq!(all.only(parts, Some("y")).sections(parts, Some("y")), "");
    }

    #[test]
    fn the_json_has_what_was_asked_for_alone() {
        let parts = Parts { labels: true, ..Parts::default() };
        let json = serde_json::to_string(&attributes().only(parts, None).into_json()).unwrap();
        assert_eq!(json, r#"{"data":{"attributes":{"labels":{"a":"b"}}},"type":"container"}"#);
    }
}
