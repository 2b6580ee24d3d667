//! Whether this machine runs an image's programs.
//!
//! Apptainer's rule and words (`contract.md` §7.8): an image for another architecture is refused,
//! unless the kernel has an emulator for it that reaches into containers (binfmt_misc, flag F).
//! What an image of a registry says of itself may be wrong: there its shell decides, as it does for
//! Apptainer. Not here: a single program of another machine (`orlop-runtime`).

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use orlop_image::{Recipe, VirtualSif};
use orlop_oci::Platform;
use orlop_proto::v1::Kind as FailureKind;
use orlop_sif::{Architecture, Header};
use orlop_squashfs::{Inode, Kind, Reader};

use crate::failure::Failure;

/// Where the kernel lists its emulators.
const EMULATORS: &str = "/proc/sys/fs/binfmt_misc";
/// Programs that nearly every image has, the one that decides first.
const PROGRAMS: [&str; 4] = ["/bin/sh", "/bin/bash", "/usr/bin/env", "/bin/busybox"];
/// Links that are followed to one of them.
const LINKS: usize = 16;

/// Refuses an image file that names another architecture.
///
/// # Errors
/// CONTAINER_FAILED.
pub(super) fn check(image: Option<Architecture>) -> Result<(), Failure> {
    let host = Platform::host().architecture;
    let (Some(image), Some(machine)) = (image, Architecture::from_name(&host)) else {
        return Ok(());
    };
    if image.runs_on(machine) || is_emulated(image, Path::new(EMULATORS)) {
        return Ok(());
    }
    let image = image.name();
    let message =
        format!("the image's architecture ({image}) could not run on the host's ({host})");
    Err(Failure::new(FailureKind::ContainerFailed, message))
}

/// As [`check`], for an image that was put together of layers.
///
/// # Errors
/// As [`check`].
pub(super) fn check_recipe(recipe: Recipe, segments: &[File]) -> Result<(), Failure> {
    let Err(refused) = check(Header::architecture_in(recipe.head())) else { return Ok(()) };
    let segments = segments.iter().map(File::try_clone).collect::<Result<_, _>>();
    let really = segments.ok().and_then(|segments| architecture_of_programs(recipe, segments));
    if really.is_some_and(|really| check(Some(really)).is_ok()) { Ok(()) } else { Err(refused) }
}

/// What an image's programs are made for.
fn architecture_of_programs(recipe: Recipe, segments: Vec<File>) -> Option<Architecture> {
    let (offset, length) = recipe.partition();
    let sif = VirtualSif::new(recipe, segments).ok()?;
    let reader = Reader::open(Arc::new(sif), offset, length).ok()?;
    PROGRAMS.iter().find_map(|path| Architecture::of_program(&first_piece(&reader, path)?))
}

/// The first bytes of a regular file, to which links may lead.
fn first_piece(reader: &Reader, path: &str) -> Option<Vec<u8>> {
    let names = |path: &[u8]| -> Vec<Vec<u8>> {
        path.rsplit(|&byte| byte == b'/').map(<[u8]>::to_vec).collect()
    };
    let mut above: Vec<Inode> = vec![reader.inode(reader.root()).ok()?];
    let (mut left, mut links) = (names(path.as_bytes()), 0);
    while let Some(name) = left.pop() {
        match name.as_slice() {
            b"" | b"." => continue,
            b".." => above.truncate((above.len() - 1).max(1)),
            name => {
                let entry = reader.lookup(above.last()?, name).ok()??;
                let inode = reader.inode(entry.inode).ok()?;
                let Kind::Symlink(target) = &inode.kind else {
                    above.push(inode);
                    continue;
                };
                links += 1;
                if links > LINKS {
                    return None;
                }
                if target.starts_with(b"/") {
                    above.truncate(1);
                }
                left.extend(names(target));
            }
        }
    }
    let map = reader.file_map(above.last()?).ok()?;
    let mut bytes = Vec::new();
    reader.read_piece(&map.piece(0)?, &mut bytes).ok()?;
    Some(bytes)
}

/// Whether the kernel runs programs of an architecture by an emulator that it has opened already.
fn is_emulated(image: Architecture, emulators: &Path) -> bool {
    let state = fs::read_to_string(emulators.join("status")).unwrap_or_default();
    if state.trim_end() != "enabled" {
        return false;
    }
    let entries = fs::read_dir(emulators).into_iter().flatten().flatten();
    let mut texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.any(|text| takes(&text, &image.program_head()).unwrap_or_default())
}

/// Whether an emulator takes programs that begin with these bytes.
fn takes(emulator: &str, head: &[u8]) -> Option<bool> {
    let value = |name: &str| emulator.lines().find_map(|line| line.strip_prefix(name));
    let is_on = emulator.lines().any(|line| line == "enabled");
    let is_open = value("flags:")?.contains('F');
    let magic = bytes_of(value("magic ")?)?;
    let mask = value("mask ").map_or_else(|| Some(vec![0xff; magic.len()]), bytes_of)?;
    let is_from_start = value("offset ").is_none_or(|offset| offset == "0");
    let is_it = magic.len() <= head.len()
        && magic.iter().zip(&mask).zip(head).all(|((magic, mask), byte)| byte & mask == *magic);
    Some(is_on && is_open && is_from_start && !magic.is_empty() && is_it)
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.trim().as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMULATOR: &str = "enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: OCF\n\
        offset 0\nmagic 7f454c460201010000000000000000000200b700\n\
        mask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn an_emulator_counts_where_it_is_on_opened_and_for_these_programs() {
        let taken = |text: &str, image: Architecture| takes(text, &image.program_head());
        assert_eq!(taken(EMULATOR, Architecture::Arm64), Some(true));
        assert_eq!(taken(EMULATOR, Architecture::Riscv64), Some(false));
        assert_eq!(taken(&EMULATOR.replace("OCF", "OC"), Architecture::Arm64), Some(false));
        let off = EMULATOR.replace("enabled", "disabled");
        assert_eq!(taken(&off, Architecture::Arm64), Some(false));
        assert_eq!(taken("enabled\n", Architecture::Arm64), None, "the list's own state");
    }

    #[test]
    fn an_image_of_another_architecture_is_refused_in_apptainers_words() {
        assert!(check(None).is_ok());
        assert!(check(Architecture::from_name(&Platform::host().architecture)).is_ok());
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_emulated(Architecture::Arm64, directory.path()));
        fs::write(directory.path().join("qemu-aarch64"), EMULATOR).unwrap();
        for (state, is_used) in [("disabled\n", false), ("enabled\n", true)] {
            fs::write(directory.path().join("status"), state).unwrap();
            assert_eq!(is_emulated(Architecture::Arm64, directory.path()), is_used, "{state}");
        }
    }
}
