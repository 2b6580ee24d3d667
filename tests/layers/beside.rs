//! One image seen by several: what Orlop's SIF of it holds, and what umoci makes of its layers.
//!
//! A bench is one site with one daemon and a scratch directory; images are OCI layouts in it, which
//! both programs read. Not here: what is expected ([`crate::rows`]).

use crate::tree::{Node, Tree, differences, of_directory, of_sif};
use orlop_kit::{Built, Image, Layer, Outcome, Person, Programs, Site, tools};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The config's `created` of the kit's images, which directories get that no layer describes.
pub(crate) const CREATED: i64 = 1_582_228_922;

/// Bytes of extended attributes that every disk holds for one file.
const DISK_XATTRS: usize = 2000;

/// The time of a directory that umoci left as the disk made it.
const NOW: i64 = i64::MIN;

/// Links and files that every SIF has; directories come with them where a layer has none.
const OWN: [&str; 8] = [
    "singularity",
    "environment",
    ".run",
    ".exec",
    ".shell",
    ".test",
    "etc/hosts",
    "etc/resolv.conf",
];
const OWN_DIRECTORIES: [&str; 9] =
    ["dev", "proc", "root", "var/tmp", "tmp", "etc", "sys", "home", "var"];

/// Where images are compared.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) site: Site,
    unsquashfs: Option<PathBuf>,
    umoci: Option<PathBuf>,
    number: usize,
}

/// What was made of an image.
#[derive(Debug)]
pub(crate) struct Seen {
    /// What `orlop pull` said.
    pub(crate) outcome: Outcome,
    /// Orlop's tree, its own files among it; none where it refused.
    pub(crate) ours: Option<Tree>,
    /// umoci's tree, or what it said; none where it was not asked.
    pub(crate) theirs: Option<Result<Tree, String>>,
}

/// The two programs.
pub(crate) fn programs() -> Programs {
    Programs::new(env!("CARGO_BIN_EXE_orlop"), env!("CARGO_BIN_EXE_orlopd"))
}

impl Bench {
    pub(crate) fn new() -> Self {
        let is_root = Person::own().is_root();
        let find = |program: &str| {
            let found = tools::find(program).filter(|_| is_root);
            if found.is_none() {
                tools::skip(&format!("no {program}, or not root: owners and devices are not kept"));
            }
            found
        };
        let (unsquashfs, umoci) = (find("unsquashfs"), find("umoci"));
        Self { site: Site::new(&programs()), unsquashfs, umoci, number: 0 }
    }

    /// Pulls an image of these layers, and lets umoci unpack it where that is wanted.
    pub(crate) fn see(&mut self, layers: impl IntoIterator<Item = Layer>, umoci: bool) -> Seen {
        let image = layers.into_iter().fold(Image::new(), Image::layer);
        self.see_image(&image.build(), umoci)
    }

    /// Likewise, of an image that is built.
    pub(crate) fn see_image(&mut self, image: &Built, umoci: bool) -> Seen {
        self.number += 1;
        let name = format!("layout{}", self.number);
        let layout = self.site.work().join(&name);
        image.write_layout(&layout, "1").unwrap();
        let seen = self.see_layout(&name, umoci);
        std::fs::remove_dir_all(&layout).unwrap();
        seen
    }

    /// Likewise, of a layout in the site's working directory whose image is called `1`.
    pub(crate) fn see_layout(&mut self, name: &str, umoci: bool) -> Seen {
        let scratch = tempfile::tempdir().unwrap();
        let theirs = self.umoci.as_ref().filter(|_| umoci).map(|umoci| {
            let layout = self.site.work().join(name);
            unpacked_by(umoci, &layout, &scratch.path().join("bundle"))
        });
        // What other programs wrote may be for them alone.
        let work = self.site.work();
        tools::output(Command::new("chmod").args(["-R", "a+rX", name]).current_dir(&work));
        let outcome = self.site.orlop(["pull", "--force", "a.sif", &format!("oci:{name}:1")]);
        let ours = (outcome.status == 0).then(|| {
            let sif = work.join("a.sif");
            let found = of_sif(&sif);
            if let Some(unsquashfs) = &self.unsquashfs {
                let to = scratch.path().join("root");
                let large = found.values().any(|node| xattr_bytes(node) > DISK_XATTRS);
                let mut unpacked = unsquashed(unsquashfs, &sif, &to, !large);
                for (path, node) in unpacked.iter_mut().filter(|_| large) {
                    node.xattrs =
                        found.get(path).map_or_else(BTreeMap::new, |ours| ours.xattrs.clone());
                }
                let wrong = differences(("reader", &found), ("unsquashfs", &unpacked));
                assert!(wrong.is_empty(), "{}", wrong.join("\n"));
            }
            found
        });
        Seen { outcome, ours, theirs }
    }
}

