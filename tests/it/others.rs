//! Our SIF files in the eyes of other programs: squashfs-tools, umoci, Apptainer.

use crate::world::{bytes, site};
use orlop_kit::{Built, Digest, Image, Registry, Site, tools};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;

/// Where the squashfs in a SIF begins: at its magic, on a page.
pub(crate) fn squashfs_offset(sif: &[u8]) -> usize {
    let begins = |at: &usize| sif[*at..].starts_with(b"hsqs");
    (4096..sif.len()).step_by(4096).find(begins).expect("a squashfs in the SIF")
}

/// What a tree holds: path to kind, mode, links and content; owners only where they can be kept.
fn tree(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(at) = left.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let kind = meta.file_type();
            let content = if kind.is_symlink() {
                format!("-> {}", std::fs::read_link(&path).unwrap().display())
            } else if kind.is_dir() {
                left.push(path.clone());
                "directory".to_owned()
            } else if kind.is_file() {
                format!("{} {}", meta.nlink(), Digest::of(&std::fs::read(&path).unwrap()))
            } else {
                format!("special {} {:x}", kind.is_fifo(), meta.rdev())
            };
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            let mode = if kind.is_symlink() { 0 } else { meta.mode() };
            let about =
                format!("{mode:o} {}:{} {} {content}", meta.uid(), meta.gid(), meta.mtime());
            found.insert(name, about);
        }
    }
    found
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
fn the_tree_is_the_one_that_umoci_unpacks() {
    let Some([unsquashfs, umoci]) = tools::all(["unsquashfs", "umoci"]) else { return };
    if !orlop_kit::Person::own().is_root() {
        return tools::skip("owners and modes are kept only for root");
    }
    for image in [Image::two_layers(), Image::odd()] {
        let built: Built = (&image).into();
        let registry = Registry::new().image("a:1", &image).start();
        let site = site(&registry);
        let scratch = tempfile::tempdir().unwrap();
        built.write_layout(&scratch.path().join("layout"), "1").unwrap();
        let mut unpack = Command::new(&umoci);
        unpack.args(["unpack", "--image"]);
        unpack.arg(format!("{}:1", scratch.path().join("layout").display()));
        tools::output(unpack.arg(scratch.path().join("bundle")));
        let wanted = tree(&scratch.path().join("bundle/rootfs"));

        let to = scratch.path().join("root");
        unpacked(&site, &registry, &unsquashfs, &to);
        let mut found = tree(&to);

        // What every SIF has beside the layers' own files.
        let links = ["singularity", "environment", ".run", ".exec", ".shell", ".test"];
        let places = ["etc/hosts", "etc/resolv.conf", "var/tmp"];
        found.retain(|path, _| {
            let name = String::from_utf8_lossy(path);
            let added = links.contains(&&*name) || places.contains(&&*name);
            !added && name != ".singularity.d" && !name.starts_with(".singularity.d/")
        });
        let differing: Vec<String> = wanted
            .keys()
            .chain(found.keys())
            .filter(|path| wanted.get(*path) != found.get(*path))
            .map(|path| {
                let name = String::from_utf8_lossy(path);
                format!("{name}: umoci {:?}, ours {:?}", wanted.get(path), found.get(path))
            })
            .collect();
        assert!(differing.is_empty(), "{}", differing.join("\n"));
    }
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
