//! Debian packages that the wider tests compare with: installed by root, named to others.

use crate::command::{is_root, output, works};
use std::path::Path;
use std::process::Command;

/// A program, the package that has it, and what is not tested without it.
const WANTED: [(&str, &str, &str); 16] = [
    ("unsquashfs", "squashfs-tools", "squashfs images in the eyes of squashfs-tools"),
    ("skopeo", "skopeo", "what others read of our pushes"),
    ("umoci", "umoci", "the file tree of a pull beside umoci's"),
    ("bsdtar", "libarchive-tools", "layers of bsdtar"),
    ("pigz", "pigz", "layers of pigz"),
    ("zopfli", "zopfli", "layers of zopfli"),
    ("zstd", "zstd", "layers of zstd"),
    ("docker-registry", "docker-registry", "a real registry"),
    ("htpasswd", "apache2-utils", "a real registry with passwords"),
    ("podman", "podman", "podman with Orlop as its credential helper"),
    ("docker-credential-pass", "golang-docker-credential-helpers", "a real credential helper"),
    ("busybox", "busybox-static", "images with a shell"),
    ("strace", "strace", "faults of system calls"),
    ("mkfs.btrfs", "btrfs-progs", "a disk with quotas"),
    ("mkfs.xfs", "xfsprogs", "a disk that shares blocks between files"),
    ("newuidmap", "uidmap", "subordinate users"),
];

/// Installs what is missing where that may be done; says in one line each what is skipped.
pub(crate) fn provide(install: bool) {
    let missing = || WANTED.iter().filter(|(program, ..)| !there(program));
    let packages: Vec<&str> = missing().map(|(_, package, _)| *package).collect();
    if packages.is_empty() {
        return;
    }
    if install && is_root() && there("apt-get") {
        println!("installing {}", packages.join(" "));
        let first = apt(&packages);
        let done = first.or_else(|_| {
            // The lists may be missing or old.
            output(Command::new("apt-get").args(["update", "-qq"]))?;
            apt(&packages)
        });
        if let Err(failed) = done {
            println!("{}", failed.lines().next().unwrap_or_default());
        }
    }
    for (program, package, untested) in missing() {
        println!("SKIPPED {untested}: no {program} (package {package})");
    }
    if !works("unshare", &["--user", "--map-root-user", "true"]) {
        println!("SKIPPED containers: this machine allows no user namespaces");
    }
}

fn apt(packages: &[&str]) -> Result<String, String> {
    let mut command = Command::new("apt-get");
    command.args(["install", "-qq", "-y", "--no-install-recommends"]).args(packages);
    // No service is started: the tests start their own.
    output(command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1"))
}

/// Whether one of the usual directories has the program.
pub(crate) fn there(program: &str) -> bool {
    let places = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(Path::new).map(Path::to_owned);
    std::env::split_paths(&places).chain(usual).any(|place| place.join(program).is_file())
}
