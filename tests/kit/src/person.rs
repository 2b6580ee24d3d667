//! Who the programs run as: an unprivileged user, made on the spot when the kit runs as root.
//!
//! The user is a number that no account of the machine has; programs that look it up find no
//! name, which real sites have as well. Not here: that user's home ([`crate::site`]).

use rustix::process::{getegid, geteuid};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Once;

/// Number of the user and group that the kit takes when it is root.
const STRANGER: u32 = 48_219;

/// Numbers of user and group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Person {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

impl Person {
    /// Whoever runs the kit.
    #[must_use]
    pub fn own() -> Self {
        Self { uid: geteuid().as_raw(), gid: getegid().as_raw() }
    }

    /// Somebody without privileges: the kit's user when the kit runs as root, else whoever runs
    /// the kit. As root, also lets everybody open `/dev/fuse`, as Debian's udev does.
    #[must_use]
    pub fn ordinary() -> Self {
        static FUSE: Once = Once::new();
        if !geteuid().is_root() {
            return Self::own();
        }
        FUSE.call_once(|| {
            use std::os::unix::fs::PermissionsExt as _;
            let everybody = std::fs::Permissions::from_mode(0o666);
            // Where there is no such device the tests that need it say so.
            let _opened = std::fs::set_permissions("/dev/fuse", everybody);
        });
        Self { uid: STRANGER, gid: STRANGER }
    }

    /// Another one without privileges; only when the kit runs as root.
    #[must_use]
    pub fn other() -> Option<Self> {
        geteuid().is_root().then_some(Self { uid: STRANGER + 1, gid: STRANGER + 1 })
    }

    /// Whether this is root.
    #[must_use]
    pub const fn is_root(self) -> bool {
        self.uid == 0
    }

    /// Lets a command run as this person, without other groups.
    pub fn apply(self, command: &mut Command) {
        if self != Self::own() {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Gives a path away.
    ///
    /// # Panics
    /// When that may not be done.
    pub fn give(self, path: &Path) {
        if self != Self::own() {
            std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
                .unwrap_or_else(|cause| panic!("chown {}: {cause}", path.display()));
        }
    }
}
