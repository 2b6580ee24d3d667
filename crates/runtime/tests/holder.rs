//! Mount holders from outside: a client in small joins them, as root's or as another user.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::AtomicBool;

use orlop_image::{
    ImageInputs, LayerSource, Options as ConversionOptions, Workers, build_recipe, convert,
    segment_key,
};
use orlop_oci::config::ImageConfig;
use orlop_oci::digest::Digest;
use orlop_oci::platform::Platform;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

#[path = "../probe/tree.rs"]
mod tree;

const PROBE: &str = env!("CARGO_BIN_EXE_orlop-runtime-probe");
/// A user that no machine has.
const OTHER: u32 = 61_234;

/// A squashfs, and whoever uses it.
struct Site {
    directory: TempDir,
    user: Option<u32>,
    grace_ms: u32,
    wait_ms: u32,
}

impl Site {
    fn empty() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).expect("mode");
        for name in ["source", "sockets", "mount", "cache"] {
            std::fs::create_dir(directory.path().join(name)).expect("a directory");
        }
        fill(&directory.path().join("source"));
        Self { directory, user: None, grace_ms: 50, wait_ms: 30_000 }
    }

    /// A site whose image is made of `source/` by mksquashfs.
    fn new(compression: &str) -> Option<Self> {
        let site = Self::empty();
        let made = Command::new("mksquashfs")
            .args([site.path("source"), site.path("image")])
            .args(["-quiet", "-no-progress", "-comp", compression])
            .output();
        match made {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                not_run("mksquashfs is not installed");
                return None;
            }
            made => assert!(made.expect("mksquashfs").status.success(), "the image is made"),
        }
        Some(site)
    }

    /// A site whose image is the recipe of a layer with all of `source/`.
    fn of_recipe() -> Self {
        let site = Self::empty();
        std::fs::create_dir(site.path("image")).expect("a directory");
        let tar = Command::new("tar").arg("-C").arg(site.path("source")).args(["-c", "."]).output();
        let tar = tar.expect("tar").stdout;
        let options = ConversionOptions::default();
        let digest = Digest::sha256(&tar);
        let layer = LayerSource {
            digest: digest.clone(),
            size: tar.len() as u64,
            compression: None,
            diff_id: None,
        };
        let mut data = File::create(site.path("image/segment")).expect("created");
        let conversion = convert(
            &layer,
            &mut tar.as_slice(),
            &mut data,
            &options,
            &Workers::new(2),
            &AtomicBool::new(false),
        )
        .expect("converted");
        let inputs = ImageInputs {
            manifest_digest: Digest::sha256(b"manifest"),
            platform: Platform::new("linux", "amd64", None),
            programs: None,
            name: "docker.io/library/x:latest".to_owned(),
            config: ImageConfig::default(),
            scheme: "docker".to_owned(),
        };
        let layers = [(segment_key(&digest, &options), &conversion.index)];
        let recipe = build_recipe(&inputs, &layers, &options).expect("a recipe");
        std::fs::write(site.path("image/recipe"), recipe.to_bytes()).expect("written");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The same site for a user without privileges; none when the tests are not root's.
    fn into_others(mut self) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            not_run("only root can become another user");
            return None;
        }
        for name in ["sockets", "mount", "cache"] {
            chown(self.path(name), Some(OTHER), Some(OTHER)).expect("owned");
        }
        self.user = Some(OTHER);
        Some(self)
    }

    fn probe(&self, verb: &[&str]) -> Command {
        let mut command = match self.user {
            None => Command::new(PROBE),
            Some(id) => {
                let mut command = Command::new("setpriv");
                let id = id.to_string();
                command.args(["--reuid", &id, "--regid", &id, "--clear-groups", PROBE]);
                command
            }
        };
        self.arguments(&mut command, "-", verb);
        command
    }

    /// The probe where `/dev/fuse` is no such device.
    fn probe_without_fuse(&self, verb: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c"]);
        command.args(["mount --bind /dev/null /dev/fuse && exec \"$@\"", "sh", PROBE]);
        self.arguments(&mut command, self.path("cache").to_str().expect("UTF-8"), verb);
        command
    }

    fn arguments(&self, command: &mut Command, cache: &str, verb: &[&str]) {
        command.args([self.path("image"), self.path("sockets")]);
        command.args(["test", &self.grace_ms.to_string(), &self.wait_ms.to_string()]);
        command.arg(self.path("mount")).arg(cache).args(verb);
    }

    /// A user of the holder, until it is dropped; and how it came to it.
    fn hold(&self) -> (User, String) {
        let mut child = self
            .probe(&["hold"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the probe runs");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        (User { child, _out: out }, origin(&line))
    }

    /// What is in the image, by the file system of the machine, as its user sees it.
    fn source(&self) -> String {
        let mut lines = Vec::new();
        tree::write(&self.path("source"), &mut lines).expect("listed");
        let lines = String::from_utf8(lines).expect("UTF-8");
        let prefix = format!("{}/", self.path("source").display());
        lines.replace(&prefix, "./")
    }

    /// Processes that hold something of this site.
    fn holders(&self) -> Vec<Pid> {
        let wanted = self.path("sockets/holders");
        let processes = std::fs::read_dir("/proc").expect("/proc");
        let mut found = Vec::new();
        for entry in processes.flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let Ok(open) = std::fs::read_dir(entry.path().join("fd")) else { continue };
            let is_holder = command.ends_with(b"\0--orlop-holder\0")
                && open.flatten().any(|fd| fd.path().read_link().is_ok_and(|to| to == wanted));
            found.extend(number.and_then(Pid::from_raw).filter(|_| is_holder));
        }
        found
    }

    fn kill_holders(&self) {
        for holder in self.holders() {
            rustix::process::kill_process(holder, Signal::KILL).expect("killed");
        }
    }

    /// Returns when the one holder has left: connects and says nothing, and waits for the end.
    fn wait_until_left(&self) {
        let sockets = std::fs::read_dir(self.path("sockets/holders")).expect("holders");
        let mut names = sockets.flatten().map(|entry| entry.path());
        let is_socket = |path: &PathBuf| path.extension().is_some_and(|name| name == "sock");
        let Some(socket) = names.find(is_socket) else { return };
        let kind = SocketType::SEQPACKET;
        let watch = rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
            .expect("a socket");
        let address = SocketAddrUnix::new(socket).expect("a short path");
        // An error says that it is gone, here and there.
        if rustix::net::connect(&watch, &address).is_ok() {
            let mut buffer = [0; 1];
            while rustix::io::read(&watch, &mut buffer).is_ok_and(|count| count > 0) {}
        }
    }

    fn sockets(&self) -> usize {
        let entries = std::fs::read_dir(self.path("sockets/holders")).expect("holders");
        entries.flatten().filter(|entry| entry.file_name() != "lock").count()
    }
}

