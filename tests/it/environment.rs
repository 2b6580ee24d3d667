//! What a process is born with: umask, descriptors, signals, limits, `/proc`, the clock, variables
//! and the working directory. Rows S55 to S67 of the reliability tables.
//!
//! The command is started by a shell that sets up what is odd. Not here: places
//! ([`crate::places`]).

use crate::world::{bare_site, secure, site};
use orlop_kit::site::Run;
use orlop_kit::{Identity, Image, Outcome, Registry, Site, tools, until_true};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

fn image() -> Registry {
    Registry::new().image("a:1", Image::tiny()).start()
}

/// A shell that runs `script`, in which `"$@"` is `orlop` with these words.
fn shell<'a>(site: &'a Site, script: &str, words: &[&str]) -> Run<'a> {
    let orlop = site.programs().orlop.display().to_string();
    let all = ["-c", script, "sh", &orlop].into_iter().chain(words.iter().copied());
    site.program(Path::new("/bin/sh"), all)
}

/// A pull by way of such a shell.
fn pull(site: &Site, registry: &Registry, script: &str) -> Outcome {
    shell(site, script, &["pull", "--force", "a.sif", &registry.docker("a:1")]).outcome()
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

/// A site with `a.sif`; none where containers cannot be run.
fn with_sif() -> Option<(Registry, Site)> {
    if orlop_kit::image::probe().is_empty() || !tools::user_namespaces() {
        tools::skip("no containers here");
        return None;
    }
    let registry = image();
    let site = site(&registry);
    site.orlop(["pull", "a.sif", &registry.docker("a:1")]).success();
    Some((registry, site))
}

#[test]
fn s55_no_umask_opens_or_closes_what_the_daemon_makes() {
    let registry = image();
    for (umask, sif) in [("0777", 0o000), ("0000", 0o777), ("0027", 0o750)] {
        let site = site(&registry);
        pull(&site, &registry, &format!("umask {umask}; exec \"$@\"")).success();
        assert_eq!(mode(&site.work().join("a.sif")), sif, "{umask}");
        assert_eq!(mode(&site.runtime().join("orlop/orlopd.sock")), 0o600, "{umask}");
        assert_eq!(mode(&site.runtime().join("orlop")), 0o700, "{umask}");
        for path in site.tree(&site.cache()) {
            let expected = if path.ends_with('/') { 0o700 } else { 0o600 };
            assert_eq!(mode(&site.cache().join(&path)) | 0o200, expected, "{umask}: {path}");
        }
    }
}

#[test]
fn s56_closed_descriptors_are_no_trouble() {
    let registry = image();
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let site = site(&registry);
        pull(&site, &registry, &format!("exec \"$@\" {closed}")).success();
        assert!(site.work().join("a.sif").exists(), "{closed}");
        // Whoever pulls next reads a whole image: nothing was written into it by mistake.
        let first = std::fs::read(site.work().join("a.sif")).unwrap();
        pull(&site, &registry, "exec \"$@\"").success();
        assert!(first == std::fs::read(site.work().join("a.sif")).unwrap(), "{closed}");
    }
}

#[test]
fn s57_the_payload_gets_the_callers_signals() {
    let Some((_registry, site)) = with_sif() else { return };
    let field = |script: &str, field: &str| {
        let words = ["exec", "a.sif", "/bin/probe", "status", field];
        let outcome = shell(&site, script, &words).outcome().success();
        let hex = outcome.stdout.trim().to_owned();
        u64::from_str_radix(hex.rsplit([' ', '\t', ':']).next().unwrap(), 16)
            .unwrap_or_else(|_| panic!("{}", outcome.report()))
    };
    // Not SIGPIPE: the probe is a Rust program, which ignores it whatever it got.
    let (int, chld) = (1 << 1, 1 << 16);
    let ignored = field("exec env --ignore-signal=INT,CHLD \"$@\"", "SigIgn");
    assert_eq!(ignored & (int | chld), int | chld, "{ignored:x}");
    let ignored = field("exec \"$@\"", "SigIgn");
    assert_eq!(ignored & (int | chld), 0, "{ignored:x}");
    assert_eq!(field("exec \"$@\"", "SigBlk") & (int | chld), 0);
    let blocked = field("exec env --block-signal=USR1 \"$@\"", "SigBlk");
    assert_eq!(blocked & 1 << 9, 1 << 9, "{blocked:x}");
    // A pull reaps what it starts all the same.
    let registry = image();
    let other = self::site(&registry);
    pull(&other, &registry, "exec env --ignore-signal=INT,PIPE,CHLD \"$@\"").success();
}

