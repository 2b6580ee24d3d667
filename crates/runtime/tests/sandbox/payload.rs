//! The program that is started: found, its words and environment, its status and its end.
//!
//! Rules: `contract.md` §2, §6.5 and §8. Not here: what it sees ([`crate::places`]).

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use crate::site::{Site, for_everybody, stderr};

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
