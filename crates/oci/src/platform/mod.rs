//! Platforms: operating system, architecture, variant.
//!
//! Names are the ones of the image spec (Go's), aliases are undone: `registry.md` §7.3 step 1.
//! Values of `--arch`: `contract.md` §4.4. Not here: which of an index's platforms is taken
//! ([`crate::selection`]).

use std::fmt;
use std::str::FromStr;

use crate::host::DOCKER_HUB;
use crate::reference::Reference;

#[cfg(test)]
mod tests;

/// An operating system and an architecture, aliases undone by every constructor but a literal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    /// Operating system, `linux` for everything Orlop runs.
    pub os: String,
    /// Architecture as Go spells it: `amd64`, `arm64`, `ppc64le`.
    pub architecture: String,
    /// Variant such as `v7` of `arm` or `v3` of `amd64`; `None` is the baseline.
    pub variant: Option<String>,
}

/// Why a text names no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// Not `os/architecture[/variant]`.
    #[error("{text:?} is not a platform such as linux/arm64 or linux/arm/v7")]
    Format {
        /// What was given.
        text: String,
    },
    /// The value of `--arch` is not one that is known. The text is Apptainer's.
    #[error(
        "arch: {arch} is not valid, supported archs are: \
         [arm arm64 amd64 386 ppc64le s390x riscv64]"
    )]
    Architecture {
        /// What was given.
        arch: String,
    },
}

impl Platform {
    /// Returns a platform with aliases undone.
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let os = match os.to_ascii_lowercase() {
            os if os == "macos" => "darwin".to_owned(),
            os => os,
        };
        let architecture = architecture.to_ascii_lowercase();
        let variant = variant.map(str::to_ascii_lowercase).filter(|text| !text.is_empty());
        let (architecture, variant) = match (architecture.as_str(), variant.as_deref()) {
            ("x86_64" | "x86-64" | "amd64", None | Some("v1" | "1")) => ("amd64", None),
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", None | Some("v8" | "8" | "v8.0")) => ("arm64", None),
            ("aarch64" | "arm64", variant) => ("arm64", variant),
            ("i386" | "i486" | "i586" | "i686" | "386", _) => ("386", None),
            ("armhf", _) | ("arm", None | Some("7")) => ("arm", Some("v7")),
            ("armel", _) | ("arm", Some("6")) => ("arm", Some("v6")),
            ("arm", Some("5")) => ("arm", Some("v5")),
            ("arm", Some("8")) => ("arm", Some("v8")),
            (other, variant) => (other, variant),
        };
        Self { os, architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
    }

    /// Returns the platform this program was compiled for, at its baseline: what runs on every
    /// node of the architecture.
    #[must_use]
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86" => "386",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other,
        };
        Self::new("linux", architecture, None)
    }

    /// Returns the best variant that the processor at hand can run, for users who ask for it:
    /// nodes of one cluster can differ.
    #[must_use]
    pub fn host_at_its_best() -> Self {
        Self { variant: best_variant().map(str::to_owned), ..Self::host() }
    }

    /// Reads the value of `--arch` with the one of `--arch-variant`.
    ///
    /// # Errors
    /// [`PlatformError::Architecture`] when the name is not known.
    pub fn from_arch_flag(arch: &str, variant: Option<&str>) -> Result<Self, PlatformError> {
        let (arch, fixed) = match arch {
            "arm64v8" => ("arm64", Some("v8")),
            "arm32v5" => ("arm", Some("v5")),
            "arm32v6" => ("arm", Some("v6")),
            "arm32v7" => ("arm", Some("v7")),
            "amd64" | "arm64" | "arm" | "386" | "ppc64le" | "s390x" | "riscv64" | "loong64" => {
                (arch, None)
            }
            _ => return Err(PlatformError::Architecture { arch: arch.chars().take(64).collect() }),
        };
        Ok(Self::new("linux", arch, fixed.or(variant)))
    }

    /// Returns the platform that a Docker Hub namespace such as `arm64v8/alpine` stands for.
    #[must_use]
    pub fn of_hub_namespace(reference: &Reference) -> Option<Self> {
        if reference.host().as_str() != DOCKER_HUB {
            return None;
        }
        match reference.path().split_once('/')?.0 {
            "i386" => Some(Self::new("linux", "386", None)),
            prefix @ ("amd64" | "arm32v5" | "arm32v6" | "arm32v7" | "arm64v8" | "ppc64le"
            | "s390x" | "riscv64") => Self::from_arch_flag(prefix, None).ok(),
            _ => None,
        }
    }

    /// Says whether the platform is `unknown/unknown`, as build attestations carry it.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }
}

/// The level of the x86-64 psABI that this processor reaches; `None` for the baseline.
#[cfg(target_arch = "x86_64")]
fn best_variant() -> Option<&'static str> {
    use std::arch::is_x86_feature_detected as has;
    let v2 = has!("cmpxchg16b") && has!("popcnt") && has!("sse4.2") && has!("ssse3");
    let v3 = v2 && has!("avx2") && has!("bmi1") && has!("bmi2") && has!("f16c") && has!("fma");
    let v3 = v3 && has!("lzcnt") && has!("movbe") && has!("xsave");
    let v4 = v3 && has!("avx512f") && has!("avx512bw") && has!("avx512cd");
    let v4 = v4 && has!("avx512dq") && has!("avx512vl");
    match (v2, v3, v4) {
        (_, _, true) => Some("v4"),
        (_, true, _) => Some("v3"),
        (true, ..) => Some("v2"),
        _ => None,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn best_variant() -> Option<&'static str> {
    None
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let is_word = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        match *parts.as_slice() {
            [os, arch] if is_word(os) && is_word(arch) => Ok(Self::new(os, arch, None)),
            [os, arch, variant] if is_word(os) && is_word(arch) && is_word(variant) => {
                Ok(Self::new(os, arch, Some(variant)))
            }
            _ => Err(PlatformError::Format { text: text.chars().take(128).collect() }),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(out, "/{variant}"),
            None => Ok(()),
        }
    }
}