/// A probe that waits.
struct User {
    child: Child,
    _out: BufReader<ChildStdout>,
}

impl Drop for User {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().expect("it ends");
    }
}

/// One line in the log: what does not run does not pass silently.
fn not_run(why: &str) {
    writeln!(std::io::stderr(), "not run: {why}").expect("written");
}

fn origin(line: &str) -> String {
    line.split(' ').next().unwrap_or_default().to_owned()
}

/// The first line and the rest of what a probe printed.
fn read(mut command: Command) -> (String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the probe runs");
    let stdout = String::from_utf8(stdout).expect("UTF-8");
    assert!(status.success(), "{}\n{stdout}", String::from_utf8_lossy(&stderr));
    let (first, rest) = stdout.split_once('\n').expect("a line");
    (first.to_owned(), rest.to_owned())
}

fn fill(source: &Path) {
    let write = |name: &str, bytes: &[u8], mode: u32| {
        std::fs::write(source.join(name), bytes).expect("written");
        std::fs::set_permissions(source.join(name), PermissionsExt::from_mode(mode)).expect("mode");
    };
    let noise: Vec<u8> = (0..3_000_000_u32)
        .scan(1_u32, |state, _| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some(state.to_be_bytes()[0])
        })
        .collect();
    write("noise", &noise, 0o644);
    write("text", "the same again and again\n".repeat(40_000).as_bytes(), 0o600);
    write("empty", b"", 0o640);
    write("program", b"#!/bin/sh\n", 0o755);
    std::fs::hard_link(source.join("text"), source.join("text again")).expect("linked");
    symlink("../some where/else", source.join("link")).expect("linked");
    std::fs::create_dir(source.join("many")).expect("a directory");
    for number in 0..1500 {
        write(&format!("many/{number}"), format!("{number}\n").repeat(number).as_bytes(), 0o644);
    }
    std::fs::create_dir_all(source.join("a/b/c/d")).expect("directories");
    write("a/b/c/d/deep", b"deep", 0o444);
    std::fs::set_permissions(source.join("a/b"), PermissionsExt::from_mode(0o700)).expect("mode");
    let sparse = File::create(source.join("sparse")).expect("created");
    sparse.write_all_at(b"end", 5_000_000).expect("written");
}

