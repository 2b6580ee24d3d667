//! Architectures: SIF's two digits, Go's names.

/// A processor architecture that SIF has a code for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are Go's and say it all")]
pub enum Architecture {
    I386 = 1,
    Amd64 = 2,
    Arm = 3,
    Arm64 = 4,
    Ppc64 = 5,
    Ppc64le = 6,
    Mips = 7,
    Mipsle = 8,
    Mips64 = 9,
    Mips64le = 10,
    S390x = 11,
    Riscv64 = 12,
    Loong64 = 13,
}

const ALL: [(Architecture, &str); 13] = [
    (Architecture::I386, "386"),
    (Architecture::Amd64, "amd64"),
    (Architecture::Arm, "arm"),
    (Architecture::Arm64, "arm64"),
    (Architecture::Ppc64, "ppc64"),
    (Architecture::Ppc64le, "ppc64le"),
    (Architecture::Mips, "mips"),
    (Architecture::Mipsle, "mipsle"),
    (Architecture::Mips64, "mips64"),
    (Architecture::Mips64le, "mips64le"),
    (Architecture::S390x, "s390x"),
    (Architecture::Riscv64, "riscv64"),
    (Architecture::Loong64, "loong64"),
];

impl Architecture {
    /// The architecture of an image config's name, for instance `amd64`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        ALL.iter().find(|(_, known)| *known == name).map(|(found, _)| *found)
    }

    /// The name in image configs and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(known, _)| *known == self).map_or("unknown", |(_, name)| name)
    }

    /// The architecture of a code; nothing for `00` and what is not known.
    #[must_use]
    pub fn from_code(code: [u8; 3]) -> Option<Self> {
        ALL.iter().find(|(known, _)| known.code() == code).map(|(found, _)| *found)
    }

    /// The code: two digits and a NUL.
    #[must_use]
    pub fn code(self) -> [u8; 3] {
        let number = self as u8;
        let [tens, units] = [number / 10, number % 10].map(|digit| digit.saturating_add(b'0'));
        [tens, units, 0]
    }

    /// Whether a machine of the architecture `host` runs programs of this one without emulation.
    #[must_use]
    pub fn runs_on(self, host: Self) -> bool {
        self == host || (self, host) == (Self::I386, Self::Amd64)
    }
}
