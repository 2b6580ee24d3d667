//! One test's world: an image, a home, a place to work in, and the commands that are run in it.
//!
//! Not here: what a command's process does ([`crate::client`]).

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::REQUEST;

pub(crate) const USER: u32 = 61_234;

/// A directory of one test: an image, a home, a place to work in.
pub(crate) struct Site {
    directory: tempfile::TempDir,
    /// Run as the ordinary user.
    pub(crate) user: bool,
}

impl Site {
    /// A site for the user who runs the tests.
    pub(crate) fn new() -> Self {
        Self::made(false)
    }

    /// A site for an ordinary user; nothing unless root runs the tests.
    pub(crate) fn ordinary() -> Option<Self> {
        nix::unistd::geteuid().is_root().then(|| Self::made(true))
    }

    pub(crate) fn made(user: bool) -> Self {
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

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.path("image")
    }

    pub(crate) fn file(&self, below: &str, text: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn command(&self, options: &[&str], arguments: &[&str]) -> Command {
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

    pub(crate) fn run(&self, options: &[&str], arguments: &[&str]) -> Output {
        self.command(options, arguments).output().unwrap()
    }

    /// What a shell script prints.
    pub(crate) fn sh(&self, options: &[&str], script: &str) -> String {
        let output = self.run(options, &["sh", "-c", script]);
        assert!(output.status.success(), "{options:?} {script}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}

/// Runs a test for the user who runs the tests and for an ordinary one.
pub(crate) fn for_everybody(test: impl Fn(&Site)) {
    test(&Site::new());
    if let Some(site) = Site::ordinary() {
        test(&site);
    }
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