#[test]
fn every_file_reads_as_it_was_whatever_the_compression() {
    for compression in ["gzip", "xz", "lzo", "lz4", "zstd"] {
        let Some(site) = Site::new(compression) else { return };
        let (first, tree) = read(site.probe(&["tree"]));
        assert!(first.starts_with("Started unpacked=false"), "{first}");
        assert_eq!(tree, site.source(), "{compression}");
    }
}

#[test]
fn an_image_of_the_cache_is_read_through_its_recipe() {
    let mut site = Site::of_recipe();
    site.grace_ms = 30_000;
    for wanted in ["Started", "Joined"] {
        let (first, tree) = read(site.probe(&["tree"]));
        assert_eq!(origin(&first), wanted);
        let missing: Vec<_> = site
            .source()
            .lines()
            .filter(|line| !tree.lines().any(|own| own == *line))
            .map(str::to_owned)
            .collect();
        assert_eq!(missing, Vec::<String>::new());
        assert!(tree.contains(".singularity.d/runscript"), "{tree}");
    }
    site.kill_holders();
}

#[test]
fn everything_belongs_to_the_caller() {
    let Some(site) = Site::new("zstd").and_then(Site::into_others) else { return };
    let (_, tree) = read(site.probe(&["tree"]));
    let own = format!(
        " {}:{} ",
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw()
    );
    assert_eq!(tree, site.source().replace(&own, &format!(" {OTHER}:{OTHER} ")));
}

#[test]
fn many_at_once_share_one_holder() {
    let Some(site) = Site::new("zstd") else { return };
    let started = std::thread::scope(|scope| {
        let users: Vec<_> = (0..30).map(|_| scope.spawn(|| site.hold())).collect();
        let users: Vec<_> = users.into_iter().map(|user| user.join().expect("joined")).collect();
        assert_eq!(site.holders().len(), 1);
        users.iter().filter(|(_, origin)| origin == "Started").count()
    });
    assert_eq!(started, 1);
}

#[test]
fn a_holder_ends_after_its_last_user_and_the_next_is_new() {
    let Some(site) = Site::new("zstd") else { return };
    let (user, origin) = site.hold();
    assert_eq!(origin, "Started");
    let holder = site.holders();
    let pidfd = rustix::process::pidfd_open(holder[0], rustix::process::PidfdFlags::empty())
        .expect("it runs");
    let (second, origin) = site.hold();
    assert_eq!(origin, "Joined");
    drop(user);
    assert_eq!(site.hold().1, "Joined", "the second is there");
    drop(second);
    let mut ended = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut ended, None).expect("it ends");
    assert_eq!(site.sockets(), 0);
    assert_eq!(site.hold().1, "Started");
}