/// Where the squashfs in a SIF begins: at its magic, on a page.
fn offset(sif: &[u8]) -> usize {
    let begins = |at: &usize| sif[*at..].starts_with(b"hsqs");
    (4096..sif.len()).step_by(4096).find(begins).expect("a squashfs in the SIF")
}

fn xattr_bytes(node: &Node) -> usize {
    node.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum()
}

fn unsquashed(unsquashfs: &Path, sif: &Path, to: &Path, xattrs: bool) -> Tree {
    let at = offset(&std::fs::read(sif).unwrap()).to_string();
    let mut command = Command::new(unsquashfs);
    command.arg(if xattrs { "-xattrs" } else { "-no-xattrs" });
    tools::output(command.args(["-no-progress", "-offset", &at, "-dest"]).arg(to).arg(sif));
    let listing = tools::output(Command::new(unsquashfs).args(["-lls", "-offset", &at]).arg(sif));
    let tree = of_directory(to);
    let lines = listing.lines().filter(|line| line.contains(" squashfs-root"));
    assert_eq!(lines.count(), tree.len(), "{listing}");
    tree
}

fn unpacked_by(umoci: &Path, layout: &Path, to: &Path) -> Result<Tree, String> {
    #[expect(clippy::disallowed_methods, reason = "a test looks at times that another program set")]
    let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
    let before = seconds();
    let done = Command::new("timeout")
        .arg("20")
        .arg(umoci)
        .args(["unpack", "--image"])
        .arg(format!("{}:1", layout.display()))
        .arg(to)
        .output()
        .unwrap();
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into_owned());
    }
    let mut tree = of_directory(&to.join("rootfs"));
    for node in tree.values_mut() {
        // A directory that nobody describes, or in which umoci made or removed something late.
        if node.links == 0 && (before..=seconds()).contains(&node.mtime) {
            node.mtime = NOW;
        }
    }
    Ok(tree)
}

impl Seen {
    /// Orlop's tree without what it adds to every image.
    ///
    /// # Panics
    /// Where Orlop refused.
    #[track_caller]
    pub(crate) fn tree(&self) -> Tree {
        let mut tree = self.ours.clone().unwrap_or_else(|| panic!("{}", self.outcome.report()));
        let theirs = match &self.theirs {
            Some(Ok(tree)) => Some(tree),
            _ => None,
        };
        tree.retain(|path, _| {
            let name = String::from_utf8_lossy(path);
            let own = OWN.contains(&&*name)
                || name == ".singularity.d"
                || name.starts_with(".singularity.d/")
                || OWN_DIRECTORIES.contains(&&*name);
            !own || theirs.is_some_and(|theirs| theirs.contains_key(path))
        });
        tree
    }

    /// Where Orlop's tree is not umoci's; empty where umoci was not asked.
    #[track_caller]
    pub(crate) fn unlike_umoci(&self, except: &[&str]) -> Vec<String> {
        let ours = self.tree();
        match &self.theirs {
            None => Vec::new(),
            Some(Err(said)) => vec![format!("umoci refuses: {said}")],
            Some(Ok(theirs)) => {
                let mut theirs = theirs.clone();
                for (path, node) in theirs.iter_mut().filter(|(_, node)| node.mtime == NOW) {
                    node.mtime = ours.get(path).map_or(NOW, |ours| ours.mtime);
                }
                let compared = |tree: &Tree| {
                    let mut tree = tree.clone();
                    tree.retain(|path, _| {
                        let name = String::from_utf8_lossy(path);
                        let below = |top: &&str| {
                            name.strip_prefix(*top)
                                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                        };
                        !except.iter().any(below)
                    });
                    tree
                };
                differences(("umoci", &compared(&theirs)), ("ours", &compared(&ours)))
            }
        }
    }
}
