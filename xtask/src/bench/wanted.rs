//! What the person asked for.

use crate::Failed;
use std::path::PathBuf;

/// The cases and what is in them, in the order in which they run.
pub(super) const CASES: [(&str, &str); 7] = [
    ("base", "one layer of 68 MB: limit, cold and cached pull, cp of the SIF, exec, peers"),
    ("sci", "three layers of 739 MB: the same, a child of it, imports (real image), peers"),
    ("many", "1, 4, 16, 64 cold pulls of base at once, beside cp of as many SIFs"),
    ("two", "two different images at once, and one after the other"),
    ("small", "a small image beside a huge one, and alone"),
    ("clients", "64 and 500 clients at once, exec and pull, cold and warm, and what was fetched"),
    ("answers", "warm answers to 64 and 500 connections, spread and in one instant"),
];

const FLAGS: &str = "
  -n, --repeat N       Medians of so many repeats [default: 5]
      --only CASE      This case alone; may be given again
      --layout DIR     Real images: an OCI layout with base, sci and perhaps sci-child
                       (skopeo copy docker://HOST/NAME oci:DIR:base)
      --peer NAME=PATH Measure this program too, as apptainer, podman or skopeo;
                       without it those that are installed
      --no-peers       Orlop alone
      --peer-repeat N  Repeats of the peers [default: as many as Orlop's]
      --percent N      Size of the generated images, of a hundred [default: 100]
      --huge MIB       Size of the image beside which a small one is pulled [default: 2048]
      --worlds DIR     Where homes, caches and SIFs are made; its disk is measured
                       [default: /var/tmp]

Images are generated once, below cargo's target directory: 0.8 GB, about a minute. The limit
needs igzip (Debian: isal) and zstd. Each repeat of a program is in a world of its own (home, cache,
runtime directory), disks are synced before each step, layers are in memory. Results are printed and
written to bench/report.md and bench/raw.tsv below the target directory.
";

/// What the person asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) help: bool,
    /// Repeats of Orlop's cases.
    pub(super) repeat: usize,
    /// Repeats of the peers'.
    pub(super) peer_repeat: Option<usize>,
    /// Names of cases; none: all.
    pub(super) only: Vec<String>,
    /// Where real images are.
    pub(super) layout: Option<PathBuf>,
    /// Names and paths.
    pub(super) peers: Vec<(String, PathBuf)>,
    /// Whether installed peers are looked for.
    pub(super) is_alone: bool,
    /// Of the generated images' size.
    pub(super) percent: u64,
    /// MiB.
    pub(super) huge: u64,
    pub(super) worlds: PathBuf,
}

/// The text of `--help`.
pub(super) fn help() -> String {
    let cases = CASES.map(|(name, what)| format!("  {name:<9}{what}\n")).concat();
    format!("Usage: cargo xtask bench [FLAGS]\n\nCases:\n{cases}{FLAGS}")
}

impl Wanted {
    pub(super) fn parse(words: &[&str]) -> Result<Self, Failed> {
        let mut wanted = Self {
            help: false,
            repeat: 5,
            peer_repeat: None,
            only: Vec::new(),
            layout: None,
            peers: Vec::new(),
            is_alone: false,
            percent: 100,
            huge: 2048,
            worlds: "/var/tmp".into(),
        };
        let mut left = words.iter();
        while let Some(&name) = left.next() {
            match name {
                "--help" | "-h" => wanted.help = true,
                "--no-peers" => wanted.is_alone = true,
                _ => {
                    let value = left.next().ok_or_else(|| format!("{name} needs a value"))?;
                    wanted.take(name, value)?;
                }
            }
        }
        Ok(wanted)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Failed> {
        let number = || match value.parse::<u64>() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{name} needs a number above zero")),
        };
        let count = || number().map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        match name {
            "-n" | "--repeat" => self.repeat = count()?,
            "--peer-repeat" => self.peer_repeat = Some(count()?),
            "--percent" => self.percent = number()?,
            "--huge" => self.huge = number()?,
            "--worlds" => self.worlds = value.into(),
            "--layout" => self.layout = Some(value.into()),
            "--only" if CASES.iter().any(|(case, _)| *case == value) => {
                self.only.push(value.to_owned());
            }
            "--only" => return Err(format!("no case {value}; see cargo xtask bench --help")),
            "--peer" => match value.split_once('=') {
                Some((name @ ("apptainer" | "podman" | "skopeo"), path)) => {
                    self.peers.push((name.to_owned(), path.into()));
                }
                _ => {
                    return Err(format!(
                        "--peer needs apptainer=, podman= or skopeo=, not {value}"
                    ));
                }
            },
            _ => return Err(format!("unknown word after bench: {name}")),
        }
        Ok(())
    }

    /// Whether this case is to be run.
    pub(super) fn has(&self, case: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == case)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read() {
        let words = ["-n", "2", "--only", "sci", "--only", "base", "--peer", "apptainer=/a/b"];
        let wanted = Wanted::parse(&words).unwrap();
        assert_eq!((wanted.repeat, wanted.has("sci"), wanted.has("many")), (2, true, false));
        assert_eq!(wanted.peers, [("apptainer".to_owned(), PathBuf::from("/a/b"))]);
        for wrong in
            [&["-n"][..], &["-n", "0"], &["--only", "none"], &["--peer", "docker=/d"], &["x", "y"]]
        {
            assert!(Wanted::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
