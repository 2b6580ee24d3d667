//! The two programs under test, where an unprivileged user can start them.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Paths of `orlop` and `orlopd`.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The client.
    pub orlop: PathBuf,
    /// The daemon, beside the client.
    pub orlopd: PathBuf,
}

impl Programs {
    /// The programs that cargo built for a test: `CARGO_BIN_EXE_orlop` and `CARGO_BIN_EXE_orlopd`.
    #[must_use]
    pub fn new(orlop: impl Into<PathBuf>, orlopd: impl Into<PathBuf>) -> Self {
        Self { orlop: orlop.into(), orlopd: orlopd.into() }
    }

    /// The same programs, copied to where everybody may go if they are not there yet.
    ///
    /// # Panics
    /// When a program is missing or the copy cannot be made.
    #[must_use]
    pub fn for_everybody(&self) -> Self {
        if reachable(&self.orlop) && reachable(&self.orlopd) {
            return self.clone();
        }
        let about = |path: &Path| {
            let found = path.metadata().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            format!("{:x}-{:x}-{:x}", found.len(), found.mtime(), found.mtime_nsec())
        };
        let all = std::env::temp_dir().join("orlop-kit-programs");
        let at = all.join(format!("{}-{}", about(&self.orlop), about(&self.orlopd)));
        let copies = Self { orlop: at.join("orlop"), orlopd: at.join("orlopd") };
        if !copies.orlop.exists() || !copies.orlopd.exists() {
            remove_older(&all);
            make_dir(&all);
            make_dir(&at);
            place(&self.orlopd, &copies.orlopd);
            place(&self.orlop, &copies.orlop);
        }
        copies
    }
}

/// Whether everybody may enter each directory above a file.
fn reachable(path: &Path) -> bool {
    path.ancestors().skip(1).all(|directory| {
        directory.metadata().is_ok_and(|found| found.permissions().mode() & 0o001 != 0)
    })
}

fn make_dir(at: &Path) {
    match std::fs::create_dir(at) {
        Err(cause) if cause.kind() != std::io::ErrorKind::AlreadyExists => {
            panic!("{}: {cause}", at.display())
        }
        _ => {}
    }
    let found = at.symlink_metadata().expect("it was just made");
    let own = rustix::process::geteuid().as_raw();
    assert!(found.is_dir() && found.uid() == own, "{} belongs to somebody else", at.display());
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(at, everybody).expect("the owner may");
}

/// Programs of earlier builds go; one that still runs keeps running without its name.
fn remove_older(all: &Path) {
    let Ok(entries) = std::fs::read_dir(all) else { return };
    for entry in entries.flatten() {
        let recent = entry
            .metadata()
            .and_then(|found| found.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() < 1800));
        if !recent {
            // Somebody else of this user's test runs may have removed it first.
            let _removed = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Copies whole or not at all, however many tests do so at once.
fn place(from: &Path, to: &Path) {
    let directory = to.parent().expect("the path was joined");
    let draft = tempfile::NamedTempFile::new_in(directory).expect("a file can be made there");
    let draft = draft.into_temp_path();
    // By another process: a program that a third thread starts meanwhile would inherit the open
    // file, and what is open for writing cannot be executed.
    let copied = std::process::Command::new("cp").arg(from).arg(&draft).status();
    assert!(copied.is_ok_and(|status| status.success()), "{} cannot be copied", from.display());
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&draft, everybody).expect("the owner may");
    draft.persist(to).expect("a rename within a directory");
}