#[test]
fn s58_few_descriptors_are_enough() {
    let Some((_registry, site)) = with_sif() else { return };
    site.orlop(["daemon", "stop"]).success();
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = self::site(&registry);
    pull(&site, &registry, "ulimit -n 64; exec \"$@\"").success();
    pull(&site, &registry, "ulimit -n 24; exec \"$@\"").success();
    let exec = ["exec", "a.sif", "/bin/probe", "args", "x"];
    shell(&site, "ulimit -n 16; exec \"$@\"", &exec).outcome().success().prints("x\n");
    let outcome = pull(&site, &registry, "ulimit -n 4; exec \"$@\"");
    assert!(outcome.status == 255 && outcome.stderr.contains("FATAL:"), "{}", outcome.report());
}

#[test]
fn s59_limits_end_in_words_and_not_in_a_signal() {
    let registry = Registry::new().image("a:1", Image::two_layers()).start();
    let site = site(&registry);
    let outcome = pull(&site, &registry, "ulimit -f 1024; exec \"$@\"").fails(255);
    assert!(outcome.stderr.contains("FATAL:"), "{}", outcome.report());
    assert!(!site.work().join("a.sif").exists());
    assert!(site.tree(&site.work()).is_empty(), "{:?}", site.tree(&site.work()));
    site.stop();

    let site = self::site(&registry);
    pull(&site, &registry, "ulimit -s 1024; exec \"$@\"").success();
    let outcome = pull(&site, &registry, "ulimit -v 262144; exec \"$@\"");
    let is_told = outcome.status == 255 && outcome.stderr.contains("FATAL:");
    assert!(outcome.status == 0 || is_told, "{}", outcome.report());
}

/// A shell in namespaces of its own, in which it may mount.
fn contained<'a>(site: &'a Site, script: &str, words: &[&str]) -> Run<'a> {
    let orlop = site.programs().orlop.display().to_string();
    let before =
        ["--user", "--map-root-user", "--mount", "--pid", "--fork", "sh", "-c", script, "sh"];
    let all = before.into_iter().chain([orlop.as_str()]).chain(words.iter().copied());
    site.program(Path::new("/usr/bin/unshare"), all)
}

#[test]
fn s60_a_pull_needs_no_proc_and_a_container_says_that_it_does() {
    let Some((registry, _site)) = with_sif() else { return };
    let image = registry.docker("a:1");
    let site = site(&registry);
    let words = ["pull", "--force", "a.sif", &image];
    let no_proc = "mount -t tmpfs none /proc && \"$@\"";
    contained(&site, no_proc, &words).outcome().success();
    let outcome = contained(&site, no_proc, &["exec", "a.sif", "/bin/probe", "pid"]).outcome();
    let is_told = outcome.status == 255 && outcome.stderr.contains("/proc");
    assert!(is_told, "{}", outcome.report());
    let no_shm = "mount -t tmpfs none /dev/shm && mount -t tmpfs -o ro none /dev/shm; \"$@\"";
    contained(&site, no_shm, &words).outcome().success();
}

#[test]
fn s61_an_empty_path_and_a_poor_terminal_are_enough() {
    let registry = image();
    let site = site(&registry);
    let words = ["pull", "--force", "a.sif", &registry.docker("a:1")];
    let run = site.run(words).no_env("PATH").no_env("LANG").env("LC_ALL", "C").env("TERM", "dumb");
    let first = run.outcome().success();
    let second = site.run(words).env("PATH", "").env("COLUMNS", "1").outcome().success();
    for outcome in [first, second] {
        assert!(!outcome.stderr.contains('\u{1b}'), "{}", outcome.report());
    }
}

