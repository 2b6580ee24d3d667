//! Where the daemon listens, and whether the directory around the socket may be trusted.
//!
//! Order and checks: `design.md` §2; states: S46, S47 of `reliability.md`. A directory is taken
//! only when it is a real one, the user's own and closed to others. Not here: starting the daemon,
//! the lock beside the socket, the peer's uid (`orlop-client`, `orlop-daemon`).

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// Mode of a directory that holds a socket.
const CLOSED: Mode = Mode::RWXU;

/// Where the daemon of one cache may listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketPlace {
    /// A path that the user named; its directory is the user's business.
    Given(PathBuf),
    /// The first of the places that can be had.
    Searched {
        /// `XDG_RUNTIME_DIR` as it is set.
        runtime: Option<PathBuf>,
        /// `/run/user/<uid>`.
        system_runtime: PathBuf,
        /// Directories of the user's own in those of temporary files, in order.
        temporary: Vec<PathBuf>,
        /// Name of the socket.
        name: String,
    },
}

/// A place for a socket that can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSocket {
    /// The socket, which need not exist. Can be longer than an address of a socket may be.
    pub path: PathBuf,
    /// What the user should hear: places that are set and wrong.
    pub warnings: Vec<String>,
}

/// No directory for a socket can be had: a daemon for one command is what remains.
#[derive(Debug, thiserror::Error)]
#[error("no directory for the daemon's socket can be used")]
pub struct NoSocketPlace {
    /// Why not, one line for each place, in order.
    pub reasons: Vec<String>,
}

