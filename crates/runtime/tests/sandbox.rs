//! Containers from a sandbox directory, end to end: the test program starts itself as the client.
//!
//! A container takes the place of the process that asks for it, so each one is asked for by a
//! child: this program again, with a request in its environment. The image is a directory with
//! Debian's static busybox. As root the same is tried as an ordinary user.

#![expect(clippy::disallowed_methods, reason = "a test program reads its own environment")]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test program")]
#![expect(clippy::exit, reason = "the client ends before the test harness begins")]
#![expect(unsafe_code, reason = "the client must begin before the harness has threads")]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use orlop_runtime::{
    Action, Caller, EnvironmentRules, Face, Home, Namespaces, NoMount, Notice, Root, Wanted,
    Writable, forwarded, parse_binds,
};

const REQUEST: &str = "SANDBOX_TEST_REQUEST";
const USER: u32 = 61_234;

/// Options of a request, one a line: `word` or `word=value`.
fn wanted(request: &str) -> (Wanted, PathBuf) {
    let environment: Vec<(OsString, OsString)> =
        std::env::vars_os().filter(|(name, _)| name != REQUEST).collect();
    let caller = Caller::current(environment.clone());
    let value = |word: &str| {
        let prefix = format!("{word}=");
        request.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
    };
    let all = |word: &str| {
        let prefix = format!("{word}=");
        let lines = request.lines().filter_map(|line| line.strip_prefix(&prefix));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let has = |word: &str| request.lines().any(|line| line == word);
    let arguments: Vec<OsString> = all("arg").into_iter().map(OsString::from).collect();
    let action = match value("action").as_deref() {
        Some("run") => Action::Run(arguments),
        Some("shell") => Action::Shell(None),
        Some("test") => Action::Test(arguments),
        _ => Action::Exec(arguments),
    };
    let home = PathBuf::from(std::env::var_os("HOME").unwrap());
    let wanted = Wanted {
        face: if has("apptainer") { Face::Apptainer } else { Face::Orlop },
        action,
        app: value("app"),
        image: value("image").unwrap().into(),
        binds: all("bind")
            .iter()
            .flat_map(|text| parse_binds(text, &caller.cwd).unwrap())
            .collect(),
        system_binds: vec!["/etc/localtime".into(), "/etc/hosts".into()],
        home: Home { at: home.clone(), source: home, named: false, shown: !has("no-home") },
        cwd: value("cwd").map(PathBuf::from),
        contain: has("contain"),
        workdir: value("workdir").map(PathBuf::from),
        scratch: all("scratch").into_iter().map(PathBuf::from).collect(),
        writable: match value("writable").as_deref() {
            Some("tmpfs") => Writable::Tmpfs,
            Some(_) => Writable::Image,
            None => Writable::No,
        },
        no_mount: NoMount::default(),
        namespaces: Namespaces {
            pid: has("pid"),
            no_init: has("no-init"),
            ipc: has("ipc"),
            uts: value("hostname").is_some(),
            net: has("net"),
        },
        hostname: value("hostname"),
        dns: all("dns"),
        environment: EnvironmentRules {
            clean: has("clean"),
            forwarded: forwarded(&environment, &[], &all("env")).variables,
            withheld: Vec::new(),
            no_eval: has("no-eval"),
        },
        fakeroot: has("fakeroot"),
        umask: has("no-umask").then_some(0o022),
        masks: all("mask").into_iter().map(PathBuf::from).collect(),
        caller,
    };
    let image = PathBuf::from(&wanted.image);
    (wanted, image)
}

/// The client's part: runs before the test harness makes its threads, because a process with
/// several cannot make a user namespace.
extern "C" fn client() {
    let Ok(request) = std::env::var(REQUEST) else { return };
    let (wanted, image) = wanted(&request);
    let mut report = |notice: Notice| match notice {
        Notice::Warning(text) => eprintln!("WARNING: {text}"),
        Notice::Info(text) => eprintln!("INFO:    {text}"),
        Notice::Verbose(text) => eprintln!("VERBOSE: {text}"),
    };
    let status = match orlop_runtime::run(&wanted, Root::Sandbox(image), &mut report) {
        Ok(status) => i32::from(status),
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(one) = cause {
                text.push_str(&format!(": {one}"));
                cause = one.source();
            }
            eprintln!("FATAL:   {text}");
            255
        }
    };
    std::process::exit(status);
}

