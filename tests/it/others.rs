//! Our SIF files in the eyes of other programs: squashfs-tools, Apptainer. Beside umoci's trees:
//! `tests/layers`.

use crate::world::{bytes, site};
use orlop_kit::{Image, Registry, Site, tools};
use std::path::Path;
use std::process::Command;

/// Where the squashfs in a SIF begins: at its magic, on a page.
pub(crate) fn squashfs_offset(sif: &[u8]) -> usize {
    let begins = |at: &usize| sif[*at..].starts_with(b"hsqs");
    (4096..sif.len()).step_by(4096).find(begins).expect("a squashfs in the SIF")
}

/// Pulls `a.sif` and unpacks it with unsquashfs, which keeps everything only as root.
fn unpacked(site: &Site, registry: &Registry, unsquashfs: &Path, to: &Path) {
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    let offset = squashfs_offset(&bytes(site, "a.sif")).to_string();
    let mut command = Command::new(unsquashfs);
    command.args(["-no-progress", "-offset", &offset, "-dest"]).arg(to);
    tools::output(command.arg(site.work().join("a.sif")));
}

#[test]
fn unsquashfs_finds_every_file_that_the_layers_have() {
    let Some([unsquashfs]) = tools::all(["unsquashfs"]) else { return };
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    let scratch = tempfile::tempdir().unwrap();
    let to = scratch.path().join("root");
    unpacked(&site, &registry, &unsquashfs, &to);
    let noise = std::fs::read(to.join("data/above")).unwrap();
    assert!(noise == orlop_kit::image::noise(2 << 20, 2));
    assert_eq!(std::fs::read(to.join("data/replaced")).unwrap(), b"above\n");
    assert!(!to.join("data/gone").exists() && !to.join("opaque/hidden").exists());
    assert!(to.join(".singularity.d/runscript").exists());
}

#[test]
fn apptainer_runs_and_lists_what_we_pulled() {
    let Some([apptainer]) = tools::all(["apptainer"]) else { return };
    let registry = Registry::new().image("a:1", Image::tiny()).start();
    let site = site(&registry);
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    let inspect = site.program(&apptainer, ["inspect", "a.sif"]).outcome().success();
    assert!(inspect.stdout.contains("org.example.kit: tiny"), "{}", inspect.report());
    let list = site.program(&apptainer, ["sif", "list", "a.sif"]).outcome().success();
    assert!(list.stdout.contains("FS (Squashfs/*System/amd64)"), "{}", list.report());
    let exec = ["exec", "a.sif", "/bin/probe", "args", "here"];
    site.program(&apptainer, exec).outcome().success().prints("here\n");
}
