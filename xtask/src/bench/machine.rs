//! What the measurements run on: the machine in words, its disk, the files of layers.

use super::peers::Program;
use crate::Failed;
use crate::command::output;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The disk that worlds are made on.
#[derive(Debug)]
pub(super) struct Disk {
    /// `ext4`, `xfs`, ...
    kind: String,
    /// Whether files can share blocks there.
    shares: bool,
    at: PathBuf,
}

impl Disk {
    /// Looks at the disk of this directory.
    pub(super) fn of(at: &Path) -> Result<Self, Failed> {
        let kind = field(at, "fstype")?;
        let mut make = Command::new("mktemp");
        let file = PathBuf::from(output(make.arg("-p").arg(at).arg("orlop-bench-XXXXXX"))?.trim());
        let copy = file.with_extension("copy");
        let written = std::fs::write(&file, [7; 8192]).map_err(|cause| cause.to_string());
        let shared = output(Command::new("cp").arg("--reflink=always").arg(&file).arg(&copy));
        for file in [file, copy] {
            // The copy is not there where nothing is shared.
            let _gone = std::fs::remove_file(file);
        }
        written?;
        Ok(Self { kind, shares: shared.is_ok(), at: at.to_owned() })
    }

    /// For the rows of `cp`: `ext4, blocks not shared`.
    pub(super) fn words(&self) -> String {
        let shares = if self.shares { "blocks shared (reflink)" } else { "blocks not shared" };
        format!("{}, {shares}", self.kind)
    }

    /// Bytes free.
    pub(super) fn free(&self) -> Result<u64, Failed> {
        let kibibytes: u64 = field(&self.at, "avail")?.parse().map_err(|_| "df: no number")?;
        Ok(kibibytes << 10)
    }
}

fn field(at: &Path, name: &str) -> Result<String, Failed> {
    let text = output(Command::new("df").arg("-k").arg(format!("--output={name}")).arg(at))?;
    Ok(text.lines().last().unwrap_or_default().trim().to_owned())
}

/// Processors, memory, kernel, disk, and the versions of what was measured.
pub(super) fn words(disk: &Disk, programs: &[Program]) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (processors, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let model = value(&processors, "model name").unwrap_or("unknown");
    let count = processors.lines().filter(|line| line.starts_with("processor")).count();
    let kibibytes =
        value(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok());
    let gibibytes = kibibytes.unwrap_or(0.0) / f64::from(1 << 20);
    let kernel = read("/proc/sys/kernel/osrelease");
    let version = |program: &Program| {
        let said = output(Command::new(&program.path).arg("--version")).unwrap_or_default();
        format!("{}: {}", program.name, said.lines().next().unwrap_or("no version"))
    };
    let versions: Vec<String> = programs.iter().map(version).collect();
    format!(
        "{count} processors ({model}), {gibibytes:.1} GiB of memory, kernel {}, {}.\n{}.\n",
        kernel.trim(),
        disk.words(),
        versions.join("; "),
    )
}

/// What stands after `name:` in a file of `/proc`.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start().strip_prefix(':')?.trim())
}

/// The files of an image's layers in a layout, bottom first; none where it has no such image.
pub(super) fn layers(layout: &Path, name: &str) -> Result<Option<Vec<String>>, Failed> {
    let blob = |digest: &serde_json::Value| {
        let digest = digest.as_str().unwrap_or_default().trim_start_matches("sha256:");
        layout.join("blobs/sha256").join(digest)
    };
    let read = |path: PathBuf| -> Result<serde_json::Value, Failed> {
        let text =
            std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        serde_json::from_str(&text).map_err(|cause| format!("{}: {cause}", path.display()))
    };
    let index = read(layout.join("index.json"))?;
    let named = |entry: &&serde_json::Value| {
        entry["annotations"]["org.opencontainers.image.ref.name"] == name
    };
    let entry = index["manifests"].as_array().into_iter().flatten().find(named);
    let Some(entry) = entry else { return Ok(None) };
    let manifest = read(blob(&entry["digest"]))?;
    let layers = manifest["layers"].as_array().into_iter().flatten();
    Ok(Some(layers.map(|layer| blob(&layer["digest"]).display().to_string()).collect()))
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn fields_of_proc_are_read() {
        let text = "processor\t: 0\nmodel name\t: A B\nMemTotal:       24 kB\n";
        assert_eq!(value(text, "model name"), Some("A B"));
        assert_eq!(value(text, "MemTotal"), Some("24 kB"));
        assert_eq!(value(text, "none"), None);
    }
}