#[used]
#[unsafe(link_section = ".init_array")]
static CLIENT: extern "C" fn() = client;

/// A directory of one test: an image, a home, a place to work in.
struct Site {
    directory: tempfile::TempDir,
    /// Run as the ordinary user.
    user: bool,
}

impl Site {
    /// A site for the user who runs the tests.
    fn new() -> Self {
        Self::made(false)
    }

    /// A site for an ordinary user; nothing unless root runs the tests.
    fn ordinary() -> Option<Self> {
        nix::unistd::geteuid().is_root().then(|| Self::made(true))
    }

    fn made(user: bool) -> Self {
        let directory = tempfile::Builder::new().prefix("site").tempdir_in("/var/tmp").unwrap();
        let site = Self { directory, user };
        // The test program lies where an ordinary user may not look.
        let (program, client) = (std::env::current_exe().unwrap(), site.path("client"));
        if fs::hard_link(&program, &client).is_err() {
            fs::copy(&program, &client).unwrap();
        }
        let image = site.image();
        for path in
            ["bin", "etc", "proc", "sys", "dev", "tmp", "var/tmp", "root", ".singularity.d/env"]
        {
            fs::create_dir_all(image.join(path)).unwrap();
        }
        fs::copy("/usr/bin/busybox", image.join("bin/busybox")).unwrap();
        for name in [
            "sh", "cat", "ls", "id", "env", "stat", "touch", "mkdir", "sleep", "kill", "true",
            "hostname", "readlink", "pwd", "grep", "head", "ip", "printf", "umount", "mount",
        ] {
            symlink("busybox", image.join("bin").join(name)).unwrap();
        }
        site.file("image/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        site.file("image/etc/group", "root:x:0:\n");
        site.file(
            "image/.singularity.d/env/10-docker2singularity.sh",
            "#!/bin/sh\nexport PATH=\"/bin\"\nexport GREETING=\"${GREETING:-\"hello \\$USER\"}\"\n",
        );
        site.file("image/.singularity.d/env/90-environment.sh", "#!/bin/sh\n# nothing\n");
        site.file("image/.singularity.d/env/99-base.sh",
            "#!/bin/sh\nif [ -z \"$LD_LIBRARY_PATH\" ]; then\n    LD_LIBRARY_PATH=\"/.singularity.d/libs\"\nfi\nif test -z \"${PS1:-}\"; then\n    export PS1=\"Apptainer> \"\nfi\nexport LD_LIBRARY_PATH PS1\n");
        site.file("home/.docker/config.json", "{\"secret\":1}");
        site.file("home/work/file", "work\n");
        if user {
            let status = Command::new("chown")
                .arg("-R")
                .arg(format!("{USER}:{USER}"))
                .arg(site.path(""))
                .status();
            assert!(status.unwrap().success());
        }
        fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        site
    }

    fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    fn image(&self) -> PathBuf {
        self.path("image")
    }

    fn file(&self, below: &str, text: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, options: &[&str], arguments: &[&str]) -> Command {
        let mut request = format!("image={}\n", self.image().display());
        for option in options {
            request.push_str(option);
            request.push('\n');
        }
        for argument in arguments {
            request.push_str(&format!("arg={argument}\n"));
        }
        let mut command = Command::new(self.path("client"));
        command
            .env_clear()
            .env("HOME", self.path("home"))
            .env("PATH", "/usr/bin:/bin")
            .env(REQUEST, request)
            .current_dir(self.path("home/work"))
            .stdin(Stdio::null());
        if self.user {
            command.uid(USER).gid(USER);
        }
        command
    }

    fn run(&self, options: &[&str], arguments: &[&str]) -> Output {
        self.command(options, arguments).output().unwrap()
    }

    /// What a shell script prints.
    fn sh(&self, options: &[&str], script: &str) -> String {
        let output = self.run(options, &["sh", "-c", script]);
        assert!(output.status.success(), "{options:?} {script}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}

/// Runs a test for the user who runs the tests and for an ordinary one.
fn for_everybody(test: impl Fn(&Site)) {
    test(&Site::new());
    if let Some(site) = Site::ordinary() {
        test(&site);
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_payload_takes_the_callers_place_and_its_status_is_the_commands() {
    for_everybody(|site| {
        let child =
            site.command(&[], &["sh", "-c", "echo $$"]).stdout(Stdio::piped()).spawn().unwrap();
        let id = child.id();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), id.to_string());
        assert_eq!(site.run(&[], &["sh", "-c", "exit 42"]).status.code(), Some(42));
        assert_eq!(site.run(&[], &["sh", "-c", "kill -9 $$"]).status.signal(), Some(9));
    });
}

#[test]
fn the_container_shows_home_directory_and_caller() {
    for_everybody(|site| {
        let home = site.path("home");
        assert_eq!(
            site.sh(&[], "pwd; cat file; echo $HOME"),
            format!("{0}/work\nwork\n{0}", home.display())
        );
        let uid = if site.user { USER } else { nix::unistd::geteuid().as_raw() };
        assert_eq!(site.sh(&[], "id -u; id -g"), format!("{uid}\n{uid}"));
        assert!(site.sh(&[], "cat /etc/passwd").starts_with("root:x:0:0:"));
        assert_eq!(
            site.sh(&[], "cat /proc/self/comm; ls -d /sys/kernel; ls /dev/null"),
            "cat\n/sys/kernel\n/dev/null"
        );
    });
}

#[test]
fn an_ordinary_user_has_no_rights_and_can_gain_none() {
    let Some(site) = Site::ordinary() else { return };
    let status = site.sh(&[], "grep -E '^(Cap(Prm|Eff|Bnd)|NoNewPrivs)' /proc/self/status");
    for line in [
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(status.contains(line), "{line} in {status}");
    }
}

#[test]
fn the_image_cannot_be_written_unless_asked() {
    for_everybody(|site| {
        let output = site.run(&[], &["touch", "/new"]);
        assert!(stderr(&output).contains("Read-only file system"), "{output:?}");
        assert_eq!(site.sh(&["writable=tmpfs"], "echo x > /new; cat /new"), "x");
        assert!(!site.path("image/new").exists());
        assert_eq!(site.sh(&["writable=image", "no-home"], "echo y > /new; cat /new"), "y");
        assert_eq!(fs::read_to_string(site.path("image/new")).unwrap(), "y\n");
    });
}

#[test]
fn nothing_of_the_making_is_left_in_the_image() {
    let site = Site::new();
    let names = |path: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names(&site.image());
    site.sh(
        &[&format!("bind={}:/deep/er/place", site.path("home").display())],
        "ls /deep/er/place/work",
    );
    assert_eq!(names(&site.image()), before);
}

#[test]
fn binds_are_seen_at_their_places() {
    for_everybody(|site| {
        site.file("data/f", "data\n");
        site.file("data/sub/g", "g\n");
        let data = site.path("data");
        let bind = |rest: &str| format!("bind={}{rest}", data.display());
        assert_eq!(site.sh(&[&bind(":/d")], "cat /d/f"), "data");
        assert_eq!(site.sh(&[&bind("/f:/etc/one-file")], "cat /etc/one-file"), "data");
        assert_eq!(site.sh(&[&bind("")], &format!("cat {}/f", data.display())), "data");
        let output = site.run(&[&bind(":/d:ro")], &["touch", "/d/new"]);
        assert!(stderr(&output).contains("Read-only"), "{output:?}");
        assert_eq!(site.sh(&["contain", &bind(":/tmp/x")], "cat /tmp/x/f"), "data");
        // A place below another bind is made in that bind's source.
        if site.user {
            assert!(
                Command::new("chown")
                    .arg("-R")
                    .arg(USER.to_string())
                    .arg(&data)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let two = [bind(":/m"), bind("/sub:/m/new/place")];
        assert_eq!(site.sh(&[&two[0], &two[1]], "cat /m/new/place/g"), "g");
        assert!(data.join("new/place").is_dir());
        assert_eq!(
            site.sh(
                &["bind=/:/host"],
                "ls -d /host/etc/passwd; ls /host/proc/fs | grep -c image; true"
            ),
            "/host/etc/passwd\n0"
        );
    });
}

#[test]
fn a_bind_without_a_source_is_an_error_that_names_both_ends() {
    let output = Site::new().run(&["bind=/no/such:/d"], &["true"]);
    assert_eq!(output.status.code(), Some(255));
    let text = stderr(&output);
    assert!(
        text.contains(
            "WARNING: skipping mount of /no/such: stat /no/such: no such file or directory"
        ),
        "{text}"
    );
    assert!(text.contains("FATAL:   container creation failed: mount hook function failure: mount /no/such->/d error: while mounting /no/such: mount source /no/such doesn't exist"), "{text}");
}

#[test]
fn a_programs_absence_is_told_from_its_being_forbidden() {
    for_everybody(|site| {
        let output = site.run(&[], &["nosuch"]);
        assert_eq!(output.status.code(), Some(255));
        assert!(
            stderr(&output).contains("FATAL:   \"nosuch\": executable file not found in $PATH"),
            "{output:?}"
        );
        let output = site.run(&[], &["/etc/group"]);
        assert_eq!(output.status.code(), Some(255));
        site.file("image/bin/noloader", "");
        fs::copy("/bin/ls", site.path("image/bin/noloader")).unwrap();
        let output = site.run(&[], &["noloader"]);
        assert!(
            stderr(&output).contains(
                "exec /bin/noloader failed: a shared library is likely missing in the image"
            ),
            "{output:?}"
        );
        site.file("image/bin/text", "echo from text $1\n");
        let output = site.run(&[], &["text", "one"]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "from text one\n");
    });
}

#[test]
fn the_image_s_environment_wins_over_the_callers_and_users_values_over_both() {
    for_everybody(|site| {
        let print = "echo \"$GREETING|$FOO|$PATH|$LD_LIBRARY_PATH|$PS1|\"";
        let run = |options: &[&str], variables: &[(&str, &str)]| {
            let output = site
                .command(options, &["sh", "-c", print])
                .envs(variables.iter().copied())
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
        };
        let path = "/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin";
        assert_eq!(
            run(&[], &[("FOO", "foo"), ("GREETING", "caller")]),
            format!("hello $USER|foo|{path}|/.singularity.d/libs|Orlop> |")
        );
        assert_eq!(
            run(&["apptainer", "clean"], &[("FOO", "foo")]),
            format!("hello $USER||{path}|/.singularity.d/libs|Apptainer> |")
        );
        assert_eq!(
            run(&["env=GREETING=$HOME!", "env=FOO=$(echo ran)"], &[]),
            format!("{}!|ran|{path}|/.singularity.d/libs|Orlop> |", site.path("home").display())
        );
        assert_eq!(
            run(&["no-eval", "env=GREETING=$HOME"], &[]),
            format!("$HOME||{path}|/.singularity.d/libs|Orlop> |")
        );
        assert_eq!(
            run(&[], &[("APPTAINERENV_PREPEND_PATH", "/first")]),
            format!("hello $USER||/first:{path}|/.singularity.d/libs|Orlop> |")
        );
        assert_eq!(
            run(&[], &[("APPTAINERENV_PATH", "/bin")]),
            "hello $USER||/bin|/.singularity.d/libs|Orlop> |"
        );
    });
}

#[test]
fn users_values_have_their_say_in_images_without_the_usual_files() {
    let site = Site::new();
    fs::remove_file(site.path("image/.singularity.d/env/99-base.sh")).unwrap();
    let print = "echo \"$PATH|$A|$SING_USER_DEFINED_PREPEND_PATH\"";
    let options = ["env=PREPEND_PATH=/first", "env=A=a"];
    let wanted = "/first:/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin|a|";
    assert_eq!(site.sh(&options, print), wanted);
    site.file(
        "image/.singularity.d/env/99-runtimevars.sh",
        "#!/bin/sh\nif [ -n \"${SING_USER_DEFINED_PREPEND_PATH:-}\" ]; then\n\tPATH=\"${SING_USER_DEFINED_PREPEND_PATH}:${PATH}\"\nfi\nunset SING_USER_DEFINED_PREPEND_PATH \\\n\tSING_USER_DEFINED_PATH\nexport PATH\n",
    );
    assert_eq!(site.sh(&options, print), wanted);
    fs::remove_dir_all(site.path("image/.singularity.d")).unwrap();
    site.file("image/environment", "A=image; export A\n");
    let wanted = "/first:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin|a|";
    assert_eq!(site.sh(&options, print), wanted);
}

#[test]
fn code_that_needs_a_shell_is_given_to_the_images() {
    for_everybody(|site| {
        site.file(
            "image/.singularity.d/env/91-environment.sh",
            "f() { echo said; }\nexport MADE=\"$(f) it's\"\nexport LINES2='one\ntwo'\nexport SEEN=\"$GREETING\"\nf\n",
        );
        assert_eq!(
            site.sh(&[], "echo \"$MADE|$LINES2|$SEEN|$ORLOP_SOURCE\""),
            "said\nsaid it's|one\ntwo|hello $USER|"
        );
    });
}

#[test]
fn the_runscript_of_a_registry_image_runs_without_a_shell() {
    let site = Site::new();
    site.file(
        "image/.singularity.d/runscript",
        "#!/bin/nosuchshell\nOCI_ENTRYPOINT='\"printf\" \"%s,\"'\nOCI_CMD='\"default\" \"\\$HOME\"'\n\neval \"set ${SINGULARITY_OCI_RUN}\"\nexec \"$@\"\n",
    );
    let run = |options: &[&str], arguments: &[&str]| {
        let mut all = vec!["action=run"];
        all.extend_from_slice(options);
        String::from_utf8(site.run(&all, arguments).stdout).unwrap()
    };
    assert_eq!(run(&[], &[]), "default,$HOME,");
    assert_eq!(run(&[], &["$HOME", "a\"b"]), format!("{},a\"b,", site.path("home").display()));
    assert_eq!(run(&["no-eval"], &["$HOME"]), "$HOME,");
    site.file("image/.singularity.d/runscript", "#!/bin/sh\necho \"script $@\"\n");
    assert_eq!(run(&[], &["a"]), "script a\n");
    fs::remove_file(site.path("image/.singularity.d/runscript")).unwrap();
    let output = site.run(&["action=run"], &["-c", "echo shell"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "shell\n");
    assert!(
        stderr(&output).contains("INFO:    No runscript found in container, executing /bin/sh")
    );
    let output = site.run(&["action=test"], &[]);
    assert!(output.status.success());
    assert!(stderr(&output).contains("INFO:    No test script found in container, exiting"));
}

#[test]
fn a_contained_container_has_its_own_tmp_home_and_devices() {
    for_everybody(|site| {
        let script = "ls $HOME; ls /tmp; stat -c %a /tmp /dev/shm; ls /dev | head -n 20; pwd; echo ok > $HOME/f; cat $HOME/f; echo x > /dev/null";
        let text = site.sh(&["contain"], script);
        let home = site.path("home").display().to_string();
        let first: Vec<&str> = text.lines().collect();
        assert_eq!(first[..2], ["1777", "1777"], "{text}");
        for device in ["null", "zero", "urandom", "tty", "fd", "stdin", "shm", "ptmx", "pts"] {
            assert!(first.contains(&device), "{device} in {text}");
        }
        assert!(text.ends_with(&format!("{home}\nok")), "{text}");
        assert!(!site.path("home/f").exists());
    });
}

#[test]
fn an_own_pid_namespace_keeps_status_and_signals() {
    for_everybody(|site| {
        assert_eq!(site.sh(&["pid"], "echo $$; ls -d /proc/1 /proc/2"), "2\n/proc/1\n/proc/2");
        assert_eq!(site.sh(&["pid", "no-init"], "echo $$"), "1");
        assert_eq!(site.run(&["pid"], &["sh", "-c", "exit 42"]).status.code(), Some(42));
        assert_eq!(site.run(&["pid"], &["sh", "-c", "kill -9 $$"]).status.code(), Some(137));
        let output = site.run(&["pid"], &["nosuch"]);
        assert_eq!(output.status.code(), Some(255));
        let mut child = site
            .command(
                &["pid"],
                &["sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done"],
            )
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(7));
    });
}

#[test]
fn a_parent_that_is_killed_takes_the_payload_with_it() {
    let site = Site::new();
    let mut child = site
        .command(&["pid"], &["sh", "-c", "echo ready; exec sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(&mut stdout, &mut ready).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // The pipe ends when the last process that holds it has ended.
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut stdout, &mut rest).unwrap();
    assert!(rest.is_empty());
}

#[test]
fn further_namespaces_are_made() {
    for_everybody(|site| {
        assert_eq!(site.sh(&["hostname=box"], "hostname; cat /etc/hostname"), "box\nbox");
        let own = |name: &str| {
            fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string()
        };
        for (option, name) in [("ipc", "ipc"), ("net", "net")] {
            let inside = site.sh(&[option], &format!("readlink /proc/self/ns/{name}"));
            assert_ne!(inside, own(name), "{name}");
        }
        let inside = site.sh(&[], "readlink /proc/self/ns/net; readlink /proc/self/ns/cgroup");
        assert_eq!(inside, format!("{}\n{}", own("net"), own("cgroup")));
        assert!(site.sh(&["net"], "ip addr show lo").contains("UP"));
        assert_eq!(site.sh(&["dns=192.0.2.1"], "cat /etc/resolv.conf"), "nameserver 192.0.2.1");
    });
}

#[test]
fn what_is_masked_is_not_seen_by_any_path() {
    for_everybody(|site| {
        site.file("home/.cache/orlop/blob", "blob");
        let mask = |below: &str| format!("mask={}", site.path(below).display());
        let masks =
            [mask("home/.docker/config.json"), mask("home/.cache/orlop"), mask("home/none")];
        let binds = [
            format!("bind={}:/elsewhere", site.path("home").display()),
            format!("bind={}:/c.json", site.path("home/.docker/config.json").display()),
        ];
        let options: Vec<&str> = masks.iter().chain(&binds).map(String::as_str).collect();
        let script = "cat $HOME/.docker/config.json /elsewhere/.docker/config.json /c.json; ls $HOME/.cache/orlop; touch $HOME/.cache/orlop/x 2>&1 | grep -c Read-only";
        assert_eq!(site.sh(&options, script), "1");
        assert_eq!(site.sh(&[], "cat $HOME/.docker/config.json"), "{\"secret\":1}");
    });
}

#[test]
fn root_inside_cannot_take_a_mask_away() {
    let mask = |site: &Site| format!("mask={}", site.path("home/.docker/config.json").display());
    let script = "umount $HOME/.docker/config.json 2>/dev/null || umount -l $HOME/.docker/config.json \
                  2>/dev/null || echo kept; cat $HOME/.docker/config.json; id -u";
    let site = Site::new();
    assert_eq!(site.sh(&[&mask(&site)], script), format!("kept\n{}", nix::unistd::geteuid()));
    if let Some(site) = Site::ordinary() {
        // As root inside the home directory is where it was, for HOME is what the site says.
        assert_eq!(site.sh(&["fakeroot", &mask(&site)], script), "kept\n0");
        assert_eq!(site.sh(&["fakeroot"], "mount -t tmpfs t /tmp && echo own"), "own");
    }
}

#[test]
fn links_of_an_image_do_not_lead_to_the_host() {
    for_everybody(|site| {
        fs::remove_dir(site.path("image/tmp")).unwrap();
        let outside = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        symlink(outside.path(), site.path("image/tmp")).unwrap();
        fs::remove_dir(site.path("image/sys")).unwrap();
        fs::write(site.path("image/sys"), "a file").unwrap();
        fs::remove_file(site.path("image/etc/group")).unwrap();
        symlink("/etc/shadow", site.path("image/etc/group")).unwrap();
        symlink(outside.path(), site.path("image/escape")).unwrap();
        let bind = format!("bind={}:/escape/new", site.path("home").display());
        assert_eq!(site.sh(&[], "ls -d /sys/kernel; readlink /tmp; true"), "/sys/kernel");
        let output = site.run(&[&bind], &["true"]);
        assert!(stderr(&output).contains("failed to create /escape/new directory"), "{output:?}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    });
}

#[test]
fn the_first_directory_is_the_callers_or_the_one_named() {
    for_everybody(|site| {
        assert_eq!(site.sh(&["cwd=/etc"], "pwd; echo $PWD"), "/etc\n/etc");
        let output = site.run(&["cwd=/nope"], &["true"]);
        assert!(
            stderr(&output)
                .contains("FATAL:   failed to set working directory: chdir /nope: No such file"),
            "{output:?}"
        );
        fs::create_dir_all(site.path("other/place")).unwrap();
        let output =
            site.command(&[], &["pwd"]).current_dir(site.path("other/place")).output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            site.path("other/place").display().to_string()
        );
        let output = site.command(&[], &["pwd"]).current_dir("/usr/share").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "/usr/share");
        symlink(site.path("other"), site.path("link")).unwrap();
        let logical = site.path("link/place");
        let output = site
            .command(&["no-home"], &["sh", "-c", "pwd -P; ls -d $OTHER/."])
            .current_dir(&logical)
            .env("PWD", &logical)
            .env("OTHER", &logical)
            .output()
            .unwrap();
        let wanted = format!("{}\n{}/.\n", site.path("other/place").display(), logical.display());
        assert_eq!(String::from_utf8_lossy(&output.stdout), wanted, "{output:?}");
    });
}

#[test]
fn fakeroot_is_root_inside_and_the_caller_outside() {
    let Some(site) = Site::ordinary() else { return };
    assert_eq!(site.sh(&["fakeroot"], "id -u; touch new; stat -c %u new"), "0\n0");
    assert_eq!(fs::metadata(site.path("home/work/new")).unwrap().uid(), USER);
}

#[test]
fn a_workdir_keeps_what_is_contained() {
    for_everybody(|site| {
        fs::create_dir(site.path("w")).unwrap();
        fs::set_permissions(site.path("w"), fs::Permissions::from_mode(0o777)).unwrap();
        let workdir = format!("workdir={}", site.path("w").display());
        site.sh(
            &["contain", &workdir, "scratch=/s"],
            "echo a > /tmp/a; echo b > $HOME/b; echo c > /s/c",
        );
        for below in ["w/tmp/a", "w/home/b", "w/scratch/s/c"] {
            assert!(site.path(below).exists(), "{below}");
        }
        assert_eq!(site.sh(&["scratch=/s"], "echo c > /s/c; cat /s/c"), "c");
    });
}

#[test]
fn descriptors_of_the_caller_reach_the_payload_and_none_of_ours_does() {
    let site = Site::new();
    let inherited = |number: &u32| {
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("02000000");
        u32::from_str_radix(flags.trim(), 8).unwrap() & 0o2_000_000 == 0
    };
    let mut wanted: Vec<u32> = (3..1024).filter(inherited).collect();
    wanted.extend([0, 1, 2]);
    let (end, held) = std::io::pipe().unwrap();
    let script = "echo x >&7; n=3; while [ $n -lt 99 ]; do [ -e /proc/$$/fd/$n ] && echo $n; n=$((n+1)); done; true";
    let mut command = Command::new("/bin/bash");
    let client = site.command(&[], &["sh", "-c", script]);
    command.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.arg("-c").arg(format!("exec {} 7>&0 0</dev/null", site.path("client").display()));
    let output = command.stdin(held).output().unwrap();
    drop(command);
    assert_eq!(std::io::read_to_string(end).unwrap(), "x\n");
    wanted.push(7);
    let text = String::from_utf8(output.stdout).unwrap();
    let strangers: Vec<u32> = text
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .filter(|number| !wanted.contains(number))
        .collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}

#[test]
fn a_script_that_ends_the_start_gives_the_status() {
    let site = Site::new();
    site.file("image/.singularity.d/env/95-apps.sh", "#!/bin/sh\nif test -n \"${SINGULARITY_APPNAME:-}\"; then\n    echo \"Could not locate the container application: ${SINGULARITY_APPNAME}\"\n    exit 1\nfi\n");
    assert!(site.run(&[], &["true"]).status.success());
    let output = site.run(&["app=x"], &["true"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "Could not locate the container application: x\n"
    );
}

#[test]
fn where_user_namespaces_are_off_the_sysctl_is_named() {
    let Some(site) = Site::ordinary() else { return };
    // A user namespace whose own limit of further ones is 0.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\"";
    let client = site.command(&[], &["true"]);
    let mut command = Command::new("unshare");
    command.args(["-U", "-r", "sh", "-c", script]).arg(site.path("client"));
    command.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.current_dir(site.path("")).uid(USER).gid(USER).output().unwrap();
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    let text = stderr(&output);
    let wanted = "FATAL:   container creation failed: user namespaces are not allowed here: \
                  user.max_user_namespaces is 0";
    assert!(text.contains(wanted), "{text}");
}

#[test]
fn a_broken_pipe_ends_the_payload_unless_the_caller_ignores_it() {
    let site = Site::new();
    let script = "while echo x; do :; done; exit 1";
    for (trap, wanted) in [("", "141"), ("trap '' PIPE; ", "1")] {
        let client = site.command(&[], &["sh", "-c", script]);
        let mut command = Command::new("/bin/bash");
        command.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.arg("-c").arg(format!(
            "{trap}{} | head -n 1 >&2; echo ${{PIPESTATUS[0]}}",
            site.path("client").display()
        ));
        let output = command.current_dir(site.path("")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), wanted, "{output:?}");
    }
}
