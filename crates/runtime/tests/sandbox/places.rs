//! What the inside shows where: home, binds, the image, the directory one is in.
//!
//! Rules: `contract.md` §8.4 and §8.5. Not here: what is kept from it ([`crate::isolation`]).

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::site::{Site, USER, for_everybody, stderr};

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
