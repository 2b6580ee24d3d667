//! Options: how words and variables are read as flags, and which are refused.

use super::*;

const FLAGS: &[Flag] = &[
    Flag::switch("cleanenv", "").short('e').keys(&["CLEANENV"]),
    Flag::switch("contain", "").short('c'),
    Flag::switch("nv", ""),
    Flag::switch("nvccli", "").refused("use --nv"),
    Flag::text("pwd", "DIR", "").keys(&["CWD", "TARGET_CWD"]),
    Flag::repeat("bind", "SPEC", "").short('B').keys(&["BIND", "BINDPATH"]).adding(),
    Flag::list("no-mount", "LIST", ""),
    Flag::text("docker-host", "HOST", "").keys(&["DOCKER_HOST"]).bare(),
];

const EXEC: Spec = Spec {
    path: "exec",
    arguments: "<container> <command> [args...]",
    about: "Run a command within a container",
    long_about: "",
    count: Count::from(2),
    flags: &[FLAGS],
    payload: true,
};

fn parse(spec: &Spec, words: &[&str]) -> Result<Options, Unusable> {
    Options::parse(spec, words.iter().map(OsString::from).collect())
}

fn environment(pairs: &[(&str, &str)]) -> Environment {
    Environment::from_pairs(pairs.iter().map(|(name, value)| (name.into(), value.into())))
}

#[test]
fn bundles_values_and_payload_are_told_apart() {
    let options = parse(
        &EXEC,
        &["-ce", "-B/a,/b", "--bind", "/c", "--pwd=-x", "--nv=false", "img", "ls", "-l", "--nv"],
    )
    .unwrap();
    assert!(options.is_on("contain") && options.is_on("cleanenv") && !options.is_on("nv"));
    assert_eq!(options.all("bind"), ["/a,/b", "/c"]);
    assert_eq!(options.text("pwd").unwrap(), "-x");
    assert_eq!(options.arguments(), ["img", "ls", "-l", "--nv"]);
}

#[test]
fn a_bundle_may_end_in_a_value() {
    let options = parse(&EXEC, &["-ceB", "/a", "img", "ls"]).unwrap();
    assert_eq!(options.all("bind"), ["/a"]);
    let options = parse(&EXEC, &["-cB/a", "img", "--", "ls"]).unwrap();
    assert_eq!(options.arguments(), ["img", "--", "ls"]);
}

#[test]
fn wrong_flags_are_named_in_the_known_words() {
    let flag = |words: &[&str]| match parse(&EXEC, words) {
        Err(Unusable::Flag(text)) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(flag(&["--bogus", "img", "ls"]), "unknown flag: --bogus");
    assert_eq!(flag(&["--bogus=1", "img", "ls"]), "unknown flag: --bogus");
    assert_eq!(flag(&["-V", "img", "ls"]), "unknown shorthand flag: 'V' in -V");
    assert_eq!(flag(&["-eV", "img", "ls"]), "unknown shorthand flag: 'V' in -V");
    assert_eq!(flag(&["--bind"]), "flag needs an argument: --bind");
    assert_eq!(flag(&["-B"]), "flag needs an argument: --bind");
    assert!(flag(&["--nv=yes", "img", "ls"]).contains("not a boolean"));
    assert_eq!(parse(&EXEC, &["--help"]).unwrap_err(), Unusable::Help);
    assert_eq!(
        parse(&EXEC, &["img"]).unwrap_err(),
        Unusable::Count("requires at least 2 arg(s), only received 1".to_owned())
    );
}

#[test]
fn flags_may_follow_arguments_where_there_is_no_payload() {
    let pull = Spec { payload: false, count: Count::between(1, 2), ..EXEC };
    let options = parse(&pull, &["a", "--nv", "b", "-e"]).unwrap();
    assert!(options.is_on("nv") && options.is_on("cleanenv"));
    assert_eq!(options.arguments(), ["a", "b"]);
}

#[test]
fn variables_stand_behind_flags() {
    let mut output = Output::new(-4, true);
    let around = environment(&[
        ("SINGULARITY_CLEANENV", "1"),
        ("APPTAINER_BIND", "/v"),
        ("SINGULARITY_BINDPATH", "/w"),
        ("ORLOP_CWD", " "),
        ("APPTAINER_TARGET_CWD", "/t"),
        ("DOCKER_HOST", "h"),
    ]);
    let mut options = parse(&EXEC, &["-B", "/f", "img", "ls"]).unwrap();
    options.add_environment(&EXEC, &around, &mut output).unwrap();
    assert!(options.is_on("cleanenv"));
    assert_eq!(options.all("bind"), ["/f", "/v", "/w"]);
    assert_eq!(options.text("pwd").unwrap(), "/t");
    assert_eq!(options.text("docker-host").unwrap(), "h");

    let mut options = parse(&EXEC, &["--cleanenv=false", "--pwd", "/p", "img", "ls"]).unwrap();
    options.add_environment(&EXEC, &around, &mut output).unwrap();
    assert!(!options.is_on("cleanenv"));
    assert_eq!(options.text("pwd").unwrap(), "/p");

    let around = environment(&[("APPTAINER_CLEANENV", "yes")]);
    let failure = parse(&EXEC, &["img", "ls"])
        .unwrap()
        .add_environment(&EXEC, &around, &mut output)
        .unwrap_err();
    insta::assert_snapshot!(failure.text(), @"While parsing environment variables: APPTAINER_CLEANENV=yes is not a boolean");
}

#[test]
fn what_is_not_done_is_refused_by_name() {
    let mut output = Output::new(-4, true);
    let failure =
        parse(&EXEC, &["--nvccli", "i", "c"]).unwrap().judge(&EXEC, &mut output).unwrap_err();
    insta::assert_snapshot!(failure.text(), @"--nvccli is not supported by Orlop: use --nv");
    parse(&EXEC, &["--nvccli=false", "i", "c"]).unwrap().judge(&EXEC, &mut output).unwrap();
}

#[test]
fn lists_are_csv() {
    assert_eq!(csv(r#"a,"b,c","d""e",,f"#), ["a", "b,c", "d\"e", "f"]);
}
