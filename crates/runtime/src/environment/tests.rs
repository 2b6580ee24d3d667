//! The environment inside a container: what passes, what is withheld, in which order.

use super::*;
use crate::caller::Caller;
use crate::wanted::{EnvironmentRules, Home, Namespaces, NoMount, Writable};

fn pairs(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

pub(crate) fn wanted(environment: &[(&str, &str)]) -> Wanted {
    Wanted {
        face: Face::Orlop,
        action: Action::Exec(vec!["true".into()]),
        app: None,
        image: "/images/tool.sif".into(),
        caller: Caller {
            uid: 7001,
            gid: 7001,
            account: None,
            groups: Vec::new(),
            cwd: "/home/u/work".into(),
            logical_cwd: None,
            environment: pairs(environment),
        },
        binds: Vec::new(),
        system_binds: vec!["/etc/localtime".into(), "/etc/hosts".into()],
        home: Home { at: "/home/u".into(), source: "/home/u".into(), named: false, shown: true },
        cwd: None,
        contain: false,
        workdir: None,
        scratch: Vec::new(),
        writable: Writable::No,
        no_mount: NoMount::default(),
        namespaces: Namespaces::default(),
        hostname: None,
        dns: Vec::new(),
        environment: EnvironmentRules::default(),
        fakeroot: false,
        umask: None,
        masks: Vec::new(),
    }
}

fn started(wanted: &Wanted) -> BTreeMap<String, String> {
    let binds = [PathBuf::from("/data"), PathBuf::from("/m")];
    let start = start(wanted, &binds, Path::new("/home/u/work"));
    let text = |text: OsString| text.into_string().unwrap();
    start.into_iter().map(|(name, value)| (text(name), text(value))).collect()
}

#[test]
fn the_callers_variables_pass_but_for_those_that_steer() {
    let wanted = wanted(&[
        ("FOO", "bar"),
        ("EMPTY", ""),
        ("BASH_FUNC_x%%", "() { :; }"),
        ("HOME", "/elsewhere"),
        ("PATH", "/opt/bin"),
        ("LD_LIBRARY_PATH", "/opt/lib"),
        ("APPTAINER_BIND", "/x"),
        ("SINGULARITY_TMPDIR", "/x"),
        ("ORLOP_CACHEDIR", "/x"),
        ("APPTAINERENV_A", "1"),
        ("SINGULARITYENV_B", "1"),
        ("ORLOPENV_C", "1"),
    ]);
    let start = started(&wanted);
    assert_eq!(start["FOO"], "bar");
    assert_eq!(start["EMPTY"], "");
    assert!(start.contains_key("BASH_FUNC_x%%"));
    assert_eq!(start["HOME"], "/home/u");
    assert_eq!(
        start["USER_PATH"],
        "/opt/bin:/bin:/usr/bin:/sbin:/usr/sbin:/usr/local/bin:/usr/local/sbin"
    );
    for gone in [
        "PATH",
        "LD_LIBRARY_PATH",
        "SINGULARITY_TMPDIR",
        "ORLOP_CACHEDIR",
        "APPTAINERENV_A",
        "SINGULARITYENV_B",
        "ORLOPENV_C",
    ] {
        assert!(!start.contains_key(gone), "{gone}");
    }
    assert_eq!(start["APPTAINER_BIND"], "/data,/m");
    assert_eq!(start["ORLOP_BIND"], "/data,/m");
    assert_eq!(start["SINGULARITY_CONTAINER"], "/images/tool.sif");
    assert_eq!(start["APPTAINER_NAME"], "tool.sif");
    assert_eq!(start["APPTAINER_COMMAND"], "exec");
    assert!(!start.contains_key("SINGULARITY_COMMAND"));
    assert_eq!(start["PWD"], "/home/u/work");
}

#[test]
fn a_clean_environment_keeps_terminal_and_proxies() {
    let mut wanted = wanted(&[
        ("TERM", "xterm"),
        ("http_proxy", "p"),
        ("HTTPS_PROXY", "q"),
        ("No_Proxy", "mixed"),
        ("FOO", "bar"),
        ("LANG", "de_DE"),
        ("PATH", "/opt/bin"),
    ]);
    wanted.environment.clean = true;
    let start = started(&wanted);
    assert_eq!((start["TERM"].as_str(), start["http_proxy"].as_str()), ("xterm", "p"));
    assert_eq!((start["HTTPS_PROXY"].as_str(), start["LANG"].as_str()), ("q", "C"));
    for gone in ["FOO", "No_Proxy", "USER_PATH"] {
        assert!(!start.contains_key(gone), "{gone}");
    }
}

#[test]
fn logins_that_the_program_reads_do_not_pass_unless_forwarded() {
    let logins = LOGINS.map(|name| (name, "canary"));
    for clean in [false, true] {
        let mut wanted = wanted(&logins);
        wanted.environment.clean = clean;
        assert!(started(&wanted).values().all(|value| value != "canary"));
    }
    let forwarded = forwarded(&pairs(&[("APPTAINERENV_DOCKER_PASSWORD", "meant")]), &[], &[]);
    assert_eq!(forwarded.variables, [("DOCKER_PASSWORD".to_owned(), "meant".into())]);
}

#[test]
fn withheld_names_do_not_pass() {
    let mut wanted = wanted(&[("A", "1"), ("B", "2")]);
    wanted.environment.withheld = vec!["A".into()];
    let start = started(&wanted);
    assert!(!start.contains_key("A"));
    assert!(start.contains_key("B"));
}

#[test]
fn what_users_forward_has_its_order() {
    let environment = pairs(&[
        ("SINGULARITYENV_A", "old"),
        ("APPTAINERENV_A", "new"),
        ("SINGULARITYENV_B", "old"),
        ("APPTAINERENV_C", "variable"),
        ("APPTAINERENV_HOME", "/x"),
        ("ORLOPENV_E", "orlop"),
        ("APPTAINERENV_E", "apptainer"),
    ]);
    let files = [vec![("C".to_owned(), "file".into()), ("D".to_owned(), "file".into())]];
    let forwarded =
        forwarded(&environment, &files, &["D=option".into(), "F=1,2".into(), "G=1,H=2".into()]);
    let variables: Vec<(&str, &str)> = forwarded
        .variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    let wanted = [
        ("A", "new"),
        ("B", "old"),
        ("C", "file"),
        ("D", "option"),
        ("E", "orlop"),
        ("F", "1,2"),
        ("G", "1"),
        ("H", "2"),
    ];
    assert_eq!(variables, wanted);
    let texts: Vec<String> = forwarded.notices.iter().map(|notice| format!("{notice:?}")).collect();
    let texts = texts.join("\n");
    assert!(texts.contains("SINGULARITYENV_B is set, but APPTAINERENV_B is preferred"), "{texts}");
    assert!(!texts.contains("SINGULARITYENV_A is set"), "{texts}");
    assert!(texts.contains("Ignored environment file variable D: override from --env"), "{texts}");
    assert!(
        texts.contains(
            "Overriding HOME environment variable with APPTAINERENV_HOME is not permitted"
        ),
        "{texts}"
    );
}

#[test]
fn an_environment_file_is_shell_code() {
    let text = b"# comment\nexport A='one two'\nB=\"$HOME/b\"\nC=$A\n";
    let read = read_env_file(Path::new("e"), text, &pairs(&[("HOME", "/h"), ("Z", "z")])).unwrap();
    let wanted = [("A", "one two"), ("B", "/h/b"), ("C", "one two")];
    assert_eq!(read, wanted.map(|(name, value)| (name.to_owned(), OsString::from(value))));
    let error = read_env_file(Path::new("e"), b"A=$(id)\n", &[]).unwrap_err().to_string();
    assert_eq!(error, "while processing environment file e: line 1: $(command) needs a shell");
}

#[test]
fn a_path_is_completed_and_never_doubled() {
    assert_eq!(
        complete_path(b"/opt/bin:/bin"),
        b"/opt/bin:/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin"
    );
    assert_eq!(complete_path(b""), DEFAULT_PATH.as_bytes());
}
