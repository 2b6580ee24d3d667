//! What words of the command line and variables come to: the container that is wanted.
//!
//! Rules: `contract.md` §1 and §8, Apptainer's flags and its words for wrong ones.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use orlop_config::Face;
use orlop_config::env::Environment;
use orlop_runtime::{Action, Wanted, Writable};

use super::{masks, wanted};
use crate::commands;
use crate::context::Context;
use crate::failure::Failure;
use crate::options::Options;
use crate::output::Output;

fn context(home: &Path, variables: &[(&str, &str)]) -> Context {
    let run = home.join("run");
    std::fs::create_dir_all(&run).unwrap();
    std::fs::set_permissions(&run, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut pairs: Vec<(OsString, OsString)> =
        vec![("HOME".into(), home.into()), ("XDG_RUNTIME_DIR".into(), run.into())];
    pairs.extend(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())));
    Context::new(Environment::from_pairs(pairs), Face::Orlop, Output::new(-4, true), 0)
}

/// What `orlop exec LINE` wants.
fn exec(line: &[&str], variables: &[(&str, &str)]) -> Result<Wanted, Failure> {
    let home = tempfile::tempdir().unwrap();
    let mut context = context(home.path(), variables);
    let words = line.iter().chain(&["img.sif", "true"]).map(OsString::from).collect();
    let spec = commands::exec::COMMAND.spec;
    let mut options = Options::parse(spec, words).unwrap();
    options.add_environment(spec, &context.environment, &mut context.output)?;
    options.judge(spec, &mut context.output)?;
    let action = Action::Exec(super::arguments(&options));
    wanted::wanted(action, OsStr::new("img.sif"), &options, &mut context)
}

#[test]
fn what_follows_the_image_is_the_payloads() {
    let wanted = exec(&["-c"], &[]).unwrap();
    assert_eq!(wanted.action, Action::Exec(vec!["true".into()]));
    assert!(wanted.contain && !wanted.environment.clean && !wanted.namespaces.pid);
    assert!(Path::new(&wanted.image).is_absolute());
}

#[test]
fn one_word_stands_for_several() {
    let all = exec(&["-C"], &[]).unwrap();
    assert!(all.contain && all.environment.clean && all.namespaces.pid && all.namespaces.ipc);
    assert_eq!((all.writable, all.umask, all.environment.no_eval), (Writable::No, None, false));
    let compat = exec(&["--compat"], &[]).unwrap();
    assert!(compat.contain && compat.namespaces.no_init && compat.environment.no_eval);
    assert_eq!((compat.writable, compat.umask), (Writable::Tmpfs, Some(0o022)));
    let box_ = exec(&["--hostname", "box", "--network=none"], &[]).unwrap();
    assert!(box_.namespaces.uts && box_.namespaces.net);
    assert!(!exec(&["-p", "--no-pid"], &[]).unwrap().namespaces.pid);
}

#[test]
fn binds_of_flags_come_before_those_of_variables() {
    let variables = [("APPTAINER_BIND", "/v:/3"), ("SINGULARITY_BINDPATH", "/w:/4")];
    let wanted = exec(&["-B", "/a:/1,/b:/2:ro", "--mount", "type=bind,src=/m,dst=/5"], &variables);
    let wanted = wanted.unwrap();
    let places: Vec<&Path> = wanted.binds.iter().map(|bind| bind.at.as_path()).collect();
    assert_eq!(places, ["/1", "/2", "/3", "/4", "/5"].map(Path::new));
    assert!(wanted.binds[1].read_only);
}

#[test]
fn what_is_wrong_is_said_in_the_known_words() {
    let said = |line: &[&str]| exec(line, &[]).unwrap_err().text();
    assert_eq!(
        said(&["-B", "/a:/b:bad"]),
        "While setting bind mount configuration: while parsing bind path: while getting bind path: \
         bad is not a valid bind option"
    );
    assert_eq!(
        said(&["--mount", "type=tmpfs,destination=/x"]),
        "While setting bind mount configuration: while parsing mount \
         \"type=tmpfs,destination=/x\": unsupported mount type \"tmpfs\", only 'bind' is supported"
    );
    assert_eq!(said(&["-H", "a:b:c"]), "home argument has incorrect number of elements: 3");
    for line in [&["--net"][..], &["--network", "bridge"]] {
        assert!(said(line).starts_with("container creation failed: network requires root"));
    }
    assert!(said(&["--env-file", "/no/such"]).contains("/no/such"));
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    for flag in
        ["--nv", "--overlay=/o", "--cpus=1", "--security=uid:1", "--fusemount=x", "--unsquash"]
    {
        let name = flag.split('=').next().unwrap();
        let text = exec(&[flag], &[]).unwrap_err().text();
        assert!(text.starts_with(&format!("{name} is not supported by Orlop: ")), "{text}");
    }
    let text = exec(&[], &[("APPTAINER_NV", "1")]).unwrap_err().text();
    assert!(text.starts_with("--nv is not supported"), "{text}");
}

#[test]
fn a_named_home_has_two_ends() {
    let home = exec(&["-H", "/data/h:/h"], &[]).unwrap().home;
    assert_eq!((home.source, home.at, home.named), ("/data/h".into(), "/h".into(), true));
    let home = exec(&["--home", "/data/h"], &[]).unwrap().home;
    assert_eq!(home.source, home.at);
    assert!(!exec(&["--no-home"], &[]).unwrap().home.shown);
}

#[test]
fn variables_reach_the_inside_by_flag_file_and_prefix() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "A=file\nB=\"$Z-file\"\n").unwrap();
    let path = file.path().to_str().unwrap();
    let line = ["--env", "A=flag", "--env-file", path, "--no-env", "X,Y"];
    let rules = exec(&line, &[("APPTAINERENV_C", "prefix"), ("Z", "z")]).unwrap().environment;
    let wanted = [("A", "flag"), ("B", "z-file"), ("C", "prefix")];
    assert_eq!(rules.forwarded, wanted.map(|(name, value)| (name.to_owned(), value.into())));
    assert_eq!(rules.withheld, ["X", "Y"]);
}

#[test]
fn credential_files_cache_and_socket_are_masked_and_home_is_not() {
    let home = tempfile::tempdir().unwrap();
    let auth = home.path().join("my-auth.json");
    let variables = [
        ("ORLOP_AUTHFILE", auth.to_str().unwrap()),
        ("ORLOP_CACHEDIR", home.path().to_str().unwrap()),
    ];
    let mut context = context(home.path(), &variables);
    let masks = masks::masks(&Options::default(), &mut context);
    for below in [
        ".docker/config.json",
        ".config/orlop",
        ".apptainer/docker-config.json",
        ".apptainer/remote.yaml",
        ".config/containers/auth.json",
        "my-auth.json",
        "run/orlop",
    ] {
        assert!(masks.contains(&home.path().join(below)), "{below} in {masks:?}");
    }
    assert!(!masks.contains(&home.path().to_owned()));
    assert!(exec(&["--show-credentials"], &[]).unwrap().masks.is_empty());
    assert_eq!(exec(&[], &[]).unwrap().system_binds.len(), 2);
    assert_eq!(exec(&["--cwd", "/w"], &[]).unwrap().cwd, Some(PathBuf::from("/w")));
}
