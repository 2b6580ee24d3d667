//! The programs measured, and how each is called.

use crate::packages::there;
use std::path::{Path, PathBuf};

/// A program that pulls, and perhaps runs.
#[derive(Debug)]
pub(crate) struct Program {
    /// What the table calls it.
    pub(crate) name: &'static str,
    /// What is started.
    pub(crate) path: PathBuf,
}

impl Program {
    /// Orlop first, then the peers that are there.
    pub(crate) fn present(programs: &Path) -> Vec<Self> {
        let mut all = vec![Self { name: "orlop", path: programs.join("orlop") }];
        let peers = ["apptainer", "podman", "skopeo"];
        all.extend(
            peers
                .into_iter()
                .filter(|name| there(name))
                .map(|name| Self { name, path: name.into() }),
        );
        all
    }

    /// A pull of this reference into a file or directory of this name; podman keeps its own.
    pub(crate) fn pull(&self, image: &str, to: &str) -> Vec<String> {
        let words: Vec<&str> = match self.name {
            "podman" => vec!["pull", "-q", "--tls-verify=false", image],
            "skopeo" => {
                let to = format!("dir:{to}");
                return ["copy", "-q", "--src-tls-verify=false", image, &to]
                    .map(str::to_owned)
                    .into();
            }
            _ => vec!["pull", "--no-https", to, image],
        };
        words.into_iter().map(str::to_owned).collect()
    }

    /// A command inside what [`Program::pull`] made; none where the program runs nothing.
    pub(crate) fn exec(&self, image: &str, file: &str, inside: &[&str]) -> Option<Vec<String>> {
        let mut words: Vec<String> = match self.name {
            "skopeo" => return None,
            "podman" => {
                let image = image.trim_start_matches("docker://").to_owned();
                vec!["run".into(), "--rm".into(), "--entrypoint=".into(), image]
            }
            _ => vec!["exec".into(), file.into()],
        };
        words.extend(inside.iter().map(|&word| word.to_owned()));
        Some(words)
    }
}