#[test]
fn what_a_user_left_behind_is_served_after_the_holder_left() {
    let Some(site) = Site::new("zstd") else { return };
    let mut child = site
        .probe(&["linger", "text"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the probe runs");
    let mut stdin = child.stdin.take().expect("piped");
    child.wait().expect("it ends");
    site.wait_until_left();
    assert_eq!(site.sockets(), 0);
    stdin.write_all(b"now\n").expect("written");
    let mut text = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut text).expect("read");
    let (_, text) = text.split_once('\n').expect("a line");
    assert!(text.ends_with("the same again and again\n"), "{} bytes", text.len());
}

#[test]
fn after_a_killed_holder_the_next_command_has_a_new_one() {
    let Some(site) = Site::new("zstd") else { return };
    let (user, _) = site.hold();
    site.kill_holders();
    let (first, tree) = read(site.probe(&["tree"]));
    assert_eq!(origin(&first), "Started");
    assert_eq!(tree, site.source());
    drop(user);
}

#[test]
fn a_stopped_holder_is_replaced_when_the_wait_is_over() {
    let Some(mut site) = Site::new("zstd") else { return };
    let (user, _) = site.hold();
    for holder in site.holders() {
        rustix::process::kill_process(holder, Signal::STOP).expect("stopped");
    }
    site.wait_ms = 300;
    site.grace_ms = 30_000;
    let (first, tree) = read(site.probe(&["cat", "a/b/c/d/deep"]));
    assert_eq!((origin(&first).as_str(), tree.as_str()), ("Replaced", "deep"));
    site.wait_ms = 30_000;
    assert_eq!(site.hold().1, "Joined");
    site.kill_holders();
    drop(user);
}

#[test]
fn an_image_cut_short_is_an_error_of_reading() {
    let Some(site) = Site::new("gzip") else { return };
    let image = File::options().write(true).open(site.path("image")).expect("opened");
    let (user, _) = site.hold();
    image.set_len(1_000_000).expect("cut");
    let output = site.probe(&["cat", "noise"]).output().expect("the probe runs");
    assert!(!output.status.success(), "the file cannot be whole");
    drop(user);
}

#[test]
fn without_fuse_the_image_is_unpacked_once() {
    let Some(site) = Site::new("zstd") else { return };
    let can_unshare = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).status();
    if !can_unshare.is_ok_and(|status| status.success()) {
        not_run("no user namespaces");
        return;
    }
    let (first, tree) = read(site.probe_without_fuse(&["tree"]));
    assert!(first.starts_with("Started unpacked=true"), "{first}");
    let own = format!(
        " {}:{} ",
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw()
    );
    assert_eq!(tree, site.source().replace(&own, " 0:0 "));
    let unpacked = || {
        let mut entries = std::fs::read_dir(site.path("cache/unpacked")).expect("unpacked");
        let entry = entries.next().expect("one").expect("read");
        assert!(entries.next().is_none(), "one only");
        entry.metadata().expect("status").ino()
    };
    let before = unpacked();
    site.wait_until_left();
    let (first, _) = read(site.probe_without_fuse(&["cat", "empty"]));
    assert!(first.starts_with("Started unpacked=true"), "{first}");
    assert_eq!(unpacked(), before);
    assert_eq!(std::fs::read_dir(site.path("cache/tmp/.orlop")).expect("tmp").count(), 0);
}

#[test]
fn f37_an_unpacked_image_that_was_deleted_with_the_cache_has_another_holder() {
    let Some(mut site) = Site::new("zstd") else { return };
    site.grace_ms = 5_000;
    let can_unshare = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).status();
    if !can_unshare.is_ok_and(|status| status.success()) {
        not_run("no user namespaces");
        return;
    }
    // Both in one user namespace, which is part of a holder's key.
    let cache = site.path("cache").display().to_string();
    let script =
        format!("mount --bind /dev/null /dev/fuse && \"$@\" && rm -r {cache} && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script, "sh", PROBE]);
    site.arguments(&mut command, &cache, &["cat", "empty"]);
    let (first, next) = read(command);
    assert!(first.starts_with("Started unpacked=true"), "{first}");
    assert!(next.starts_with("Started unpacked=true"), "{next}");
}

#[test]
fn without_fuse_and_cache_the_error_says_so() {
    let Some(site) = Site::new("zstd") else { return };
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c"]);
    command.args(["mount --bind /dev/null /dev/fuse && exec \"$@\"", "sh", PROBE]);
    site.arguments(&mut command, "-", &["hold"]);
    let output = command.output().expect("the probe runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.starts_with("/dev/fuse cannot be used"), "{text}");
}