/// Starts the daemon at another time than now, and waits for its socket.
fn daemon_at(site: &Site, time: &str) -> bool {
    let Some([faketime]) = tools::all(["faketime"]) else { return false };
    let socket = site.runtime().join("orlop/orlopd.sock");
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    site.person().give(socket.parent().unwrap());
    std::fs::set_permissions(socket.parent().unwrap(), std::fs::Permissions::from_mode(0o700))
        .unwrap();
    let orlopd = site.programs().orlopd.display().to_string();
    let socket_text = socket.display().to_string();
    let words = [time, &orlopd, "--socket", &socket_text];
    // It goes with the site.
    let _running = site.program(&faketime, words).start();
    until_true("the daemon listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    true
}

#[test]
fn s62_a_wrong_clock_is_named_where_it_matters_and_changes_no_byte() {
    let registry = image();
    let now = site(&registry);
    pull(&now, &registry, "exec \"$@\"").success();
    let expected = std::fs::read(now.work().join("a.sif")).unwrap();
    for time in ["1970-01-02 00:00:00", "2040-01-01 00:00:00", "2107-01-01 00:00:00"] {
        let site = site(&registry);
        if !daemon_at(&site, time) {
            return;
        }
        for _ in 0..2 {
            pull(&site, &registry, "exec \"$@\"").success();
            assert!(expected == std::fs::read(site.work().join("a.sif")).unwrap(), "{time}");
        }
        let (secured, other) = secure(Registry::new().image("a:1", Image::tiny()));
        // The kit's certificates are of this century and hold for long.
        if time.starts_with("1970") && daemon_at(&other, time) {
            let outcome = pull(&other, &secured, "exec \"$@\"").fails(255);
            assert!(outcome.stderr.contains("clock"), "{time}: {}", outcome.report());
        }
    }
}

#[test]
fn s63_a_pull_needs_no_temporary_directory() {
    let registry = image();
    let site = site(&registry);
    let words = ["pull", "--force", "a.sif", &registry.docker("a:1")];
    for temporary in ["/nonexistent/tmp", "/proc", "/dev/null"] {
        site.run(words).env("TMPDIR", temporary).outcome().success();
    }
    let words = ["pull", "--force", "--disable-cache", "a.sif", &registry.docker("a:1")];
    let outcome = site.run(words).env("TMPDIR", "/nonexistent/tmp").outcome();
    let is_told = outcome.status == 255 && outcome.stderr.contains("/nonexistent/tmp");
    assert!(is_told, "it is needed there: {}", outcome.report());
}

#[test]
fn s64_an_environment_of_any_size_is_no_trouble() {
    let registry = image();
    let site = site(&registry);
    let words = ["pull", "--force", "a.sif", &registry.docker("a:1")];
    let mut run = site.run(words);
    for number in 0..20_000 {
        run = run.env(&format!("V{number}"), "x");
    }
    run.outcome().success();
    site.run(words).env("LARGE", "x".repeat(128 << 10).split_at(131_000).0).outcome().success();
}

/// Makes directories in each other, deeper than a path may be long.
fn make_deep(site: &Site, name: &str, levels: usize) {
    use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, chownat, mkdirat, openat};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(site.work(), flags, Mode::empty()).unwrap();
    for _ in 0..levels {
        mkdirat(&at, name, Mode::RWXU).unwrap();
        let (uid, gid) = (site.person().uid, site.person().gid);
        let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        chownat(&at, name, owner.0, owner.1, AtFlags::empty()).unwrap();
        at = openat(&at, name, flags, Mode::empty()).unwrap();
    }
}