/// Why one directory is not used.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("it is not an absolute path")]
    Relative,
    #[error("it is {0}")]
    NotADirectory(&'static str),
    #[error("it belongs to user {0}")]
    Foreign(u32),
    #[error("others may use it (mode {0:04o})")]
    Open(u32),
    #[error("{0}")]
    Disk(#[from] io::Error),
}

impl From<Errno> for Unfit {
    fn from(cause: Errno) -> Self {
        Self::Disk(cause.into())
    }
}

impl SocketPlace {
    /// Finds the first place that can be had and makes its directory, closed to others. A directory
    /// of temporary files that is missing or cannot be written, as the login node's `TMPDIR` in a
    /// job, is passed over; a place in one that somebody else has taken ends the search.
    ///
    /// # Errors
    /// [`NoSocketPlace`]; nothing was made then.
    pub fn prepare(&self, uid: u32) -> Result<FoundSocket, NoSocketPlace> {
        self.search(uid, false)
    }

    /// The same for sockets of other programs than the daemon: places that somebody else has taken
    /// are passed over, too, so that nobody can keep a user from running containers.
    ///
    /// # Errors
    /// [`NoSocketPlace`]; nothing was made then.
    pub fn prepare_anywhere(&self, uid: u32) -> Result<FoundSocket, NoSocketPlace> {
        self.search(uid, true)
    }

    fn search(&self, uid: u32, passes_taken: bool) -> Result<FoundSocket, NoSocketPlace> {
        let (runtime, system_runtime, temporary, name) = match self {
            Self::Given(path) => {
                return Ok(FoundSocket { path: path.clone(), warnings: Vec::new() });
            }
            Self::Searched { runtime, system_runtime, temporary, name } => {
                (runtime, system_runtime, temporary, name)
            }
        };
        let mut warnings = Vec::new();
        let mut reasons = Vec::new();
        if let Some(runtime) = runtime {
            match in_runtime(runtime, uid) {
                Ok(directory) => return Ok(FoundSocket { path: directory.join(name), warnings }),
                Err(unfit) => {
                    let text =
                        format!("XDG_RUNTIME_DIR {} is not used: {unfit}", runtime.display());
                    warnings.push(text.clone());
                    reasons.push(text);
                }
            }
        }
        let unused = |directory: &Path, unfit: Unfit| {
            format!("{} is not used: {unfit}", directory.display())
        };
        match in_runtime(system_runtime, uid) {
            Ok(directory) => return Ok(FoundSocket { path: directory.join(name), warnings }),
            Err(unfit) => reasons.push(unused(system_runtime, unfit)),
        }
        for temporary in temporary {
            match own_directory(temporary, uid) {
                Ok(()) => return Ok(FoundSocket { path: temporary.join(name), warnings }),
                Err(unfit) => {
                    let is_taken = !matches!(unfit, Unfit::Disk(_));
                    reasons.push(unused(temporary, unfit));
                    if is_taken && !passes_taken {
                        break;
                    }
                }
            }
        }
        Err(NoSocketPlace { reasons })
    }
}

/// The directory `orlop` in a runtime directory, which must exist. One of our own that others may
/// use is closed.
fn in_runtime(runtime: &Path, uid: u32) -> Result<PathBuf, Unfit> {
    if !runtime.is_absolute() {
        return Err(Unfit::Relative);
    }
    let fd = rustix::fs::open(runtime, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let stat = rustix::fs::fstat(&fd)?;
    check_owner(&stat, uid)?;
    if stat.st_mode & 0o077 != 0 {
        rustix::fs::chmodat(CWD, runtime, CLOSED, AtFlags::empty())?;
    }
    let directory = runtime.join("orlop");
    own_directory(&directory, uid)?;
    Ok(directory)
}

/// A directory of the user's own, made when it is missing. It is not mended: in a place where all
/// may write, one that is open may already hold something of a stranger's.
fn own_directory(directory: &Path, uid: u32) -> Result<(), Unfit> {
    match rustix::fs::mkdir(directory, CLOSED) {
        // The mask of the process may have taken the user's own rights, too.
        Ok(()) => rustix::fs::chmodat(CWD, directory, CLOSED, AtFlags::empty())?,
        Err(Errno::EXIST) => {}
        Err(cause) => return Err(cause.into()),
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let stat = rustix::fs::fstat(rustix::fs::open(directory, flags, Mode::empty())?)?;
    check_owner(&stat, uid)?;
    match stat.st_mode & 0o7777 {
        mode if mode & 0o077 != 0 => Err(Unfit::Open(mode)),
        _ => Ok(()),
    }
}

fn check_owner(stat: &Stat, uid: u32) -> Result<(), Unfit> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory if stat.st_uid == uid => Ok(()),
        FileType::Directory => Err(Unfit::Foreign(stat.st_uid)),
        FileType::Symlink => Err(Unfit::NotADirectory("a symbolic link")),
        _ => Err(Unfit::NotADirectory("no directory")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn uid() -> u32 {
        rustix::process::getuid().as_raw()
    }

    struct World {
        root: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            Self { root: tempfile::tempdir().unwrap() }
        }

        fn at(&self, name: &str) -> PathBuf {
            self.root.path().join(name)
        }

        fn directory(&self, name: &str, mode: u32) -> PathBuf {
            let path = self.at(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }

        fn place(&self, runtime: Option<PathBuf>) -> SocketPlace {
            SocketPlace::Searched {
                runtime,
                system_runtime: self.at("run-user"),
                temporary: vec![self.at("tmp"), self.at("var-tmp")],
                name: "orlopd.sock".into(),
            }
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_runtime_directory_of_ours_is_used_and_closed() {
        let world = World::new();
        let runtime = world.directory("runtime", 0o755);
        let found = world.place(Some(runtime.clone())).prepare(uid()).unwrap();
        assert_eq!(found.path, runtime.join("orlop/orlopd.sock"));
        assert!(found.warnings.is_empty(), "{:?}", found.warnings);
        assert_eq!((mode(&runtime), mode(&runtime.join("orlop"))), (0o700, 0o700));
    }

    #[test]
    fn a_wrong_runtime_directory_is_named_and_the_next_place_used() {
        let world = World::new();
        fs::write(world.at("file"), "").unwrap();
        for wrong in [world.at("missing"), world.at("file"), PathBuf::from("relative")] {
            let found = world.place(Some(wrong.clone())).prepare(uid()).unwrap();
            assert_eq!(found.path, world.at("tmp/orlopd.sock"));
            let [warning] = found.warnings.as_slice() else { panic!("{:?}", found.warnings) };
            assert!(warning.contains(&*wrong.to_string_lossy()), "{warning}");
        }
        assert_eq!(mode(&world.at("tmp")), 0o700);
    }

    #[test]
    fn the_system_s_runtime_directory_comes_before_a_temporary_one() {
        let world = World::new();
        let runtime = world.directory("run-user", 0o700);
        let found = world.place(None).prepare(uid()).unwrap();
        assert_eq!(found.path, runtime.join("orlop/orlopd.sock"));
        assert!(!world.at("tmp").exists());
    }

    #[test]
    fn a_planted_temporary_directory_is_not_used() {
        let plants: [fn(&World); 3] = [
            |world| drop(world.directory("tmp", 0o777)),
            |world| symlink(world.directory("target", 0o700), world.at("tmp")).unwrap(),
            |world| fs::write(world.at("tmp"), "").unwrap(),
        ];
        for (row, plant) in plants.into_iter().enumerate() {
            let world = World::new();
            plant(&world);
            let refused = world.place(None).prepare(uid()).unwrap_err();
            assert_eq!(refused.reasons.len(), 2, "{row}: {:?}", refused.reasons);
            assert!(!world.at("var-tmp").exists(), "{row}");
            let found = world.place(None).prepare_anywhere(uid()).unwrap();
            assert_eq!(found.path, world.at("var-tmp/orlopd.sock"), "{row}");
        }
    }

    #[test]
    fn a_directory_of_temporary_files_that_is_not_there_is_passed_over() {
        let world = World::new();
        fs::write(world.at("file"), "").unwrap();
        for wrong in ["missing/tmp", "file/tmp"] {
            let temporary = vec![world.at(wrong), world.at("tmp")];
            let SocketPlace::Searched { runtime, system_runtime, name, .. } = world.place(None)
            else {
                panic!("searched")
            };
            let place = SocketPlace::Searched { runtime, system_runtime, temporary, name };
            let found = place.prepare(uid()).unwrap();
            assert_eq!(found.path, world.at("tmp/orlopd.sock"));
            assert!(found.warnings.is_empty(), "{:?}", found.warnings);
        }
    }

    #[test]
    fn a_directory_of_another_user_is_not_used() {
        let world = World::new();
        let runtime = world.directory("runtime", 0o700);
        let refused = world.place(Some(runtime)).prepare(uid().wrapping_add(1)).unwrap_err();
        assert!(refused.reasons.iter().any(|reason| reason.contains("belongs to user")));
    }
}
