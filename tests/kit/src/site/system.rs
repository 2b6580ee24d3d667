//! A site's own `/etc`: what an administrator wrote, without touching the machine's.
//!
//! Commands of a site that has one run in a user and mount namespace of their own, in which the
//! site's directory lies over `/etc`. There they are root of their namespace, as in a container;
//! to everybody else they are the site's person. Not here: the user's own files.

use super::Site;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What programs need to find users, hosts and libraries.
const KEPT: [&str; 6] = ["passwd", "group", "nsswitch.conf", "hosts", "resolv.conf", "ld.so.cache"];

impl Site {
    /// Writes a file below the `/etc` that the site's commands see, such as
    /// `containers/registries.conf`.
    ///
    /// # Panics
    /// When that fails.
    pub fn write_system(&self, path: &str, bytes: &[u8]) {
        let etc = self.etc();
        if !etc.exists() {
            self.make_dir(&etc, 0o755);
            for name in KEPT {
                if let Ok(content) = std::fs::read(Path::new("/etc").join(name)) {
                    self.write(&etc.join(name), &content);
                }
            }
        }
        self.write(&etc.join(path), bytes);
    }

    /// Where the files of [`Site::write_system`] are.
    #[must_use]
    pub fn etc(&self) -> PathBuf {
        self.root().join("etc")
    }

    /// The program and arguments that start a command where the site's `/etc` is seen.
    pub(super) fn with_system(
        &self,
        program: &Path,
        arguments: Vec<OsString>,
    ) -> (PathBuf, Vec<OsString>) {
        if !self.etc().exists() {
            return (program.to_owned(), arguments);
        }
        let script = r#"
            boot=/proc/sys/kernel/random/boot_id
            [ ! -e "$0/orlop-kit-boot" ] || mount --bind "$0/orlop-kit-boot" "$boot" || exit 97
            mount --bind "$0" /etc && exec "$@""#;
        let mut all: Vec<OsString> = ["--user", "--map-root-user", "--mount", "sh", "-c", script]
            .iter()
            .map(OsString::from)
            .collect();
        all.push(self.etc().into());
        all.push(program.into());
        all.extend(arguments);
        ("/usr/bin/unshare".into(), all)
    }
}
