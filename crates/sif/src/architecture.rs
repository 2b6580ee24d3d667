//! Architectures: SIF's two digits, Go's names, and what programs say they are made for.
//!
//! Spec of the last: System V ABI, ELF header; numbers of machines as in Linux's `elf-em.h`.

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

/// Bytes of an ELF header up to the machine's number.
pub const PROGRAM_HEAD_BYTES: usize = 20;

impl Architecture {
    /// What the header of a program (ELF) for this architecture begins with.
    #[must_use]
    pub fn program_head(self) -> [u8; PROGRAM_HEAD_BYTES] {
        let (machine, is_wide, is_little) = match self {
            Self::I386 => (3_u16, false, true),
            Self::Mips => (8, false, false),
            Self::Mipsle => (8, false, true),
            Self::Mips64 => (8, true, false),
            Self::Mips64le => (8, true, true),
            Self::Ppc64 => (21, true, false),
            Self::Ppc64le => (21, true, true),
            Self::S390x => (22, true, false),
            Self::Arm => (40, false, true),
            Self::Amd64 => (62, true, true),
            Self::Arm64 => (183, true, true),
            Self::Riscv64 => (243, true, true),
            Self::Loong64 => (258, true, true),
        };
        let class = if is_wide { 2 } else { 1 };
        let (order, bytes_of): (u8, fn(u16) -> [u8; 2]) =
            if is_little { (1, u16::to_le_bytes) } else { (2, u16::to_be_bytes) };
        // An executable file.
        let [kind, machine] = [2, machine].map(bytes_of);
        let mut head = [0; PROGRAM_HEAD_BYTES];
        let parts = [&[0x7f, b'E', b'L', b'F', class, order, 1][..], &[0; 9], &kind, &machine];
        for (byte, value) in head.iter_mut().zip(parts.concat()) {
            *byte = value;
        }
        head
    }

    /// The architecture that a program is made for, by its first bytes; nothing for what is no ELF
    /// program, or for none of these.
    #[must_use]
    pub fn of_program(head: &[u8]) -> Option<Self> {
        let marks = |head: &[u8]| {
            let part = |range: core::ops::Range<usize>| head.get(range).map(<[u8]>::to_vec);
            Some((part(0..6)?, part(18..PROGRAM_HEAD_BYTES)?))
        };
        let found = marks(head)?;
        let is_it = |known: &Self| marks(&known.program_head()).as_ref() == Some(&found);
        ALL.iter().map(|(known, _)| *known).find(is_it)
    }

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

    /// Whether a machine of the architecture `host` runs programs of this one without emulation, as
    /// far as the architecture tells.
    #[must_use]
    pub fn runs_on(self, host: Self) -> bool {
        self == host
            || matches!(
                (self, host),
                (Self::I386, Self::Amd64)
                    | (Self::Arm, Self::Arm64)
                    | (Self::Mips, Self::Mips64)
                    | (Self::Mipsle, Self::Mips64le)
            )
    }
}