#[test]
fn s65_a_removed_or_deep_working_directory_is_no_trouble() {
    let registry = image();
    let site = site(&registry);
    let target = site.root().join("home/out.sif").display().to_string();
    let uri = registry.docker("a:1");
    let gone = "mkdir gone && cd gone && rmdir ../gone && exec \"$@\"";
    shell(&site, gone, &["pull", "--force", &target, &uri]).outcome().success();
    registry.forget();
    let outcome = shell(&site, gone, &["pull", "a.sif", &uri]).outcome().fails(255);
    assert!(outcome.stderr.contains("FATAL:"), "{}", outcome.report());
    assert!(registry.requests().is_empty(), "{}", registry.log());

    let name = "d".repeat(200);
    let levels = 25;
    make_deep(&site, &name, levels);
    let orlop = site.programs().orlop.display().to_string();
    let mut words: Vec<&str> = vec!["-C", &name];
    for _ in 1..levels {
        words.extend(["env", "-C", &name]);
    }
    words.extend([&orlop, "pull", "--force", &target, &uri]);
    site.program(Path::new("/usr/bin/env"), words).outcome().success();
    let unreadable = "mkdir closed && cd closed && chmod 0 . && exec \"$@\"";
    shell(&site, unreadable, &["pull", "--force", &target, &uri]).outcome().success();
}

#[test]
fn s66_a_setuid_copy_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return tools::skip("only root can make a copy that is another user's");
    }
    let registry = image();
    let site = site(&registry);
    if site.person().is_root() {
        return;
    }
    let copy = site.root().join("orlop-setuid");
    std::fs::copy(&site.programs().orlop, &copy).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o4755)).unwrap();
    let words = ["pull", "a.sif", &registry.docker("a:1")];
    let outcome = site.program(&copy, words).outcome().fails(255);
    assert!(outcome.stderr.contains("must not be setuid"), "{}", outcome.report());
    assert!(registry.requests().is_empty() && site.daemons().is_empty());
}

#[test]
fn s66_root_with_anothers_home_leaves_nothing_of_roots_there() {
    let root = orlop_kit::Person::own();
    if !root.is_root() {
        return tools::skip("only root can be root");
    }
    let registry = image();
    let person = site(&registry);
    let site = Site::of(root, person.programs());
    let words = ["pull", "--no-https", "a.sif", &registry.docker("a:1")];
    let entry = format!("root:x:0:0::{}:/bin/sh\n", site.home().display());
    site.write_system("passwd", entry.as_bytes());
    let outcome = site.run(words).env("HOME", person.home()).outcome().success();
    assert!(outcome.stderr.contains("HOME is not used"), "{}", outcome.report());
    assert!(site.cache().join("version").exists(), "{}", outcome.report());
    for path in person.tree(&person.home()) {
        let found = person.home().join(&path).symlink_metadata().unwrap();
        assert_ne!(found.uid(), 0, "{path} is root's: {}", outcome.report());
    }
    site.stop();
}

#[test]
fn s67_two_clients_of_one_daemon_use_each_its_own_surroundings() {
    let identity = Identity::new(&["127.0.0.1"]);
    let registry = Registry::new()
        .image("a:1", Image::tiny())
        .auth(orlop_kit::Auth::Basic { user: "u".into(), secret: "s".into() })
        .tls(&identity)
        .start();
    let site = bare_site().watch(&registry);
    site.write_work("ca.pem", identity.ca_pem().as_bytes());
    let login = format!(r#"{{"auths":{{"{}":{{"auth":"dTpz"}}}}}}"#, registry.host());
    site.write_home("one/config.json", login.as_bytes());
    site.write_home("two/config.json", b"{}");
    let words = ["pull", "--force", "a.sif", &registry.docker("a:1")];
    let run = |certificates: Option<&str>, config: &str| {
        let run = site.run(words).env("DOCKER_CONFIG", site.home().join(config));
        match certificates {
            Some(file) => run.env("SSL_CERT_FILE", file).outcome(),
            None => run.outcome(),
        }
    };
    for _ in 0..2 {
        run(Some("ca.pem"), "one").success();
        let outcome = run(Some("ca.pem"), "two").fails(255);
        assert!(outcome.stderr.contains("access refused"), "{}", outcome.report());
        let outcome = run(None, "one").fails(255);
        assert!(outcome.stderr.contains("certificate"), "{}", outcome.report());
    }
    assert_eq!(site.daemons().len(), 1);
}
