//! Whether this machine runs an image's programs.
//!
//! Apptainer's rule and words (`contract.md` §7.8): an image for another architecture is refused,
//! unless the kernel has an emulator for it that reaches into containers (binfmt_misc, flag F).
//! Not here: that an image's programs, not its config, say what it is for (`orlop-image`,
//! `programs.rs`); a single program of another machine (`orlop-runtime`).

use std::fs;
use std::path::Path;

use orlop_oci::Platform;
use orlop_proto::v1::Kind as FailureKind;
use orlop_sif::Architecture;

use crate::failure::Failure;

/// Where the kernel lists its emulators.
const EMULATORS: &str = "/proc/sys/fs/binfmt_misc";

/// Refuses an image that names another architecture.
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
