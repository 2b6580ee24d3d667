//! The programs measured, and how each is called.

use super::wanted::Wanted;
use crate::packages::there;
use std::path::{Path, PathBuf};

/// How `apptainer build` is told to compress as Orlop does; its pull takes no such words.
const ZSTD: &str = "-comp zstd -Xcompression-level 3";

/// A program that pulls, and perhaps runs.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// What the table calls it.
    pub(super) name: &'static str,
    /// What is started.
    pub(super) path: PathBuf,
}

impl Program {
    /// Orlop first, then the peers that are there or were named.
    pub(super) fn present(programs: &Path, wanted: &Wanted) -> Vec<Self> {
        let mut all = vec![Self { name: "orlop", path: programs.join("orlop") }];
        for name in ["apptainer", "apptainer-zstd", "podman", "skopeo"] {
            let program = name.trim_end_matches("-zstd");
            let named = wanted.peers.iter().find(|(peer, _)| peer == program);
            let path = match named {
                Some((_, path)) => path.clone(),
                None if !wanted.is_alone && wanted.peers.is_empty() && there(program) => {
                    program.into()
                }
                None => continue,
            };
            all.push(Self { name, path });
        }
        all
    }

    /// Whether this is Orlop.
    pub(super) fn is_own(&self) -> bool {
        self.name == "orlop"
    }

    /// These words after the program's path.
    pub(super) fn line<const N: usize>(&self, words: [&str; N]) -> Vec<String> {
        let mut line = vec![self.path.display().to_string()];
        line.extend(words.map(str::to_owned));
        line
    }

    /// A pull of this reference into a file or directory of this name; podman keeps its own.
    pub(super) fn pull(&self, image: &str, to: &str) -> Vec<String> {
        match self.name {
            "podman" => self.line(["pull", "-q", "--tls-verify=false", image]),
            "skopeo" => {
                self.line(["copy", "-q", "--src-tls-verify=false", image, &format!("dir:{to}")])
            }
            "apptainer-zstd" => {
                self.line(["build", "--no-https", "--mksquashfs-args", ZSTD, to, image])
            }
            _ => self.line(["pull", "--no-https", to, image]),
        }
    }

    /// A command inside what [`Program::pull`] made; none where the program runs nothing, or nothing
    /// that was not measured of its like.
    pub(super) fn exec(&self, image: &str, file: &str, inside: &[&str]) -> Option<Vec<String>> {
        let line = match self.name {
            "orlop" | "apptainer" => self.line(["exec", file]),
            "podman" => self.run(image),
            _ => return None,
        };
        Some(with(line, inside))
    }

    /// A command inside an image that is called by its reference.
    pub(super) fn exec_by_name(&self, image: &str, inside: &[&str]) -> Option<Vec<String>> {
        let line = match self.name {
            "orlop" | "apptainer" => self.line(["exec", "--no-https", image]),
            "podman" => self.run(image),
            _ => return None,
        };
        Some(with(line, inside))
    }

    fn run(&self, image: &str) -> Vec<String> {
        let image = image.trim_start_matches("docker://");
        self.line(["run", "--rm", "-i", "--network=host", "--entrypoint=", image])
    }
}

fn with(mut line: Vec<String>, inside: &[&str]) -> Vec<String> {
    line.extend(inside.iter().map(|&word| word.to_owned()));
    line
}
