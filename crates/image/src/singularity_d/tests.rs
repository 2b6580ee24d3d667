//! Orlop's own files in merged trees, and the scripts among them run by a real `sh`.
//!
//! Rules: `contract.md` §6; rows L83 to L89 of the reliability document, the id in the name.

use std::collections::BTreeMap;
use std::process::Command;

use super::*;
use crate::limits::Limits;
use crate::merge::merge;
use crate::testing::{Tar, Words, segment, words};

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|&item| item.to_owned()).collect()
}

/// The image's tree with Orlop's files, and what could not be placed.
fn placed(tar: Tar) -> (Words, Vec<String>) {
    let segments = [segment(&tar.end()).unwrap()];
    let mut tree = merge(&[&segments[0].index], 77, &Limits::default()).unwrap().tree;
    let (files, _) = files(&facts(&ImageConfig::default()));
    let warnings = place(&mut tree, &files);
    (words(&tree, &segments), warnings)
}

fn facts(config: &ImageConfig) -> Facts<'_> {
    static PLATFORM: std::sync::OnceLock<Platform> = std::sync::OnceLock::new();
    let platform = PLATFORM.get_or_init(|| Platform::new("linux", "arm64", Some("v8")));
    Facts { scheme: "docker", from: "h/x:1@sha256:aa", platform, config, converter: "orlop-1" }
}

/// Runs a script with a shell; gives what it prints. `variables` are all it has.
fn sh(script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = Command::new("/bin/sh")
        .args(["-c", script, "sh"])
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{stderr}\n{script}");
    String::from_utf8(output.stdout).unwrap()
}

/// The words a runscript would execute, each in brackets.
fn run(entrypoint: &[&str], cmd: &[&str], arguments: &[&str], literal: bool) -> String {
    let script = runscript::runscript(&strings(entrypoint), &strings(cmd));
    let script = script.replace("exec \"$@\"", "printf '[%s]' \"$@\"");
    let variables = [("HOME", "/h"), ("SINGULARITY_NO_EVAL", "1")];
    sh(&script, arguments, if literal { &variables } else { &variables[..1] })
}

#[test]
fn the_runscript_follows_the_table_of_entrypoint_and_cmd() {
    for (entrypoint, cmd, alone, with) in [
        (&["e"][..], &[][..], "[e]", "[e][a][b c]"),
        (&[], &["c", "d"], "[c][d]", "[a][b c]"),
        (&["e", "-x"], &["c"], "[e][-x][c]", "[e][-x][a][b c]"),
        (&[], &[], "[/bin/sh]", "[a][b c]"),
        (
            &["/bin/sh", "-c", "echo hi"],
            &[],
            "[/bin/sh][-c][echo hi]",
            "[/bin/sh][-c][echo hi][a][b c]",
        ),
    ] {
        for literal in [false, true] {
            assert_eq!(run(entrypoint, cmd, &[], literal), alone);
            assert_eq!(run(entrypoint, cmd, &["a", "b c"], literal), with);
        }
    }
}

#[test]
fn stored_words_are_literal_and_arguments_are_evaluated_unless_told_otherwise() {
    let odd = ["$HOME", "`id`", "a\"b", "it's", "back\\slash", "-n", "new\nline", ""];
    let shown: String = odd.iter().map(|word| format!("[{word}]")).collect();
    for literal in [false, true] {
        assert_eq!(run(&odd, &[], &[], literal), shown);
        assert_eq!(run(&["e"], &odd, &[], literal), format!("[e]{shown}"));
    }
    assert_eq!(run(&["e"], &[], &odd, true), format!("[e]{shown}"));
    assert_eq!(run(&["e"], &[], &["$HOME", "$(echo x)", "\\$HOME"], false), "[e][/h][x][$HOME]");
}

#[test]
fn a_quote_in_an_argument_never_breaks_out() {
    for word in ["\"; echo broken; \"", "a\"b\"c", "\"", "\\\"", "x\\", "\\\\\"", "'\"'"] {
        let said = run(&["e"], &[], &[word, "next"], false);
        assert!(said.starts_with("[e][") && said.ends_with("][next]"), "{word}: {said}");
        assert_eq!(said.matches("][").count(), 2, "{word}: {said}");
    }
    assert_eq!(run(&["e"], &[], &["a\"b", "x\\"], false), "[e][a\"b][x\\]");
}

