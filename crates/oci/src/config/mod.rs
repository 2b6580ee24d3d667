//! The config of an image: how it wants to be run, and the digests of its uncompressed layers.
//!
//! Spec: image spec, config.md; mapping to a SIF: `contract.md` §6. Missing members, `null` and
//! empty ones are equal. Not here: the environment scripts and labels made from it
//! (`orlop-image`).

use std::collections::BTreeMap;

use crate::digest::DiffId;
use crate::json::{self, Json};
use crate::manifest::{Fields, ManifestError};
use crate::platform::Platform;

#[cfg(test)]
mod tests;
mod time;

pub use time::parse_rfc3339;

/// What an image's config says. `Default` is a config that says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// When the image was made: seconds since 1970, UTC. `None` when absent or unreadable.
    pub created: Option<i64>,
    /// Architecture as written, empty when absent.
    pub architecture: String,
    /// Operating system as written, empty when absent.
    pub os: String,
    /// Variant of the architecture.
    pub variant: Option<String>,
    /// `NAME=value` entries in order. Entries that hold a NUL are left out.
    pub env: Vec<String>,
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments, or the program where there is no entry point.
    pub cmd: Vec<String>,
    /// Labels, sorted by key.
    pub labels: BTreeMap<String, String>,
    /// User the image wants, as text; recorded, not enforced.
    pub user: String,
    /// Directory to start in, empty when absent.
    pub working_dir: String,
    /// Ports such as `80/tcp`, sorted; recorded only.
    pub exposed_ports: Vec<String>,
    /// Volumes, sorted; recorded only.
    pub volumes: Vec<String>,
    /// Signal that ends it; recorded only.
    pub stop_signal: String,
    /// Whether the (Windows) arguments are escaped; recorded only.
    pub args_escaped: bool,
    /// Digests of the layers' tars, the base first.
    pub diff_ids: Vec<DiffId>,
    /// What the user should hear about this config.
    pub warnings: Vec<String>,
}

impl ImageConfig {
    /// Parses a config blob.
    ///
    /// # Errors
    /// [`ManifestError`] when it is not strict JSON or a member has another type than the spec's.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let json = Json::parse(bytes)?;
        let fields = Fields::new(&json, "")?;
        let mut config = Self {
            architecture: fields.string("architecture")?.unwrap_or_default().to_owned(),
            os: fields.string("os")?.unwrap_or_default().to_owned(),
            variant: fields.string("variant")?.filter(|text| !text.is_empty()).map(str::to_owned),
            diff_ids: read_diff_ids(&fields)?,
            ..Self::default()
        };
        if let Some(text) = fields.string("created")? {
            config.created = parse_rfc3339(text);
            if config.created.is_none() && !text.is_empty() {
                config.warnings.push(format!("`created` is not a date: {text:?}"));
            }
        }
        if let Some(object) = fields.object("config")? {
            config.read_run_settings(&Fields::new(object, "config")?)?;
        }
        config.check_history(&json)?;
        Ok(config)
    }

    fn read_run_settings(&mut self, fields: &Fields<'_>) -> Result<(), ManifestError> {
        let (env, with_nul): (Vec<_>, Vec<_>) =
            fields.strings("Env")?.into_iter().partition(|entry| !entry.contains('\0'));
        for entry in with_nul {
            let name: String = entry.split(['=', '\0']).next().unwrap_or_default().into();
            self.warnings.push(format!("the variable {name:?} holds a NUL byte and is left out"));
        }
        self.env = env;
        self.entrypoint = fields.strings("Entrypoint")?;
        self.cmd = fields.strings("Cmd")?;
        self.labels = fields.string_map("Labels")?;
        self.user = fields.string("User")?.unwrap_or_default().to_owned();
        self.working_dir = fields.string("WorkingDir")?.unwrap_or_default().to_owned();
        self.exposed_ports = fields.set("ExposedPorts")?;
        self.volumes = fields.set("Volumes")?;
        self.stop_signal = fields.string("StopSignal")?.unwrap_or_default().to_owned();
        self.args_escaped = fields.boolean("ArgsEscaped")?;
        Ok(())
    }

    /// A history that counts other layers than `diff_ids` is only worth a word.
    fn check_history(&mut self, json: &Json) -> Result<(), ManifestError> {
        let entries = match json.get("history") {
            Some(Json::Array(entries)) if !entries.is_empty() => entries,
            _ => return Ok(()),
        };
        let mut with_layer: usize = 0;
        for entry in entries {
            if !Fields::new(entry, "history")?.boolean("empty_layer")? {
                with_layer = with_layer.saturating_add(1);
            }
        }
        let diff_ids = self.diff_ids.len();
        if with_layer != diff_ids {
            let text = format!("the history counts {with_layer} layers and rootfs {diff_ids}");
            self.warnings.push(text);
        }
        Ok(())
    }

    /// Returns the platform the config names, `None` when it names no architecture.
    #[must_use]
    pub fn platform(&self) -> Option<Platform> {
        if self.architecture.is_empty() {
            return None;
        }
        let os = if self.os.is_empty() { "linux" } else { &self.os };
        Some(Platform::new(os, &self.architecture, self.variant.as_deref()))
    }

    /// Returns the SIF object `oci-config.json`: the `config` member, empty members left out, in
    /// the order and escaping of Go's image-spec types (`contract.md` §6.4).
    #[must_use]
    pub fn oci_config_json(&self) -> Vec<u8> {
        let text = |text: &str| (!text.is_empty()).then(|| json::string_text(text));
        let list = |list: &[String]| {
            let items: Vec<_> = list.iter().map(|item| json::string_text(item)).collect();
            (!items.is_empty()).then(|| format!("[{}]", items.join(",")))
        };
        let set = |keys: &[String]| {
            let members = keys.iter().map(|key| (key.as_str(), "{}".to_owned()));
            (!keys.is_empty()).then(|| json::object_text(members))
        };
        let labels =
            self.labels.iter().map(|(key, value)| (key.as_str(), json::string_text(value)));
        let labels = (!self.labels.is_empty()).then(|| json::object_text(labels));
        let members = [
            ("User", text(&self.user)),
            ("ExposedPorts", set(&self.exposed_ports)),
            ("Env", list(&self.env)),
            ("Entrypoint", list(&self.entrypoint)),
            ("Cmd", list(&self.cmd)),
            ("Volumes", set(&self.volumes)),
            ("WorkingDir", text(&self.working_dir)),
            ("Labels", labels),
            ("StopSignal", text(&self.stop_signal)),
            ("ArgsEscaped", self.args_escaped.then(|| "true".to_owned())),
        ];
        let present = members.into_iter().filter_map(|(key, value)| Some((key, value?)));
        json::object_text(present).into_bytes()
    }
}

fn read_diff_ids(fields: &Fields<'_>) -> Result<Vec<DiffId>, ManifestError> {
    let Some(rootfs) = fields.object("rootfs")? else { return Ok(Vec::new()) };
    let rootfs = Fields::new(rootfs, "rootfs")?;
    if rootfs.string("type")?.is_some_and(|kind| kind != "layers") {
        return Err(rootfs.wrong("type", "\"layers\""));
    }
    let read = |(place, text): (usize, String)| {
        text.parse().map_err(|cause| ManifestError::Digest {
            at: format!("rootfs.diff_ids[{place}]"),
            cause,
        })
    };
    rootfs.strings("diff_ids")?.into_iter().enumerate().map(read).collect()
}
