//! Nodes of a cluster on one machine, with one directory that they share.
//!
//! Each has mount, network, process, host-name and IPC namespaces of its own, its own boot, its own
//! person's world ([`Site`]) and the directory by a file server's view of its own ([`Share`]) where
//! that person's cache is. Registries of the test's loopback are reached through a relay that
//! listens on the node's. A node can be frozen, killed, and cut off from the directory. Only root
//! can make one.
//!
//! Not here: clocks that are wrong, which are the programs' own.

use crate::share::{Manner, Share};
use crate::site::Site;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// The namespaces of a node, which its first process keeps.
#[derive(Debug)]
pub struct Place {
    keeper: Mutex<Child>,
    number: u32,
    namespaces: Vec<File>,
}

/// Nodes with one directory.
#[derive(Debug)]
pub struct Nodes {
    nodes: Vec<(Site, Arc<Place>, Share)>,
    directory: tempfile::TempDir,
}

/// What a node's first process does: its own `/proc` (over the old one, which stays visible enough
/// for containers to mount theirs), boot, host name and loopback; then it waits for the end of the test's process.
const FIRST: &str = r#"
mount -t proc proc /proc && mount --bind "$0" /proc/sys/kernel/random/boot_id &&
hostname "$1" && ip link set lo up && echo ready && exec cat
"#;

impl Place {
    fn new(name: &str, boot: &Path) -> Arc<Self> {
        let (name, boot) = (name.to_owned(), boot.to_owned());
        let make = move || {
            let flags = CloneFlags::CLONE_NEWNS
                | CloneFlags::CLONE_NEWNET
                | CloneFlags::CLONE_NEWPID
                | CloneFlags::CLONE_NEWUTS
                | CloneFlags::CLONE_NEWIPC;
            unshare(flags).expect("root may");
            let none: Option<&str> = None;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("root may");
            let mut keeper = Command::new("sh")
                .args(["-c", FIRST])
                .args([boot.as_os_str(), name.as_ref()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("there is a shell");
            let mut line = String::new();
            let out = keeper.stdout.take().expect("it is piped");
            BufReader::new(out).read_line(&mut line).expect("a pipe can be read");
            assert_eq!(line, "ready\n", "the node is made");
            keeper
        };
        // The thread's namespaces go with it, but for those that the keeper is in.
        let made = std::thread::Builder::new().spawn(make).expect("threads can be started");
        let keeper = made.join().expect("the node is made");
        let number = keeper.id();
        let open = |kind: &str| File::open(format!("/proc/{number}/ns/{kind}")).expect("it lives");
        let namespaces = ["net", "uts", "ipc", "pid", "mnt"].map(open).into();
        Arc::new(Self { keeper: Mutex::new(keeper), number, namespaces })
    }

    /// Does something on a thread that is in the node, as are the processes that it starts.
    pub(crate) fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                // A thread that shares its directory with others cannot change mounts.
                unshare(CloneFlags::CLONE_FS).expect("everybody may");
                for namespace in &self.namespaces {
                    setns(namespace, CloneFlags::empty()).expect("root may");
                }
                act()
            });
            inside.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
        })
    }

    /// Numbers, outside, of the node's processes.
    fn processes(&self) -> Vec<i32> {
        let pids = |number: &str| std::fs::read_link(format!("/proc/{number}/ns/pid")).ok();
        let own = pids(&self.number.to_string());
        let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
        let names = all.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let numbers = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        let inside = numbers.filter(|number| own.is_some() && pids(number) == own);
        inside.filter_map(|number| number.parse().ok()).collect()
    }

    /// Sends a signal to every process but the first, until two looks find the same ones.
    fn signal_all(&self, signal: rustix::process::Signal) {
        let mut last = Vec::new();
        loop {
            let now = self.processes();
            for number in &now {
                let first = u32::try_from(*number) == Ok(self.number);
                if let Some(pid) = rustix::process::Pid::from_raw(*number).filter(|_| !first) {
                    // One that has ended meanwhile needs none.
                    let _sent = rustix::process::kill_process(pid, signal);
                }
            }
            if now == last {
                return;
            }
            last = now;
        }
    }

    fn kill(&self) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        // The kernel ends all others with it. It is not waited for: it ends when all of them were.
        // A second time there is nothing to do.
        let _killed = keeper.kill();
    }
}