#[test]
fn l89_values_of_the_environment_are_literal() {
    let values = [
        "$(id)",
        "`id`",
        "a\"b",
        "it's",
        "back\\slash",
        "$HOME",
        "two\nlines",
        "a } b",
        "*",
        "p  q",
    ];
    for value in values {
        let script = environment::script(&strings(&[&format!("X={value}"), "PATH=$PATH:/p"]));
        assert_eq!(sh(&format!("{script}printf %s \"$X\""), &[], &[]), value);
        assert_eq!(sh(&format!("{script}printf %s \"$PATH\""), &[], &[]), "$PATH:/p");
    }
    let script = environment::script(&strings(&["X=image", "Y", "1bad=x", "a-b=x", "=x"]));
    assert_eq!(sh(&format!("{script}printf %s \"$X,$Y\""), &[], &[("X", "host")]), "host,");
    assert_eq!(script.lines().count(), 3, "{script}");
}

#[test]
fn l89_a_shell_accepts_every_file() {
    let config = ImageConfig {
        env: strings(&["A=$(", "B=\"", "C='", "D=`"]),
        entrypoint: strings(&["'", "\"", "$("]),
        ..ImageConfig::default()
    };
    let (files, _) = files(&facts(&config));
    let mut scripts = 0;
    for file in files.iter().filter(|file| file.mode == 0o755) {
        let text = std::str::from_utf8(&file.content).unwrap();
        let checked = Command::new("/bin/sh").args(["-n", "-c", text]).output().unwrap();
        assert!(checked.status.success(), "{}: {checked:?}", file.path);
        scripts += 1;
    }
    assert_eq!(scripts, 14);
}

#[test]
fn the_last_scripts_set_libraries_prompt_and_path() {
    let last = |variables: &[(&str, &str)]| {
        sh(&format!("{}printf %s \"$LD_LIBRARY_PATH,$PS1\"", scripts::ENV_LAST), &[], variables)
    };
    // Some shells set a prompt of their own where there is none.
    assert_eq!(last(&[("PS1", "")]), "/.singularity.d/libs,Apptainer> ");
    assert_eq!(last(&[("LD_LIBRARY_PATH", "/l"), ("PS1", "% ")]), "/l:/.singularity.d/libs,% ");
    let path = |variables: &[(&str, &str)]| {
        sh(&format!("{}printf %s \"$PATH\"", scripts::ENV_RUNTIME), &[], variables)
    };
    let prepend = ("SING_USER_DEFINED_PREPEND_PATH", "/first");
    let append = ("SING_USER_DEFINED_APPEND_PATH", "/last");
    assert_eq!(path(&[("PATH", "/p"), prepend, append]), "/first:/p:/last");
    assert_eq!(path(&[("PATH", "/p"), ("SING_USER_DEFINED_PATH", "/own"), append]), "/own");
}

#[test]
fn labels_and_definition_are_the_images_and_orlops() {
    let labels = BTreeMap::from([
        ("a \"q\" <&>".to_owned(), "v\n\x1b".to_owned()),
        ("org.label-schema.build-arch".to_owned(), "said otherwise".to_owned()),
    ]);
    let config = ImageConfig { labels, ..ImageConfig::default() };
    let (_, objects) = files(&facts(&config));
    assert_eq!(objects.definition, b"bootstrap: docker\nfrom: h/x:1@sha256:aa\n\n");
    let text = String::from_utf8(objects.labels).unwrap();
    assert!(text.starts_with("{\n\t\"a \\\"q\\\""), "{text}");
    assert!(text.ends_with("\"\n}"), "{text}");
    let read: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    assert_eq!(read["a \"q\" <&>"], "v\n\x1b");
    assert_eq!(read["org.label-schema.build-arch"], "arm64");
    assert_eq!(read["org.label-schema.build-date"], "Thursday_1_January_1970_0:0:0_UTC");
    assert_eq!(read["org.label-schema.usage.singularity.deffile.from"], "h/x:1@sha256:aa");
    assert_eq!(read["org.orlop.converter"], "orlop-1");
    let inspect: serde_json::Value = serde_json::from_slice(&objects.inspect).unwrap();
    assert_eq!(inspect["type"], "container");
    let attributes = &inspect["data"]["attributes"];
    assert_eq!(attributes["labels"]["org.label-schema.schema-version"], "1.0");
    assert_eq!(attributes["startscript"], "#!/bin/sh");
    assert_eq!(attributes["deffile"], "bootstrap: docker\nfrom: h/x:1@sha256:aa");
    assert_eq!(attributes["environment"].as_object().unwrap().len(), 2);
}

