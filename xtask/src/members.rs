//! Members: each takes the workspace's lints. A member without that line is checked for nothing.

use crate::Failed;
use crate::command::metadata;

/// Generated code, which has lints of its own: its documentation is checked.
const GENERATED: &str = "orlop-proto";

/// Names the members that do not.
pub(crate) fn take_the_lints() -> Result<(), Failed> {
    let metadata = metadata()?;
    let packages = metadata["packages"].as_array().ok_or("cargo names no packages")?;
    let mut without = Vec::new();
    for package in packages {
        let at = package["manifest_path"].as_str().ok_or("cargo names no manifest")?;
        let text = std::fs::read_to_string(at).map_err(|cause| format!("{at}: {cause}"))?;
        if package["name"] == GENERATED {
            continue;
        }
        if !takes(&text).map_err(|cause| format!("{at}: {cause}"))? {
            without.push(package["name"].as_str().unwrap_or(at).to_owned());
        }
    }
    if without.is_empty() {
        println!("all {} members take the workspace's lints, but {GENERATED}", packages.len());
        return Ok(());
    }
    Err(format!("no `lints.workspace = true` in {}", without.join(", ")))
}

fn takes(manifest: &str) -> Result<bool, toml::de::Error> {
    let table: toml::Table = manifest.parse()?;
    let lints = table.get("lints").and_then(|lints| lints.get("workspace"));
    Ok(lints.and_then(toml::Value::as_bool) == Some(true))
}

#[cfg(test)]
mod tests {
    use super::takes;

    #[test]
    fn only_true_counts() {
        for (manifest, wanted) in [
            ("[lints]\nworkspace = true", true),
            ("lints.workspace = true", true),
            ("[lints]\nworkspace = false", false),
            ("[lints.rust]\nunsafe_code = 'deny'", false),
            ("[package]\nname = 'x'", false),
        ] {
            assert_eq!(takes(manifest).unwrap(), wanted, "{manifest}");
        }
    }
}