impl Nodes {
    /// Two nodes that see the directory in this manner; a site for each, which knows the addresses
    /// that it reaches. `None`, and a line that says so, when the caller is not root.
    ///
    /// # Panics
    /// When something cannot be made though root asks.
    #[must_use]
    pub fn two(manner: Manner, reached: &[SocketAddr], site: impl Fn() -> Site) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            crate::tools::skip("nodes of their own need root");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("orlop-shared-").tempdir();
        let directory = directory.expect("a directory can be made");
        let mut nodes = Vec::new();
        for number in 1..=2 {
            let site = site();
            site.person().give(directory.path());
            let boot = site.root().join("boot");
            std::fs::write(&boot, format!("{number:08}-0000-4000-8000-000000000000\n"))
                .expect("the site's directory is writable");
            let place = Place::new(&format!("node{number}.test"), &boot);
            let share = place.share(directory.path(), &site, manner);
            for address in reached {
                place.relay(*address);
            }
            nodes.push((site.inside(Arc::clone(&place)), place, share));
        }
        Some(Self { nodes, directory })
    }

    /// The shared directory as its server has it.
    #[must_use]
    pub fn shared(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// The world on node 0 or 1.
    #[must_use]
    pub fn node(&self, number: usize) -> &Site {
        &self.nodes[number].0
    }

    /// Cuts a node off from the directory: its calls wait.
    pub fn cut(&self, number: usize) {
        self.nodes[number].2.cut(true);
    }

    /// Lets the calls of a node that was cut off go on.
    pub fn heal(&self, number: usize) {
        self.nodes[number].2.cut(false);
    }

    /// Stops all processes of a node.
    pub fn freeze(&self, number: usize) {
        self.nodes[number].1.signal_all(rustix::process::Signal::STOP);
    }

    /// Lets them go on.
    pub fn thaw(&self, number: usize) {
        self.nodes[number].1.signal_all(rustix::process::Signal::CONT);
    }

    /// Ends a node at once, as a power cut does.
    pub fn kill(&self, number: usize) {
        self.heal(number);
        self.nodes[number].1.kill();
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for number in 0..self.nodes.len() {
            self.heal(number);
            self.thaw(number);
            self.kill(number);
        }
        if std::thread::panicking() {
            let kept = std::mem::replace(
                &mut self.directory,
                tempfile::tempdir().expect("a directory can be made"),
            );
            crate::tools::note(&format!("kept for a look: {}", kept.keep().display()));
        }
    }
}

impl Place {
    /// Mounts the directory where the site's cache is.
    fn share(&self, directory: &Path, site: &Site, manner: Manner) -> Share {
        let device = File::options().read(true).write(true).open("/dev/fuse").expect("FUSE");
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions",
            device.as_raw_fd()
        );
        let target = site.make_cache();
        self.within(|| {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            let (source, kind) = (Some("shared"), Some("fuse"));
            mount(source, &target, kind, flags, Some(options.as_str())).expect("root may");
        });
        Share::serve(directory, OwnedFd::from(device), manner)
    }

    /// Has connections to an address of the node's loopback go to the same one outside.
    fn relay(&self, address: SocketAddr) {
        let listener = self.within(|| TcpListener::bind(address).expect("nobody else is there"));
        // The thread goes with the test's process: nobody in a dead node connects.
        drop(std::thread::Builder::new().spawn(move || {
            for inner in listener.incoming().map_while(Result::ok) {
                let Ok(outer) = TcpStream::connect(address) else { continue };
                let Ok(twins) = inner.try_clone().and_then(|i| Ok((i, outer.try_clone()?))) else {
                    continue;
                };
                drop(std::thread::Builder::new().spawn(move || carry(inner, outer)));
                drop(std::thread::Builder::new().spawn(move || carry(twins.1, twins.0)));
            }
        }));
    }
}

/// Carries bytes one way until they end; then both ends are told.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    let whole = std::io::copy(&mut from, &mut to).is_ok();
    let how = if whole { Shutdown::Write } else { Shutdown::Both };
    let _gone = to.shutdown(how);
}