#[test]
fn what_every_sif_has_is_made_where_it_is_missing_and_modes_stay() {
    let (words, warnings) = placed(Tar::new().dir("tmp/", 0o1777).symlink("home", "nowhere"));
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(words["tmp"].0, "dir 1777");
    assert_eq!(words["home"].0, "-> nowhere");
    for path in ["dev", "proc", "root", "var/tmp", "etc", "sys", ".singularity.d/libs"] {
        assert_eq!(words[path].0, "dir 755", "{path}");
    }
    assert_eq!(words["environment"].0, "-> .singularity.d/env/90-environment.sh");
}

#[test]
fn links_replace_only_what_is_missing_or_leads_nowhere() {
    let tar = Tar::new()
        .file("singularity", b"mine")
        .symlink(".run", "gone")
        .symlink(".exec", "singularity")
        .dir(".shell/", 0o700);
    let (words, _) = placed(tar);
    assert_eq!(words["singularity"].0, "file 644 mine");
    assert_eq!(words[".run"].0, "-> .singularity.d/actions/run");
    assert_eq!(words[".exec"].0, "-> singularity");
    assert_eq!(words[".shell"].0, "dir 700");
}

#[test]
fn l83_a_singularity_d_that_is_no_directory_is_replaced() {
    for tar in [
        Tar::new().file(".singularity.d", b"x"),
        Tar::new().symlink(".singularity.d", "/host"),
        Tar::new().dir("x/", 0o755).symlink(".singularity.d", "../../x"),
    ] {
        let (words, _) = placed(tar);
        assert_eq!(words[".singularity.d"].0, "dir 755");
        assert!(words[".singularity.d/runscript"].0.starts_with("own 755"));
        assert!(!words.contains_key("host"));
        assert!(words.keys().all(|path| !path.starts_with("x/")));
    }
}

#[test]
fn l84_standard_names_are_replaced_and_others_stay() {
    let tar = Tar::new()
        .symlink(".singularity.d/runscript", "/etc/passwd")
        .file(".singularity.d/env/91-environment.sh", b"kept")
        .file("etc/passwd", b"untouched")
        .symlink(".singularity.d/actions", "/etc");
    let (words, _) = placed(tar);
    assert!(words[".singularity.d/runscript"].0.starts_with("own 755"));
    assert_eq!(words[".singularity.d/env/91-environment.sh"].0, "file 644 kept");
    assert_eq!(words["etc/passwd"].0, "file 644 untouched");
    assert_eq!(words[".singularity.d/actions"].0, "dir 755");
    assert!(!words.contains_key("etc/run"));
}

#[test]
fn l85_links_in_place_of_hosts_and_resolv_conf_are_replaced() {
    let tar = Tar::new()
        .symlink("etc/resolv.conf", "/etc/x")
        .file("etc/hosts", b"old")
        .link("etc/other", "etc/hosts");
    let (words, _) = placed(tar);
    assert_eq!(words["etc/hosts"].0, "own 644 0");
    assert_eq!(words["etc/resolv.conf"].0, "own 644 1");
    assert_eq!(words["etc/other"].0, "file 644 old");
    let (words, warnings) = placed(Tar::new().file("etc", b"a file"));
    assert_eq!(words["etc"].0, "file 644 a file");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}
