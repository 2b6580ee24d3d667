//! Commands of Apptainer that Orlop does not have: each says so and what to use instead.
//!
//! They exist so that a script sees a reason; `verify` must never end well without having verified.

use orlop_proto::v1::Kind;

use crate::commands::ALL;
use crate::failure::Failure;

/// The refusal of a command, if it is one of Apptainer's that are not there.
pub(crate) fn refusal(command: &str, second: &str) -> Option<Failure> {
    let of_cache;
    let instead = match command {
        "remote" | "keyserver" => "use `registry login` for registries",
        "key" | "sign" | "verify" => "use cosign or gpg on the SIF file",
        "oci" => "use podman or runc for OCI bundles",
        "plugin" | "capability" | "checkpoint" => "there is no replacement",
        "config" => "use --fakeroot, which needs no configuration, or ask the administrator",
        "completion" => "there is no replacement yet",
        "search" | "delete" | "tag" => "use skopeo or oras",
        "instance" => "start the program with `exec` or `run` in the background",
        "sif" | "overlay" | "buildcfg" | "run-help" => "use Apptainer's command on the SIF file",
        "cache" if !second.is_empty() && !second.starts_with('-') => {
            of_cache = format!("use {}", below(command));
            &of_cache
        }
        _ => return None,
    };
    let words = match command {
        "cache" => format!("cache {second}"),
        other => other.to_owned(),
    };
    let message = format!("\"{words}\" is not supported by Orlop: {instead}");
    Some(Failure::new(Kind::Unsupported, message))
}

/// The commands of a group, in words.
fn below(group: &str) -> String {
    let paths = ALL.iter().map(|command| command.spec.path);
    let paths = paths.filter(|path| path.split_once(' ').is_some_and(|(first, _)| first == group));
    let paths: Vec<String> = paths.map(|path| format!("`{path}`")).collect();
    match paths.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => paths.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verify_never_ends_well() {
        let refused = refusal("verify", "x.sif").unwrap();
        assert_eq!(refused.exit(), 255);
        assert!(refused.text().starts_with("\"verify\" is not supported by Orlop: "));
        assert!(refusal("pull", "").is_none());
    }

    #[test]
    fn a_command_that_the_cache_has_not_names_all_that_it_has() {
        let text = refusal("cache", "foo").unwrap().text();
        assert_eq!(
            text,
            "\"cache foo\" is not supported by Orlop: use `cache list`, `cache usage`, \
             `cache clean`, `cache verify`, `cache pin` or `cache unpin`"
        );
    }
}
